//! Which nodes a search has met, in their order.

use crate::vector::lanes::LANES;

/// Nodes of one word of the bitmap.
const WORD_NODES: u32 = u64::BITS;
/// Words of the bitmap that are cleared as a whole in the time of one node.
const CLEARED_WORDS: usize = 4;

/// A bitmap with the list of what was set in it, so that clearing costs what the search did, not
/// what the graph holds.
#[derive(Debug, Default)]
pub(super) struct Visited {
    bits: Vec<u64>,
    /// The first `count` are the nodes met.
    met: Vec<u32>,
    count: usize,
    /// A node of which the bit is set and that was not met.
    left_out: Option<u32>,
}

impl Visited {
    /// Forgets all, and makes room for `nodes`.
    pub(super) fn reset(&mut self, nodes: u32) {
        if self.bits.len() < CLEARED_WORDS * self.count {
            self.bits.fill(0);
        } else {
            for node in &self.met[..self.count] {
                self.bits[(node / WORD_NODES) as usize] = 0;
            }
        }
        if let Some(node) = self.left_out.take() {
            self.bits[(node / WORD_NODES) as usize] = 0;
        }
        self.count = 0;
        self.grow(nodes);
    }

    /// Makes room for `nodes`, where there are more by now.
    pub(super) fn grow(&mut self, nodes: u32) {
        let nodes = nodes as usize;
        if self.bits.len() * (WORD_NODES as usize) < nodes {
            // Half as much again, so that a graph that grows row by row seldom moves the table.
            self.bits.resize((nodes + nodes / 2).div_ceil(WORD_NODES as usize), 0);
        }
    }

    /// Makes room to meet `more` nodes and some to spare, so that [`Visited::sixteen`] may read
    /// from any of them on.
    #[inline(always)]
    pub(super) fn reserve(&mut self, more: usize) {
        if self.met.len() < self.count + more + LANES {
            self.met.resize(2 * (self.count + more + LANES), 0);
        }
    }

    /// Nodes met.
    #[inline(always)]
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The nodes met, in their order.
    #[inline(always)]
    pub(super) fn met(&self) -> &[u32] {
        &self.met[..self.count]
    }

    /// Sixteen nodes from the one that was met as number `at` on; what lies behind the last that
    /// was met is undefined.
    #[inline(always)]
    pub(super) fn sixteen(&self, at: usize) -> &[u32; LANES] {
        self.met[at..].first_chunk().expect("there is some to spare")
    }

    /// Meets those of `nodes` that were not met before; there must be room.
    #[inline(always)]
    pub(super) fn meet(&mut self, nodes: &[u32]) {
        let (bits, mut count) = (&mut self.bits[..], self.count);
        let met = &mut self.met[..];
        assert!(count + nodes.len() <= met.len());
        for node in nodes {
            let word = &mut bits[(node / WORD_NODES) as usize];
            let old = *word;
            *word = old | 1 << (node % WORD_NODES);
            // No branch: whether a neighbour was met before is a coin toss.
            // SAFETY: no more than `nodes` are added, which there is room for.
            unsafe { *met.get_unchecked_mut(count) = *node };
            count += (!old >> (node % WORD_NODES) & 1) as usize;
        }
        self.count = count;
    }

    /// Takes a node for met, without meeting it.
    pub(super) fn leave_out(&mut self, node: u32) {
        let count = self.count;
        self.reserve(1);
        self.meet(&[node]);
        self.left_out = (self.count > count).then_some(node);
        self.count = count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        #[test]
        fn nodes_are_met_once_a_search(
            searches in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(0u32..300, 0..32), 1..20),
                1..5,
            )
        ) {
            let mut visited = Visited::default();
            for lists in searches {
                visited.reset(300);
                let (mut model, mut wanted) = (HashSet::new(), Vec::new());
                for list in lists {
                    visited.reserve(list.len());
                    visited.meet(&list);
                    for node in list {
                        if model.insert(node) {
                            wanted.push(node);
                        }
                    }
                    prop_assert_eq!(visited.met(), &wanted);
                }
            }
        }
    }
}
