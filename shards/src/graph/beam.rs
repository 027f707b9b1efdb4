//! The best of a search, and which of them are still to be expanded.

use std::collections::BinaryHeap;

use crate::vector::lanes::{LANES, Lanes};
use crate::vector::rows::COMPARED_MAX;
use crate::vector::set::Set;

use super::rank::Rank;

/// Nodes beyond the width that are taken before the worst are dropped: room for one list of
/// neighbours, so that the worst are sought once in many lists.
const SPARE: usize = COMPARED_MAX;
/// Nodes taken between two calls of [`Beam::make_room`], at most.
const TAKEN_MAX: usize = POPPED_MAX * COMPARED_MAX;
/// Nodes beyond the width that may be left when the worst are dropped: the bound is sought by
/// halving, and stops where it is good enough.
const LEFT_OVER: usize = 4;
/// Halvings of the bound, at most: then similarities are equal to almost the last bit.
const HALVINGS_MAX: usize = 24;
/// Nodes popped at once.
pub(super) const POPPED_MAX: usize = 2;

/// Unsorted arrays: with a few dozen nodes, one pass of vector instructions finds the best sooner
/// than any order is maintained, and the worst need not be known exactly until the end.
#[derive(Debug, Default)]
pub(super) struct Beam {
    width: usize,
    /// Similarities of the nodes kept, and minus infinity up to a whole group.
    similarities: Vec<f32>,
    /// The same at the same places; minus infinity where already expanded.
    open: Vec<f32>,
    nodes: Vec<u32>,
    /// Nodes in the arrays.
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
        let room = width + SPARE + TAKEN_MAX + 2 * LANES;
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

    /// What a node's similarity must exceed to be worth expanding.
    #[inline(always)]
    pub(super) fn bound(&self) -> f32 {
        self.bound
    }

    /// Nodes kept, in the order in which they came.
    #[inline(always)]
    pub(super) fn nodes(&self) -> &[u32] {
        &self.nodes[..self.len]
    }

    /// Drops the worst, if there are too many, so that there is room for [`TAKEN_MAX`] more.
    #[inline(always)]
    pub(super) fn make_room<S: Set>(&mut self, set: S) {
        if self.len >= self.width + SPARE {
            self.drop_worst(LEFT_OVER, set);
        }
    }

    /// Takes the nodes of the lanes `admitted`; there must be room. [`Beam::close`] is called
    /// behind the last.
    #[inline(always)]
    pub(super) fn push<S: Set>(
        &mut self,
        group: S::Group,
        nodes: &[u32; LANES],
        admitted: Lanes,
        set: S,
    ) {
        let similarities = set.array(set.compress(group, admitted));
        *sixteen(&mut self.similarities, self.len) = similarities;
        *sixteen(&mut self.open, self.len) = similarities;
        *sixteen(&mut self.nodes, self.len) = set.compress_nodes(nodes, admitted);
        self.len += admitted.count_ones() as usize;
    }

    /// Minus infinity up to a whole group.
    #[inline(always)]
    pub(super) fn close(&mut self) {
        *sixteen(&mut self.similarities, self.len) = [f32::NEG_INFINITY; LANES];
        *sixteen(&mut self.open, self.len) = [f32::NEG_INFINITY; LANES];
    }

    /// Takes an admitted node that is expanded but not returned.
    pub(super) fn pass(&mut self, node: u32, similarity: f32) {
        self.passing.push(Rank::new(similarity, node));
    }

    /// The best nodes not yet expanded, at most `most`, unless `width` better ones are known. The
    /// second of the array is undefined where there is but one.
    #[inline(always)]
    pub(super) fn pop<S: Set>(&mut self, most: usize, set: S) -> ([u32; POPPED_MAX], usize) {
        if !self.passing.is_empty() {
            return self.pop_with_passing(most, set);
        }
        let places = set.largest_two(groups(&self.open, self.len));
        let mut count = 0;
        while count < most.min(POPPED_MAX) && self.is_open(places[count]) {
            count += 1;
        }
        if self.len > self.width {
            while count > 0 && self.has_better(self.open[places[count - 1]], set) {
                count -= 1;
            }
        }
        for place in &places[..count] {
            self.open[*place] = f32::NEG_INFINITY;
        }
        (places.map(|place| self.nodes[place]), count)
    }

