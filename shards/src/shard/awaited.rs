//! Who waits until rows of a stripe wait for nothing.

use std::collections::BTreeMap;

use crate::ids::Slot;
use crate::message::Origin;

/// They wait for a mark: for all rows that arrived in a stripe before it.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    by_mark: BTreeMap<(Slot, u64), Vec<Origin>>,
}

impl Awaited {
    /// `origin` waits for the rows below `mark`.
    pub(super) fn wait(&mut self, slot: Slot, mark: u64, origin: Origin) {
        self.by_mark.entry((slot, mark)).or_default().push(origin);
    }

    /// The rows below `placed` wait for nothing: whoever waited for no more than that.
    pub(super) fn placed(&mut self, slot: Slot, placed: u64) -> Vec<Origin> {
        let mut told = Vec::new();
        while let Some((&(first, mark), _)) = self.by_mark.range((slot, 0)..).next()
            && first == slot
            && mark <= placed
        {
            told.extend(self.by_mark.remove(&(slot, mark)).expect("it was just seen"));
        }
        told
    }

    /// The rows from the mark `end` on are dropped: who waited for some of them waits for the others.
    pub(super) fn truncate(&mut self, slot: Slot, end: u64) {
        let beyond: Vec<u64> = self
            .by_mark
            .range((slot, end + 1)..=(slot, u64::MAX))
            .map(|((_, mark), _)| *mark)
            .collect();
        for mark in beyond {
            let origins = self.by_mark.remove(&(slot, mark)).expect("it was just seen");
            self.by_mark.entry((slot, end)).or_default().extend(origins);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_and_of_its_own_stripe() {
        let mut awaited = Awaited::default();
        for (slot, mark, origin) in [(1, 5, 10), (1, 7, 11), (1, 5, 12), (2, 5, 13)] {
            awaited.wait(Slot(slot), mark, Origin(origin));
        }
        assert_eq!(awaited.placed(Slot(1), 4), []);
        assert_eq!(awaited.placed(Slot(1), 6), [Origin(10), Origin(12)]);
        assert_eq!(awaited.placed(Slot(1), 6), []);
        assert_eq!(awaited.placed(Slot(0), 99), []);
        assert_eq!(awaited.placed(Slot(2), 5), [Origin(13)]);
    }

    #[test]
    fn who_waits_for_dropped_rows_waits_for_those_before_them() {
        let mut awaited = Awaited::default();
        for mark in [3, 6, 9] {
            awaited.wait(Slot(1), mark, Origin(mark));
        }
        awaited.truncate(Slot(1), 4);
        assert_eq!(awaited.placed(Slot(1), 4), [Origin(3), Origin(6), Origin(9)]);
    }
}
