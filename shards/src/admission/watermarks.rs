//! Who found too little stays away until there is room to spare: a lane that was full for a stripe is open to it again once
//! what is used has fallen to a lower mark. What is still on its way when an overload ends is so refused, with the time to
//! come back, and does not take each place that comes free.

use crate::ids::Slot;
use crate::message::Lane;

/// Points (hundredths of the capacity) from where a lane or a level begins to be full down to where it is open again.
pub(super) const HYSTERESIS_POINTS: u64 = 10;

/// Points from which a lane is refused.
pub(super) const fn threshold_points(lane: Lane) -> u64 {
    match lane {
        Lane::High => 100,
        Lane::Normal => 90,
        Lane::Low => 80,
    }
}

/// The lower marks of the lanes, and who waits for which. Every step takes the same time, however many do.
#[derive(Debug)]
pub(super) struct Watermarks {
    /// By lane: rows at which it is open again.
    lower: [u64; 3],
    /// By lane: how often what is used has fallen to its mark, and one more.
    falls: [u64; 3],
    /// By slot and lane: `falls` when it last got less than it wished for.
    refused: Vec<[u64; 3]>,
}

impl Watermarks {
    /// Those of a shard that takes so many rows.
    pub(super) fn new(capacity: u32) -> Watermarks {
        let points = |points: u64| u64::from(capacity) * points / 100;
        let lower = |lane| points(threshold_points(lane)) - points(HYSTERESIS_POINTS);
        Watermarks { lower: Lane::ALL.map(lower), falls: [1; 3], refused: Vec::new() }
    }

    /// Rows at which a lane is open again.
    pub(super) fn lower(&self, lane: Lane) -> u64 {
        self.lower[lane.index()]
    }

    /// Whether the stripe found too little in this lane, and the mark was not reached since.
    pub(super) fn is_closed(&self, slot: Slot, lane: Lane) -> bool {
        let refused = self.refused.get(slot.0).map_or(0, |refused| refused[lane.index()]);
        refused == self.falls[lane.index()]
    }

    /// The stripe found less than it wished for in this lane, with so much used. Where that is no more than the mark, the
    /// shard is so small that there is nothing to wait for.
    pub(super) fn close(&mut self, slot: Slot, lane: Lane, used: u64) {
        if used <= self.lower(lane) {
            return;
        }
        if self.refused.len() <= slot.0 {
            self.refused.resize(slot.0 + 1, [0; 3]);
        }
        self.refused[slot.0][lane.index()] = self.falls[lane.index()];
    }

    /// What is used has fallen: who waited for a mark that lies between finds its lane open.
    pub(super) fn fall(&mut self, before: u64, used: u64) {
        for (falls, lower) in self.falls.iter_mut().zip(self.lower) {
            *falls += u64::from(used <= lower && lower < before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Slot = Slot(4);
    const SECOND: Slot = Slot(1);
    const LANE: Lane = Lane::Normal;

    #[test]
    fn a_fall_opens_the_lane_to_all_who_wait_even_if_one_fills_it_before_the_others_ask() {
        let mut marks = Watermarks::new(1_000);
        marks.close(FIRST, LANE, 900);
        marks.close(SECOND, LANE, 900);
        marks.fall(900, 801);
        assert!(marks.is_closed(FIRST, LANE) && marks.is_closed(SECOND, LANE));
        marks.fall(801, 800);
        assert!(!marks.is_closed(FIRST, LANE) && !marks.is_closed(SECOND, LANE));
        marks.close(FIRST, LANE, 900);
        marks.fall(900, 890);
        assert!(marks.is_closed(FIRST, LANE) && !marks.is_closed(SECOND, LANE));
    }

    #[test]
    fn each_lane_has_its_own_mark() {
        let mut marks = Watermarks::new(1_000);
        let closed = |marks: &Watermarks| Lane::ALL.map(|lane| marks.is_closed(FIRST, lane));
        assert_eq!(closed(&marks), [false; 3]);
        Lane::ALL.into_iter().for_each(|lane| marks.close(FIRST, lane, 1_000));
        assert_eq!(closed(&marks), [true; 3]);
        for (used, expected) in [(900, [Lane::Normal, Lane::Low].as_slice()), (800, &[Lane::Low])] {
            marks.fall(1_000, used);
            assert_eq!(closed(&marks), Lane::ALL.map(|lane| expected.contains(&lane)));
        }
    }

    #[test]
    fn where_the_mark_is_no_lower_than_the_threshold_there_is_nothing_to_wait_for() {
        let mut marks = Watermarks::new(7);
        marks.close(FIRST, LANE, 6);
        assert!(!marks.is_closed(FIRST, LANE));
        marks.close(FIRST, LANE, 7);
        assert!(marks.is_closed(FIRST, LANE));
    }
}
