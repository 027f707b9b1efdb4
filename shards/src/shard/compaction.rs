//! Which segments count how much, and the compaction that is under way.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{Location, LogId, Row, SegmentId, Slot, Time};
use crate::limits::{
    COMPACTION_LOOK_MICROS, COMPACTION_QUIET_BYTES, COMPACTION_QUIET_MICROS,
    COMPACTION_QUIET_SHARE, COMPACTION_REST_MICROS, COMPACTION_RETRY_MICROS, COMPACTION_SHARE,
    COMPACTION_STEP_BYTES_MAX, COMPACTION_STEP_BYTES_MIN, LOG_SEGMENT_BYTES,
};
use crate::log::record::{Body, RecordHead};
use crate::log::segments::Emptying;
use crate::session::SessionKey;
use crate::shard::io::IoTicket;
use crate::shard::pace::{self, Pace};
use crate::shard::pending::{Carried, JobNumber};
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
    /// The one that comes next can wait until headroom is no more than this.
    begins_at: Option<i64>,
    /// What others write.
    others: Others,
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

/// What the log is given beside what compactions write.
#[derive(Clone, Copy, Debug, Default)]
struct Others {
    /// When it was given the last of it; nothing, where that was refused.
    at: Option<Time>,
    /// Bytes of it that became durable since the last step of a compaction began.
    bytes: u64,
}

