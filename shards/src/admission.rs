//! Who may hand over observations: credits by lane, so that a refusal is told before any stripe sees the observation.
//!
//! The depth counts rows that were admitted and wait: for the disk, or for the graph behind a tail that is as long as may be.
//!
//! **Invariant:** credits held by connection cores + depth ≤ capacity, after every grant.

use crate::ids::Time;
use crate::limits::{
    GRAPH_WIDTH_INSERT, GRAPH_WIDTH_INSERT_IDLE, PRESSURE_ROWS_MAX, PRESSURE_ROWS_MIN,
};
use crate::message::{Lane, Level, Pressure};

/// Points (hundredths of the capacity) below its threshold at which a state is left again.
const HYSTERESIS_POINTS: u64 = 10;
/// Rows a second that a shard is taken to drain before it was measured.
const DRAIN_ROWS_PER_S_GUESS: u64 = 20_000;
/// Shortest time over which the drain rate is measured, in microseconds.
const DRAIN_WINDOW_MICROS: u64 = 50_000;
/// Bounds of what a refused client is told to wait, in microseconds.
const RETRY_MICROS_MIN: u64 = 1_000;
/// See [`RETRY_MICROS_MIN`].
const RETRY_MICROS_MAX: u64 = 10_000_000;

/// The shard's account of credits and depth.
#[derive(Debug)]
pub struct Admission {
    capacity: u32,
    credits: u32,
    depth: u32,
    depth_by_lane: [u32; 3],
    level: Level,
    level_changes: [u64; 4],
    drain: Drain,
}

impl Admission {
    /// An empty account over `capacity` rows.
    pub fn new(capacity: u32) -> Admission {
        assert!(capacity > 0, "a shard without capacity can take nothing");
        Admission {
            capacity,
            credits: 0,
            depth: 0,
            depth_by_lane: [0; 3],
            level: Level::Normal,
            level_changes: [0; 4],
            drain: Drain::default(),
        }
    }

    /// Grants up to `wanted` credits of `lane`, one of `sessions`: as many as fit below the lane's threshold.
    pub fn grant(&mut self, lane: Lane, wanted: u32, sessions: u32) -> (u32, Pressure) {
        let threshold = self.points(u64::from(threshold_points(lane)));
        let threshold = if planted!(CapacityExceeded) { 2 * threshold } else { threshold };
        let used = u64::from(self.credits) + u64::from(self.depth);
        let granted = threshold.saturating_sub(used).min(u64::from(wanted)) as u32;
        if granted > 0 {
            self.credits += granted;
            assert!(
                u64::from(self.credits) + u64::from(self.depth) <= u64::from(self.capacity)
                    || planted!(CapacityExceeded),
                "credits and depth exceed the capacity"
            );
        }
        let retry_after_micros = match granted {
            0 => self.retry_after_micros(used, threshold),
            _ => 0,
        };
        let preferred_rate = match self.level {
            Level::Normal | Level::Warning => 0,
            Level::Critical | Level::Overloaded => self.drain.share(sessions),
        };
        let (depth, capacity, level) = (self.depth, self.capacity, self.level);
        (granted, Pressure { depth, capacity, level, preferred_rate, retry_after_micros })
    }

    /// Takes back credits that were not used.
    pub fn take_back(&mut self, count: u32) {
        assert!(count <= self.credits, "more credits came back than were granted");
        self.credits -= count;
    }

    /// A credit was used: its observation is in the tail now.
    pub fn admit(&mut self, lane: Lane) {
        self.take_back(1);
        self.depth += 1;
        self.depth_by_lane[lane.index()] += 1;
        self.settle_level();
    }

    /// Rows were replayed at the start, and wait. They may exceed the capacity: then nothing is granted until fewer do.
    pub fn recover(&mut self, rows: u32) {
        self.depth += rows;
        self.settle_level();
    }

    /// A row of `lane` (none: a replayed one) that waited is no more.
    pub fn forget(&mut self, lane: Option<Lane>) {
        assert!(self.depth > 0, "a row left that was never admitted");
        self.depth -= 1;
        if let Some(lane) = lane {
            self.depth_by_lane[lane.index()] -= 1;
        }
        self.settle_level();
    }

