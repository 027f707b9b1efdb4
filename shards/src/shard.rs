//! The shard: inputs are handled, work is granted, outputs are polled.

use crate::ids::{FolderSecret, Location, LogId, SegmentId, Time};
use crate::log::log::IoFault;
use crate::message::{Origin, Reply, Request};

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
    /// Most observations admitted and not yet in the graph.
    pub capacity: u32,
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
    /// Write `bytes` at `offset`, all of them, then sync the data.
    Commit {
        /// The segment.
        segment: SegmentId,
        /// Offset, a multiple of the block.
        offset: u32,
        /// What to write.
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
pub enum Output {
    /// For the disk.
    Io(IoTicket, Io),
    /// For a connection's core.
    Reply(Origin, Reply),
}

/// The engine of one core.
#[derive(Debug)]
pub struct Shard {}

impl Shard {
    /// A request arrived.
    pub fn handle_request(&mut self, origin: Origin, request: Request, now: Time) {
        let _ = (origin, request, now);
        todo!()
    }

    /// An I/O ended.
    pub fn handle_io(&mut self, ticket: IoTicket, result: Result<IoOutput, IoFault>, now: Time) {
        let _ = (ticket, result, now);
        todo!()
    }

    /// The time has come that [`Shard::deadline`] named (earlier or later calls do no harm).
    pub fn handle_tick(&mut self, now: Time) {
        let _ = now;
        todo!()
    }

    /// Does about `distances` distances of waiting work: recalls first, then insertions. Returns those spent; zero
    /// means that nothing is waiting.
    pub fn work(&mut self, distances: u32, now: Time) -> u32 {
        let _ = (distances, now);
        todo!()
    }

    /// Whether `work` would find something to do.
    pub fn has_work(&self) -> bool {
        todo!()
    }

    /// When `handle_tick` is to be called at the latest.
    pub fn deadline(&self) -> Option<Time> {
        todo!()
    }

    /// The next output, to be called until there is none.
    pub fn poll(&mut self) -> Option<Output> {
        todo!()
    }
}

/// A shard that is being rebuilt from logs.
#[derive(Debug)]
pub struct Recovering {}

impl Recovering {
    /// Begins. `heads` as [`Replay::new`](crate::log::replay::Replay::new) wants them; of all records in these logs it
    /// keeps those of stripes that `owns` names.
    pub fn new(
        config: ShardConfig,
        heads: &[(SegmentId, Vec<u8>)],
        owns: Box<dyn Fn(crate::ids::StripeKey) -> bool>,
    ) -> Result<Recovering, crate::log::replay::LogFault> {
        let _ = (config, heads, owns);
        todo!()
    }

    /// The segment to be given next.
    pub fn next(&self) -> Option<SegmentId> {
        todo!()
    }

    /// Takes the whole segment `next()`.
    pub fn handle_segment(&mut self, bytes: &[u8]) -> Result<(), crate::log::replay::LogFault> {
        let _ = bytes;
        todo!()
    }

    /// The shard, once `next()` is `None`; its rows are in the tail, and unproven records are on their way to the log.
    /// Also the segments that hold nothing and may be removed.
    pub fn finish(self, now: Time) -> (Shard, Vec<SegmentId>) {
        let _ = now;
        todo!()
    }
}
