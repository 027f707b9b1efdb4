//! Sessions: opened, closed, detached, and who is told when nothing of them is in flight.

use crate::ids::{Generation, SessionEpoch, SessionId};
use crate::limits::SESSIONS_MAX;
use crate::log::record::{Body, RecordHead, RecordKind};
use crate::message::{Drain, Made, OpenIntent, Origin, Refusal, Reply, SessionOpened};
use crate::session::{Remains, Session, SessionKey, Waiting};
use crate::shard::engine::Shard;
use crate::shard::pending::Pending;

impl Shard {
    pub(super) fn open_session(&mut self, origin: Origin, key: SessionKey, intent: OpenIntent) {
        assert!(key.session != SessionId::NONE, "zero stands for no session");
        if self.loading.contains(&key.stripe) {
            return self.reply(origin, Reply::Session(Err(Refusal::Unavailable)));
        }
        let known = self.sessions.get(key, self.now).is_some();
        let opened = match intent {
            OpenIntent::Begin | OpenIntent::Resume if known => {
                self.resume_session(origin, key);
                Ok(())
            }
            OpenIntent::Begin => self.begin_session(origin, key),
            OpenIntent::Resume => match self.sessions.find(key.session, self.now) {
                Some(_) => Err(Refusal::WrongSpace),
                None => Err(Refusal::UnknownSession),
            },
        };
        if let Err(refusal) = opened {
            self.reply(origin, Reply::Session(Err(refusal)));
        }
    }

    fn begin_session(&mut self, origin: Origin, key: SessionKey) -> Result<(), Refusal> {
        let (_, stripe) = self.stripe(key.stripe).ok_or(Refusal::UnknownSpace)?;
        let generation = Generation(stripe.next_generation().0 - 1);
        if self.sessions.len() >= SESSIONS_MAX {
            self.sessions.expire(self.now);
        }
        if self.sessions.len() >= SESSIONS_MAX {
            return Err(Refusal::TooManySessions);
        }
        let head = RecordHead {
            stripe: key.stripe,
            generation,
            session: key.session,
            sequence: 0,
            memory_hash: 0,
            received_at: self.now,
            kind: RecordKind::Session,
        };
        self.sessions.insert(key, Session::begin(origin));
        self.log_append(head, Body::empty(), Pending::Session(key));
        if planted!(OpenedBeforeDurable) {
            let (_, stripe) = self.stripe(key.stripe).expect("looked up above");
            let space = stripe.space().clone();
            let session = self.sessions.in_flight(key);
            let (SessionKey { session: id, .. }, epoch) = (key, session.epoch());
            let opened = SessionOpened { session: id, epoch, durable_sequence: 0, space };
            session.give_up();
            self.reply(origin, Reply::Session(Ok(opened)));
        }
        Ok(())
    }

    fn resume_session(&mut self, origin: Origin, key: SessionKey) {
        let session = self.sessions.in_flight(key);
        let (attached, waiting) = session.resume(origin);
        if let Some(waiting) = waiting {
            self.refuse_waiting(waiting, Refusal::Fenced);
        }
        // Whoever still waited for the session to open has been told so just now.
        let told = matches!(waiting, Some(Waiting::Open(opener)) if Some(opener) == attached);
        if let Some(attached) = attached.filter(|_| !told) {
            self.reply(attached, Reply::Fenced { session: key.session });
        }
        self.settle_session(key);
    }

    pub(super) fn find_session(&mut self, origin: Origin, session: SessionId) {
        let found = self.sessions.find(session, self.now);
        let unknown = match self.is_loaded() {
            true => Refusal::UnknownSession,
            false => Refusal::Unavailable,
        };
        let answer = match found.and_then(|stripe| self.stripe(stripe)) {
            Some((_, stripe)) => Ok((stripe.space().clone(), Made::Before)),
            None => Err(unknown),
        };
        self.reply(origin, Reply::Space(answer));
    }

    pub(super) fn close_session(
        &mut self,
        origin: Origin,
        key: SessionKey,
        epoch: SessionEpoch,
        drain: Drain,
    ) {
        if self.loading.contains(&key.stripe) {
            return self.reply(origin, Reply::Closed(Err(Refusal::Unavailable)));
        }
        let session = self.sessions.get(key, self.now).ok_or(Refusal::UnknownSession);
        match session.and_then(|session| session.close(epoch, origin, drain)) {
            Ok(earlier) => {
                if let Some(waiting) = earlier {
                    self.refuse_waiting(waiting, Refusal::Fenced);
                }
                self.settle_session(key);
            }
            Err(refusal) => self.reply(origin, Reply::Closed(Err(refusal))),
        }
    }

    pub(super) fn detach_session(&mut self, key: SessionKey, epoch: SessionEpoch) {
        if let Some(session) = self.sessions.get(key, self.now) {
            session.detach(epoch);
        }
    }

    /// Tells whoever waits for the session, if it is time.
    pub(super) fn settle_session(&mut self, key: SessionKey) {
        let (_, stripe) = self.stripe(key.stripe).expect("a session lies in a stripe");
        let placed = stripe.placed();
        let space = stripe.space().clone();
        let session = self.sessions.in_flight(key);
        let (epoch, durable_sequence) = (session.epoch(), session.durable_sequence());
        match session.settle(placed) {
            Some(Waiting::Open(origin)) => {
                let opened = SessionOpened { session: key.session, epoch, durable_sequence, space };
                self.reply(origin, Reply::Session(Ok(opened)));
            }
            Some(Waiting::Close { .. }) if planted!(CloseUntold) => {}
            Some(Waiting::Close { origin, .. }) => {
                self.reply(origin, Reply::Closed(Ok(durable_sequence)))
            }
            None if session.waits_for_index() && !self.waiting_for_index.contains(&key) => {
                self.waiting_for_index.push(key)
            }
            None => {}
        }
    }

    /// Rows wait no longer: tells the sessions that waited for it.
    pub(super) fn settle_indexed(&mut self) {
        for key in std::mem::take(&mut self.waiting_for_index) {
            if self.sessions.get(key, self.now).is_some() {
                self.settle_session(key);
            }
        }
    }

    /// So many records of the session that were in flight are dropped.
    pub(super) fn fence_session(&mut self, key: SessionKey, records: u32, refusal: &Refusal) {
        let slot = self.slots.get(&key.stripe);
        let arrived = slot.map_or(0, |slot| self.stripes[slot.0].rows().arrived());
        let session = self.sessions.in_flight(key);
        match session.fence(records, arrived) {
            Remains::Resumable if session.is_closing() => self.give_up_waiting(key, refusal),
            Remains::Resumable => self.settle_session(key),
            Remains::Nothing => {
                self.give_up_waiting(key, refusal);
                self.sessions.remove(key);
            }
        }
    }

    /// Whoever waits for the session is told that it was in vain.
    pub(super) fn give_up_waiting(&mut self, key: SessionKey, refusal: &Refusal) {
        if let Some(waiting) = self.sessions.in_flight(key).give_up() {
            self.refuse_waiting(waiting, refusal.clone());
        }
    }

    fn refuse_waiting(&mut self, waiting: Waiting, refusal: Refusal) {
        match waiting {
            Waiting::Open(origin) => self.reply(origin, Reply::Session(Err(refusal))),
            Waiting::Close { origin, .. } => self.reply(origin, Reply::Closed(Err(refusal))),
        }
    }
}
