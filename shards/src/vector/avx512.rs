//! The hot loops for x86-64 with AVX-512, VNNI and BITALG.

use std::arch::x86_64::*;

use super::block::Block;
use super::lanes::{Group, LANES, Lanes};
use super::quantise;
use super::rotation::Signs;
use super::set::{FOUR, Set, Task};
use super::signs::{self, PLANES, SignLayout, SignQuery, Terms};

/// Rows compared in one pass over the query: as many streams from memory at a time, with one
/// reduction for all.
const ROWS: usize = FOUR;

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
    let [a, b, c, d] = sums;
    let less = |sum| _mm512_sub_epi32(sum, excess);
    let sums = total([less(a), less(b), less(c), less(d)]);
    let mut out = [0; ROWS];
    // SAFETY: four i32 are the 16 bytes that an unaligned store writes.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), sums) };
    out
}

/// The sum of the lanes of each register.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn total(sums: [__m512i; ROWS]) -> __m128i {
    let fold =
        |sum| _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64::<1>(sum));
    let [a, b, c, d] = sums;
    let (a, b, c, d) = (fold(a), fold(b), fold(c), fold(d));
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

#[inline]
#[target_feature(enable = "avx512f")]
fn load(block: &Block) -> __m512i {
    // SAFETY: a block is 64 bytes, aligned to 64.
    unsafe { _mm512_load_si512(block.0.as_ptr().cast()) }
}

