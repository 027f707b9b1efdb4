//! The hot loops for x86-64 with AVX2.

use std::arch::x86_64::*;

use super::kernel::Block;

/// See [`super::kernel::Kernel::dots`].
#[target_feature(enable = "avx2")]
pub(super) fn dots(query: &[Block], rows: &[&[Block]], out: &mut [i32]) {
    for (row, out) in rows.iter().zip(out) {
        *out = dot(query, row);
    }
}

/// `maddubs` wants one unsigned factor: |a| · (b with the sign of a). Two products of at most 127²
/// fit an i16.
#[target_feature(enable = "avx2")]
fn dot(a: &[Block], b: &[Block]) -> i32 {
    let ones = _mm256_set1_epi16(1);
    let mut sums = [_mm256_setzero_si256(); 2];
    for (a, b) in a.iter().zip(b) {
        for (half, sum) in sums.iter_mut().enumerate() {
            // SAFETY: a block is 64 bytes, aligned to 64: two aligned halves of 32 bytes.
            let (a, b) = unsafe {
                (
                    _mm256_load_si256(a.0.as_ptr().cast::<__m256i>().add(half)),
                    _mm256_load_si256(b.0.as_ptr().cast::<__m256i>().add(half)),
                )
            };
            let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8(b, a));
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
        }
    }
    let sum = _mm256_add_epi32(sums[0], sums[1]);
    let sum = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
    let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b01_00_11_10>(sum));
    let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b10_11_00_01>(sum));
    _mm_cvtsi128_si32(sum)
}

/// See [`super::kernel::Kernel::largest`].
#[target_feature(enable = "avx2")]
pub(super) fn largest(values: &[i64]) -> usize {
    let (groups, rest) = values.as_chunks::<4>();
    let mut most = _mm256_set1_epi64x(i64::MIN);
    for group in groups {
        let group = load(group);
        most = _mm256_blendv_epi8(most, group, _mm256_cmpgt_epi64(group, most));
    }
    let most = rest.iter().copied().chain(lanes(most)).fold(i64::MIN, i64::max);
    position(values, most)
}

/// See [`super::kernel::Kernel::smallest`].
#[target_feature(enable = "avx2")]
pub(super) fn smallest(values: &[i64]) -> usize {
    let (groups, rest) = values.as_chunks::<4>();
    let mut least = _mm256_set1_epi64x(i64::MAX);
    for group in groups {
        let group = load(group);
        least = _mm256_blendv_epi8(least, group, _mm256_cmpgt_epi64(least, group));
    }
    let least = rest.iter().copied().chain(lanes(least)).fold(i64::MAX, i64::min);
    position(values, least)
}

/// The first place of `value`.
#[target_feature(enable = "avx2")]
fn position(values: &[i64], value: i64) -> usize {
    let wanted = _mm256_set1_epi64x(value);
    let (groups, rest) = values.as_chunks::<4>();
    for (at, group) in groups.iter().enumerate() {
        let equal = _mm256_cmpeq_epi64(load(group), wanted);
        let mask = _mm256_movemask_pd(_mm256_castsi256_pd(equal));
        if mask != 0 {
            return 4 * at + mask.trailing_zeros() as usize;
        }
    }
    let at = rest.iter().position(|other| *other == value);
    4 * groups.len() + at.expect("the value was taken from among them")
}

#[target_feature(enable = "avx2")]
fn load(group: &[i64; 4]) -> __m256i {
    // SAFETY: four i64 are the 32 bytes that an unaligned load reads.
    unsafe { _mm256_loadu_si256(group.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
fn lanes(value: __m256i) -> [i64; 4] {
    let mut lanes = [0; 4];
    // SAFETY: four i64 are the 32 bytes that an unaligned store writes.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), value) };
    lanes
}
