//! Which row is refined next.

use std::collections::VecDeque;

use crate::ids::Row;
use crate::limits::REFINE_URGENT_MAX;

/// A pass over all rows of a graph, which begins again once the graph has doubled: what was the
/// best choice of links among half the rows no longer is. Rows that samples missed come first.
#[derive(Debug, Default)]
pub(super) struct Refining {
    /// Rows below it were refined in this pass.
    refined: u32,
    /// Rows of the graph when the pass began.
    began_with: u32,
    /// Rows that samples missed.
    urgent: VecDeque<Row>,
}

impl Refining {
    /// A sample missed these rows.
    pub(super) fn missed(&mut self, rows: &[Row]) {
        for row in rows {
            if self.urgent.len() < REFINE_URGENT_MAX && !self.urgent.contains(row) {
                self.urgent.push_back(*row);
            }
        }
    }

    /// Whether a row of a graph of `indexed` rows is to be refined.
    pub(super) fn is_wanted(&self, indexed: u32) -> bool {
        self.refined < indexed || !self.urgent.is_empty() || self.is_outgrown(indexed)
    }

    /// The next row of a graph of `indexed` rows.
    pub(super) fn next(&mut self, indexed: u32) -> Option<Row> {
        if let Some(row) = self.urgent.pop_front() {
            return Some(row);
        }
        if self.began_with == 0 || (self.refined == indexed && self.is_outgrown(indexed)) {
            *self = Refining { refined: 0, began_with: indexed, urgent: VecDeque::new() };
        }
        if self.refined >= indexed {
            return None;
        }
        self.refined += 1;
        Some(Row(self.refined - 1))
    }

    /// Rows refined in this pass.
    pub(super) fn refined(&self) -> u32 {
        self.refined
    }

    fn is_outgrown(&self, indexed: u32) -> bool {
        u64::from(indexed) >= 2 * u64::from(self.began_with)
    }
}
