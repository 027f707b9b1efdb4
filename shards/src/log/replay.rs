//! Reads logs back, and tells a torn tail from corruption.
//!
//! A segment's head, synced before anything is written behind it, states where its log ended before. So the heads alone
//! link the segments that count; those in between are dead. In each of them:
//! - below the position that is known to have been synced (the next segment states it, and each batch does for what lies
//!   before it) everything must be as it was written, else the log is *corrupt*;
//! - a whole batch above it is *unproven*: it may have been acked, or never have reached the disk but for its cache;
//! - anything else is a *torn* tail, the rest of a write that no one was told of, and is cut.

use std::collections::BTreeMap;

use crate::ids::{Location, LogId, SegmentId, Time};
use crate::limits::LOG_BLOCK_BYTES;
use crate::log::batch::{self, BATCH_HEADER_BYTES, BATCH_MAGIC, BatchHeader};
use crate::log::field::{crc32c, is_zero};
use crate::log::log::LogStart;
use crate::log::record::{self, Record, RecordHead};
use crate::log::segment::{self, HeadFault, LogEnd, SegmentHead};

/// Why a log cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogFault {
    /// A segment of another format version.
    UnknownVersion {
        /// The segment.
        segment: SegmentId,
        /// The version it names.
        version: u32,
    },
    /// Something before a position that was once synced is not what was written.
    Corrupt {
        /// The segment.
        segment: SegmentId,
        /// Offset of the bad head, batch or record, in bytes.
        offset: u32,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A segment that others say was there is not.
    Missing(SegmentId),
}

/// A record, as the log gives it back.
///
/// Owners order records by generation. The same generation of a stripe may come twice, as an unproven record and as the
/// one that it was appended as anew; they say the same, and the one committed later counts.
#[derive(Clone, Copy, Debug)]
pub struct Replayed<'a> {
    /// Its head.
    pub head: RecordHead,
    /// Its body.
    pub body: &'a [u8],
    /// CRC-32C of its body.
    pub body_crc: u32,
    /// Where it lies.
    pub location: Location,
    /// When its batch was committed.
    pub committed_at: Time,
    /// Whether it is known to have been synced. One that is not may have been acked all the same, so its owner appends it
    /// anew, before anything else of its stripe and until that succeeds, and only then relies on it.
    pub proven: bool,
}

/// What a whole replay found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayEnd {
    /// Where each log goes on.
    logs: BTreeMap<LogId, LogStart>,
    /// The latest commit time seen.
    pub committed_at: Time,
    /// Segments that count for nothing and may be removed.
    pub empty: Vec<SegmentId>,
}

impl ReplayEnd {
    /// Where `log` goes on. Commit times go on after the latest of all logs, as stripes may have changed their owner.
    pub fn start_of(&self, log: LogId) -> LogStart {
        let start = self.logs.get(&log).copied().unwrap_or(LogStart::NEW);
        if planted!(CommitTimesRestart) {
            return start;
        }
        LogStart { committed_at: self.committed_at, ..start }
    }
}

/// How much of each segment's file [`Replay::new`] wants.
pub const HEAD_BYTES: usize = LOG_BLOCK_BYTES as usize;

/// Reads logs back: first the heads of all their segments, then each segment whole, in the order it asks for.
#[derive(Debug)]
pub struct Replay {
    logs: BTreeMap<LogId, LogStart>,
    committed_at: Time,
    empty: Vec<SegmentId>,
    /// Segments yet to be read, the next one last.
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    segment: SegmentId,
    /// None where it is damaged; then nothing may ever have been written behind it.
    head: Option<SegmentHead>,
    /// Where it ends, as the next segment states; none for the last of its log.
    end: Option<LogEnd>,
}

