//! Which generations of a stripe are no more: replaced, deleted or cancelled.
//!
//! A stripe's generations are either rows or gone. So after a restart it is the rows that tell what is gone, once somebody
//! wants to know: step by step, while rows go on to leave.

use crate::ids::{Generation, Row};
use crate::log::ranges::Ranges;

/// Generations that are no more.
#[derive(Debug, Default)]
pub struct Gone {
    ranges: Ranges,
    /// Rises with what is gone.
    changes: u64,
    finding: Option<Finding>,
}

/// What was gone when the stripe was restored is being found.
#[derive(Debug)]
struct Finding {
    /// The newest generation then.
    until: Generation,
    /// How many slots there were then.
    slots: u32,
    /// Rows in slots below this one were looked at …
    next: u32,
    /// … and these are kept.
    held: Ranges,
    /// All that is missing in `held` up to this generation was added.
    added: u64,
}

impl Gone {
    /// All that has no row up to this generation is gone. What that is has to be [found](Gone::find) in so many slots.
    pub(super) fn restored(until: Generation, slots: u32) -> Gone {
        let finding = Finding { until, slots, next: 0, held: Ranges::default(), added: 0 };
        Gone { finding: Some(finding), ..Gone::default() }
    }

    /// One more.
    pub(super) fn insert(&mut self, generation: Generation) {
        self.changes += u64::from(self.ranges.insert(generation.0));
    }

    /// Looks at so many rows, or runs of them, of which there are `slots`; `kept` has the generation of those that are
    /// kept. Whether all is found.
    pub(super) fn find(
        &mut self,
        slots: u32,
        count: u32,
        kept: impl Fn(Row) -> Option<Generation>,
    ) -> bool {
        let Some(finding) = &mut self.finding else { return true };
        let Finding { until, next, held, added, .. } = finding;
        if *next < slots {
            let end = slots.min(next.saturating_add(count));
            let rows = (*next..end).filter_map(|row| kept(Row(row)));
            for generation in rows.filter(|generation| generation <= until) {
                held.insert(generation.0);
            }
            *next = end;
            return false;
        }
        for (first, last) in held.runs_behind(*added).take(count as usize) {
            if *added + 1 < first {
                self.ranges.insert_run(*added + 1, first - 1);
            }
            *added = last;
        }
        if held.last().is_some_and(|last| *added < last) {
            return false;
        }
        if *added < until.0 {
            self.ranges.insert_run(*added + 1, until.0);
        }
        self.finding = None;
        self.changes += 1;
        true
    }

    /// All of them, as far as they are found.
    pub fn ranges(&self) -> &Ranges {
        &self.ranges
    }

    /// Rises whenever there are more of them.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether there is none for sure.
    pub fn is_none(&self) -> bool {
        self.finding.is_none() && self.ranges.is_empty()
    }

    /// How many runs they may make, at most.
    pub fn runs_max(&self) -> u64 {
        let between = self.finding.as_ref().map_or(0, |finding| u64::from(finding.slots));
        between.max(self.ranges.len_runs() as u64)
    }

    /// Bytes of RAM that they take: a node of the map is seldom less than half full.
    pub fn bytes(&self) -> u64 {
        let held = self.finding.as_ref().map_or(0, |finding| finding.held.len_runs());
        2 * ((self.ranges.len_runs() + held) * size_of::<(u64, u64)>()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_has_no_row_is_found_while_rows_go_on_to_leave(
            kept in prop::collection::vec(any::<bool>(), 1..80),
            leaving in prop::collection::vec((0..80usize, 0..30u32), 0..20),
            count in 1..9u32,
        ) {
            // Row number n has the generation n + 1; the last five came later.
            let mut kept = kept;
            let until = (kept.len() as u64).saturating_sub(5);
            let mut gone = Gone::restored(Generation(until), kept.len() as u32);
            let mut steps = 0;
            loop {
                for (row, _) in leaving.iter().filter(|(_, at)| *at == steps) {
                    if kept.get(*row).copied().unwrap_or(false) {
                        kept[*row] = false;
                        gone.insert(Generation(*row as u64 + 1));
                    }
                }
                let slots = kept.len() as u32;
                let of = |Row(row)| kept[row as usize].then_some(Generation(u64::from(row) + 1));
                if gone.find(slots, count, of) {
                    break;
                }
                steps += 1;
            }
            for generation in 1..=until {
                prop_assert_eq!(gone.ranges().contains(generation), !kept[generation as usize - 1]);
            }
            prop_assert!(gone.changes() > 0);
        }
    }
}
