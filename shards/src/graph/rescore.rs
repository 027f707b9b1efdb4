//! What 1-bit codes have found, compared by int8 codes.

use crate::vector::rows::{Query, Rows};
use crate::vector::set::{FOUR, Set, Task};

use super::links::Layer;
use super::rank::Rank;

/// Compares a query with `nodes` of a layer by int8 codes; adds how near they are to `ranks`.
pub(super) fn rescore<L: Layer>(
    rows: &Rows,
    layer: &L,
    query: Query<'_>,
    nodes: impl Iterator<Item = u32>,
    ranks: &mut Vec<Rank>,
) {
    rows.kernel().run(Rescoring { rows, layer, query, nodes, ranks });
}

struct Rescoring<'a, L, I> {
    rows: &'a Rows,
    layer: &'a L,
    query: Query<'a>,
    nodes: I,
    ranks: &'a mut Vec<Rank>,
}

impl<L: Layer, I: Iterator<Item = u32>> Task for Rescoring<'_, L, I> {
    type Output = ();

    #[inline(always)]
    fn run<S: Set>(self, set: S) {
        let Rescoring { rows, layer, query, nodes, ranks } = self;
        let mut nodes = nodes.fuse();
        let (mut now, mut count) = ([0; FOUR], 0usize);
        loop {
            // Four are asked for while four are compared.
            let (mut next, mut next_count) = ([0; FOUR], 0);
            while next_count < FOUR
                && let Some(node) = nodes.next()
            {
                rows.prefetch(layer.row(node));
                next[next_count] = node;
                next_count += 1;
            }
            if let Some(last) = count.checked_sub(1) {
                let last = now[last];
                now[count..].fill(last);
                let others = now.map(|node| rows.row(layer.row(node)));
                let similarities = rows.similarities_of_four(query, &others, set);
                let found = now.iter().zip(similarities).take(count);
                ranks.extend(found.map(|(node, similarity)| Rank::new(similarity, *node)));
            } else if next_count == 0 {
                return;
            }
            (now, count) = (next, next_count);
        }
    }
}
