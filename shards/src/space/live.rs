//! How much of each segment counts.

use std::collections::BTreeMap;

use crate::ids::{Location, SegmentId};

/// Bytes of the records of rows that are kept, by segment. Segments of which nothing counts have no entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveBytes {
    bytes: BTreeMap<SegmentId, u64>,
}

impl LiveBytes {
    /// A row has its record there.
    pub fn keep(&mut self, location: Location) {
        *self.bytes.entry(location.segment).or_default() += u64::from(location.bytes);
    }

    /// A row's record there counts no more. Returns how much of the segment still does.
    pub fn free(&mut self, location: Location) -> u64 {
        let left = self.bytes.get_mut(&location.segment).expect("what is freed was kept");
        *left -= u64::from(location.bytes);
        let left = *left;
        if left == 0 {
            self.bytes.remove(&location.segment);
        }
        left
    }

    /// Adds those of other rows.
    pub fn merge(&mut self, other: &LiveBytes) {
        for (segment, bytes) in &other.bytes {
            *self.bytes.entry(*segment).or_default() += bytes;
        }
    }

    /// Of one segment.
    pub fn of(&self, segment: SegmentId) -> u64 {
        self.bytes.get(&segment).copied().unwrap_or(0)
    }

    /// Of all of them.
    pub fn total(&self) -> u64 {
        self.bytes.values().sum()
    }

    /// Forgets a segment. Returns how much of it counted.
    pub fn remove(&mut self, segment: SegmentId) -> u64 {
        self.bytes.remove(&segment).unwrap_or(0)
    }
}
