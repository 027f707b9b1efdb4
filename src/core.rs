//! What everything on one core shares: its end of the mesh, its settings, its knowledge of spaces.

use std::cell::RefMut;
use std::time::Duration;

use engram_shards::ids::{FolderSecret, Time};
use engram_shards::limits::CAPACITY_DEFAULT;
use engram_shards::message::{IfExists, Made, ShardStatus, SpaceDescription};
use engram_shards::settings::SpaceSettings;

use crate::failure::Failure;
use crate::limits;
use crate::mesh::{CoreIndex, Mesh, Port, Unavailable};
use crate::metrics::Metrics;

/// What the server was started with, as far as connections need to know.
#[derive(Clone, Debug, PartialEq)]
pub struct ServeSettings {
    /// Longest message on either transport, in bytes.
    pub message_bytes_max: usize,
    /// Observations admitted and not yet in the graph, at most, of one shard.
    pub capacity: u32,
    /// How long a session keeps its memory while its client is silent.
    pub session_silence: Duration,
    /// Requests of one core that may be between socket and owner.
    pub between_requests_max: u32,
    /// Bytes of the same.
    pub between_bytes_max: usize,
    /// Origins of web pages, beside the server's own, whose WebSockets are served.
    pub origins: Vec<String>,
}

impl Default for ServeSettings {
    fn default() -> ServeSettings {
        ServeSettings {
            message_bytes_max: limits::MESSAGE_BYTES_MAX_DEFAULT,
            capacity: CAPACITY_DEFAULT,
            session_silence: limits::SESSION_SILENCE_DEFAULT,
            between_requests_max: limits::BETWEEN_REQUESTS_MAX,
            between_bytes_max: limits::BETWEEN_BYTES_MAX,
            origins: Vec::new(),
        }
    }
}

/// Whether the process serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// At least one shard still reads its log.
    Recovering,
    /// All shards serve.
    Ready,
    /// The server was told to stop.
    Draining,
    /// At least one shard has failed.
    Failed,
}

/// One core's context. Cheap to clone; stays on its core.
#[derive(Clone, Debug)]
pub struct Core {}

impl Core {
    /// This core's end of the mesh.
    pub fn mesh(&self) -> &Mesh {
        todo!()
    }

    /// A new port of it.
    pub fn port(&self) -> Port {
        self.mesh().port()
    }

    /// The time now.
    pub fn now(&self) -> Time {
        todo!()
    }

    /// The folder's secret.
    pub fn secret(&self) -> FolderSecret {
        todo!()
    }

    /// What the server was started with.
    pub fn settings(&self) -> &ServeSettings {
        todo!()
    }

    /// Whether the process serves.
    pub fn readiness(&self) -> Readiness {
        todo!()
    }

    /// The space called `name`. NOT_FOUND where there is none, UNAVAILABLE where its shard does not answer. What is
    /// once known is not asked again: settings never change.
    pub async fn space(&self, name: &str) -> Result<SpaceDescription, Failure> {
        let _ = name;
        todo!()
    }

    /// Makes a space, durably, on every stripe, or takes the one that is there. ALREADY_EXISTS where it is there with
    /// other settings and they must be the same.
    pub async fn make_space(
        &self,
        settings: SpaceSettings,
        if_exists: IfExists,
    ) -> Result<(SpaceDescription, Made), Failure> {
        let _ = (settings, if_exists);
        todo!()
    }

    /// What every shard has and does.
    pub async fn status(&self) -> Vec<(CoreIndex, Result<ShardStatus, Unavailable>)> {
        todo!()
    }

    /// This core's counters, to be updated. To be held for one statement, never across an await.
    pub fn metrics(&self) -> RefMut<'_, Metrics> {
        todo!()
    }

    /// A copy of every core's counters.
    pub async fn reports(&self) -> Vec<(CoreIndex, Metrics)> {
        todo!()
    }

    /// Whether the server was told to stop.
    pub fn is_stopping(&self) -> bool {
        todo!()
    }

    /// Ends when the server is told to stop; at once where it was. Each connection waits for it beside its work.
    pub async fn stopping(&self) {
        todo!()
    }
}
