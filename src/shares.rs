//! What each core says to count, for it, of the segments that were made beside another number of them.
//!
//! A number for each core and segment, which that core alone sets. No request comes by here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engram_shards::ids::SegmentId;
use engram_shards::shard::Share;

use crate::cores::CoreIndex;

/// No number of bytes.
const UNKNOWN: u64 = u64::MAX;
/// Nor is this one.
const LEFT: u64 = u64::MAX - 1;

/// All of it. Shared by all cores.
#[derive(Clone, Debug)]
pub struct Shares {
    cores: usize,
    rows: Arc<BTreeMap<SegmentId, usize>>,
    told: Arc<[AtomicU64]>,
}

impl Shares {
    /// Nobody has said anything of these segments.
    pub fn new(cores: u16, segments: impl IntoIterator<Item = SegmentId>) -> Shares {
        let cores = usize::from(cores);
        let rows: BTreeMap<_, _> = segments.into_iter().zip((0..).step_by(cores)).collect();
        let told = (0..rows.len() * cores).map(|_| AtomicU64::new(UNKNOWN)).collect();
        Shares { cores, rows: Arc::new(rows), told }
    }

    /// This core says so.
    pub fn tell(&self, core: CoreIndex, segment: SegmentId, share: Share) {
        let number = match share {
            Share::Unknown => UNKNOWN,
            Share::Left => LEFT,
            Share::Bytes(bytes) => bytes.min(LEFT - 1),
        };
        if let Some(row) = self.rows.get(&segment) {
            self.told[row + usize::from(core.0)].store(number, Ordering::SeqCst);
        }
    }

    /// What this core has said counts no more: its shard is about to be built anew, and may find there what it had left.
    pub fn forget(&self, core: CoreIndex) {
        self.rows.keys().for_each(|segment| self.tell(core, *segment, Share::Unknown));
    }

    /// What counts for all cores.
    pub fn total(&self, segment: SegmentId) -> Share {
        let Some(&row) = self.rows.get(&segment) else { return Share::Unknown };
        let of_cores = self.told[row..row + self.cores].iter();
        let shares = of_cores.map(|told| match told.load(Ordering::SeqCst) {
            UNKNOWN => Share::Unknown,
            LEFT => Share::Left,
            bytes => Share::Bytes(bytes),
        });
        shares.fold(Share::Left, Share::with)
    }

    /// Whether it may be emptied as far as others are concerned.
    pub fn is_left(&self, segment: SegmentId) -> bool {
        !self.rows.contains_key(&segment) || self.total(segment) == Share::Left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engram_shards::ids::LogId;

    const ONE: SegmentId = SegmentId { log: LogId(2), number: 1 };
    const OTHER: SegmentId = SegmentId { log: LogId(2), number: 4 };

    #[test]
    fn a_segment_is_left_once_all_cores_have_said_so_in_their_present_lives() {
        let shares = Shares::new(2, [ONE, OTHER]);
        let own = SegmentId { log: LogId(0), number: 1 };
        assert!(!shares.is_left(ONE) && shares.is_left(own));
        shares.tell(CoreIndex(0), ONE, Share::Left);
        assert_eq!(shares.total(ONE), Share::Unknown);
        shares.tell(CoreIndex(1), ONE, Share::Bytes(70));
        assert_eq!((shares.total(ONE), shares.total(OTHER)), (Share::Bytes(70), Share::Unknown));
        shares.tell(CoreIndex(1), ONE, Share::Left);
        assert!(shares.is_left(ONE) && !shares.is_left(OTHER));
        shares.forget(CoreIndex(0));
        assert!(!shares.is_left(ONE));
    }
}
