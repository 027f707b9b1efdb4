//! The open end of a shard's log: batches that fill while one is on its way to the disk.

use std::collections::VecDeque;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::ids::{Location, LogId, SegmentId, Time};
use crate::limits;
use crate::log::batch::{self, BATCH_HEADER_BYTES, Placement};
use crate::log::record::{Body, RecordHead, RecordKind, record_bytes};
use crate::log::segment::{self, LogEnd, SegmentHead};
use crate::log::segments::Segments;
use crate::log::summary::Summary;
use crate::settings::AckPolicy;

/// A record's place in the order of this run, from 0; what a row holds until its record has a location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ordinal(pub u64);

/// Whether a record may take what is kept for the time when the disk is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It stores something new: it is written only while a further segment is kept.
    Storing,
    /// It is about what is there already, or gives room back in the end: it may take the last one.
    Keeping,
}

/// What the log wants of the disk. At most one is in flight, answered by [`Log::handle_done`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogIo {
    /// Keep a file of this size, its place reserved, for the next segment that is created, unless one is kept already.
    Keep {
        /// Of which log.
        log: LogId,
        /// Size to reserve, in bytes.
        bytes_total: u32,
    },
    /// Create the segment's file, of what is kept where something is: reserve `bytes_total`, write `head` at 0, sync the
    /// file, then its folder. Where that fails the file is better removed; the log never uses its number again.
    Create {
        /// The segment.
        segment: SegmentId,
        /// Size to reserve, in bytes.
        bytes_total: u32,
        /// Its first block.
        head: Vec<u8>,
    },
    /// Write `bytes` at `offset`, then sync the data where that is asked for.
    Commit {
        /// The segment.
        segment: SegmentId,
        /// Offset in it, a multiple of the block.
        offset: u32,
        /// What to write, a multiple of the block long.
        bytes: Vec<u8>,
        /// Whether the write is followed by a sync.
        sync: bool,
    },
    /// Sync all that was written to the segment.
    Sync {
        /// The segment.
        segment: SegmentId,
    },
}

/// How an I/O ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoFault {
    /// No space left on the device (or quota).
    Full,
    /// Anything else.
    Failed,
}

/// What became of the records of a commit; ordinals `first..end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to tell (a segment was created, a commit is tried anew).
    Nothing,
    /// All records before `end` were written once; those of them that are not durable will be synced later.
    Written {
        /// One past the last.
        end: Ordinal,
    },
    /// Durable. `locations[i]` is that of ordinal `first + i`.
    Durable {
        /// First ordinal.
        first: Ordinal,
        /// Where each lies now.
        locations: Vec<Location>,
        /// When; never falls.
        committed_at: Time,
    },
    /// Everything that was waiting, in flight or not, is dropped: `first..end` will never be durable by this append.
    /// (What had reached the disk of it may be found by a replay, as unproven, until the log has its next segment.)
    /// Where there is room for what may take it, that can be appended anew.
    Dropped {
        /// First ordinal.
        first: Ordinal,
        /// One past the last.
        end: Ordinal,
        /// Why.
        fault: IoFault,
        /// Those for which there is room, in order: all that are for [`Purpose::Keeping`], or none.
        kept: Vec<(RecordHead, Body)>,
    },
}

/// Where a log goes on; [`ReplayEnd::start_of`](crate::log::replay::ReplayEnd::start_of) tells it after a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogStart {
    /// Number of its next segment.
    pub next_segment: u32,
    /// Where it ends so far.
    pub end: LogEnd,
    /// Commit times are later than this.
    pub committed_at: Time,
}

impl LogStart {
    /// Of a log that has no segment yet.
    pub const NEW: LogStart =
        LogStart { next_segment: 1, end: LogEnd::NONE, committed_at: Time(0) };
}

