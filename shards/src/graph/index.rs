//! Rows, layers and the ways through them, put together.

use std::cmp::Reverse;
use std::ops::Range;

use crate::ids::Row;
use crate::limits::{DIMENSION_MAX, DIMENSION_MIN, GRAPH_LINKS, GRAPH_WIDTH_INSERT};
use crate::vector::codes::Codes;
use crate::vector::kernel::Kernel;
use crate::vector::rows::{Query, QueryBlocks, Rows};

use super::check;
use super::link::link;
use super::links::{Bottom, Kin, Layer, Upper, level};
use super::rank::{Rank, Scored};
use super::scan;
use super::search::{Traversal, descend, search};
use super::select::select;

/// Reusable memory of searches and insertions. One serves any number of indices; it carries nothing
/// from call to call.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(super) traversal: Traversal,
    pub(super) candidates: Vec<Rank>,
    pub(super) chosen: Vec<Rank>,
    pub(super) chosen_rows: Vec<u32>,
}

/// The rows of one stripe: all codes in order of arrival, and the graph over the first `indexed` of
/// them.
#[derive(Clone, Debug)]
pub struct Index {
    pub(super) seed: u64,
    pub(super) rows: Rows,
    pub(super) bottom: Bottom,
    /// From the layer above the bottom to the topmost, whose node 0 is the entry.
    pub(super) upper: Vec<Upper>,
}

impl Index {
    /// An empty index for vectors of `dimension`; `seed` draws the layers, so equal inputs build
    /// equal graphs.
    pub fn new(dimension: u16, seed: u64) -> Index {
        Index::with_kernel(dimension, seed, Kernel::fastest())
    }

    /// The same with another kernel than the fastest; results do not depend on it.
    pub fn with_kernel(dimension: u16, seed: u64, kernel: Kernel) -> Index {
        assert!((DIMENSION_MIN..=DIMENSION_MAX).contains(&dimension), "dimension {dimension}");
        Index { seed, rows: Rows::new(dimension, kernel), bottom: Bottom::new(), upper: Vec::new() }
    }

