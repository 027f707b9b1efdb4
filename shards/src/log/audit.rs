//! Whether the records of all logs make whole stripes, and what is missing where they do not.
//!
//! A replay gives up at the first thing that is wrong; an audit goes on, so that all of it is told at once, and knows
//! what a salvage needs: which generations of each stripe are there.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::ids::{FolderSecret, Location, SessionId, StripeKey, Time};
use crate::limits::{LENGTH_MAX, LENGTH_MIN};
use crate::log::body::{decode_body, decode_space, read_embedding};
use crate::log::gone::{decode_cancelled, decode_forgotten, decode_gone};
use crate::log::ranges::Ranges;
use crate::log::record::RecordKind;
use crate::log::walk::Replayed;
use crate::settings::{Metric, SpaceSettings};
use crate::vector::codes::normalise;

/// Counts the records of a folder.
pub struct Audit {
    /// None where it is lost; then the keyed hashes cannot be checked.
    secret: Option<FolderSecret>,
    stripes: BTreeMap<StripeKey, StripeAudit>,
    vector: Vec<f32>,
}

/// What is there of one stripe.
#[derive(Clone, Debug)]
pub struct StripeAudit {
    /// Where the first of its records lies.
    pub place: Location,
    settings: Option<SpaceSettings>,
    settings_are_proven: bool,
    /// Of each dimension, where the first vector lies.
    dimensions: BTreeMap<u16, Location>,
    /// The first vector that only a space of angles can hold.
    odd_length: Option<Location>,
    proven: Ranges,
    /// Generations that are no more, whether or not there are records of them.
    gone: Ranges,
    /// When each was committed last.
    unproven: BTreeMap<u64, Time>,
}

/// What is wrong with a stripe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StripeFault {
    /// No record says what the space is.
    NoSettings,
    /// Observations that are not there, by their generations; those before and behind them are.
    Missing(RangeInclusive<u64>),
    /// A vector that the space cannot hold.
    Vector(Location, &'static str),
}

const BAD_VECTOR: &str = "the vector of an observation";
const OTHER_DIMENSION: &str = "a vector of another length than its space says";

impl Audit {
    /// Nothing was read yet.
    pub fn new(secret: Option<FolderSecret>) -> Audit {
        Audit { secret, stripes: BTreeMap::new(), vector: Vec::new() }
    }

