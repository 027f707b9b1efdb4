//! 1-bit codes: what a search compares first.
//!
//! RaBitQ (Gao & Long, SIGMOD 2024): of a rotated vector less the mean of its space, the *residual*
//! r, a row keeps the signs and ‖r‖²/‖r‖₁; of the query's residual, each number is rounded to 4
//! bits. Then ⟨query, r⟩ ≈ ‖r‖²/‖r‖₁ · Σ ±query, which is a few ANDs and counts of bits.
//!
//! ```text
//! row:   │ signs, in halves of 32 bytes │ mean · r │ factor │ factor · ones │ scale │ norm │ 0… │
//! query: │ a full block: bit 0 │ bit 1 │ bit 2 │ bit 3 │ … │ a half: bits 0 and 1 │ bits 2 and 3 │
//! ```

use super::block::{BLOCK_CODES, Block};
use super::lanes::{Group, LANES, Lanes, larger, rounded, smaller, tree};

/// Bytes of the unit of signs.
const HALF_BYTES: usize = 32;
/// Bytes behind the signs: five f32.
const FACTOR_BYTES: usize = 20;
/// Largest number of a rounded query: 4 bits.
const LEVEL_MAX: f32 = 15.0;
/// Bits of a number of a rounded query.
pub(super) const PLANES: usize = 4;

/// Where things lie in the 1-bit codes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignLayout {
    /// Numbers of a rotated vector, a multiple of 64.
    pub(super) numbers: usize,
    /// Blocks of 64 bytes that are signs only.
    pub(super) full: usize,
    /// Whether 32 more bytes of signs follow.
    pub(super) has_half: bool,
}

impl SignLayout {
    /// Of rows of so many blocks of int8 codes.
    pub const fn new(blocks: usize) -> SignLayout {
        let numbers = blocks * BLOCK_CODES;
        let halves = numbers.div_ceil(8 * HALF_BYTES);
        SignLayout { numbers, full: halves / 2, has_half: halves % 2 == 1 }
    }

    /// Blocks of a row.
    pub fn row_blocks(self) -> usize {
        self.row_bytes().div_ceil(BLOCK_CODES)
    }

    /// Bytes of a row that are not padding.
    pub(super) const fn row_bytes(self) -> usize {
        self.factors_at() + FACTOR_BYTES
    }

    /// Blocks of a query.
    pub(super) fn query_blocks(self) -> usize {
        self.full * PLANES + usize::from(self.has_half) * PLANES / 2
    }

    /// Halves of 32 bytes of signs.
    #[inline(always)]
    pub(super) const fn halves(self) -> usize {
        2 * self.full + self.has_half as usize
    }

    /// The first byte of the factors.
    #[inline(always)]
    pub(super) const fn factors_at(self) -> usize {
        self.halves() * HALF_BYTES
    }

    /// A half of the signs of a row.
    #[inline(always)]
    pub(super) fn row_half(self, row: &[Block], half: usize) -> &[i8; HALF_BYTES] {
        &row[half / 2].0.as_chunks().0[half % 2]
    }

    /// The bits of one plane of a query that belong to a half of the signs.
    #[inline(always)]
    pub(super) fn query_half(
        self,
        planes: &[Block],
        half: usize,
        plane: usize,
    ) -> &[i8; HALF_BYTES] {
        let (block, part) = if half < 2 * self.full {
            (half / 2 * PLANES + plane, half % 2)
        } else {
            (self.full * PLANES + plane / 2, plane % 2)
        };
        &planes[block].0.as_chunks().0[part]
    }
}

/// What a row keeps beside its signs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Factors {
    /// ⟨mean, residual⟩.
    pub(super) mean: f32,
    /// ‖residual‖² / ‖residual‖₁.
    pub(super) factor: f32,
    /// The same times the number of positive signs.
    pub(super) ones: f32,
    /// What an int8 code of 1 stands for.
    pub(super) scale: f32,
    /// The square of the vector's length.
    pub(super) norm: f32,
}

