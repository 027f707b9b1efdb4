//! From f32 to int8.

use super::lanes::{Group, LANES, larger, rounded, tree};
use super::rotation::{Signs, rotate};

/// Why a vector cannot be stored or compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorFault {
    /// A number is NaN or infinite.
    NotFinite,
    /// All its numbers are zero, so it has no direction.
    Zero,
    /// It is shorter than `limits::LENGTH_MIN` or longer than `limits::LENGTH_MAX`, where its length
    /// counts.
    Length,
}

/// Largest code.
const CODE_MAX: f32 = 127.0;

/// Scales `vector` to unit length, in place, and returns the length that it had. On a fault it is
/// left as it was.
///
/// The length is taken in double precision, where the square of no f32 overflows or vanishes, so
/// that denormals and huge numbers are scaled like any others.
pub fn normalise(vector: &mut [f32]) -> Result<f64, VectorFault> {
    let mut squares = [0.0f64; LANES];
    let (groups, rest) = vector.as_chunks::<LANES>();
    for group in groups {
        for lane in 0..LANES {
            squares[lane] += f64::from(group[lane]) * f64::from(group[lane]);
        }
    }
    for (square, value) in squares.iter_mut().zip(rest) {
        *square += f64::from(*value) * f64::from(*value);
    }
    let square = tree(squares, |a, b| a + b);
    if !square.is_finite() {
        return Err(VectorFault::NotFinite);
    }
    if square == 0.0 {
        return Err(VectorFault::Zero);
    }
    let length = square.sqrt();
    let factor = 1.0 / length;
    for value in vector {
        *value = (f64::from(*value) * factor) as f32;
    }
    Ok(length)
}

/// See [`super::kernel::Kernel::encode`]; `turn` is [`super::rotation::turn`], or does the same.
#[inline(always)]
pub(super) fn quantise(
    vector: &[f32],
    codes8: &mut [i8],
    turn: impl Fn(&mut Group, &Signs, f32),
) -> f32 {
    let mut groups: Vec<Group> = vec![[0.0; LANES]; codes8.len() / LANES];
    groups.as_flattened_mut()[..vector.len()].copy_from_slice(vector);
    let mut spare = groups.clone();
    rotate(&mut groups, &mut spare, turn);
    let mut largest = [0.0f32; LANES];
    for group in &groups {
        for lane in 0..LANES {
            largest[lane] = larger(largest[lane], group[lane].abs());
        }
    }
    let largest = tree(largest, larger);
    assert!(
        largest > 0.0 && largest.is_finite(),
        "only finite vectors that are not zero are quantised"
    );
    let factor = CODE_MAX / largest;
    for (group, codes) in groups.iter().zip(codes8.as_chunks_mut::<LANES>().0) {
        for lane in 0..LANES {
            codes[lane] = rounded(group[lane] * factor) as i8;
        }
    }
    largest / CODE_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn normalised_vectors_have_unit_length_whatever_their_size(
            mut vector in prop::collection::vec(-1f32..1.0, 8..300), exponent in -130i32..127
        ) {
            vector[3] = 0.75;
            let mut sized: Vec<f32> =
                vector.iter().map(|value| (f64::from(*value) * 2f64.powi(exponent)) as f32).collect();
            normalise(&mut sized).expect("finite and not zero");
            let length: f32 = sized.iter().map(|value| value * value).sum();
            prop_assert!((length - 1.0).abs() < 1e-4);
            prop_assert!(sized[3] > 0.0);
        }
    }

    #[test]
    fn the_extremes_of_f32_are_scaled() {
        let mut denormal = [0.0f32; 8];
        denormal[1] = f32::from_bits(1);
        assert_eq!(normalise(&mut denormal), Ok(f64::from(f32::from_bits(1))));
        assert_eq!(denormal[1], 1.0);
        let mut huge = [f32::MAX; 8];
        normalise(&mut huge).expect("a direction");
        assert!(huge.iter().all(|value| (value - 8f32.sqrt().recip()).abs() < 1e-6));
    }

    #[test]
    fn faults_are_named_and_leave_the_vector_alone() {
        for (bad, fault) in [
            (f32::NAN, VectorFault::NotFinite),
            (f32::INFINITY, VectorFault::NotFinite),
            (f32::NEG_INFINITY, VectorFault::NotFinite),
            (0.0, VectorFault::Zero),
            (-0.0, VectorFault::Zero),
        ] {
            for at in [0, 15, 16, 18] {
                let mut vector = [if fault == VectorFault::Zero { 0.0 } else { 1.0 }; 19];
                vector[at] = bad;
                let before = vector.map(f32::to_bits);
                assert_eq!(normalise(&mut vector), Err(fault));
                assert_eq!(vector.map(f32::to_bits), before);
            }
        }
    }
}