    /// Takes a sound record in; the text says what is wrong with it all the same. Then it counts as not being there.
    pub fn handle(&mut self, record: &Replayed<'_>) -> Result<(), &'static str> {
        match record.head.kind {
            RecordKind::Space => self.take_space(record),
            RecordKind::Session | RecordKind::Mark | RecordKind::Cancellation
                if record.head.session == SessionId::NONE =>
            {
                Err("a session record that names no session")
            }
            RecordKind::Session | RecordKind::Mark => {
                self.stripe(record);
                Ok(())
            }
            RecordKind::Observation => self.take_observation(record),
            RecordKind::Tombstone | RecordKind::Suppression => self.take_forgotten(record),
            RecordKind::Cancellation => {
                let cancelled = decode_cancelled(record.body);
                let cancelled = cancelled.map_err(|_| "the body of a cancellation")?;
                let gone = &mut self.stripe(record).gone;
                cancelled.into_iter().for_each(|generation| {
                    gone.insert(generation.0);
                });
                Ok(())
            }
            RecordKind::Gone => {
                let mut gone = Ranges::default();
                decode_gone(record.body, &mut gone)
                    .map_err(|_| "the body of a list of what is gone")?;
                let known = &mut self.stripe(record).gone;
                gone.runs().for_each(|(first, last)| known.insert_run(first, last));
                Ok(())
            }
        }
    }

    /// All stripes of which records were found.
    pub fn stripes(&self) -> &BTreeMap<StripeKey, StripeAudit> {
        &self.stripes
    }

    /// What the stripe's space is; where its own record of that is lost, another stripe's tells.
    pub fn settings(&self, stripe: StripeKey) -> Option<&SpaceSettings> {
        let range = StripeKey { stripe: 0, ..stripe }..=StripeKey { stripe: u16::MAX, ..stripe };
        let own = self.stripes.get(&stripe).and_then(|stripe| stripe.settings.as_ref());
        own.or_else(|| self.stripes.range(range).find_map(|(_, other)| other.settings.as_ref()))
    }

    fn take_space(&mut self, record: &Replayed<'_>) -> Result<(), &'static str> {
        let settings = decode_space(record.body).map_err(|_| "the body of a space's record")?;
        let key = self.secret.map(|secret| secret.space_key(&settings.name));
        if key.is_some_and(|key| key != record.head.stripe.space) {
            return Err("a space under a key that its name does not have in this folder");
        }
        let stripe = self.stripe(record);
        let is_known = stripe.settings_are_proven && record.proven;
        if is_known && stripe.settings.as_ref().is_some_and(|known| *known != settings) {
            return Err("a space that two records say different things of");
        }
        if record.proven || !stripe.settings_are_proven {
            stripe.settings = Some(settings);
            stripe.settings_are_proven = record.proven;
        }
        Ok(())
    }

    fn take_forgotten(&mut self, record: &Replayed<'_>) -> Result<(), &'static str> {
        let id = decode_forgotten(record.body).map_err(|_| "the body of a forgotten memory")?;
        self.check_hash(id, record)?;
        self.stripe(record);
        Ok(())
    }

    fn check_hash(&self, id: &str, record: &Replayed<'_>) -> Result<(), &'static str> {
        let hash = self.secret.map(|secret| secret.memory_hash(id));
        match hash.is_some_and(|hash| hash != record.head.memory_hash) {
            true => Err("a memory under a hash that its id does not have in this folder"),
            false => Ok(()),
        }
    }

    fn take_observation(&mut self, record: &Replayed<'_>) -> Result<(), &'static str> {
        let observation = decode_body(record.body).map_err(|_| "the body of an observation")?;
        self.check_hash(observation.id, record)?;
        let dimension = observation.embedding.dimension();
        self.vector.resize(dimension, 0.0);
        let vector = BAD_VECTOR;
        read_embedding(observation.embedding, &mut self.vector).map_err(|_| vector)?;
        let length = normalise(&mut self.vector).map_err(|_| vector)?;
        let generation = record.head.generation.0;
        if generation == 0 {
            return Err("an observation of generation 0");
        }
        let is_odd = !(f64::from(LENGTH_MIN)..=f64::from(LENGTH_MAX)).contains(&length);
        if let Some(settings) = self.settings(record.head.stripe) {
            if usize::from(settings.dimension) != dimension {
                return Err(OTHER_DIMENSION);
            }
            if is_odd && settings.metric != Metric::Cosine {
                return Err(vector);
            }
        }
        let stripe = self.stripe(record);
        stripe.dimensions.entry(dimension as u16).or_insert(record.location);
        if is_odd {
            stripe.odd_length.get_or_insert(record.location);
        }
        if record.proven {
            stripe.proven.insert(generation);
        } else {
            let last = stripe.unproven.entry(generation).or_default();
            *last = record.committed_at.max(*last);
        }
        Ok(())
    }

    fn stripe(&mut self, record: &Replayed<'_>) -> &mut StripeAudit {
        self.stripes.entry(record.head.stripe).or_insert_with(|| StripeAudit {
            place: record.location,
            settings: None,
            settings_are_proven: false,
            dimensions: BTreeMap::new(),
            odd_length: None,
            proven: Ranges::default(),
            gone: Ranges::default(),
            unproven: BTreeMap::new(),
        })
    }
}

impl StripeAudit {
    /// What its own record says that the space is.
    pub fn settings(&self) -> Option<&SpaceSettings> {
        self.settings.as_ref()
    }

    /// How many observations are there, replaced and forgotten ones included.
    pub fn observations(&self) -> u64 {
        self.present().len()
    }

    /// How many of them only a batch holds of which no one knows whether it was synced.
    pub fn unproven(&self) -> u64 {
        self.unproven.keys().filter(|generation| !self.proven.contains(**generation)).count() as u64
    }

    /// All that is wrong with it.
    pub fn faults(&self) -> Vec<StripeFault> {
        let mut faults = Vec::new();
        match &self.settings {
            None => faults.push(StripeFault::NoSettings),
            Some(settings) => faults.extend(self.vector_faults(settings)),
        }
        let mut accounted = self.found();
        self.gone.runs().for_each(|(first, last)| accounted.insert_run(first, last));
        faults.extend(accounted.gaps().map(StripeFault::Missing));
        faults
    }

    fn vector_faults(&self, settings: &SpaceSettings) -> impl Iterator<Item = StripeFault> {
        let others = self.dimensions.iter().filter(|(found, _)| **found != settings.dimension);
        let others = others.map(|(_, &place)| StripeFault::Vector(place, OTHER_DIMENSION));
        let odd = self.odd_length.filter(|_| settings.metric != Metric::Cosine);
        let odd = odd.map(|place| StripeFault::Vector(place, BAD_VECTOR));
        others.chain(odd)
    }

    /// The dimension of its first vector.
    pub(crate) fn dimension(&self) -> Option<u16> {
        self.dimensions.iter().min_by_key(|(_, place)| **place).map(|(dimension, _)| *dimension)
    }

    /// Generations of the observations that are there, and not gone.
    pub(crate) fn present(&self) -> Ranges {
        self.found().without(&self.gone)
    }

    /// Generations of which there are records.
    fn found(&self) -> Ranges {
        let mut present = self.proven.clone();
        self.unproven.keys().for_each(|generation| {
            present.insert(*generation);
        });
        present
    }

    /// Whether this record is the one that counts of those of its generation.
    pub(crate) fn counts(&self, record: &Replayed<'_>) -> bool {
        let generation = record.head.generation.0;
        match self.proven.contains(generation) {
            _ if self.gone.contains(generation) => false,
            true => record.proven,
            false => self.unproven.get(&generation) == Some(&record.committed_at),
        }
    }
}
