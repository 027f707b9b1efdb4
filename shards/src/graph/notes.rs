//! How similar the candidates for a row's links are to it, by node.

use super::rank::{Packed, Packing, Rank};

/// A table with the list of what was put into it, so that clearing costs what was noted, not what
/// the graph holds.
#[derive(Debug, Default)]
pub(super) struct Notes {
    similarities: Vec<Option<Packed>>,
    noted: Vec<u32>,
}

impl Notes {
    /// Forgets all, and notes `candidates`, which are among `nodes`.
    pub(super) fn take(&mut self, candidates: &[Rank], nodes: u32, packing: Packing) {
        for node in self.noted.drain(..) {
            self.similarities[node as usize] = None;
        }
        let nodes = nodes as usize;
        if self.similarities.len() < nodes {
            // Half as much again, so that a graph that grows row by row seldom moves the table.
            self.similarities.resize(nodes + nodes / 2 + 64, None);
        }
        for rank in candidates {
            self.similarities[rank.node() as usize] = Some(packing.pack(rank.similarity()));
            self.noted.push(rank.node());
        }
    }

    /// How similar `node` is, if it is a candidate.
    #[inline]
    pub(super) fn similarity(&self, node: u32) -> Option<Packed> {
        self.similarities[node as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_known_is_the_last_that_was_noted(
            rounds in prop::collection::vec(prop::collection::btree_set(0u32..300, 0..60), 1..6)
        ) {
            let (mut notes, packing) = (Notes::default(), Packing::new(300.0));
            for (nodes, candidates) in (300..).zip(rounds) {
                let similarity = |node: u32| (node + nodes) as f32;
                let ranks: Vec<Rank> =
                    candidates.iter().map(|node| Rank::new(similarity(*node), *node)).collect();
                notes.take(&ranks, nodes, packing);
                for node in 0..nodes {
                    let wanted = candidates.contains(&node).then(|| packing.pack(similarity(node)));
                    prop_assert_eq!(notes.similarity(node), wanted);
                }
            }
        }
    }
}