/// The open end of one log.
#[derive(Debug)]
pub struct Log {
    log: LogId,
    shards: u16,
    incarnation_seed: u64,
    next_segment: u32,
    /// The segment that takes batches; none before the first append and after a failure.
    open: Option<OpenSegment>,
    /// Whether a further one is kept beside it.
    keeps_more: bool,
    /// Those that count, with the open one once something in it does.
    segments: Segments,
    /// Everything before this is on disk; a segment to be made will state it.
    end: LogEnd,
    committed_at: Time,
    acks: AckPolicy,
    /// What is not durable yet, in order: records that were written and wait for a sync, and then those of a commit in
    /// flight, and then the rest.
    pending: VecDeque<Pending>,
    /// Batches of the open segment that wait for a sync.
    written: VecDeque<WrittenBatch>,
    /// Records in them.
    written_records: usize,
    /// Bytes of these.
    written_bytes: u64,
    /// Batches that a sync made durable and that were not told yet.
    synced: VecDeque<WrittenBatch>,
    /// Whether a space or a session waits to be durable: they are rare, and someone waits for each.
    urgent: bool,
    /// Whether nothing may wait any more.
    draining: bool,
    pending_bytes: u64,
    /// Ordinal of the first pending record.
    first: Ordinal,
    in_flight: Option<InFlight>,
    /// Whether the first pending records were in a commit that failed; a second failure drops them.
    rewriting: bool,
    /// What the segment holds that ends the log so far; none before there is one.
    summary: Option<Summary>,
    /// The same of segments that are written no more, until it is taken.
    sealed: VecDeque<Summary>,
    /// Of the last commit.
    #[cfg(feature = "planted")]
    last_sector: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct OpenSegment {
    segment: SegmentId,
    incarnation: u64,
    earlier: LogEnd,
}

#[derive(Debug)]
struct Pending {
    head: RecordHead,
    body: Body,
    purpose: Purpose,
    appended_at: Time,
}

impl Pending {
    fn record_bytes(&self) -> u64 {
        record_bytes(self.body.bytes.len()) as u64
    }
}

/// A batch on its way.
#[derive(Clone, Copy, Debug)]
struct WrittenBatch {
    offset: u32,
    end: u32,
    record_count: usize,
    committed_at: Time,
}

#[derive(Clone, Copy, Debug)]
enum InFlight {
    Keep,
    Create(OpenSegment),
    Commit { batch: WrittenBatch, sync: bool },
    Sync,
}

impl Log {
    /// A log that goes on at `start`. The seed is another one at each start of the process.
    pub fn new(log: LogId, shards: u16, incarnation_seed: u64, start: LogStart) -> Log {
        assert!(start.end.number < start.next_segment, "segments' numbers rise");
        Log {
            log,
            shards,
            incarnation_seed,
            acks: AckPolicy::Sync,
            written: VecDeque::new(),
            written_records: 0,
            written_bytes: 0,
            synced: VecDeque::new(),
            urgent: false,
            draining: false,
            next_segment: start.next_segment,
            open: None,
            keeps_more: false,
            segments: Segments::default(),
            end: start.end,
            committed_at: start.committed_at,
            pending: VecDeque::new(),
            pending_bytes: 0,
            first: Ordinal(0),
            in_flight: None,
            rewriting: false,
            summary: None,
            sealed: VecDeque::new(),
            #[cfg(feature = "planted")]
            last_sector: Vec::new(),
        }
    }

    /// The same log, with other promises.
    pub fn with(self, acks: AckPolicy) -> Log {
        Log { acks, ..self }
    }

    /// The same log, of which these segments count.
    pub fn after(mut self, heads: impl Iterator<Item = SegmentHead>) -> Log {
        let end = self.end.number;
        let counts = heads.filter(|head| head.segment.number <= end);
        counts.for_each(|head| self.segments.add(head));
        self
    }

    /// The segments that count.
    pub fn segments(&mut self) -> &mut Segments {
        &mut self.segments
    }

    /// Those that are written no more, and were made beside as many shards as there are: all that they hold belongs to
    /// this shard's stripes.
    pub fn own_sealed(&self) -> impl Iterator<Item = SegmentId> + '_ {
        let open = self.open.map(|open| open.segment);
        let own = self.segments.whole().filter(|head| head.shards == self.shards);
        own.map(|head| head.segment).filter(move |segment| Some(*segment) != open)
    }

    /// Bytes of all files of the log that count.
    pub fn file_bytes(&self) -> u64 {
        let is_new = self.open.is_some_and(|open| !self.segments.has(open.segment));
        let more = u64::from(is_new) + u64::from(self.keeps_more);
        self.segments.file_bytes() + more * u64::from(limits::LOG_SEGMENT_BYTES)
    }

