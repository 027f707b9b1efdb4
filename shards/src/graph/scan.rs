//! Rows one by one.

use std::cmp::Reverse;

use crate::ids::Row;
use crate::vector::lanes::{LANES, each, first_lanes};
use crate::vector::rows::{COMPARED_MAX, Query, Rows, Sketch};
use crate::vector::set::{Set, Task};

use super::rank::{Rank, Scored};

/// Rows whose int8 codes are compared, for each that is wanted.
const RESCORED_PER_WANTED: usize = 4;
/// Rows whose int8 codes are compared, at least.
const RESCORED_MIN: usize = 32;
/// Rows of which it is asked whether they are visible, in the time of one distance.
pub(super) const ASKED_PER_DISTANCE: u32 = 16;

/// Merges the best of `scanned` that are visible into `found`, best first, at most `count`. 1-bit
/// codes tell which are worth comparing. Returns the distances that it took. `best` is scratch.
pub(super) fn scan(
    rows: &Rows,
    (sketch, query): (&Sketch, Query<'_>),
    scanned: impl ExactSizeIterator<Item = u32>,
    count: usize,
    visible: impl Fn(Row) -> bool,
    best: &mut Vec<Rank>,
    found: &mut Vec<Scored>,
) -> u32 {
    let wanted = match count {
        0 => 0,
        count => (RESCORED_PER_WANTED * count).max(RESCORED_MIN),
    };
    let asked = scanned.len() as u32 / ASKED_PER_DISTANCE;
    let estimated = estimate(rows, sketch, scanned, wanted, visible, best);
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
    asked + estimated + best.len() as u32
}

/// Leaves the `wanted` most similar visible rows of `scanned` by 1-bit codes in `best`, in no order.
/// Returns how many were compared.
///
/// Those that are not visible are not compared: asking costs a small part of it. What beats the
/// worst of the best so far is only appended; once as much again has gathered, the best are parted
/// from the rest. So a row costs a comparison with the bound, and a hit a constant share of the
/// parting.
fn estimate(
    rows: &Rows,
    sketch: &Sketch,
    scanned: impl Iterator<Item = u32>,
    wanted: usize,
    visible: impl Fn(Row) -> bool,
    best: &mut Vec<Rank>,
) -> u32 {
    best.clear();
    if wanted == 0 {
        return 0;
    }
    let scan = Estimation { rows, sketch, scanned: scanned.fuse(), wanted, visible, best };
    let estimated = rows.kernel().run(scan);
    if best.len() > wanted {
        part(best, wanted);
    }
    estimated
}

struct Estimation<'a, I, V> {
    rows: &'a Rows,
    sketch: &'a Sketch,
    scanned: I,
    wanted: usize,
    visible: V,
    best: &'a mut Vec<Rank>,
}

impl<I: Iterator<Item = u32>, V: Fn(Row) -> bool> Task for Estimation<'_, I, V> {
    /// Rows compared.
    type Output = u32;

    #[inline(always)]
    fn run<S: Set>(self, set: S) -> u32 {
        let Estimation { rows, sketch, mut scanned, wanted, visible, best } = self;
        let (mut bound, mut estimated) = (Rank::NONE, 0);
        let (mut now, mut count) = ([0; LANES], 0usize);
        loop {
            // Sixteen are asked for while sixteen are compared.
            let (mut next, mut next_count) = ([0; LANES], 0);
            while next_count < LANES
                && let Some(row) = scanned.next()
            {
                if visible(Row(row)) {
                    rows.prefetch_sketch(row);
                    next[next_count] = row;
                    next_count += 1;
                }
            }
            if let Some(last) = count.checked_sub(1) {
                let last = now[last];
                now[count..].fill(last);
                let codes = now.map(|row| rows.signs(row));
                let group = rows.estimates_of(sketch, (&codes, count), |lane| now[lane], set);
                let similarities = set.array(group);
                // Of those as good as the bound, the rank tells.
                let least =
                    if bound == Rank::NONE { f32::NEG_INFINITY } else { bound.similarity() };
                each(set.above(group, least.next_down()) & first_lanes(count), |_, lane| {
                    let rank = Rank::new(similarities[lane], now[lane]);
                    if rank > bound {
                        best.push(rank);
                    }
                });
                if best.len() >= 2 * wanted {
                    bound = part(best, wanted);
                }
                estimated += count as u32;
            } else if next_count == 0 {
                return estimated;
            }
            (now, count) = (next, next_count);
        }
    }
}

/// Leaves the best `wanted` and returns the worst of them, which is what others must beat.
fn part(best: &mut Vec<Rank>, wanted: usize) -> Rank {
    let (_, worst, _) = best.select_nth_unstable_by(wanted - 1, |a, b| b.cmp(a));
    let bound = *worst;
    best.truncate(wanted);
    bound
}
