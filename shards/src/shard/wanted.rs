//! What reads in flight are for, and what waits to be read.

use std::collections::VecDeque;

use crate::ids::{Location, Row, Slot};
use crate::shard::forgotten::ForgetNumber;
use crate::shard::pending::{Carrying, JobNumber};
use crate::shard::turns::RecallNumber;
use crate::space::{Pair, Reading};

/// What a read was for, in the order of its places.
#[derive(Debug)]
pub(super) enum Wanted {
    /// Candidates of a recall, by number, and where their records lie.
    Recall(RecallNumber, Vec<(usize, Location)>),
    /// Pairs: the older one's record, then the newer one's.
    Pairs(Vec<Unverified>),
    /// Rows that a compaction carries on.
    Carried(JobNumber, Vec<Carrying>, Reading),
    /// Rows that may be of a memory that is forgotten.
    Forget(ForgetNumber, Vec<Row>),
}

/// A pair of rows whose ids are to be compared.
#[derive(Debug)]
pub(super) struct Unverified {
    pub(super) slot: Slot,
    pub(super) pair: Pair,
    /// Keeps the two from being overwritten.
    pub(super) reading: Reading,
}

/// Pairs that wait to be verified.
#[derive(Debug, Default)]
pub(super) struct Replacing {
    pub(super) backlog: VecDeque<Unverified>,
    /// Reads in flight.
    pub(super) reading: usize,
}
