//! Spaces, observations, recalls and lists: what a request leads to at once.

use crate::ids::{Generation, SegmentId, SessionId, Slot, SpaceKey, StripeKey};
use crate::limits::{DIMENSION_MAX, DIMENSION_MIN, RECALLS_WAITING_MAX};
use crate::log::record::{RecordHead, RecordKind, encode_space};
use crate::message::{
    Append, Cue, IfExists, LogStatus, Made, Origin, Recall, Refusal, Reply, ShardStatus,
    SpaceDescription, StripeStatus,
};
use crate::recall::Job;
use crate::settings::SpaceSettings;
use crate::shard::engine::Shard;
use crate::shard::making::{Creation, Making};
use crate::shard::pending::{Observed, Pending, Sender};
use crate::shard::turns::Asked;
use crate::space::{Arrival, Rows, Stripe};

impl Shard {
    pub(super) fn create_space(
        &mut self,
        origin: Origin,
        settings: SpaceSettings,
        if_exists: IfExists,
    ) {
        assert!((DIMENSION_MIN..=DIMENSION_MAX).contains(&settings.dimension));
        let key = self.config.secret.space_key(&settings.name);
        if self.is_loading(key) && !planted!(LoadingUnnoticed) {
            return self.reply(origin, Reply::Space(Err(Refusal::Unavailable)));
        }
        let creation = Creation { origin, settings, if_exists };
        if let Some(making) = self.making.iter_mut().find(|making| making.space.key == key) {
            return making.waiting.push(creation);
        }
        let space = match self.known_space(key).cloned() {
            Some(space) => match creation.accept(&space) {
                Ok(()) => space,
                Err(refusal) => return self.reply(origin, Reply::Space(Err(refusal))),
            },
            None => SpaceDescription { key, settings: creation.settings.clone() },
        };
        self.make_stripes(space, creation);
    }

    /// Makes what this shard owns of the space and does not have.
    fn make_stripes(&mut self, space: SpaceDescription, creation: Creation) {
        let stripes =
            (0..space.settings.stripes).map(|stripe| StripeKey { space: space.key, stripe });
        let owned: Vec<StripeKey> = stripes.filter(|&stripe| (self.owns)(stripe)).collect();
        assert!(!owned.is_empty(), "a space is asked for where some of it lies");
        let missing: Vec<StripeKey> =
            owned.into_iter().filter(|stripe| !self.slots.contains_key(stripe)).collect();
        if missing.is_empty() {
            return self.reply(creation.origin, Reply::Space(Ok((space, Made::Before))));
        }
        let body = encode_space(&space.settings);
        self.making.push(Making {
            space,
            records_left: missing.len(),
            waiting: vec![creation],
            made: Made::Now,
            fault: None,
        });
        for stripe in missing {
            let head = RecordHead {
                stripe,
                generation: Generation(0),
                session: SessionId::NONE,
                sequence: 0,
                memory_hash: 0,
                received_at: self.now,
                kind: RecordKind::Space,
            };
            self.log_append(head, body.clone(), Pending::Space(stripe));
        }
    }

    /// The record of a stripe that is being made is durable.
    pub(super) fn settle_stripe_made(&mut self, stripe: StripeKey, segment: SegmentId) {
        let making = self.making_of(stripe);
        making.records_left -= 1;
        if !self.slots.contains_key(&stripe) {
            let settings = self.making_of(stripe).space.settings.clone();
            let SpaceSettings { dimension, metric, .. } = settings;
            let rows = Rows::new(dimension, metric, stripe_seed(stripe));
            let recall = self.config.recall_target;
            self.add_stripe(Stripe::new(stripe, settings, recall, self.config.tail, rows));
        }
        let slot = self.slots[&stripe];
        self.stripes[slot.0].record_in(segment);
        self.settle_making(stripe.space);
    }

    /// The record of a stripe that was being made is dropped.
    pub(super) fn settle_stripe_dropped(&mut self, stripe: StripeKey, refusal: &Refusal) {
        let making = self.making_of(stripe);
        making.records_left -= 1;
        making.fault = Some(refusal.clone());
        self.settle_making(stripe.space);
    }

