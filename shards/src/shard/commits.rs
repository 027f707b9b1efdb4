//! What becomes of records when a commit ends: rows, marks and sessions move on together, and then the replies go out.

use crate::ids::{Generation, Location, SessionId, Slot, Time};
use crate::log::log::{IoFault, Ordinal, Outcome, Purpose};
use crate::log::record::{Body, RecordHead, record_bytes};
use crate::message::{Origin, Refusal, Reply};
use crate::session::SessionKey;
use crate::settings::AckPolicy;
use crate::shard::engine::Shard;
use crate::shard::pending::{Observed, Pending, Replayed};

/// Whom to tell of an observation. Sorted, those that can be told together lie side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    origin: Origin,
    session: SessionId,
    sequence: u64,
}

/// Consecutive sequences of one session and origin.
#[derive(Clone, Copy, Debug)]
struct Run {
    origin: Origin,
    session: SessionId,
    first: u64,
    last: u64,
}

impl Shard {
    pub(super) fn settle_commit(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Nothing => {}
            Outcome::Written { end } => self.settle_written(end),
            Outcome::Durable { first, locations, committed_at } => {
                assert_eq!(first, self.pending_first, "commits end in the order of their records");
                self.settle_durable(&locations, committed_at);
            }
            Outcome::Dropped { first, end, fault, kept } => {
                assert_eq!(first, self.pending_first, "commits end in the order of their records");
                assert_eq!((end.0 - first.0) as usize, self.pending.len(), "all of it is dropped");
                self.settle_dropped(end, fault, kept);
            }
        }
    }

    /// Acks what was written, where that is what acks mean.
    fn settle_written(&mut self, end: Ordinal) {
        if self.config.acks != AckPolicy::Write {
            return;
        }
        let from = self.told.max(self.pending_first).min(end);
        self.told = self.told.max(end);
        let index = |ordinal: Ordinal| (ordinal.0 - self.pending_first.0) as usize;
        let mut told = Vec::new();
        for pending in self.pending.range(index(from)..index(end)) {
            if let Pending::Observation(Observed { session, sequence, .. }, sender) = *pending {
                told.push(Told { origin: sender.origin, session, sequence });
            }
        }
        for Run { origin, session, first, last } in runs(told) {
            self.reply(origin, Reply::Durable { session, first, last, committed_at: None });
        }
    }

    fn settle_durable(&mut self, locations: &[Location], committed_at: Time) {
        self.tally.commits += 1;
        let mut told = Vec::with_capacity(locations.len());
        let mut sessions = Vec::new();
        let mut others_bytes = 0;
        for &location in locations {
            let pending = self.pending.pop_front().expect("only what is pending becomes durable");
            let is_told = self.pending_first < self.told;
            self.pending_first.0 += 1;
            if !matches!(pending, Pending::Carried(..)) {
                others_bytes += u64::from(location.bytes);
            }
            match pending {
                Pending::Observation(observed, sender) => {
                    let Observed { slot, row, session, sequence } = observed;
                    sessions.extend(self.commit_row(observed, location, committed_at));
                    let stripe = &mut self.stripes[slot.0];
                    let received_at = stripe.rows().received_at(row);
                    stripe.count_commit(sender.lane, received_at, self.now);
                    if !is_told {
                        told.push(Told { origin: sender.origin, session, sequence });
                    }
                }
                Pending::Space(stripe) => self.settle_stripe_made(stripe, location.segment),
                Pending::Carried(number, carried) => self.settle_carried(number, carried, location),
                Pending::Session(key) => {
                    let session = self.sessions.in_flight(key);
                    session.durable(0, committed_at);
                    session.tell(0, location.segment);
                    sessions.push(key);
                }
                Pending::Forget => self.settle_forget_logged(location.segment),
                Pending::Replayed(replayed) => {
                    self.unproven.commit();
                    sessions.extend(self.commit_replayed(replayed, location, committed_at));
                }
            }
        }
        if others_bytes > 0 {
            self.compacting.others_committed(others_bytes);
        }
        for Run { origin, session, first, last } in runs(told) {
            let committed_at = Some(committed_at);
            self.reply(origin, Reply::Durable { session, first, last, committed_at });
        }
        self.tell_stored(self.pending_first, committed_at);
        sessions.sort_unstable();
        sessions.dedup();
        sessions.into_iter().for_each(|key| self.settle_session(key));
        self.read_pairs();
        self.verify_forgets();
    }

    fn commit_replayed(
        &mut self,
        replayed: Replayed,
        location: Location,
        committed_at: Time,
    ) -> Option<SessionKey> {
        match replayed {
            Replayed::Observation(observed) => self.commit_row(observed, location, committed_at),
            Replayed::Space(stripe) => {
                self.settle_stripe_made(stripe, location.segment);
                None
            }
            Replayed::Session(key) => {
                let session = self.sessions.in_flight(key);
                session.durable(0, committed_at);
                session.tell(0, location.segment);
                Some(key)
            }
            Replayed::Forget(number) => {
                self.settle_forget_again(number, location.segment);
                None
            }
            Replayed::Copy(carrying, from) => {
                self.settle_copy(carrying, from, location);
                None
            }
        }
    }

    /// Raises the durable mark over a row. Gives back the session that it belongs to.
    fn commit_row(
        &mut self,
        observed: Observed,
        location: Location,
        committed_at: Time,
    ) -> Option<SessionKey> {
        let Observed { slot, row, session, sequence } = observed;
        let stripe = &mut self.stripes[slot.0];
        let was_overlong = stripe.is_overlong();
        let pair = stripe.commit(row, location, committed_at);
        self.compacting.keep(location);
        let stripe = &mut self.stripes[slot.0];
        let is_still = self.checkpoints.still() == Some(slot);
        if stripe.is_overlong() && !was_overlong && !is_still {
            self.rotation.enter(slot);
        }
        self.settle_placed(slot);
        self.keep_up_with(slot);
        self.consider_checkpoint(slot);
        if let Some(pair) = pair {
            self.verify_pair(slot, pair);
        }
        let key = Shard::session_key(session, self.stripes[slot.0].key())?;
        let session = self.sessions.in_flight(key);
        session.durable(sequence, committed_at);
        session.tell(sequence, location.segment);
        Some(key)
    }

    /// What was pending is dropped up to this ordinal, but for what can be appended anew.
    fn settle_dropped(&mut self, end: Ordinal, fault: IoFault, kept: Vec<(RecordHead, Body)>) {
        let refusal = self.count_failure(fault);
        self.compacting.others_dropped();
        let mut told = Vec::new();
        let mut slots = Vec::new();
        let mut fenced = Vec::new();
        let mut delayed = Vec::new();
        let (mut kept, mut again) = (kept.into_iter(), Vec::new());
        let first = std::mem::replace(&mut self.pending_first, end);
        for (index, pending) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            // Whoever was told that it was written is not told that it was dropped; its session is fenced all the same.
            let is_told = first.0 + (index as u64) < self.told.0;
            let is_kept = pending.purpose() == Purpose::Keeping;
            if let Some(record) = is_kept.then(|| kept.next()).flatten() {
                again.push((pending, record));
                continue;
            }
            match pending {
                Pending::Observation(Observed { slot, session, sequence, .. }, sender) => {
                    slots.push(slot);
                    fenced.extend(Shard::session_key(session, self.stripes[slot.0].key()));
                    if !is_told {
                        told.push(Told { origin: sender.origin, session, sequence });
                    }
                }
                Pending::Space(stripe) => self.settle_stripe_dropped(stripe, &refusal),
                Pending::Session(key) => fenced.push(key),
                Pending::Forget => self.settle_forget_dropped(&refusal),
                Pending::Carried(number, _) => self.settle_carried_dropped(number),
                Pending::Replayed(Replayed::Forget(_) | Replayed::Copy(..)) => {}
                Pending::Replayed(Replayed::Space(stripe)) => {
                    self.settle_stripe_delayed(stripe, &refusal)
                }
                Pending::Replayed(Replayed::Session(key)) => delayed.push(key),
                Pending::Replayed(Replayed::Observation(Observed { slot, session, .. })) => {
                    delayed.extend(Shard::session_key(session, self.stripes[slot.0].key()))
                }
            }
        }
        if again.is_empty() {
            self.unproven.drop_appended(self.now);
        }
        self.subscribers.drop_storing();
        slots.sort_unstable();
        slots.dedup();
        slots.into_iter().for_each(|slot| self.truncate(slot));
        for Run { origin, session, first, last } in runs(told) {
            let refusal = refusal.clone();
            self.reply(origin, Reply::Dropped { session, first, last, refusal });
        }
        fenced.sort_unstable();
        for records in fenced.chunk_by(|one, other| one == other) {
            self.fence_session(records[0], records.len() as u32, &refusal);
        }
        delayed.sort_unstable();
        delayed.dedup();
        delayed.into_iter().for_each(|key| self.give_up_waiting(key, &refusal));
        self.append_again(again);
    }

    /// What precedes these records is dropped, and they are not. A memory that is to be forgotten has no observations any
    /// more but those that are left: the generations of others will be given out again.
    fn append_again(&mut self, again: Vec<(Pending, (RecordHead, Body))>) {
        let mut forgets = 0;
        for (pending, (mut head, body)) in again {
            if let Pending::Forget = pending {
                let forgotten = &mut self.forgetting.logged[forgets];
                let stripe = &self.stripes[self.slots[&forgotten.stripe].0];
                let newest = Generation(stripe.next_generation().0 - 1);
                forgotten.until = forgotten.until.min(newest);
                head.generation = forgotten.until;
                forgets += 1;
            }
            self.append_pending(head, body, pending);
        }
    }

    fn count_failure(&mut self, fault: IoFault) -> Refusal {
        match fault {
            IoFault::Full => {
                self.tally.commit_failures_full += 1;
                Refusal::DiskFull
            }
            IoFault::Failed => {
                self.tally.commit_failures_other += 1;
                Refusal::Unavailable
            }
        }
    }

    /// Takes the stripe's rows that will never be durable out of the tail, and out of the recalls that saw them.
    fn truncate(&mut self, slot: Slot) {
        let stripe = &mut self.stripes[slot.0];
        self.recalls.truncate(slot, stripe.rows().kept(), stripe.rows());
        stripe.truncate().for_each(|lane| self.admission.forget(slot, lane));
        self.awaited.truncate(slot, self.stripes[slot.0].rows().arrived());
        self.tell_placed(slot);
    }

    /// Gives the log the replayed records that it does not have.
    pub(super) fn append_unproven(&mut self) {
        while let Some(record) = self.unproven.append_next() {
            let (head, body, replayed) = (record.head, record.body.clone(), record.replayed);
            self.note_uncovered(head.stripe, record_bytes(body.bytes.len()) as u64);
            self.append_pending(head, body, Pending::Replayed(replayed));
        }
    }
}

/// What can be told together. Commits hold some hundred records, mostly in order already.
fn runs(mut told: Vec<Told>) -> Vec<Run> {
    told.sort_unstable();
    let mut runs: Vec<Run> = Vec::new();
    for Told { origin, session, sequence } in told {
        match runs.last_mut() {
            Some(run)
                if (run.origin, run.session) == (origin, session) && run.last + 1 == sequence =>
            {
                run.last = sequence
            }
            _ => runs.push(Run { origin, session, first: sequence, last: sequence }),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_consecutive_sequences_of_one_session_and_origin_are_told_together() {
        let told = |origin, session, sequence| Told {
            origin: Origin(origin),
            session: SessionId(session),
            sequence,
        };
        let mixed = vec![
            told(1, 7, 1),
            told(2, 8, 4),
            told(1, 7, 2),
            told(2, 8, 6),
            told(1, 9, 3),
            told(1, 7, 3),
        ];
        let told: Vec<_> = runs(mixed)
            .into_iter()
            .map(|run| (run.origin.0, run.session.0, run.first, run.last))
            .collect();
        assert_eq!(told, [(1, 7, 1, 3), (1, 9, 3, 3), (2, 8, 4, 4), (2, 8, 6, 6)]);
    }
}
