//! The open session that a transport drives.

use std::task::{Context, Poll};

use engram_shards::ids::SessionId;
use engram_shards::log::record::Observation;
use engram_shards::message::{Drain, SpaceDescription};

use super::event::{Event, Init};
use crate::core::Core;
use crate::failure::Failure;

/// An open session. Dropping it detaches it: it stays resumable.
#[derive(Debug)]
pub struct Session {}

impl Session {
    /// Begins or resumes one; returns once it is durable.
    pub async fn open(core: &Core, init: Init) -> Result<Session, Failure> {
        let _ = (core, init);
        todo!()
    }

    /// Its id.
    pub fn id(&self) -> SessionId {
        todo!()
    }

    /// The last durable sequence when it was opened.
    pub fn initial_sequence(&self) -> u64 {
        todo!()
    }

    /// Its space.
    pub fn space(&self) -> &SpaceDescription {
        todo!()
    }

    /// Takes an observation, whole or not at all. Pending while the core has no budget left for it, its owner is being
    /// asked for a credit, or too many answers wait to be polled: call again, with the same observation, after the
    /// next wake-up and after polling the events. What becomes of it comes as events. An empty id stands for
    /// `mem_{session}_{sequence}`.
    pub fn poll_observe(
        &mut self,
        cx: &mut Context<'_>,
        sequence: u64,
        observation: &Observation<'_>,
    ) -> Poll<()> {
        let _ = (cx, sequence, observation);
        todo!()
    }

    /// Asks for the drained end; `Event::Closed` follows when it is reached. No observation may follow.
    pub fn close(&mut self, drain: Drain) {
        let _ = drain;
        todo!()
    }

    /// The next event. To be polled before the next message is read. Events, `poll_observe` and its wake-ups belong to
    /// one task.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let _ = cx;
        todo!()
    }
}
