//! Sessions as one shard knows them: attachment, durable mark, and who waits for the end of what is in flight.
//!
//! A session has an entry for each stripe of its space that lies here. **Invariant:** the sequences handed over for an
//! entry rise strictly, until a drop sets them back to the durable mark and fences the attachment.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::ids::{SegmentId, SessionEpoch, SessionId, StripeKey, Time};
use crate::limits::SESSION_RESUME_MICROS;
use crate::message::{Drain, Origin, Refusal};

/// A session in a stripe. The session comes first, so that all its stripes lie side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionKey {
    /// The session.
    pub session: SessionId,
    /// The stripe.
    pub stripe: StripeKey,
}

/// Who waits until nothing of a session is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Whoever opens it.
    Open(Origin),
    /// Whoever closes it.
    Close {
        /// Where the reply goes.
        origin: Origin,
        /// How far it wants to be drained.
        drain: Drain,
    },
}

/// What came of a session that had to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remains {
    /// It can be resumed.
    Resumable,
    /// It never became durable.
    Nothing,
}

/// One session in one stripe.
#[derive(Debug, Default)]
pub struct Session {
    epoch: SessionEpoch,
    attached: Option<Origin>,
    /// Its own record is durable.
    recorded: bool,
    durable_sequence: u64,
    /// What told it; none where that is not known.
    told_by: Option<SegmentId>,
    handed_sequence: u64,
    in_flight: u32,
    /// The mark of its stripe behind its last row.
    rows_end: u64,
    last_record_at: Time,
    waiting: Option<Waiting>,
}

impl Session {
    /// One whose own record is on its way to the log; `origin` waits for it.
    pub fn begin(origin: Origin) -> Session {
        Session {
            epoch: SessionEpoch(1),
            attached: Some(origin),
            in_flight: 1,
            waiting: Some(Waiting::Open(origin)),
            ..Session::default()
        }
    }

    /// Takes the session over for `origin`. Gives back the attachment and the waiter that it ends.
    pub fn resume(&mut self, origin: Origin) -> (Option<Origin>, Option<Waiting>) {
        self.epoch.0 += 1;
        let attached = self.attached.replace(origin).filter(|&earlier| earlier != origin);
        (attached, self.waiting.replace(Waiting::Open(origin)))
    }

    /// Lets `origin` wait for the drained end. Gives back an earlier waiter, whose place it takes.
    pub fn close(
        &mut self,
        epoch: SessionEpoch,
        origin: Origin,
        drain: Drain,
    ) -> Result<Option<Waiting>, Refusal> {
        self.check(epoch)?;
        Ok(self.waiting.replace(Waiting::Close { origin, drain }))
    }

    /// The attachment `epoch` has ended.
    pub fn detach(&mut self, epoch: SessionEpoch) {
        if epoch == self.epoch {
            self.attached = None;
        }
    }

    /// Takes an observation over, if it comes from the attachment of now; `rows_end` is the mark of its stripe behind it.
    pub fn hand_over(
        &mut self,
        epoch: SessionEpoch,
        sequence: u64,
        rows_end: u64,
    ) -> Result<(), Refusal> {
        if !planted!(FenceForgotten) {
            self.check(epoch)?;
            assert!(sequence > self.handed_sequence, "sequences of a session rise strictly");
        }
        self.handed_sequence = sequence;
        self.in_flight += 1;
        self.rows_end = rows_end;
        Ok(())
    }

    /// A record of the session (`sequence` 0: its own) is durable.
    pub fn durable(&mut self, sequence: u64, at: Time) {
        assert!(self.in_flight > 0, "a record became durable that was not in flight");
        self.in_flight -= 1;
        self.note(sequence, at);
    }

    /// A durable record of the session was replayed (`sequence` 0: its own).
    pub fn replay(&mut self, sequence: u64, at: Time) {
        self.note(sequence, at);
        self.handed_sequence = self.handed_sequence.max(sequence);
    }

    /// A record in this segment says what the mark is.
    pub fn tell(&mut self, sequence: u64, segment: SegmentId) {
        if sequence >= self.durable_sequence {
            self.told_by = Some(segment);
        }
    }

    /// Which segment says what the mark is; none where that is not known.
    pub fn told_by(&self) -> Option<SegmentId> {
        self.told_by
    }

    /// An unproven record of the session was replayed and goes to the log again; `rows_end` is the mark behind its row, if
    /// it has one.
    pub fn rescue(&mut self, sequence: u64, rows_end: Option<u64>) {
        self.in_flight += 1;
        self.handed_sequence = self.handed_sequence.max(sequence);
        self.rows_end = rows_end.unwrap_or(self.rows_end);
    }

    /// `records` of what was in flight are dropped, and the stripe has rows up to the mark `arrived`: whoever is attached is
    /// fenced.
    pub fn fence(&mut self, records: u32, arrived: u64) -> Remains {
        assert!(records <= self.in_flight, "more was dropped than was in flight");
        self.in_flight -= records;
        self.epoch.0 += 1;
        self.handed_sequence = self.durable_sequence;
        self.rows_end = self.rows_end.min(arrived);
        if !matches!(self.waiting, Some(Waiting::Open(_))) {
            self.attached = None;
        }
        match self.recorded || self.in_flight > 0 {
            true => Remains::Resumable,
            false => Remains::Nothing,
        }
    }

