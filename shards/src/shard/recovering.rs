//! A shard from its logs: what it owns of all of them, ordered by generation.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::BuildHasherDefault;

use hashbrown::HashSet;
use siphasher::sip::SipHasher13;

use crate::ids::{Generation, Location, SegmentId, StripeKey, Time};
use crate::log::log::Log;
use crate::log::ranges::Ranges;
use crate::log::record::{
    Body, RecordHead, RecordKind, decode_body, decode_forgotten, decode_gone, decode_space,
    encode_forgotten, first_commit, read_embedding,
};
use crate::log::replay::{LogFault, Replay, Replayed};
use crate::message::{ForgetMode, Made, SpaceDescription};
use crate::session::{SessionKey, Sessions};
use crate::settings::SpaceSettings;
use crate::shard::engine::{Owns, Shard};
use crate::shard::forgotten::Forgotten;
use crate::shard::io::ShardConfig;
use crate::shard::making::Making;
use crate::shard::pending;
use crate::shard::requests::stripe_seed;
use crate::shard::unproven::{Unproven, Unvouched};
use crate::space::{Arrival, Place, Rows, Stripe};
use crate::vector::codes::{Codes, Encoded};

/// A shard that is being rebuilt from logs.
pub struct Recovering {
    config: ShardConfig,
    owns: Owns,
    replay: Replay,
    found: Found,
}

/// What the logs held, as far as the shard owns it.
#[derive(Default)]
struct Found {
    stripes: BTreeMap<StripeKey, Building>,
    sessions: Sessions,
    /// Session records that nobody vouches for.
    sessions_unproven: BTreeMap<SessionKey, RecordHead>,
    /// A vector, as it is read.
    vector: Vec<f32>,
}

/// A stripe of which records were found.
struct Building {
    /// Where the first of them lies: what a fault names.
    place: Location,
    settings: Option<SpaceSettings>,
    settings_unproven: Option<(RecordHead, SpaceSettings, Body)>,
    /// None before the settings are known, and the first row.
    rows: Option<Rows>,
    /// Rows that came before a record said how their space compares: the logs of several shards may be read in another
    /// order than they were written. No larger than the same rows are in `rows`.
    early: Vec<Durable>,
    /// Generations of the rows.
    seen: HashSet<u64, BuildHasherDefault<SipHasher13>>,
    generation_max: u64,
    /// By generation.
    unproven: BTreeMap<u64, Observed>,
    /// Copies that nobody vouches for. What they were copied from was durable: if it is not found, it was given up because
    /// they are.
    copies: BTreeMap<u64, Durable>,
    /// Generations that are no more.
    gone: Ranges,
    /// Where its own record lies.
    recorded_in: Option<SegmentId>,
    /// What records say of forgotten memories, each once.
    forgotten: BTreeMap<(Box<str>, u64, ForgetMode), ForgottenRecord>,
}

/// A record that a memory is forgotten.
struct ForgottenRecord {
    head: RecordHead,
    segment: SegmentId,
    proven: bool,
}

/// An observation that is durable.
struct Durable {
    head: RecordHead,
    encoded: Encoded,
    location: Location,
    committed_at: Time,
}

/// An observation that nobody vouches for.
struct Observed {
    durable: Durable,
    body: Body,
}

impl Recovering {
    /// Begins. `heads` as [`Replay::new`] wants them; of all records in these logs it keeps those of stripes that
    /// `owns` names.
    pub fn new(
        config: ShardConfig,
        heads: &[(SegmentId, Vec<u8>)],
        owns: Box<dyn Fn(StripeKey) -> bool>,
    ) -> Result<Recovering, LogFault> {
        let replay = Replay::new(heads)?;
        Ok(Recovering { config, owns, replay, found: Found::default() })
    }

    /// The segment to be given next; changes with `handle_segment`.
    pub fn next(&self) -> Option<SegmentId> {
        self.replay.next()
    }