    /// Bytes that the log's files take once the open segment is full and the next one is begun, less what the open one has
    /// left: it grows evenly with what is written.
    pub fn claimed_bytes(&self) -> u64 {
        let segment = u64::from(limits::LOG_SEGMENT_BYTES);
        let is_new = self.open.is_some_and(|open| !self.segments.has(open.segment));
        let left = self.open.map_or(0, |open| segment - u64::from(self.next_offset(open)));
        // The next one, and the place that is kept behind it.
        self.segments.file_bytes() + (2 + u64::from(is_new)) * segment - left
    }

    /// How many bytes of records can be written for certain, however full the disk is; where there is no open segment, as
    /// many as a new one takes.
    pub fn room(&self) -> u64 {
        let segment = limits::LOG_SEGMENT_BYTES;
        let left = self.open.map_or(segment, |open| segment - self.next_offset(open));
        u64::from(left) + if self.keeps_more { u64::from(segment) } else { 0 }
    }

    /// The same log, whose last segment holds this.
    pub fn behind(self, summary: Option<Summary>) -> Log {
        Log { summary, ..self }
    }

    /// What a segment holds that is written no more since this was asked last.
    pub fn take_sealed(&mut self) -> Option<Summary> {
        self.sealed.pop_front()
    }

    /// Everything before this is durable; in the segment of number 0 where nothing is. What a replay found behind that may
    /// live in a cache alone, and is appended anew before anyone relies on it.
    pub fn durable_end(&self) -> (SegmentId, u32) {
        (SegmentId { log: self.log, number: self.end.number }, self.end.synced)
    }

    /// Nothing more may wait: what comes is written and synced at once.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Takes a record behind those that wait. It is durable once `handle_done` says so.
    pub fn append(&mut self, head: RecordHead, body: Body, purpose: Purpose, now: Time) -> Ordinal {
        assert!(body.bytes.len() <= limits::RECORD_BODY_BYTES_MAX as usize, "a body within limits");
        let ordinal = Ordinal(self.first.0 + self.pending.len() as u64);
        self.pending_bytes += record_bytes(body.bytes.len()) as u64;
        self.urgent |= head.kind != RecordKind::Observation;
        self.pending.push_back(Pending { head, body, purpose, appended_at: now });
        ordinal
    }

    /// The next I/O that is due, if none is in flight.
    pub fn poll(&mut self, now: Time) -> Option<LogIo> {
        if self.in_flight.is_some() {
            return None;
        }
        if self.sync_at().is_some_and(|at| at <= now) {
            return self.sync();
        }
        if self.commit_at().is_none_or(|at| at > now) {
            return None;
        }
        let (record_count, payload_bytes) = self.next_commit();
        let batch_bytes = batch::batch_bytes(payload_bytes);
        let has_room =
            |open: &OpenSegment| self.next_offset(*open) + batch_bytes <= limits::LOG_SEGMENT_BYTES;
        match self.open.filter(has_room) {
            Some(open) if self.keeps_more || !self.stores(record_count) => {
                Some(self.commit(open, record_count, payload_bytes, now))
            }
            // The next segment states for ever what was synced of this one; and what is synced is not dropped.
            _ if !self.written.is_empty() => self.sync(),
            Some(_) => {
                self.in_flight = Some(InFlight::Keep);
                Some(LogIo::Keep { log: self.log, bytes_total: limits::LOG_SEGMENT_BYTES })
            }
            None => Some(self.create()),
        }
    }

    /// Whether `poll` would begin a commit: what is appended before that may still go with it.
    pub fn is_commit_due(&self, now: Time) -> bool {
        self.in_flight.is_none() && self.commit_at().is_some_and(|at| at <= now)
    }

    /// Whether something new is among the next records.
    fn stores(&self, record_count: usize) -> bool {
        let mut records = self.pending.iter().skip(self.written_records).take(record_count);
        records.any(|pending| pending.purpose == Purpose::Storing) || planted!(RoomAwaited)
    }

