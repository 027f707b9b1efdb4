//! Which segments count how much, and the compaction that is under way.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{Location, Row, SegmentId, Time};
use crate::limits::{COMPACTION_BYTES_PER_SECOND, COMPACTION_RETRY_MICROS};
use crate::log::segments::Emptying;
use crate::session::SessionKey;
use crate::shard::io::IoTicket;
use crate::shard::turns::Slot;

/// What a shard knows of its segments.
#[derive(Debug, Default)]
pub(super) struct Compacting {
    /// Bytes of the records of rows that there are, by segment.
    live: BTreeMap<SegmentId, u64>,
    /// A segment may be worth it that was not before.
    pub(super) is_due: bool,
    /// Nothing is done before.
    pub(super) next_at: Time,
    pub(super) job: Option<Job>,
    /// Segments with records that cannot be read: they are left alone in this run.
    pub(super) unreadable: BTreeSet<SegmentId>,
    /// Removals under way, of which nothing depends.
    pub(super) removing: BTreeSet<IoTicket>,
    is_draining: bool,
}

/// One segment on its way to be emptied.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) victim: SegmentId,
    pub(super) step: Step,
    /// Records that the log was given and that are not durable yet.
    pub(super) under_way: u32,
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
    /// Stripes' own records and what they tell of what is gone.
    Stripes,
    /// Nobody may read it any more who asked up to this ticket.
    Readers(IoTicket),
    /// The disk is asked to empty it.
    Emptying(IoTicket, Emptying),
}

impl Compacting {
    /// A row has its record there.
    pub(super) fn keep(&mut self, location: Location) {
        *self.live.entry(location.segment).or_default() += u64::from(location.bytes);
    }

    /// A row's record there counts no more.
    pub(super) fn free(&mut self, location: Location) {
        let live = self.live.get_mut(&location.segment).expect("what is freed was kept");
        *live -= u64::from(location.bytes);
        self.is_due = true;
    }

    /// Bytes of a segment that count.
    pub(super) fn live(&self, segment: SegmentId) -> u64 {
        self.live.get(&segment).copied().unwrap_or(0)
    }

    /// A segment is no more.
    pub(super) fn emptied(&mut self, segment: SegmentId) {
        let live = self.live.remove(&segment);
        assert_eq!(live.unwrap_or(0), 0, "nothing that counts is given up");
    }

    /// Some segment may be worth it.
    pub(super) fn consider(&mut self, now: Time) {
        self.is_due = true;
        self.next_at = self.next_at.max(now);
    }

    /// So many bytes were copied.
    pub(super) fn pace(&mut self, bytes: u64, now: Time) {
        self.next_at = now.after_micros(bytes * 1_000_000 / COMPACTION_BYTES_PER_SECOND);
    }

    /// It is tried again later.
    pub(super) fn give_up(&mut self, now: Time) {
        self.job = None;
        self.is_due = true;
        self.next_at = now.after_micros(COMPACTION_RETRY_MICROS);
    }

    /// The server stops: nothing more is begun.
    pub(super) fn drain(&mut self) {
        self.is_draining = true;
    }

    /// Whether this is the ticket of one of its own.
    #[cfg(feature = "planted")]
    pub(super) fn awaits(&self, ticket: IoTicket) -> bool {
        let step = self.job.as_ref().map(|job| &job.step);
        let is_emptying = matches!(step, Some(Step::Emptying(own, _)) if *own == ticket);
        is_emptying || self.removing.contains(&ticket)
    }

    /// Whether something can be done once it is time.
    pub(super) fn is_runnable(&self) -> bool {
        !self.is_draining
            && match &self.job {
                None => self.is_due,
                Some(job) => job.under_way == 0 && job.is_ours(),
            }
    }

    /// Bytes that count, of all segments of which some do.
    pub(super) fn all_live(&self) -> impl Iterator<Item = (SegmentId, u64)> + '_ {
        self.live.iter().map(|(segment, live)| (*segment, *live)).filter(|(_, live)| *live > 0)
    }
}

impl Job {
    /// Whether it waits for no one else.
    fn is_ours(&self) -> bool {
        matches!(self.step, Step::Rows(..) | Step::Sessions(_) | Step::Stripes)
    }
}
