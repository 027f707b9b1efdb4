//! What reads in flight are for, and what waits to be read.

use std::collections::VecDeque;

use crate::ids::Location;
use crate::shard::turns::{RecallNumber, Slot};
use crate::space::Pair;

/// What a read was for, in the order of its places.
#[derive(Debug)]
pub(super) enum Wanted {
    /// Candidates of a recall, by number, and where their records lie.
    Recall(RecallNumber, Vec<(usize, Location)>),
    /// Pairs: the older one's record, then the newer one's.
    Pairs(Vec<(Slot, Pair)>),
}

/// Pairs that wait to be verified.
#[derive(Debug, Default)]
pub(super) struct Replacing {
    pub(super) backlog: VecDeque<(Slot, Pair)>,
    /// Reads in flight.
    pub(super) reading: usize,
}

impl Replacing {
    /// The ids of this pair are to be compared.
    pub(super) fn push(&mut self, slot: Slot, pair: Pair) {
        self.backlog.push_back((slot, pair));
    }
}
