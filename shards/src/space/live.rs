//! How much of each segment counts.

use std::collections::BTreeMap;

use crate::ids::{Location, LogId, SegmentId};

/// Bytes of the records of rows that are kept, by segment and by log. Of what nothing counts there is no entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveBytes {
    bytes: BTreeMap<SegmentId, u64>,
    logs: BTreeMap<LogId, u64>,
}

impl LiveBytes {
    /// A row has its record there.
    pub fn keep(&mut self, location: Location) {
        self.add(location.segment, u64::from(location.bytes));
    }

    /// A row's record there counts no more. Returns how much of the segment still does.
    pub fn free(&mut self, location: Location) -> u64 {
        let left = self.bytes.get_mut(&location.segment).expect("what is freed was kept");
        *left -= u64::from(location.bytes);
        let left = *left;
        if left == 0 {
            self.bytes.remove(&location.segment);
        }
        self.subtract(location.segment.log, u64::from(location.bytes));
        left
    }

    /// Adds those of other rows.
    pub fn merge(&mut self, other: &LiveBytes) {
        other.bytes.iter().for_each(|(segment, bytes)| self.add(*segment, *bytes));
    }

    /// Of one segment.
    pub fn of(&self, segment: SegmentId) -> u64 {
        self.bytes.get(&segment).copied().unwrap_or(0)
    }

    /// Those of which something counts.
    pub fn segments(&self) -> impl Iterator<Item = SegmentId> + '_ {
        self.bytes.keys().copied()
    }

    /// Of the segments of one log.
    pub fn of_log(&self, log: LogId) -> u64 {
        self.logs.get(&log).copied().unwrap_or(0)
    }

    /// Of all of them.
    pub fn total(&self) -> u64 {
        self.logs.values().sum()
    }

    /// Forgets a segment. Returns how much of it counted.
    pub fn remove(&mut self, segment: SegmentId) -> u64 {
        let bytes = self.bytes.remove(&segment);
        bytes.inspect(|bytes| self.subtract(segment.log, *bytes)).unwrap_or(0)
    }

    fn add(&mut self, segment: SegmentId, bytes: u64) {
        *self.bytes.entry(segment).or_default() += bytes;
        *self.logs.entry(segment.log).or_default() += bytes;
    }

    fn subtract(&mut self, log: LogId, bytes: u64) {
        let left = self.logs.get_mut(&log).expect("a log has what its segments have");
        *left -= bytes;
        if *left == 0 {
            self.logs.remove(&log);
        }
    }
}