    /// When `poll` has something though nothing else happens; changes with `append`, `poll`, `drain` and `handle_done`.
    pub fn deadline(&self) -> Option<Time> {
        if self.in_flight.is_some() {
            return None;
        }
        [self.commit_at(), self.sync_at()].into_iter().flatten().min()
    }

    /// When the first record that was not written is due.
    fn commit_at(&self) -> Option<Time> {
        let wait = if self.is_full() { 0 } else { limits::LOG_COMMIT_WAIT_MICROS };
        let first = self.pending.get(self.written_records);
        first.map(|pending| pending.appended_at.after_micros(wait))
    }

    /// When the first record that was written is to be synced.
    fn sync_at(&self) -> Option<Time> {
        let wait = match self.acks {
            _ if self.draining || self.urgent => 0,
            AckPolicy::Sync => 0,
            AckPolicy::Interval { micros } => micros,
            AckPolicy::Write => limits::LOG_SYNC_LATE_MICROS,
        };
        let first = self.pending.front().filter(|_| self.written_records > 0);
        first.map(|pending| pending.appended_at.after_micros(wait))
    }

    /// The I/O in flight has ended. Where a sync covered several batches, [`Log::more`] tells the further ones.
    pub fn handle_done(&mut self, result: Result<(), IoFault>) -> Outcome {
        let in_flight = self.in_flight.take().expect("an I/O ended, so one was in flight");
        let is_commit = matches!(in_flight, InFlight::Commit { .. });
        let result = if is_commit && planted!(SyncFailureIgnored) { Ok(()) } else { result };
        match (in_flight, result) {
            (InFlight::Keep, Ok(())) => {
                self.keeps_more = true;
                Outcome::Nothing
            }
            (InFlight::Keep, Err(fault)) => self.drop_all(fault, Some(Purpose::Keeping)),
            (InFlight::Create(open), Ok(())) => {
                // The head of the new one states for ever where the one before ends.
                self.sealed.extend(self.summary.take());
                self.open = Some(open);
                self.keeps_more = false;
                Outcome::Nothing
            }
            (InFlight::Create(_), Err(fault)) => self.drop_all(fault, None),
            (InFlight::Commit { batch, sync }, Ok(())) => {
                self.written.push_back(batch);
                let records = self.pending.iter().skip(self.written_records);
                let bytes = records.take(batch.record_count).map(Pending::record_bytes);
                self.written_bytes += bytes.sum::<u64>();
                self.written_records += batch.record_count;
                match sync {
                    true => self.synced(),
                    false => Outcome::Written {
                        end: Ordinal(self.first.0 + self.written_records as u64),
                    },
                }
            }
            (InFlight::Sync, Ok(())) => self.synced(),
            (InFlight::Commit { .. } | InFlight::Sync, Err(fault)) => {
                // The segment ends here for ever: a failed sync may have dropped the pages, and a second would not tell.
                self.open = None;
                self.written.clear();
                self.written_records = 0;
                self.written_bytes = 0;
                if self.rewriting {
                    return self.drop_all(fault, None);
                }
                self.rewriting = true;
                Outcome::Nothing
            }
        }
    }

    /// What else the I/O that ended last has made durable; to be called until there is nothing.
    pub fn more(&mut self) -> Option<Outcome> {
        let batch = self.synced.pop_front()?;
        Some(self.made_durable(batch))
    }

    /// The segment of the commit in flight, to be synced once more.
    #[cfg(feature = "planted")]
    pub(crate) fn sync_again(&self) -> Option<SegmentId> {
        let InFlight::Commit { .. } = self.in_flight? else { return None };
        self.open.map(|open| open.segment)
    }

    /// The body of a record that is not durable yet.
    pub fn pending_body(&self, ordinal: Ordinal) -> Option<&[u8]> {
        let index = usize::try_from(ordinal.0.checked_sub(self.first.0)?).ok()?;
        self.pending.get(index).map(|pending| &pending.body.bytes[..])
    }

    /// Bytes that wait or are in flight.
    pub fn pending_bytes(&self) -> u64 {
        self.pending_bytes
    }

