//! Whom of the nearest a new row links to.

use crate::vector::rows::Rows;

use super::links::Layer;
use super::rank::Rank;

/// Rows compared at once: most candidates fall to one of the first few chosen.
const COMPARED_AT_ONCE: usize = 4;

/// The heuristic of HNSW (Malkov & Yashunin 2018, algorithm 4, without filling up): takes candidates from the nearest on,
/// but leaves out those that are at least as near to one already chosen as to the new row; the search finds them
/// through it. Candidates come best first; at most `most` are chosen. Returns the distances that it took.
pub(super) fn select<L: Layer>(
    rows: &Rows,
    layer: &L,
    candidates: &[Rank],
    most: usize,
    chosen: &mut Vec<Rank>,
    chosen_rows: &mut Vec<u32>,
) -> u32 {
    let mut distances = 0;
    chosen.clear();
    chosen_rows.clear();
    for candidate in candidates {
        if chosen.len() == most {
            break;
        }
        let row = layer.row(candidate.node());
        let codes = rows.row(row);
        let hidden = chosen_rows.chunks(COMPARED_AT_ONCE).any(|some| {
            let mut similarities = [0.0; COMPARED_AT_ONCE];
            rows.similarities(codes, some, &mut similarities);
            distances += some.len() as u32;
            similarities[..some.len()]
                .iter()
                .any(|similarity| *similarity >= candidate.similarity())
        });
        if !hidden {
            chosen.push(*candidate);
            chosen_rows.push(row);
        }
    }
    distances
}
