//! The engine as it is measured: every call of it, in one place.

use engram::dataset::{DIMENSION, Vector};
use engram_shards::graph::{Index, Scored, Scratch};
use engram_shards::limits::{GRAPH_LINKS, GRAPH_WIDTH_INSERT};
use engram_shards::vector::codes::{Codes, encode, normalise};

/// Links of a row, of the upper layers; the bottom has twice as many.
pub(super) const LINKS: usize = GRAPH_LINKS;
/// Width of the search for the links of a new row.
pub(super) const WIDTH_INSERT: u32 = GRAPH_WIDTH_INSERT;

/// An index with what its calls need.
pub(super) struct Engine {
    index: Index,
    scratch: Scratch,
    found: Vec<Scored>,
}

impl Engine {
    pub(super) fn new() -> Engine {
        let index = Index::new(DIMENSION as u16, 1);
        Engine { index, scratch: Scratch::default(), found: Vec::new() }
    }

    /// Takes rows as a client sends them; they are not in the graph yet.
    pub(super) fn push(&mut self, rows: &[Vector]) {
        for row in rows {
            self.index.push(&encoded(row));
        }
    }

    /// Puts all rows that are not in the graph there, and tells the distances that it took.
    pub(super) fn insert(&mut self) -> u64 {
        let waiting = self.index.indexed()..self.index.len();
        waiting.map(|_| u64::from(self.index.insert_next(WIDTH_INSERT, &mut self.scratch))).sum()
    }

    /// The nearest `count` rows of the graph, best first.
    pub(super) fn search(&mut self, cue: &Vector, width: u32, count: u32) -> &[Scored] {
        let Engine { index, scratch, found } = self;
        index.search(&encoded(cue), width, count, |_| true, scratch, found);
        found
    }

    /// The same among all rows, compared one by one.
    pub(super) fn scan(&mut self, cue: &Vector, count: u32) -> &[Scored] {
        let Engine { index, found, .. } = self;
        found.clear();
        index.scan(&encoded(cue), 0..index.len(), count, |_| true, found);
        found
    }
}

fn encoded(vector: &Vector) -> Codes {
    let mut unit = *vector;
    normalise(&mut unit).expect("a row of the data has a direction");
    encode(&unit)
}
