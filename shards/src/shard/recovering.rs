//! A shard from its logs and checkpoints: what it owns of all of them, ordered by generation.
//!
//! ```text
//!  segments that no checkpoint covers ─► Recovering ─► the shard, with each stripe that has no checkpoint
//!                                            │ what is newer than a checkpoint
//!                                            ▼
//!  checkpoints, the smallest first ──────► Loading ─► Ready ─► Shard::restore, stripe by stripe, while others are served
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::BuildHasherDefault;

use hashbrown::HashSet;
use siphasher::sip::SipHasher13;

use crate::attributes::Attributes;
use crate::checkpoint::block::CheckpointFault;
use crate::checkpoint::due::Records;
use crate::checkpoint::head::LogPosition;
use crate::checkpoint::layout::{self, Piece};
use crate::checkpoint::reading::{CheckedHead, Reading, Restored, is_covered};
use crate::ids::{
    FolderSecret, Generation, Location, LogId, Row, SegmentId, SessionId, StripeKey, Time,
};
use crate::log::log::Log;
use crate::log::ranges::Ranges;
use crate::log::record::{
    Body, Observation, RecordHead, RecordKind, decode_body, decode_forgotten, decode_gone,
    decode_space, encode_copy, encode_forgotten, first_commit, read_embedding,
};
use crate::log::replay::{LogFault, Replay, ReplayEnd, Replayed};
use crate::message::{ForgetMode, Made, SpaceDescription};
use crate::session::{SessionKey, Sessions};
use crate::settings::SpaceSettings;
use crate::shard::engine::{Owns, Shard};
use crate::shard::forgotten::Forgotten;
use crate::shard::io::ShardConfig;
use crate::shard::making::Making;
use crate::shard::pending::{self, Carrying};
use crate::shard::requests::stripe_seed;
use crate::shard::shares::Shared;
use crate::shard::unproven::Unvouched;
use crate::space::{Arrival, LiveBytes, Loaded, Pair, Place, Rows, Stripe};
use crate::vector::codes::{Codes, Encoded};

/// What a folder holds, as far as it is known before anything is read whole.
#[derive(Clone, Debug, Default)]
pub struct Remains {
    /// For every segment, in order, its first block: as [`Replay::new`] wants them.
    pub heads: Vec<(SegmentId, Vec<u8>)>,
    /// For segments, in order, the files that say what they hold.
    pub summaries: Vec<(SegmentId, Vec<u8>)>,
    /// Heads of checkpoints.
    pub checkpoints: BTreeMap<StripeKey, CheckedHead>,
}

/// A shard that is being rebuilt from logs.
pub struct Recovering {
    config: ShardConfig,
    owns: Owns,
    replay: Replay,
    /// For each log that no other shard looks after the furthest position that a checkpoint covers, and whose that is.
    covered: BTreeMap<LogId, (LogPosition, StripeKey)>,
    found: Found,
}

/// What the logs held, as far as the shard owns it.
struct Found {
    stripes: BTreeMap<StripeKey, Building>,
    sessions: Sessions,
    secret: FolderSecret,
    /// A vector, as it is read.
    vector: Vec<f32>,
}

/// A stripe of which there are records, or a checkpoint.
struct Building {
    /// Its checkpoint; none once that was read, or where there is none.
    checkpoint: Option<CheckedHead>,
    /// Rows up to this generation are in the checkpoint …
    covered: Generation,
    /// … which is so long.
    checkpoint_bytes: u64,
    /// Records of other rows.
    replayed: Records,
    /// Where the first of the records lies: what a fault names.
    place: Location,
    settings: Option<SpaceSettings>,
    settings_unproven: Option<(RecordHead, SpaceSettings, Body)>,
    /// Session records that nobody vouches for.
    sessions_unproven: BTreeMap<SessionId, RecordHead>,
    /// None before the settings are known, and the first row.
    rows: Option<Rows>,
    /// What the checkpoint holds beside rows.
    loaded: Option<Loaded>,
    /// Rows that came by records.
    arrived: Vec<Row>,
    /// Pairs of rows of the checkpoint.
    pairs: Vec<Pair>,
    /// Rows that came before it was known how their space compares: the logs of several shards may be read in another
    /// order than they were written, and a checkpoint is read behind them. No larger than the same rows are in `rows`.
    early: Vec<Durable>,
    /// Records of rows of the checkpoint that lie elsewhere since.
    moved: Vec<Moved>,
    /// Generations of the rows above `covered`.
    seen: HashSet<u64, BuildHasherDefault<SipHasher13>>,
    generation_max: u64,
    /// By generation.
    unproven: BTreeMap<u64, Observed>,
    /// Copies that nobody vouches for. What they were copied from was durable: if it is not found, it was given up because
    /// they are.
    copies: BTreeMap<u64, Observed>,
    /// Of rows that are durable, the records that were found where nobody vouches for them, by generation.
    doubtful: BTreeMap<u64, Doubtful>,
    /// Generations that are no more.
    gone: Ranges,
    /// Bytes of the records of its rows.
    live: LiveBytes,
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
    attributes: Attributes,
    location: Location,
    committed_at: Time,
}