    /// A replayed record of a stripe has to go to the log once more: whoever waits for it need not wait for that.
    pub(super) fn settle_stripe_delayed(&mut self, stripe: StripeKey, refusal: &Refusal) {
        for creation in std::mem::take(&mut self.making_of(stripe).waiting) {
            self.reply(creation.origin, Reply::Space(Err(refusal.clone())));
        }
    }

    fn making_of(&mut self, stripe: StripeKey) -> &mut Making {
        let mut making = self.making.iter_mut();
        making.find(|making| making.space.key == stripe.space).expect("it is being made")
    }

    fn settle_making(&mut self, space: SpaceKey) {
        let done = |making: &mut Making| making.space.key == space && making.records_left == 0;
        let Some(Making { space, waiting, mut made, fault, .. }) =
            self.making.extract_if(.., done).next()
        else {
            return;
        };
        for creation in waiting {
            let answer = match &fault {
                Some(refusal) => Err(refusal.clone()),
                None => creation.accept(&space).map(|()| (space.clone(), made)),
            };
            made = Made::Before;
            self.reply(creation.origin, Reply::Space(answer));
        }
    }

    pub(super) fn describe_space(&mut self, origin: Origin, space: SpaceKey) {
        let answer = match self.known_space(space) {
            Some(space) => Ok((space.clone(), Made::Before)),
            None if self.is_loading(space) => Err(Refusal::Unavailable),
            None => Err(Refusal::UnknownSpace),
        };
        self.reply(origin, Reply::Space(answer));
    }

    /// The space, if a stripe of it is here.
    fn known_space(&self, space: SpaceKey) -> Option<&SpaceDescription> {
        let from = StripeKey { space, stripe: 0 };
        let (key, slot) = self.slots.range(from..).next()?;
        (key.space == space).then(|| self.stripes[slot.0].space())
    }

    /// Whether a stripe of the space is still to be loaded.
    fn is_loading(&self, space: SpaceKey) -> bool {
        let from = StripeKey { space, stripe: 0 };
        self.loading.range(from..).next().is_some_and(|key| key.space == space)
    }

    /// What is said of a stripe that is not here.
    pub(super) fn absent(&self, stripe: StripeKey) -> Refusal {
        match self.loading.contains(&stripe) {
            true => Refusal::Unavailable,
            false => Refusal::UnknownSpace,
        }
    }

    pub(super) fn append(&mut self, origin: Origin, append: Append) {
        match self.take_over(&append) {
            Ok(observed) => self.store(origin, append, observed),
            Err(refusal) => {
                let Append { stripe, session, sequence, .. } = append;
                // There are no credits of a stripe that is not here.
                if let Some(&slot) = self.slots.get(&stripe)
                    && !planted!(CreditLost)
                {
                    self.admission.take_back(slot, 1);
                }
                let dropped = Reply::Dropped { session, first: sequence, last: sequence, refusal };
                self.reply(origin, dropped);
            }
        }
    }

    /// Finds where the observation belongs, and takes it over from its session.
    fn take_over(&mut self, append: &Append) -> Result<Observed, Refusal> {
        let absent = self.absent(append.stripe);
        let (slot, stripe) = self.stripe(append.stripe).ok_or(absent)?;
        let expected = stripe.space().settings.dimension;
        if append.codes.dimension != expected {
            return Err(Refusal::WrongDimension { expected });
        }
        let (row, rows_end) = (stripe.rows().next_row(), stripe.rows().arrived() + 1);
        if let Some(key) = Shard::session_key(append.session, append.stripe) {
            let session = self.sessions.get(key, self.now).ok_or(Refusal::UnknownSession)?;
            session.hand_over(append.epoch, append.sequence, rows_end)?;
        }
        Ok(Observed { slot, row, session: append.session, sequence: append.sequence })
    }

