//! What a shard knows of its checkpoints: what each stripe has that its own does not cover, which is due, and the one
//! that is being written.

use std::collections::{BTreeSet, VecDeque};

use crate::checkpoint::due::Records;
use crate::checkpoint::head::LogPosition;
use crate::checkpoint::writing::Writing;
use crate::ids::{Slot, StripeKey, Time};
use crate::log::summary::Summary;
use crate::shard::io::IoTicket;
use crate::space::Reading;

/// All that a shard knows of its checkpoints.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    /// By slot.
    pub(super) stripes: Vec<Uncovered>,
    /// Stripes that are due, each once.
    pub(super) due: VecDeque<Slot>,
    /// Stripes by when the first record came that their checkpoint does not cover, in bytes of the log; some that have a
    /// newer one since.
    pub(super) oldest: VecDeque<(u64, Slot)>,
    /// Bytes of records that the log was given.
    pub(super) logged_bytes: u64,
    /// Length of all checkpoints.
    pub(super) kept_bytes: u64,
    /// Up to where the other logs are synced, as far as stripes of this shard have records there.
    pub(super) others: Vec<LogPosition>,
    pub(super) running: Option<Running>,
    pub(super) retry_at: Option<Time>,
    /// What segments hold that are written no more.
    pub(super) summaries: VecDeque<Summary>,
    /// Summaries that are being written.
    pub(super) summary_tickets: BTreeSet<IoTicket>,
    /// The server stops: what is due is written without pauses.
    pub(super) draining: bool,
}

/// What a stripe has that its checkpoint does not cover.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Uncovered {
    pub(super) records: Records,
    /// How many bytes the log had been given when the first of them came.
    pub(super) since: u64,
    pub(super) is_due: bool,
    /// Length of its checkpoint; 0 where it has none.
    pub(super) kept_bytes: u64,
    /// Rows that ever were linked, or linked anew, when its checkpoint was begun.
    pub(super) linked: u64,
}

/// A checkpoint that is being written.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) slot: Slot,
    pub(super) stripe: StripeKey,
    pub(super) writing: Writing,
    /// Keeps the rows from being overwritten.
    pub(super) reading: Reading,
    pub(super) step: Step,
    pub(super) ticket: Option<IoTicket>,
    /// The next part is not to be written before.
    pub(super) next_at: Time,
    pub(super) unsynced_bytes: u64,
    /// Whether its stripe's graph stands still.
    pub(super) is_still: bool,
    /// What its stripe had that the checkpoint before did not cover.
    pub(super) before: Records,
}

/// What is to be done next, or being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Create,
    Write,
    Sync,
    Keep,
}

impl Checkpoints {
    /// The stripe whose graph stands still.
    pub(super) fn still(&self) -> Option<Slot> {
        self.running.as_ref().filter(|running| running.is_still).map(|running| running.slot)
    }

    /// Whether none is being written or due.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_none() && (self.due.is_empty() || self.retry_at.is_some())
    }

    /// When the next step is due, if nothing else happens before.
    pub(super) fn deadline(&self) -> Option<Time> {
        match &self.running {
            Some(running) if running.ticket.is_none() => Some(running.next_at),
            Some(_) => None,
            None => self.retry_at.filter(|_| !self.due.is_empty()),
        }
    }

    pub(super) fn of(&mut self, slot: Slot) -> &mut Uncovered {
        if self.stripes.len() <= slot.0 {
            self.stripes.resize(slot.0 + 1, Uncovered::default());
        }
        &mut self.stripes[slot.0]
    }

    /// These records have come to a stripe.
    pub(super) fn note(&mut self, slot: Slot, records: Records) {
        self.logged_bytes += records.bytes;
        let logged = self.logged_bytes;
        let uncovered = self.of(slot);
        let is_first = uncovered.records.count == 0;
        uncovered.records.count += records.count;
        uncovered.records.bytes += records.bytes;
        if is_first {
            uncovered.since = logged;
            self.oldest.push_back((logged, slot));
        }
    }

    pub(super) fn make_due(&mut self, slot: Slot) {
        if !std::mem::replace(&mut self.of(slot).is_due, true) {
            self.due.push_back(slot);
        }
    }

    /// The stripe of the oldest record that no checkpoint covers, and how many bytes have come since.
    pub(super) fn oldest(&mut self) -> Option<(Slot, u64)> {
        loop {
            let (since, slot) = *self.oldest.front()?;
            let uncovered = self.stripes[slot.0];
            if uncovered.records.count > 0 && uncovered.since == since {
                return Some((slot, self.logged_bytes - since));
            }
            self.oldest.pop_front();
        }
    }
}
