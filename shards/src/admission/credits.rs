//! Who may hand over observations: credits by stripe and lane, so that a refusal is told before any stripe sees the
//! observation.

use crate::admission::drain::Drain;
use crate::admission::shares::Shares;
use crate::admission::watermarks::{HYSTERESIS_POINTS, Watermarks, threshold_points};
use crate::ids::{Slot, Time};
use crate::limits::{
    GRAPH_WIDTH_INSERT, GRAPH_WIDTH_INSERT_IDLE, PRESSURE_ROWS_MAX, PRESSURE_ROWS_MIN,
};
use crate::message::{Lane, Level, Pressure};

/// Beyond its share, a stripe beside others may hold so many times what is left: all that want more than their share end
/// at one level, and little is left.
const SHARED_FACTOR: u64 = 16;

/// Credits that a core would like to have.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// The stripe.
    pub slot: Slot,
    /// The lane.
    pub lane: Lane,
    /// How many would be welcome.
    pub wanted: u32,
}

/// The shard's account of credits and depth.
#[derive(Debug)]
pub struct Admission {
    capacity: u32,
    credits: u32,
    depth: u32,
    depth_by_lane: [u32; 3],
    shares: Shares,
    watermarks: Watermarks,
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
            shares: Shares::default(),
            watermarks: Watermarks::new(capacity),
            level: Level::Normal,
            level_changes: [0; 4],
            drain: Drain::default(),
        }
    }

    /// Grants what is wished for as far as it fits into what is left of the stripe's share, as long as the shard is not
    /// full, or into its part of what no one else uses below the lane's threshold. Who does not get it all gets no
    /// more than its share until there is room to spare. `sessions` share what the shard drains.
    pub fn grant(&mut self, wish: Wish, sessions: u32, now: Time) -> (u32, Pressure) {
        let Wish { slot, lane, wanted } = wish;
        let room = self.room(slot, lane, now);
        let granted = room.rows.min(u64::from(wanted)) as u32;
        if granted > 0 {
            self.credits += granted;
            self.shares.hold(slot, granted);
            assert!(
                self.used() <= u64::from(self.capacity) || planted!(CapacityExceeded),
                "credits and depth exceed the capacity"
            );
        } else if wanted > 0 {
            self.shares.refuse(slot, now);
        }
        if granted < wanted {
            self.watermarks.close(slot, room.lane, self.used());
        }
        let retry_after_micros = match granted {
            0 => self.drain.retry_after_micros(room.rows_too_many),
            _ => 0,
        };
        (granted, Pressure { retry_after_micros, ..self.pressure(sessions) })
    }

    /// How full the shard is, and what each of `sessions` should keep to.
    pub fn pressure(&self, sessions: u32) -> Pressure {
        let preferred_rate = match self.level {
            Level::Normal | Level::Warning => 0,
            Level::Critical | Level::Overloaded => self.drain.share(sessions),
        };
        let (depth, capacity, level) = (self.depth, self.capacity, self.level);
        Pressure { depth, capacity, level, preferred_rate, retry_after_micros: 0 }
    }

    /// Takes back credits of a stripe that were not used.
    pub fn take_back(&mut self, slot: Slot, count: u32) {
        let before = self.used();
        self.spend(count);
        if !planted!(HoldingForgotten) {
            self.shares.release(slot, count);
        }
        self.watermarks.fall(before, self.used());
    }

    /// A credit was used: its observation is in the tail now.
    pub fn admit(&mut self, lane: Lane) {
        self.spend(1);
        self.depth += 1;
        self.depth_by_lane[lane.index()] += 1;
        self.settle_level();
    }

    /// Rows of a stripe were replayed at the start, and wait. They may exceed the capacity: then nothing is granted until
    /// fewer do.
    pub fn recover(&mut self, slot: Slot, rows: u32) {
        self.depth += rows;
        self.shares.hold(slot, rows);
        self.settle_level();
    }

    /// A row of a stripe and a lane (none: a replayed one) that waited is no more.
    pub fn forget(&mut self, slot: Slot, lane: Option<Lane>) {
        assert!(self.depth > 0, "a row left that was never admitted");
        let before = self.used();
        self.depth -= 1;
        self.shares.release(slot, 1);
        self.watermarks.fall(before, self.used());
        if let Some(lane) = lane {
            self.depth_by_lane[lane.index()] -= 1;
        }
        self.settle_level();
    }

    /// A row waits no longer.
    pub fn placed(&mut self, slot: Slot, lane: Option<Lane>, now: Time) {
        self.forget(slot, lane);
        self.drain.measure(now);
        if self.depth == 0 {
            self.drain.pause();
        }
    }

    /// Credits and rows that wait of one stripe.
    pub fn held(&self, slot: Slot) -> u32 {
        self.shares.held(slot)
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

    /// Credits and rows that wait, of all stripes.
    fn used(&self) -> u64 {
        u64::from(self.credits) + u64::from(self.depth)
    }

    fn spend(&mut self, count: u32) {
        assert!(count <= self.credits, "more credits came back than were granted");
        self.credits -= count;
    }

    /// What there is for a stripe.
    fn room(&mut self, slot: Slot, lane: Lane, now: Time) -> Room {
        let factor = if planted!(CapacityExceeded) { 2 } else { 1 };
        let capacity = factor * u64::from(self.capacity);
        let (used, held) = (self.used(), u64::from(self.shares.held(slot)));
        let sharers = self.shares.sharers(slot, now);
        let is_alone = sharers == 1;
        let share = (factor * self.points(threshold_points(lane)) / sharers).max(1);
        let of_share = share.saturating_sub(held).min(capacity.saturating_sub(used));
        // Who comes to a shard that others have filled finds room above the normal lane, whatever they filled it by.
        let lane = match lane {
            Lane::High if !is_alone => Lane::Normal,
            _ => lane,
        };
        let left = (factor * self.points(threshold_points(lane))).saturating_sub(used);
        let of_rest = match is_alone {
            true => left,
            false => (SHARED_FACTOR * left).saturating_sub(held) / (SHARED_FACTOR + 1),
        };
        // One that is alone has no share that others would owe it.
        let rows = match (self.watermarks.is_closed(slot, lane), is_alone) {
            (false, _) => of_share.max(of_rest),
            (true, false) => of_share,
            (true, true) => 0,
        };
        let rows_too_many = match held < share && !is_alone {
            true => (used + 1).saturating_sub(capacity),
            false => used.saturating_sub(self.watermarks.lower(lane)),
        };
        Room { lane, rows, rows_too_many }
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

/// What a stripe finds.
#[derive(Clone, Copy, Debug)]
struct Room {
    /// The lane whose thresholds count.
    lane: Lane,
    /// Rows that it may hand over.
    rows: u64,
    /// Where that is none: how many have to leave until there is some, with some to spare.
    rows_too_many: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::drain::{DRAIN_ROWS_PER_S_GUESS, RETRY_MICROS_MAX, RETRY_MICROS_MIN};

    const ONLY: Slot = Slot(0);

    fn filled(capacity: u32, depth: u32) -> Admission {
        let mut admission = Admission::new(capacity);
        admission.recover(ONLY, depth);
        admission
    }

    fn grant(admission: &mut Admission, lane: Lane, wanted: u32) -> u32 {
        admission.grant(Wish { slot: ONLY, lane, wanted }, 1, Time(0)).0
    }

    #[test]
    fn each_lane_is_open_up_to_its_threshold() {
        for (lane, open) in [(Lane::Low, 80), (Lane::Normal, 90), (Lane::High, 100)] {
            let mut admission = Admission::new(100);
            assert_eq!(grant(&mut admission, lane, 1_000), open);
            let wish = Wish { slot: ONLY, lane, wanted: 1 };
            let (granted, pressure) = admission.grant(wish, 1, Time(0));
            assert_eq!(granted, 0);
            assert!(pressure.retry_after_micros >= RETRY_MICROS_MIN);
        }
    }

    #[test]
    fn credits_and_depth_together_stay_within_the_capacity() {
        let mut admission = Admission::new(100);
        let granted = grant(&mut admission, Lane::High, 60);
        (0..granted).for_each(|_| admission.admit(Lane::High));
        assert_eq!(grant(&mut admission, Lane::High, 60), 40);
        admission.take_back(ONLY, 10);
        admission.placed(ONLY, Some(Lane::High), Time(1));
        assert_eq!(grant(&mut admission, Lane::High, 60), 11);
    }

    #[test]
    fn a_depth_above_the_capacity_grants_nothing_until_it_has_fallen() {
        let mut admission = filled(10, 25);
        assert_eq!(grant(&mut admission, Lane::High, 1), 0);
        (0..16).for_each(|_| admission.placed(ONLY, None, Time(1)));
        assert_eq!(grant(&mut admission, Lane::High, 5), 1);
    }

    #[test]
    fn a_level_is_left_ten_points_below_where_it_was_entered() {
        let mut admission = filled(100, 90);
        assert_eq!(admission.level(), Level::Overloaded);
        admission.forget(ONLY, None);
        assert_eq!(admission.level(), Level::Overloaded);
        (0..10).for_each(|_| admission.forget(ONLY, None));
        assert_eq!((admission.depth(), admission.level()), (79, Level::Critical));
        (0..10).for_each(|_| admission.forget(ONLY, None));
        assert_eq!((admission.depth(), admission.level()), (69, Level::Warning));
        (0..30).for_each(|_| admission.forget(ONLY, None));
        assert_eq!((admission.depth(), admission.level()), (39, Level::Normal));
        assert_eq!(admission.level_changes(), [1, 1, 1, 1]);
    }

    #[test]
    fn the_time_to_come_back_follows_the_measured_drain() {
        let (mut fast, mut slow) = (filled(100_000, 100_000), filled(100_000, 100_000));
        for row in 0..20_000 {
            fast.placed(ONLY, None, Time(row * 20));
            slow.placed(ONLY, None, Time(row * 2_000));
        }
        let wish = Wish { slot: ONLY, lane: Lane::Low, wanted: 1 };
        let retry =
            |admission: &mut Admission| admission.grant(wish, 1, Time(0)).1.retry_after_micros;
        let (fast, slow) = (retry(&mut fast), retry(&mut slow));
        // 10,000 rows too many, at 50,000 and at 500 a second.
        assert!((195_000..220_000).contains(&fast), "{fast}");
        assert_eq!(slow, RETRY_MICROS_MAX);
    }

    #[test]
    fn sessions_share_what_is_drained_once_the_shard_is_critical() {
        let rate = |depth, sessions| filled(100_000, depth).pressure(sessions).preferred_rate;
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
                admission.recover(ONLY, 1);
                let width = admission.insertion_width();
                let most = GRAPH_WIDTH_INSERT_IDLE - GRAPH_WIDTH_INSERT;
                assert!(width <= last && last - width <= most, "{last}, then {width}");
                last = width;
            }
            assert_eq!(last, GRAPH_WIDTH_INSERT, "capacity {capacity}");
        }
        let mut large = Admission::new(100_000);
        large.recover(ONLY, PRESSURE_ROWS_MIN);
        assert_eq!(large.insertion_width(), GRAPH_WIDTH_INSERT_IDLE);
        large.recover(ONLY, PRESSURE_ROWS_MAX);
        assert_eq!(large.insertion_width(), GRAPH_WIDTH_INSERT);
    }

    const NOISY: Slot = Slot(7);
    const QUIET: Slot = Slot(3);

    fn wish(slot: Slot, lane: Lane, wanted: u32) -> Wish {
        Wish { slot, lane, wanted }
    }

    #[test]
    fn who_comes_to_a_shard_that_another_has_filled_finds_room() {
        for lane in Lane::ALL {
            let mut admission = Admission::new(1_000);
            let filled = admission.grant(wish(NOISY, Lane::Normal, 5_000), 1, Time(0)).0;
            assert_eq!(filled, 900, "what others leave unused is free to take");
            assert_eq!(admission.grant(wish(QUIET, lane, 60), 1, Time(0)).0, 60);
            assert_eq!(admission.grant(wish(NOISY, Lane::High, 1), 1, Time(0)).0, 0);
            assert_eq!(admission.grant(wish(QUIET, lane, 60), 1, Time(0)).0, 40, "it is full now");
        }
    }

    #[test]
    fn what_comes_free_goes_to_who_was_refused_below_its_share() {
        let mut admission = Admission::new(1_000);
        assert_eq!(admission.grant(wish(NOISY, Lane::High, 1_000), 1, Time(0)).0, 1_000);
        let (granted, pressure) = admission.grant(wish(QUIET, Lane::Low, 1), 1, Time(0));
        assert_eq!((granted, pressure.retry_after_micros), (0, RETRY_MICROS_MIN));
        admission.take_back(NOISY, 5);
        assert_eq!(admission.grant(wish(NOISY, Lane::High, 1), 1, Time(1)).0, 0);
        assert_eq!(admission.grant(wish(QUIET, Lane::Low, 9), 1, Time(1_000)).0, 5);
        admission.take_back(QUIET, 5);
        // It has come back, or never will.
        let later = Time(RETRY_MICROS_MAX + 1_000_000);
        assert_eq!(admission.grant(wish(NOISY, Lane::High, 9), 1, Time(later.0 - 1)).0, 0);
        assert_eq!(admission.grant(wish(NOISY, Lane::High, 9), 1, later).0, 5);
    }

    #[test]
    fn a_question_for_none_is_no_refusal() {
        let mut admission = Admission::new(10);
        assert_eq!(admission.grant(wish(NOISY, Lane::High, 10), 1, Time(0)).0, 10);
        assert_eq!(admission.grant(wish(QUIET, Lane::High, 0), 1, Time(0)).0, 0);
        admission.take_back(NOISY, 1);
        assert_eq!(admission.grant(wish(NOISY, Lane::High, 1), 1, Time(0)).0, 1);
    }

    #[test]
    fn who_was_refused_waits_until_there_is_room_to_spare() {
        for (lane, full) in [(Lane::Low, 800), (Lane::Normal, 900), (Lane::High, 1_000)] {
            let mut admission = filled(1_000, full);
            assert_eq!(grant(&mut admission, lane, 1), 0);
            (1..100).for_each(|_| admission.placed(ONLY, None, Time(0)));
            let (granted, pressure) = admission.grant(wish(ONLY, lane, 1), 1, Time(0));
            assert_eq!((granted, pressure.retry_after_micros), (0, RETRY_MICROS_MIN));
            admission.placed(ONLY, None, Time(0));
            assert_eq!(grant(&mut admission, lane, 5_000), 100, "it may fill it once more");
        }
    }

    #[test]
    fn one_that_was_not_refused_waits_for_nothing() {
        let mut admission = filled(1_000, 899);
        assert_eq!(grant(&mut admission, Lane::Low, 1), 0);
        assert_eq!(grant(&mut admission, Lane::Normal, 1), 1);
        assert_eq!(grant(&mut admission, Lane::Normal, 1), 0);
        assert_eq!(grant(&mut admission, Lane::High, 1), 1, "each lane for itself");
        let quiet = admission.grant(wish(QUIET, Lane::Normal, 1), 1, Time(0)).0;
        assert_eq!(quiet, 1, "and each stripe");
    }

    #[test]
    fn one_within_its_share_waits_for_nothing() {
        let mut admission = Admission::new(1_000);
        assert_eq!(admission.grant(wish(NOISY, Lane::High, 5_000), 1, Time(0)).0, 1_000);
        for lane in Lane::ALL {
            assert_eq!(admission.grant(wish(QUIET, lane, 1), 1, Time(0)).0, 0);
            admission.take_back(NOISY, 1);
            assert_eq!(admission.grant(wish(QUIET, lane, 1), 1, Time(0)).0, 1);
        }
    }

    #[test]
    fn a_shard_of_any_size_opens_again() {
        for (capacity, lane) in (1..30).flat_map(|rows| Lane::ALL.map(|lane| (rows, lane))) {
            let mut admission = filled(capacity, capacity);
            assert_eq!(grant(&mut admission, lane, 1), 0, "{capacity} rows, {lane:?}");
            (0..capacity).for_each(|_| admission.placed(ONLY, None, Time(0)));
            assert!(grant(&mut admission, lane, 1) > 0, "{capacity} rows, {lane:?}");
        }
    }
}
