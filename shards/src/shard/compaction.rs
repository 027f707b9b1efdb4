//! Which segments count how much, and the compaction that is under way.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{Location, Row, SegmentId, Slot, Time};
use crate::limits::{
    COMPACTION_BYTES_PER_SECOND, COMPACTION_LOOK_MICROS, COMPACTION_REST_MICROS,
    COMPACTION_RETRY_MICROS, COMPACTION_SHARE, LOG_SEGMENT_BYTES,
};
use crate::log::segments::Emptying;
use crate::session::SessionKey;
use crate::shard::io::IoTicket;
use crate::shard::shares::Shared;
use crate::shard::turns::RecallNumber;
use crate::space::{LiveBytes, Told};

/// A segment of which fewer bytes count is worth a compaction.
pub(super) const WORTH_BYTES: u64 = LOG_SEGMENT_BYTES as u64 / COMPACTION_SHARE;

/// What a shard knows of its segments.
#[derive(Debug, Default)]
pub(super) struct Compacting {
    /// Bytes of the records of rows that there are.
    live: LiveBytes,
    /// Bytes of what compactions of this run wrote beside copies of these records: lists, marks and the like. Some of it
    /// counts no more; it must not make a segment worth it that was filled just now.
    carried: BTreeMap<SegmentId, u64>,
    /// A segment may be worth it that was not before.
    is_due: bool,
    /// Nothing is done before.
    next_at: Time,
    /// How many were worth it at the last look.
    worth: u64,
    pub(super) job: Option<Job>,
    jobs: u64,
    /// Segments with records that cannot be read: they are left alone in this run.
    pub(super) unreadable: BTreeSet<SegmentId>,
    /// Segments that count for nothing and are being removed …
    pub(super) removing: BTreeMap<IoTicket, SegmentId>,
    /// … or are to be: nothing depends on it.
    pub(super) to_remove: BTreeSet<SegmentId>,
    is_draining: bool,
    /// Segments that hold what is several shards'.
    pub(super) shared: Shared,
    /// The shares of these are being told and asked for.
    pub(super) asked: Option<(IoTicket, Vec<SegmentId>)>,
    /// When they are looked at again.
    look_at: Option<Time>,
}

/// Names one compaction among those of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JobNumber(u64);

/// Segments on their way to be emptied.
#[derive(Debug)]
pub(super) struct Job {
    number: JobNumber,
    pub(super) victims: BTreeSet<SegmentId>,
    pub(super) step: Step,
    /// Records that the log was given and that are not durable yet.
    pub(super) under_way: u32,
    /// Lists of what is gone, by stripe; they count once all are durable.
    pub(super) lists: BTreeMap<Slot, Told>,
}

/// What is done next.
#[derive(Debug)]
pub(super) enum Step {
    /// Rows from this one on are looked at.
    Rows(Slot, Row),
    /// Rows before this one are being read.
    Reading(Slot, Row),
    /// Sessions behind this one are looked at.
    Sessions(Option<SessionKey>),
    /// Stripes from this one on are looked at: their own records, and what they tell of what is gone behind this
    /// generation.
    Stripes(Slot, u64),
    /// Nobody may read there any more who asked up to this ticket, and before this recall.
    Readers(IoTicket, RecallNumber),
    /// The disk is asked to empty this segment.
    Emptying(IoTicket, SegmentId, Emptying),
}

impl Compacting {
    /// A row has its record there.
    pub(super) fn keep(&mut self, location: Location) {
        self.live.keep(location);
    }

    /// Rows that were replayed or loaded have theirs there.
    pub(super) fn keep_all(&mut self, live: &LiveBytes) {
        self.live.merge(live);
    }

    /// A row's record there counts no more.
    pub(super) fn free(&mut self, location: Location) {
        self.is_due |= self.live.free(location) < WORTH_BYTES;
    }

    /// Something else than a row's record was written there.
    pub(super) fn carry(&mut self, location: Location) {
        *self.carried.entry(location.segment).or_default() += u64::from(location.bytes);
    }

    /// Of that, so much counts no more.
    pub(super) fn uncarry(&mut self, segment: SegmentId, bytes: u64) {
        if let Some(carried) = self.carried.get_mut(&segment) {
            *carried = carried.saturating_sub(bytes);
        }
    }

