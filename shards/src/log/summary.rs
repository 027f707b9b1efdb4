//! What a segment that is written no more holds of which stripes: so that a restart leaves out what checkpoints cover.
//!
//! A summary is derived: where it is missing or damaged, its segment is read.

use std::collections::BTreeMap;

use crate::ids::{LogId, SegmentId, SpaceKey, StripeKey, Time};
use crate::log::field::{crc32c, u16_at, u32_at, u64_at};
use crate::log::segment::SegmentHead;

/// The format that is written, and the only one read.
pub const FORMAT_VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"ENGRMSUM";
const MAGIC_AT: usize = 0;
const VERSION_AT: usize = MAGIC_AT + 8;
const COUNT_AT: usize = VERSION_AT + 4;
const LOG_AT: usize = COUNT_AT + 4;
const NUMBER_AT: usize = LOG_AT + 4;
const INCARNATION_AT: usize = NUMBER_AT + 4;
const COMMITTED_AT_AT: usize = INCARNATION_AT + 8;
const STRIPES_AT: usize = COMMITTED_AT_AT + 8;
/// Length of what it says of one stripe.
const STRIPE_BYTES: usize = 16;

/// What a segment holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The segment.
    pub segment: SegmentId,
    /// Its incarnation.
    pub incarnation: u64,
    /// The latest commit time in it.
    pub committed_at: Time,
    /// Where the last record of each stripe ends that has one in it.
    pub stripes: BTreeMap<StripeKey, u32>,
}

impl Summary {
    /// Of a segment without records.
    pub fn new(segment: SegmentId, incarnation: u64) -> Summary {
        Summary { segment, incarnation, committed_at: Time(0), stripes: BTreeMap::new() }
    }

    /// A record of this stripe ends here, committed at this time.
    pub fn note(&mut self, stripe: StripeKey, end: u32, committed_at: Time) {
        let last = self.stripes.entry(stripe).or_default();
        *last = end.max(*last);
        self.committed_at = committed_at.max(self.committed_at);
    }

    /// The bytes of its file.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(STRIPES_AT + STRIPE_BYTES * self.stripes.len() + 4);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&(self.stripes.len() as u32).to_le_bytes());
        out.extend_from_slice(&u32::from(self.segment.log.0).to_le_bytes());
        out.extend_from_slice(&self.segment.number.to_le_bytes());
        out.extend_from_slice(&self.incarnation.to_le_bytes());
        out.extend_from_slice(&self.committed_at.0.to_le_bytes());
        for (key, end) in &self.stripes {
            out.extend_from_slice(&key.space.0.to_le_bytes());
            out.extend_from_slice(&u32::from(key.stripe).to_le_bytes());
            out.extend_from_slice(&end.to_le_bytes());
        }
        let crc = crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the file of the segment with this head; none where it is not that of this life of the segment, or damaged.
    pub fn decode(bytes: &[u8], head: &SegmentHead) -> Option<Summary> {
        let (bytes, crc) = bytes.split_last_chunk::<4>()?;
        let is_sound = bytes.len() >= STRIPES_AT
            && bytes.starts_with(&MAGIC)
            && crc32c(bytes) == u32::from_le_bytes(*crc)
            && u32_at(bytes, VERSION_AT) == FORMAT_VERSION
            && bytes.len() == STRIPES_AT + STRIPE_BYTES * u32_at(bytes, COUNT_AT) as usize;
        if !is_sound {
            return None;
        }
        let stripe = |bytes: &[u8; STRIPE_BYTES]| {
            let key = StripeKey { space: SpaceKey(u64_at(bytes, 0)), stripe: u16_at(bytes, 8) };
            (key, u32_at(bytes, 12))
        };
        let summary = Summary {
            segment: SegmentId {
                log: LogId(u16_at(bytes, LOG_AT)),
                number: u32_at(bytes, NUMBER_AT),
            },
            incarnation: u64_at(bytes, INCARNATION_AT),
            committed_at: Time(u64_at(bytes, COMMITTED_AT_AT)),
            stripes: bytes[STRIPES_AT..].as_chunks().0.iter().map(stripe).collect(),
        };
        let is_of_it = (summary.segment, summary.incarnation) == (head.segment, head.incarnation);
        is_of_it.then_some(summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::segment::LogEnd;

    #[test]
    fn it_is_read_for_its_own_segment_alone_and_with_no_bit_changed() {
        let segment = SegmentId { log: LogId(3), number: 9 };
        let head = SegmentHead {
            segment,
            shards: 1,
            bytes_total: 0,
            incarnation: 77,
            earlier: LogEnd::NONE,
        };
        let mut summary = Summary::new(segment, 77);
        for (space, end, at) in [(5, 8_192, 3), (4, 4_200, 9), (5, 5_000, 4)] {
            summary.note(StripeKey { space: SpaceKey(space), stripe: 1 }, end, Time(at));
        }
        assert_eq!(summary.committed_at, Time(9));
        assert_eq!(summary.stripes.values().copied().collect::<Vec<_>>(), [4_200, 8_192]);
        let bytes = summary.encode();
        assert_eq!(Summary::decode(&bytes, &head), Some(summary));
        assert_eq!(Summary::decode(&bytes, &SegmentHead { incarnation: 78, ..head }), None);
        let other = SegmentId { number: 8, ..segment };
        assert_eq!(Summary::decode(&bytes, &SegmentHead { segment: other, ..head }), None);
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Summary::decode(&flipped, &head), None, "bit {bit}");
            assert_eq!(Summary::decode(&bytes[..bit / 8], &head), None);
        }
    }
}