    /// Whether a commit starts without waiting for more. While one is in flight more gathers, and the next takes all of
    /// it, up to its limits: so commits grow with the load by themselves.
    fn is_full(&self) -> bool {
        let waiting = self.pending.len() - self.written_records;
        self.rewriting
            || self.draining
            || waiting >= limits::LOG_COMMIT_RECORDS_MIN as usize
            || self.pending_bytes - self.written_bytes >= u64::from(limits::LOG_COMMIT_BYTES_MIN)
    }

    /// How many records the next commit covers, and their length.
    fn next_commit(&self) -> (usize, u32) {
        let mut record_count = 0;
        let mut payload_bytes = 0;
        let waiting = self.pending.iter().skip(self.written_records);
        for pending in waiting.take(limits::LOG_COMMIT_RECORDS_MAX as usize) {
            let bytes = record_bytes(pending.body.bytes.len()) as u32;
            if record_count > 0 && payload_bytes + bytes > limits::LOG_COMMIT_BYTES_MAX {
                break;
            }
            record_count += 1;
            payload_bytes += bytes;
        }
        (record_count, payload_bytes)
    }

    fn create(&mut self) -> LogIo {
        let number = self.next_segment;
        self.next_segment = number.checked_add(1).expect("2³² segments of 64 MiB are no disk");
        let open = OpenSegment {
            segment: SegmentId { log: self.log, number },
            incarnation: incarnation(self.incarnation_seed, self.log, number),
            earlier: if planted!(EndUnstated) { LogEnd::NONE } else { self.end },
        };
        let head = self.head_of(open);
        // The one before takes no more.
        self.open = None;
        self.in_flight = Some(InFlight::Create(open));
        LogIo::Create {
            segment: open.segment,
            bytes_total: limits::LOG_SEGMENT_BYTES,
            head: segment::encode(&head),
        }
    }

    fn head_of(&self, open: OpenSegment) -> SegmentHead {
        let OpenSegment { segment, incarnation, earlier } = open;
        let (shards, bytes_total) = (self.shards, limits::LOG_SEGMENT_BYTES);
        SegmentHead { segment, shards, bytes_total, incarnation, earlier }
    }

    fn commit(
        &mut self,
        open: OpenSegment,
        record_count: usize,
        payload_bytes: u32,
        now: Time,
    ) -> LogIo {
        self.committed_at = now.max(self.committed_at.after_micros(1));
        let place = Placement {
            segment: open.segment,
            incarnation: open.incarnation,
            offset: self.next_offset(open),
            synced: self.synced_of(open),
            committed_at: self.committed_at,
        };
        let records = self.pending.iter().skip(self.written_records).take(record_count);
        let records = records.map(|pending| (&pending.head, &pending.body));
        let bytes = batch::encode(&place, payload_bytes, records);
        let end = place.offset + bytes.len() as u32;
        assert!(end <= limits::LOG_SEGMENT_BYTES, "a batch that fits its segment");
        let committed_at = self.committed_at;
        let batch = WrittenBatch { offset: place.offset, end, record_count, committed_at };
        let sync = self.acks == AckPolicy::Sync || self.draining;
        self.in_flight = Some(InFlight::Commit { batch, sync });
        #[cfg(feature = "planted")]
        let (place, bytes) = self.misplaced(place, bytes, record_count);
        LogIo::Commit { segment: open.segment, offset: place.offset, bytes, sync }
    }

    fn sync(&mut self) -> Option<LogIo> {
        let open = self.open.expect("what was written lies in the open segment");
        self.in_flight = Some(InFlight::Sync);
        Some(LogIo::Sync { segment: open.segment })
    }