/// An observation that nobody vouches for.
struct Observed {
    durable: Durable,
    body: Body,
}

/// A further record of a row of the checkpoint.
struct Moved {
    head: RecordHead,
    location: Location,
    /// Where nobody vouches for it, its body.
    unproven: Option<Body>,
}

/// A record of a row that is durable, which may be another one than that which made it so. Another may be in its place
/// after the next power cut, so it is copied before any segment goes.
struct Doubtful {
    head: RecordHead,
    location: Location,
    body: Body,
}

/// Checkpoints that are being read, one after the other.
pub struct Loading {
    config: ShardConfig,
    /// The next one last.
    waiting: Vec<(StripeKey, Building)>,
    /// The one that is being read, and the pieces of it that are to come, the next one last.
    current: Option<(Reading, Vec<Piece>)>,
    /// Segments that were not emptied.
    whole: BTreeSet<SegmentId>,
}

/// A stripe that can be served, once [`Shard::restore`] has taken it in.
pub struct Ready {
    key: StripeKey,
    building: Building,
    /// What is known of its sessions beside what the shard knows.
    sessions: Sessions,
}

impl Recovering {
    /// Begins. Of all records in the logs it keeps those of stripes that `owns` names.
    pub fn new(
        config: ShardConfig,
        remains: &Remains,
        owns: Box<dyn Fn(StripeKey) -> bool>,
    ) -> Result<Recovering, LogFault> {
        let mut replay = Replay::new(&remains.heads)?;
        let owned = remains.checkpoints.iter().filter(|(stripe, _)| owns(**stripe));
        let building = |(stripe, checkpoint): (&StripeKey, &CheckedHead)| {
            (*stripe, Building::above(checkpoint.clone()))
        };
        let stripes: BTreeMap<_, _> = owned.map(building).collect();
        let head_of = |stripe| remains.checkpoints.get(&stripe).map(CheckedHead::head);
        replay.leave_out(&remains.summaries, |summary| is_covered(summary, &owns, head_of));
        let (sessions, secret, vector) = (Sessions::default(), config.secret, Vec::new());
        let found = Found { stripes, sessions, secret, vector };
        Ok(Recovering { covered: furthest(&config, remains), config, owns, replay, found })
    }

    /// Begins for one stripe alone, whose checkpoint cannot be read; its shard runs already, and has it in its loading.
    pub fn without_checkpoint(
        config: ShardConfig,
        remains: &Remains,
        stripe: StripeKey,
    ) -> Result<Recovering, LogFault> {
        let mut remains = remains.clone();
        remains.checkpoints.remove(&stripe);
        Recovering::new(config, &remains, Box::new(move |other| other == stripe))
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
        match fault {
            Some(fault) => Err(fault),
            None => Ok(()),
        }
    }

    /// The shard, once `next()` is `None`, unless a log ends before what a checkpoint covers of it: it serves the stripes
    /// that have no checkpoint. Their rows are in the tails, and unproven records are on their way to the log. The others
    /// are still to be loaded. Also the segments that hold nothing and may be removed.
    pub fn finish(self, now: Time) -> Result<(Shard, Loading, Vec<SegmentId>), LogFault> {
        let Recovering { config, owns, replay, covered, mut found } = self;
        let mut end = replay.finish();
        check_ends(&end, &covered)?;
        found.check()?;
        let log = log_behind(&config, &mut end);
        let mut shard = Shard::new(config.clone(), owns, log, now);
        shard.compacting.shared = Shared::new(config.log, config.shards, &end);
        shard.note_logs(&mut end);
        let whole = end.whole().collect();
        shard.compacting.consider(now);
        let Found { stripes, mut sessions, .. } = found;
        sessions.expire(now);
        shard.sessions = sessions;
        let mut waiting = Vec::new();
        for (key, building) in stripes {
            match building.checkpoint {
                Some(_) => waiting.push((key, building)),
                None => shard.restore(Ready { key, building, sessions: Sessions::default() }, now),
            }
        }
        shard.loading = waiting.iter().map(|(key, _)| *key).collect();
        waiting.sort_by_key(|(key, building)| (std::cmp::Reverse(building.checkpoint_bytes), *key));
        Ok((shard, Loading { config, waiting, current: None, whole }, end.empty))
    }

