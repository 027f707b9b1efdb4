//! Memories on their way to be forgotten.

use std::collections::{BTreeMap, VecDeque};

use crate::ids::{Generation, SegmentId, Slot, StripeKey};
use crate::message::{ForgetMode, Origin};
use crate::space::Reading;

/// A memory on its way to be forgotten.
#[derive(Debug)]
pub(super) struct Forgotten {
    pub(super) stripe: StripeKey,
    pub(super) memory_hash: u64,
    pub(super) id: Box<str>,
    pub(super) mode: ForgetMode,
    /// Of its observations, those up to this generation.
    pub(super) until: Generation,
    /// Who waits for it; none if it was replayed.
    pub(super) origin: Option<Origin>,
}

/// One that was replayed.
#[derive(Debug)]
pub(super) struct Replayed {
    pub(super) number: ForgetNumber,
    pub(super) forgotten: Forgotten,
    /// Where a record says so.
    pub(super) segment: SegmentId,
    pub(super) is_durable: bool,
}

/// Names one whose rows are being read, or that was replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ForgetNumber(u64);

/// One whose rows are being read.
#[derive(Debug)]
pub(super) struct Comparing {
    pub(super) forgotten: Forgotten,
    pub(super) slot: Slot,
    pub(super) segment: SegmentId,
    /// Keeps the rows from being overwritten.
    pub(super) reading: Reading,
    /// Records to come.
    pub(super) left: usize,
    pub(super) is_found: bool,
    pub(super) is_unreadable: bool,
}

/// All that are on their way.
#[derive(Debug, Default)]
pub(super) struct Forgetting {
    /// In the order of their records, which the log has.
    pub(super) logged: VecDeque<Forgotten>,
    /// Replayed, and withheld: they, or what they are about, are not durable again yet.
    pub(super) replayed: Vec<Replayed>,
    pub(super) comparing: BTreeMap<ForgetNumber, Comparing>,
    /// Where records lie that are not applied to all rows, for some could not be read.
    pub(super) unresolved: Vec<SegmentId>,
    next: u64,
}

impl Forgetting {
    /// Takes one in whose rows are to be read.
    pub(super) fn compare(&mut self, comparing: Comparing) -> ForgetNumber {
        let number = self.number();
        self.comparing.insert(number, comparing);
        number
    }

    /// Whether a record in this segment is not applied to all rows yet.
    pub(super) fn needs(&self, segment: SegmentId) -> bool {
        let replayed = self.replayed.iter().map(|replayed| replayed.segment);
        let comparing = self.comparing.values().map(|comparing| comparing.segment);
        let mut all = replayed.chain(comparing).chain(self.unresolved.iter().copied());
        all.any(|other| other == segment)
    }

    /// A name for the next one.
    pub(super) fn number(&mut self) -> ForgetNumber {
        self.next += 1;
        ForgetNumber(self.next)
    }
}
