//! What is kept in RAM of a row's record: its numbers and where it lies.

use std::collections::BTreeMap;

use crate::ids::{Generation, Location, LogId, Row, SegmentId, Time};
use crate::limits::{LOG_SEGMENT_BYTES, RECORD_BODY_BYTES_MAX};
use crate::vector::arena::Arena;

/// Stands for a commit that lies in [`Records::commits_apart`].
const APART: u32 = u32::MAX;

/// The records of a stripe's rows, in their order. Those of the first, durable ones have a place and a commit time.
#[derive(Debug)]
pub(super) struct Records {
    rows: Arena<Record>,
    durable: u32,
    /// Commit times that do not lie within 71 minutes after the receipt: the clock was set back, or the record was
    /// logged anew after a restart.
    commits_apart: BTreeMap<u32, Time>,
}

/// 32 bytes, so that none lies across two cache lines.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
struct Record {
    generation: Generation,
    received_at: Time,
    place: PackedLocation,
    /// Microseconds from receipt to commit, or [`APART`].
    commit_micros: u32,
}

const _: () = assert!(size_of::<Record>() == 32);

impl Records {
    /// No records.
    pub(super) fn new() -> Records {
        Records { rows: Arena::new(1), durable: 0, commits_apart: BTreeMap::new() }
    }

    /// Adds a record that is not durable.
    pub(super) fn push(&mut self, generation: Generation, received_at: Time) {
        self.rows.push()[0] = Record { generation, received_at, ..Record::default() };
    }

    /// The first record that is not durable becomes so.
    pub(super) fn commit(&mut self, location: Location, committed_at: Time) {
        let record = &mut self.rows[self.durable];
        record.place = PackedLocation::new(location);
        let micros = committed_at.0.checked_sub(record.received_at.0);
        record.commit_micros = micros.and_then(|micros| micros.try_into().ok()).unwrap_or(APART);
        if record.commit_micros == APART {
            self.commits_apart.insert(self.durable, committed_at);
        }
        self.durable += 1;
    }

    /// Drops the records from `len` up, none of which may be durable.
    pub(super) fn truncate(&mut self, len: u32) {
        assert!(len >= self.durable, "durable records are kept");
        self.rows.truncate(len);
    }

    /// All records below it are durable.
    pub(super) fn durable(&self) -> u32 {
        self.durable
    }

    /// The generation of `row`.
    pub(super) fn generation(&self, row: Row) -> Generation {
        self.rows[row.0].generation
    }

    /// When `row` was received.
    pub(super) fn received_at(&self, row: Row) -> Time {
        self.rows[row.0].received_at
    }

    /// Where the record lies, and when it was committed; nothing if it is not durable.
    pub(super) fn commit_of(&self, row: Row) -> Option<(Location, Time)> {
        let record = &self.rows[row.0];
        let committed_at = match record.commit_micros {
            APART => self.commits_apart.get(&row.0).copied(),
            micros => Some(Time(record.received_at.0 + u64::from(micros))),
        };
        let committed_at = committed_at.expect("a commit apart was noted");
        (row.0 < self.durable).then(|| (record.place.get(), committed_at))
    }

    /// Bytes of RAM that they take.
    pub(super) fn bytes(&self) -> u64 {
        // The nodes of the map are seldom less than half full.
        let apart = 2 * self.commits_apart.len() * size_of::<(u32, Time)>();
        self.rows.bytes() + apart as u64
    }
}

/// A [`Location`] in 12 bytes.
#[derive(Clone, Copy, Debug, Default)]
struct PackedLocation {
    segment: u32,
    /// From the low bits up: length, offset, log.
    rest: [u32; 2],
}

const BYTES_BITS: u32 = RECORD_BODY_BYTES_MAX.ilog2() + 1;
const OFFSET_BITS: u32 = LOG_SEGMENT_BYTES.ilog2();
const _: () = assert!(LOG_SEGMENT_BYTES.is_power_of_two(), "an offset has these bits");
const _: () = assert!(BYTES_BITS + OFFSET_BITS + u16::BITS <= u64::BITS);

impl PackedLocation {
    fn new(location: Location) -> PackedLocation {
        let Location { segment, offset, bytes } = location;
        assert!(bytes < 1 << BYTES_BITS && offset < 1 << OFFSET_BITS, "{location:?}");
        let place = u64::from(segment.log.0) << OFFSET_BITS | u64::from(offset);
        let rest = place << BYTES_BITS | u64::from(bytes);
        PackedLocation { segment: segment.number, rest: [rest as u32, (rest >> 32) as u32] }
    }

    fn get(self) -> Location {
        let [low, high] = self.rest.map(u64::from);
        let rest = high << 32 | low;
        let place = rest >> BYTES_BITS;
        let log = LogId((place >> OFFSET_BITS) as u16);
        Location {
            segment: SegmentId { log, number: self.segment },
            offset: place as u32 & ((1 << OFFSET_BITS) - 1),
            bytes: rest as u32 & ((1 << BYTES_BITS) - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn location() -> impl Strategy<Value = Location> {
        let log = any::<u16>().prop_map(LogId);
        let end = LOG_SEGMENT_BYTES;
        let offset = prop_oneof![0..end, Just(end - 1)];
        let bytes = prop_oneof![0..2 * RECORD_BODY_BYTES_MAX, Just(2 * RECORD_BODY_BYTES_MAX - 1)];
        (log, any::<u32>(), offset, bytes).prop_map(|(log, number, offset, bytes)| Location {
            segment: SegmentId { log, number },
            offset,
            bytes,
        })
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            rows in prop::collection::vec(
                (
                    any::<u64>(),
                    any::<u64>(),
                    prop_oneof![
                        -10..10i64,
                        i64::from(u32::MAX) - 2..i64::from(u32::MAX) + 2,
                        any::<i64>(),
                    ],
                    location(),
                ),
                1..100,
            ),
            durable in 0..100usize,
        ) {
            let mut records = Records::new();
            for (generation, received, ..) in &rows {
                records.push(Generation(*generation), Time(*received));
            }
            let durable = durable.min(rows.len());
            let committed = |received: u64, after| Time(received.saturating_add_signed(after));
            for (_, received, after, location) in &rows[..durable] {
                records.commit(*location, committed(*received, *after));
            }
            for (row, (generation, received, after, location)) in (0..).map(Row).zip(&rows) {
                prop_assert_eq!(records.generation(row), Generation(*generation));
                prop_assert_eq!(records.received_at(row), Time(*received));
                let commit = (*location, committed(*received, *after));
                let expected = ((row.0 as usize) < durable).then_some(commit);
                prop_assert_eq!(records.commit_of(row), expected);
            }
            prop_assert_eq!(records.durable() as usize, durable);
        }
    }
}
