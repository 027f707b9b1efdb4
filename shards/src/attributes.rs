//! What a recall can be filtered by: when, where, who and tags of each row in 16 bytes, and what a recall asks of them.
//!
//! The bytes can tell that a row does not pass, never that it does: of names they hold bits of hashes, of the time
//! milliseconds. What may pass is looked up in its record. So an index that asks them misses nothing, and a result is right.

use crate::ids::{FolderSecret, Time};
use crate::log::record::Observation;

/// Bits of each name among the 64 for all names of a row: with five names, one other in two hundred seems to be there.
const NAME_BITS: u32 = 4;
/// Bits of a time, in milliseconds since 1970: some 4,400 years either way.
const WHEN_BITS: u32 = 48;
const WHEN_MAX: i64 = (1 << (WHEN_BITS - 1)) - 1;
/// Where nothing is known of the time, and of the place.
const WHEN_UNKNOWN: i64 = -WHEN_MAX - 1;
const PLACE_UNKNOWN: u16 = u16::MAX;
/// Of a row without a place.
const PLACE_NONE: u16 = 0;

/// A time as an observation has it: seconds and nanoseconds since 1970.
pub type Moment = (i64, u32);

/// What is kept of a row's attributes in RAM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Bits of who and of the tags.
    names: u64,
    /// The time, and from the low end 16 bits of the place's hash.
    rest: u64,
}

/// Length of [`Attributes`] as bytes.
pub const ATTRIBUTES_BYTES: usize = 16;
const _: () = assert!(size_of::<Attributes>() == ATTRIBUTES_BYTES);

impl Attributes {
    /// Of a row of which nothing is known: it may pass any filter.
    pub const UNKNOWN: Attributes =
        Attributes { names: u64::MAX, rest: rest(WHEN_UNKNOWN, PLACE_UNKNOWN) };

    /// Those of an observation. It happened when it was received, where it says nothing else.
    pub fn of(
        observation: &Observation<'_>,
        received_at: Time,
        secret: &FolderSecret,
    ) -> Attributes {
        let when = milliseconds(when_of(observation, received_at));
        let who = observation.who.iter().map(|name| name_bits(secret, Kind::Who, name));
        let tags = observation.tags.iter().map(|name| name_bits(secret, Kind::Tag, name));
        Attributes {
            names: who.chain(tags).fold(0, |all, bits| all | bits),
            rest: rest(when, place_hash(secret, observation.place)),
        }
    }

    /// As they are stored.
    pub fn to_bytes(self) -> [u8; ATTRIBUTES_BYTES] {
        (u128::from(self.rest) << 64 | u128::from(self.names)).to_le_bytes()
    }

    /// What [`Attributes::to_bytes`] wrote.
    pub fn from_bytes(bytes: [u8; ATTRIBUTES_BYTES]) -> Attributes {
        let number = u128::from_le_bytes(bytes);
        Attributes { names: number as u64, rest: (number >> 64) as u64 }
    }

    /// When it happened, in milliseconds since 1970; none where that is not known.
    pub fn happened_at(self) -> Option<i64> {
        Some(self.when()).filter(|when| *when != WHEN_UNKNOWN)
    }

    fn when(self) -> i64 {
        self.rest as i64 >> (64 - WHEN_BITS)
    }

    fn place(self) -> u16 {
        self.rest as u16
    }
}

const fn rest(when: i64, place: u16) -> u64 {
    (when << (64 - WHEN_BITS)) as u64 | place as u64
}

/// What a recall asks of its results. What is empty asks nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Criteria {
    /// The earliest time.
    pub from: Option<Moment>,
    /// The time before which it was.
    pub to: Option<Moment>,
    /// Where it was.
    pub place: Box<str>,
    /// Who was there, all of them.
    pub who: Vec<Box<str>>,
    /// Its tags, all of them.
    pub tags: Vec<Box<str>>,
}

/// Criteria, made ready to be asked of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    criteria: Criteria,
    names: u64,
    place: u16,
    from: i64,
    to: i64,
}

impl Filter {
    /// Asks these of rows whose attributes were made with this secret.
    pub fn new(criteria: Criteria, secret: &FolderSecret) -> Filter {
        let who = criteria.who.iter().map(|name| name_bits(secret, Kind::Who, name));
        let tags = criteria.tags.iter().map(|name| name_bits(secret, Kind::Tag, name));
        Filter {
            names: who.chain(tags).fold(0, |all, bits| all | bits),
            place: place_hash(secret, &criteria.place),
            from: criteria.from.map_or(-WHEN_MAX, milliseconds),
            to: criteria.to.map_or(WHEN_MAX, milliseconds),
            criteria,
        }
    }