    /// As [`Beam::pop`], where nodes are passed through.
    #[inline(never)]
    fn pop_with_passing<S: Set>(&mut self, most: usize, set: S) -> ([u32; POPPED_MAX], usize) {
        let (mut popped, mut count) = ([0; POPPED_MAX], 0);
        while count < most.min(POPPED_MAX) {
            let [place, _] = set.largest_two(groups(&self.open, self.len));
            let open = if self.is_open(place) { self.open[place] } else { f32::NEG_INFINITY };
            let passing = self.passing.peek().copied().unwrap_or(Rank::NONE);
            let is_passing = passing > Rank::NONE && open < passing.similarity();
            let similarity = if is_passing { passing.similarity() } else { open };
            if similarity == f32::NEG_INFINITY || self.has_better(similarity, set) {
                break;
            }
            popped[count] = if is_passing {
                self.passing.pop();
                passing.node()
            } else {
                self.open[place] = f32::NEG_INFINITY;
                self.nodes[place]
            };
            count += 1;
        }
        (popped, count)
    }

    #[inline(always)]
    fn is_open(&self, place: usize) -> bool {
        place < self.len && self.open[place] > f32::NEG_INFINITY
    }

    /// Whether `width` nodes are better than `similarity`.
    #[inline(always)]
    fn has_better<S: Set>(&self, similarity: f32, set: S) -> bool {
        self.len > self.width
            && set.count_above(groups(&self.similarities, self.len), similarity) >= self.width
    }

    /// Leaves the best nodes met, `width` or all there are, in no order.
    #[inline(always)]
    pub(super) fn finish<S: Set>(&mut self, set: S) {
        if self.len > self.width {
            self.drop_worst(0, set);
        }
    }

    /// Drops the worst but `width` and up to `left_over` more.
    #[inline(always)]
    fn drop_worst<S: Set>(&mut self, left_over: usize, set: S) {
        let kept = groups(&self.similarities, self.len);
        let most = self.similarities[set.largest_two(kept)[0]];
        if self.bound == f32::NEG_INFINITY {
            // `-∞` has no middle with anything.
            let least = self.similarities[..self.len].iter().copied().fold(most, f32::min);
            self.bound = least.next_down();
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
            let above = set.count_above(kept, middle);
            if above >= self.width {
                (low, count) = (middle, above);
            } else {
                high = middle;
            }
        }
        self.retain(low, set);
        self.bound = low;
        if self.len > *wanted.end() {
            self.drop_equal(high, *wanted.end());
        }
    }

    /// Drops those that are not more similar than `bound`.
    #[inline(always)]
    fn retain<S: Set>(&mut self, bound: f32, set: S) {
        let mut count = 0;
        for first in (0..self.len).step_by(LANES) {
            let similarities = set.group(*sixteen(&mut self.similarities, first));
            let open = set.group(*sixteen(&mut self.open, first));
            let nodes = *sixteen(&mut self.nodes, first);
            let kept = set.above(similarities, bound);
            // Never behind `first`, so what is still to be read is not overwritten.
            *sixteen(&mut self.similarities, count) = set.array(set.compress(similarities, kept));
            *sixteen(&mut self.open, count) = set.array(set.compress(open, kept));
            *sixteen(&mut self.nodes, count) = set.compress_nodes(&nodes, kept);
            count += kept.count_ones() as usize;
        }
        self.len = count;
        self.close();
    }

    /// Leaves `most` nodes, where too many are as good as equal: those better than `high`, and the
    /// first of the others.
    #[cold]
    fn drop_equal(&mut self, high: f32, most: usize) {
        let better = self.similarities[..self.len].iter().filter(|other| **other > high);
        let mut room = most - better.count();
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
        self.close();
    }
}

/// The groups of `numbers` that hold the first `len`.
#[inline(always)]
fn groups(numbers: &[f32], len: usize) -> &[[f32; LANES]] {
    &numbers.as_chunks().0[..len.div_ceil(LANES)]
}

