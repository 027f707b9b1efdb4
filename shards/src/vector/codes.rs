//! Quantised vectors.

use super::block::BLOCK_CODES;
use super::kernel::Kernel;
pub use super::quantise::{VectorFault, normalise};

/// A vector as the index compares it: rotated, then int8 values with one scale (`value ≈ scale ×
/// code`, codes within ±127).
#[derive(Clone, Debug, PartialEq)]
pub struct Codes {
    /// Numbers of the vector.
    pub dimension: u16,
    /// A code for each rotated number: as many as the vector has, rounded up to a multiple of 64.
    pub codes8: Box<[i8]>,
    /// What a code of 1 stands for.
    pub scale: f32,
}

/// Rotates and quantises a vector that is finite and not zero.
pub fn encode(vector: &[f32]) -> Codes {
    let mut codes8 = vec![0; vector.len().next_multiple_of(BLOCK_CODES)].into_boxed_slice();
    let scale = Kernel::fastest().encode(vector, &mut codes8);
    Codes { dimension: vector.len() as u16, codes8, scale }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::kernel::dot_f32;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn codes_keep_lengths_and_angles(
            mut vector in prop::collection::vec(-1f32..1.0, 8..300), seed in any::<u32>()
        ) {
            vector[0] = 0.5;
            let mut other: Vec<f32> =
                (0..vector.len()).map(|at| ((at as f32 + 1.0) * (seed as f32 + 1.0)).sin()).collect();
            normalise(&mut vector).expect("finite and not zero");
            normalise(&mut other).expect("finite and not zero");
            let (one, two) = (encode(&vector), encode(&other));
            prop_assert_eq!(one.codes8.len(), vector.len().next_multiple_of(64));
            prop_assert!(one.codes8.iter().all(|code| (-127..=127).contains(code)));
            prop_assert!(one.codes8.iter().any(|code| code.abs() == 127));
            let products = one.codes8.iter().zip(&two.codes8).map(|(a, b)| i32::from(*a) * i32::from(*b));
            let similarity = products.sum::<i32>() as f32 * (one.scale * two.scale);
            prop_assert!((similarity - dot_f32(&vector, &other)).abs() < 0.02);
        }
    }
}