    /// The stripes that were found, once `next()` is `None`: where their shard runs already, and began without the
    /// checkpoints that could not be read.
    pub fn finish_stripes(mut self) -> Result<Vec<Ready>, LogFault> {
        self.found.check()?;
        let Found { stripes, mut sessions, .. } = self.found;
        let ready = |(key, building)| {
            let sessions = sessions.take_stripe(key);
            Ready { key, building, sessions }
        };
        Ok(stripes.into_iter().map(ready).collect())
    }
}

/// The furthest position that a checkpoint covers of each log that is looked after here, and whose checkpoint that is: of the
/// shard's own log, for no other writes to it, and of logs that no shard has any more, some.
fn furthest(config: &ShardConfig, remains: &Remains) -> BTreeMap<LogId, (LogPosition, StripeKey)> {
    let mut furthest = BTreeMap::new();
    let is_own = |position: &&LogPosition| position.segment.log.0 % config.shards == config.log.0;
    for (stripe, checkpoint) in &remains.checkpoints {
        for &position in checkpoint.head().covered.iter().filter(is_own) {
            let covered = furthest.entry(position.segment.log).or_insert((position, *stripe));
            *covered = (*covered).max((position, *stripe));
        }
    }
    furthest
}

/// Whether these logs go as far as they did when the checkpoints were made. In one that does not, new segments would lie before
/// what a checkpoint covers, and the next start would leave them out.
fn check_ends(
    end: &ReplayEnd,
    covered: &BTreeMap<LogId, (LogPosition, StripeKey)>,
) -> Result<(), LogFault> {
    for (log, (position, stripe)) in covered {
        if !end.reaches(position.segment, position.offset) && !planted!(EndUnchecked) {
            let (segment, offset) = end.end_of(*log);
            let covered = (position.segment.number, position.offset);
            return Err(LogFault::EndMissing { segment, offset, covered, stripe: *stripe });
        }
    }
    Ok(())
}

/// The log of a shard, which goes on behind what was replayed.
fn log_behind(config: &ShardConfig, end: &mut ReplayEnd) -> Log {
    let start = end.start_of(config.log);
    let last = SegmentId { log: config.log, number: start.end.number };
    let log = Log::new(config.log, config.shards, config.incarnation_seed, start);
    let log = log.after(end.heads_of(config.log));
    log.with(config.acks).behind(end.take_summary(last))
}

impl Loading {
    /// The stripe whose checkpoint is read next, and the piece of it; none when all were read. Changes with
    /// `handle_piece`.
    pub fn next_piece(&mut self) -> Option<(StripeKey, Piece)> {
        self.ahead().next()
    }

    /// The pieces of the same checkpoint from that one on, to be asked for ahead.
    pub fn ahead(&mut self) -> impl Iterator<Item = (StripeKey, Piece)> {
        if self.current.is_none()
            && let Some((key, building)) = self.waiting.last()
        {
            let head = building.checkpoint.as_ref().expect("what has none does not wait");
            let mut pieces: Vec<Piece> = layout::pieces(head.head()).collect();
            pieces.reverse();
            let (seed, recall) = (stripe_seed(*key), self.config.recall_target);
            let reading = Reading::new(head, seed, recall, building.gone.clone());
            self.current = Some((reading, pieces));
        }
        let key = self.waiting.last().map(|(key, _)| *key);
        let pieces = self.current.iter().flat_map(|(_, pieces)| pieces.iter().rev());
        key.into_iter().flat_map(move |key| pieces.clone().map(move |piece| (key, *piece)))
    }

