//! What kernels have in common: float reductions that every processor does alike, and the arrays
//! that they work on.

/// Bytes behind the last bit of marks: a kernel may read more than the byte that it needs.
pub const MARK_SPARE_BYTES: usize = 4;

/// Partial sums of a float reduction.
pub(super) const LANES: usize = 16;

/// Numbers as [`LANES`] at a time.
pub(super) type Group = [f32; LANES];

/// 1.5 · 2^23: added to a float of less than 2^22, it leaves the nearest integer (ties to even) in
/// the low bits.
const ROUNDING: f32 = 12_582_912.0;

/// The nearest integer of a number between -2^22 and 2^22, ties to even.
#[inline(always)]
pub(super) fn rounded(value: f32) -> i32 {
    (value + ROUNDING).to_bits().wrapping_sub(ROUNDING.to_bits()) as i32
}

/// One instruction, where `f32::max` must mind NaN.
#[inline(always)]
pub(super) fn larger(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// See [`larger`].
#[inline(always)]
pub(super) fn smaller(a: f32, b: f32) -> f32 {
    if b < a { b } else { a }
}

/// Folds 16 lanes as halves onto halves: the order that a register of 16, 8 or 4 lanes can follow.
#[inline(always)]
pub(super) fn tree<T: Copy>(mut lanes: [T; LANES], join: impl Fn(T, T) -> T) -> T {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = join(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// The arrays of a beam, all of one length: nodes, how similar they are, and the same again where a
/// node is still to be expanded.
#[derive(Debug)]
pub struct Beam<'a> {
    /// Similarities.
    pub similarities: &'a mut [f32],
    /// Similarities, or minus infinity.
    pub open: &'a mut [f32],
    /// Nodes.
    pub nodes: &'a mut [u32],
}

impl Beam<'_> {
    /// Nodes that every array has room for.
    pub(super) fn room(&self) -> usize {
        self.similarities.len().min(self.open.len()).min(self.nodes.len())
    }
}
