//! What kernels have in common: float reductions that every processor does alike, and the arrays
//! that they work on.

/// Partial sums of a float reduction, and numbers that are handled at a time.
pub(crate) const LANES: usize = 16;

/// Some of so many lanes, as bits.
pub(crate) type Lanes = u16;

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

/// The first `count` lanes.
#[inline(always)]
pub(crate) fn first_lanes(count: usize) -> Lanes {
    debug_assert!(count <= LANES);
    ((1u32 << count) - 1) as Lanes
}

/// Calls `take` for each of the chosen lanes, in their order, with its number among them.
#[inline(always)]
pub(crate) fn each(mut chosen: Lanes, mut take: impl FnMut(usize, usize)) {
    for at in 0..chosen.count_ones() as usize {
        take(at, chosen.trailing_zeros() as usize % LANES);
        chosen &= chosen - 1;
    }
}

/// The first places of the largest number and of the next; see [`super::set::Set::largest_two`].
#[inline(always)]
pub(super) fn largest_two(numbers: &[f32]) -> [usize; 2] {
    let (mut best, mut places) = ([f32::NEG_INFINITY; 2], [0; 2]);
    for (place, number) in numbers.iter().enumerate() {
        if *number > best[0] {
            (best, places) = ([*number, best[0]], [place, places[0]]);
        } else if *number > best[1] {
            (best[1], places[1]) = (*number, place);
        }
    }
    places
}
