//! A segment's first block: what it is, and where the log ended before it.

use crate::ids::{LogId, SegmentId};
use crate::limits::LOG_BLOCK_BYTES;
use crate::log::field::{crc32c, is_zero, put_at, u16_at, u32_at, u64_at};

/// Where a log ends, as its next segment states it for ever. What lies in the log beyond `live`, in this segment or in
/// others before the one that states it, is dead: left by writes that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogEnd {
    /// Number of the segment that ends the log so far; 0 where it has none yet.
    pub number: u32,
    /// Offset in it up to which everything was synced: what is not whole below is corrupt.
    pub synced: u32,
    /// Offset up to which batches count where they are whole; above `synced` if a replay found one there of which no one
    /// knows whether it was synced.
    pub live: u32,
}

impl LogEnd {
    /// A log that has no segment yet.
    pub const NONE: LogEnd = LogEnd { number: 0, synced: 0, live: 0 };
}

/// What a segment's file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHead {
    /// Which segment it is.
    pub segment: SegmentId,
    /// How many shards ran when it was made.
    pub shards: u16,
    /// Size of the file, in bytes.
    pub bytes_total: u32,
    /// Which life of the file this is: what an earlier one left behind carries another number.
    pub incarnation: u64,
    /// Where the log ended when it was made.
    pub earlier: LogEnd,
}

impl SegmentHead {
    /// Whether it is all that is left of the segment: a compaction has taken what counted in it elsewhere.
    pub fn is_emptied(&self) -> bool {
        self.bytes_total == LOG_BLOCK_BYTES
    }
}

/// The format that is written, and the only one read.
pub const FORMAT_VERSION: u32 = 1;
pub(crate) const SEGMENT_MAGIC: [u8; 8] = *b"ENGRMSEG";

const MAGIC_AT: usize = 0;
const VERSION_AT: usize = MAGIC_AT + 8;
const SHARDS_AT: usize = VERSION_AT + 4;
const LOG_AT: usize = SHARDS_AT + 2;
const NUMBER_AT: usize = LOG_AT + 2;
const BYTES_TOTAL_AT: usize = NUMBER_AT + 4;
const INCARNATION_AT: usize = BYTES_TOTAL_AT + 4;
const EARLIER_NUMBER_AT: usize = INCARNATION_AT + 8;
const EARLIER_SYNCED_AT: usize = EARLIER_NUMBER_AT + 4;
const EARLIER_LIVE_AT: usize = EARLIER_SYNCED_AT + 4;
const CRC_AT: usize = EARLIER_LIVE_AT + 4;
/// Length of what a segment's first block says; the rest of the block is zero.
pub const SEGMENT_HEAD_BYTES: usize = CRC_AT + 4;

/// Why a first block is not that of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadFault {
    /// It was never written whole, or has changed since.
    Damaged,
    /// It is whole, and of a format that this program does not read.
    UnknownVersion(u32),
}

/// The first block of a segment.
pub(crate) fn encode(head: &SegmentHead) -> Vec<u8> {
    let mut bytes = vec![0; LOG_BLOCK_BYTES as usize];
    put_at(&mut bytes, MAGIC_AT, SEGMENT_MAGIC);
    put_at(&mut bytes, VERSION_AT, FORMAT_VERSION.to_le_bytes());
    put_at(&mut bytes, SHARDS_AT, head.shards.to_le_bytes());
    put_at(&mut bytes, LOG_AT, head.segment.log.0.to_le_bytes());
    put_at(&mut bytes, NUMBER_AT, head.segment.number.to_le_bytes());
    put_at(&mut bytes, BYTES_TOTAL_AT, head.bytes_total.to_le_bytes());
    put_at(&mut bytes, INCARNATION_AT, head.incarnation.to_le_bytes());
    put_at(&mut bytes, EARLIER_NUMBER_AT, head.earlier.number.to_le_bytes());
    put_at(&mut bytes, EARLIER_SYNCED_AT, head.earlier.synced.to_le_bytes());
    put_at(&mut bytes, EARLIER_LIVE_AT, head.earlier.live.to_le_bytes());
    let crc = crc32c(&bytes[..CRC_AT]);
    put_at(&mut bytes, CRC_AT, crc.to_le_bytes());
    bytes
}

/// Reads the first block of `segment`'s file.
pub(crate) fn decode(bytes: &[u8], segment: SegmentId) -> Result<SegmentHead, HeadFault> {
    let block = bytes.get(..LOG_BLOCK_BYTES as usize).ok_or(HeadFault::Damaged)?;
    if block[MAGIC_AT..VERSION_AT] != SEGMENT_MAGIC
        || crc32c(&block[..CRC_AT]) != u32_at(block, CRC_AT)
    {
        return Err(HeadFault::Damaged);
    }
    let version = u32_at(block, VERSION_AT);
    if version != FORMAT_VERSION {
        return Err(HeadFault::UnknownVersion(version));
    }
    let head = SegmentHead {
        segment: SegmentId { log: LogId(u16_at(block, LOG_AT)), number: u32_at(block, NUMBER_AT) },
        shards: u16_at(block, SHARDS_AT),
        bytes_total: u32_at(block, BYTES_TOTAL_AT),
        incarnation: u64_at(block, INCARNATION_AT),
        earlier: LogEnd {
            number: u32_at(block, EARLIER_NUMBER_AT),
            synced: u32_at(block, EARLIER_SYNCED_AT),
            live: u32_at(block, EARLIER_LIVE_AT),
        },
    };
    // A whole head under another segment's name is a file that was moved or copied: not what was written here.
    if head.segment != segment
        || head.earlier.number >= segment.number
        || head.earlier.synced > head.earlier.live
        || !is_zero(&block[SEGMENT_HEAD_BYTES..])
    {
        return Err(HeadFault::Damaged);
    }
    Ok(head)
}
