//! The best of a search, and which of them are still to be expanded.

use crate::vector::kernel::Kernel;

use super::rank::Rank;

/// Nodes a search passes through without returning them, remembered at most, per node of its width.
const PASSING_PER_WIDTH: usize = 4;

/// Unsorted arrays: with a few dozen nodes, one pass of vector instructions finds the best or the
/// worst sooner than any order is maintained.
#[derive(Debug, Default)]
pub(super) struct Beam {
    width: usize,
    /// The best nodes met.
    kept: Vec<i64>,
    /// The same at the same places; `NONE` where already expanded.
    open: Vec<i64>,
    /// The worst of the kept, and its place, once they are `width`; `NONE` before.
    worst: Option<usize>,
    bound: i64,
    /// Nodes that are expanded and never returned: those that the caller does not want to see.
    passing: Vec<i64>,
}

impl Beam {
    /// Empties it for a search of `width`.
    pub(super) fn reset(&mut self, width: usize) {
        assert!(width > 0);
        self.width = width;
        self.kept.clear();
        self.open.clear();
        self.passing.clear();
        self.worst = None;
        self.bound = Rank::NONE.0;
    }

    /// Whether a node of this rank is worth expanding.
    #[inline]
    pub(super) fn admits(&self, rank: Rank) -> bool {
        rank.0 > self.bound
    }

    /// Takes an admitted node, in the place of the worst if there are enough.
    #[inline]
    pub(super) fn push(&mut self, rank: Rank, kernel: Kernel) {
        match self.worst {
            Some(place) => {
                self.kept[place] = rank.0;
                self.open[place] = rank.0;
            }
            None => {
                self.kept.push(rank.0);
                self.open.push(rank.0);
                if self.kept.len() < self.width {
                    return;
                }
            }
        }
        let place = kernel.smallest(&self.kept);
        self.worst = Some(place);
        self.bound = self.kept[place];
    }

    /// Takes an admitted node that is expanded but not returned.
    pub(super) fn pass(&mut self, rank: Rank, kernel: Kernel) {
        if self.passing.len() < PASSING_PER_WIDTH * self.width {
            self.passing.push(rank.0);
            return;
        }
        let place = kernel.smallest(&self.passing);
        if self.passing[place] < rank.0 {
            self.passing[place] = rank.0;
        }
    }

    /// The best node not yet expanded.
    #[inline]
    pub(super) fn pop(&mut self, kernel: Kernel) -> Option<Rank> {
        let mut best = Rank::NONE.0;
        let mut place = 0;
        if !self.open.is_empty() {
            place = kernel.largest(&self.open);
            best = self.open[place];
        }
        if !self.passing.is_empty() {
            let other = kernel.largest(&self.passing);
            if self.passing[other] < self.bound {
                // Nothing better will come of these: the bound only rises.
                self.passing.clear();
            } else if self.passing[other] > best {
                return Some(Rank(self.passing.swap_remove(other)));
            }
        }
        if best == Rank::NONE.0 {
            return None;
        }
        self.open[place] = Rank::NONE.0;
        Some(Rank(best))
    }

    /// The best nodes met, in no order.
    pub(super) fn kept(&self) -> impl ExactSizeIterator<Item = Rank> {
        self.kept.iter().map(|rank| Rank(*rank))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_best_are_kept_and_popped_best_first(
            similarities in prop::collection::vec(-5i8..5, 1..200), width in 1usize..70, pops in 0usize..3
        ) {
            let kernel = Kernel::fastest();
            let mut beam = Beam::default();
            beam.reset(width);
            let mut kept: Vec<Rank> = Vec::new();
            let mut expanded: Vec<Rank> = Vec::new();
            for (node, similarity) in similarities.iter().enumerate() {
                let rank = Rank::new(f32::from(*similarity), node as u32);
                kept.sort_unstable_by(|a, b| b.cmp(a));
                prop_assert_eq!(beam.admits(rank), kept.len() < width || kept[width - 1] < rank);
                if beam.admits(rank) {
                    beam.push(rank, kernel);
                    kept.truncate(width - 1);
                    kept.push(rank);
                }
                for _ in 0..pops {
                    let wanted = kept.iter().filter(|rank| !expanded.contains(rank)).max().copied();
                    prop_assert_eq!(beam.pop(kernel), wanted);
                    expanded.extend(wanted);
                }
            }
            let mut found: Vec<Rank> = beam.kept().collect();
            found.sort_unstable();
            kept.sort_unstable();
            prop_assert_eq!(found, kept);
        }
    }

    #[test]
    fn nodes_passed_through_are_expanded_in_turn_and_never_kept() {
        let kernel = Kernel::fastest();
        let rank = |similarity: f32| Rank::new(similarity, 7);
        let mut beam = Beam::default();
        beam.reset(2);
        beam.push(rank(0.5), kernel);
        beam.pass(rank(0.9), kernel);
        beam.pass(rank(0.1), kernel);
        assert_eq!(beam.pop(kernel), Some(rank(0.9)));
        beam.push(rank(0.4), kernel);
        assert_eq!(beam.pop(kernel), Some(rank(0.5)));
        // The beam is full: what passes through at 0.1 is behind all of it.
        assert_eq!(beam.pop(kernel), Some(rank(0.4)));
        assert_eq!(beam.pop(kernel), None);
        assert_eq!(beam.kept().len(), 2);
    }
}