    /// A row waits no longer.
    pub fn placed(&mut self, lane: Option<Lane>, now: Time) {
        self.forget(lane);
        self.drain.measure(now);
        if self.depth == 0 {
            self.drain.pause();
        }
    }

    /// Rows that were admitted and wait.
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// The same by lane.
    pub fn depth_by_lane(&self) -> [u32; 3] {
        self.depth_by_lane
    }

    /// The most that may.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Credits that are out.
    pub fn credits(&self) -> u32 {
        self.credits
    }

    /// Search width for the next row on its way into the graph: the full one while few rows wait, the least under
    /// pressure. Between the two it falls evenly, so that a steady load finds a depth at which the shard just keeps up.
    pub fn insertion_width(&self) -> u32 {
        let (least, full) = (GRAPH_WIDTH_INSERT, GRAPH_WIDTH_INSERT_IDLE);
        let most = PRESSURE_ROWS_MAX.min(self.capacity / 2).max(1);
        let waiting = self.depth.saturating_sub(PRESSURE_ROWS_MIN.min(most / 2)).min(most);
        full - (full - least) * waiting / most
    }

    /// How full the shard is.
    pub fn level(&self) -> Level {
        self.level
    }

    /// How often each level was entered.
    pub fn level_changes(&self) -> [u64; 4] {
        self.level_changes
    }

    /// So many hundredths of the capacity, in rows.
    fn points(&self, points: u64) -> u64 {
        u64::from(self.capacity) * points / 100
    }

    /// How long it takes until the lane is open again with some room to spare.
    fn retry_after_micros(&self, used: u64, threshold: u64) -> u64 {
        let goal = threshold.saturating_sub(self.points(HYSTERESIS_POINTS));
        let rows = used.saturating_sub(goal).max(1);
        (rows * 1_000_000 / self.drain.rows_per_s).clamp(RETRY_MICROS_MIN, RETRY_MICROS_MAX)
    }

    fn settle_level(&mut self) {
        let depth_points = u64::from(self.depth) * 100;
        let reached = |points: u64| depth_points >= points * u64::from(self.capacity);
        let risen = LEVELS.iter().rev().find(|(_, enter)| reached(*enter));
        let held = LEVELS.iter().rev().find(|(level, enter)| {
            *level <= self.level && (*enter == 0 || reached(enter - HYSTERESIS_POINTS))
        });
        let (risen, held) = risen.zip(held).expect("the lowest level is always reached");
        let level = risen.0.max(held.0);
        if level != self.level {
            self.level = level;
            self.level_changes[level.index()] += 1;
        }
    }
}

/// Each level and the points at which it is entered.
const LEVELS: [(Level, u64); 4] =
    [(Level::Normal, 0), (Level::Warning, 50), (Level::Critical, 80), (Level::Overloaded, 90)];

/// Points from which a lane is refused.
const fn threshold_points(lane: Lane) -> u8 {
    match lane {
        Lane::High => 100,
        Lane::Normal => 90,
        Lane::Low => 80,
    }
}

