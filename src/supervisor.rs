//! Keeps a core's shard serving: builds it from the logs when the server starts, and again after it has failed, while the
//! other cores go on.
//!
//! ```text
//!  build ─► install ─► serves ─► fails ─► is gone ─► often of late? ─ no ─► build …
//!                                                          └─ yes ─► stays down, and is noted
//! ```

use std::collections::VecDeque;
use std::future::pending;
use std::path::PathBuf;
use std::time::Instant;

use engram_shards::ids::{LogId, SegmentId};
use futures_lite::FutureExt;
use glommio::timer::Timer;

use crate::contain::{Panic, contain};
use crate::cores::CoreIndex;
use crate::disk::Disk;
use crate::down::DownNote;
use crate::folder::segment_path;
use crate::limits::{SHARD_FAILURES_WINDOW, SHARD_REBUILD_REST};
use crate::log_readers::{LogReaders, Reading};
use crate::pump::PumpHandle;
use crate::recovery::{Recovered, Recovery, RecoveryError, Rest, Segments};
use crate::shares::Shares;

/// Keeps one core's shard.
#[derive(Debug)]
pub struct Supervisor {
    /// Builds it.
    pub recovery: Recovery,
    /// What was there when the server started.
    pub segments: Segments,
    /// Where it is installed.
    pub shard: PumpHandle,
    /// The core's way to the logs.
    pub disk: Disk,
    /// Those that read logs, of all cores.
    pub readers: LogReaders,
    /// What all cores have told to count of segments that are several cores'.
    pub shares: Shares,
    /// The data folder.
    pub folder: PathBuf,
}

impl Supervisor {
    /// Runs until it is dropped; ends only if the shard cannot be built when the server starts. It is `reading` the logs from
    /// the start on.
    pub async fn run(self, reading: Reading) -> RecoveryError {
        let mut rest = match self.build(&self.segments).await {
            Ok(recovered) => Some((self.start(recovered), reading)),
            Err(error) => return error,
        };
        let failures_max = self.recovery.core.settings().chaos.shard_failures_max;
        let mut failures = Failures { max: failures_max as usize, times: VecDeque::new() };
        let mut is_first = true;
        loop {
            let mut cause = match self.serve(rest.take()).await {
                Ok(panic) => panic.message,
                // What cannot be served from the start is no server.
                Err(error) if is_first => return error,
                Err(error) => {
                    self.shard.abandon(error.to_string());
                    self.shard.failure().await.message
                }
            };
            is_first = false;
            let begun = Instant::now();
            while failures.note(Instant::now()) {
                let reading = self.readers.begin_again().await;
                self.shares.forget(self.core());
                match self.build_again().await {
                    Ok(recovered) => {
                        rest = Some((self.install_again(recovered, begun), reading));
                        break;
                    }
                    Err(error) => {
                        cause = error.to_string();
                        tracing::error!(
                            core = self.core().0,
                            cause,
                            "a shard cannot be built anew"
                        );
                        drop(reading);
                        Timer::new(SHARD_REBUILD_REST).await;
                    }
                }
            }
            if failures.is_too_many() {
                self.give_up(&cause);
                return pending().await;
            }
        }
    }

    fn core(&self) -> CoreIndex {
        self.recovery.core.mesh().core()
    }

    /// Gives the shard the rest of its stripes, and ends when it has failed, or when they cannot be read.
    async fn serve(&self, rest: Option<(Rest, Reading)>) -> Result<Panic, RecoveryError> {
        let Some((rest, reading)) = rest else { return Ok(self.shard.failure().await) };
        let begun = Instant::now();
        let loaded = async {
            let loaded = contain(rest.load(|ready| self.shard.restore(ready))).await;
            loaded.unwrap_or_else(|panic| Err(RecoveryError::Panicked(panic.message)))?;
            drop(reading);
            let millis = begun.elapsed().as_millis() as u64;
            tracing::info!(core = self.core().0, millis, "all spaces of a shard are loaded");
            pending().await
        };
        loaded.or(async { Ok(self.shard.failure().await) }).await
    }

    async fn build(&self, segments: &Segments) -> Result<Recovered, RecoveryError> {
        let built = contain(self.recovery.run(segments)).await;
        built.unwrap_or_else(|panic| Err(RecoveryError::Panicked(panic.message)))
    }

    fn start(&self, recovered: Recovered) -> Rest {
        let Recovered { shard, empty, rest } = recovered;
        self.shard.install(shard);
        tracing::info!(core = self.core().0, segments = self.segments.count(), "a shard is ready");
        if self.core() == CoreIndex(0) {
            let mesh = self.recovery.core.mesh().clone();
            let (segments, disk) = (self.segments.clone(), self.disk.clone());
            let readers = self.readers.clone();
            let removal = async move {
                mesh.ready().wait().await;
                let _removal = readers.remove().await;
                remove(empty, &segments, &disk).await;
            };
            glommio::spawn_local(removal).detach();
        }
        rest
    }

    /// Segments that hold nothing stay where they are until the server starts again.
    async fn build_again(&self) -> Result<Recovered, RecoveryError> {
        let segments = self.segments.find_again(LogId(self.core().0))?;
        self.build(&segments).await
    }

    fn install_again(&self, recovered: Recovered, begun: Instant) -> Rest {
        let Recovered { shard, rest, .. } = recovered;
        self.shard.install(shard);
        self.recovery.core.metrics().shard_restarts += 1;
        let millis = begun.elapsed().as_millis() as u64;
        tracing::warn!(core = self.core().0, millis, "a shard that failed is ready again");
        rest
    }

    fn give_up(&self, cause: &str) {
        let core = self.core();
        tracing::error!(
            core = core.0,
            cause,
            "a shard failed too often and stays down until the server is started anew"
        );
        if let Err(error) = DownNote::new(core, cause).write(&self.folder) {
            tracing::warn!(%error, "that could not be noted in the data folder");
        }
        self.shard.give_up();
    }
}

async fn remove(empty: Vec<SegmentId>, segments: &Segments, disk: &Disk) {
    for segment in empty {
        if let Err(error) = disk.remove(segment).await {
            let path = segment_path(segments.logs(), segment);
            tracing::warn!(path = %path.display(), %error, "an empty segment cannot be removed");
        }
    }
}

/// When a shard failed of late.
#[derive(Debug)]
struct Failures {
    /// So many are too many.
    max: usize,
    times: VecDeque<Instant>,
}

impl Failures {
    /// Another one. Whether the shard may be built anew.
    fn note(&mut self, now: Instant) -> bool {
        self.times.push_back(now);
        let since = |time: &Instant| now.duration_since(*time);
        while self.times.front().is_some_and(|time| since(time) > SHARD_FAILURES_WINDOW) {
            self.times.pop_front();
        }
        !self.is_too_many()
    }

    fn is_too_many(&self) -> bool {
        self.times.len() >= self.max
    }
}