    /// Takes the whole segment `next()`. After a fault the recovery is over.
    pub fn handle_segment(&mut self, bytes: &[u8]) -> Result<(), LogFault> {
        let Recovering { owns, replay, found, .. } = self;
        let mut fault = None;
        replay.handle_segment(bytes, &mut |record| {
            if fault.is_none() && owns(record.head.stripe) {
                fault = found.take(&record).err().map(|what| corrupt(record.location, what));
            }
        })?;
        if let Some(fault) = fault {
            return Err(fault);
        }
        match self.replay.next() {
            Some(_) => Ok(()),
            None => self.found.check(),
        }
    }

    /// The shard, once `next()` is `None`; its rows are in the tails, and unproven records are on their way to the log.
    /// Also the segments that hold nothing and may be removed.
    pub fn finish(self, now: Time) -> (Shard, Vec<SegmentId>) {
        let Recovering { config, owns, replay, found } = self;
        let end = replay.finish();
        let start = end.start_of(config.log);
        let log =
            Log::new(config.log, config.shards, config.incarnation_seed, start).with(config.acks);
        let log = log.after(end.heads_of(config.log));
        let mut shard = Shard::new(config, owns, log, now);
        found.restore(&mut shard, now);
        shard.compacting.consider(now);
        shard.append_unproven();
        shard.read_pairs();
        shard.verify_forgets();
        (shard, end.empty)
    }
}

impl Found {
    /// Takes a record in; the text says what is wrong with it.
    fn take(&mut self, record: &Replayed<'_>) -> Result<(), &'static str> {
        let stripe = record.head.stripe;
        let building = self.stripes.entry(stripe).or_insert_with(|| Building::new(record.location));
        let session = Shard::session_key(record.head.session, stripe);
        match record.head.kind {
            RecordKind::Space => building.take_space(record)?,
            RecordKind::Session => {
                let key = session.ok_or("a session record that names no session")?;
                if !record.proven {
                    self.sessions_unproven.insert(key, record.head);
                }
            }
            RecordKind::Observation => building.take_observation(record, &mut self.vector)?,
            RecordKind::Tombstone => building.take_forgotten(record, ForgetMode::Delete)?,
            RecordKind::Suppression => building.take_forgotten(record, ForgetMode::Suppress)?,
            RecordKind::Mark => {
                // What it says was durable before it was written.
                let key = session.ok_or("a mark that names no session")?;
                self.take_mark(key, record, record.head.received_at);
            }
            RecordKind::Gone => decode_gone(record.body, &mut building.gone)
                .map_err(|_| "the body of a list of what is gone")?,
            RecordKind::Cancellation => return Err("a cancellation, which no shard writes yet"),
        }
        let kind = record.head.kind;
        let tells = matches!(kind, RecordKind::Observation | RecordKind::Session) && record.proven;
        if let Some(key) = session.filter(|_| tells) {
            let committed_at = match kind {
                RecordKind::Observation => committed_at(record)?,
                _ => record.committed_at,
            };
            self.take_mark(key, record, committed_at);
        }
        Ok(())
    }

    fn take_mark(&mut self, key: SessionKey, record: &Replayed<'_>, at: Time) {
        let sequence = if planted!(MarkForgotten) { 0 } else { record.head.sequence };
        let session = self.sessions.replayed(key);
        session.replay(sequence, at);
        session.tell(sequence, record.location.segment);
    }

    /// Whether what was found is whole: a hole between durable observations would be a loss that no one was told of.
    fn check(&mut self) -> Result<(), LogFault> {
        for building in self.stripes.values_mut() {
            building.settle().map_err(|what| corrupt(building.place, what))?;
            building.forget_doubles();
            for Observed { durable, .. } in building.take_preceding() {
                let Durable { head, location, committed_at, .. } = durable;
                building.push_durable(durable).map_err(|what| corrupt(location, what))?;
                if let Some(key) = Shard::session_key(head.session, head.stripe) {
                    let session = self.sessions.replayed(key);
                    session.replay(head.sequence, committed_at);
                    session.tell(head.sequence, location.segment);
                }
            }
            building.check().map_err(|what| corrupt(building.place, what))?;
        }
        Ok(())
    }

    fn restore(mut self, shard: &mut Shard, now: Time) {
        let (mut unproven, mut observations) = (Vec::new(), Vec::new());
        for (key, building) in self.stripes {
            building.restore(key, shard, &mut unproven, &mut observations);
        }
        for (key, head) in self.sessions_unproven {
            if !self.sessions.replayed(key).is_recorded() {
                self.sessions.replayed(key).rescue(0, None);
                let replayed = pending::Replayed::Session(key);
                unproven.push(Unvouched { head, body: Body::empty(), replayed });
            }
        }
        for Unvouched { head, replayed, .. } in &observations {
            if let pending::Replayed::Observation(observed) = replayed
                && let Some(key) = Shard::session_key(head.session, head.stripe)
            {
                let rows = shard.stripes[observed.slot.0].rows();
                let rows_end = rows.mark_behind(observed.row);
                self.sessions.replayed(key).rescue(head.sequence, Some(rows_end));
            }
        }
        self.sessions.expire(now);
        shard.sessions = self.sessions;
        unproven.append(&mut observations);
        shard.unproven = Unproven::new(unproven);
    }
}

impl Building {
    fn new(place: Location) -> Building {
        Building {
            place,
            settings: None,
            settings_unproven: None,
            rows: None,
            early: Vec::new(),
            seen: HashSet::default(),
            generation_max: 0,
            unproven: BTreeMap::new(),
            copies: BTreeMap::new(),
            gone: Ranges::default(),
            recorded_in: None,
            forgotten: BTreeMap::new(),
        }
    }

