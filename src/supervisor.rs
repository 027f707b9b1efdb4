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
use engram_shards::shard::Shard;
use glommio::timer::Timer;

use crate::contain::contain;
use crate::cores::CoreIndex;
use crate::disk::Disk;
use crate::down::DownNote;
use crate::folder::segment_path;
use crate::limits::{SHARD_FAILURES_WINDOW, SHARD_REBUILD_REST};
use crate::pump::PumpHandle;
use crate::recovery::{Recovery, RecoveryError, Segments};

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
    /// The data folder.
    pub folder: PathBuf,
}

impl Supervisor {
    /// Runs until it is dropped; ends only if the shard cannot be built when the server starts.
    pub async fn run(self) -> RecoveryError {
        match self.build(&self.segments).await {
            Ok((shard, empty)) => self.start(shard, empty),
            Err(error) => return error,
        }
        let failures_max = self.recovery.core.settings().chaos.shard_failures_max;
        let mut failures = Failures { max: failures_max as usize, times: VecDeque::new() };
        loop {
            let mut cause = self.shard.failure().await.message;
            let begun = Instant::now();
            while failures.note(Instant::now()) {
                match self.build_again().await {
                    Ok(shard) => {
                        self.install_again(shard, begun);
                        break;
                    }
                    Err(error) => {
                        cause = error.to_string();
                        tracing::error!(
                            core = self.core().0,
                            cause,
                            "a shard cannot be built anew"
                        );
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

    async fn build(&self, segments: &Segments) -> Result<(Shard, Vec<SegmentId>), RecoveryError> {
        let built = contain(self.recovery.run(segments)).await;
        built.unwrap_or_else(|panic| Err(RecoveryError::Panicked(panic.message)))
    }

    fn start(&self, shard: Shard, empty: Vec<SegmentId>) {
        self.shard.install(shard);
        tracing::info!(core = self.core().0, segments = self.segments.count(), "a shard is ready");
        if self.core() == CoreIndex(0) {
            let mesh = self.recovery.core.mesh().clone();
            let (segments, disk) = (self.segments.clone(), self.disk.clone());
            let removal = async move {
                // Once no core reads them any more.
                mesh.ready().wait().await;
                remove(empty, &segments, &disk).await;
            };
            glommio::spawn_local(removal).detach();
        }
    }

    /// Segments that hold nothing stay where they are: other cores may be reading.
    async fn build_again(&self) -> Result<Shard, RecoveryError> {
        let segments = self.segments.find_again(LogId(self.core().0))?;
        self.build(&segments).await.map(|(shard, _)| shard)
    }

    fn install_again(&self, shard: Shard, begun: Instant) {
        self.shard.install(shard);
        self.recovery.core.metrics().shard_restarts += 1;
        let millis = begun.elapsed().as_millis() as u64;
        tracing::warn!(core = self.core().0, millis, "a shard that failed is ready again");
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
