//! The slots of rows: which rows wait for the graph, in which order, and which slots may be used
//! again.
//!
//! A row keeps its slot, which is its number, from its arrival until it has left the graph. Slots
//! are used again in the order in which they were left; a slot's layers stay what was drawn for its
//! number, and its nodes stay where they are.
//!
//! **Invariant:** slots that never were in the graph lie behind all others, and wait in their order.

use std::collections::VecDeque;

/// Rows outside the graph.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    /// Rows that wait, in the order of their arrival.
    pub(super) waiting: VecDeque<u32>,
    /// Rows that are gone, in the order in which they went.
    pub(super) gone: VecDeque<u32>,
    /// Rows that ever were inserted, or passed over.
    pub(super) inserted: u64,
    /// Rows that ever went.
    pub(super) departed: u64,
}

impl Slots {
    /// Bytes of RAM that they take.
    pub(super) fn bytes(&self) -> u64 {
        let rows = self.waiting.capacity() + self.gone.capacity();
        (rows * size_of::<u32>()) as u64
    }
}
