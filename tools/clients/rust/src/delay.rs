//! How long to wait before connecting again: twice as long each time, and never as long as everybody else.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The server's own delay is lengthened by up to this part of it, so that its clients do not come back all at once.
const JITTER: f64 = 0.25;
/// Beyond so many doublings it is the longest delay anyway.
const DOUBLINGS_MAX: i32 = 20;

/// A source of chance: splitmix64.
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// Another one in each process and each time.
    pub(crate) fn new() -> Chance {
        Chance(RandomState::new().hash_one(()))
    }

    #[cfg(test)]
    pub(crate) fn of(seed: u64) -> Chance {
        Chance(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below 1.
    fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The waits between attempts.
#[derive(Debug)]
pub(crate) struct Delays {
    first: Duration,
    max: Duration,
    attempts: i32,
    chance: Chance,
}

impl Delays {
    pub(crate) fn new(first: Duration, max: Duration, chance: Chance) -> Delays {
        Delays { first, max, attempts: 0, chance }
    }

    /// The wait before the next attempt, never shorter than the server said.
    pub(crate) fn next(&mut self, retry_after: Option<Duration>) -> Duration {
        let doubled = self.first.as_secs_f64() * 2_f64.powi(self.attempts.min(DOUBLINGS_MAX));
        let longest = doubled.min(self.max.as_secs_f64());
        self.attempts = self.attempts.saturating_add(1);
        let own = Duration::from_secs_f64(longest * (0.5 + self.chance.part() / 2.0));
        own.max(self.jittered(retry_after.unwrap_or_default()))
    }

    /// A wait that the server asked for, and a little more.
    pub(crate) fn jittered(&mut self, wait: Duration) -> Duration {
        wait.mul_f64(1.0 + JITTER * self.chance.part())
    }

    /// The connection proved to be good.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew() {
        let mut delays = Delays::new(10 * MS, 50 * MS, Chance::of(3));
        for longest in [10, 20, 40, 50, 50] {
            let wait = delays.next(None);
            assert!(wait >= longest * MS / 2 && wait <= longest * MS, "{wait:?} of {longest} ms");
        }
        delays.reset();
        assert!(delays.next(None) <= 10 * MS);
    }

    #[test]
    fn no_wait_is_shorter_than_the_server_said() {
        let mut delays = Delays::new(MS, MS, Chance::of(4));
        for _ in 0..100 {
            let wait = delays.next(Some(80 * MS));
            assert!(wait >= 80 * MS && wait <= 100 * MS, "{wait:?}");
        }
    }
}
