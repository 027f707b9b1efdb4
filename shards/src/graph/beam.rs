//! The best of a search, and which of them are still to be expanded.

use std::collections::BinaryHeap;

use crate::vector::kernel::{self, Kernel};
use crate::vector::rows::COMPARED_MAX;

use super::rank::Rank;

/// Nodes beyond the width that are taken before the worst are dropped: room for one list of
/// neighbours, so that the worst are sought once in many lists.
const SPARE: usize = COMPARED_MAX;
/// Nodes taken at once, at most.
const TAKEN_MAX: usize = 2 * COMPARED_MAX;
/// Nodes beyond the width that may be left when the worst are dropped: the bound is sought by
/// halving, and stops where it is good enough.
const LEFT_OVER: usize = 4;
/// Halvings of the bound, at most: then similarities are equal to almost the last bit.
const HALVINGS_MAX: usize = 24;

/// Unsorted arrays: with a few dozen nodes, one pass of vector instructions finds the best sooner
/// than any order is maintained, and the worst need not be known exactly until the end.
#[derive(Debug, Default)]
pub(super) struct Beam {
    width: usize,
    /// Similarities of the nodes kept.
    similarities: Vec<f32>,
    /// The same at the same places; minus infinity where already expanded.
    open: Vec<f32>,
    nodes: Vec<u32>,
    /// Nodes in the arrays; what lies beyond is undefined.
    len: usize,
    /// At least `width` nodes are at least as similar; minus infinity while there are fewer.
    bound: f32,
    /// Nodes that are expanded and never returned: those that the caller does not want to see.
    /// There may be far more of them than the beam is wide, so they have an order.
    passing: BinaryHeap<Rank>,
}

impl Beam {
    /// Empties it for a search of `width`.
    pub(super) fn reset(&mut self, width: usize) {
        assert!(width > 0);
        let room = width + SPARE + TAKEN_MAX;
        if self.nodes.len() < room {
            self.similarities.resize(room, 0.0);
            self.open.resize(room, 0.0);
            self.nodes.resize(room, 0);
        }
        self.width = width;
        self.len = 0;
        self.bound = f32::NEG_INFINITY;
        self.passing.clear();
    }

    /// Whether a node of this similarity is worth expanding.
    #[inline]
    pub(super) fn admits(&self, similarity: f32) -> bool {
        similarity > self.bound
    }

    /// Takes those of at most [`TAKEN_MAX`] nodes that are worth expanding; returns them.
    #[inline]
    pub(super) fn push(&mut self, nodes: &[u32], similarities: &[f32], kernel: Kernel) -> &[u32] {
        if self.len >= self.width + SPARE {
            self.drop_worst(LEFT_OVER, kernel);
        }
        let first = self.len;
        let room = first..first + nodes.len();
        let arrays = kernel::Beam {
            similarities: &mut self.similarities[room.clone()],
            open: &mut self.open[room.clone()],
            nodes: &mut self.nodes[room],
        };
        self.len += kernel.admit(nodes, similarities, self.bound, arrays);
        &self.nodes[first..self.len]
    }

    /// Takes an admitted node that is expanded but not returned.
    pub(super) fn pass(&mut self, node: u32, similarity: f32) {
        self.passing.push(Rank::new(similarity, node));
    }

    /// The best node not yet expanded, unless `width` better ones are known.
    #[inline]
    pub(super) fn pop(&mut self, kernel: Kernel) -> Option<u32> {
        if !self.passing.is_empty() {
            return self.pop_with_passing(kernel);
        }
        let place = self.best_open(kernel)?;
        self.expand(place, kernel)
    }

    /// As [`Beam::pop`], where nodes are passed through.
    fn pop_with_passing(&mut self, kernel: Kernel) -> Option<u32> {
        let best = self.best_open(kernel);
        let passing = *self.passing.peek().expect("there are some");
        if best.is_none_or(|place| self.open[place] < passing.similarity()) {
            if self.has_better(passing.similarity(), kernel) {
                return None;
            }
            self.passing.pop();
            return Some(passing.node());
        }
        self.expand(best?, kernel)
    }

    fn best_open(&self, kernel: Kernel) -> Option<usize> {
        if self.len == 0 {
            return None;
        }
        let place = kernel.largest(&self.open[..self.len]);
        (self.open[place] > f32::NEG_INFINITY).then_some(place)
    }

    fn expand(&mut self, place: usize, kernel: Kernel) -> Option<u32> {
        if self.has_better(self.open[place], kernel) {
            return None;
        }
        self.open[place] = f32::NEG_INFINITY;
        Some(self.nodes[place])
    }

