//! A core's shard from the logs and checkpoints of the folder.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use engram_shards::checkpoint::block::CheckpointFault;
use engram_shards::checkpoint::due::CheckpointLimits;
use engram_shards::checkpoint::head::HeadFault;
use engram_shards::checkpoint::layout::file_bytes;
use engram_shards::checkpoint::reading::{CheckedHead, is_covered};
use engram_shards::ids::{LogId, SegmentId, StripeKey};
use engram_shards::log::chain::{Chain, Link};
use engram_shards::log::replay::{HEAD_BYTES, LogFault};
use engram_shards::log::summary::Summary;
use engram_shards::shard::{Loading, Ready, Recovering, Remains, Shard, ShardConfig};
use engram_shards::space::TailLimits;

use crate::checkpoint_files::{
    PieceReader, bytes_through_cache, checkpoint_path, checkpoints_beside, list_checkpoints,
    read_head, remove_drafts,
};
use crate::clock::Clock;
use crate::core::Core;
use crate::folder::{
    Folder, FolderError, last_path, list_segments, random_bytes, read_ahead, read_segment,
    read_segment_start, read_summary, remove_leftovers, segment_path, write_segment_start,
};
use crate::limits::{READ_AHEAD_BYTES_MAX, START_READERS, START_READS_MIN};
use crate::memory::MemoryAhead;
use crate::placement::Placement;

/// The segments and checkpoints to be read, and how each begins.
#[derive(Clone, Debug)]
pub struct Segments {
    logs: PathBuf,
    remains: Arc<Remains>,
    /// How many bytes of each checkpoint come through the page cache.
    cached: Arc<BTreeMap<StripeKey, u64>>,
    /// Stripes whose checkpoint has no sound head.
    left_aside: Arc<[StripeKey]>,
}

impl Segments {
    /// All there are in a folder in which no shard runs, and so many will.
    pub fn find(folder: &Folder, cores: u16) -> Result<Segments, RecoveryError> {
        let logs = folder.logs();
        remove_leftovers(&logs, cores).map_err(RecoveryError::Folder)?;
        remove_drafts(&checkpoints_beside(&logs)).map_err(RecoveryError::Folder)?;
        let segments = folder.segments().map_err(RecoveryError::Folder)?;
        let segments = Segments::of(logs, &segments)?;
        segments.keep_heads().map_err(RecoveryError::Folder)?;
        Ok(segments)
    }

    /// Has the disk keep the heads by which others are dead, before any of those is removed. Each is written once more, for a
    /// sync that failed may have left it in the page cache, and clean.
    fn keep_heads(&self) -> Result<(), FolderError> {
        let heads = &self.remains.heads;
        for segment in Chain::new(heads).relied_on() {
            let place = heads.binary_search_by_key(&segment, |(segment, _)| *segment);
            let (_, head) = &heads[place.expect("its head was read")];
            write_segment_start(&self.logs, segment, head)?;
        }
        Ok(())
    }

    /// Those that may hold something of the shard of log `own` now, while the other shards run: all of its own log, and of
    /// the others what is left of what was there when the server started. What they have written since is theirs alone, for
    /// a shard writes to its own log only, and may be half done. None may be removed meanwhile.
    pub fn find_again(&self, own: LogId) -> Result<Segments, RecoveryError> {
        // They are in order.
        let before = self.remains.heads.iter().map(|(segment, _)| (segment.log, segment.number));
        let last_before: BTreeMap<LogId, u32> = before.collect();
        let counts = |segment: &SegmentId| {
            let last = last_before.get(&segment.log);
            segment.log == own || last.is_some_and(|last| segment.number <= *last)
        };
        let listed = list_segments(&self.logs).map_err(RecoveryError::Folder)?;
        let listed: Vec<_> = listed.into_iter().filter(counts).collect();
        Segments::of(self.logs.clone(), &listed)
    }

    fn of(logs: PathBuf, segments: &[SegmentId]) -> Result<Segments, RecoveryError> {
        let starts = read_starts(&logs, segments).map_err(RecoveryError::Folder)?;
        let (mut heads, mut summaries) = (Vec::new(), Vec::new());
        for (segment, (head, summary)) in segments.iter().zip(starts) {
            heads.push((*segment, head));
            summaries.extend(summary.map(|summary| (*segment, summary)));
        }
        let folder = checkpoints_beside(&logs);
        let (checkpoints, left_aside) = checked_heads(&folder)?;
        let cached = checkpoints.keys().map(|stripe| {
            let bytes = bytes_through_cache(&checkpoint_path(&folder, *stripe));
            // Whoever loads it will meet the error, and tell.
            (*stripe, bytes.unwrap_or(u64::MAX))
        });
        let cached = Arc::new(cached.collect());
        let remains = Arc::new(Remains { heads, summaries, checkpoints });
        Ok(Segments { logs, remains, cached, left_aside: left_aside.into() })
    }

