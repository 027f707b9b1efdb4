//! How fast rows cease to wait while there are any.

use crate::ids::Time;

/// Rows a second that a shard is taken to drain before it was measured.
pub(super) const DRAIN_ROWS_PER_S_GUESS: u64 = 20_000;
/// Shortest time over which the drain rate is measured, in microseconds.
const DRAIN_WINDOW_MICROS: u64 = 50_000;
/// Bounds of what a refused client is told to wait, in microseconds.
pub(super) const RETRY_MICROS_MIN: u64 = 1_000;
/// See [`RETRY_MICROS_MIN`].
pub(super) const RETRY_MICROS_MAX: u64 = 10_000_000;

/// The measured rate.
#[derive(Debug)]
pub(super) struct Drain {
    rows_per_s: u64,
    window: Option<(Time, u64)>,
}

impl Default for Drain {
    fn default() -> Drain {
        Drain { rows_per_s: DRAIN_ROWS_PER_S_GUESS, window: None }
    }
}

impl Drain {
    /// A row left at `now`.
    pub(super) fn measure(&mut self, now: Time) {
        let (began, rows) = self.window.get_or_insert((now, 0));
        *rows += 1;
        let micros = now.micros_since(*began);
        if micros >= DRAIN_WINDOW_MICROS {
            let measured = (*rows * 1_000_000 / micros).max(1);
            // Half of the new and half of the old: follows a change within a few windows, and one odd one says little.
            self.rows_per_s = (self.rows_per_s + measured).div_ceil(2);
            self.window = None;
        }
    }

    /// After how long to come back: so many rows have left by then.
    pub(super) fn retry_after_micros(&self, rows: u64) -> u64 {
        (rows.max(1) * 1_000_000 / self.rows_per_s).clamp(RETRY_MICROS_MIN, RETRY_MICROS_MAX)
    }

    /// One session's part of the rate, if `sessions` share it.
    pub(super) fn share(&self, sessions: u32) -> u32 {
        let share = self.rows_per_s / u64::from(sessions.max(1));
        share.clamp(1, u64::from(u32::MAX)) as u32
    }

    /// Nothing is left to drain: the time until there is counts for nothing.
    pub(super) fn pause(&mut self) {
        self.window = None;
    }
}