    /// Whether `width` nodes are better than `similarity`.
    #[inline]
    fn has_better(&self, similarity: f32, kernel: Kernel) -> bool {
        self.len > self.width
            && kernel.above(&self.similarities[..self.len], similarity) >= self.width
    }

    /// Leaves the best nodes met, `width` or all there are, in no order.
    pub(super) fn finish(&mut self, kernel: Kernel) -> &[u32] {
        if self.len > self.width {
            self.drop_worst(0, kernel);
        }
        &self.nodes[..self.len]
    }

    /// Drops the worst but `width` and up to `left_over` more.
    fn drop_worst(&mut self, left_over: usize, kernel: Kernel) {
        let kept = &self.similarities[..self.len];
        let most = kept[kernel.largest(kept)];
        if self.bound == f32::NEG_INFINITY {
            // `-∞` has no middle with anything.
            self.bound = kept.iter().copied().fold(most, f32::min).next_down();
        }
        // `width` or more are above `low`, fewer above `high`.
        let (mut low, mut high) = (self.bound, most);
        let wanted = self.width..=self.width + left_over;
        let mut count = self.len;
        for _ in 0..HALVINGS_MAX {
            if wanted.contains(&count) {
                break;
            }
            let middle = low + (high - low) * 0.5;
            let above = kernel.above(kept, middle);
            if above >= self.width {
                (low, count) = (middle, above);
            } else {
                high = middle;
            }
        }
        let arrays = kernel::Beam {
            similarities: &mut self.similarities[..self.len],
            open: &mut self.open[..self.len],
            nodes: &mut self.nodes[..self.len],
        };
        self.len = kernel.retain(arrays, low);
        self.bound = low;
        if self.len > *wanted.end() {
            self.drop_equal(high, *wanted.end(), kernel);
        }
    }

    /// Leaves `most` nodes, where too many are as good as equal: those better than `high`, and the
    /// first of the others.
    #[cold]
    fn drop_equal(&mut self, high: f32, most: usize, kernel: Kernel) {
        let mut room = most - kernel.above(&self.similarities[..self.len], high);
        let mut len = 0;
        for at in 0..self.len {
            let is_better = self.similarities[at] > high;
            if is_better || room > 0 {
                room -= usize::from(!is_better);
                self.similarities[len] = self.similarities[at];
                self.open[len] = self.open[at];
                self.nodes[len] = self.nodes[at];
                len += 1;
            }
        }
        self.len = len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_best_are_kept_and_popped_best_first(
            similarities in prop::collection::vec(prop_oneof![-1f32..1.0, Just(0.5)], 1..400),
            width in 1usize..70, pops in 0usize..3
        ) {
            let kernel = Kernel::fastest();
            let mut beam = Beam::default();
            beam.reset(width);
            let mut last = f32::INFINITY;
            let nodes: Vec<u32> = (0..similarities.len() as u32).collect();
            for (nodes, some) in nodes.chunks(20).zip(similarities.chunks(20)) {
                beam.push(nodes, some, kernel);
                last = f32::INFINITY;
                for _ in 0..pops {
                    let Some(node) = beam.pop(kernel) else { break };
                    prop_assert!(similarities[node as usize] <= last);
                    last = similarities[node as usize];
                }
            }
            let _ = last;
            let mut found: Vec<f32> =
                beam.finish(kernel).iter().map(|node| similarities[*node as usize]).collect();
            found.sort_unstable_by(|a, b| b.total_cmp(a));
            let mut wanted = similarities.clone();
            wanted.sort_unstable_by(|a, b| b.total_cmp(a));
            wanted.truncate(width);
            prop_assert_eq!(found.len(), wanted.len());
            for (found, wanted) in found.iter().zip(wanted) {
                // As good as equal: 24 halvings of the range.
                prop_assert!((found - wanted).abs() <= 1e-6);
            }
        }
    }

    #[test]
    fn nodes_passed_through_are_expanded_in_turn_and_never_kept() {
        let kernel = Kernel::fastest();
        let mut beam = Beam::default();
        beam.reset(2);
        beam.push(&[5], &[0.5], kernel);
        beam.pass(9, 0.9);
        beam.pass(1, 0.1);
        assert_eq!(beam.pop(kernel), Some(9));
        beam.push(&[4, 3], &[0.4, 0.3], kernel);
        assert_eq!(beam.pop(kernel), Some(5));
        assert_eq!(beam.pop(kernel), Some(4));
        // Two are known that are better than what is left.
        assert_eq!(beam.pop(kernel), None);
        assert_eq!(beam.finish(kernel), [5, 4]);
    }
}