    fn take_space(&mut self, record: &Replayed<'_>) -> Result<(), &'static str> {
        let settings = decode_space(record.body).map_err(|_| "the body of a space's record")?;
        if !record.proven {
            self.settings_unproven = Some((record.head, settings, body_of(record)));
            return Ok(());
        }
        if self.settings.as_ref().is_some_and(|known| *known != settings) {
            return Err("a space that two records say different things of");
        }
        self.settings = Some(settings);
        self.recorded_in = Some(record.location.segment);
        self.push_early()
    }

    fn take_forgotten(
        &mut self,
        record: &Replayed<'_>,
        mode: ForgetMode,
    ) -> Result<(), &'static str> {
        let id = decode_forgotten(record.body).map_err(|_| "the body of a forgotten memory")?;
        let Replayed { head, location, proven, .. } = *record;
        let key = (Box::from(id), head.generation.0, mode);
        let found = ForgottenRecord { head, segment: location.segment, proven };
        let known = self.forgotten.entry(key).or_insert(found);
        if proven && !known.proven {
            *known = ForgottenRecord { head, segment: location.segment, proven };
        }
        Ok(())
    }

    /// What the space is made with, as far as what was read tells; a record that nobody vouches for may yet be contradicted
    /// until all is read.
    fn settings(&self) -> Option<&SpaceSettings> {
        let unproven = self.settings_unproven.as_ref().map(|(_, settings, _)| settings);
        self.settings.as_ref().or(unproven)
    }

    fn take_observation(
        &mut self,
        record: &Replayed<'_>,
        vector: &mut Vec<f32>,
    ) -> Result<(), &'static str> {
        let generation = record.head.generation.0;
        if self.seen.contains(&generation) || self.gone.contains(generation) {
            return Ok(());
        }
        let first_commit = first_commit(record.body).map_err(|_| BAD_BODY)?;
        let durable = Durable {
            head: record.head,
            encoded: encoded(record.body, vector)?,
            location: record.location,
            committed_at: first_commit.unwrap_or(record.committed_at),
        };
        if !record.proven && first_commit.is_some() {
            self.copies.insert(generation, durable);
            return Ok(());
        }
        if !record.proven && planted!(UnprovenLost) {
            return Ok(());
        }
        if !record.proven {
            // Of two that nobody vouches for, the later one counts: it is the former, or was stored in its stead.
            let earlier = self.unproven.get(&generation);
            if earlier.is_none_or(|earlier| earlier.durable.committed_at < durable.committed_at) {
                self.unproven.insert(generation, Observed { durable, body: body_of(record) });
            }
            return Ok(());
        }
        self.seen.insert(generation);
        self.generation_max = self.generation_max.max(generation);
        match self.settings {
            Some(_) => self.push_durable(durable),
            None => {
                self.early.push(durable);
                Ok(())
            }
        }
    }

