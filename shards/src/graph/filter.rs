//! Few rows are visible: whether the graph leads to them, or they are sooner compared one by one.

use super::scan::ASKED_PER_DISTANCE;
use super::search::EXPANSIONS_SPARE;

/// Rows of which it is asked how many are visible.
const SAMPLED_ROWS: u32 = 256;
/// Rows that a search compares for each node that it expands, about.
const COMPARED_PER_EXPANSION: u64 = 16;
/// What a comparison costs where rows lie anywhere, in those of a scan.
const COMPARISON_COST: u64 = 2;

/// How the nearest visible rows are sought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By a search that passes through those that are not visible.
    Graph,
    /// One by one.
    Scan,
}

/// The cheaper way to the nearest of those of the first `rows` rows that are visible, for a search
/// of `width` that meets those that are there. A share of 1 / s makes the search s times as long, the scan s times as short.
pub(super) fn way(
    rows: u32,
    width: u32,
    is_there: impl Fn(u32) -> bool,
    visible: impl Fn(u32) -> bool,
) -> Way {
    let asked = SAMPLED_ROWS.min(rows);
    // Spread evenly, and without a period that a predicate may have too (the golden ratio).
    let spread = |at: u32| (u64::from(at.wrapping_mul(0x9e37_79b9)) * u64::from(rows)) >> 32;
    let there = (0..asked).map(|at| spread(at) as u32).filter(|row| is_there(*row));
    let (mut sampled, mut seen) = (0u64, 0u64);
    for row in there {
        sampled += 1;
        seen += u64::from(visible(row));
    }
    if seen == sampled {
        return Way::Graph;
    }
    let rows = u64::from(rows);
    // As if one more had been seen and one more not, so that none of few is not taken for none.
    let (seen, sampled) = (seen + 1, sampled + 2);
    let expansions = u64::from(width) * sampled / seen;
    let search = expansions * COMPARED_PER_EXPANSION * COMPARISON_COST;
    let scan = rows * seen / sampled + rows / u64::from(ASKED_PER_DISTANCE);
    match expansions > u64::from(width + EXPANSIONS_SPARE) || scan < search {
        true => Way::Scan,
        false => Way::Graph,
    }
}
