//! A random rotation that costs a few additions a number.

use super::block::BLOCK_CODES;
use super::lanes::{Group, LANES};
use crate::limits::DIMENSION_MAX;

/// Most groups of [`LANES`] numbers that one Hadamard transform joins.
const JOINED_MAX: usize = 16;
/// Groups of the longest vector.
const GROUPS_MAX: usize = DIMENSION_MAX as usize / LANES;
/// Rounds: vectors are whole blocks of four groups, so each joins four times as many or more.
const ROUNDS_MAX: usize = GROUPS_MAX.ilog2().div_ceil(2) as usize;
const _: () = assert!(BLOCK_CODES == 4 * LANES);

/// Turns `groups` in place: lengths and angles stay, and what was one number is spread over all, so
/// that no direction of the data is special. `spare` is of the same length.
///
/// Rounds of random signs, Hadamard transforms of up to 256 numbers, and another order of the
/// groups; after the last each number depends on all (structured rotations: Ailon & Chazelle 2009).
/// The signs follow from the place alone, so every core, process and processor turns a vector the
/// same way.
#[inline(always)]
pub(super) fn rotate(
    groups: &mut [Group],
    spare: &mut [Group],
    turn: impl Fn(&mut Group, &Signs, f32),
) {
    let count = groups.len();
    assert!(spare.len() == count);
    let joined = (1 << count.trailing_zeros()).min(JOINED_MAX);
    let blocks = count / joined;
    let factor = 1.0 / ((joined * LANES) as f32).sqrt();
    let (mut from, mut to) = (groups, spare);
    let mut reach = 1;
    let mut round = 0;
    // Always an even number of rounds, so that the result ends where it began.
    while reach < count || round % 2 == 1 {
        for (group, signs) in from.iter_mut().zip(&SIGNS[round]) {
            turn(group, signs, factor);
        }
        for block in from.chunks_exact_mut(joined) {
            hadamard(block);
        }
        // The groups of a block go to as many blocks as there are.
        for (at, group) in from.iter().enumerate() {
            to[at % joined * blocks + at / joined] = *group;
        }
        std::mem::swap(&mut from, &mut to);
        reach *= joined;
        round += 1;
    }
}

/// Gives each lane its sign, scales it, and transforms the lanes: what [`rotate`] does to a group
/// before it joins groups.
#[inline(always)]
pub(super) fn turn(group: &mut Group, signs: &Signs, factor: f32) {
    for (value, sign) in group.iter_mut().zip(signs) {
        *value = f32::from_bits(value.to_bits() ^ sign) * factor;
    }
    butterflies::<8>(group);
    butterflies::<4>(group);
    butterflies::<2>(group);
    butterflies::<1>(group);
}

/// Sums and differences of lanes that lie `APART`.
#[inline(always)]
fn butterflies<const APART: usize>(group: &mut Group) {
    let old = *group;
    for lane in 0..LANES {
        let other = old[lane ^ APART];
        group[lane] = if lane & APART == 0 { old[lane] + other } else { other - old[lane] };
    }
}

/// The transform of each lane over the groups, whose number is a power of two.
#[inline(always)]
fn hadamard(groups: &mut [Group]) {
    let mut half = groups.len() / 2;
    while half > 0 {
        for pair in groups.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (low, high) in low.iter_mut().zip(high) {
                for lane in 0..LANES {
                    let (a, b) = (low[lane], high[lane]);
                    low[lane] = a + b;
                    high[lane] = a - b;
                }
            }
        }
        half /= 2;
    }
}

/// The sign bits of a group.
pub(super) type Signs = [u32; LANES];

/// Those of each group in each round.
static SIGNS: [[Signs; GROUPS_MAX]; ROUNDS_MAX] = {
    let mut signs = [[[0; LANES]; GROUPS_MAX]; ROUNDS_MAX];
    let mut at = 0;
    while at < ROUNDS_MAX * GROUPS_MAX {
        let (round, group) = (at / GROUPS_MAX, at % GROUPS_MAX);
        let bits = drawn((round as u64) << 32 | group as u64);
        let mut lane = 0;
        while lane < LANES {
            signs[round][group][lane] = (bits >> lane & 1) << 31;
            lane += 1;
        }
        at += 1;
    }
    signs
};

/// Bits drawn by the finaliser of SplitMix64 (Steele, Lea & Flood 2014).
const fn drawn(number: u64) -> u32 {
    let mut hash = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dot(a: &[Group], b: &[Group]) -> f64 {
        let pairs = a.as_flattened().iter().zip(b.as_flattened());
        pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    fn rotated(groups: &[Group]) -> Vec<Group> {
        let mut groups = groups.to_vec();
        let mut spare = groups.clone();
        rotate(&mut groups, &mut spare, turn);
        groups
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn lengths_and_angles_stay(
            pairs in prop::collection::vec((prop::array::uniform16(-1f32..1.0), prop::array::uniform16(-1f32..1.0)), 1..64)
        ) {
            let (a, b): (Vec<Group>, Vec<Group>) = pairs.into_iter().flat_map(|pair| [pair; 4]).unzip();
            let tolerance = 1e-5 * a.len() as f64 * 16.0;
            prop_assert!((dot(&a, &b) - dot(&rotated(&a), &rotated(&b))).abs() < tolerance);
            prop_assert!((dot(&a, &a) - dot(&rotated(&a), &rotated(&a))).abs() < tolerance);
        }
    }

    #[test]
    fn one_number_is_spread_over_all() {
        for count in [4, 8, 12, 48, 64, 96, 252, 256] {
            for place in [0, 7, count * LANES / 2 + 1, count * LANES - 1] {
                let mut groups = vec![[0.0; LANES]; count];
                groups[place / LANES][place % LANES] = 1.0;
                let rotated = rotated(&groups);
                let largest = rotated.as_flattened().iter().fold(0.0f32, |a, b| a.max(b.abs()));
                let even = 1.0 / ((count * LANES) as f32).sqrt();
                assert!(largest < 8.0 * even, "{count} groups: {largest}, where {even} is even");
            }
        }
    }
}