/// Sixteen items from `at` on.
#[inline(always)]
fn sixteen<T>(items: &mut [T], at: usize) -> &mut [T; LANES] {
    items[at..].first_chunk_mut().expect("there is room for more than are taken")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::kernel::Kernel;
    use crate::vector::set::Task;
    use proptest::prelude::*;

    /// Lists of nodes, numbered from 0, are pushed, with some pops after each.
    struct Play<'a> {
        similarities: &'a [f32],
        width: usize,
        pops: usize,
    }

    impl Task for Play<'_> {
        /// Whether each pop gave the best, and what was left.
        type Output = (bool, Vec<u32>);

        #[inline(always)]
        fn run<S: Set>(self, set: S) -> (bool, Vec<u32>) {
            let Play { similarities, width, pops } = self;
            let mut beam = Beam::default();
            beam.reset(width);
            let nodes: Vec<u32> = (0..similarities.len() as u32).collect();
            let mut is_best_first = true;
            for (nodes, some) in nodes.chunks(LANES).zip(similarities.chunks(LANES)) {
                beam.make_room(set);
                let mut all = ([0; LANES], [f32::NEG_INFINITY; LANES]);
                all.0[..nodes.len()].copy_from_slice(nodes);
                all.1[..some.len()].copy_from_slice(some);
                let group = set.group(all.1);
                beam.push(group, &all.0, set.above(group, beam.bound()), set);
                beam.close();
                let mut last = f32::INFINITY;
                for _ in 0..pops {
                    let (popped, count) = beam.pop(POPPED_MAX, set);
                    for node in &popped[..count] {
                        is_best_first &= similarities[*node as usize] <= last;
                        last = similarities[*node as usize];
                    }
                }
            }
            beam.finish(set);
            (is_best_first, beam.nodes().to_vec())
        }
    }

    proptest! {
        #[test]
        fn the_best_are_kept_and_popped_best_first(
            similarities in prop::collection::vec(prop_oneof![-1f32..1.0, Just(0.5)], 1..400),
            width in 1usize..70, pops in 0usize..3
        ) {
            let mut wanted = similarities.clone();
            wanted.sort_unstable_by(|a, b| b.total_cmp(a));
            wanted.truncate(width);
            let play = || Play { similarities: &similarities, width, pops };
            let first = Kernel::all()[0].run(play());
            for kernel in Kernel::all() {
                let (is_best_first, found) = kernel.run(play());
                prop_assert!(is_best_first);
                prop_assert_eq!(&found, &first.1, "{}", kernel.name);
                let mut found: Vec<f32> =
                    found.iter().map(|node| similarities[*node as usize]).collect();
                found.sort_unstable_by(|a, b| b.total_cmp(a));
                prop_assert_eq!(found.len(), wanted.len());
                for (found, wanted) in found.iter().zip(&wanted) {
                    // As good as equal: 24 halvings of the range.
                    prop_assert!((found - wanted).abs() <= 1e-6);
                }
            }
        }
    }

    struct Pass;

    impl Task for Pass {
        type Output = (Vec<(Vec<u32>, usize)>, Vec<u32>);

        #[inline(always)]
        fn run<S: Set>(self, set: S) -> Self::Output {
            let mut beam = Beam::default();
            beam.reset(2);
            let push = |beam: &mut Beam, nodes: [u32; 2], similarities: [f32; 2]| {
                let (mut all, mut group) = ([0; LANES], [f32::NEG_INFINITY; LANES]);
                all[..2].copy_from_slice(&nodes);
                group[..2].copy_from_slice(&similarities);
                let group = set.group(group);
                beam.push(group, &all, set.above(group, f32::NEG_INFINITY), set);
                beam.close();
            };
            push(&mut beam, [5, 0], [0.5, f32::NEG_INFINITY]);
            beam.pass(9, 0.9);
            beam.pass(1, 0.1);
            let mut popped = Vec::new();
            let mut pop = |beam: &mut Beam, most| {
                let (nodes, count) = beam.pop(most, set);
                popped.push((nodes[..count].to_vec(), count));
            };
            pop(&mut beam, 1);
            push(&mut beam, [4, 3], [0.4, 0.3]);
            pop(&mut beam, 2);
            pop(&mut beam, 2);
            beam.finish(set);
            (popped, beam.nodes().to_vec())
        }
    }

    #[test]
    fn nodes_passed_through_are_expanded_in_turn_and_never_kept() {
        for kernel in Kernel::all() {
            let (popped, kept) = kernel.run(Pass);
            // Two are known that are better than what is left in the end.
            let wanted = [(vec![9], 1), (vec![5, 4], 2), (vec![], 0)];
            assert_eq!(popped, wanted, "{}", kernel.name);
            assert_eq!(kept, [5, 4], "{}", kernel.name);
        }
    }
}