impl Replay {
    /// `heads` holds for every segment file its first [`HEAD_BYTES`] (fewer where the file is shorter).
    pub fn new(heads: &[(SegmentId, Vec<u8>)]) -> Result<Replay, LogFault> {
        let mut logs: BTreeMap<LogId, BTreeMap<u32, Option<SegmentHead>>> = BTreeMap::new();
        for (segment, bytes) in heads {
            let head = match segment::decode(bytes, *segment) {
                Ok(head) => Some(head),
                Err(HeadFault::Damaged) => None,
                Err(HeadFault::UnknownVersion(version)) => {
                    return Err(LogFault::UnknownVersion { segment: *segment, version });
                }
            };
            logs.entry(segment.log).or_default().insert(segment.number, head);
        }
        let mut replay = Replay {
            logs: BTreeMap::new(),
            committed_at: Time(0),
            empty: Vec::new(),
            waiting: Vec::new(),
        };
        for (log, segments) in logs.into_iter().rev() {
            replay.link(log, &segments)?;
        }
        Ok(replay)
    }

    /// Follows the heads of a log from its last segment to its first.
    fn link(
        &mut self,
        log: LogId,
        segments: &BTreeMap<u32, Option<SegmentHead>>,
    ) -> Result<(), LogFault> {
        let mut next: Option<LogEnd> = None;
        let mut last_linked = None;
        for (&number, &head) in segments.iter().rev() {
            let segment = SegmentId { log, number };
            match (next, head) {
                (Some(end), _) if end.number < number => self.empty.push(segment),
                (Some(end), _) if end.number > number => {
                    return Err(LogFault::Missing(SegmentId { log, number: end.number }));
                }
                (Some(_), None) => {
                    return Err(LogFault::Corrupt { segment, offset: 0, what: "segment head" });
                }
                (end, Some(head)) => {
                    last_linked = last_linked.or(Some(head.earlier));
                    self.waiting.push(Waiting { segment, head: Some(head), end });
                    next = Some(head.earlier);
                }
                (None, None) => self.waiting.push(Waiting { segment, head: None, end: None }),
            }
        }
        if let Some(end) = next.filter(|end| end.number != 0 && !segments.contains_key(&end.number))
        {
            return Err(LogFault::Missing(SegmentId { log, number: end.number }));
        }
        let last_number = segments.last_key_value().map_or(0, |(&number, _)| number);
        let start = LogStart {
            next_segment: last_number.saturating_add(1),
            // Until its last segment has given a batch, the log ends where that segment says.
            end: last_linked.unwrap_or(LogEnd::NONE),
            committed_at: Time(0),
        };
        self.logs.insert(log, start);
        Ok(())
    }

    /// The segment to be given next; changes with `handle_segment`.
    pub fn next(&self) -> Option<SegmentId> {
        self.waiting.last().map(|waiting| waiting.segment)
    }