    /// Whether a row of these attributes may pass.
    #[inline]
    pub fn may_pass(&self, attributes: Attributes) -> bool {
        let (when, place) = (attributes.when(), attributes.place());
        let place_fits = self.place == PLACE_NONE || place == self.place || place == PLACE_UNKNOWN;
        let when_fits = (self.from <= when && when <= self.to) || when == WHEN_UNKNOWN;
        attributes.names & self.names == self.names && place_fits && when_fits
    }

    /// Whether this observation passes.
    pub fn passes(&self, observation: &Observation<'_>, received_at: Time) -> bool {
        let Criteria { from, to, place, who, tags } = &self.criteria;
        let when = when_of(observation, received_at);
        from.is_none_or(|from| from <= when)
            && to.is_none_or(|to| when < to)
            && (place.is_empty() || **place == *observation.place)
            && who.iter().all(|name| observation.who.contains(&&**name))
            && tags.iter().all(|name| observation.tags.contains(&&**name))
    }
}

/// When it happened, as far as is known.
pub fn when_of(observation: &Observation<'_>, received_at: Time) -> Moment {
    let received = ((received_at.0 / 1_000_000) as i64, (received_at.0 % 1_000_000) as u32 * 1_000);
    observation.when.unwrap_or(received)
}

/// Rises with the time, though not with each step of it.
fn milliseconds((seconds, nanos): Moment) -> i64 {
    let whole = seconds.saturating_mul(1_000);
    whole.saturating_add(i64::from(nanos / 1_000_000)).clamp(-WHEN_MAX, WHEN_MAX)
}

/// Whose name it is.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Who,
    Tag,
}

fn name_bits(secret: &FolderSecret, kind: Kind, name: &str) -> u64 {
    let hash = match kind {
        Kind::Who => secret.who_hash(name),
        Kind::Tag => secret.tag_hash(name),
    };
    (0..NAME_BITS).fold(0, |bits, nth| bits | 1 << (hash >> (6 * nth) & 63))
}

fn place_hash(secret: &FolderSecret, place: &str) -> u16 {
    match place {
        "" => PLACE_NONE,
        _ => (secret.place_hash(place) % u64::from(PLACE_UNKNOWN - 1)) as u16 + 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::log::record::Embedding;

    const SECRET: FolderSecret = FolderSecret([3; 16]);

    fn moment() -> impl Strategy<Value = Moment> {
        let seconds = prop_oneof![-3..3i64, Just(i64::MIN), Just(i64::MAX), any::<i64>()];
        (seconds, prop_oneof![0..3u32, 0..1_000_000_000u32])
    }

    fn names() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("[a-d]{0,2}", 0..4)
    }

    fn boxed(names: &[String]) -> Vec<Box<str>> {
        names.iter().map(|name| name.as_str().into()).collect()
    }

    proptest! {
        #[test]
        fn what_passes_may_pass_also_where_nothing_is_known_of_it(
            (when, place, who, tags) in
                (prop::option::of(moment()), "[a-c]?", names(), names()),
            (from, to, at, with, tagged) in
                (prop::option::of(moment()), prop::option::of(moment()), "[a-c]?", names(), names()),
            received in prop_oneof![0..3_000_000u64, any::<u64>()],
        ) {
            let observation = Observation {
                when,
                place: &place,
                who: who.iter().map(String::as_str).collect(),
                tags: tags.iter().map(String::as_str).collect(),
                ..Observation::new("a", "", Embedding::F32(&[]))
            };
            let received = Time(received);
            let attributes = Attributes::of(&observation, received, &SECRET);
            prop_assert_eq!(Attributes::from_bytes(attributes.to_bytes()), attributes);
            let (place, who, tags) = (at.as_str().into(), boxed(&with), boxed(&tagged));
            let filter = Filter::new(Criteria { from, to, place, who, tags }, &SECRET);
            prop_assert!(filter.may_pass(Attributes::UNKNOWN));
            if filter.passes(&observation, received) {
                prop_assert!(filter.may_pass(attributes));
            }
        }
    }

    #[test]
    fn hardly_any_other_name_seems_to_be_there() {
        let names: Vec<String> = (0..10_000).map(|number| format!("name {number}")).collect();
        let known: Vec<&str> = names[..5].iter().map(String::as_str).collect();
        let bits = known.iter().fold(0, |all, name| all | name_bits(&SECRET, Kind::Who, name));
        let attributes = Attributes { names: bits, ..Attributes::default() };
        let seems = |name: &String| {
            let criteria = Criteria { who: vec![name.as_str().into()], ..Criteria::default() };
            Filter::new(criteria, &SECRET).may_pass(attributes)
        };
        assert!(names[..5].iter().all(seems));
        let others = names[5..].iter().filter(|name| seems(name)).count();
        assert!(others < 100, "{others} of 10,000");
    }
}
