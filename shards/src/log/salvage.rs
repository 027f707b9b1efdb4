//! What a new folder takes over of a damaged one: every sound record, numbered anew where others are lost.

use std::collections::BTreeMap;

use crate::ids::{FolderSecret, Generation, SessionId, SpaceKey, StripeKey, Time};
use crate::log::audit::Audit;
use crate::log::body::{Body, decode_body, decode_space, encode_space};
use crate::log::gone::{decode_forgotten, encode_cancelled};
use crate::log::ranges::Ranges;
use crate::log::record::{RecordHead, RecordKind};
use crate::log::walk::Replayed;
use crate::settings::{Metric, SpaceSettings};

/// Turns the records of a folder that was audited into those of the new one.
pub struct Salvage {
    audit: Audit,
    secret: FolderSecret,
    stripes: BTreeMap<StripeKey, Taken>,
    /// Spaces of which no record says what they are, under the names that they have from now on.
    nameless: Vec<SpaceSettings>,
}

/// A stripe as the new folder has it.
struct Taken {
    key: StripeKey,
    dimension: u16,
    /// See [`Ranges::ranks`].
    ranks: Vec<(u64, u64, u64)>,
    /// Generations, as they were, that were taken over.
    done: Ranges,
}

impl Salvage {
    /// `secret` is the new folder's. Also returns the records that are to come first: of spaces whose own are lost.
    pub fn new(audit: Audit, secret: FolderSecret) -> (Salvage, Vec<(RecordHead, Body)>) {
        let mut salvage = Salvage { audit, secret, stripes: BTreeMap::new(), nameless: Vec::new() };
        let mut first = Vec::new();
        let keys: Vec<StripeKey> = salvage.audit.stripes().keys().copied().collect();
        for old in keys {
            let Some(settings) = salvage.settings_of(old) else { continue };
            let stripe = &salvage.audit.stripes()[&old];
            let key = StripeKey { space: secret.space_key(&settings.name), stripe: old.stripe };
            if stripe.settings().is_none() {
                first.push((space_head(key), encode_space(&settings)));
            }
            let ranks = stripe.present().ranks();
            let (dimension, done) = (settings.dimension, Ranges::default());
            salvage.stripes.insert(old, Taken { key, dimension, ranks, done });
        }
        (salvage, first)
    }

    /// The record as the new folder has it; none where it takes nothing over.
    pub fn take(&mut self, record: &Replayed<'_>) -> Option<(RecordHead, Body)> {
        let stripe = self.stripes.get_mut(&record.head.stripe)?;
        let mut head = RecordHead { stripe: stripe.key, ..record.head };
        head.generation = Generation(stripe.present_up_to(record.head.generation.0));
        match record.head.kind {
            RecordKind::Session | RecordKind::Mark | RecordKind::Cancellation
                if record.head.session == SessionId::NONE =>
            {
                return None;
            }
            RecordKind::Session | RecordKind::Mark => {}
            // What it cancels is not taken over; what it says of the session's mark is.
            RecordKind::Cancellation => return Some((head, encode_cancelled(&[]))),
            // The others are numbered anew, without gaps.
            RecordKind::Gone => return None,
            RecordKind::Tombstone | RecordKind::Suppression => {
                head.memory_hash = self.secret.memory_hash(decode_forgotten(record.body).ok()?);
            }
            RecordKind::Space => {
                let settings = decode_space(record.body).ok()?;
                if self.audit.settings(record.head.stripe) != Some(&settings) {
                    return None;
                }
            }
            RecordKind::Observation => {
                let observation = decode_body(record.body).ok()?;
                let counts = self.audit.stripes()[&record.head.stripe].counts(record)
                    && observation.embedding.dimension() == usize::from(stripe.dimension)
                    && stripe.done.insert(record.head.generation.0);
                if !counts {
                    return None;
                }
                head.memory_hash = self.secret.memory_hash(observation.id);
            }
        }
        Some((head, Body { bytes: record.body.to_vec(), crc: record.body_crc }))
    }

    /// Spaces of which no record says what they are: their new names, their vectors' dimension, and the cosine, as no one
    /// knows what they compared by.
    pub fn nameless(&self) -> &[SpaceSettings] {
        &self.nameless
    }

    /// What is known of a stripe's space, or made up; none where it has neither settings nor observations.
    fn settings_of(&mut self, stripe: StripeKey) -> Option<SpaceSettings> {
        if let Some(settings) = self.audit.settings(stripe) {
            return Some(settings.clone());
        }
        let name = lost_name(stripe.space);
        if let Some(known) = self.nameless.iter_mut().find(|known| known.name == name) {
            known.stripes = known.stripes.max(stripe.stripe + 1);
            return Some(known.clone());
        }
        let dimension = self.audit.stripes()[&stripe].dimension()?;
        let stripes = stripe.stripe + 1;
        let settings = SpaceSettings { name, dimension, metric: Metric::Cosine, stripes };
        self.nameless.push(settings.clone());
        Some(settings)
    }
}

impl Taken {
    /// How many observations are there up to this generation: its number in the new folder.
    fn present_up_to(&self, generation: u64) -> u64 {
        let run = self.ranks.partition_point(|(first, ..)| *first <= generation);
        let Some(&(first, last, before)) = run.checked_sub(1).and_then(|run| self.ranks.get(run))
        else {
            return 0;
        };
        before + generation.min(last) - first + 1
    }
}

/// A name for a space whose own is lost.
fn lost_name(space: SpaceKey) -> String {
    format!("salvaged-{:016x}", space.0)
}

fn space_head(stripe: StripeKey) -> RecordHead {
    RecordHead {
        stripe,
        generation: Generation(0),
        session: SessionId::NONE,
        sequence: 0,
        memory_hash: 0,
        received_at: Time(0),
        kind: RecordKind::Space,
    }
}
