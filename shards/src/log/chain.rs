//! Which segments count: the heads alone link them, from the last segment of each log to its first.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{LogId, SegmentId, StripeKey};
use crate::limits::LOG_BLOCK_BYTES;
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
    /// A log ends before what a checkpoint covers of it: its newest segments are lost, or the end of the last one.
    EndMissing {
        /// The last segment; of number 0 where none is left.
        segment: SegmentId,
        /// Offset in it at which it ends, in bytes.
        offset: u32,
        /// The segment, and the offset in it, up to which the log was there when the checkpoint was made.
        covered: (u32, u32),
        /// Whose checkpoint that is.
        stripe: StripeKey,
    },
}

/// What is wrong with a segment whose first block is not one.
pub(crate) const HEAD_FAULT: &str = "segment head";

/// A segment that is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The segment.
    pub segment: SegmentId,
    /// None where it is damaged; where nothing counts behind it, it may never have been written.
    pub head: Option<SegmentHead>,
    /// Where the segment ends, as the next one states; none for the last of its log, and where the next is lost.
    pub end: Option<LogEnd>,
}

/// Where a log ends, as far as its heads tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastSegment {
    /// Number of its last segment, whether or not that counts.
    pub(crate) number: u32,
    /// Where the log ends without the batches of the last one that counts: where it ended when that was made; where that was
    /// emptied, behind its head, so that whatever follows names it, and with it how far the log once went.
    pub(crate) earlier: LogEnd,
}

/// The segments of all logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Those that count, the next one to be read last.
    pub links: Vec<Link>,
    /// Those of which only the head is left, for the sake of the chain.
    pub emptied: Vec<SegmentHead>,
    /// Those in between: they never took a commit that succeeded.
    pub dead: Vec<SegmentId>,
    /// What is wrong with the heads. A log is linked on behind a fault as far as it goes.
    pub faults: Vec<LogFault>,
    pub(crate) logs: BTreeMap<LogId, LastSegment>,
}

fn end_before_batches(head: SegmentHead) -> LogEnd {
    match head.is_emptied() {
        true => {
            LogEnd { number: head.segment.number, synced: LOG_BLOCK_BYTES, live: LOG_BLOCK_BYTES }
        }
        false => head.earlier,
    }
}

impl Chain {
    /// `heads` holds for every segment file its first block (less where the file is shorter).
    pub fn new(heads: &[(SegmentId, Vec<u8>)]) -> Chain {
        let mut chain = Chain::default();
        let mut logs: BTreeMap<LogId, BTreeMap<u32, Option<SegmentHead>>> = BTreeMap::new();
        for (segment, bytes) in heads {
            let head = match segment::decode(bytes, *segment) {
                Ok(head) => Some(head),
                Err(HeadFault::Damaged) => None,
                Err(HeadFault::UnknownVersion(version)) => {
                    chain.faults.push(LogFault::UnknownVersion { segment: *segment, version });
                    None
                }
            };
            logs.entry(segment.log).or_default().insert(segment.number, head);
        }
        logs.into_iter().rev().for_each(|(log, segments)| chain.link(log, &segments));
        chain
    }

    /// Those by whose heads others are dead. One may be in a cache alone, as a process left it that ended while it was made:
    /// the disk must have it before the dead ones go, else what they ended lives on.
    pub fn relied_on(&self) -> BTreeSet<SegmentId> {
        let linked = self.links.iter().filter(|link| link.head.is_some()).map(|link| link.segment);
        let linked: BTreeSet<_> =
            linked.chain(self.emptied.iter().map(|head| head.segment)).collect();
        self.dead.iter().filter_map(|dead| linked.range(dead..).next().copied()).collect()
    }

    /// Follows the heads of a log from its last segment to its first.
    fn link(&mut self, log: LogId, segments: &BTreeMap<u32, Option<SegmentHead>>) {
        let mut end: Option<LogEnd> = None;
        let mut last_linked = None;
        for (&number, &head) in segments.iter().rev() {
            let segment = SegmentId { log, number };
            if let Some(missing) = end.filter(|end| end.number > number) {
                self.miss(SegmentId { log, number: missing.number });
                end = None;
            }
            if end.is_some_and(|end| end.number < number) {
                self.dead.push(segment);
                continue;
            }
            if end.is_some() && head.is_none() {
                self.faults.push(LogFault::Corrupt { segment, offset: 0, what: HEAD_FAULT });
            }
            match head.filter(SegmentHead::is_emptied) {
                Some(head) => self.emptied.push(head),
                None => self.links.push(Link { segment, head, end }),
            }
            last_linked = last_linked.or(head.map(end_before_batches));
            end = head.map(|head| head.earlier);
        }
        if let Some(end) = end.filter(|end| end.number != 0 && !segments.contains_key(&end.number))
        {
            self.miss(SegmentId { log, number: end.number });
        }
        let number = segments.last_key_value().map_or(0, |(&number, _)| number);
        let earlier = last_linked.unwrap_or(LogEnd::NONE);
        self.logs.insert(log, LastSegment { number, earlier });
    }

    fn miss(&mut self, segment: SegmentId) {
        self.faults.push(LogFault::Missing(segment));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(log: u16, number: u32, earlier: u32) -> (SegmentId, Vec<u8>) {
        let segment = SegmentId { log: LogId(log), number };
        let (synced, live) = (8_192, 8_192);
        let earlier = match earlier {
            0 => LogEnd::NONE,
            number => LogEnd { number, synced, live },
        };
        let (shards, bytes_total, incarnation) = (1, 1 << 26, u64::from(number));
        let head = SegmentHead { segment, shards, bytes_total, incarnation, earlier };
        (segment, segment::encode(&head))
    }

    #[test]
    fn dead_segments_rely_on_the_next_one_that_counts() {
        let mut heads =
            vec![head(0, 1, 0), head(0, 2, 1), head(0, 3, 1), head(0, 4, 1), head(0, 5, 4)];
        heads.extend([head(1, 1, 0), head(1, 2, 1)]);
        let chain = Chain::new(&heads);
        assert_eq!(chain.dead, [heads[2].0, heads[1].0]);
        assert_eq!(chain.relied_on(), BTreeSet::from([heads[3].0]));
        // The last one was never made.
        heads[4].1.fill(0);
        assert_eq!(Chain::new(&heads).relied_on(), BTreeSet::from([heads[3].0]));
    }
}