    /// Everything was read: what the settings are is known, or never will be.
    fn settle(&mut self) -> Result<(), &'static str> {
        self.settings().ok_or("a record of a space of which no record says what it is")?;
        self.push_early()?;
        self.generation_max = self.generation_max.max(self.gone.last().unwrap_or(0));
        for (generation, copy) in std::mem::take(&mut self.copies) {
            let is_known = self.seen.contains(&generation)
                || self.unproven.contains_key(&generation)
                || self.gone.contains(generation);
            if !is_known {
                self.push_durable(copy)?;
            }
        }
        Ok(())
    }

    fn push_early(&mut self) -> Result<(), &'static str> {
        std::mem::take(&mut self.early).into_iter().try_for_each(|early| self.push_durable(early))
    }

    /// Adds a row; the settings are known.
    fn push_durable(&mut self, durable: Durable) -> Result<(), &'static str> {
        let Durable { head, encoded, location, committed_at } = durable;
        self.seen.insert(head.generation.0);
        self.generation_max = self.generation_max.max(head.generation.0);
        let settings = self.settings().expect("no row is pushed before the settings are known");
        let SpaceSettings { dimension, metric, .. } = *settings;
        if encoded.dimension() != dimension {
            return Err("a vector of another length than its space says");
        }
        let codes = encoded.codes(metric).map_err(|_| "the vector of an observation")?;
        let seed = stripe_seed(head.stripe);
        let rows = self.rows.get_or_insert_with(|| Rows::new(dimension, metric, seed));
        let row = rows.push(&arrival(&head, &codes), Place::Stored(location));
        rows.commit(row, location, committed_at);
        Ok(())
    }

    /// Takes out what no log vouches for and the stripe does: its generations become durable in order, so those before
    /// a durable one are durable. (The batch that vouched for them may have lived in a cache alone, and be lost.)
    fn take_preceding(&mut self) -> impl Iterator<Item = Observed> + use<> {
        let later = self.unproven.split_off(&self.generation_max);
        std::mem::replace(&mut self.unproven, later).into_values()
    }

    /// Leaves out what is there without a doubt as well.
    fn forget_doubles(&mut self) {
        let Building { seen, gone, unproven, .. } = self;
        unproven.retain(|generation, _| !seen.contains(generation) && !gone.contains(*generation));
        if self.settings.is_some() {
            self.settings_unproven = None;
        }
    }

    fn check(&self) -> Result<(), &'static str> {
        let settings = self.settings().expect("settled before");
        for Observed { durable, .. } in self.unproven.values() {
            if durable.encoded.dimension() != settings.dimension {
                return Err("a vector of another length than its space says");
            }
            let codes = durable.encoded.clone().codes(settings.metric);
            codes.map_err(|_| "the vector of an observation")?;
        }
        let only_gone = self.seen.iter().filter(|generation| !self.gone.contains(**generation));
        if self.generation_max != only_gone.count() as u64 + self.gone.len() {
            return Err("generations of this stripe are missing");
        }
        let expected = self.generation_max + 1..;
        match self
            .unproven
            .keys()
            .zip(expected)
            .all(|(&generation, expected)| generation == expected)
        {
            true => Ok(()),
            false => Err("generations of this stripe are missing"),
        }
    }

    /// Makes the stripe. What nobody vouches for goes to `unproven`, and observations to `observations`, to be appended
    /// behind all of that.
    fn restore(
        self,
        key: StripeKey,
        shard: &mut Shard,
        unproven: &mut Vec<Unvouched>,
        observations: &mut Vec<Unvouched>,
    ) {
        let settings = match (self.settings, self.settings_unproven) {
            (Some(settings), _) => settings,
            (None, Some((head, settings, body))) => {
                shard
                    .expect_space(&SpaceDescription { key: key.space, settings: settings.clone() });
                unproven.push(Unvouched { head, body, replayed: pending::Replayed::Space(key) });
                settings
            }
            (None, None) => unreachable!("checked when the last segment was read"),
        };
        let rows = self.rows;
        let SpaceSettings { dimension, metric, .. } = settings;
        let mut rows = rows.unwrap_or_else(|| Rows::new(dimension, metric, stripe_seed(key)));
        if !self.gone.is_empty() {
            rows.restore_gone(self.gone);
        }
        let first = observations.len();
        for Observed { durable, body } in self.unproven.into_values() {
            let Durable { head, encoded, location, .. } = durable;
            let codes = encoded.codes(metric).expect("checked when the last segment was read");
            let row = rows.push(&arrival(&head, &codes), Place::Stored(location));
            let slot = shard.next_slot();
            let observed =
                pending::Observed { slot, row, session: head.session, sequence: head.sequence };
            let replayed = pending::Replayed::Observation(observed);
            observations.push(Unvouched { head, body, replayed });
        }
        assert_eq!(observations.len() - first, rows.len_pending() as usize);
        let recall = shard.config.recall_target;
        let mut stripe = Stripe::new(key, settings, recall, shard.config.tail, rows);
        if let Some(segment) = self.recorded_in {
            stripe.record_in(segment);
        }
        shard.restore_stripe(stripe);
        for ((id, until, mode), ForgottenRecord { head, segment, proven }) in self.forgotten {
            if planted!(ForgetForgotten) {
                continue;
            }
            let (memory_hash, until) = (head.memory_hash, Generation(until));
            let body = encode_forgotten(&id);
            let forgotten = Forgotten { stripe: key, memory_hash, id, mode, until, origin: None };
            let number = shard.restore_forgotten(forgotten, segment, proven);
            if !proven {
                let replayed = pending::Replayed::Forget(number);
                observations.push(Unvouched { head, body, replayed });
            }
        }
    }
}

