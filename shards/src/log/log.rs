//! The open end of a shard's log: batches that fill while one is on its way to the disk.

use crate::ids::{LogId, Location, SegmentId, Time};
use crate::log::record::{Body, RecordHead};

/// A record's place in the order of this run, from 0; what a row holds until its record has a location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ordinal(pub u64);

/// What the log wants of the disk. At most one is in flight, answered by [`Log::handle_done`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogIo {
    /// Create the segment's file, reserve `bytes_total`, write `head` at 0, sync the file, then its folder.
    Create {
        /// The segment.
        segment: SegmentId,
        /// Size to reserve, in bytes.
        bytes_total: u32,
        /// Its first block.
        head: Vec<u8>,
    },
    /// Write `bytes` at `offset`, then sync the data. `bytes` stay readable through the log until it is done.
    Commit {
        /// The segment.
        segment: SegmentId,
        /// Offset in it, a multiple of the block.
        offset: u32,
        /// What to write, a multiple of the block long.
        bytes: Vec<u8>,
    },
}

/// How an I/O ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoFault {
    /// No space left on the device (or quota).
    Full,
    /// Anything else.
    Failed,
}

/// What became of the records of a commit; ordinals `first..end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to tell (a segment was created, a commit is tried anew).
    Nothing,
    /// Durable. `locations[i]` is that of ordinal `first + i`.
    Durable {
        /// First ordinal.
        first: Ordinal,
        /// Where each lies now.
        locations: Vec<Location>,
        /// When; never falls.
        committed_at: Time,
    },
    /// Everything that was waiting, in flight or not, is dropped: `first..end` will never be durable.
    Dropped {
        /// First ordinal.
        first: Ordinal,
        /// One past the last.
        end: Ordinal,
        /// Why.
        fault: IoFault,
    },
}

/// The open end of one log.
#[derive(Debug)]
pub struct Log {}

impl Log {
    /// A log that goes on after `recovered`: its next segment has the number `next_segment`.
    pub fn new(log: LogId, shards: u16, next_segment: u32, incarnation_seed: u64, committed_at: Time) -> Log {
        let _ = (log, shards, next_segment, incarnation_seed, committed_at);
        todo!()
    }

    /// Takes a record into the batch that fills. It is durable once `handle_done` says so.
    pub fn append(&mut self, head: &RecordHead, body: &Body, now: Time) -> Ordinal {
        let _ = (head, body, now);
        todo!()
    }

    /// The next I/O that is due, if none is in flight.
    pub fn poll(&mut self, now: Time) -> Option<LogIo> {
        let _ = now;
        todo!()
    }

    /// When `poll` has something though nothing else happens.
    pub fn deadline(&self) -> Option<Time> {
        todo!()
    }

    /// The I/O in flight has ended.
    pub fn handle_done(&mut self, result: Result<(), IoFault>, now: Time) -> Outcome {
        let _ = (result, now);
        todo!()
    }

    /// The body of a record that is not durable yet.
    pub fn pending_body(&self, ordinal: Ordinal) -> Option<&[u8]> {
        let _ = ordinal;
        todo!()
    }

    /// Bytes that wait or are in flight.
    pub fn pending_bytes(&self) -> u64 {
        todo!()
    }
}