    /// Those that were made beside another number of cores: they may hold what is several cores' now.
    pub fn shared(&self, cores: u16) -> Vec<SegmentId> {
        let heads = Chain::new(&self.remains.heads).links.into_iter().filter_map(|link| link.head);
        let shared = heads.filter(|head| head.shards != cores);
        shared.map(|head| head.segment).collect()
    }

    /// Asks the kernel for what the shards are about to read, in their order, so that the disk works while they do
    /// something else. Takes about as long as the disk does; what cannot be asked for, they read themselves.
    pub fn read_ahead(&self) {
        let checkpoints = &self.remains.checkpoints;
        let head_of = |stripe| checkpoints.get(&stripe).map(CheckedHead::head);
        let is_read = |link: &&Link| {
            let summary = link.head.filter(|_| link.end.is_some()).and_then(|head| {
                let summaries = &self.remains.summaries;
                let place = summaries.binary_search_by_key(&link.segment, |(segment, _)| *segment);
                Summary::decode(&summaries[place.ok()?].1, &head)
            });
            !summary.is_some_and(|summary| is_covered(&summary, |_| true, head_of))
        };
        let links = Chain::new(&self.remains.heads).links;
        let segments = links.iter().rev().filter(is_read);
        let mut by_size: Vec<_> =
            checkpoints.iter().map(|(stripe, head)| (file_bytes(head.head()), *stripe)).collect();
        by_size.sort_unstable();
        let folder = checkpoints_beside(&self.logs);
        let checkpoints = by_size.into_iter().map(|(_, stripe)| {
            (checkpoint_path(&folder, stripe), self.cached.get(&stripe).copied().unwrap_or(0))
        });
        let segments = segments.map(|link| (segment_path(&self.logs, link.segment), u64::MAX));
        let mut left = READ_AHEAD_BYTES_MAX;
        for (path, bytes) in segments.chain(checkpoints) {
            match read_ahead(&path, left.min(bytes)) {
                Ok(bytes) => left -= bytes,
                Err(error) => {
                    tracing::debug!(path = %path.display(), %error, "cannot be read ahead");
                }
            }
        }
    }

    /// How much memory the checkpoints of each of `cores` will take: about as much as their files, which hold what is kept
    /// in memory, and hardly more.
    pub fn memory_bytes(&self, cores: u16) -> Vec<u64> {
        let placement = Placement::spread(cores);
        let mut bytes = vec![0; usize::from(cores)];
        for (stripe, head) in &self.remains.checkpoints {
            bytes[usize::from(placement.owner_of(*stripe).0)] += file_bytes(head.head());
        }
        bytes
    }

    /// Where the logs are.
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.remains.heads.len()
    }

    fn read(&self, segment: SegmentId, bytes: &mut Vec<u8>) -> Result<(), RecoveryError> {
        read_segment(&self.logs, segment, bytes).map_err(RecoveryError::Folder)
    }

    fn fault(&self, fault: LogFault) -> RecoveryError {
        RecoveryError::Log { logs: self.logs.clone(), fault }
    }
}

/// How a segment begins, and what was summed up of it, if that is there.
type Start = (Vec<u8>, Option<Vec<u8>>);

/// How each segment begins. Several are read side by side: each read waits for the disk, and does nothing else.
fn read_starts(logs: &Path, segments: &[SegmentId]) -> Result<Vec<Start>, FolderError> {
    let start = |segment: &SegmentId| {
        let head = read_segment_start(logs, *segment, HEAD_BYTES)?;
        Ok((head, read_summary(logs, *segment)))
    };
    let part = segments.len().div_ceil(START_READERS).max(START_READS_MIN);
    thread::scope(|scope| {
        let read = |part: &[SegmentId]| part.iter().map(start).collect::<Result<Vec<_>, _>>();
        let readers: Vec<_> =
            segments.chunks(part).map(|part| scope.spawn(move || read(part))).collect();
        let mut starts = Vec::with_capacity(segments.len());
        for reader in readers {
            starts.extend(reader.join().expect("reading does not panic")?);
        }
        Ok(starts)
    })
}

