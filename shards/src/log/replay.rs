//! Reads a log back, and tells a torn tail from corruption.

use crate::ids::{Location, SegmentId, Time};
use crate::log::record::RecordHead;

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
    /// Something at or before a position that was once synced is not what was written.
    Corrupt {
        /// The segment.
        segment: SegmentId,
        /// Offset of the bad batch or record, in bytes.
        offset: u32,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A segment that lies between others is not there.
    Missing(SegmentId),
}

/// A record, as the log gives it back.
#[derive(Clone, Debug)]
pub struct Replayed<'a> {
    /// Its head.
    pub head: RecordHead,
    /// Its body.
    pub body: &'a [u8],
    /// CRC-32C of its body.
    pub body_crc: u32,
    /// Where it lies.
    pub location: Location,
    /// When its batch was committed.
    pub committed_at: Time,
    /// Whether a later batch says that it was synced. An unproven one is appended anew before anyone relies on it.
    pub proven: bool,
}

/// What a whole replay found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayEnd {
    /// The highest segment number seen, of any log given (0: none); a new segment takes a higher one.
    pub last_segment: u32,
    /// The latest commit time seen.
    pub committed_at: Time,
    /// Segments that hold no record and may be removed.
    pub empty: Vec<SegmentId>,
}

/// Reads logs back: first the heads of all their segments, then each segment whole, in the order it asks for.
#[derive(Debug)]
pub struct Replay {}

impl Replay {
    /// `heads` holds for every segment file its first [`HEAD_BYTES`] (fewer where the file is shorter).
    pub fn new(heads: &[(SegmentId, Vec<u8>)]) -> Result<Replay, LogFault> {
        let _ = heads;
        todo!()
    }

    /// The segment to be given next.
    pub fn next(&self) -> Option<SegmentId> {
        todo!()
    }

    /// Takes the whole segment `next()` and visits its records in order.
    pub fn handle_segment(
        &mut self,
        bytes: &[u8],
        visit: &mut dyn FnMut(Replayed<'_>),
    ) -> Result<(), LogFault> {
        let _ = (bytes, visit);
        todo!()
    }

    /// Ends the replay, once `next()` is `None`.
    pub fn finish(self) -> ReplayEnd {
        todo!()
    }
}

/// How much of each segment `Replay::new` wants: the head and the first block of the first batch.
pub const HEAD_BYTES: usize = 8192;
