//! The hot loops for x86-64 with AVX-512, VNNI and BITALG.

use std::arch::x86_64::*;

use super::block::Block;
use super::lanes::{Beam, LANES, MARK_SPARE_BYTES};
use super::quantise;
use super::signs::{self, PLANES, SignLayout, SignQuery, Terms};

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
#[inline]
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
    let sums = total(sums.map(|sum| _mm512_sub_epi32(sum, excess)));
    let mut out = [0; ROWS];
    // SAFETY: four i32 are the 16 bytes that an unaligned store writes.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), sums) };
    out
}

/// The sum of the lanes of each register.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn total(sums: [__m512i; ROWS]) -> __m128i {
    let [a, b, c, d] = sums.map(|sum| {
        _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64::<1>(sum))
    });
    let sums = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums))
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

/// The first half of a block, twice.
#[target_feature(enable = "avx512f")]
fn load_half_twice(block: &Block) -> __m512i {
    // SAFETY: a block is 64 bytes, aligned to 64; half of them are read.
    _mm512_broadcast_i64x4(unsafe { _mm256_load_si256(block.0.as_ptr().cast()) })
}

/// See [`super::kernel::Kernel::estimates`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512bitalg")]
pub(super) fn estimates(layout: SignLayout, query: &SignQuery, rows: &[&[Block]], out: &mut [f32]) {
    let (groups, rest) = rows.as_chunks::<ROWS>();
    let (out_groups, out_rest) = out[..rows.len()].as_chunks_mut::<ROWS>();
    for (group, out) in groups.iter().zip(out_groups) {
        *out = estimates_of_four(layout, query, group);
    }
    if let Some(last) = rest.last() {
        let group = std::array::from_fn(|at| *rest.get(at).unwrap_or(last));
        let estimates = estimates_of_four(layout, query, &group);
        out_rest.copy_from_slice(&estimates[..out_rest.len()]);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512bitalg")]
fn estimates_of_four(
    layout: SignLayout,
    query: &SignQuery,
    rows: &[&[Block]; ROWS],
) -> [f32; ROWS] {
    let mut sums = [_mm512_setzero_si512(); ROWS];
    let weights = [1, 2, 4, 8].map(|weight| _mm512_set1_epi8(weight));
    let (full, half) = query.planes.split_at(layout.full * PLANES);
    for (at, planes) in full.as_chunks::<PLANES>().0.iter().enumerate() {
        let bits = rows.map(|row| load(&row[at]));
        for (plane, weight) in planes.iter().zip(weights) {
            let plane = load(plane);
            for (sum, bits) in sums.iter_mut().zip(bits) {
                let ones = _mm512_popcnt_epi8(_mm512_and_si512(bits, plane));
                *sum = _mm512_dpbusd_epi32(*sum, ones, weight);
            }
        }
    }
    if let [low, high] = half {
        let bits = rows.map(|row| load_half_twice(&row[layout.full]));
        let upper = |low: i8, high: i8| {
            _mm512_inserti64x4::<1>(_mm512_set1_epi8(low), _mm256_set1_epi8(high))
        };
        for (planes, weight) in [(low, upper(1, 2)), (high, upper(4, 8))] {
            let planes = load(planes);
            for (sum, bits) in sums.iter_mut().zip(bits) {
                let ones = _mm512_popcnt_epi8(_mm512_and_si512(bits, planes));
                *sum = _mm512_dpbusd_epi32(*sum, ones, weight);
            }
        }
    }
    finish(layout, query.terms, rows, total(sums))
}

/// [`Terms::estimate`] of four rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn finish(layout: SignLayout, terms: Terms, rows: &[&[Block]; ROWS], sums: __m128i) -> [f32; ROWS] {
    let at = layout.factors_at();
    let [mut mean, mut factor, mut ones, mut scale] = rows.map(|row| {
        let factors = &row[at / 64].0[at % 64..][..16];
        // SAFETY: 16 bytes, as the slice shows.
        unsafe { _mm_loadu_ps(factors.as_ptr().cast()) }
    });
    _MM_TRANSPOSE4_PS(&mut mean, &mut factor, &mut ones, &mut scale);
    let signed = _mm_sub_ps(
        _mm_mul_ps(_mm_set1_ps(terms.twice_step), _mm_cvtepi32_ps(sums)),
        _mm_set1_ps(terms.negative),
    );
    let first = _mm_add_ps(_mm_set1_ps(terms.base), mean);
    let second =
        _mm_add_ps(_mm_mul_ps(ones, _mm_set1_ps(terms.twice_low)), _mm_mul_ps(factor, signed));
    let mut out = [0.0; ROWS];
    // SAFETY: four f32 are the 16 bytes that an unaligned store writes.
    unsafe { _mm_storeu_ps(out.as_mut_ptr(), _mm_add_ps(first, second)) };
    out
}

/// See [`super::kernel::Kernel::largest`].
#[target_feature(enable = "avx512f")]
pub(super) fn largest(values: &[f32]) -> usize {
    let (groups, rest) = values.as_chunks::<16>();
    let mut most = load_part(rest);
    for group in groups {
        most = _mm512_max_ps(most, load_group(group));
    }
    let wanted = _mm512_set1_ps(_mm512_reduce_max_ps(most));
    for (at, group) in groups.iter().enumerate() {
        let mask = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(load_group(group), wanted);
        if mask != 0 {
            return 16 * at + mask.trailing_zeros() as usize;
        }
    }
    let mask = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(load_part(rest), wanted);
    16 * groups.len() + mask.trailing_zeros() as usize
}

/// See [`super::kernel::Kernel::above`].
#[target_feature(enable = "avx512f,popcnt")]
pub(super) fn above(values: &[f32], bound: f32) -> usize {
    let bound = _mm512_set1_ps(bound);
    let (groups, rest) = values.as_chunks::<16>();
    let more = |group| _mm512_cmp_ps_mask::<_CMP_GT_OQ>(group, bound).count_ones() as usize;
    groups.iter().map(|group| more(load_group(group))).sum::<usize>() + more(load_part(rest))
}

#[target_feature(enable = "avx512f")]
fn load_group(group: &[f32; 16]) -> __m512 {
    // SAFETY: sixteen f32 are the 64 bytes that an unaligned load reads.
    unsafe { _mm512_loadu_ps(group.as_ptr()) }
}

/// Fewer than sixteen values; the other lanes are less than any number.
#[target_feature(enable = "avx512f")]
fn load_part(values: &[f32]) -> __m512 {
    assert!(values.len() < 16);
    let mask = (1u16 << values.len()) - 1;
    let least = _mm512_set1_ps(f32::NEG_INFINITY);
    // SAFETY: a masked load reads only the lanes of the mask, which are the values there are.
    unsafe { _mm512_mask_loadu_ps(least, mask, values.as_ptr()) }
}

/// See [`super::kernel::Kernel::mark`].
#[target_feature(enable = "avx512f,popcnt,bmi1")]
pub(super) fn mark(bits: &mut [u8], nodes: &[u32], fresh: &mut [u32]) -> usize {
    let mut count = 0;
    for some in nodes.chunks(LANES) {
        let all = lanes_of(some.len());
        // SAFETY: a masked load reads only the lanes of the mask, which are the nodes there are.
        let lanes = unsafe { _mm512_maskz_loadu_epi32(all, some.as_ptr().cast()) };
        let bytes = _mm512_srli_epi32::<3>(lanes);
        let end = bits.len().saturating_sub(MARK_SPARE_BYTES).min(i32::MAX as usize);
        let beyond = _mm512_mask_cmpge_epu32_mask(all, bytes, _mm512_set1_epi32(end as i32));
        assert!(beyond == 0, "every node has a bit");
        let zero = _mm512_setzero_si512();
        // SAFETY: four bytes are read from each place, and all places of the mask lie that far
        // before the end.
        let words =
            unsafe { _mm512_mask_i32gather_epi32::<1>(zero, all, bytes, bits.as_ptr().cast()) };
        let bit = _mm512_and_si512(lanes, _mm512_set1_epi32(7));
        let bit = _mm512_sllv_epi32(_mm512_set1_epi32(1), bit);
        let clear = _mm512_mask_testn_epi32_mask(all, words, bit);
        // SAFETY: a compressing store writes as many items as the mask has bits: no more than the
        // nodes up to here, which `fresh` has room for.
        unsafe {
            let place = fresh.as_mut_ptr().add(count).cast();
            let lanes = _mm512_maskz_compress_epi32(clear, lanes);
            _mm512_mask_storeu_epi32(place, lanes_of(clear.count_ones() as usize), lanes);
        }
        count += clear.count_ones() as usize;
        // Two nodes may share a byte, so bits are set one by one; read from where they were before,
        // for what was stored just now is not to be had at once.
        let mut left = clear;
        while left != 0 {
            let node = some[left.trailing_zeros() as usize];
            bits[node as usize / 8] |= 1 << (node % 8);
            left &= left - 1;
        }
    }
    count
}

/// See [`super::kernel::Kernel::admit`].
#[target_feature(enable = "avx512f,popcnt")]
pub(super) fn admit(nodes: &[u32], similarities: &[f32], bound: f32, mut beam: Beam<'_>) -> usize {
    let mut count = 0;
    for (nodes, similarities) in nodes.chunks(LANES).zip(similarities.chunks(LANES)) {
        let all = lanes_of(nodes.len());
        // SAFETY: masked loads read only the lanes of the mask, which are the items there are.
        let (nodes, similarities) = unsafe {
            (
                _mm512_maskz_loadu_epi32(all, nodes.as_ptr().cast()),
                _mm512_maskz_loadu_ps(all, similarities.as_ptr()),
            )
        };
        let kept = _mm512_mask_cmp_ps_mask::<_CMP_GT_OQ>(all, similarities, _mm512_set1_ps(bound));
        count = put(&mut beam, count, kept, (similarities, similarities, nodes));
    }
    count
}

/// See [`super::kernel::Kernel::retain`].
#[target_feature(enable = "avx512f,popcnt")]
pub(super) fn retain(mut beam: Beam<'_>, bound: f32) -> usize {
    let mut count = 0;
    for first in (0..beam.room()).step_by(LANES) {
        let all = lanes_of((beam.room() - first).min(LANES));
        // SAFETY: masked loads read only the lanes of the mask, which are the items there are.
        let (similarities, open, nodes) = unsafe {
            (
                _mm512_maskz_loadu_ps(all, beam.similarities.as_ptr().add(first)),
                _mm512_maskz_loadu_ps(all, beam.open.as_ptr().add(first)),
                _mm512_maskz_loadu_epi32(all, beam.nodes.as_ptr().add(first).cast()),
            )
        };
        let kept = _mm512_mask_cmp_ps_mask::<_CMP_GT_OQ>(all, similarities, _mm512_set1_ps(bound));
        count = put(&mut beam, count, kept, (similarities, open, nodes));
    }
    count
}

/// Writes the lanes of `kept` to the arrays, from `at` on; returns where they end.
#[target_feature(enable = "avx512f,popcnt")]
fn put(
    beam: &mut Beam<'_>,
    at: usize,
    kept: __mmask16,
    (similarities, open, nodes): (__m512, __m512, __m512i),
) -> usize {
    let end = at + kept.count_ones() as usize;
    assert!(end <= beam.room());
    let lanes = lanes_of(end - at);
    // SAFETY: as many lanes are stored as lie between `at` and `end`, which is within the arrays,
    // and these are borrowed for writing.
    unsafe {
        let place = beam.similarities.as_mut_ptr().add(at);
        _mm512_mask_storeu_ps(place, lanes, _mm512_maskz_compress_ps(kept, similarities));
        let place = beam.open.as_mut_ptr().add(at);
        _mm512_mask_storeu_ps(place, lanes, _mm512_maskz_compress_ps(kept, open));
        let place = beam.nodes.as_mut_ptr().add(at).cast();
        _mm512_mask_storeu_epi32(place, lanes, _mm512_maskz_compress_epi32(kept, nodes));
    }
    end
}

/// The first `count` lanes.
#[inline(always)]
fn lanes_of(count: usize) -> __mmask16 {
    ((1u32 << count) - 1) as __mmask16
}

/// See [`super::kernel::Kernel::encode`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
pub(super) fn encode(vector: &[f32], codes8: &mut [i8]) -> f32 {
    quantise::quantise(vector, codes8)
}

/// See [`super::kernel::Kernel::write_row`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
pub(super) fn write_row(codes8: &[Block], scale: f32, mean: &[f32], row: &mut [Block]) {
    signs::write_row(codes8, scale, mean, row)
}

/// See [`super::kernel::Kernel::write_query`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
pub(super) fn write_query(codes8: &[Block], scale: f32, mean: &[f32], query: &mut SignQuery) {
    signs::write_query(codes8, scale, mean, query)
}