    fn store(&mut self, origin: Origin, append: Append, observed: Observed) {
        let head = RecordHead {
            stripe: append.stripe,
            generation: self.stripes[observed.slot.0].next_generation(),
            session: append.session,
            sequence: append.sequence,
            memory_hash: append.memory_hash,
            received_at: append.received_at,
            kind: RecordKind::Observation,
        };
        let sender = Sender { origin, lane: append.lane };
        let arrival = Arrival {
            codes: &append.codes,
            memory_hash: append.memory_hash,
            generation: head.generation,
            received_at: append.received_at,
            attributes: append.attributes,
        };
        let storing = self.storing(observed.slot, &append);
        let ordinal = self.log_append(head, append.body, Pending::Observation(observed, sender));
        storing.into_iter().for_each(|storing| self.subscribers.store(ordinal, storing));
        let row = self.stripes[observed.slot.0].push(&arrival, append.lane, ordinal);
        assert_eq!(row, observed.row, "a row gets the slot it was promised");
        self.admission.admit(append.lane);
    }

    pub(super) fn recall(&mut self, origin: Origin, recall: Recall) {
        match self.begin_recall(origin, recall) {
            Ok(asked) => self.recalls.begin(asked),
            Err(refusal) => self.reply(origin, Reply::Recalled(Err(refusal))),
        }
    }

    fn begin_recall(&mut self, origin: Origin, recall: Recall) -> Result<Asked, Refusal> {
        if self.recalls.len() >= RECALLS_WAITING_MAX {
            return Err(Refusal::TooManyRecalls);
        }
        let absent = self.absent(recall.stripe);
        let (slot, stripe) = self.stripe(recall.stripe).ok_or(absent)?;
        let expected = stripe.space().settings.dimension;
        if let Cue::Like { vector, codes } = &recall.cue {
            if vector.len() != usize::from(expected) || codes.dimension != expected {
                return Err(Refusal::WrongDimension { expected });
            }
            stripe.note_cue(codes);
        }
        let job = Job::new(recall, stripe)?;
        self.keep_up_with(slot);
        Ok(Asked::new(origin, slot, job))
    }

    /// Ends the recalls of an origin in the midst of what they do.
    pub(super) fn abandon_recalls(&mut self, origin: Origin) {
        for Asked { slot, job, .. } in self.recalls.abandon(origin) {
            self.stripes[slot.0].end_reading(job.into_reading());
            self.tally.recalls_abandoned += 1;
        }
        if self.awaits_readers() {
            self.compact();
        }
    }

    fn stripe_statuses(&self) -> impl Iterator<Item = StripeStatus> {
        let stripes = self.stripes.iter().enumerate();
        stripes.map(|(index, stripe)| stripe.status(self.admission.held(Slot(index))))
    }

    pub(super) fn status(&self) -> ShardStatus {
        let tally = &self.tally;
        ShardStatus {
            stripes: self.stripe_statuses().collect(),
            depth: self.admission.depth(),
            depth_by_lane: self.admission.depth_by_lane(),
            capacity: self.admission.capacity(),
            credits: self.admission.credits(),
            level: self.admission.level(),
            level_changes: self.admission.level_changes(),
            sessions_attached: self.sessions.attached() as u32,
            sessions: self.sessions.len() as u32,
            pending_bytes: self.log.pending_bytes(),
            commits: tally.commits,
            commit_failures_full: tally.commit_failures_full,
            commit_failures_other: tally.commit_failures_other,
            unreadable: tally.unreadable,
            recalls_bytes: self.recalls.held(),
            recalls_abandoned: tally.recalls_abandoned,
            record_cache: Box::new(self.record_cache.status()),
            checkpoints: tally.checkpoints,
            checkpoint_bytes: tally.checkpoint_bytes,
            checkpoint_failures: tally.checkpoint_failures,
            log: Box::new(LogStatus {
                file_bytes: self.log.file_bytes(),
                live_bytes: self.compacting.live().total(),
                compacted_segments: tally.compacted_segments,
                compaction_bytes: tally.compaction_bytes,
            }),
            insert_batches: tally.insert_batches,
            insert_batch_rows: tally.insert_batch_rows.clone(),
            queue_wait_micros: tally.queue_wait_micros.clone(),
            distances: tally.distances,
        }
    }
}

/// The seed of a stripe's graph: the same at every start, so that the same rows make the same graph.
pub(super) fn stripe_seed(stripe: StripeKey) -> u64 {
    stripe.space.0 ^ u64::from(stripe.stripe)
}