    /// Whoever waits, if what they wait for has come; rows of the stripe below the mark `placed` wait for nothing.
    pub fn settle(&mut self, placed: u64) -> Option<Waiting> {
        let settled = self.in_flight == 0
            && match self.waiting? {
                Waiting::Open(_) | Waiting::Close { drain: Drain::Durable, .. } => true,
                Waiting::Close { drain: Drain::Indexed, .. } => placed >= self.rows_end,
            };
        let waiting = self.waiting.take_if(|_| settled)?;
        if let Waiting::Close { .. } = waiting {
            self.attached = None;
        }
        Some(waiting)
    }

    /// Whoever waits, to be told that it was in vain; they are not attached then.
    pub fn give_up(&mut self) -> Option<Waiting> {
        let waiting = self.waiting.take()?;
        self.attached = None;
        Some(waiting)
    }

    /// Whether whoever waits wants to close it.
    pub fn is_closing(&self) -> bool {
        matches!(self.waiting, Some(Waiting::Close { .. }))
    }

    /// The attachment of now.
    pub fn epoch(&self) -> SessionEpoch {
        self.epoch
    }

    /// The highest durable sequence.
    pub fn durable_sequence(&self) -> u64 {
        self.durable_sequence
    }

    /// When its last durable record was committed.
    pub fn last_record_at(&self) -> Time {
        self.last_record_at
    }

    /// Whether its own record, or a later one, is durable.
    pub fn is_recorded(&self) -> bool {
        self.recorded
    }

    /// Whether a connection holds it.
    pub fn is_attached(&self) -> bool {
        self.attached.is_some()
    }

    /// Whether it is drained to durable, and someone waits for more.
    pub fn waits_for_index(&self) -> bool {
        self.in_flight == 0
            && matches!(self.waiting, Some(Waiting::Close { drain: Drain::Indexed, .. }))
    }

    /// Whether it can be resumed no more.
    pub fn is_expired(&self, now: Time) -> bool {
        let idle = self.attached.is_none() && self.waiting.is_none() && self.in_flight == 0;
        idle && now.micros_since(self.last_record_at) > SESSION_RESUME_MICROS
    }

    fn check(&self, epoch: SessionEpoch) -> Result<(), Refusal> {
        match epoch == self.epoch {
            true => Ok(()),
            false => Err(Refusal::Fenced),
        }
    }

    fn note(&mut self, sequence: u64, at: Time) {
        self.recorded = true;
        if sequence > self.durable_sequence {
            self.told_by = None;
        }
        self.durable_sequence = self.durable_sequence.max(sequence);
        self.last_record_at = self.last_record_at.max(at);
    }
}

/// All sessions of a shard.
#[derive(Debug, Default)]
pub struct Sessions {
    by_key: BTreeMap<SessionKey, Session>,
}

impl Sessions {
    /// The session, if it is known and has not expired.
    pub fn get(&mut self, key: SessionKey, now: Time) -> Option<&mut Session> {
        self.by_key.get_mut(&key).filter(|session| !session.is_expired(now))
    }

    /// A session of which something is in flight, or whoever waits for it.
    pub fn in_flight(&mut self, key: SessionKey) -> &mut Session {
        self.by_key.get_mut(&key).expect("a session stays while something of it is in flight")
    }

    /// A session that is being replayed.
    pub fn replayed(&mut self, key: SessionKey) -> &mut Session {
        self.by_key.entry(key).or_default()
    }

    /// Adds one, in place of an expired one.
    pub fn insert(&mut self, key: SessionKey, session: Session) {
        self.by_key.insert(key, session);
    }

    /// Takes one out.
    pub fn remove(&mut self, key: SessionKey) -> Option<Session> {
        self.by_key.remove(&key)
    }

    /// A stripe of this shard that the session belongs to.
    pub fn find(&self, session: SessionId, now: Time) -> Option<StripeKey> {
        let from =
            SessionKey { session, stripe: StripeKey { space: crate::ids::SpaceKey(0), stripe: 0 } };
        let mut entries = self.by_key.range(from..).take_while(|(key, _)| key.session == session);
        entries.find(|(_, entry)| !entry.is_expired(now)).map(|(key, _)| key.stripe)
    }

    /// Takes those of one stripe out.
    pub fn take_stripe(&mut self, stripe: StripeKey) -> Sessions {
        let of_it = self.by_key.extract_if(.., |key, _| key.stripe == stripe);
        Sessions { by_key: of_it.collect() }
    }

    /// What was replayed of other sessions, or of these too, counts as well.
    pub fn merge(&mut self, replayed: Sessions) {
        for (key, session) in replayed.by_key {
            self.replayed(key).replay(session.durable_sequence, session.last_record_at);
        }
    }

    /// All of one stripe.
    pub fn of_stripe(&self, stripe: StripeKey) -> impl Iterator<Item = (SessionId, &Session)> {
        let entries = self.by_key.iter().filter(move |(key, _)| key.stripe == stripe);
        entries.map(|(key, session)| (key.session, session))
    }

    /// Forgets those that can no longer be resumed.
    pub fn expire(&mut self, now: Time) {
        self.by_key.retain(|_, session| !session.is_expired(now));
    }

    /// The next `count` behind this one, in order.
    pub fn some_after(
        &self,
        after: Option<SessionKey>,
        count: usize,
    ) -> Vec<(SessionKey, &Session)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = self.by_key.range((from, Bound::Unbounded)).take(count);
        entries.map(|(key, session)| (*key, session)).collect()
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// How many are attached to a connection.
    pub fn attached(&self) -> usize {
        self.by_key.values().filter(|session| session.is_attached()).count()
    }
}
