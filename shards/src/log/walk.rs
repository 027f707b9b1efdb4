//! Reads one segment from its first batch to its end, a piece at a time: what is whole, what is damaged, what is cut.
//!
//! A replay stops at the first damage. Who looks on finds every record that is still sound: behind a record that is not,
//! the next one is looked for by its checksum, which is mixed with the segment's incarnation, so that nothing that a
//! client sent is taken for one.

use std::ops::ControlFlow;

use crate::ids::{Location, SegmentId, Time};
use crate::limits::{
    LOG_BLOCK_BYTES, LOG_COMMIT_BYTES_MAX, LOG_SEGMENT_BYTES, RECORD_BODY_BYTES_MAX,
};
use crate::log::batch::{self, BATCH_HEADER_BYTES, BATCH_MAGIC, BatchHeader};
use crate::log::field::{crc32c, is_zero};
use crate::log::record::{self, RECORD_ALIGN_BYTES, Record, RecordHead, record_bytes};
use crate::log::segment::{LogEnd, SegmentHead};

/// Where the bytes of one segment come from.
pub trait Source {
    /// The `bytes` at `offset`, fewer where the file ends before.
    fn at(&mut self, offset: u32, bytes: u32) -> &[u8];
}

impl Source for &[u8] {
    fn at(&mut self, offset: u32, bytes: u32) -> &[u8] {
        let rest = self.get(offset as usize..).unwrap_or(&[]);
        &rest[..rest.len().min(bytes as usize)]
    }
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

/// A batch that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WholeBatch {
    /// Its offset in the segment.
    pub offset: u32,
    /// Its length, padding included.
    pub bytes: u32,
    /// Records in it.
    pub record_count: u32,
    /// When it was committed.
    pub committed_at: Time,
    /// Up to which offset the segment was synced before it was written.
    pub synced: u32,
    /// Whether it is known to have been synced itself.
    pub proven: bool,
}

/// What comes next in a segment.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// A whole batch; its records follow.
    Batch(WholeBatch),
    /// A sound record, of the last batch or out of a damaged one. Where its batch's header is lost, its commit time is
    /// that of the batch before.
    Record(Replayed<'a>),
    /// Something that was once synced and is not what was written.
    Damage {
        /// Offset of the batch or record, in bytes.
        offset: u32,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// What a walk to the end of a segment found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentEnd {
    /// Where what counts ends.
    pub end: LogEnd,
    /// The latest commit time.
    pub committed_at: Time,
}

/// Reads one segment.
pub struct Walk<'a> {
    source: &'a mut dyn Source,
    head: SegmentHead,
    synced: u32,
    live: u32,
    committed_at: Time,
}

/// What is known of a segment's end before it is read: what another segment states, else what its batches say of each
/// other. A segment that is being written goes on behind that; what is below does not change any more.
pub fn end_of(source: &mut dyn Source, head: &SegmentHead, stated: Option<LogEnd>) -> LogEnd {
    stated.unwrap_or_else(|| {
        let synced = highest_synced(source, head.segment, Some(head.incarnation));
        let synced = synced.unwrap_or(LOG_BLOCK_BYTES);
        LogEnd { number: head.segment.number, synced, live: u32::MAX }
    })
}

/// The head of a segment whose first block is damaged, as far as the batches behind it tell; none if there is none.
pub fn lost_head(source: &mut dyn Source, segment: SegmentId) -> Option<SegmentHead> {
    let header = headers(source, segment, LOG_BLOCK_BYTES, LOG_SEGMENT_BYTES).next()?;
    Some(SegmentHead {
        segment,
        shards: 0,
        bytes_total: LOG_SEGMENT_BYTES,
        incarnation: header.incarnation,
        earlier: LogEnd::NONE,
    })
}

/// Whether the rest of a write lies behind the end of what counts in a segment: a header or a record of this life of its
/// file. What else there is, an earlier life left.
pub fn is_torn(source: &mut dyn Source, head: &SegmentHead, end: u32) -> bool {
    let mut later = headers(source, head.segment, end, LOG_SEGMENT_BYTES);
    if later.any(|header| header.incarnation == head.incarnation) {
        return true;
    }
    drop(later);
    // The write may have lost the sector of its header.
    let until = LOG_SEGMENT_BYTES.min(end + LOG_COMMIT_BYTES_MAX);
    let mut records = (end..until).step_by(RECORD_ALIGN_BYTES);
    records.any(|at| {
        let bytes = source.at(at, record::RECORD_HEAD_BYTES as u32);
        record::length_of_sound_head(bytes, head.incarnation).is_some()
    })
}

