//! The hot loops in plain Rust: what every other kernel must equal, and what runs where none of
//! them does.

use super::block::Block;
use super::lanes::Beam;
use super::quantise;
use super::signs::{self, Factors, PLANES, SignLayout, SignQuery};

/// See [`super::kernel::Kernel::dots`].
pub(super) fn dots(query: &[Block], rows: &[&[Block]], out: &mut [i32]) {
    for (row, out) in rows.iter().zip(out) {
        *out = query.iter().zip(*row).map(|(a, b)| dot_block(a, b)).sum();
    }
}

/// Widened first: 64 products of at most 127² fit an i32 by far.
fn dot_block(a: &Block, b: &Block) -> i32 {
    a.0.iter().zip(&b.0).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
}

/// See [`super::kernel::Kernel::estimates`].
pub(super) fn estimates(layout: SignLayout, query: &SignQuery, rows: &[&[Block]], out: &mut [f32]) {
    for (row, out) in rows.iter().zip(out) {
        let mut sum = 0;
        for half in 0..layout.halves() {
            let bits = words(layout.row_half(row, half));
            for plane in 0..PLANES {
                let plane_bits = words(layout.query_half(&query.planes, half, plane));
                let common = bits.iter().zip(plane_bits).map(|(a, b)| (a & b).count_ones());
                sum += (common.sum::<u32>() as i32) << plane;
            }
        }
        *out = query.terms.estimate(Factors::of(layout, row), sum);
    }
}

fn words(half: &[i8; 32]) -> [u64; 4] {
    let (words, _) = half.as_chunks::<8>();
    std::array::from_fn(|at| u64::from_le_bytes(words[at].map(|byte| byte as u8)))
}

/// See [`super::kernel::Kernel::largest`].
pub(super) fn largest(values: &[f32]) -> usize {
    let most = values.iter().copied().fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
    values.iter().position(|value| *value == most).expect("never called without values")
}

/// See [`super::kernel::Kernel::above`].
pub(super) fn above(values: &[f32], bound: f32) -> usize {
    values.iter().filter(|value| **value > bound).count()
}

/// See [`super::kernel::Kernel::mark`].
pub(super) fn mark(bits: &mut [u8], nodes: &[u32], fresh: &mut [u32]) -> usize {
    let mut count = 0;
    for node in nodes {
        let byte = &mut bits[*node as usize / 8];
        let bit = 1u8 << (node % 8);
        // No branch: whether a neighbour was met before is a coin toss.
        fresh[count] = *node;
        count += usize::from(*byte & bit == 0);
        *byte |= bit;
    }
    count
}

/// See [`super::kernel::Kernel::admit`].
pub(super) fn admit(nodes: &[u32], similarities: &[f32], bound: f32, beam: Beam<'_>) -> usize {
    let mut count = 0;
    for (node, similarity) in nodes.iter().zip(similarities) {
        // No branch: most are either too far or not, in no pattern.
        beam.similarities[count] = *similarity;
        beam.open[count] = *similarity;
        beam.nodes[count] = *node;
        count += usize::from(*similarity > bound);
    }
    count
}

/// See [`super::kernel::Kernel::retain`].
pub(super) fn retain(beam: Beam<'_>, bound: f32) -> usize {
    let mut count = 0;
    for at in 0..beam.room() {
        let similarity = beam.similarities[at];
        beam.similarities[count] = similarity;
        beam.open[count] = beam.open[at];
        beam.nodes[count] = beam.nodes[at];
        count += usize::from(similarity > bound);
    }
    count
}

/// See [`super::kernel::Kernel::encode`].
pub(super) fn encode(vector: &[f32], codes8: &mut [i8]) -> f32 {
    quantise::quantise(vector, codes8)
}

/// See [`super::kernel::Kernel::write_row`].
pub(super) fn write_row(codes8: &[Block], scale: f32, mean: &[f32], row: &mut [Block]) {
    signs::write_row(codes8, scale, mean, row)
}

/// See [`super::kernel::Kernel::write_query`].
pub(super) fn write_query(codes8: &[Block], scale: f32, mean: &[f32], query: &mut SignQuery) {
    signs::write_query(codes8, scale, mean, query)
}
