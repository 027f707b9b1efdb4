//! Who reads whole logs: then no core removes a segment.
//!
//! A shard reads the logs of all cores, when the server starts and when it is built anew. What a compaction has emptied
//! it would miss, or take for damage.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use glommio::timer::Timer;

use crate::limits::REMOVAL_WAIT;

/// Counts them. Shared by all cores; no request comes by here.
#[derive(Clone, Debug, Default)]
pub struct LogReaders {
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    reading: AtomicUsize,
    removing: AtomicUsize,
}

/// One that reads, until it is dropped.
#[derive(Debug)]
pub struct Reading {
    counts: Arc<Counts>,
}

/// A segment is being removed, until it is dropped.
#[derive(Debug)]
pub struct Removal {
    counts: Arc<Counts>,
}

impl LogReaders {
    /// One more, before any core can remove anything.
    pub fn begin(&self) -> Reading {
        // Each side tells of itself before it looks at the other one, so that one of two sees the other.
        self.counts.reading.fetch_add(1, Ordering::SeqCst);
        Reading { counts: Arc::clone(&self.counts) }
    }

    /// One more, once no removal is under way.
    pub async fn begin_again(&self) -> Reading {
        let reading = self.begin();
        while self.counts.removing.load(Ordering::SeqCst) > 0 {
            Timer::new(REMOVAL_WAIT).await;
        }
        reading
    }

    /// A segment can be removed, unless somebody reads.
    pub fn try_remove(&self) -> Option<Removal> {
        self.counts.removing.fetch_add(1, Ordering::SeqCst);
        let removal = Removal { counts: Arc::clone(&self.counts) };
        (self.counts.reading.load(Ordering::SeqCst) == 0).then_some(removal)
    }

    /// A segment can be removed, once nobody reads.
    pub async fn remove(&self) -> Removal {
        loop {
            if let Some(removal) = self.try_remove() {
                return removal;
            }
            Timer::new(REMOVAL_WAIT).await;
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.counts.reading.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Removal {
    fn drop(&mut self) {
        self.counts.removing.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_removed_while_somebody_reads() {
        let readers = LogReaders::default();
        let (one, other) = (readers.begin(), readers.begin());
        assert!(readers.try_remove().is_none());
        drop(one);
        assert!(readers.try_remove().is_none());
        drop(other);
        assert!(readers.try_remove().is_some());
    }

    #[test]
    fn whoever_reads_waits_for_the_end_of_a_removal() {
        let executor = glommio::LocalExecutorBuilder::default()
            .io_memory(1 << 20)
            .spawn(|| async move {
                let readers = LogReaders::default();
                let removal = readers.try_remove().expect("nobody reads");
                let begun = glommio::spawn_local({
                    let readers = readers.clone();
                    async move { readers.begin_again().await }
                });
                while readers.try_remove().is_some() {
                    futures_lite::future::yield_now().await;
                }
                assert_eq!(readers.counts.removing.load(Ordering::SeqCst), 1, "it is held back");
                drop(removal);
                drop(begun.await);
                drop(readers.remove().await);
            })
            .expect("an executor starts");
        executor.join().expect("its promises held");
    }
}
