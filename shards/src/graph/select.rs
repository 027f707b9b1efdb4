//! Whom of the nearest a new row links to.

use crate::limits::GRAPH_LINKS_BOTTOM;
use crate::vector::rows::Rows;

use super::links::Layer;
use super::rank::Rank;

/// Most that are chosen.
const SELECTED_MAX: usize = GRAPH_LINKS_BOTTOM;
/// Rows compared at once: most candidates fall to one of the first few chosen.
const COMPARED_AT_ONCE: usize = 4;

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
    let mut distances = 0;
    chosen.clear();
    let Some(first) = candidates.first() else { return 0 };
    let mut codes = [rows.row(layer.row(first.node())); SELECTED_MAX];
    assert!(most <= SELECTED_MAX);
    for candidate in candidates {
        if chosen.len() == most {
            break;
        }
        let own = rows.row(layer.row(candidate.node()));
        let hidden = codes[..chosen.len()].chunks(COMPARED_AT_ONCE).any(|some| {
            distances += some.len() as u32;
            let similarities = rows.similarities_of::<COMPARED_AT_ONCE>(own, some);
            let some = &similarities[..some.len()];
            some.iter().any(|similarity| *similarity >= candidate.similarity())
        });
        if !hidden {
            codes[chosen.len()] = own;
            chosen.push(*candidate);
        }
    }
    distances
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
