//! What a shard is made with, and what crosses between it and the runtime.

use crate::checkpoint::due::CheckpointLimits;
use crate::ids::{FolderSecret, Location, LogId, SegmentId, StripeKey};
use crate::message::{Origin, Reply};
use crate::quality::RecallTarget;
use crate::settings::AckPolicy;
use crate::space::TailLimits;

/// What a shard is made with.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Its log.
    pub log: LogId,
    /// How many shards run beside it in this process, itself included.
    pub shards: u16,
    /// The folder's secret.
    pub secret: FolderSecret,
    /// Drawn anew at each start; segments' incarnations come from it.
    pub incarnation_seed: u64,
    /// Most observations that may wait.
    pub capacity: u32,
    /// The recall that every stripe holds; none: no sampling, no refining, recalls of the default width.
    pub recall_target: Option<RecallTarget>,
    /// What an ack means.
    pub acks: AckPolicy,
    /// How long the tail of each stripe may be.
    pub tail: TailLimits,
    /// When checkpoints are due.
    pub checkpoints: CheckpointLimits,
    /// Bytes of records that it keeps at hand for recalls, at most; 0: none.
    pub record_cache_bytes: u64,
}

/// Names an I/O, so that its end finds what waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IoTicket(pub u64);

/// What a shard wants of the disk. Every one is answered by [`Shard::handle_io`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Io {
    /// Create the segment's file, reserve `bytes_total`, write `head` at 0, sync the file, then its folder.
    CreateSegment {
        /// The segment.
        segment: SegmentId,
        /// Size to reserve, in bytes.
        bytes_total: u32,
        /// Its first block.
        head: Vec<u8>,
    },
    /// Write `bytes` at `offset`, all of them, then sync the data where that is asked for.
    Commit {
        /// The segment.
        segment: SegmentId,
        /// Offset, a multiple of the block.
        offset: u32,
        /// What to write.
        bytes: Vec<u8>,
        /// Whether the write is followed by a sync.
        sync: bool,
    },
    /// Sync all that was written to the segment.
    Sync {
        /// The segment.
        segment: SegmentId,
    },
    /// Put a file of these bytes in the place of the segment's: write it beside, sync it, rename it, sync the folder.
    /// Whoever has the file open closes it.
    EmptySegment {
        /// The segment.
        segment: SegmentId,
        /// The whole file that is left.
        bytes: Vec<u8>,
    },
    /// Remove the segment's file, which counts for nothing. Loss: a restart removes it.
    RemoveSegment {
        /// The segment.
        segment: SegmentId,
    },
    /// Make the draft of a stripe's checkpoint anew, and reserve its size.
    CreateCheckpoint {
        /// The stripe.
        stripe: StripeKey,
        /// Its size, in bytes.
        bytes_total: u64,
    },
    /// Write `bytes` at `offset` of the draft, all of them, then sync the data where that is asked for.
    WriteCheckpoint {
        /// The stripe.
        stripe: StripeKey,
        /// Offset, behind what was written before.
        offset: u64,
        /// What to write.
        bytes: Vec<u8>,
        /// Whether the write is followed by a sync.
        sync: bool,
    },
    /// Sync all that was written to the draft.
    SyncCheckpoint {
        /// The stripe.
        stripe: StripeKey,
    },
    /// The draft takes the place of the stripe's checkpoint: rename it, then sync the folder.
    KeepCheckpoint {
        /// The stripe.
        stripe: StripeKey,
    },
    /// Write the file that says what a segment holds. No sync: it can be lost.
    WriteSummary {
        /// The segment.
        segment: SegmentId,
        /// The whole file.
        bytes: Vec<u8>,
    },
    /// Read each of these ranges; `IoOutput::Read` has them in the same order.
    Read {
        /// What to read.
        places: Vec<Location>,
    },
}

/// What an I/O gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IoOutput {
    /// Written and synced.
    Done,
    /// Read; each as long as was asked.
    Read(Vec<Vec<u8>>),
}

/// What the shard hands out.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // nearly all are replies
pub enum Output {
    /// For the disk.
    Io(IoTicket, Io),
    /// For a connection's core.
    Reply(Origin, Reply),
}
