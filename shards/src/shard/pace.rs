//! How fast a compaction goes: no faster than the room is taken that it is to give back, and begun no earlier than it has to be.
//!
//! ```text
//!  headroom  what may yet be written before the log's files are more than twice as long as what counts in them
//!        ╲       others write, and what counts dies
//!         ╲
//!  2 rest ─╲─ ─ ─ ─ ─ ─ ─ ─ ─ a compaction that has the rest to copy begins, …
//!           ╲      ╱
//!            ╲    ╱  … has copied a byte of it for each one of headroom that others took, …
//!       0 ─ ─ ╲ ─╱ ─ ─ ─ ─ ─ … and gives up a segment, of which less than half counted
//! ```
//! So it depends on nothing that takes time: it cannot fall behind, however fast others are, and has nothing to do where what
//! they write replaces nothing. The later it begins, the more of what it would have had to copy is dead by itself.
//!
//! Where headroom is below nothing (most of all is deleted at once; or all there is is short, and the open segment alone is
//! twice as long), more is copied for each byte: one more for each segment that is missing. Every compaction gains headroom
//! then, so what is missing stays within a few segments where nothing but replacements goes on.

use crate::limits::{COMPACTION_SHARE, LOG_SEGMENT_BYTES};

const SEGMENT_BYTES: i128 = LOG_SEGMENT_BYTES as i128;

/// What may yet be written before the log's files, which claim so many bytes, are longer than they may be where so many of
/// them count.
pub(super) fn headroom(claimed: u64, live: u64) -> i64 {
    let bytes = i128::from(COMPACTION_SHARE) * i128::from(live) - i128::from(claimed);
    i64::try_from(bytes).expect("no disk has 2⁶² bytes")
}

/// The headroom at which a compaction begins at the latest that has so many bytes to copy.
pub(super) fn latest_begin(rest: u64) -> i64 {
    i64::try_from(2 * rest).expect("no disk has 2⁶² bytes")
}

/// The pace of one compaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// All is copied when headroom is no more than this.
    end: i64,
    /// The headroom that was missing when it began.
    missing: i128,
}

impl Pace {
    /// Of one that begins with so much headroom and so many bytes to copy.
    pub(super) fn new(headroom: i64, rest: u64) -> Pace {
        let missing = i128::from(headroom.min(0).unsigned_abs());
        let rest = i128::from(rest);
        // What it takes itself, and what others take meanwhile; rounded up, so that nothing is due at once.
        let urgent = SEGMENT_BYTES + missing;
        let taken = rest + (rest * SEGMENT_BYTES + urgent - 1) / urgent;
        let end = i128::from(headroom) - taken;
        Pace { end: i64::try_from(end).expect("no disk has 2⁶² bytes"), missing }
    }

    /// How many bytes are to be copied now, of so many that are left.
    pub(super) fn due(&self, headroom: i64, rest: u64) -> u64 {
        let (rest, left) = (i128::from(rest), i128::from(headroom) - i128::from(self.end));
        let ahead = rest - left.max(0);
        let due = rest + ahead * (SEGMENT_BYTES + self.missing) / SEGMENT_BYTES;
        due.clamp(0, rest) as u64
    }

    /// How many times faster than usual it goes, at least once.
    pub(super) fn urgency(&self) -> u64 {
        1 + u64::try_from(self.missing / SEGMENT_BYTES).expect("no disk has 2⁶² bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However much others take at a time: what is due is copied before the headroom is gone that it began with, and for
        /// each byte of theirs about one is copied, or what was missing asks for.
        #[test]
        fn a_compaction_is_done_in_time_and_no_faster(
            rest in 1..u64::from(LOG_SEGMENT_BYTES),
            missing in 0..4 * i64::from(LOG_SEGMENT_BYTES),
            taken in prop::collection::vec(1_000..1_000_000i64, 1..20),
        ) {
            let begin = -missing;
            let pace = Pace::new(begin, rest);
            prop_assert_eq!(pace.due(begin, rest), 0, "nothing is due yet");
            let (mut headroom, mut left, mut others) = (begin, rest, 0);
            let ratio = (missing as u128 + SEGMENT_BYTES as u128) as f64 / SEGMENT_BYTES as f64;
            for bytes in taken.iter().cycle() {
                headroom -= bytes;
                others += bytes;
                let due = pace.due(headroom, left);
                headroom -= due as i64;
                left -= due;
                let copied = (rest - left) as f64;
                prop_assert!(copied <= ratio * others as f64 + 64.0, "{copied} for {others}");
                if left == 0 {
                    break;
                }
                prop_assert!(headroom > pace.end, "{left} left at {headroom}, of {pace:?}");
            }
        }
    }

    #[test]
    fn what_is_written_anew_makes_nothing_due() {
        let pace = Pace::new(1_000, 500);
        assert_eq!((pace.due(1_000, 500), pace.due(2_000, 500), pace.due(600, 500)), (0, 0, 400));
        assert_eq!((pace.due(800, 400), pace.due(-9_000, 400)), (0, 400), "some died by itself");
    }
}
