//! How long a stripe's tail may be, and from when on it has a graph.

use crate::limits::{GRAPH_ROWS_MIN, TAIL_ROWS_MAX};

/// Bounds of a tail: the durable rows that recalls compare one by one, because they are not in the
/// graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TailLimits {
    /// So many rows may be there without any of them waiting: each further one puts the oldest into
    /// the graph.
    pub rows_max: u32,
    /// Durable rows from which on idle time puts the whole tail into the graph: among fewer, a
    /// search takes as long as comparing them all.
    pub graph_rows_min: u32,
}

impl Default for TailLimits {
    fn default() -> TailLimits {
        TailLimits { rows_max: TAIL_ROWS_MAX, graph_rows_min: GRAPH_ROWS_MIN }
    }
}

impl TailLimits {
    /// No tail: each durable row waits for its place in the graph.
    pub const NONE: TailLimits = TailLimits { rows_max: 0, graph_rows_min: 0 };

    /// The first rows wait for nothing, where `linked` of the `durable` ones are in the graph: all
    /// below this number. Falls neither with more durable rows nor with more linked ones.
    pub fn placed(self, linked: u32, durable: u32) -> u32 {
        durable.min(linked.saturating_add(self.rows_max))
    }

    /// Whether idle time puts the next row of this stripe into the graph.
    pub fn is_linked_in_idle_time(self, linked: u32, durable: u32) -> bool {
        linked < durable && durable >= self.graph_rows_min
    }
}
