//! Whom of the nearest a new row links to.

use crate::limits::GRAPH_LINKS_BOTTOM;
use crate::vector::rows::Rows;
use crate::vector::set::{FOUR, Set, Task};

use super::links::Layer;
use super::rank::Rank;

/// Most that are chosen.
const SELECTED_MAX: usize = GRAPH_LINKS_BOTTOM;

/// The heuristic of HNSW (Malkov & Yashunin 2018, algorithm 4, without filling up): takes
/// candidates from the nearest on, but leaves out those that are at least as near to one already
/// chosen as to the new row; the search finds them through it. Candidates come best first; at most
/// `most` are chosen. Returns the distances that it took.
pub(super) fn select<L: Layer>(
    rows: &Rows,
    layer: &L,
    candidates: &[Rank],
    most: usize,
    chosen: &mut Vec<Rank>,
) -> u32 {
    assert!(most <= SELECTED_MAX);
    chosen.clear();
    rows.kernel().run(Selection { rows, layer, candidates, most, chosen })
}

struct Selection<'a, L> {
    rows: &'a Rows,
    layer: &'a L,
    candidates: &'a [Rank],
    most: usize,
    chosen: &'a mut Vec<Rank>,
}

impl<L: Layer> Task for Selection<'_, L> {
    /// The distances that it took.
    type Output = u32;

    #[inline(always)]
    fn run<S: Set>(self, set: S) -> u32 {
        let Selection { rows, layer, candidates, most, chosen } = self;
        let Some(first) = candidates.first() else { return 0 };
        let mut distances = 0;
        // Four at a time, since most candidates fall to one of the first few chosen; what fills the
        // last four up is not looked at.
        let mut codes = [[rows.row(layer.row(first.node())); FOUR]; SELECTED_MAX.div_ceil(FOUR)];
        for candidate in candidates {
            if chosen.len() == most {
                break;
            }
            let own = rows.row(layer.row(candidate.node()));
            let mut left = chosen.len();
            let hidden = codes[..left.div_ceil(FOUR)].iter().any(|four| {
                let some = left.min(FOUR);
                left -= some;
                distances += some as u32;
                let similarities = rows.similarities_of_four(own, four, set);
                similarities[..some].iter().any(|similarity| *similarity >= candidate.similarity())
            });
            if !hidden {
                codes[chosen.len() / FOUR][chosen.len() % FOUR] = own;
                chosen.push(*candidate);
            }
        }
        distances
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::links::Bottom;
    use crate::graph::rank::Packing;
    use crate::settings::Metric;
    use crate::vector::codes::{encode, normalise};
    use crate::vector::kernel::Kernel;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn those_near_to_a_chosen_one_are_left_out(
            vectors in prop::collection::vec(prop::array::uniform8(-1f32..1.0), 2..60), most in 1usize..20
        ) {
            let mut rows = Rows::new(8, Metric::Cosine, Kernel::fastest());
            for mut vector in vectors {
                vector[0] += 2.0;
                normalise(&mut vector).expect("not zero");
                rows.push(&encode(&vector));
            }
            let similarity = |a: u32, b: u32| rows.similarity(rows.row(a), b);
            let mut candidates: Vec<Rank> =
                (1..rows.len()).map(|row| Rank::new(similarity(0, row), row)).collect();
            candidates.sort_unstable_by(|a, b| b.cmp(a));
            let mut chosen = Vec::new();
            select(&rows, &Bottom::new(Packing::new(1.0)), &candidates, most, &mut chosen);
            let mut wanted: Vec<Rank> = Vec::new();
            for candidate in candidates {
                let near = |other: &Rank| similarity(other.node(), candidate.node()) >= candidate.similarity();
                if wanted.len() < most && !wanted.iter().any(near) {
                    wanted.push(candidate);
                }
            }
            prop_assert_eq!(chosen, wanted);
        }
    }
}
