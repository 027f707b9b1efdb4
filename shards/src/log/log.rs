//! The open end of a shard's log: batches that fill while one is on its way to the disk.

use std::collections::VecDeque;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::ids::{Location, LogId, SegmentId, Time};
use crate::limits;
use crate::log::batch::{self, BATCH_HEADER_BYTES, Placement};
use crate::log::record::{Body, RecordHead, record_bytes};
use crate::log::segment::{self, LogEnd, SegmentHead};

/// A record's place in the order of this run, from 0; what a row holds until its record has a location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ordinal(pub u64);

/// What the log wants of the disk. At most one is in flight, answered by [`Log::handle_done`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogIo {
    /// Create the segment's file, reserve `bytes_total`, write `head` at 0, sync the file, then its folder. Where that
    /// fails the file is better removed; the log never uses its number again.
    Create {
        /// The segment.
        segment: SegmentId,
        /// Size to reserve, in bytes.
        bytes_total: u32,
        /// Its first block.
        head: Vec<u8>,
    },
    /// Write `bytes` at `offset`, then sync the data.
    Commit {
        /// The segment.
        segment: SegmentId,
        /// Offset in it, a multiple of the block.
        offset: u32,
        /// What to write, a multiple of the block long.
        bytes: Vec<u8>,
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
    Dropped {
        /// First ordinal.
        first: Ordinal,
        /// One past the last.
        end: Ordinal,
        /// Why.
        fault: IoFault,
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
    /// Everything before this is on disk; a segment to be made will state it.
    end: LogEnd,
    committed_at: Time,
    /// What is not durable yet, in order; a commit in flight covers its first records.
    pending: VecDeque<Pending>,
    pending_bytes: u64,
    /// Ordinal of the first pending record.
    first: Ordinal,
    in_flight: Option<InFlight>,
    /// Whether the first pending records were in a commit that failed; a second failure drops them.
    rewriting: bool,
    /// Of the last commit.
    #[cfg(feature = "planted")]
    last_sector: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct OpenSegment {
    segment: SegmentId,
    incarnation: u64,
}

#[derive(Debug)]
struct Pending {
    head: RecordHead,
    body: Body,
    appended_at: Time,
}

#[derive(Clone, Copy, Debug)]
enum InFlight {
    Create(OpenSegment),
    Commit { record_count: usize, end: u32 },
}

impl Log {
    /// A log that goes on at `start`. The seed is another one at each start of the process.
    pub fn new(log: LogId, shards: u16, incarnation_seed: u64, start: LogStart) -> Log {
        assert!(start.end.number < start.next_segment, "segments' numbers rise");
        Log {
            log,
            shards,
            incarnation_seed,
            next_segment: start.next_segment,
            open: None,
            end: start.end,
            committed_at: start.committed_at,
            pending: VecDeque::new(),
            pending_bytes: 0,
            first: Ordinal(0),
            in_flight: None,
            rewriting: false,
            #[cfg(feature = "planted")]
            last_sector: Vec::new(),
        }
    }

    /// Takes a record behind those that wait. It is durable once `handle_done` says so.
    pub fn append(&mut self, head: RecordHead, body: Body, now: Time) -> Ordinal {
        assert!(body.bytes.len() <= limits::RECORD_BODY_BYTES_MAX as usize, "a body within limits");
        let ordinal = Ordinal(self.first.0 + self.pending.len() as u64);
        self.pending_bytes += record_bytes(body.bytes.len()) as u64;
        self.pending.push_back(Pending { head, body, appended_at: now });
        ordinal
    }

    /// The next I/O that is due, if none is in flight.
    pub fn poll(&mut self, now: Time) -> Option<LogIo> {
        if self.in_flight.is_some() || !self.is_due(now) {
            return None;
        }
        let (record_count, payload_bytes) = self.next_commit();
        let batch_bytes = batch::batch_bytes(payload_bytes);
        let has_room =
            |open: &OpenSegment| self.next_offset(*open) + batch_bytes <= limits::LOG_SEGMENT_BYTES;
        let open = self.open.filter(has_room);
        Some(match open {
            Some(open) => self.commit(open, record_count, payload_bytes, now),
            None => self.create(),
        })
    }

    /// When `poll` has something though nothing else happens; changes with `append`, `poll` and `handle_done`.
    pub fn deadline(&self) -> Option<Time> {
        if self.in_flight.is_some() {
            return None;
        }
        let wait = if self.is_full() { 0 } else { limits::LOG_COMMIT_WAIT_MICROS };
        self.pending.front().map(|pending| pending.appended_at.after_micros(wait))
    }

    /// The I/O in flight has ended.
    pub fn handle_done(&mut self, result: Result<(), IoFault>) -> Outcome {
        let in_flight = self.in_flight.take().expect("an I/O ended, so one was in flight");
        match (in_flight, result) {
            (InFlight::Create(open), Ok(())) => {
                self.open = Some(open);
                Outcome::Nothing
            }
            (InFlight::Create(_), Err(fault)) => self.drop_all(fault),
            (InFlight::Commit { record_count, end }, Ok(())) => {
                self.made_durable(record_count, end)
            }
            (InFlight::Commit { record_count, end }, Err(_)) if planted!(SyncFailureIgnored) => {
                self.made_durable(record_count, end)
            }
            (InFlight::Commit { .. }, Err(fault)) => {
                // The segment ends here for ever: a failed sync may have dropped the pages, and a second would not tell.
                self.open = None;
                if self.rewriting {
                    return self.drop_all(fault);
                }
                self.rewriting = true;
                Outcome::Nothing
            }
        }
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

    fn is_due(&self, now: Time) -> bool {
        self.pending.front().is_some_and(|first| {
            self.is_full() || now.micros_since(first.appended_at) >= limits::LOG_COMMIT_WAIT_MICROS
        })
    }

    /// Whether a commit starts without waiting for more. While one is in flight more gathers, and the next takes all of
    /// it, up to its limits: so commits grow with the load by themselves.
    fn is_full(&self) -> bool {
        self.rewriting
            || self.pending.len() >= limits::LOG_COMMIT_RECORDS_MIN as usize
            || self.pending_bytes >= u64::from(limits::LOG_COMMIT_BYTES_MIN)
    }

    /// How many records the next commit covers, and their length.
    fn next_commit(&self) -> (usize, u32) {
        let mut record_count = 0;
        let mut payload_bytes = 0;
        for pending in self.pending.iter().take(limits::LOG_COMMIT_RECORDS_MAX as usize) {
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
        };
        let head = SegmentHead {
            segment: open.segment,
            shards: self.shards,
            bytes_total: limits::LOG_SEGMENT_BYTES,
            incarnation: open.incarnation,
            earlier: if planted!(EndUnstated) { LogEnd::NONE } else { self.end },
        };
        // The one before takes no more.
        self.open = None;
        self.in_flight = Some(InFlight::Create(open));
        LogIo::Create {
            segment: open.segment,
            bytes_total: limits::LOG_SEGMENT_BYTES,
            head: segment::encode(&head),
        }
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
            committed_at: self.committed_at,
        };
        let records = self.pending.iter().take(record_count);
        let records = records.map(|pending| (&pending.head, &pending.body));
        let bytes = batch::encode(&place, payload_bytes, records);
        let end = place.offset + bytes.len() as u32;
        assert!(end <= limits::LOG_SEGMENT_BYTES, "a batch that fits its segment");
        self.in_flight = Some(InFlight::Commit { record_count, end });
        #[cfg(feature = "planted")]
        let (place, bytes) = self.misplaced(place, bytes, record_count);
        LogIo::Commit { segment: open.segment, offset: place.offset, bytes }
    }

    /// What a planted bug writes instead of a batch.
    #[cfg(feature = "planted")]
    fn misplaced(
        &mut self,
        mut place: Placement,
        mut bytes: Vec<u8>,
        record_count: usize,
    ) -> (Placement, Vec<u8>) {
        let pending: Vec<_> = self.pending.iter().take(record_count).collect();
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
        if self.end.number == open.segment.number {
            self.end.synced
        } else {
            limits::LOG_BLOCK_BYTES
        }
    }

    fn made_durable(&mut self, record_count: usize, end: u32) -> Outcome {
        let open = self.open.expect("a commit goes to the open segment");
        let mut offset = self.next_offset(open) + BATCH_HEADER_BYTES as u32;
        let mut locations = Vec::with_capacity(record_count);
        for pending in self.pending.drain(..record_count) {
            let bytes = record_bytes(pending.body.bytes.len()) as u32;
            locations.push(Location { segment: open.segment, offset, bytes });
            self.pending_bytes -= u64::from(bytes);
            offset += bytes;
        }
        assert_eq!(
            offset.next_multiple_of(limits::LOG_BLOCK_BYTES),
            end,
            "the batch's records fill it"
        );
        self.end = LogEnd { number: open.segment.number, synced: end, live: end };
        self.rewriting = false;
        let first = self.first;
        self.first.0 += record_count as u64;
        Outcome::Durable { first, locations, committed_at: self.committed_at }
    }

    fn drop_all(&mut self, fault: IoFault) -> Outcome {
        let first = self.first;
        self.first.0 += self.pending.len() as u64;
        self.pending.clear();
        self.pending_bytes = 0;
        self.open = None;
        self.rewriting = false;
        Outcome::Dropped { first, end: self.first, fault }
    }
}

/// Another number for each segment of each run, which no one who sends observations can guess.
fn incarnation(seed: u64, log: LogId, number: u32) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(seed, 0x6c6f_6720_6c69_6665);
    hasher.write_u16(log.0);
    hasher.write_u32(number);
    hasher.finish()
}
