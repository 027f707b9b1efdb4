//! Which core owns which stripe.

use engram_shards::ids::StripeKey;

use crate::cores::CoreIndex;

/// The table of owners, copied to every core; a later version replaces an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Rises with every change.
    pub version: u64,
    cores: u16,
}

impl Placement {
    /// Spreads stripes over `cores` by their key; the stripes of one space lie on cores that follow
    /// each other.
    pub fn spread(cores: u16) -> Placement {
        assert!(cores > 0, "someone must own the stripes");
        Placement { version: 1, cores }
    }

    /// The core that owns a stripe.
    pub fn owner_of(&self, stripe: StripeKey) -> CoreIndex {
        let place = stripe.space.0.wrapping_add(u64::from(stripe.stripe)) % u64::from(self.cores);
        CoreIndex(u16::try_from(place).expect("it is below the number of cores"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engram_shards::ids::SpaceKey;

    #[test]
    fn stripes_of_a_space_lie_on_different_cores() {
        let placement = Placement::spread(3);
        let owners =
            (0..3).map(|stripe| placement.owner_of(StripeKey { space: SpaceKey(10), stripe }));
        assert_eq!(owners.collect::<Vec<_>>(), [CoreIndex(1), CoreIndex(2), CoreIndex(0)]);
    }
}
