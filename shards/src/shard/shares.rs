//! Segments that were made beside another number of shards: they hold what is several shards' now. Each takes its own out of
//! them and says so; when all have, the one that keeps their log empties them.
//!
//! ```text
//!  what counts here ─► Io::Share ─► what counts for all ─► little: carried out ─► left ─► Io::Share ─► all have: emptied
//! ```
//! **Invariant:** a shard says that it has left a segment only when nothing there counts for it and nobody of it reads there.
//! It stays so, for nothing is written there any more; but not beyond its life, for a replay may find the old records again.

use std::collections::BTreeMap;

use crate::ids::{LogId, SegmentId};
use crate::log::replay::ReplayEnd;
use crate::log::segments::Segments;

/// What of a segment counts for one shard, or for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Somebody has not said so yet in this life.
    Unknown,
    /// Bytes of records.
    Bytes(u64),
    /// Nothing, and nobody reads there any more.
    Left,
}

impl Share {
    /// What counts for both.
    pub fn with(self, other: Share) -> Share {
        match (self, other) {
            (Share::Unknown, _) | (_, Share::Unknown) => Share::Unknown,
            (Share::Left, share) | (share, Share::Left) => share,
            (Share::Bytes(one), Share::Bytes(other)) => Share::Bytes(one + other),
        }
    }
}

/// The segments of that kind of which a shard has to do something.
#[derive(Debug, Default)]
pub(super) struct Shared {
    segments: BTreeMap<SegmentId, Known>,
    /// All segments of logs that other shards write, or no one: as they were when this shard was built.
    logs: BTreeMap<LogId, Segments>,
    /// Whether they are known as of now.
    is_fresh: bool,
}

/// What is known of one.
#[derive(Clone, Copy, Debug)]
struct Known {
    total: Share,
    has_left: bool,
    /// Whether this shard keeps its log.
    is_kept: bool,
}

impl Shared {
    /// What a replay found, for the shard of the log `own`, one of so many.
    pub(super) fn new(own: LogId, shards: u16, end: &ReplayEnd) -> Shared {
        let mut shared = Shared::default();
        for head in end.heads() {
            let segment = head.segment;
            if segment.log != own {
                shared.logs.entry(segment.log).or_default().add(head);
            }
            let is_shared = head.shards != shards && !planted!(SharesForgotten);
            if is_shared && !head.is_emptied() {
                let is_kept = segment.log.0 % shards == own.0;
                let known = Known { total: Share::Unknown, has_left: false, is_kept };
                shared.segments.insert(segment, known);
            }
        }
        shared
    }

    /// Another shard's log, or no one's.
    pub(super) fn log(&mut self, log: LogId) -> &mut Segments {
        self.logs.get_mut(&log).expect("a replay found its segments")
    }

    /// Whether it is one of them.
    pub(super) fn has(&self, segment: SegmentId) -> bool {
        self.segments.contains_key(&segment)
    }

    /// Whether it has to be known first what counts for others.
    pub(super) fn is_unknown(&self) -> bool {
        !self.segments.is_empty() && !self.is_fresh
    }

    /// What this shard says of each, where so much counts for it.
    pub(super) fn told(&self, counted: impl Fn(SegmentId) -> u64) -> Vec<(SegmentId, Share)> {
        let share = |(segment, known): (&SegmentId, &Known)| match known.has_left {
            true => (*segment, Share::Left),
            false => (*segment, Share::Bytes(counted(*segment))),
        };
        self.segments.iter().map(share).collect()
    }

    /// What counts for all was told.
    pub(super) fn learn(&mut self, segments: &[SegmentId], totals: &[Share]) {
        for (segment, total) in segments.iter().zip(totals) {
            if let Some(known) = self.segments.get_mut(segment) {
                known.total = *total;
            }
        }
        // Whoever keeps the log does the rest.
        self.segments.retain(|_, known| known.is_kept || !known.has_left);
        self.is_fresh = true;
    }

    /// Those of which so little counts, all shards together, that they are worth it, and how much that is.
    pub(super) fn worth(&self, bytes: u64) -> impl Iterator<Item = (u64, SegmentId)> + '_ {
        let staying = self.segments.iter().filter(|(_, known)| !known.has_left);
        staying.filter_map(move |(segment, known)| match known.total {
            Share::Bytes(total) if total < bytes => Some((total, *segment)),
            _ => None,
        })
    }

    /// One that all have left, and that this shard is to empty.
    pub(super) fn emptiable(&self) -> Option<SegmentId> {
        let is_left = |known: &Known| known.is_kept && known.total == Share::Left;
        self.segments.iter().find(|(_, known)| is_left(known)).map(|(segment, _)| *segment)
    }

    /// Whether something of it will be to do soon: less than so much counts, or it is not known how much does.
    pub(super) fn is_pressing(&self, bytes: u64) -> bool {
        self.segments.values().any(|known| match known.total {
            Share::Unknown | Share::Left => true,
            Share::Bytes(total) => total < bytes,
        })
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Nothing of this shard is there any more.
    pub(super) fn leave(&mut self, segment: SegmentId) {
        self.segments.get_mut(&segment).expect("it was there until now").has_left = true;
        self.is_fresh = false;
    }

    /// It is emptied.
    pub(super) fn emptied(&mut self, segment: SegmentId) {
        self.segments.remove(&segment);
    }

    /// What is known is old by now.
    pub(super) fn forget(&mut self) {
        self.is_fresh = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_does_not_say_is_not_known_of_all() {
        let all = |shares: &[Share]| shares.iter().copied().fold(Share::Left, Share::with);
        assert_eq!(all(&[Share::Left, Share::Left]), Share::Left);
        assert_eq!(all(&[Share::Left, Share::Bytes(0)]), Share::Bytes(0));
        assert_eq!(all(&[Share::Bytes(3), Share::Left, Share::Bytes(4)]), Share::Bytes(7));
        assert_eq!(all(&[Share::Bytes(3), Share::Unknown, Share::Left]), Share::Unknown);
    }
}
