//! Which nodes a search has met, and how similar they were.

use crate::vector::kernel::{Kernel, MARK_SPARE_BYTES};

use super::rank::Packed;

/// Nodes of one byte of the bitmap.
const BYTE_NODES: usize = u8::BITS as usize;

/// A bitmap with the list of what was set in it, so that clearing costs what the search did, not
/// what the graph holds.
#[derive(Debug, Default)]
pub(super) struct Visited {
    bits: Vec<u8>,
    touched: Vec<u32>,
    similarities: Vec<Packed>,
}

impl Visited {
    /// Forgets all, and makes room for `nodes`.
    pub(super) fn reset(&mut self, nodes: u32) {
        for node in self.touched.drain(..) {
            self.bits[node as usize / BYTE_NODES] = 0;
        }
        let nodes = nodes as usize;
        if self.similarities.len() < nodes {
            // Half as much again, so that a graph that grows row by row seldom moves the tables.
            let room = nodes + nodes / 2 + 64;
            self.bits.resize(room.div_ceil(BYTE_NODES) + MARK_SPARE_BYTES, 0);
            self.similarities.resize(room, Packed::default());
        }
    }

    /// Marks `nodes`, of which none comes twice and no more than `fresh` holds, and moves those not
    /// yet marked to the front of `fresh`; returns how many there are.
    #[inline]
    pub(super) fn mark(&mut self, nodes: &[u32], fresh: &mut [u32], kernel: Kernel) -> usize {
        let count = kernel.mark(&mut self.bits, nodes, fresh);
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
        let seen = self.bits[node as usize / BYTE_NODES] >> (node % 8) & 1 != 0;
        seen.then(|| self.similarities[node as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::rank::Packing;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn nodes_are_fresh_once_a_search(
            searches in prop::collection::vec(prop::collection::vec(prop::collection::btree_set(0u32..300, 0..32), 1..20), 1..5)
        ) {
            let kernel = Kernel::fastest();
            let mut visited = Visited::default();
            for lists in searches {
                visited.reset(300);
                let mut model = HashMap::new();
                for list in lists {
                    let list: Vec<u32> = list.into_iter().collect();
                    let mut fresh = [0; 32];
                    let count = visited.mark(&list, &mut fresh, kernel);
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
