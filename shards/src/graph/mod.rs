//! HNSW over the arena's rows.

use crate::ids::Row;
use crate::vector::codes::Codes;

/// A row and its similarity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// The row.
    pub row: Row,
    /// Similarity, larger is nearer.
    pub similarity: f32,
}

/// Reusable memory of searches and insertions.
#[derive(Debug, Default)]
pub struct Scratch {}

/// The rows of one stripe: all codes in order of arrival, and the graph over the first `indexed` of them.
#[derive(Debug)]
pub struct Index {}

impl Index {
    /// An empty index for vectors of `dimension`; `seed` draws the layers, so equal inputs build equal graphs.
    pub fn new(dimension: u16, seed: u64) -> Index {
        let _ = (dimension, seed);
        todo!()
    }

    /// Rows held, in the graph or not.
    pub fn len(&self) -> u32 {
        todo!()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows in the graph: all below this number.
    pub fn indexed(&self) -> u32 {
        todo!()
    }

    /// Adds a row behind the last, outside the graph.
    pub fn push(&mut self, codes: &Codes) -> Row {
        let _ = codes;
        todo!()
    }

    /// Drops all rows from `len` up; none of them may be in the graph.
    pub fn truncate(&mut self, len: u32) {
        let _ = len;
        todo!()
    }

    /// Puts row `indexed()` into the graph. Returns the distances that it took.
    pub fn insert_next(&mut self, scratch: &mut Scratch) -> u32 {
        let _ = scratch;
        todo!()
    }

    /// The nearest `count` rows of the graph for which `visible` holds, best first, ties by row number. Others are
    /// passed through but not returned. Returns the distances that it took.
    pub fn search(
        &self,
        query: &Codes,
        width: u32,
        count: u32,
        visible: impl Fn(Row) -> bool,
        scratch: &mut Scratch,
        found: &mut Vec<Scored>,
    ) -> u32 {
        let _ = (query, width, count, visible, scratch, found);
        todo!()
    }

    /// Compares the rows `range` one by one and merges those that are `visible` into `found`, which keeps the best
    /// `count`, best first. Returns the distances that it took.
    pub fn scan(
        &self,
        query: &Codes,
        range: std::ops::Range<u32>,
        count: u32,
        visible: impl Fn(Row) -> bool,
        found: &mut Vec<Scored>,
    ) -> u32 {
        let _ = (query, range, count, visible, found);
        todo!()
    }

    /// Checks every invariant of the graph; the text says what is wrong and where.
    pub fn check(&self) -> Result<(), String> {
        todo!()
    }
}
