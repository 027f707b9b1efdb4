//! The hot loops in plain Rust: what every other kernel must equal, and what runs where none of
//! them does.

use super::kernel::Block;

/// See [`super::kernel::Kernel::dots`].
pub(super) fn dots(query: &[Block], rows: &[&[Block]], out: &mut [i32]) {
    for (row, out) in rows.iter().zip(out) {
        *out = query.iter().zip(*row).map(|(a, b)| dot_block(a, b)).sum();
    }
}

/// Widened first: 64 products of at most 127² fit an i32 by far.
fn dot_block(a: &Block, b: &Block) -> i32 {
    a.0.iter().zip(&b.0).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
}

/// See [`super::kernel::Kernel::largest`].
pub(super) fn largest(values: &[i64]) -> usize {
    let most = values.iter().copied().fold(i64::MIN, i64::max);
    values.iter().position(|value| *value == most).expect("never called without values")
}

/// See [`super::kernel::Kernel::smallest`].
pub(super) fn smallest(values: &[i64]) -> usize {
    let least = values.iter().copied().fold(i64::MAX, i64::min);
    values.iter().position(|value| *value == least).expect("never called without values")
}
