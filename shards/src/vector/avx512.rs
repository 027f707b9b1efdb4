//! The hot loops for x86-64 with AVX-512 and VNNI.

use std::arch::x86_64::*;

use super::kernel::Block;

/// Rows compared in one pass over the query: as many streams from memory at a time, with one
/// reduction for all.
const ROWS: usize = 4;

/// See [`super::kernel::Kernel::dots`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn dots(query: &[Block], rows: &[&[Block]], out: &mut [i32]) {
    let (groups, rest) = rows.as_chunks::<ROWS>();
    let (out_groups, out_rest) = out[..rows.len()].as_chunks_mut::<ROWS>();
    for (group, out) in groups.iter().zip(out_groups) {
        *out = dots_of_four(query, group);
    }
    for (row, out) in rest.iter().zip(out_rest) {
        *out = dot(query, row);
    }
}

/// `dpbusd` wants one unsigned factor: (row + 128) · query, less the 128 · query that was too much.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn dots_of_four(query: &[Block], rows: &[&[Block]; ROWS]) -> [i32; ROWS] {
    let [a, b, c, d] = *rows;
    let bias = _mm512_set1_epi8(-128);
    let mut sums = [_mm512_setzero_si512(); ROWS];
    let mut excess = _mm512_setzero_si512();
    for ((((query, a), b), c), d) in query.iter().zip(a).zip(b).zip(c).zip(d) {
        let query = load(query);
        excess = _mm512_dpbusd_epi32(excess, bias, query);
        for (sum, block) in sums.iter_mut().zip([a, b, c, d]) {
            *sum = _mm512_dpbusd_epi32(*sum, _mm512_xor_si512(load(block), bias), query);
        }
    }
    let [a, b, c, d] = sums.map(|sum| {
        let sum = _mm512_sub_epi32(sum, excess);
        _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64::<1>(sum))
    });
    let sums = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    let sums = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
    let mut out = [0; ROWS];
    // SAFETY: four i32 are the 16 bytes that an unaligned store writes.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), sums) };
    out
}

/// One row; see [`dots_of_four`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn dot(query: &[Block], row: &[Block]) -> i32 {
    let bias = _mm512_set1_epi8(-128);
    let mut sum = _mm512_setzero_si512();
    let mut excess = _mm512_setzero_si512();
    for (query, block) in query.iter().zip(row) {
        let query = load(query);
        excess = _mm512_dpbusd_epi32(excess, bias, query);
        sum = _mm512_dpbusd_epi32(sum, _mm512_xor_si512(load(block), bias), query);
    }
    _mm512_reduce_add_epi32(_mm512_sub_epi32(sum, excess))
}

#[target_feature(enable = "avx512f")]
fn load(block: &Block) -> __m512i {
    // SAFETY: a block is 64 bytes, aligned to 64.
    unsafe { _mm512_load_si512(block.0.as_ptr().cast()) }
}

/// See [`super::kernel::Kernel::largest`].
#[target_feature(enable = "avx512f")]
pub(super) fn largest(values: &[i64]) -> usize {
    let (groups, rest) = values.as_chunks::<8>();
    let mut most = load_part(rest, i64::MIN);
    for group in groups {
        most = _mm512_max_epi64(most, load_group(group));
    }
    position(values, _mm512_reduce_max_epi64(most))
}

/// See [`super::kernel::Kernel::smallest`].
#[target_feature(enable = "avx512f")]
pub(super) fn smallest(values: &[i64]) -> usize {
    let (groups, rest) = values.as_chunks::<8>();
    let mut least = load_part(rest, i64::MAX);
    for group in groups {
        least = _mm512_min_epi64(least, load_group(group));
    }
    position(values, _mm512_reduce_min_epi64(least))
}

/// The first place of `value`.
#[target_feature(enable = "avx512f")]
fn position(values: &[i64], value: i64) -> usize {
    let wanted = _mm512_set1_epi64(value);
    let (groups, rest) = values.as_chunks::<8>();
    for (at, group) in groups.iter().enumerate() {
        let mask = _mm512_cmpeq_epi64_mask(load_group(group), wanted);
        if mask != 0 {
            return 8 * at + mask.trailing_zeros() as usize;
        }
    }
    let at = rest.iter().position(|other| *other == value);
    8 * groups.len() + at.expect("the value was taken from among them")
}

#[target_feature(enable = "avx512f")]
fn load_group(group: &[i64; 8]) -> __m512i {
    // SAFETY: eight i64 are the 64 bytes that an unaligned load reads.
    unsafe { _mm512_loadu_si512(group.as_ptr().cast()) }
}

/// Fewer than eight values; the other lanes hold `filler`.
#[target_feature(enable = "avx512f")]
fn load_part(values: &[i64], filler: i64) -> __m512i {
    assert!(values.len() < 8);
    let mask = (1u8 << values.len()) - 1;
    // SAFETY: a masked load reads only the lanes of the mask, which are the values there are.
    unsafe { _mm512_mask_loadu_epi64(_mm512_set1_epi64(filler), mask, values.as_ptr()) }
}
