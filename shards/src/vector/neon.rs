//! The hot loops for aarch64, whose processors all have NEON.

use std::arch::aarch64::*;

use super::kernel::Block;

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