    /// Bytes of a segment that count.
    pub(super) fn counted(&self, segment: SegmentId) -> u64 {
        self.live.of(segment) + self.carried.get(&segment).copied().unwrap_or(0)
    }

    /// Bytes of the records of all rows.
    pub(super) fn live(&self) -> &LiveBytes {
        &self.live
    }

    /// A segment is no more.
    pub(super) fn emptied(&mut self, segment: SegmentId) {
        assert_eq!(self.live.remove(segment), 0, "nothing that counts is given up");
        self.carried.remove(&segment);
        self.shared.emptied(segment);
    }

    /// Nothing of this shard is left in the segments of the job that hold what is several shards'. Whether it has others.
    pub(super) fn leave_shared(&mut self) -> bool {
        let Compacting { job, shared, live, .. } = self;
        let job = job.as_mut().expect("one is under way");
        let leaving: Vec<_> = job.victims.extract_if(.., |segment| shared.has(*segment)).collect();
        for segment in leaving {
            assert_eq!(live.of(segment), 0, "nothing that counts is left behind");
            shared.leave(segment);
        }
        !job.victims.is_empty()
    }

    /// Some segment may be worth it.
    pub(super) fn consider(&mut self, now: Time) {
        self.is_due = true;
        self.next_at = self.next_at.max(now);
    }

    /// These segments are to be emptied, of so many that are worth it.
    pub(super) fn begin(&mut self, victims: BTreeSet<SegmentId>, worth: usize) {
        self.jobs += 1;
        self.worth = worth as u64;
        self.job = Some(Job {
            number: JobNumber(self.jobs),
            victims,
            step: Step::Rows(Slot(0), Row(0)),
            under_way: 0,
            lists: BTreeMap::new(),
        });
    }

    /// None is worth it.
    pub(super) fn rest(&mut self, now: Time) {
        self.is_due = false;
        self.next_at = now.after_micros(COMPACTION_REST_MICROS);
        let wait = match self.shared.is_pressing(WORTH_BYTES) {
            true => COMPACTION_RETRY_MICROS,
            false => COMPACTION_LOOK_MICROS,
        };
        self.look_at = (!self.shared.is_empty()).then(|| now.after_micros(wait));
        self.shared.forget();
    }

    /// So many bytes were copied.
    pub(super) fn pace(&mut self, bytes: u64, now: Time) {
        let rate = COMPACTION_BYTES_PER_SECOND * self.worth.max(1);
        self.next_at = now.after_micros(bytes * 1_000_000 / rate);
    }

    /// It is tried again later.
    pub(super) fn give_up(&mut self, now: Time) {
        self.job = None;
        self.is_due = true;
        self.shared.forget();
        self.retry(now);
    }

    /// What was tried last is tried again later.
    pub(super) fn retry(&mut self, now: Time) {
        self.next_at = self.next_at.max(now.after_micros(COMPACTION_RETRY_MICROS));
    }

    /// The server stops: nothing more is begun.
    pub(super) fn drain(&mut self) {
        self.is_draining = true;
    }

    /// The compaction of this number, if it is still under way.
    pub(super) fn job_of(&mut self, number: JobNumber) -> Option<&mut Job> {
        self.job.as_mut().filter(|job| job.number == number)
    }

    /// When something can be done, if there is something.
    pub(super) fn next_at(&self) -> Option<Time> {
        if self.is_draining || self.asked.is_some() {
            return None;
        }
        match &self.job {
            None if self.is_due || !self.to_remove.is_empty() => Some(self.next_at),
            None => self.look_at,
            Some(job) => (job.under_way == 0 && job.is_ours()).then_some(self.next_at),
        }
    }

    /// Whether this is the ticket of one of its own.
    #[cfg(feature = "planted")]
    pub(super) fn awaits(&self, ticket: IoTicket) -> bool {
        let step = self.job.as_ref().map(|job| &job.step);
        let is_emptying = matches!(step, Some(Step::Emptying(own, ..)) if *own == ticket);
        let is_asked = self.asked.as_ref().is_some_and(|(asked, _)| *asked == ticket);
        is_emptying || is_asked || self.removing.contains_key(&ticket)
    }
}

impl Job {
    /// Which one it is.
    pub(super) fn number(&self) -> JobNumber {
        self.number
    }

    /// Whether it waits for no one else.
    fn is_ours(&self) -> bool {
        matches!(self.step, Step::Rows(..) | Step::Sessions(_) | Step::Stripes(..))
    }
}
