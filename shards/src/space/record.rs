//! What is kept in RAM of a row's record: its numbers and where it lies.

use std::collections::BTreeMap;

use crate::ids::{Location, LogId, Row, SegmentId, Time};
use crate::limits::{LOG_SEGMENT_BYTES, RECORD_BODY_BYTES_MAX};
use crate::vector::arena::Arena;

/// Stands for a commit that lies in [`Records::commits_apart`].
const APART: u32 = u32::MAX;

/// The records of a stripe's rows. Those of durable ones have a place and a commit time.
#[derive(Debug)]
pub(super) struct Records {
    rows: Arena<Record>,
    /// Commit times that do not lie within 71 minutes after the receipt: the clock was set back, or the record was
    /// logged anew after a restart.
    commits_apart: BTreeMap<Row, Time>,
}

/// 24 bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Record {
    received_at: Time,
    place: PackedLocation,
    /// Microseconds from receipt to commit, or [`APART`].
    commit_micros: u32,
}

const _: () = assert!(size_of::<Record>() == 24);

impl Records {
    /// No records.
    pub(super) fn new() -> Records {
        Records { rows: Arena::new(1), commits_apart: BTreeMap::new() }
    }

    /// Notes the record of the row in this slot, the next one or one that is used again. It is not durable.
    pub(super) fn put(&mut self, row: Row, received_at: Time) {
        if row.0 == self.rows.len() {
            self.rows.push();
        }
        if self.rows[row.0].commit_micros == APART {
            self.commits_apart.remove(&row);
        }
        self.rows[row.0] = Record { received_at, ..Record::default() };
    }

    /// The record becomes durable.
    pub(super) fn commit(&mut self, row: Row, location: Location, committed_at: Time) {
        let record = &mut self.rows[row.0];
        record.place = PackedLocation::new(location);
        let micros = committed_at.0.checked_sub(record.received_at.0);
        record.commit_micros = micros.and_then(|micros| micros.try_into().ok()).unwrap_or(APART);
        if record.commit_micros == APART {
            self.commits_apart.insert(row, committed_at);
        }
    }

    /// The record lies elsewhere now.
    pub(super) fn relocate(&mut self, row: Row, location: Location) {
        self.rows[row.0].place = PackedLocation::new(location);
    }

    /// Whether there can be a record at this place.
    pub(super) fn may_hold(Location { offset, bytes, .. }: Location) -> bool {
        bytes < 1 << BYTES_BITS && offset < 1 << OFFSET_BITS
    }

    /// Slots from `slots` on are no more; no record in them may be durable.
    pub(super) fn truncate(&mut self, slots: u32) {
        self.rows.truncate(slots);
    }

    /// When `row` was received.
    pub(super) fn received_at(&self, row: Row) -> Time {
        self.rows[row.0].received_at
    }

    /// Where the record of a durable row lies, and when it was committed.
    pub(super) fn commit_of(&self, row: Row) -> (Location, Time) {
        let record = &self.rows[row.0];
        let committed_at = match record.commit_micros {
            APART => self.commits_apart.get(&row).copied(),
            micros => Some(Time(record.received_at.0 + u64::from(micros))),
        };
        (record.place.get(), committed_at.expect("a commit apart was noted"))
    }

    /// Bytes of RAM that they take.
    pub(super) fn bytes(&self) -> u64 {
        // The nodes of the map are seldom less than half full.
        let apart = 2 * self.commits_apart.len() * size_of::<(Row, Time)>();
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
        assert!(Records::may_hold(location), "{location:?}");
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
                    0..40u32,
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
        ) {
            let mut records = Records::new();
            let mut known = Vec::new();
            for (slot, received, after, location) in rows {
                let row = Row(slot.min(known.len() as u32));
                let received = Time(received);
                let committed = Time(received.0.saturating_add_signed(after));
                records.put(row, received);
                prop_assert_eq!(records.received_at(row), received);
                records.commit(row, location, committed);
                match known.get_mut(row.0 as usize) {
                    Some(entry) => *entry = (received, (location, committed)),
                    None => known.push((received, (location, committed))),
                }
                for (row, (received, commit)) in (0..).map(Row).zip(&known) {
                    prop_assert_eq!(records.received_at(row), *received);
                    prop_assert_eq!(records.commit_of(row), *commit);
                }
            }
            let apart = known.iter().filter(|(received, (_, committed))| {
                committed.0.checked_sub(received.0).is_none_or(|micros| micros >= u64::from(APART))
            });
            prop_assert_eq!(records.commits_apart.len(), apart.count(), "none of one that is no more");
        }
    }
}
