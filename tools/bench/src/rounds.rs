//! What is told of several rounds.

use std::io::Result;

/// The one in the middle.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// So many rounds, one after the other.
pub(crate) fn repeat<R>(rounds: u32, round: impl Fn() -> Result<R>) -> Result<Vec<R>> {
    (0..rounds).map(|_| round()).collect()
}