    /// Takes the piece `next_piece()`, and gives back the stripe if that was its last. After a fault the stripe is left out: it
    /// has to be [replayed](Recovering::finish_stripes).
    pub fn handle_piece(&mut self, bytes: &[u8]) -> Result<Option<Ready>, CheckpointFault> {
        let (reading, pieces) = self.current.as_mut().expect("a piece was asked for");
        pieces.pop();
        let taken = reading.handle_piece(bytes);
        if taken.is_ok() && !pieces.is_empty() {
            return Ok(None);
        }
        let (reading, _) = self.current.take().expect("it was read just now");
        let (key, mut building) = self.waiting.pop().expect("its stripe waits");
        taken?;
        let Restored { loaded, marks } = reading.finish()?;
        building
            .complete(loaded, &self.whole)
            .map_err(|what| CheckpointFault { offset: 0, what })?;
        let mut sessions = Sessions::default();
        for mark in marks {
            let key = SessionKey { session: mark.session, stripe: key };
            sessions.replayed(key).replay(mark.durable_sequence, mark.last_record_at);
        }
        Ok(Some(Ready { key, building, sessions }))
    }

    /// The one that is being read cannot be read on: it is left out, as after a fault.
    pub fn give_up(&mut self) {
        self.current = None;
        self.waiting.pop();
    }
}

impl Ready {
    /// Which stripe it is.
    pub fn key(&self) -> StripeKey {
        self.key
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
                    building.sessions_unproven.insert(key.session, record.head);
                }
            }
            RecordKind::Observation => {
                building.take_observation(record, &self.secret, &mut self.vector)?
            }
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
        if record.proven {
            session.tell(sequence, record.location.segment);
        }
    }

    /// Whether what was found is whole: a hole between durable observations would be a loss that no one was told of.
    fn check(&mut self) -> Result<(), LogFault> {
        for building in self.stripes.values_mut() {
            building.settle().map_err(|what| corrupt(building.place, what))?;
            building.forget_doubles();
            for observed in building.take_preceding() {
                let Durable { head, location, committed_at, .. } = observed.durable;
                building.take_doubtful(observed).map_err(|what| corrupt(location, what))?;
                if let Some(key) = Shard::session_key(head.session, head.stripe) {
                    self.sessions.replayed(key).replay(head.sequence, committed_at);
                }
            }
            if building.checkpoint.is_none() {
                // What the space is may be told by nothing but a record that nobody vouches for.
                building.push_early().map_err(|what| corrupt(building.place, what))?;
            }
            building.check().map_err(|what| corrupt(building.place, what))?;
        }
        Ok(())
    }
}

impl Building {
    fn new(place: Location) -> Building {
        Building {
            checkpoint: None,
            covered: Generation(0),
            checkpoint_bytes: 0,
            replayed: Records::default(),
            place,
            settings: None,
            settings_unproven: None,
            sessions_unproven: BTreeMap::new(),
            rows: None,
            loaded: None,
            arrived: Vec::new(),
            pairs: Vec::new(),
            early: Vec::new(),
            moved: Vec::new(),
            seen: HashSet::default(),
            generation_max: 0,
            unproven: BTreeMap::new(),
            copies: BTreeMap::new(),
            doubtful: BTreeMap::new(),
            gone: Ranges::default(),
            live: LiveBytes::default(),
            recorded_in: None,
            forgotten: BTreeMap::new(),
        }
    }

    /// One whose rows up to some generation are in a checkpoint.
    fn above(checkpoint: CheckedHead) -> Building {
        let nowhere = SegmentId { log: LogId(0), number: 0 };
        let covered = checkpoint.head().generation;
        Building {
            covered,
            generation_max: covered.0,
            checkpoint_bytes: layout::file_bytes(checkpoint.head()),
            checkpoint: Some(checkpoint),
            ..Building::new(Location { segment: nowhere, offset: 0, bytes: 0 })
        }
    }