/// Segments on their way to be emptied.
#[derive(Debug)]
pub(super) struct Job {
    number: JobNumber,
    pub(super) victims: BTreeSet<SegmentId>,
    pub(super) step: Step,
    pace: Pace,
    /// Bytes of lists of what is gone that are to be written yet, about.
    lists_bytes: u64,
    /// Records that wait for somebody else's commit, until a certain time.
    held: Vec<(RecordHead, Body, Carried)>,
    held_until: Time,
    /// When the log was given records last.
    released_at: Time,
    /// Where nobody else writes, it does nothing before.
    rests_until: Time,
    /// Records that are not durable yet, those that are held among them, …
    under_way: u32,
    /// … and bytes of the copies among them.
    copies_bytes: u64,
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
        let left = self.live.free(location);
        self.is_due |= left < WORTH_BYTES;
        if left == 0 {
            self.begins_at = None;
        }
    }

    /// The log was given a record of somebody else.
    pub(super) fn others_came(&mut self, now: Time) {
        self.others.at = Some(now);
    }

    /// So many bytes of others were committed.
    pub(super) fn others_committed(&mut self, bytes: u64) {
        self.others.bytes += bytes;
    }

    /// A step begins that copies as much: what they commit from now on, also while its records are read, is the next one's.
    pub(super) fn others_followed(&mut self) {
        self.others.bytes = 0;
    }

    /// What others gave the log is refused: they are not to be waited for.
    pub(super) fn others_dropped(&mut self) {
        self.others.at = None;
    }

    /// What may yet be written before the log's files, which claim so many bytes, are too long.
    pub(super) fn headroom(&self, log: LogId, claimed_bytes: u64) -> i64 {
        pace::headroom(claimed_bytes, self.live.of_log(log))
    }

    /// Nobody else has written for a while.
    pub(super) fn is_quiet(&self, now: Time) -> bool {
        self.quiet_at() <= now
    }

    fn quiet_at(&self) -> Time {
        self.others.at.map_or(Time(0), |at| at.after_micros(COMPACTION_QUIET_MICROS))
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

    /// These segments are to be emptied, with so many bytes of lists to be written for it.
    pub(super) fn begin(&mut self, victims: BTreeSet<SegmentId>, lists_bytes: u64, headroom: i64) {
        self.jobs += 1;
        self.begins_at = None;
        let pace = Pace::new(headroom, self.live_in(&victims) + lists_bytes);
        self.job = Some(Job {
            number: JobNumber(self.jobs),
            victims,
            step: Step::Rows(Slot(0), Row(0)),
            pace,
            lists_bytes,
            held: Vec::new(),
            held_until: Time(0),
            released_at: Time(0),
            rests_until: Time(0),
            under_way: 0,
            copies_bytes: 0,
            lists: BTreeMap::new(),
        });
    }

    /// Bytes of rows' records there.
    pub(super) fn live_in(&self, segments: &BTreeSet<SegmentId>) -> u64 {
        segments.iter().map(|segment| self.live.of(*segment)).sum()
    }

    /// Some are worth it, and to empty them takes so many bytes: it can wait until headroom is short, or until it is quiet.
    pub(super) fn wait(&mut self, rest: u64, now: Time) {
        self.begins_at = Some(pace::latest_begin(rest));
        self.look_again(now);
    }

    /// None is worth it.
    pub(super) fn rest(&mut self, now: Time) {
        self.is_due = false;
        self.begins_at = None;
        self.next_at = now.after_micros(COMPACTION_REST_MICROS);
        self.look_again(now);
    }

    /// Segments that hold what is several shards' may be worth it later.
    fn look_again(&mut self, now: Time) {
        let wait = match self.shared.is_pressing(WORTH_BYTES) {
            true => COMPACTION_RETRY_MICROS,
            false => COMPACTION_LOOK_MICROS,
        };
        self.look_at = (!self.shared.is_empty()).then(|| now.after_micros(wait));
        self.shared.forget();
    }

    /// How many bytes the job's next step writes, where that is due.
    pub(super) fn step_bytes(&self, headroom: i64, now: Time) -> u64 {
        let job = self.job.as_ref().expect("one is under way");
        let most = (job.pace.urgency() * self.others.bytes).max(COMPACTION_STEP_BYTES_MAX);
        let due = job.pace.due(headroom, self.rest_of(job));
        let due = due.clamp(COMPACTION_STEP_BYTES_MIN, most);
        if self.is_quiet(now) { due.max(COMPACTION_QUIET_BYTES) } else { due }
    }

    /// Whether its pace asks for a step.
    fn is_step_due(&self, job: &Job, headroom: i64) -> bool {
        let rest = self.rest_of(job);
        job.pace.due(headroom, rest) >= rest.min(COMPACTION_STEP_BYTES_MIN)
            || rest <= COMPACTION_STEP_BYTES_MIN
    }

    /// Bytes that the job has to write yet, about.
    fn rest_of(&self, job: &Job) -> u64 {
        (self.live_in(&job.victims) + job.lists_bytes).saturating_sub(job.copies_bytes)
    }

    /// The job has this to be written: it goes with the next commit of others, where one comes soon.
    pub(super) fn hold(&mut self, head: RecordHead, body: Body, carried: Carried, now: Time) {
        let is_quiet = self.is_quiet(now);
        let job = self.job.as_mut().expect("one is under way");
        if job.held.is_empty() {
            let wait = if is_quiet { 0 } else { COMPACTION_QUIET_MICROS };
            job.held_until = now.after_micros(wait);
        }
        match carried {
            Carried::Copy(_, from) => job.copies_bytes += u64::from(from.bytes),
            Carried::Gone(_) => {
                let bytes = body.bytes.len() as u64;
                job.lists_bytes = job.lists_bytes.saturating_sub(bytes);
            }
            _ => {}
        }
        job.under_way += 1;
        job.held.push((head, body, carried));
    }

    /// What was held, to be given to the log now.
    pub(super) fn release(&mut self, now: Time) -> Vec<(RecordHead, Body, Carried)> {
        let Some(job) = &mut self.job else { return Vec::new() };
        if !job.held.is_empty() {
            job.released_at = now;
        }
        std::mem::take(&mut job.held)
    }

    /// Whether what is held waits for others no longer.
    pub(super) fn is_held_enough(&self, now: Time) -> bool {
        self.job.as_ref().is_some_and(|job| !job.held.is_empty() && job.held_until <= now)
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

    /// When something can be done, if there is something, with so much headroom.
    pub(super) fn next_at(&self, headroom: i64) -> Option<Time> {
        if self.is_draining || self.asked.is_some() {
            return None;
        }
        match &self.job {
            None if !self.to_remove.is_empty() => Some(self.next_at),
            None if self.is_due => match self.begins_at {
                Some(begins_at) if headroom > begins_at => {
                    let quiet_at = self.quiet_at().max(self.next_at);
                    Some(self.look_at.map_or(quiet_at, |at| at.min(quiet_at)))
                }
                _ => Some(self.next_at),
            },
            None => self.look_at,
            Some(job) if !job.held.is_empty() => Some(job.held_until),
            Some(job) if !job.may_go_on() => None,
            Some(job) if self.is_step_due(job, headroom) => Some(self.next_at),
            Some(job) if !job.is_written() => None,
            Some(job) => Some(self.quiet_at().max(job.rests_until).max(self.next_at)),
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

    /// Whether all that it wrote is durable.
    pub(super) fn is_written(&self) -> bool {
        self.under_way == 0
    }

    /// One of its records is durable. Where nobody else writes, it uses a part of the time, which it measures itself.
    pub(super) fn written(&mut self, carried: Carried, now: Time) {
        if let Carried::Copy(_, from) = carried {
            self.copies_bytes -= u64::from(from.bytes);
        }
        self.under_way -= 1;
        if self.under_way == 0 {
            let took = now.micros_since(self.released_at);
            let rest = took * (COMPACTION_QUIET_SHARE - 1) / self.pace.urgency();
            self.rests_until = now.after_micros(rest);
        }
    }

    /// Whether it waits for no one else. Copies may be under way while more are made, but not once it is decided whose reads
    /// are waited for: until its copy is durable, a row is read where it was.
    fn may_go_on(&self) -> bool {
        match self.step {
            Step::Rows(..) => true,
            Step::Sessions(_) | Step::Stripes(..) => self.is_written(),
            Step::Reading(..) | Step::Readers(..) | Step::Emptying(..) => false,
        }
    }
}