impl Shard {
    /// A stripe of this space was found in a record that is not durable yet.
    fn expect_space(&mut self, space: &SpaceDescription) {
        match self.making.iter_mut().find(|making| making.space.key == space.key) {
            Some(making) => making.records_left += 1,
            None => self.making.push(Making {
                space: space.clone(),
                records_left: 1,
                waiting: Vec::new(),
                made: Made::Before,
                fault: None,
            }),
        }
    }

    /// Takes a stripe in with the rows that were replayed.
    fn restore_stripe(&mut self, mut stripe: Stripe) {
        self.admission.recover(stripe.waiting());
        let mut pairs = stripe.enter_all();
        if planted!(ReplacementForgotten) {
            pairs.clear();
        }
        let overlong = stripe.is_overlong();
        let rows = stripe.rows();
        rows.all_stored().for_each(|location| self.compacting.keep(location));
        let slot = self.add_stripe(stripe);
        pairs.into_iter().for_each(|pair| self.verify_pair(slot, pair));
        if overlong {
            self.rotation.enter(slot);
        }
        self.keep_up_with(slot);
    }
}

fn arrival<'a>(head: &RecordHead, codes: &'a Codes) -> Arrival<'a> {
    Arrival {
        codes,
        memory_hash: head.memory_hash,
        generation: head.generation,
        received_at: head.received_at,
    }
}

fn body_of(record: &Replayed<'_>) -> Body {
    Body { bytes: record.body.to_vec(), crc: record.body_crc }
}

/// What is wrong with an observation that is none.
const BAD_BODY: &str = "the body of an observation";

/// When an observation was committed, of a copy first.
fn committed_at(record: &Replayed<'_>) -> Result<Time, &'static str> {
    let first_commit = first_commit(record.body).map_err(|_| BAD_BODY)?;
    Ok(first_commit.unwrap_or(record.committed_at))
}

/// The vector in a body, encoded; `vector` is scratch.
fn encoded(body: &[u8], vector: &mut Vec<f32>) -> Result<Encoded, &'static str> {
    let observation = decode_body(body).map_err(|_| BAD_BODY)?;
    vector.resize(observation.embedding.dimension(), 0.0);
    read_embedding(observation.embedding, vector).map_err(|_| "the vector of an observation")?;
    Encoded::new(vector).map_err(|_| "the vector of an observation")
}

fn corrupt(place: Location, what: &'static str) -> LogFault {
    LogFault::Corrupt { segment: place.segment, offset: place.offset, what }
}

impl fmt::Debug for Recovering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recovering")
            .field("log", &self.config.log)
            .field("next", &self.next())
            .finish_non_exhaustive()
    }
}
