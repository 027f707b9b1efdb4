//! How near a row is: as results tell it, and as one number.

use crate::ids::Row;

/// A row and its similarity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// The row.
    pub row: Row,
    /// Similarity, larger is nearer.
    pub similarity: f32,
}

/// A similarity in two bytes, for links and for what a search has met: the order of f32 up to
/// rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Packed(pub(super) i16);

/// How similarities become [`Packed`]: in parts of a unit, so that vectors of any length use the
/// range that there is (about 2^-14 to 2^16 units, with 11 bits).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Packing {
    pub(super) factor: f32,
}

impl Packing {
    /// For similarities of about `unit`, rounded to a power of two.
    pub(super) fn new(unit: f32) -> Packing {
        // 1 / unit without its mantissa.
        let power = f32::from_bits((1.0 / unit).to_bits() & 0x7f80_0000);
        Packing { factor: if power.is_normal() { power } else { 1.0 } }
    }

    /// Rounds to the nearest; beyond the range to its end.
    #[inline]
    pub(super) fn pack(self, similarity: f32) -> Packed {
        // 2^-112 moves the exponents of halves to where those of f32 begin.
        const EXPONENTS: f32 = f32::from_bits((127 - 112) << 23);
        const HALF: u32 = 1 << 12;
        let bits = (similarity.abs() * self.factor * EXPONENTS).to_bits();
        let magnitude = ((bits + HALF) >> 13).min(i16::MAX as u32) as i16;
        Packed(if similarity < 0.0 { -magnitude } else { magnitude })
    }
}

/// How near a node is: ordered by similarity, ties by the lower node. One i64, so that vectors of
/// them are compared by plain integer instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(pub(super) i64);

impl Rank {
    /// Behind every node.
    pub(super) const NONE: Rank = Rank(i64::MIN);

    /// The rank of `node` at `similarity`, which is never NaN.
    #[inline]
    pub(super) fn new(similarity: f32, node: u32) -> Rank {
        debug_assert!(!similarity.is_nan());
        let high = i64::from(ordered(similarity.to_bits() as i32)) << 32;
        Rank(high | i64::from(!node))
    }

    /// Which node it is.
    #[inline]
    pub(super) fn node(self) -> u32 {
        !(self.0 as u32)
    }

    /// How similar it is.
    #[inline]
    pub(super) fn similarity(self) -> f32 {
        f32::from_bits(ordered((self.0 >> 32) as i32) as u32)
    }
}

impl From<Scored> for Rank {
    fn from(scored: Scored) -> Rank {
        Rank::new(scored.similarity, scored.row.0)
    }
}

impl From<Rank> for Scored {
    fn from(rank: Rank) -> Scored {
        Scored { row: Row(rank.node()), similarity: rank.similarity() }
    }
}

/// Maps the bits of floats to integers of the same order, and back (as `f32::total_cmp` does).
#[inline]
fn ordered(bits: i32) -> i32 {
    bits ^ (((bits >> 31) as u32) >> 1) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranks_order_by_similarity_and_then_by_the_lower_node(
            a in -2f32..2.0, b in prop_oneof![-2f32..2.0, Just(0.0)], same in any::<bool>(),
            x in any::<u32>(), y in any::<u32>()
        ) {
            let b = if same { a } else { b };
            let wanted = a.total_cmp(&b).then(y.cmp(&x));
            prop_assert_eq!(Rank::new(a, x).cmp(&Rank::new(b, y)), wanted);
            prop_assert_eq!((Rank::new(a, x).similarity().to_bits(), Rank::new(a, x).node()), (a.to_bits(), x));
            prop_assert!(Rank::new(a, x) > Rank::NONE);
        }

        #[test]
        fn packed_similarities_keep_their_order(
            a in -2f32..2.0, b in -2f32..2.0, exponent in -40i32..40
        ) {
            let unit = 2f32.powi(exponent);
            let pack = |similarity: f32| Packing::new(unit * 1.3).pack(similarity * unit);
            prop_assert!((a <= b) == (pack(a) <= pack(b)) || pack(a) == pack(b));
            if a - b > 0.001 * (a.abs() + b.abs()) + 0.0001 {
                prop_assert!(pack(a) > pack(b));
            }
            prop_assert!(pack(f32::MAX) >= pack(a) && pack(f32::MIN) <= pack(a));
        }
    }
}
