//! Replayed records that nobody vouches for. They may have been acked, so they are not lost; they may not be on the disk
//! for good, so nobody relies on them: they go to the log again, ahead of anything new.

use std::collections::VecDeque;

use crate::ids::Time;
use crate::log::record::{Body, RecordHead};
use crate::shard::pending::Replayed;

/// How long after a failed attempt the next one is made, if nothing new is stored before.
const RETRY_MICROS: u64 = 1_000_000;

/// A record to be appended anew, as it was, and what it is about.
#[derive(Debug)]
pub(super) struct Unvouched {
    pub(super) head: RecordHead,
    pub(super) body: Body,
    pub(super) replayed: Replayed,
}

/// The records that are not durable yet, in the order in which they are appended.
#[derive(Debug, Default)]
pub(super) struct Unproven {
    records: VecDeque<Unvouched>,
    /// So many of the first ones are with the log.
    appended: usize,
    retry_at: Option<Time>,
}

impl Unproven {
    /// A further record, behind the others.
    pub(super) fn push(&mut self, record: Unvouched) {
        self.records.push_back(record);
    }

    /// Whether none is left.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Hands out the next one that the log has not.
    pub(super) fn append_next(&mut self) -> Option<&Unvouched> {
        self.retry_at = None;
        let record = self.records.get(self.appended)?;
        self.appended += 1;
        Some(record)
    }

    /// The first one is durable.
    pub(super) fn commit(&mut self) {
        assert!(self.appended > 0, "only what the log has becomes durable");
        self.appended -= 1;
        self.records.pop_front();
    }

    /// The log has dropped all that it had.
    pub(super) fn drop_appended(&mut self, now: Time) {
        self.appended = 0;
        self.retry_at = (!self.records.is_empty()).then(|| now.after_micros(RETRY_MICROS));
    }

    /// Whether none waits for its first answer from the disk.
    pub(super) fn is_settled(&self) -> bool {
        self.records.is_empty() || self.retry_at.is_some()
    }

    /// When those that were dropped are to be tried again.
    pub(super) fn retry_at(&self) -> Option<Time> {
        self.retry_at
    }
}