/// The first half of a block, twice.
#[inline]
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
        *out = four(estimates_of_four(layout, query, group));
    }
    if let Some(last) = rest.last() {
        let group = std::array::from_fn(|at| *rest.get(at).unwrap_or(last));
        let estimates = four(estimates_of_four(layout, query, &group));
        out_rest.copy_from_slice(&estimates[..out_rest.len()]);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512bitalg")]
fn estimates_of_four(layout: SignLayout, query: &SignQuery, rows: &[&[Block]; ROWS]) -> __m128 {
    let mut sums = [_mm512_setzero_si512(); ROWS];
    let weight = |weight| _mm512_set1_epi8(weight);
    let weights = [weight(1), weight(2), weight(4), weight(8)];
    let (full, half) = query.planes.split_at(layout.full * PLANES);
    for (at, planes) in full.as_chunks::<PLANES>().0.iter().enumerate() {
        let [a, b, c, d] = *rows;
        let bits = [load(&a[at]), load(&b[at]), load(&c[at]), load(&d[at])];
        for (plane, weight) in planes.iter().zip(weights) {
            let plane = load(plane);
            for (sum, bits) in sums.iter_mut().zip(bits) {
                let ones = _mm512_popcnt_epi8(_mm512_and_si512(bits, plane));
                *sum = _mm512_dpbusd_epi32(*sum, ones, weight);
            }
        }
    }
    if let [low, high] = half {
        let [a, b, c, d] = *rows;
        let of = |row: &[Block]| load_half_twice(&row[layout.full]);
        let bits = [of(a), of(b), of(c), of(d)];
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
fn finish(layout: SignLayout, terms: Terms, rows: &[&[Block]; ROWS], sums: __m128i) -> __m128 {
    let at = layout.factors_at();
    let factors = |row: &[Block]| {
        let factors = &row[at / 64].0[at % 64..][..16];
        // SAFETY: 16 bytes, as the slice shows.
        unsafe { _mm_loadu_ps(factors.as_ptr().cast()) }
    };
    let [a, b, c, d] = *rows;
    let (mut mean, mut factor) = (factors(a), factors(b));
    let (mut ones, mut scale) = (factors(c), factors(d));
    _MM_TRANSPOSE4_PS(&mut mean, &mut factor, &mut ones, &mut scale);
    let signed = _mm_sub_ps(
        _mm_mul_ps(_mm_set1_ps(terms.twice_step), _mm_cvtepi32_ps(sums)),
        _mm_set1_ps(terms.negative),
    );
    let first = _mm_add_ps(_mm_set1_ps(terms.base), mean);
    let second =
        _mm_add_ps(_mm_mul_ps(ones, _mm_set1_ps(terms.twice_low)), _mm_mul_ps(factor, signed));
    _mm_add_ps(first, second)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn four(numbers: __m128) -> [f32; ROWS] {
    let mut out = [0.0; ROWS];
    // SAFETY: four f32 are the 16 bytes that an unaligned store writes.
    unsafe { _mm_storeu_ps(out.as_mut_ptr(), numbers) };
    out
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_group(group: &[f32; 16]) -> __m512 {
    // SAFETY: sixteen f32 are the 64 bytes that an unaligned load reads.
    unsafe { _mm512_loadu_ps(group.as_ptr()) }
}

/// See [`super::kernel::Kernel::encode`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
pub(super) fn encode(vector: &[f32], codes8: &mut [i8]) -> f32 {
    quantise::quantise(vector, codes8, |group, signs, factor| turn(group, signs, factor))
}

/// See [`super::rotation::turn`]. Left to itself the compiler takes many groups at once and gathers
/// their lanes from memory.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn turn(group: &mut Group, signs: &Signs, factor: f32) {
    // The lanes that are the upper of their pair get the difference.
    const EIGHT_APART: u16 = 0xff00;
    const FOUR_APART: u16 = 0xf0f0;
    const TWO_APART: u16 = 0xcccc;
    const ONE_APART: u16 = 0xaaaa;
    // SAFETY: sixteen u32 are the 64 bytes that an unaligned load reads.
    let signs = unsafe { _mm512_loadu_epi32(signs.as_ptr().cast()) };
    let signed = _mm512_xor_ps(load_group(group), _mm512_castsi512_ps(signs));
    let mut all = _mm512_mul_ps(signed, _mm512_set1_ps(factor));
    let join = |all, other, upper| _mm512_mask_sub_ps(_mm512_add_ps(all, other), upper, other, all);
    all = join(all, _mm512_shuffle_f32x4::<0b01_00_11_10>(all, all), EIGHT_APART);
    all = join(all, _mm512_shuffle_f32x4::<0b10_11_00_01>(all, all), FOUR_APART);
    all = join(all, _mm512_permute_ps::<0b01_00_11_10>(all), TWO_APART);
    all = join(all, _mm512_permute_ps::<0b10_11_00_01>(all), ONE_APART);
    // SAFETY: sixteen f32 are the 64 bytes that an unaligned store writes.
    unsafe { _mm512_storeu_ps(group.as_mut_ptr(), all) };
}

/// See [`super::kernel::Kernel::write_row`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
pub(super) fn write_row(codes8: &[Block], scale: f32, mean: &[f32], row: &mut [Block]) {
    signs::write_row(codes8, scale, mean, row, |numbers| {
        _mm512_cmp_ps_mask::<_CMP_GT_OQ>(load_group(numbers), _mm512_setzero_ps())
    })
}

/// See [`super::kernel::Kernel::write_query`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
pub(super) fn write_query(codes8: &[Block], scale: f32, mean: &[f32], query: &mut SignQuery) {
    signs::write_query(codes8, scale, mean, query, |numbers, plane| {
        // SAFETY: sixteen i32 are the 64 bytes that an unaligned load reads.
        let numbers = unsafe { _mm512_loadu_epi32(numbers.as_ptr()) };
        _mm512_test_epi32_mask(numbers, _mm512_set1_epi32(1 << plane))
    })
}

/// Shows that the processor has the instructions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx512(());

/// See [`super::kernel::Kernel::run`].
#[target_feature(
    enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bitalg,popcnt,bmi1,bmi2,lzcnt"
)]
pub(super) fn run<T: Task>(task: T) -> T::Output {
    task.run(Avx512(()))
}

impl Set for Avx512 {
    type Group = __m512;

    #[inline(always)]
    fn estimates(
        self,
        layout: SignLayout,
        query: &SignQuery,
        rows: &[&[Block]; LANES],
        count: usize,
    ) -> __m512 {
        // SAFETY: an `Avx512` is made only where its instructions are enabled.
        unsafe { estimates_of_sixteen(layout, query, rows, count) }
    }

    #[inline(always)]
    fn dots(self, query: &[Block], rows: &[&[Block]; FOUR]) -> [i32; FOUR] {
        // SAFETY: an `Avx512` is made only where its instructions are enabled.
        unsafe { dots_of_four(query, rows) }
    }

    #[inline(always)]
    fn array(self, group: __m512) -> [f32; LANES] {
        let mut array = [0.0; LANES];
        // SAFETY: an `Avx512` is made only where its instructions are enabled; what is read or
        // written is an array of sixteen.
        unsafe { _mm512_storeu_ps(array.as_mut_ptr(), group) };
        array
    }

    #[inline(always)]
    fn group(self, array: [f32; LANES]) -> __m512 {
        // SAFETY: an `Avx512` is made only where its instructions are enabled; what is read or
        // written is an array of sixteen.
        unsafe { _mm512_loadu_ps(array.as_ptr()) }
    }

    #[inline(always)]
    fn above(self, group: __m512, bound: f32) -> Lanes {
        // SAFETY: an `Avx512` is made only where its instructions are enabled; what is read or
        // written is an array of sixteen.
        unsafe { _mm512_cmp_ps_mask::<_CMP_GT_OQ>(group, _mm512_set1_ps(bound)) }
    }

    #[inline(always)]
    fn count_above(self, numbers: &[[f32; LANES]], bound: f32) -> usize {
        let above = |group: &[f32; LANES]| self.above(self.group(*group), bound).count_ones();
        numbers.iter().map(above).sum::<u32>() as usize
    }

    #[inline(always)]
    fn compress(self, group: __m512, chosen: Lanes) -> __m512 {
        // SAFETY: an `Avx512` is made only where its instructions are enabled; what is read or
        // written is an array of sixteen.
        unsafe { _mm512_mask_compress_ps(_mm512_set1_ps(f32::NEG_INFINITY), chosen, group) }
    }

    #[inline(always)]
    fn compress_nodes(self, nodes: &[u32; LANES], chosen: Lanes) -> [u32; LANES] {
        let mut out = [0; LANES];
        // SAFETY: an `Avx512` is made only where its instructions are enabled; what is read or
        // written is an array of sixteen.
        unsafe {
            let nodes = _mm512_loadu_epi32(nodes.as_ptr().cast());
            let nodes = _mm512_maskz_compress_epi32(chosen, nodes);
            _mm512_storeu_epi32(out.as_mut_ptr().cast(), nodes);
        }
        out
    }

    #[inline(always)]
    fn largest_two(self, numbers: &[[f32; LANES]]) -> [usize; 2] {
        // SAFETY: an `Avx512` is made only where its instructions are enabled; what is read or
        // written is an array of sixteen.
        unsafe { largest_two(numbers) }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512bitalg")]
fn estimates_of_sixteen(
    layout: SignLayout,
    query: &SignQuery,
    rows: &[&[Block]; LANES],
    count: usize,
) -> __m512 {
    let (groups, _) = rows.as_chunks::<ROWS>();
    let mut out = [0.0; LANES];
    let (outs, _) = out.as_chunks_mut::<ROWS>();
    // One place calls it, so that the compiler puts it there.
    for (group, out) in groups.iter().zip(outs).take(count.div_ceil(ROWS)) {
        *out = four(estimates_of_four(layout, query, group));
    }
    load_group(&out)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn largest_two(numbers: &[[f32; LANES]]) -> [usize; 2] {
    let mut first = _mm512_set1_ps(f32::NEG_INFINITY);
    let mut second = first;
    for group in numbers {
        let group = load_group(group);
        second = _mm512_max_ps(second, _mm512_min_ps(first, group));
        first = _mm512_max_ps(first, group);
    }
    let most = _mm512_set1_ps(_mm512_reduce_max_ps(first));
    let lanes = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(first, most);
    // Of one lane that holds the largest, the second is what is left.
    let rest = _mm512_mask_mov_ps(first, lanes & lanes.wrapping_neg(), second);
    let next = _mm512_set1_ps(_mm512_reduce_max_ps(rest));
    let (mut place, mut next_place) = (0, 0);
    for (at, group) in numbers.iter().enumerate().rev() {
        let group = load_group(group);
        let best = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(group, most);
        if best != 0 {
            place = LANES * at + best.trailing_zeros() as usize;
        }
    }
    for (at, group) in numbers.iter().enumerate().rev() {
        let mut equal = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(load_group(group), next);
        if at == place / LANES {
            equal &= !(1 << (place % LANES));
        }
        if equal != 0 {
            next_place = LANES * at + equal.trailing_zeros() as usize;
        }
    }
    [place, next_place]
}