    /// What a planted bug writes instead of a batch.
    #[cfg(feature = "planted")]
    fn misplaced(
        &mut self,
        mut place: Placement,
        mut bytes: Vec<u8>,
        record_count: usize,
    ) -> (Placement, Vec<u8>) {
        let records = self.pending.iter().skip(self.written_records);
        let pending: Vec<_> = records.take(record_count).collect();
        let mut heads: Vec<RecordHead> = pending.iter().map(|pending| pending.head).collect();
        if planted!(RecordsSwapped) {
            let follows = |two: &[RecordHead]| {
                two[0].session.0 != 0
                    && two[0].session == two[1].session
                    && two[0].sequence > 0
                    && two[1].sequence == two[0].sequence + 1
            };
            if let Some(first) = heads.windows(2).position(follows) {
                let generation = heads[first].generation;
                heads[first].generation = heads[first + 1].generation;
                heads[first + 1].generation = generation;
            }
        }
        if planted!(GenerationSkipped) && record_count > 1 {
            let last = heads.last_mut().expect("more than one");
            last.generation.0 += u64::from(last.generation.0 > 0);
        }
        if planted!(RecordsSwapped) || planted!(GenerationSkipped) {
            let bodies = pending.iter().map(|pending| &pending.body);
            let payload_bytes =
                pending.iter().map(|pending| record_bytes(pending.body.bytes.len()) as u32).sum();
            bytes = batch::encode(&place, payload_bytes, heads.iter().zip(bodies));
        }
        if planted!(SectorShared) {
            const SECTOR_BYTES: usize = 512;
            let last = bytes[bytes.len() - SECTOR_BYTES..].to_vec();
            let earlier = std::mem::replace(&mut self.last_sector, last);
            if self.end.number == place.segment.number {
                place.offset -= SECTOR_BYTES as u32;
                bytes.splice(0..0, earlier);
            }
        }
        (place, bytes)
    }

    /// Where the next batch goes: behind the last one, or behind the head.
    fn next_offset(&self, open: OpenSegment) -> u32 {
        self.written.back().map_or_else(|| self.synced_of(open), |batch| batch.end)
    }

    /// Up to where the open segment is synced.
    fn synced_of(&self, open: OpenSegment) -> u32 {
        if self.end.number == open.segment.number {
            self.end.synced
        } else {
            limits::LOG_BLOCK_BYTES
        }
    }

    /// All that was written is durable.
    fn synced(&mut self) -> Outcome {
        self.synced.append(&mut self.written);
        self.written_records = 0;
        self.written_bytes = 0;
        self.rewriting = false;
        self.urgent = self
            .pending
            .iter()
            .skip(self.synced.iter().map(|batch| batch.record_count).sum())
            .any(|pending| pending.head.kind != RecordKind::Observation);
        self.more().expect("something was synced")
    }

    fn made_durable(&mut self, batch: WrittenBatch) -> Outcome {
        let WrittenBatch { end, record_count, committed_at, .. } = batch;
        let open = self.open.expect("a commit goes to the open segment");
        let mut offset = batch.offset + BATCH_HEADER_BYTES as u32;
        let mut locations = Vec::with_capacity(record_count);
        let OpenSegment { segment, incarnation, .. } = open;
        let summary = self.summary.get_or_insert_with(|| Summary::new(segment, incarnation));
        for pending in self.pending.drain(..record_count) {
            let bytes = record_bytes(pending.body.bytes.len()) as u32;
            locations.push(Location { segment, offset, bytes });
            self.pending_bytes -= u64::from(bytes);
            offset += bytes;
            summary.note(pending.head.stripe, offset, committed_at);
        }
        assert_eq!(
            offset.next_multiple_of(limits::LOG_BLOCK_BYTES),
            end,
            "the batch's records fill it"
        );
        if self.end.number != open.segment.number {
            self.segments.add(self.head_of(open));
        }
        self.end = LogEnd { number: open.segment.number, synced: end, live: end };
        let first = self.first;
        self.first.0 += record_count as u64;
        Outcome::Durable { first, locations, committed_at }
    }

    /// Drops what waits; of that, records of this purpose can be appended anew.
    fn drop_all(&mut self, fault: IoFault, keep: Option<Purpose>) -> Outcome {
        let first = self.first;
        self.first.0 += self.pending.len() as u64;
        let dropped = self.pending.drain(..);
        let kept = dropped.filter(|pending| Some(pending.purpose) == keep);
        let kept = kept.map(|pending| (pending.head, pending.body)).collect();
        self.pending_bytes = 0;
        self.rewriting = false;
        self.urgent = false;
        Outcome::Dropped { first, end: self.first, fault, kept }
    }
}

/// Another number for each segment of each run, which no one who sends observations can guess.
fn incarnation(seed: u64, log: LogId, number: u32) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(seed, 0x6c6f_6720_6c69_6665);
    hasher.write_u16(log.0);
    hasher.write_u32(number);
    hasher.finish()
}
