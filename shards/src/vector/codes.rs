//! Quantised vectors.

use super::block::BLOCK_CODES;
use super::kernel::Kernel;
pub use super::quantise::{VectorFault, normalise};
use crate::limits::{LENGTH_MAX, LENGTH_MIN};
use crate::settings::Metric;

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

/// The codes of a vector's direction, and its length: what the codes of every metric are made of, so
/// a vector can be encoded before it is known how its space compares.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    direction: Codes,
    length: f64,
}

impl Encoded {
    /// Encodes `vector`, and scales it to unit length in place.
    pub fn new(vector: &mut [f32]) -> Result<Encoded, VectorFault> {
        let length = normalise(vector)?;
        Ok(Encoded { direction: encode(vector), length })
    }

    /// Numbers of the vector.
    pub fn dimension(&self) -> u16 {
        self.direction.dimension
    }

    /// The codes for a space that compares by `metric`.
    pub fn codes(self, metric: Metric) -> Result<Codes, VectorFault> {
        let Encoded { direction, length } = self;
        match metric {
            Metric::Cosine => Ok(direction),
            Metric::Dot | Metric::Euclidean => {
                if !(f64::from(LENGTH_MIN)..=f64::from(LENGTH_MAX)).contains(&length) {
                    return Err(VectorFault::Length);
                }
                let scale = (f64::from(direction.scale) * length) as f32;
                Ok(Codes { scale, ..direction })
            }
        }
    }
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

    #[test]
    fn a_length_counts_unless_angles_are_compared_and_has_its_bounds() {
        let sized =
            |length: f32| Encoded::new(&mut [length / 3.0, length / 1.5, length / 1.5, 0.0]);
        let unit = encode(&[1.0 / 3.0, 1.0 / 1.5, 1.0 / 1.5, 0.0]);
        for length in [1e-11, 0.5, 1.0, 700.0, 0.9e12] {
            let encoded = sized(length).expect("finite and not zero");
            let cosine = encoded.clone().codes(Metric::Cosine).expect("of any length");
            assert_eq!(cosine.codes8, unit.codes8);
            assert!((cosine.scale / unit.scale - 1.0).abs() < 1e-6);
            for metric in [Metric::Dot, Metric::Euclidean] {
                let codes = encoded.clone().codes(metric).expect("within bounds");
                assert_eq!(codes.codes8, cosine.codes8);
                assert!((codes.scale / cosine.scale / length - 1.0).abs() < 1e-6);
            }
        }
        for length in [1e-20, 0.9e-12, 1.1e12, 1e38] {
            let encoded = sized(length).expect("finite and not zero");
            assert!(encoded.clone().codes(Metric::Cosine).is_ok());
            for metric in [Metric::Dot, Metric::Euclidean] {
                assert_eq!(encoded.clone().codes(metric), Err(VectorFault::Length));
            }
        }
    }
}
