//! When a stripe's checkpoint is due.
//!
//! A checkpoint spares a restart the replay of all records before it, and costs its own length of writing. So it is due
//! when the records that came since the last one are as long as it will be, or a multiple of that: then no more is ever
//! replayed than that, and the sum of all that is written stays within a factor of the records. Where vectors are short a
//! row's links are longer than its record; then it is due when the rows are three times as many, so that all checkpoints
//! together are half as long again as the last.

use crate::limits::{
    CHECKPOINT_LARGE_BYTES, CHECKPOINT_LOG_BYTES_MAX, CHECKPOINT_RECORDS_BYTES_MIN,
};

/// A small checkpoint is due when the records since the last one are so many times as long: of all that is written, a
/// third is checkpoints. A large one is when they are as long as it: a half.
const SMALL_FACTOR: u64 = 2;

/// Records that a checkpoint does not cover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// How many.
    pub count: u64,
    /// Their length, in bytes.
    pub bytes: u64,
}

/// How much a checkpoint will hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Rows.
    pub rows: u64,
    /// Bytes, about.
    pub bytes: u64,
}

/// Bounds of what a restart replays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointLimits {
    /// A stripe with fewer bytes of records since its last checkpoint gets none, unless they are old.
    pub records_bytes_min: u64,
    /// Checkpoints from this length on are large.
    pub large_bytes: u64,
    /// Records that lie so many bytes behind the end of the log, or as many as all checkpoints are long, are old: their
    /// stripes get a checkpoint however few they are, so that segments need not be read for their sake.
    pub log_bytes_max: u64,
}

impl Default for CheckpointLimits {
    fn default() -> CheckpointLimits {
        CheckpointLimits {
            records_bytes_min: CHECKPOINT_RECORDS_BYTES_MIN,
            large_bytes: CHECKPOINT_LARGE_BYTES,
            log_bytes_max: CHECKPOINT_LOG_BYTES_MAX,
        }
    }
}

impl CheckpointLimits {
    /// No checkpoints.
    pub const NONE: CheckpointLimits =
        CheckpointLimits { records_bytes_min: u64::MAX, large_bytes: 0, log_bytes_max: u64::MAX };

    /// Whether records that came since the last checkpoint make one due that will be so long.
    pub fn is_due(self, since: Records, checkpoint: Extent) -> bool {
        let factor = if checkpoint.bytes < self.large_bytes { SMALL_FACTOR } else { 1 };
        let has_grown = 3 * since.count >= 2 * checkpoint.rows;
        since.bytes >= self.records_bytes_min
            && (has_grown || since.bytes >= factor * checkpoint.bytes)
    }

    /// Whether records that came before so many other bytes of the log are old, where all checkpoints are so long.
    pub fn is_old(self, behind_bytes: u64, checkpoints_bytes: u64) -> bool {
        behind_bytes >= self.log_bytes_max.max(checkpoints_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of a 768-d record of 32-bit floats, and of its row in a checkpoint.
    const RECORD: u64 = 3_250;
    const ROW: u64 = 1_150;

    /// What is written, checkpoints included, in parts of the records, at its worst while a stripe grows to `rows`; and the
    /// most records that a restart replays, in parts of all.
    fn grown(rows: u64) -> (f64, f64) {
        let (mut written, mut covered, mut worst, mut replayed) = (0, 0, 0.0f64, 0.0f64);
        for count in 1..=rows {
            written += RECORD;
            let since = Records { count: count - covered, bytes: (count - covered) * RECORD };
            let extent = Extent { rows: count, bytes: count * ROW };
            if CheckpointLimits::default().is_due(since, extent) {
                written += count * ROW;
                covered = count;
            }
            if count * 2 > rows {
                worst = worst.max(written as f64 / (count * RECORD) as f64);
                replayed = replayed.max((count - covered) as f64 / count as f64);
            }
        }
        (worst, replayed)
    }

    #[test]
    fn what_is_written_stays_within_a_factor_of_the_records_and_so_does_what_is_replayed() {
        let (small, replayed) = grown(100_000);
        assert!(small < 1.55 && replayed < 0.67, "{small}, {replayed}");
        let (large, replayed) = grown(1_000_000);
        assert!(large < 2.05 && replayed < 0.37, "{large}, {replayed}");
    }

    #[test]
    fn a_few_records_make_none_due_unless_they_are_old() {
        let limits = CheckpointLimits::default();
        let since = |bytes| Records { count: 1_000, bytes };
        let extent = Extent { rows: 1_000, bytes: 10 };
        assert!(!limits.is_due(since(CHECKPOINT_RECORDS_BYTES_MIN - 1), extent));
        assert!(limits.is_due(since(CHECKPOINT_RECORDS_BYTES_MIN), extent));
        assert!(!CheckpointLimits::NONE.is_due(since(1 << 50), extent));
        assert!(!limits.is_old(CHECKPOINT_LOG_BYTES_MAX - 1, 0));
        assert!(limits.is_old(CHECKPOINT_LOG_BYTES_MAX, 10));
        assert!(!limits.is_old(CHECKPOINT_LOG_BYTES_MAX, CHECKPOINT_LOG_BYTES_MAX + 1));
        assert!(!CheckpointLimits::NONE.is_old(1 << 50, 0));
    }
}