type Visit<'v> = &'v mut dyn FnMut(Found<'_>) -> ControlFlow<()>;

impl<'a> Walk<'a> {
    /// `end` as [`end_of`] gives it.
    pub fn new(source: &'a mut dyn Source, head: &SegmentHead, end: LogEnd) -> Walk<'a> {
        let LogEnd { synced, live, .. } = end;
        Walk { source, head: *head, synced, live, committed_at: Time(0) }
    }

    /// Visits all there is, in order. Ends early where the visitor breaks; then the end says nothing.
    pub fn run(mut self, visit: Visit<'_>) -> SegmentEnd {
        let mut offset = LOG_BLOCK_BYTES;
        while offset < self.live {
            #[cfg(feature = "planted")]
            if planted!(TailCutTooEarly) && self.live == u32::MAX && self.is_last(offset) {
                break;
            }
            let fault = match self.visit_whole(offset, visit) {
                Ok(ControlFlow::Continue(end)) => {
                    offset = end;
                    continue;
                }
                Ok(ControlFlow::Break(())) => break,
                Err(fault) => fault,
            };
            if offset >= self.synced || planted!(DamageCut) {
                break;
            }
            match self.visit_damaged(offset, fault, visit) {
                ControlFlow::Continue(end) => offset = end,
                ControlFlow::Break(()) => break,
            }
        }
        let number = self.head.segment.number;
        let end = LogEnd { number, synced: self.synced.min(offset), live: offset };
        SegmentEnd { end, committed_at: self.committed_at }
    }

    /// Whether the batch at `offset` is whole, and no other behind it.
    #[cfg(feature = "planted")]
    fn is_last(&mut self, offset: u32) -> bool {
        let end = read_batch(self.source, &self.head, offset).map(|batch| batch.header.end());
        end.is_ok_and(|end| read_batch(self.source, &self.head, end).is_err())
    }

    /// Visits the batch at `offset` if it is whole; gives its end, else where what is wrong.
    fn visit_whole(
        &mut self,
        offset: u32,
        visit: Visit<'_>,
    ) -> Result<ControlFlow<(), u32>, (u32, &'static str)> {
        let Batch { header, records } = read_batch(self.source, &self.head, offset)?;
        let end = header.end();
        if end > self.live {
            return Err((offset, "batch length"));
        }
        let BatchHeader { record_count, committed_at, synced, .. } = header;
        let proven = end <= self.synced;
        self.committed_at = self.committed_at.max(committed_at);
        let bytes = end - offset;
        let whole = WholeBatch { offset, bytes, record_count, committed_at, synced, proven };
        if visit(Found::Batch(whole)).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        for (record, location) in records {
            let record = replayed(&record, location, committed_at, proven);
            if visit(Found::Record(record)).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(end))
    }

    /// Tells what is damaged of the batch at `offset`, and visits what is sound. Gives where the next batch begins.
    fn visit_damaged(
        &mut self,
        offset: u32,
        (at, what): (u32, &'static str),
        visit: Visit<'_>,
    ) -> ControlFlow<(), u32> {
        let header = own_header(self.source, &self.head, offset);
        let header = header.filter(|header| header.end() <= self.live);
        let end = match &header {
            Some(header) => header.end(),
            None => self.next_batch(offset + LOG_BLOCK_BYTES),
        };
        // What is wrong with a record is told when its turn comes.
        if at == offset {
            visit(Found::Damage { offset, what })?;
        }
        let stated = header.map_or(Time(0), |header| header.committed_at);
        self.committed_at = self.committed_at.max(stated);
        let first = offset + BATCH_HEADER_BYTES as u32;
        let records_end = header.map_or(end, |header| first + header.payload_bytes);
        self.visit_records(first, records_end, visit)?;
        ControlFlow::Continue(end)
    }

    /// Where the next batch begins of which there is a header; the end of what was synced if there is none.
    fn next_batch(&mut self, from: u32) -> u32 {
        let (head, live) = (self.head, self.live);
        let mut headers = headers(self.source, head.segment, from, live.min(LOG_SEGMENT_BYTES));
        let next = headers.find(|header| header.incarnation == head.incarnation);
        next.map_or(self.synced.max(from), |header| header.offset)
    }

    /// Visits the sound records between two offsets, and tells of what lies between them.
    fn visit_records(&mut self, from: u32, end: u32, visit: Visit<'_>) -> ControlFlow<()> {
        let Walk { head, committed_at, .. } = *self;
        let mut offset = from;
        while offset < end {
            let bytes = self.source.at(offset, (end - offset).min(RECORD_BYTES_MAX));
            if is_zero(bytes) && end - offset < LOG_BLOCK_BYTES {
                break;
            }
            match record::read_first(bytes, head.incarnation) {
                Ok((record, _, length)) => {
                    let (segment, bytes) = (head.segment, length as u32);
                    let location = Location { segment, offset, bytes };
                    visit(Found::Record(replayed(&record, location, committed_at, true)))?;
                    offset += bytes;
                }
                Err(fault) => {
                    visit(Found::Damage { offset, what: fault.0 })?;
                    offset = self.next_record(offset, end);
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Where behind the damaged record at `offset` another one begins; `end` if there is none.
    fn next_record(&mut self, offset: u32, end: u32) -> u32 {
        let incarnation = self.head.incarnation;
        let damaged = self.source.at(offset, (end - offset).min(RECORD_BYTES_MAX));
        // A sound head tells how long its damaged body is.
        if let Some(length) = record::length_of_sound_head(damaged, incarnation) {
            return end.min(offset + length as u32);
        }
        let mut at = offset + RECORD_ALIGN_BYTES as u32;
        while at < end {
            let bytes = self.source.at(at, (end - at).min(record::RECORD_HEAD_BYTES as u32));
            if record::length_of_sound_head(bytes, incarnation).is_some() {
                return at;
            }
            at += RECORD_ALIGN_BYTES as u32;
        }
        end
    }
}

/// Length of the longest record.
const RECORD_BYTES_MAX: u32 = record_bytes(RECORD_BODY_BYTES_MAX as usize) as u32;

fn replayed<'a>(
    record: &Record<'a>,
    location: Location,
    committed_at: Time,
    proven: bool,
) -> Replayed<'a> {
    let Record { head, body, body_crc } = *record;
    Replayed { head, body, body_crc, location, committed_at, proven }
}

struct Batch<'a> {
    header: BatchHeader,
    records: Vec<(Record<'a>, Location)>,
}

/// Reads the batch at `offset`, whole; else says where what is wrong.
fn read_batch<'a>(
    source: &'a mut dyn Source,
    head: &SegmentHead,
    offset: u32,
) -> Result<Batch<'a>, (u32, &'static str)> {
    let header = own_header(source, head, offset).ok_or((offset, "batch header"))?;
    let batch_bytes = header.end() - offset;
    let whole = source.at(offset, batch_bytes);
    if whole.len() < batch_bytes as usize {
        return Err((offset, "batch cut short"));
    }
    let payload_end = BATCH_HEADER_BYTES + header.payload_bytes as usize;
    let mut records = Vec::new();
    let mut head_crcs = Vec::new();
    let mut at = BATCH_HEADER_BYTES;
    while at < payload_end {
        let record_offset = offset + at as u32;
        let read = record::read_first(&whole[at..payload_end], header.incarnation);
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

/// The header at `offset`, if it is whole and of this life of the file.
fn own_header(source: &mut dyn Source, head: &SegmentHead, offset: u32) -> Option<BatchHeader> {
    let bytes = source.at(offset, BATCH_HEADER_BYTES as u32);
    let header = batch::decode_header(bytes, head.segment, offset)?;
    let is_own = header.incarnation == head.incarnation || planted!(OtherLifeTaken);
    is_own.then_some(header)
}

/// All whole headers of a segment between two offsets, of whatever life of the file.
fn headers(
    source: &mut dyn Source,
    segment: SegmentId,
    from: u32,
    until: u32,
) -> impl Iterator<Item = BatchHeader> {
    let mut offsets = (from..until).step_by(LOG_BLOCK_BYTES as usize);
    std::iter::from_fn(move || {
        for offset in offsets.by_ref() {
            let bytes = source.at(offset, BATCH_HEADER_BYTES as u32);
            if bytes.is_empty() {
                return None;
            }
            if bytes.starts_with(&BATCH_MAGIC)
                && let Some(header) = batch::decode_header(bytes, segment, offset)
            {
                return Some(header);
            }
        }
        None
    })
}

/// The highest position that any batch says was synced; each says so at least of where it begins.
pub(crate) fn highest_synced(
    source: &mut dyn Source,
    segment: SegmentId,
    incarnation: Option<u64>,
) -> Option<u32> {
    let incarnation = incarnation.filter(|_| !planted!(OtherLifeTaken));
    headers(source, segment, LOG_BLOCK_BYTES, LOG_SEGMENT_BYTES)
        .filter(|header| incarnation.is_none_or(|incarnation| header.incarnation == incarnation))
        .map(|header| header.synced)
        .max()
}
