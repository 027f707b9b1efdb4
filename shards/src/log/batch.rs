//! Batches: what one commit writes.
//!
//! A batch starts on a block's boundary with a header, its records follow, zeros fill its last block. The header names
//! its own place and the file's incarnation, so that nothing from elsewhere is taken for it, and the offset up to which
//! the segment was synced before it was written, which is what tells a torn tail from corruption.

use crate::ids::{LogId, SegmentId, Time};
use crate::limits::{LOG_BLOCK_BYTES, LOG_SEGMENT_BYTES};
use crate::log::body::Body;
use crate::log::field::{crc32c, put_at, u16_at, u32_at, u64_at};
use crate::log::record::{self, RecordHead};

/// What a batch says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    /// The segment it was written to.
    pub(crate) segment: SegmentId,
    /// That segment's incarnation.
    pub(crate) incarnation: u64,
    /// Its own offset in the segment, in bytes.
    pub(crate) offset: u32,
    /// Records in it.
    pub(crate) record_count: u32,
    /// Length of its records, in bytes, without the padding behind them.
    pub(crate) payload_bytes: u32,
    /// When it was written; the commit time of its records.
    pub(crate) committed_at: Time,
    /// Everything of the segment up to this offset was synced before this batch was written.
    pub(crate) synced: u32,
    /// CRC-32C of its records' head checksums, in order.
    pub(crate) order_crc: u32,
}

pub(crate) const BATCH_MAGIC: [u8; 8] = *b"ENGRMBAT";

const MAGIC_AT: usize = 0;
const CRC_AT: usize = MAGIC_AT + 8;
const RECORD_COUNT_AT: usize = CRC_AT + 4;
const INCARNATION_AT: usize = RECORD_COUNT_AT + 4;
const LOG_AT: usize = INCARNATION_AT + 8;
const ZERO_AT: usize = LOG_AT + 2;
const NUMBER_AT: usize = ZERO_AT + 2;
const OFFSET_AT: usize = NUMBER_AT + 4;
const PAYLOAD_BYTES_AT: usize = OFFSET_AT + 4;
const COMMITTED_AT_AT: usize = PAYLOAD_BYTES_AT + 4;
const SYNCED_AT: usize = COMMITTED_AT_AT + 8;
const ORDER_CRC_AT: usize = SYNCED_AT + 4;
/// Length of a batch's header; its first record follows.
pub const BATCH_HEADER_BYTES: usize = ORDER_CRC_AT + 4;

const _: () = assert!(BATCH_HEADER_BYTES.is_multiple_of(record::RECORD_ALIGN_BYTES));

/// Length of the batch of `payload_bytes` of records, padding included.
pub(crate) const fn batch_bytes(payload_bytes: u32) -> u32 {
    (BATCH_HEADER_BYTES as u32 + payload_bytes).next_multiple_of(LOG_BLOCK_BYTES)
}

impl BatchHeader {
    /// Where the batch ends, padding included.
    pub(crate) fn end(&self) -> u32 {
        self.offset + batch_bytes(self.payload_bytes)
    }
}

/// Where and when a batch is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placement {
    /// The segment.
    pub(crate) segment: SegmentId,
    /// Its incarnation.
    pub(crate) incarnation: u64,
    /// The offset in it.
    pub(crate) offset: u32,
    /// See [`BatchHeader::synced`].
    pub(crate) synced: u32,
    /// See [`BatchHeader::committed_at`].
    pub(crate) committed_at: Time,
}

/// Builds a batch of `records`, whose lengths sum to `payload_bytes`.
pub(crate) fn encode<'a>(
    place: &Placement,
    payload_bytes: u32,
    records: impl Iterator<Item = (&'a RecordHead, &'a Body)>,
) -> Vec<u8> {
    let total = batch_bytes(payload_bytes) as usize;
    let mut bytes = Vec::with_capacity(total);
    bytes.resize(BATCH_HEADER_BYTES, 0);
    let mut head_crcs = Vec::new();
    let mut record_count = 0u32;
    for (head, body) in records {
        let head_crc = record::push(&mut bytes, head, body, place.incarnation);
        head_crcs.extend_from_slice(&head_crc.to_le_bytes());
        record_count += 1;
    }
    assert_eq!(bytes.len(), BATCH_HEADER_BYTES + payload_bytes as usize, "length of the records");
    bytes.resize(total, 0);
    put_at(&mut bytes, MAGIC_AT, BATCH_MAGIC);
    put_at(&mut bytes, RECORD_COUNT_AT, record_count.to_le_bytes());
    put_at(&mut bytes, INCARNATION_AT, place.incarnation.to_le_bytes());
    put_at(&mut bytes, LOG_AT, place.segment.log.0.to_le_bytes());
    put_at(&mut bytes, NUMBER_AT, place.segment.number.to_le_bytes());
    put_at(&mut bytes, OFFSET_AT, place.offset.to_le_bytes());
    put_at(&mut bytes, PAYLOAD_BYTES_AT, payload_bytes.to_le_bytes());
    put_at(&mut bytes, COMMITTED_AT_AT, place.committed_at.0.to_le_bytes());
    put_at(&mut bytes, SYNCED_AT, place.synced.to_le_bytes());
    put_at(&mut bytes, ORDER_CRC_AT, crc32c(&head_crcs).to_le_bytes());
    let crc = crc32c(&bytes[RECORD_COUNT_AT..BATCH_HEADER_BYTES]);
    put_at(&mut bytes, CRC_AT, crc.to_le_bytes());
    bytes
}

/// Reads the header at `offset` of the file of `segment`; `None` where there is no whole one that was written there.
/// `bytes` begin at that offset. Its records are not looked at.
pub(crate) fn decode_header(bytes: &[u8], segment: SegmentId, offset: u32) -> Option<BatchHeader> {
    let bytes = bytes.get(..BATCH_HEADER_BYTES)?;
    if bytes[MAGIC_AT..CRC_AT] != BATCH_MAGIC
        || crc32c(&bytes[RECORD_COUNT_AT..]) != u32_at(bytes, CRC_AT)
    {
        return None;
    }
    let header = BatchHeader {
        segment: SegmentId { log: LogId(u16_at(bytes, LOG_AT)), number: u32_at(bytes, NUMBER_AT) },
        incarnation: u64_at(bytes, INCARNATION_AT),
        offset: u32_at(bytes, OFFSET_AT),
        record_count: u32_at(bytes, RECORD_COUNT_AT),
        payload_bytes: u32_at(bytes, PAYLOAD_BYTES_AT),
        committed_at: Time(u64_at(bytes, COMMITTED_AT_AT)),
        synced: u32_at(bytes, SYNCED_AT),
        order_crc: u32_at(bytes, ORDER_CRC_AT),
    };
    let is_own = (header.segment == segment || planted!(OtherLifeTaken))
        && header.offset == offset
        && header.payload_bytes <= LOG_SEGMENT_BYTES - LOG_BLOCK_BYTES - BATCH_HEADER_BYTES as u32
        && header.synced <= offset;
    is_own.then_some(header)
}
