//! Which nodes a search has met, and how similar they were.

use super::rank::Packed;

/// A bitmap with the list of what was set in it, so that clearing costs what the search did, not
/// what the graph holds.
#[derive(Debug, Default)]
pub(super) struct Visited {
    bits: Vec<u64>,
    touched: Vec<u32>,
    similarities: Vec<Packed>,
}

impl Visited {
    /// Forgets all, and makes room for `nodes`.
    pub(super) fn reset(&mut self, nodes: u32) {
        for node in self.touched.drain(..) {
            self.bits[node as usize / 64] = 0;
        }
        let nodes = nodes as usize;
        if self.similarities.len() < nodes {
            // Half as much again, so that a graph that grows row by row seldom moves the tables.
            let room = nodes + nodes / 2 + 64;
            self.bits.resize(room.div_ceil(64), 0);
            self.similarities.resize(room, Packed::default());
        }
    }

    /// Marks `nodes` (no more than `fresh` holds) and moves those not yet marked to the front of
    /// `fresh`; returns how many there are.
    #[inline]
    pub(super) fn mark(&mut self, nodes: &[u32], fresh: &mut [u32]) -> usize {
        assert!(nodes.len() <= fresh.len());
        let mut count = 0;
        for node in nodes {
            let word = &mut self.bits[*node as usize / 64];
            let bit = 1u64 << (node % 64);
            // No branch: whether a neighbour was met before is a coin toss.
            fresh[count] = *node;
            count += usize::from(*word & bit == 0);
            *word |= bit;
        }
        self.touched.extend_from_slice(&fresh[..count]);
        count
    }

    /// Notes how similar a marked node is.
    #[inline]
    pub(super) fn note(&mut self, node: u32, similarity: Packed) {
        self.similarities[node as usize] = similarity;
    }

    /// How similar `node` is, if it was met.
    #[inline]
    pub(super) fn similarity(&self, node: u32) -> Option<Packed> {
        let seen = self.bits[node as usize / 64] >> (node % 64) & 1 != 0;
        seen.then(|| self.similarities[node as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use crate::graph::rank::Packing;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn nodes_are_fresh_once_a_search(
            searches in prop::collection::vec(prop::collection::vec(prop::collection::vec(0u32..300, 0..32), 1..20), 1..5)
        ) {
            let mut visited = Visited::default();
            for lists in searches {
                visited.reset(300);
                let mut model = HashMap::new();
                for list in lists {
                    let mut fresh = [0; 32];
                    let count = visited.mark(&list, &mut fresh);
                    let mut wanted = Vec::new();
                    for node in list {
                        if let std::collections::hash_map::Entry::Vacant(entry) = model.entry(node) {
                            entry.insert(Packing::new(300.0).pack(node as f32));
                            wanted.push(node);
                            visited.note(node, Packing::new(300.0).pack(node as f32));
                        }
                    }
                    prop_assert_eq!(&fresh[..count], &wanted);
                }
                for node in 0..300 {
                    prop_assert_eq!(visited.similarity(node), model.get(&node).copied());
                }
            }
        }
    }
}
