//! Which row is refined next, and with how much effort.

use std::collections::VecDeque;
use std::ops::Range;

use crate::ids::Row;
use crate::limits::{GRAPH_WIDTH_REFINE, GRAPH_WIDTH_REFINE_DEEP, REFINE_URGENT_MAX};
use crate::quality::row_set::RowSet;

/// Rows in the order of their slots, each once; and again once the graph has doubled since, for
/// what was the best choice of links among half the rows no longer is. Rows that samples missed come
/// first; those that took the slot of a refined one have their turn before any row has its second.
/// Once the effort is raised, all have another turn.
#[derive(Debug)]
pub(super) struct Refining {
    /// Search width of those that are refined from now on.
    pub(super) width: u32,
    /// Rows in slots below it were refined.
    pub(super) refined: u32,
    /// Which of them among how many rows, in the order of rows.
    pub(super) runs: Vec<Run>,
    /// Rows in slots below `refined` that came later.
    later: RowSet,
    /// Where to go on among those.
    later_from: u32,
    /// Rows to be refined once more.
    pub(super) again: Range<u32>,
    /// Rows that samples missed.
    urgent: VecDeque<Row>,
}

/// Rows that were refined while the graph had about the same size, and with the same effort.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// The first; the next run, or the first row not refined, ends it.
    pub(super) first: u32,
    /// Rows of the graph at that time.
    pub(super) among: u32,
    /// Search width.
    pub(super) width: u32,
}

impl Default for Refining {
    fn default() -> Refining {
        Refining {
            width: GRAPH_WIDTH_REFINE,
            refined: 0,
            runs: Vec::new(),
            later: RowSet::default(),
            later_from: 0,
            again: 0..0,
            urgent: VecDeque::new(),
        }
    }
}

impl Refining {
    /// What was done was not enough: all rows are to be refined with more effort. Returns whether there is more to be
    /// had.
    pub(super) fn deepen(&mut self) -> bool {
        let is_more = self.width < GRAPH_WIDTH_REFINE_DEEP;
        self.width = self.width.max(GRAPH_WIDTH_REFINE_DEEP);
        is_more
    }

    /// A sample missed these rows.
    pub(super) fn missed(&mut self, rows: &[Row]) {
        for row in rows {
            if self.urgent.len() < REFINE_URGENT_MAX && !self.urgent.contains(row) {
                self.urgent.push_back(*row);
            }
        }
    }

    /// Another row than before is in the graph in this slot.
    pub(super) fn linked_again(&mut self, row: Row) {
        if row.0 < self.refined {
            self.later.insert(row);
        }
    }

    /// Whether a row of a graph of `indexed` slots is to be refined.
    pub(super) fn is_wanted(&self, indexed: u32) -> bool {
        let waits = self.refined < indexed || !self.again.is_empty() || !self.urgent.is_empty();
        waits || self.later.len() > 0 || self.runs.iter().any(|run| self.is_outgrown(run, indexed))
    }

    /// The next row of a graph of `indexed` slots; none if none is wanted.
    pub(super) fn next(&mut self, indexed: u32) -> Option<Row> {
        if let Some(row) = self.urgent.pop_front() {
            return Some(row);
        }
        if self.refined < indexed {
            let first = self.refined;
            // Sizes within a quarter make one run, so that there are a few dozen at most.
            let is_like =
                |run: &Run| run.among + run.among / 4 >= indexed && run.width == self.width;
            if !self.runs.last().is_some_and(is_like) {
                self.runs.push(Run { first, among: indexed, width: self.width });
            }
            self.refined += 1;
            return Some(Row(first));
        }
        if let Some(row) = self.later.next_from(Row(self.later_from)) {
            self.later.remove(row);
            self.later_from = row.0 + 1;
            return Some(row);
        }
        if self.again.is_empty() {
            let outgrown = self.runs.iter().position(|run| self.is_outgrown(run, indexed))?;
            let end = self.runs.get(outgrown + 1).map_or(self.refined, |run| run.first);
            let run = &mut self.runs[outgrown];
            (run.among, run.width) = (indexed, self.width);
            self.again = run.first..end;
        }
        self.again.next().map(Row)
    }

    /// Slots whose rows were refined at least once.
    pub(super) fn refined(&self) -> u32 {
        self.refined - self.later.len()
    }

    fn is_outgrown(&self, run: &Run, indexed: u32) -> bool {
        u64::from(indexed) >= 2 * u64::from(run.among) || run.width < self.width
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(refining: &mut Refining, indexed: u32) -> Vec<u32> {
        let mut rows = Vec::new();
        while refining.is_wanted(indexed) {
            rows.push(refining.next(indexed).expect("one is wanted").0);
        }
        rows
    }

    #[test]
    fn each_row_once_and_again_once_the_graph_has_doubled() {
        let mut refining = Refining::default();
        assert_eq!(all(&mut refining, 10), (0..10).collect::<Vec<u32>>());
        assert_eq!(all(&mut refining, 19), (10..19).collect::<Vec<u32>>());
        let once_more = (19..20).chain(0..10);
        assert_eq!(all(&mut refining, 20), once_more.collect::<Vec<u32>>());
        assert!(!refining.is_wanted(20) && refining.next(20).is_none());
        // Those of 10 to 19 were refined among 19, the others among 20.
        let once_more = (20..39).chain(10..20);
        assert_eq!(all(&mut refining, 39), once_more.collect::<Vec<u32>>());
        assert_eq!(refining.refined(), 39);
    }

    #[test]
    fn a_graph_that_grows_row_by_row_is_refined_about_twice() {
        let mut refining = Refining::default();
        let refined: usize = (1..=10_000).map(|indexed| all(&mut refining, indexed).len()).sum();
        assert!((15_000..30_000).contains(&refined), "{refined}");
        assert!(refining.runs.len() < 60, "{} runs", refining.runs.len());
    }

    #[test]
    fn more_effort_is_had_once_and_reaches_all_rows_and_those_to_come() {
        let mut refining = Refining::default();
        all(&mut refining, 100);
        all(&mut refining, 150);
        let width = refining.width;
        assert!(refining.deepen() && refining.width > width);
        assert_eq!(all(&mut refining, 160), (150..160).chain(0..150).collect::<Vec<u32>>());
        assert!(!refining.deepen() && !refining.is_wanted(160));
        assert_eq!(all(&mut refining, 165), (160..165).collect::<Vec<u32>>());
    }

    #[test]
    fn rows_in_slots_of_others_are_refined_once_each() {
        let mut refining = Refining::default();
        all(&mut refining, 300);
        for row in [5, 200, 70, 5] {
            refining.linked_again(Row(row));
        }
        assert_eq!((refining.refined(), refining.is_wanted(300)), (297, true));
        assert_eq!(refining.next(300), Some(Row(5)));
        refining.linked_again(Row(5));
        assert_eq!(all(&mut refining, 300), [70, 200, 5]);
        refining.linked_again(Row(300));
        assert!(!refining.is_wanted(300), "its turn is still to come");
    }

    #[test]
    fn missed_rows_go_first_and_only_so_many_wait() {
        let mut refining = Refining::default();
        assert_eq!(refining.next(1_000), Some(Row(0)));
        refining.missed(&[Row(7), Row(5), Row(7)]);
        let next: Vec<_> = (0..3).map(|_| refining.next(1_000).expect("wanted").0).collect();
        assert_eq!(next, [7, 5, 1]);
        let many: Vec<Row> = (0..2 * REFINE_URGENT_MAX as u32).map(Row).collect();
        refining.missed(&many);
        assert_eq!(refining.urgent.len(), REFINE_URGENT_MAX);
    }
}