impl Factors {
    /// Those of `row`.
    #[inline(always)]
    pub(super) fn of(layout: SignLayout, row: &[Block]) -> Factors {
        let at = layout.factors_at();
        let bytes = &row[at / BLOCK_CODES].0[at % BLOCK_CODES..][..FACTOR_BYTES];
        let (words, _) = bytes.as_chunks::<4>();
        let number = |at: usize| f32::from_le_bytes(words[at].map(|byte: i8| byte as u8));
        Factors {
            mean: number(0),
            factor: number(1),
            ones: number(2),
            scale: number(3),
            norm: number(4),
        }
    }

    /// Whether all of them are numbers.
    pub(super) fn is_finite(self) -> bool {
        let Factors { mean, factor, ones, scale, norm } = self;
        [mean, factor, ones, scale, norm].iter().all(|number| number.is_finite())
    }

    fn write(self, layout: SignLayout, row: &mut [Block]) {
        let at = layout.factors_at();
        let bytes = &mut row[at / BLOCK_CODES].0[at % BLOCK_CODES..][..FACTOR_BYTES];
        let numbers = [self.mean, self.factor, self.ones, self.scale, self.norm];
        for (place, number) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(numbers) {
            *place = number.to_le_bytes().map(|byte| byte as i8);
        }
    }
}

/// A query, rounded for comparison with 1-bit codes.
#[derive(Clone, Debug, Default)]
pub struct SignQuery {
    /// The bits of its numbers, as the head of this file draws them.
    pub(super) planes: Vec<Block>,
    pub(super) terms: Terms,
}

/// The numbers that turn counts of bits into a dot product.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Terms {
    /// ⟨query, mean⟩.
    pub(super) base: f32,
    pub(super) twice_low: f32,
    pub(super) twice_step: f32,
    /// Low · numbers + step · Σ levels: what the signs would give if all were negative.
    pub(super) negative: f32,
}

impl Terms {
    /// The dot product, from `sum`, the sum of the query's levels where the row's sign is positive.
    /// The order of operations is the same in every kernel.
    #[inline(always)]
    pub(super) fn estimate(self, factors: Factors, sum: i32) -> f32 {
        let signed = self.twice_step * sum as f32 - self.negative;
        (self.base + factors.mean) + (factors.ones * self.twice_low + factors.factor * signed)
    }
}

/// Bit `plane` of each of sixteen numbers.
#[inline(always)]
pub(super) fn bits_of(numbers: &[i32; LANES], plane: usize) -> Lanes {
    let bits = numbers.iter().enumerate().map(|(lane, number)| (number >> plane & 1) << lane);
    bits.fold(0, |all, bit| all | bit as Lanes)
}

/// Which of sixteen numbers are positive.
#[inline(always)]
pub(super) fn positive(numbers: &Group) -> Lanes {
    let bits = numbers.iter().enumerate().map(|(lane, number)| u16::from(*number > 0.0) << lane);
    bits.fold(0, |all, bit| all | bit)
}