    /// Takes the whole segment `next()` and visits its records in order. After a fault the replay is over.
    pub fn handle_segment(
        &mut self,
        bytes: &[u8],
        visit: &mut dyn FnMut(Replayed<'_>),
    ) -> Result<(), LogFault> {
        let waiting = self.waiting.pop().expect("a segment was asked for");
        let segment = waiting.segment;
        let Some(head) = waiting.head else {
            // A batch behind a damaged head: the head was whole when it was written.
            if highest_synced(bytes, segment, None, LOG_BLOCK_BYTES).is_some() {
                return Err(LogFault::Corrupt { segment, offset: 0, what: "segment head" });
            }
            self.empty.push(segment);
            return Ok(());
        };
        let found = read_segment(bytes, &head, waiting.end, visit)?;
        self.committed_at = self.committed_at.max(found.committed_at);
        if waiting.end.is_none() && found.end.live > LOG_BLOCK_BYTES {
            let log = self.logs.get_mut(&segment.log).expect("the log of a segment asked for");
            log.end = found.end;
        }
        Ok(())
    }

    /// Ends the replay, once `next()` is `None`.
    pub fn finish(self) -> ReplayEnd {
        assert!(self.waiting.is_empty(), "all segments were given");
        ReplayEnd { logs: self.logs, committed_at: self.committed_at, empty: self.empty }
    }
}

struct Found {
    end: LogEnd,
    committed_at: Time,
}

fn read_segment(
    bytes: &[u8],
    head: &SegmentHead,
    stated: Option<LogEnd>,
    visit: &mut dyn FnMut(Replayed<'_>),
) -> Result<Found, LogFault> {
    let segment = head.segment;
    let mut offset = LOG_BLOCK_BYTES;
    let mut committed_at = Time(0);
    // Each batch tells of those before it, so what is known to be synced rises as they are read; only where one is not
    // whole must those behind it be looked for.
    let mut synced = stated.map_or(LOG_BLOCK_BYTES, |end| end.synced);
    let live = stated.map_or(u32::MAX, |end| end.live);
    while offset < live {
        let batch = match read_batch(bytes, head, offset) {
            Ok(batch) if batch.header.end() <= live => batch,
            fault => {
                let later = offset + LOG_BLOCK_BYTES;
                if stated.is_none() {
                    let found = highest_synced(bytes, segment, Some(head.incarnation), later);
                    synced = synced.max(found.unwrap_or(0));
                }
                if offset >= synced {
                    break;
                }
                let (at, what) = fault.err().unwrap_or((offset, "batch length"));
                return Err(LogFault::Corrupt { segment, offset: at, what });
            }
        };
        let end = batch.header.end();
        if planted!(TailCutTooEarly) && stated.is_none() && read_batch(bytes, head, end).is_err() {
            break;
        }
        if stated.is_none() {
            let behind = bytes.get(end as usize..).unwrap_or(&[]);
            let next = batch::decode_header(behind, segment, end);
            let next = next.filter(|next| next.incarnation == head.incarnation);
            synced = synced.max(next.map_or(0, |next| next.synced));
        }
        let proven = end <= synced;
        committed_at = committed_at.max(batch.header.committed_at);
        for (record, location) in &batch.records {
            visit(Replayed {
                head: record.head,
                body: record.body,
                body_crc: record.body_crc,
                location: *location,
                committed_at: batch.header.committed_at,
                proven,
            });
        }
        offset = end;
    }
    let end = LogEnd { number: segment.number, synced: synced.min(offset), live: offset };
    Ok(Found { end, committed_at })
}

struct Batch<'a> {
    header: BatchHeader,
    records: Vec<(Record<'a>, Location)>,
}

/// Reads the batch at `offset`, whole; else says where what is wrong.
fn read_batch<'a>(
    bytes: &'a [u8],
    head: &SegmentHead,
    offset: u32,
) -> Result<Batch<'a>, (u32, &'static str)> {
    let from_batch = bytes.get(offset as usize..).unwrap_or(&[]);
    let header = batch::decode_header(from_batch, head.segment, offset)
        .filter(|header| header.incarnation == head.incarnation)
        .ok_or((offset, "batch header"))?;
    let batch_bytes = (header.end() - offset) as usize;
    let whole = from_batch.get(..batch_bytes).ok_or((offset, "batch cut short"))?;
    let payload_end = BATCH_HEADER_BYTES + header.payload_bytes as usize;
    let mut records = Vec::new();
    let mut head_crcs = Vec::new();
    let mut at = BATCH_HEADER_BYTES;
    while at < payload_end {
        let record_offset = offset + at as u32;
        let read = record::read_first(&whole[at..payload_end], head.incarnation);
        let (record, head_crc, length) = read.map_err(|fault| (record_offset, fault.0))?;
        let location =
            Location { segment: head.segment, offset: record_offset, bytes: length as u32 };
        records.push((record, location));
        head_crcs.extend_from_slice(&head_crc.to_le_bytes());
        at += length;
    }
    if records.len() != header.record_count as usize || crc32c(&head_crcs) != header.order_crc {
        return Err((offset, "order of the batch's records"));
    }
    if !is_zero(&whole[payload_end..]) {
        return Err((offset, "batch padding"));
    }
    Ok(Batch { header, records })
}

/// The highest position that any batch at or behind `from` says was synced; each says so at least of where it begins.
fn highest_synced(
    bytes: &[u8],
    segment: SegmentId,
    incarnation: Option<u64>,
    from: u32,
) -> Option<u32> {
    let blocks = bytes.chunks(LOG_BLOCK_BYTES as usize).enumerate();
    blocks
        .skip((from / LOG_BLOCK_BYTES) as usize)
        .filter(|(_, block)| block.starts_with(&BATCH_MAGIC))
        .filter_map(|(index, block)| {
            batch::decode_header(block, segment, index as u32 * LOG_BLOCK_BYTES)
        })
        .filter(|header| incarnation.is_none_or(|incarnation| header.incarnation == incarnation))
        .map(|header| header.synced)
        .max()
}
