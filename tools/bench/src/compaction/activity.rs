//! When compactions were at work, as a server's metrics tell, looked at every few milliseconds.

use std::io::{Error, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use crate::process::{get, sum_of};

/// Between two looks: a compaction of one segment takes about a second.
const LOOK: Duration = Duration::from_millis(40);

/// What one look found.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: Duration,
    /// Bytes that compactions had written until then.
    copied: u64,
}

/// Looks until it is finished.
pub(super) struct Watch {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Look>>>,
}

/// All looks, in order.
#[derive(Debug)]
pub(super) struct Activity {
    looks: Vec<Look>,
}

impl Watch {
    /// Begins; times count from `start`.
    pub(super) fn start(address: SocketAddr, start: Instant) -> Watch {
        let is_over = Arc::<AtomicBool>::default();
        let ends = is_over.clone();
        let thread = std::thread::spawn(move || {
            let mut looks = Vec::new();
            while !ends.load(Ordering::Relaxed) {
                let metrics = get(address, "/metrics")?;
                let copied = sum_of(&metrics, "engram_streaming_compaction_bytes_total", |_| true);
                looks.push(Look { at: start.elapsed(), copied: copied as u64 });
                sleep(LOOK);
            }
            Ok(looks)
        });
        Watch { is_over, thread }
    }

    /// What it saw.
    pub(super) fn finish(self) -> Result<Activity> {
        self.is_over.store(true, Ordering::Relaxed);
        let looks = self.thread.join().map_err(|_| Error::other("nobody looked"))??;
        Ok(Activity { looks })
    }
}

impl Activity {
    /// Whether a compaction was at work in any moment between these two.
    pub(super) fn was_between(&self, from: Duration, until: Duration) -> bool {
        let first = self.looks.partition_point(|look| look.at < from).saturating_sub(1);
        let last = self.looks.partition_point(|look| look.at < until).min(self.looks.len() - 1);
        self.looks[last].copied > self.looks[first].copied
    }

    /// How much of the time one was.
    pub(super) fn share(&self) -> f64 {
        let pairs = self.looks.windows(2);
        let active = pairs.filter(|pair| pair[1].copied > pair[0].copied);
        let active: f64 = active.map(|pair| (pair[1].at - pair[0].at).as_secs_f64()).sum();
        active / self.span_s()
    }

    /// Bytes that were copied in a second in which one was.
    pub(super) fn copied_per_s(&self) -> f64 {
        let copied = self.looks[self.looks.len() - 1].copied - self.looks[0].copied;
        copied as f64 / (self.share() * self.span_s())
    }

    fn span_s(&self) -> f64 {
        (self.looks[self.looks.len() - 1].at - self.looks[0].at).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_touches_a_moment_of_a_compaction_was_beside_it() {
        let millis = Duration::from_millis;
        let copied = [(0, 5), (10, 5), (20, 9), (30, 9), (40, 9)];
        let looks = copied.map(|(at, copied)| Look { at: millis(at), copied });
        let activity = Activity { looks: looks.into() };
        assert!(!activity.was_between(millis(2), millis(8)));
        assert!(activity.was_between(millis(12), millis(14)));
        assert!(activity.was_between(millis(8), millis(11)), "its end is beside it");
        assert!(activity.was_between(millis(19), millis(38)), "its begin is");
        assert!(!activity.was_between(millis(21), millis(99)));
        assert_eq!((activity.share(), activity.copied_per_s()), (0.25, 400.0));
    }
}