/// The heads of the checkpoints that are whole as far as these tell, and whose are not: those are left aside, for the log has
/// all.
fn checked_heads(
    checkpoints: &Path,
) -> Result<(BTreeMap<StripeKey, CheckedHead>, Vec<StripeKey>), RecoveryError> {
    let (mut checked, mut damaged) = (BTreeMap::new(), Vec::new());
    for stripe in list_checkpoints(checkpoints).map_err(RecoveryError::Folder)? {
        let read = read_head(checkpoints, stripe);
        let (head, length) = read.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot read a checkpoint");
            (Vec::new(), 0)
        });
        match CheckedHead::new(&head, stripe, length) {
            Ok(head) => {
                checked.insert(stripe, head);
            }
            Err(HeadFault::UnknownVersion(version)) => {
                let path = checkpoint_path(checkpoints, stripe);
                return Err(RecoveryError::CheckpointVersion { path, version });
            }
            Err(HeadFault::Damaged) => {
                damaged.push(stripe);
                leave_aside(&checkpoint_path(checkpoints, stripe), 0, "head, or length");
            }
        }
    }
    Ok((checked, damaged))
}

fn leave_aside(path: &Path, offset: u64, what: &str) {
    tracing::error!(
        path = %path.display(), offset, what,
        "a checkpoint is damaged and left aside: its space is replayed from the log, which takes longer"
    );
}

/// Builds one core's shard.
#[derive(Debug)]
pub struct Recovery {
    /// The core.
    pub core: Core,
    /// How many cores there are.
    pub cores: u16,
    /// The server's clock.
    pub clock: Clock,
    /// For what is loaded when the server starts.
    pub memory: RefCell<Option<MemoryAhead>>,
}

/// A shard as it begins to serve.
#[derive(Debug)]
pub struct Recovered {
    /// The shard, with all that has no checkpoint.
    pub shard: Shard,
    /// Segments that hold nothing and may be removed.
    pub empty: Vec<SegmentId>,
    /// The rest of it.
    pub rest: Rest,
}

/// What a shard that serves already still lacks: the stripes that have a checkpoint.
#[derive(Debug)]
pub struct Rest {
    core: Core,
    config: ShardConfig,
    segments: Segments,
    loading: Loading,
    memory: Option<MemoryAhead>,
}

impl Recovery {
    /// The shard from all that no checkpoint covers. Between segments the core goes on with its other tasks.
    pub async fn run(&self, segments: &Segments) -> Result<Recovered, RecoveryError> {
        let core = self.core.mesh().core();
        let config = ShardConfig {
            log: LogId(core.0),
            shards: self.cores,
            secret: self.core.secret(),
            incarnation_seed: u64::from_ne_bytes(random_bytes().map_err(RecoveryError::Random)?),
            capacity: self.core.settings().capacity,
            recall_target: self.core.settings().recall_target,
            acks: self.core.settings().durability,
            tail: TailLimits::default(),
            checkpoints: CheckpointLimits::default(),
            record_cache_bytes: self.core.settings().record_cache_bytes,
        };
        let placement = self.core.mesh().placement();
        let owns = Box::new(move |stripe| placement.owner_of(stripe) == core);
        let left_aside = segments.left_aside.iter().filter(|stripe| owns(**stripe)).count();
        self.core.metrics().checkpoints_left_aside += left_aside as u64;
        let fault = |fault| segments.fault(fault);
        let recovering = Recovering::new(config.clone(), &segments.remains, owns).map_err(fault)?;
        let recovering = replay(recovering, segments).await?;
        let (shard, loading, empty) = recovering.finish(self.clock.now()).map_err(fault)?;
        let (core, segments, memory) = (self.core.clone(), segments.clone(), self.memory.take());
        let rest = Rest { core, config, segments, loading, memory };
        Ok(Recovered { shard, empty, rest })
    }
}

async fn replay(
    mut recovering: Recovering,
    segments: &Segments,
) -> Result<Recovering, RecoveryError> {
    let mut bytes = Vec::new();
    while let Some(segment) = recovering.next() {
        segments.read(segment, &mut bytes)?;
        let handled = recovering.handle_segment(&bytes);
        handled.map_err(|fault| segments.fault(fault))?;
        // Between segments the core answers that it is not ready.
        futures_lite::future::yield_now().await;
    }
    Ok(recovering)
}

