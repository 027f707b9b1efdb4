//! A core's shard from the logs of the folder.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engram_shards::ids::{LogId, SegmentId};
use engram_shards::log::replay::{HEAD_BYTES, LogFault};
use engram_shards::shard::{Recovering, Shard, ShardConfig};
use engram_shards::space::TailLimits;

use crate::clock::Clock;
use crate::core::Core;
use crate::folder::{
    Folder, FolderError, list_segments, random_bytes, read_segment, read_segment_start,
    segment_path,
};

/// The segments to be read, and how each begins.
#[derive(Clone, Debug)]
pub struct Segments {
    logs: PathBuf,
    heads: Arc<Vec<(SegmentId, Vec<u8>)>>,
}

impl Segments {
    /// All there are in a folder in which no shard runs.
    pub fn find(folder: &Folder) -> Result<Segments, RecoveryError> {
        let logs = folder.logs();
        let heads = heads(&logs, folder.segments().map_err(RecoveryError::Folder)?)?;
        Ok(Segments { logs, heads: Arc::new(heads) })
    }

    /// Those that may hold something of the shard of log `own` now, while the other shards run: all of its own log, and of
    /// the others what was there when the server started. What they have written since is theirs alone, and may be half
    /// done.
    pub fn find_again(&self, own: LogId) -> Result<Segments, RecoveryError> {
        let of_others = self.heads.iter().filter(|(segment, _)| segment.log != own).cloned();
        let listed = list_segments(&self.logs).map_err(RecoveryError::Folder)?;
        let mut heads = heads(&self.logs, listed.into_iter().filter(|segment| segment.log == own))?;
        heads.extend(of_others.filter(|(segment, _)| segment_path(&self.logs, *segment).exists()));
        Ok(Segments { logs: self.logs.clone(), heads: Arc::new(heads) })
    }

    /// Where the logs are.
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.heads.len()
    }

    fn read(&self, segment: SegmentId) -> Result<Vec<u8>, RecoveryError> {
        read_segment(&self.logs, segment).map_err(RecoveryError::Folder)
    }

    fn fault(&self, fault: LogFault) -> RecoveryError {
        RecoveryError::Log { logs: self.logs.clone(), fault }
    }
}

fn heads(
    logs: &Path,
    segments: impl IntoIterator<Item = SegmentId>,
) -> Result<Vec<(SegmentId, Vec<u8>)>, RecoveryError> {
    let head = |segment| Ok((segment, read_segment_start(logs, segment, HEAD_BYTES)?));
    let heads: Result<Vec<_>, FolderError> = segments.into_iter().map(head).collect();
    heads.map_err(RecoveryError::Folder)
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
}

impl Recovery {
    /// The shard, and the segments that hold nothing and may be removed. Between segments the core goes on with its other
    /// tasks.
    pub async fn run(&self, segments: &Segments) -> Result<(Shard, Vec<SegmentId>), RecoveryError> {
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
        };
        let placement = self.core.mesh().placement();
        let owns = Box::new(move |stripe| placement.owner_of(stripe) == core);
        let fault = |fault| segments.fault(fault);
        let mut recovering = Recovering::new(config, &segments.heads, owns).map_err(fault)?;
        while let Some(segment) = recovering.next() {
            let bytes = segments.read(segment)?;
            recovering.handle_segment(&bytes).map_err(fault)?;
            // Between segments the core answers that it is not ready.
            futures_lite::future::yield_now().await;
        }
        Ok(recovering.finish(self.clock.now()))
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
    }
}
