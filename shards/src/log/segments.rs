//! The segments of one log that are written no more, and how one of them is taken out of the chain.
//!
//! ```text
//!  3 ◄── 4 ◄── 5 ◄── 6      4 is emptied: its head alone is left       3 ◄── 4ʰ ◄── 5 ◄── 6
//!                           then 3: nothing comes before 4                   4ʰ ◄── 5 ◄── 6
//! ```
//! A head names the segment before it, so one that is emptied leaves its own. Of several that follow each other one head is
//! left, which names what comes before all of them: there are never more heads than segments.

use std::collections::BTreeMap;

use crate::ids::{LogId, SegmentId};
use crate::limits::LOG_BLOCK_BYTES;
use crate::log::segment::{self, LogEnd, SegmentHead};

/// Those that count, by number.
#[derive(Debug, Default)]
pub struct Segments {
    heads: BTreeMap<u32, SegmentHead>,
    /// Bytes of all of their files.
    file_bytes: u64,
}

/// What empties a segment: a file that takes another's place, and files that count for nothing then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emptying {
    /// What is left, in place of a whole segment or of such a head.
    pub head: SegmentHead,
    /// What is to be removed behind that, in any order.
    pub remove: Vec<SegmentId>,
}

impl Emptying {
    /// The bytes of the file that is left.
    pub fn bytes(&self) -> Vec<u8> {
        segment::encode(&self.head)
    }
}

impl Segments {
    /// One more that counts.
    pub fn add(&mut self, head: SegmentHead) {
        let earlier = self.heads.insert(head.segment.number, head);
        self.file_bytes += u64::from(head.bytes_total);
        self.file_bytes -= earlier.map_or(0, |head| u64::from(head.bytes_total));
    }

    /// Which life of its file a segment is.
    pub fn incarnation(&self, segment: SegmentId) -> u64 {
        self.heads[&segment.number].incarnation
    }

    /// Whether it is one of them.
    pub fn has(&self, segment: SegmentId) -> bool {
        self.heads.contains_key(&segment.number)
    }

    /// Bytes of all of their files.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Those that may hold records.
    pub fn whole(&self) -> impl Iterator<Item = &SegmentHead> {
        self.heads.values().filter(|head| !head.is_emptied())
    }

    /// How a segment is emptied. It changes nothing yet: see [`Segments::emptied`].
    pub fn emptying(&self, segment: SegmentId) -> Emptying {
        let own = self.heads[&segment.number];
        let mut remove = Vec::new();
        let earlier = self.before(own.earlier, segment.log, &mut remove);
        let next = self.heads.range(segment.number + 1..).next().map(|(_, head)| *head);
        match next.filter(SegmentHead::is_emptied) {
            Some(next) => {
                remove.push(segment);
                Emptying { head: SegmentHead { earlier, ..next }, remove }
            }
            None => {
                let head = SegmentHead { bytes_total: LOG_BLOCK_BYTES, earlier, ..own };
                Emptying { head, remove }
            }
        }
    }

    /// What comes before a segment, when heads of emptied ones are left out; these are to be removed.
    fn before(&self, mut end: LogEnd, log: LogId, remove: &mut Vec<SegmentId>) -> LogEnd {
        while let Some(head) = self.heads.get(&end.number).filter(|head| head.is_emptied()) {
            remove.push(SegmentId { log, number: end.number });
            end = head.earlier;
        }
        end
    }

    /// A segment was emptied.
    pub fn emptied(&mut self, emptying: &Emptying) {
        self.add(emptying.head);
        for segment in &emptying.remove {
            let removed = self.heads.remove(&segment.number);
            self.file_bytes -= removed.map_or(0, |head| u64::from(head.bytes_total));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::chain::Chain;
    use proptest::prelude::*;

    const LOG: LogId = LogId(2);

    fn head(number: u32) -> SegmentHead {
        let end = if number == 1 { 0 } else { 8_192 };
        SegmentHead {
            segment: SegmentId { log: LOG, number },
            shards: 1,
            bytes_total: 1 << 20,
            incarnation: 7,
            earlier: LogEnd { number: number - 1, synced: end, live: end },
        }
    }

    proptest! {
        #[test]
        fn the_chain_holds_whatever_is_emptied_and_wherever_that_ends(
            count in 2..12u32,
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut segments = Segments::default();
            let mut files = BTreeMap::new();
            (1..=count).for_each(|number| segments.add(head(number)));
            (1..=count).for_each(|number| {
                files.insert(SegmentId { log: LOG, number }, segment::encode(&head(number)));
            });
            // The last one is open.
            let mut whole: Vec<u32> = (1..count).collect();
            for index in order {
                if whole.is_empty() {
                    break;
                }
                let number = whole.remove(index.index(whole.len()));
                let emptying = segments.emptying(SegmentId { log: LOG, number });
                files.insert(emptying.head.segment, emptying.bytes());
                // A crash may come before the last of them is removed.
                let removed = cut.index(emptying.remove.len() + 1);
                let mut cut = files.clone();
                for segment in &emptying.remove[..removed] {
                    cut.remove(segment);
                }
                for files in [&cut, &{
                    for segment in &emptying.remove {
                        files.remove(segment);
                    }
                    files.clone()
                }] {
                    let heads: Vec<_> = files.iter().map(|(&id, bytes)| (id, bytes.clone())).collect();
                    let chain = Chain::new(&heads);
                    prop_assert!(chain.faults.is_empty(), "{:?}", chain.faults);
                    let mut linked: Vec<u32> =
                        chain.links.iter().map(|link| link.segment.number).collect();
                    linked.sort_unstable();
                    let expected: Vec<u32> = whole.iter().copied().chain([count]).collect();
                    prop_assert_eq!(&linked, &expected);
                    prop_assert!(chain.emptied.len() <= linked.len());
                }
                segments.emptied(&emptying);
                prop_assert_eq!(files.len(), segments.heads.len());
                let lengths = segments.heads.values().map(|head| u64::from(head.bytes_total));
                prop_assert_eq!(segments.file_bytes(), lengths.sum::<u64>());
            }
        }
    }
}