    /// Whether the checkpoint covers its log up to here.
    fn covers(&self, position: LogPosition) -> bool {
        self.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.head().covers(position))
    }

    /// Its checkpoint was read; what was replayed comes on top of that. The text says what does not fit.
    fn complete(
        &mut self,
        mut loaded: Loaded,
        whole: &BTreeSet<SegmentId>,
    ) -> Result<(), &'static str> {
        if self.settings().is_some_and(|settings| *settings != loaded.settings) {
            return Err("a space that a record says different things of");
        }
        self.settings = Some(loaded.settings.clone());
        self.settings_unproven = None;
        let mut rows = loaded.take_rows();
        self.live.merge(&loaded.live);
        for Moved { head, location, unproven } in std::mem::take(&mut self.moved) {
            let row = rows.find(head.memory_hash, head.generation);
            // A copy that nobody vouches for counts where what it was copied from is no more: then it was synced before
            // that went. Else it may live in a cache alone, and the row lies where it lay.
            let is_elsewhere =
                |row: &Row| unproven.is_none() || !whole.contains(&rows.stored(*row).segment);
            let Some(row) = row.filter(is_elsewhere) else { continue };
            self.live.free(rows.stored(row));
            rows.relocate(row, location);
            self.live.keep(location);
            if let Some(body) = unproven {
                self.doubtful.insert(head.generation.0, Doubtful { head, location, body });
            }
        }
        if self.is_misplaced(&rows, whole) {
            return Err("a row that lies in a segment which was emptied");
        }
        self.rows = Some(rows);
        self.pairs = std::mem::take(&mut loaded.pairs);
        self.loaded = Some(loaded);
        self.checkpoint = None;
        self.push_early()?;
        self.check_unproven()
    }

    /// Whether a row lies where nothing is any more. A life that could not read the checkpoint went by other copies of its
    /// rows, some of which lie before what it covers, and may have emptied what it relies on.
    fn is_misplaced(&self, rows: &Rows, whole: &BTreeSet<SegmentId>) -> bool {
        let is_misplaced = |row: &Row| {
            let is_there = whole.contains(&rows.stored(*row).segment);
            !is_there && !self.gone.contains(rows.generation(*row).0)
        };
        // What is gone by now may count there still.
        !self.live.segments().all(|segment| whole.contains(&segment))
            && (0..rows.slots())
                .map(Row)
                .filter(|row| rows.is_kept(*row))
                .any(|row| is_misplaced(&row))
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
        if self.checkpoint.is_some() { Ok(()) } else { self.push_early() }
    }

    fn take_forgotten(
        &mut self,
        record: &Replayed<'_>,
        mode: ForgetMode,
    ) -> Result<(), &'static str> {
        let id = decode_forgotten(record.body).map_err(|_| "the body of a forgotten memory")?;
        let Replayed { head, location, proven, .. } = *record;
        if self.covers(LogPosition::behind(location)) {
            return Ok(());
        }
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
        secret: &FolderSecret,
        vector: &mut Vec<f32>,
    ) -> Result<(), &'static str> {
        let generation = record.head.generation.0;
        if generation <= self.covered.0 {
            // Before it was written again, it lay elsewhere.
            if !self.covers(LogPosition::behind(record.location)) {
                let unproven = (!record.proven).then(|| body_of(record));
                let Replayed { head, location, .. } = *record;
                self.moved.push(Moved { head, location, unproven });
            }
            return Ok(());
        }
        if self.seen.contains(&generation) || self.gone.contains(generation) {
            return Ok(());
        }
        let observation = decode_body(record.body).map_err(|_| BAD_BODY)?;
        let first_commit = first_commit(record.body).map_err(|_| BAD_BODY)?;
        let durable = Durable {
            head: record.head,
            encoded: encoded(&observation, vector)?,
            attributes: Attributes::of(&observation, record.head.received_at, secret),
            location: record.location,
            committed_at: first_commit.unwrap_or(record.committed_at),
        };
        if !record.proven && first_commit.is_some() {
            self.copies.insert(generation, Observed { durable, body: body_of(record) });
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
        self.take_durable(durable)
    }

    fn take_durable(&mut self, durable: Durable) -> Result<(), &'static str> {
        let generation = durable.head.generation.0;
        self.seen.insert(generation);
        self.generation_max = self.generation_max.max(generation);
        self.replayed.count += 1;
        self.replayed.bytes += u64::from(durable.location.bytes);
        match (&self.settings, &self.checkpoint) {
            (Some(_), None) => self.push_durable(durable),
            _ => {
                self.early.push(durable);
                Ok(())
            }
        }
    }

    /// Takes one that is durable, though nobody vouches for this record of it.
    fn take_doubtful(&mut self, observed: Observed) -> Result<(), &'static str> {
        let Observed { durable, body } = observed;
        let Durable { head, location, .. } = durable;
        self.doubtful.insert(head.generation.0, Doubtful { head, location, body });
        self.take_durable(durable)
    }

    /// Everything was read: what the settings are is known, or never will be, but by a checkpoint.
    fn settle(&mut self) -> Result<(), &'static str> {
        self.generation_max = self.generation_max.max(self.gone.last().unwrap_or(0));
        for (generation, copy) in std::mem::take(&mut self.copies) {
            let is_known = self.seen.contains(&generation)
                || self.unproven.contains_key(&generation)
                || self.gone.contains(generation);
            if !is_known {
                self.take_doubtful(copy)?;
            }
        }
        if self.checkpoint.is_some() {
            return Ok(());
        }
        self.settings().ok_or("a record of a space of which no record says what it is")?;
        self.push_early()
    }

    fn push_early(&mut self) -> Result<(), &'static str> {
        std::mem::take(&mut self.early).into_iter().try_for_each(|early| self.push_durable(early))
    }

    /// Adds a row; the settings are known.
    fn push_durable(&mut self, durable: Durable) -> Result<(), &'static str> {
        let Durable { head, encoded, attributes, location, committed_at } = durable;
        let settings = self.settings().expect("no row is pushed before the settings are known");
        let SpaceSettings { dimension, metric, .. } = *settings;
        if encoded.dimension() != dimension {
            return Err("a vector of another length than its space says");
        }
        let codes = encoded.codes(metric).map_err(|_| "the vector of an observation")?;
        let seed = stripe_seed(head.stripe);
        let rows = self.rows.get_or_insert_with(|| Rows::new(dimension, metric, seed));
        let row = rows.push(&arrival(&head, &codes, attributes), Place::Stored(location));
        rows.commit(row, location, committed_at);
        self.live.keep(location);
        self.arrived.push(row);
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
        if self.checkpoint.is_none() {
            self.check_unproven()?;
        }
        let mut gone = self.gone.clone();
        if self.covered.0 > 0 {
            let mut covered = Ranges::default();
            covered.insert_run(1, self.covered.0);
            gone = gone.without(&covered);
        }
        let only_seen = self.seen.iter().filter(|generation| !gone.contains(**generation)).count();
        if self.generation_max != self.covered.0 + only_seen as u64 + gone.len() {
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

    fn check_unproven(&self) -> Result<(), &'static str> {
        let settings = self.settings().expect("settled before");
        for Observed { durable, .. } in self.unproven.values() {
            if durable.encoded.dimension() != settings.dimension {
                return Err("a vector of another length than its space says");
            }
            let codes = durable.encoded.clone().codes(settings.metric);
            codes.map_err(|_| "the vector of an observation")?;
        }
        Ok(())
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

    /// Takes a stripe in that was replayed or loaded: it is served from now on.
    pub fn restore(&mut self, ready: Ready, now: Time) {
        let Ready { key, mut building, sessions } = ready;
        self.loading.remove(&key);
        self.sessions.merge(sessions);
        if let Some((head, settings, body)) = building.settings_unproven.take() {
            let space = SpaceDescription { key: key.space, settings };
            self.expect_space(&space);
            self.unproven.push(Unvouched { head, body, replayed: pending::Replayed::Space(key) });
            building.settings = Some(space.settings);
        }
        for (session, head) in std::mem::take(&mut building.sessions_unproven) {
            let key = SessionKey { session, stripe: key };
            let session = self.sessions.replayed(key);
            if !session.is_recorded() {
                session.rescue(0, None);
                let replayed = pending::Replayed::Session(key);
                self.unproven.push(Unvouched { head, body: Body::empty(), replayed });
            }
        }
        let forgotten = std::mem::take(&mut building.forgotten);
        self.restore_rows(key, building);
        for ((id, until, mode), ForgottenRecord { head, segment, proven }) in forgotten {
            if planted!(ForgetForgotten) {
                continue;
            }
            let (memory_hash, until) = (head.memory_hash, Generation(until));
            let body = encode_forgotten(&id);
            let forgotten = Forgotten { stripe: key, memory_hash, id, mode, until, origin: None };
            let number = self.restore_forgotten(forgotten, segment, proven);
            if !proven {
                let replayed = pending::Replayed::Forget(number);
                self.unproven.push(Unvouched { head, body, replayed });
            }
        }
        self.sessions.expire(now);
        self.append_unproven();
        self.read_pairs();
        self.verify_forgets();
    }

    fn restore_rows(&mut self, key: StripeKey, building: Building) {
        let Building { checkpoint_bytes, replayed, gone, mut live, recorded_in, .. } = building;
        let Building { settings, rows, loaded, mut arrived, mut pairs, unproven, doubtful, .. } =
            building;
        let settings = settings.expect("checked when the last segment was read");
        let SpaceSettings { dimension, metric, .. } = settings;
        let mut rows = rows.unwrap_or_else(|| Rows::new(dimension, metric, stripe_seed(key)));
        rows.restore_gone(&gone, &arrived);
        let slot = self.next_slot();
        let mut observations = Vec::with_capacity(unproven.len());
        for Observed { durable, body } in unproven.into_values() {
            let Durable { head, encoded, attributes, location, .. } = durable;
            let codes = encoded.codes(metric).expect("checked when the last segment was read");
            let row = rows.push(&arrival(&head, &codes, attributes), Place::Stored(location));
            let observed =
                pending::Observed { slot, row, session: head.session, sequence: head.sequence };
            let replayed = pending::Replayed::Observation(observed);
            observations.push((observed, Unvouched { head, body, replayed }));
        }
        assert_eq!(observations.len(), rows.len_pending() as usize);
        for (observed, record) in observations {
            if let Some(key) = Shard::session_key(observed.session, key) {
                let rows_end = rows.mark_behind(observed.row);
                self.sessions.replayed(key).rescue(observed.sequence, Some(rows_end));
            }
            self.unproven.push(record);
        }
        let recall = self.config.recall_target;
        let mut stripe = Stripe::new(key, settings, recall, self.config.tail, rows);
        if let Some(loaded) = loaded {
            stripe = loaded.completed(stripe);
        }
        if let Some(segment) = recorded_in {
            stripe.record_in(segment);
        }
        arrived.retain(|&row| {
            let is_kept = stripe.rows().is_kept(row);
            if !is_kept {
                live.free(stripe.rows().stored(row));
            }
            is_kept
        });
        arrived.sort_unstable_by_key(|&row| stripe.rows().generation(row));
        pairs.extend(arrived.into_iter().filter_map(|row| stripe.enter(row)));
        if planted!(ReplacementForgotten) {
            pairs.clear();
        }
        for Doubtful { head, location, body } in doubtful.into_values() {
            let row = stripe.rows().find(head.memory_hash, head.generation);
            let Some(row) = row.filter(|&row| stripe.rows().stored(row) == location) else {
                continue;
            };
            let body = encode_copy(&body.bytes, stripe.rows().committed_at(row));
            let body = body.expect("it was read when it was replayed");
            let carrying = Carrying { slot, row, generation: head.generation };
            let replayed = pending::Replayed::Copy(carrying, location);
            self.unproven.push(Unvouched { head, body, replayed });
        }
        self.admission.recover(slot, stripe.waiting());
        let overlong = stripe.is_overlong();
        self.compacting.keep_all(&live);
        self.add_stripe(stripe);
        pairs.into_iter().for_each(|pair| self.verify_pair(slot, pair));
        if overlong {
            self.rotation.enter(slot);
        }
        self.keep_up_with(slot);
        self.note_loaded(slot, checkpoint_bytes, replayed);
        self.compacting.consider(self.now);
    }
}

fn arrival<'a>(head: &RecordHead, codes: &'a Codes, attributes: Attributes) -> Arrival<'a> {
    Arrival {
        codes,
        memory_hash: head.memory_hash,
        generation: head.generation,
        received_at: head.received_at,
        attributes,
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

/// The vector that was observed, encoded; `vector` is scratch.
fn encoded(observation: &Observation<'_>, vector: &mut Vec<f32>) -> Result<Encoded, &'static str> {
    vector.resize(observation.embedding.dimension(), 0.0);
    read_embedding(observation.embedding, vector).map_err(|_| "the vector of an observation")?;
    Encoded::new(vector).map_err(|_| "the vector of an observation")
}

fn corrupt(place: Location, what: &'static str) -> LogFault {
    LogFault::Corrupt { segment: place.segment, offset: place.offset, what }
}

impl fmt::Debug for Loading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loading").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("key", &self.key).finish_non_exhaustive()
    }
}

impl fmt::Debug for Recovering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recovering")
            .field("log", &self.config.log)
            .field("next", &self.next())
            .finish_non_exhaustive()
    }
}
