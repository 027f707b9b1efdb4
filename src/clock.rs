//! The time, as the engine is told it: microseconds since the UNIX epoch that never fall while the
//! process runs.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use engram_shards::ids::Time;

/// The monotonic clock, set once to the wall's time. All cores copy the same one, so their times
/// compare.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    started_at: Time,
}

impl Clock {
    /// A clock set to the wall's time now.
    pub fn start() -> Clock {
        // A host whose clock stands before 1970 gets times from the epoch on; they still rise.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = u64::try_from(since_epoch.as_micros()).expect("the year is below 586,000");
        Clock { started: Instant::now(), started_at: Time(micros) }
    }

    /// The time now.
    pub fn now(&self) -> Time {
        let micros = u64::try_from(self.started.elapsed().as_micros())
            .expect("a process runs for less than that");
        self.started_at.after_micros(micros)
    }

    /// When the clock was set.
    pub fn started_at(&self) -> Time {
        self.started_at
    }
}
