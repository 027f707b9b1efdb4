//! Rows one by one.

use std::cmp::Reverse;
use std::ops::Range;

use crate::ids::Row;
use crate::vector::rows::{COMPARED_MAX, Query, Rows};

use super::rank::{Rank, Scored};

/// Merges the best of `range` that are visible into `found`, best first, at most `count`.
///
/// What beats the worst of the best `count` so far is only appended; once as much again has
/// gathered, the best are parted from the rest. So a row costs a comparison with the bound, and a
/// hit a constant share of the parting.
pub(super) fn scan(
    rows: &Rows,
    query: Query<'_>,
    range: Range<u32>,
    count: usize,
    visible: impl Fn(Row) -> bool,
    found: &mut Vec<Scored>,
) {
    if count == 0 {
        found.clear();
        return;
    }
    let mut bound = bound_of(found, count);
    let mut compared = [0u32; COMPARED_MAX];
    let mut similarities = [0.0f32; COMPARED_MAX];
    for start in range.clone().step_by(COMPARED_MAX) {
        let some = &mut compared[..(range.end - start).min(COMPARED_MAX as u32) as usize];
        for (row, number) in some.iter_mut().zip(start..) {
            *row = number;
        }
        rows.similarities(query, some, &mut similarities);
        for (row, similarity) in some.iter().zip(similarities) {
            if Rank::new(similarity, *row) > bound && visible(Row(*row)) {
                found.push(Scored { row: Row(*row), similarity });
                if found.len() >= 2 * count {
                    bound = bound_of(found, count);
                }
            }
        }
    }
    found.sort_unstable_by_key(|scored| Reverse(Rank::from(*scored)));
    found.truncate(count);
}

/// Leaves the best `count` and returns the worst of them, which is what others must beat; `NONE`
/// while there are fewer.
fn bound_of(found: &mut Vec<Scored>, count: usize) -> Rank {
    if found.len() < count {
        return Rank::NONE;
    }
    let (_, worst, _) =
        found.select_nth_unstable_by_key(count - 1, |scored| Reverse(Rank::from(*scored)));
    let bound = Rank::from(*worst);
    found.truncate(count);
    bound
}
