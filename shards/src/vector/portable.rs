//! The hot loops in plain Rust: what every other kernel must equal, and what runs where none of
//! them does.

use super::block::Block;
use super::lanes::LANES;
use super::quantise;
use super::rotation::turn;
use super::set::plain_set;
use super::signs::{self, Factors, PLANES, SignLayout, SignQuery};

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

/// See [`super::kernel::Kernel::estimates`].
pub(super) fn estimates(layout: SignLayout, query: &SignQuery, rows: &[&[Block]], out: &mut [f32]) {
    for (row, out) in rows.iter().zip(out) {
        let mut sum = 0;
        for half in 0..layout.halves() {
            let bits = words(layout.row_half(row, half));
            for plane in 0..PLANES {
                let plane_bits = words(layout.query_half(&query.planes, half, plane));
                let common = bits.iter().zip(plane_bits).map(|(a, b)| (a & b).count_ones());
                sum += (common.sum::<u32>() as i32) << plane;
            }
        }
        *out = query.terms.estimate(Factors::of(layout, row), sum);
    }
}

fn words(half: &[i8; 32]) -> [u64; 4] {
    let (words, _) = half.as_chunks::<8>();
    std::array::from_fn(|at| u64::from_le_bytes(words[at].map(|byte| byte as u8)))
}

/// See [`super::kernel::Kernel::encode`].
pub(super) fn encode(vector: &[f32], codes8: &mut [i8]) -> f32 {
    quantise::quantise(vector, codes8, turn)
}

/// See [`super::kernel::Kernel::write_row`].
pub(super) fn write_row(codes8: &[Block], scale: f32, mean: &[f32], row: &mut [Block]) {
    signs::write_row(codes8, scale, mean, row, signs::positive)
}

/// See [`super::kernel::Kernel::write_query`].
pub(super) fn write_query(codes8: &[Block], scale: f32, mean: &[f32], query: &mut SignQuery) {
    signs::write_query(codes8, scale, mean, query, signs::bits_of)
}

/// What every processor has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portable;

plain_set!(Portable, estimates, dots);
