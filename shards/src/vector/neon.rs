//! The hot loops for aarch64, whose processors all have NEON.

use std::arch::aarch64::*;

use super::block::Block;
use super::lanes::LANES;
use super::set::plain_set;
use super::signs::{Factors, PLANES, SignLayout, SignQuery};

/// See [`super::kernel::Kernel::dots`].
pub(super) fn dots(query: &[Block], rows: &[&[Block]], out: &mut [i32]) {
    for (row, out) in rows.iter().zip(out) {
        *out = dot(query, row);
    }
}

/// Two products of at most 127² fit an i16; they are added in pairs to sums of 32 bits.
fn dot(a: &[Block], b: &[Block]) -> i32 {
    // SAFETY: NEON is part of every aarch64 target; a block is four quarters of 16 bytes.
    unsafe {
        let mut sums = [vdupq_n_s32(0); 4];
        for (a, b) in a.iter().zip(b) {
            for (quarter, sum) in sums.iter_mut().enumerate() {
                let a = vld1q_s8(a.0.as_ptr().add(16 * quarter));
                let b = vld1q_s8(b.0.as_ptr().add(16 * quarter));
                let pairs = vmull_s8(vget_low_s8(a), vget_low_s8(b));
                *sum = vpadalq_s16(*sum, vmlal_high_s8(pairs, a, b));
            }
        }
        vaddvq_s32(vaddq_s32(vaddq_s32(sums[0], sums[1]), vaddq_s32(sums[2], sums[3])))
    }
}

/// See [`super::kernel::Kernel::estimates`].
pub(super) fn estimates(layout: SignLayout, query: &SignQuery, rows: &[&[Block]], out: &mut [f32]) {
    for (row, out) in rows.iter().zip(out) {
        let mut sum = 0;
        for half in 0..layout.halves() {
            let bits = layout.row_half(row, half);
            let planes: [&[i8; 32]; PLANES] =
                std::array::from_fn(|plane| layout.query_half(&query.planes, half, plane));
            sum += weighted(bits, planes);
        }
        *out = query.terms.estimate(Factors::of(layout, row), sum);
    }
}

/// Per byte at most 8 · 15: Horner's rule over the planes, the highest first.
fn weighted(bits: &[i8; 32], planes: [&[i8; 32]; PLANES]) -> i32 {
    // SAFETY: NEON is part of every aarch64 target; 32 bytes are two registers.
    unsafe {
        let mut sum = 0;
        for part in [0, 16] {
            let bits = vld1q_s8(bits.as_ptr().add(part));
            let mut weighted = vdupq_n_u8(0);
            for plane in planes.iter().rev() {
                let plane = vld1q_s8(plane.as_ptr().add(part));
                let ones = vcntq_u8(vreinterpretq_u8_s8(vandq_s8(bits, plane)));
                weighted = vaddq_u8(vaddq_u8(weighted, weighted), ones);
            }
            sum += i32::from(vaddlvq_u8(weighted));
        }
        sum
    }
}

/// What every aarch64 processor has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Neon;

plain_set!(Neon, estimates, dots);