impl Rest {
    /// Reads it, checkpoint by checkpoint, and hands over each stripe as soon as it is there. Between pieces the core goes
    /// on with its other tasks.
    pub async fn load(mut self, mut hand_over: impl FnMut(Ready)) -> Result<(), RecoveryError> {
        let checkpoints = checkpoints_beside(&self.segments.logs);
        while let Some((stripe, _)) = self.loading.next_piece() {
            match self.load_checkpoint(&checkpoints, stripe).await {
                Ok(ready) => hand_over(ready),
                Err(fault) => {
                    let path = checkpoint_path(&checkpoints, stripe);
                    leave_aside(&path, fault.offset, fault.what);
                    self.core.metrics().checkpoints_left_aside += 1;
                    let (config, remains) = (self.config.clone(), &self.segments.remains);
                    let begun = Recovering::without_checkpoint(config, remains, stripe);
                    let recovering = begun.map_err(|fault| self.segments.fault(fault))?;
                    let replayed = replay(recovering, &self.segments).await?.finish_stripes();
                    let stripes = replayed.map_err(|fault| self.segments.fault(fault))?;
                    stripes.into_iter().for_each(&mut hand_over);
                }
            }
        }
        Ok(())
    }

    async fn load_checkpoint(
        &mut self,
        checkpoints: &Path,
        stripe: StripeKey,
    ) -> Result<Ready, CheckpointFault> {
        let unreadable = |loading: &mut Loading, error: &io::Error| {
            loading.give_up();
            tracing::error!(%error, "cannot read a checkpoint");
            CheckpointFault { offset: 0, what: "the disk does not give it" }
        };
        let loading = &mut self.loading;
        let cached_bytes = self.segments.cached.get(&stripe).copied().unwrap_or(u64::MAX);
        let opened = PieceReader::open(checkpoints, stripe, cached_bytes).await;
        let mut reader = opened.map_err(|error| unreadable(loading, &error))?;
        loop {
            let read = reader.next(loading.ahead().map(|(_, piece)| piece)).await;
            let bytes = read.map_err(|error| unreadable(loading, &error))?;
            if let Some(memory) = &self.memory {
                memory.adopt();
            }
            if let Some(ready) = loading.handle_piece(&bytes)? {
                return Ok(ready);
            }
            futures_lite::future::yield_now().await;
        }
    }
}

/// Why a shard cannot be built.
#[derive(Debug)]
pub enum RecoveryError {
    /// A file or folder cannot be read.
    Folder(FolderError),
    /// A log cannot be read; it is left as it is.
    Log {
        /// The folder of logs.
        logs: PathBuf,
        /// What is wrong.
        fault: LogFault,
    },
    /// A checkpoint is of a format that this program does not know.
    CheckpointVersion {
        /// Its file.
        path: PathBuf,
        /// The version that it names.
        version: u32,
    },
    /// The operating system gives no randomness.
    Random(io::Error),
    /// Reading the logs ended in a panic.
    Panicked(String),
}

impl fmt::Display for RecoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecoveryError::Folder(error) => error.fmt(f),
            RecoveryError::Log { logs, fault } => write_fault(f, logs, fault),
            RecoveryError::CheckpointVersion { path, version } => write!(
                f,
                "{} has format version {version}, which this program does not know\n  \
                 mend: start the program that wrote it, or remove the file; the log has all that is in it",
                path.display()
            ),
            RecoveryError::Random(error) => write!(f, "/dev/urandom cannot be read: {error}"),
            RecoveryError::Panicked(message) => {
                write!(f, "reading the logs failed by a fault of the program: {message}")
            }
        }
    }
}

impl std::error::Error for RecoveryError {}

fn write_fault(f: &mut fmt::Formatter<'_>, logs: &Path, fault: &LogFault) -> fmt::Result {
    match fault {
        LogFault::UnknownVersion { segment, version } => {
            let path = segment_path(logs, *segment);
            write!(
                f,
                "{} has format version {version}, which this program does not know",
                path.display()
            )
        }
        LogFault::Corrupt { segment, offset, what } => {
            let path = segment_path(logs, *segment);
            write!(f, "{} is corrupt at offset {offset}: {what}", path.display())
        }
        LogFault::Missing(segment) => {
            write!(
                f,
                "{} is missing between others of its log",
                segment_path(logs, *segment).display()
            )
        }
        LogFault::EndMissing { segment, offset, covered: (number, end), stripe } => {
            let path = last_path(logs, *segment);
            let checkpoint = checkpoint_path(&checkpoints_beside(logs), *stripe);
            let folder = logs.parent().unwrap_or(logs);
            write!(
                f,
                "the end of a log is missing: {} ends at offset {offset}, but the log went on to offset {end} of segment \
                 {number} when {} was made\n  \
                 mend: bring back its files as they were, or restore a backup (engram restore); \
                 engram check {} --salvage NEW_DIR saves what is left",
                path.display(),
                checkpoint.display(),
                folder.display()
            )
        }
    }
}