/// How fast rows cease to wait while there are any.
#[derive(Debug)]
struct Drain {
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
    fn measure(&mut self, now: Time) {
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

    /// One session's part of the rate, if `sessions` share it.
    fn share(&self, sessions: u32) -> u32 {
        let share = self.rows_per_s / u64::from(sessions.max(1));
        share.clamp(1, u64::from(u32::MAX)) as u32
    }

    /// Nothing is left to drain: the time until there is counts for nothing.
    fn pause(&mut self) {
        self.window = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(capacity: u32, depth: u32) -> Admission {
        let mut admission = Admission::new(capacity);
        admission.recover(depth);
        admission
    }

    #[test]
    fn each_lane_is_open_up_to_its_threshold() {
        for (lane, open) in [(Lane::Low, 80), (Lane::Normal, 90), (Lane::High, 100)] {
            let mut admission = Admission::new(100);
            assert_eq!(admission.grant(lane, 1_000, 1).0, open);
            let (granted, pressure) = admission.grant(lane, 1, 1);
            assert_eq!(granted, 0);
            assert!(pressure.retry_after_micros >= RETRY_MICROS_MIN);
        }
    }

    #[test]
    fn credits_and_depth_together_stay_within_the_capacity() {
        let mut admission = Admission::new(100);
        let (granted, _) = admission.grant(Lane::High, 60, 1);
        (0..granted).for_each(|_| admission.admit(Lane::High));
        assert_eq!(admission.grant(Lane::High, 60, 1).0, 40);
        admission.take_back(10);
        admission.placed(Some(Lane::High), Time(1));
        assert_eq!(admission.grant(Lane::High, 60, 1).0, 11);
    }

    #[test]
    fn a_depth_above_the_capacity_grants_nothing_until_it_has_fallen() {
        let mut admission = filled(10, 25);
        assert_eq!(admission.grant(Lane::High, 1, 1).0, 0);
        (0..16).for_each(|_| admission.placed(None, Time(1)));
        assert_eq!(admission.grant(Lane::High, 5, 1).0, 1);
    }

    #[test]
    fn a_level_is_left_ten_points_below_where_it_was_entered() {
        let mut admission = filled(100, 90);
        assert_eq!(admission.level(), Level::Overloaded);
        admission.forget(None);
        assert_eq!(admission.level(), Level::Overloaded);
        (0..10).for_each(|_| admission.forget(None));
        assert_eq!((admission.depth(), admission.level()), (79, Level::Critical));
        (0..10).for_each(|_| admission.forget(None));
        assert_eq!((admission.depth(), admission.level()), (69, Level::Warning));
        (0..30).for_each(|_| admission.forget(None));
        assert_eq!((admission.depth(), admission.level()), (39, Level::Normal));
        assert_eq!(admission.level_changes(), [1, 1, 1, 1]);
    }

    #[test]
    fn the_time_to_come_back_follows_the_measured_drain() {
        let (mut fast, mut slow) = (filled(100_000, 100_000), filled(100_000, 100_000));
        for row in 0..20_000 {
            fast.placed(None, Time(row * 20));
            slow.placed(None, Time(row * 2_000));
        }
        let retry =
            |admission: &mut Admission| admission.grant(Lane::Low, 1, 1).1.retry_after_micros;
        let (fast, slow) = (retry(&mut fast), retry(&mut slow));
        // 10,000 rows too many, at 50,000 and at 500 a second.
        assert!((195_000..220_000).contains(&fast), "{fast}");
        assert_eq!(slow, RETRY_MICROS_MAX);
    }

    #[test]
    fn sessions_share_what_is_drained_once_the_shard_is_critical() {
        let rate = |depth, sessions| {
            let mut admission = filled(100_000, depth);
            admission.grant(Lane::High, 1, sessions).1.preferred_rate
        };
        assert_eq!(rate(79_999, 4), 0);
        assert_eq!(rate(80_000, 4), DRAIN_ROWS_PER_S_GUESS as u32 / 4);
        assert_eq!(rate(95_000, 1_000_000), 1, "never a rate of nothing");
        assert_eq!(rate(95_000, 0), DRAIN_ROWS_PER_S_GUESS as u32);
    }

    #[test]
    #[should_panic(expected = "more credits came back")]
    fn credits_that_were_never_granted_cannot_be_used() {
        Admission::new(10).admit(Lane::High);
    }

    #[test]
    fn rows_are_inserted_with_less_effort_the_more_of_them_wait() {
        for capacity in [1, 10, 1_000, 100_000] {
            let mut admission = Admission::new(capacity);
            assert_eq!(admission.insertion_width(), GRAPH_WIDTH_INSERT_IDLE);
            let mut last = GRAPH_WIDTH_INSERT_IDLE;
            for _ in 0..capacity {
                admission.recover(1);
                let width = admission.insertion_width();
                let most = GRAPH_WIDTH_INSERT_IDLE - GRAPH_WIDTH_INSERT;
                assert!(width <= last && last - width <= most, "{last}, then {width}");
                last = width;
            }
            assert_eq!(last, GRAPH_WIDTH_INSERT, "capacity {capacity}");
        }
        let mut large = Admission::new(100_000);
        large.recover(PRESSURE_ROWS_MIN);
        assert_eq!(large.insertion_width(), GRAPH_WIDTH_INSERT_IDLE);
        large.recover(PRESSURE_ROWS_MAX);
        assert_eq!(large.insertion_width(), GRAPH_WIDTH_INSERT);
    }
}
