//! Rows one by one.

use std::cmp::Reverse;
use std::ops::Range;

use crate::ids::Row;
use crate::vector::rows::{COMPARED_MAX, Query, Rows, Sketch};

use super::rank::{Rank, Scored};

/// Rows whose int8 codes are compared, for each that is wanted.
const RESCORED_PER_WANTED: usize = 4;
/// Rows whose int8 codes are compared, at least.
const RESCORED_MIN: usize = 32;

/// Merges the best of `range` that are visible into `found`, best first, at most `count`. 1-bit
/// codes tell which are worth comparing; returns how many were. `best` is scratch.
pub(super) fn scan(
    rows: &Rows,
    (sketch, query): (&Sketch, Query<'_>),
    range: Range<u32>,
    count: usize,
    visible: impl Fn(Row) -> bool,
    best: &mut Vec<Rank>,
    found: &mut Vec<Scored>,
) -> u32 {
    let wanted = match count {
        0 => 0,
        count => (RESCORED_PER_WANTED * count).max(RESCORED_MIN),
    };
    estimate(rows, sketch, range, wanted, visible, best);
    let mut compared = [0u32; COMPARED_MAX];
    let mut similarities = [0.0f32; COMPARED_MAX];
    for some in best.chunks(COMPARED_MAX) {
        for (row, rank) in compared.iter_mut().zip(some) {
            *row = rank.node();
            rows.prefetch(*row);
        }
        rows.similarities(query, &compared[..some.len()], &mut similarities);
        let scored = compared.iter().zip(similarities).take(some.len());
        found.extend(scored.map(|(row, similarity)| Scored { row: Row(*row), similarity }));
    }
    found.sort_unstable_by_key(|scored| Reverse(Rank::from(*scored)));
    found.truncate(count);
    best.len() as u32
}

/// Leaves the `wanted` most similar visible rows of `range` by 1-bit codes in `best`, in no order.
///
/// What beats the worst of the best so far is only appended; once as much again has gathered, the
/// best are parted from the rest. So a row costs a comparison with the bound, and a hit a constant
/// share of the parting.
fn estimate(
    rows: &Rows,
    sketch: &Sketch,
    range: Range<u32>,
    wanted: usize,
    visible: impl Fn(Row) -> bool,
    best: &mut Vec<Rank>,
) {
    best.clear();
    if wanted == 0 {
        return;
    }
    let mut bound = Rank::NONE;
    let mut compared = [0u32; COMPARED_MAX];
    let mut similarities = [0.0f32; COMPARED_MAX];
    for start in range.clone().step_by(COMPARED_MAX) {
        let some = &mut compared[..(range.end - start).min(COMPARED_MAX as u32) as usize];
        for (row, number) in some.iter_mut().zip(start..) {
            *row = number;
        }
        rows.estimates(sketch, some, &mut similarities[..some.len()]);
        for (row, similarity) in some.iter().zip(similarities) {
            let rank = Rank::new(similarity, *row);
            if rank > bound && visible(Row(*row)) {
                best.push(rank);
                if best.len() == 2 * wanted {
                    bound = part(best, wanted);
                }
            }
        }
    }
    if best.len() > wanted {
        part(best, wanted);
    }
}

/// Leaves the best `wanted` and returns the worst of them, which is what others must beat.
fn part(best: &mut Vec<Rank>, wanted: usize) -> Rank {
    let (_, worst, _) = best.select_nth_unstable_by(wanted - 1, |a, b| b.cmp(a));
    let bound = *worst;
    best.truncate(wanted);
    bound
}
