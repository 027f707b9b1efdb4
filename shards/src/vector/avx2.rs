//! The hot loops for x86-64 with AVX2.

use std::arch::x86_64::*;

use super::block::Block;
use super::lanes::LANES;
use super::quantise;
use super::rotation::turn;
use super::set::{Task, plain_set};
use super::signs::{self, Factors, PLANES, SignLayout, SignQuery};

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

/// See [`super::kernel::Kernel::estimates`].
#[target_feature(enable = "avx2")]
pub(super) fn estimates(layout: SignLayout, query: &SignQuery, rows: &[&[Block]], out: &mut [f32]) {
    for (row, out) in rows.iter().zip(out) {
        let mut sums = _mm256_setzero_si256();
        for half in 0..layout.halves() {
            let bits = load_half(layout.row_half(row, half));
            // Per byte at most 8 · 15: Horner's rule over the planes, the highest first.
            let mut weighted = _mm256_setzero_si256();
            for plane in (0..PLANES).rev() {
                let plane = load_half(layout.query_half(&query.planes, half, plane));
                let ones = popcount(_mm256_and_si256(bits, plane));
                weighted = _mm256_add_epi8(_mm256_add_epi8(weighted, weighted), ones);
            }
            sums = _mm256_add_epi64(sums, _mm256_sad_epu8(weighted, _mm256_setzero_si256()));
        }
        let sums = _mm_add_epi64(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
        let sum = _mm_cvtsi128_si64(sums) + _mm_extract_epi64::<1>(sums);
        *out = query.terms.estimate(Factors::of(layout, row), sum as i32);
    }
}

/// The bits set in each byte, looked up by nibbles (Muła, Kurz & Lemire 2018).
#[target_feature(enable = "avx2")]
fn popcount(bytes: __m256i) -> __m256i {
    let counts = _mm256_setr_epi8(
        0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3,
        3, 4,
    );
    let nibble = _mm256_set1_epi8(15);
    let low = _mm256_shuffle_epi8(counts, _mm256_and_si256(bytes, nibble));
    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), nibble);
    _mm256_add_epi8(low, _mm256_shuffle_epi8(counts, high))
}

#[target_feature(enable = "avx2")]
fn load_half(half: &[i8; 32]) -> __m256i {
    // SAFETY: 32 bytes are what an unaligned load reads.
    unsafe { _mm256_loadu_si256(half.as_ptr().cast()) }
}

/// See [`super::kernel::Kernel::encode`].
#[target_feature(enable = "avx2")]
pub(super) fn encode(vector: &[f32], codes8: &mut [i8]) -> f32 {
    quantise::quantise(vector, codes8, turn)
}

/// See [`super::kernel::Kernel::write_row`].
#[target_feature(enable = "avx2")]
pub(super) fn write_row(codes8: &[Block], scale: f32, mean: &[f32], row: &mut [Block]) {
    signs::write_row(codes8, scale, mean, row, signs::positive)
}

/// See [`super::kernel::Kernel::write_query`].
#[target_feature(enable = "avx2")]
pub(super) fn write_query(codes8: &[Block], scale: f32, mean: &[f32], query: &mut SignQuery) {
    signs::write_query(codes8, scale, mean, query, signs::bits_of)
}

/// Shows that the processor has the instructions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx2(());

plain_set!(Avx2, estimates, dots);

/// See [`super::kernel::Kernel::run`].
#[target_feature(enable = "avx2,popcnt,bmi1,bmi2,lzcnt")]
pub(super) fn run<T: Task>(task: T) -> T::Output {
    task.run(Avx2(()))
}
