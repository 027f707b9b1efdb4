//! A row as a query that the graph has never seen.

use crate::ids::Row;

use super::Index;
use super::index::{Scratch, Sought};
use super::links::level;
use super::rank::Scored;

impl Index {
    /// Whether `row` may stand for a query in [`Index::search_without`]: it is in the graph, and on
    /// the bottom layer alone, so that no search starts at it. Fifteen of sixteen are.
    pub fn is_on_bottom_only(&self, row: Row) -> bool {
        self.states.is_linked(row.0) && self.starts_no_search(row)
    }

    /// Whether there is no layer above the bottom that has the row.
    pub(super) fn starts_no_search(&self, row: Row) -> bool {
        row.0 > 0 && level(self.seed, row.0) == 0
    }

    /// The nearest `count` visible rows to `row`, which the search takes for absent: neither is it
    /// found nor are its links followed. So a row stands for a query that the graph has never seen;
    /// it may have left the graph since it was chosen for that.
    /// Where that is not complete, the rows are to be scanned.
    pub fn search_without(
        &self,
        row: Row,
        width: u32,
        count: u32,
        visible: impl Fn(Row) -> bool,
        scratch: &mut Scratch,
        found: &mut Vec<Scored>,
    ) -> Sought {
        assert!(self.starts_no_search(row), "a search might start at row {}", row.0);
        found.clear();
        let query = self.rows.row(row.0);
        self.find(query, Some(row.0), (width, count), visible, scratch, found)
    }

    /// [`Index::scan`] with a row as the query.
    pub fn scan_for(
        &self,
        row: Row,
        range: std::ops::Range<u32>,
        count: u32,
        visible: impl Fn(Row) -> bool,
        scratch: &mut Scratch,
        found: &mut Vec<Scored>,
    ) -> u32 {
        let slots = self.len_slots();
        assert!(range.end <= slots, "rows to {} are scanned, of {slots}", range.end);
        self.scan_with(self.rows.row(row.0), range, count, visible, scratch, found)
    }
}