/// Writes the 1-bit codes of a row from its int8 codes. `positive` tells which of sixteen numbers
/// are.
#[inline(always)]
pub(super) fn write_row(
    codes8: &[Block],
    scale: f32,
    mean: &[f32],
    row: &mut [Block],
    positive: impl Fn(&Group) -> Lanes,
) {
    let layout = SignLayout::new(codes8.len());
    let (mut l1, mut l2, mut along) = ([0.0f32; LANES], [0.0f32; LANES], [0.0f32; LANES]);
    let mut squares = [0i32; LANES];
    let mut ones = 0;
    row.fill(Block::default());
    let (groups, _) = mean.as_chunks::<LANES>();
    let codes = codes8.iter().flat_map(|block| block.0.as_chunks::<LANES>().0);
    for (at, (codes, mean)) in codes.zip(groups).enumerate() {
        let residuals: Group =
            std::array::from_fn(|lane| f32::from(codes[lane]) * scale - mean[lane]);
        for lane in 0..LANES {
            let residual = residuals[lane];
            l1[lane] += residual.abs();
            l2[lane] += residual * residual;
            along[lane] += residual * mean[lane];
            squares[lane] += i32::from(codes[lane]) * i32::from(codes[lane]);
        }
        let bits = positive(&residuals);
        ones += bits.count_ones();
        let [low, high] = bits.to_le_bytes();
        let block = &mut row[2 * at / BLOCK_CODES].0;
        (block[2 * at % BLOCK_CODES], block[2 * at % BLOCK_CODES + 1]) = (low as i8, high as i8);
    }
    let add = |a: f32, b: f32| a + b;
    let length = tree(l1, add);
    let factor = if length > 0.0 { tree(l2, add) / length } else { 0.0 };
    let factors = Factors {
        mean: tree(along, add),
        factor,
        ones: factor * ones as f32,
        scale,
        norm: tree(squares, |a, b| a + b) as f32 * (scale * scale),
    };
    factors.write(layout, row);
}

/// Prepares a query from its int8 codes. `bits_of` gives bit `plane` of each of sixteen numbers.
#[inline(always)]
pub(super) fn write_query(
    codes8: &[Block],
    scale: f32,
    mean: &[f32],
    query: &mut SignQuery,
    bits_of: impl Fn(&[i32; LANES], usize) -> Lanes,
) {
    let layout = SignLayout::new(codes8.len());
    let (groups, _) = mean.as_chunks::<LANES>();
    let (mut lows, mut highs) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
    let mut along = [0.0f32; LANES];
    let codes = || codes8.iter().flat_map(|block| block.0.as_chunks::<LANES>().0);
    for (codes, mean) in codes().zip(groups) {
        let values: Group = std::array::from_fn(|lane| f32::from(codes[lane]) * scale);
        let residuals: Group = std::array::from_fn(|lane| values[lane] - mean[lane]);
        along = std::array::from_fn(|lane| along[lane] + values[lane] * mean[lane]);
        lows = std::array::from_fn(|lane| smaller(lows[lane], residuals[lane]));
        highs = std::array::from_fn(|lane| larger(highs[lane], residuals[lane]));
    }
    let low = tree(lows, smaller);
    let high = tree(highs, larger);
    let step = (high - low) / LEVEL_MAX;
    let factor = if step > 0.0 { 1.0 / step } else { 0.0 };
    query.planes.clear();
    query.planes.resize(layout.query_blocks(), Block::default());
    let mut sums = [0i32; LANES];
    for (at, (codes, mean)) in codes().zip(groups).enumerate() {
        let levels: [i32; LANES] = std::array::from_fn(|lane| {
            let residual = f32::from(codes[lane]) * scale - mean[lane];
            rounded((residual - low) * factor)
        });
        sums = std::array::from_fn(|lane| sums[lane] + levels[lane]);
        let byte = 2 * at;
        for plane in 0..PLANES {
            let bits = bits_of(&levels, plane);
            let (block, offset) = if byte < layout.full * BLOCK_CODES {
                (byte / BLOCK_CODES * PLANES + plane, byte % BLOCK_CODES)
            } else {
                (layout.full * PLANES + plane / 2, byte % HALF_BYTES + plane % 2 * HALF_BYTES)
            };
            let [low, high] = bits.to_le_bytes();
            let block = &mut query.planes[block].0;
            (block[offset], block[offset + 1]) = (low as i8, high as i8);
        }
    }
    let levels = tree(sums, |a, b| a + b);
    query.terms = Terms {
        base: tree(along, |a, b| a + b),
        twice_low: 2.0 * low,
        twice_step: 2.0 * step,
        negative: low * layout.numbers as f32 + step * levels as f32,
    };
}
