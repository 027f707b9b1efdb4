//! A row as a query that the graph has never seen.

use std::cmp::Reverse;

use crate::ids::Row;

use super::Index;
use super::index::Scratch;
use super::links::level;
use super::rank::{Rank, Scored};
use super::search::search;

impl Index {
    /// Whether `row` may stand for a query in [`Index::search_without`]: it is in the graph, and on
    /// the bottom layer alone, so that no search starts at it. Fifteen of sixteen are.
    pub fn is_on_bottom_only(&self, row: Row) -> bool {
        row.0 > 0 && row.0 < self.indexed() && level(self.seed, row.0) == 0
    }

    /// The nearest `count` visible rows to `row`, which the search takes for absent: neither is it
    /// found nor are its links followed. So a row stands for a query that the graph has never seen.
    /// Returns the distances that it took.
    pub fn search_without(
        &self,
        row: Row,
        width: u32,
        count: u32,
        visible: impl Fn(Row) -> bool,
        scratch: &mut Scratch,
        found: &mut Vec<Scored>,
    ) -> u32 {
        assert!(self.is_on_bottom_only(row), "a search might start at row {}", row.0);
        found.clear();
        let query = self.rows.row(row.0);
        let mut distances = 0;
        let start = self.enter(query, 0, &mut distances);
        let traversal = &mut scratch.traversal;
        traversal.absent = Some(row.0);
        let visible = |row| visible(Row(row));
        distances +=
            search(&self.rows, &self.bottom, query, start, width.max(count), visible, traversal);
        found.extend(traversal.beam.kept().map(Scored::from));
        found.sort_unstable_by_key(|scored| Reverse(Rank::from(*scored)));
        found.truncate(count as usize);
        distances
    }

    /// [`Index::scan`] with a row as the query.
    pub fn scan_for(
        &self,
        row: Row,
        range: std::ops::Range<u32>,
        count: u32,
        visible: impl Fn(Row) -> bool,
        found: &mut Vec<Scored>,
    ) -> u32 {
        assert!(range.end <= self.len(), "rows to {} are scanned, of {}", range.end, self.len());
        let distances = range.len() as u32;
        super::scan::scan(&self.rows, self.rows.row(row.0), range, count as usize, visible, found);
        distances
    }
}
