//! When compactions were at work, as a server's metrics tell, looked at every few milliseconds.

use std::io::Result;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::process::metric_of;
use crate::watch::{Look, Watch};

/// Between two looks: a compaction of one segment takes about a second.
const BETWEEN: Duration = Duration::from_millis(40);

/// All looks, in order.
#[derive(Debug)]
pub(super) struct Activity {
    /// Bytes that compactions had written until then.
    looks: Vec<Look<u64>>,
}

/// Looks at what compactions copy until it is finished; times count from `start`.
pub(super) fn watch(address: SocketAddr, start: Instant) -> Watch<u64> {
    let copied = |metrics: &str| metric_of(metrics, "compaction_bytes_total") as u64;
    Watch::start(address, start, BETWEEN, copied)
}

impl Activity {
    /// What was seen.
    pub(super) fn of(watch: Watch<u64>) -> Result<Activity> {
        Ok(Activity { looks: watch.finish()? })
    }

    /// Whether a compaction was at work in any moment between these two.
    pub(super) fn was_between(&self, from: Duration, until: Duration) -> bool {
        let first = self.looks.partition_point(|look| look.at < from).saturating_sub(1);
        let last = self.looks.partition_point(|look| look.at < until).min(self.looks.len() - 1);
        self.looks[last].found > self.looks[first].found
    }

    /// How much of the time one was.
    pub(super) fn share(&self) -> f64 {
        let pairs = self.looks.windows(2);
        let active = pairs.filter(|pair| pair[1].found > pair[0].found);
        let active: f64 = active.map(|pair| (pair[1].at - pair[0].at).as_secs_f64()).sum();
        active / self.span_s()
    }

    /// Bytes that were copied in a second in which one was.
    pub(super) fn copied_per_s(&self) -> f64 {
        let copied = self.looks[self.looks.len() - 1].found - self.looks[0].found;
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
        let looks = copied.map(|(at, found)| Look { at: millis(at), found });
        let activity = Activity { looks: looks.into() };
        assert!(!activity.was_between(millis(2), millis(8)));
        assert!(activity.was_between(millis(12), millis(14)));
        assert!(activity.was_between(millis(8), millis(11)), "its end is beside it");
        assert!(activity.was_between(millis(19), millis(38)), "its begin is");
        assert!(!activity.was_between(millis(21), millis(99)));
        assert_eq!((activity.share(), activity.copied_per_s()), (0.25, 400.0));
    }
}