    /// Rows held, in the graph or not.
    pub fn len(&self) -> u32 {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows in the graph: all below this number.
    pub fn indexed(&self) -> u32 {
        self.bottom.len()
    }

    /// Bytes of RAM that rows and graph take.
    pub fn bytes(&self) -> u64 {
        self.rows.bytes() + self.bottom.bytes() + self.upper.iter().map(Upper::bytes).sum::<u64>()
    }

    /// Adds a row behind the last, outside the graph.
    pub fn push(&mut self, codes: &Codes) -> Row {
        Row(self.rows.push(codes))
    }

    /// Drops all rows from `len` up; none of them may be in the graph.
    pub fn truncate(&mut self, len: u32) {
        assert!(
            len >= self.indexed(),
            "truncated to {len} rows, with {} in the graph",
            self.indexed()
        );
        self.rows.truncate(len);
    }

    /// Puts row `indexed()` into the graph, with a search of this width on the bottom layer;
    /// there must be such a row. Returns the distances that it took.
    pub fn insert_next(&mut self, width: u32, scratch: &mut Scratch) -> u32 {
        let row = self.indexed();
        assert!(row < self.len(), "all {row} rows are in the graph");
        let height = level(self.seed, row);
        let mut distances = 0;
        if row > 0 {
            let query = self.rows.row(row);
            let mut at = self.enter(query, height, &mut distances);
            for layer in (1..=height.min(self.upper.len())).rev() {
                at = insert_upper(
                    &self.rows,
                    &mut self.upper,
                    layer,
                    row,
                    at,
                    scratch,
                    &mut distances,
                );
            }
            insert_bottom(&self.rows, &mut self.bottom, row, at, width, scratch, &mut distances);
        } else {
            self.bottom.push();
        }
        while self.upper.len() < height {
            let below = self.upper.last().map_or(row, |layer| layer.links.len() - 1);
            let mut layer = Upper::new();
            layer.push(row, below);
            self.upper.push(layer);
        }
        distances
    }

    /// The nearest `count` rows of the graph for which `visible` holds, best first, ties by row
    /// number. Others are passed through but not returned. Returns the distances that it took.
    pub fn search(
        &self,
        query: &Codes,
        width: u32,
        count: u32,
        visible: impl Fn(Row) -> bool,
        scratch: &mut Scratch,
        found: &mut Vec<Scored>,
    ) -> u32 {
        found.clear();
        if self.indexed() == 0 || count == 0 {
            return 0;
        }
        let blocks = QueryBlocks::new(query);
        let query = self.rows.query(query, &blocks);
        let mut distances = 0;
        let start = self.enter(query, 0, &mut distances);
        let traversal = &mut scratch.traversal;
        let visible = |row| visible(Row(row));
        distances +=
            search(&self.rows, &self.bottom, query, start, width.max(count), visible, traversal);
        found.extend(traversal.beam.kept().map(Scored::from));
        found.sort_unstable_by_key(|scored| Reverse(Rank::from(*scored)));
        found.truncate(count as usize);
        distances
    }

    /// Compares the rows `range` one by one and merges those that are `visible` into `found`, which
    /// keeps the best `count`, best first. Returns the distances that it took.
    pub fn scan(
        &self,
        query: &Codes,
        range: Range<u32>,
        count: u32,
        visible: impl Fn(Row) -> bool,
        found: &mut Vec<Scored>,
    ) -> u32 {
        assert!(range.end <= self.len(), "rows to {} are scanned, of {}", range.end, self.len());
        let blocks = QueryBlocks::new(query);
        let query = self.rows.query(query, &blocks);
        let distances = range.len() as u32;
        scan::scan(&self.rows, query, range, count as usize, visible, found);
        distances
    }

    /// Checks every invariant of the graph; the text says what is wrong and where.
    pub fn check(&self) -> Result<(), String> {
        check::check(&self.rows, &self.bottom, &self.upper, self.seed)
    }

    /// From the entry down to the layer `height`, or to the topmost if it is lower: the node there
    /// to start from.
    pub(super) fn enter(&self, query: Query<'_>, height: usize, distances: &mut u32) -> Rank {
        let row = self.upper.last().map_or(0, |layer| layer.rows[0]);
        let mut at = Rank::new(self.rows.similarity(query, row), 0);
        *distances += 1;
        for layer in self.upper[height.min(self.upper.len())..].iter().rev() {
            at = descend(&self.rows, layer, query, at, distances);
            at = Rank::new(at.similarity(), layer.below[at.node()]);
        }
        at
    }
}

/// Puts `row` into an upper layer, from node `at` of it; returns where to start in the layer below.
fn insert_upper(
    rows: &Rows,
    upper: &mut [Upper],
    height: usize,
    row: u32,
    at: Rank,
    scratch: &mut Scratch,
    distances: &mut u32,
) -> Rank {
    // The row is pushed to the layer below right after.
    let below = if height > 1 { upper[height - 2].links.len() } else { row };
    let layer = &mut upper[height - 1];
    let query = rows.row(row);
    let width = GRAPH_WIDTH_INSERT;
    let kin = find_and_select(rows, layer, row, at, width, scratch, distances);
    let node = layer.push(row, below);
    let Upper { links, rows: layer_rows, below } = layer;
    let similarity = |other| rows.similarity(query, layer_rows[other]);
    *distances += link(links, node, kin, &scratch.chosen, &scratch.traversal.visited, similarity);
    let best = scratch.candidates[0];
    Rank::new(best.similarity(), below[best.node()])
}

/// Puts `row` into the bottom layer, from row `at`.
fn insert_bottom(
    rows: &Rows,
    bottom: &mut Bottom,
    row: u32,
    at: Rank,
    width: u32,
    scratch: &mut Scratch,
    distances: &mut u32,
) {
    let query = rows.row(row);
    let kin = find_and_select(rows, bottom, row, at, width, scratch, distances);
    let node = bottom.push();
    let similarity = |other| rows.similarity(query, other);
    *distances += link(bottom, node, kin, &scratch.chosen, &scratch.traversal.visited, similarity);
}

/// Searches a layer for the neighbours of a new row and chooses among them: a twin alone, if there
/// is one. Tells which.
fn find_and_select<L: Layer>(
    rows: &Rows,
    layer: &L,
    row: u32,
    start: Rank,
    width: u32,
    scratch: &mut Scratch,
    distances: &mut u32,
) -> Kin {
    let Scratch { traversal, candidates, chosen, chosen_rows } = scratch;
    let query = rows.row(row);
    *distances += search(rows, layer, query, start, width, |_| true, traversal);
    candidates.clear();
    candidates.extend(traversal.beam.kept());
    candidates.sort_unstable_by(|a, b| b.cmp(a));
    // Twins are as similar as a row is to itself; comparing that first spares comparing codes.
    let own = rows.similarity(query, row);
    *distances += 1;
    let equal =
        |rank: &&Rank| rank.similarity() == own && rows.row(layer.row(rank.node())) == query;
    if let Some(twin) = candidates.iter().find(equal) {
        chosen.clear();
        chosen.push(*twin);
        return Kin::Twin;
    }
    *distances += select(rows, layer, candidates, GRAPH_LINKS, chosen, chosen_rows);
    Kin::Other
}
