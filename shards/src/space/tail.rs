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

    /// The mark below which rows wait for nothing, where those below the mark `inserted` are in the
    /// graph and those below `durable` durable. Falls neither with more durable rows nor with more
    /// inserted ones.
    pub fn placed(self, inserted: u64, durable: u64) -> u64 {
        durable.min(inserted + u64::from(self.rows_max))
    }

    /// Whether idle time gives a stripe of so many durable rows a graph.
    pub fn has_graph(self, durable_rows: u32) -> bool {
        durable_rows >= self.graph_rows_min
    }
}
