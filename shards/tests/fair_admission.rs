//! Promise: a noisy space takes at most its share. Whoever asks for less than its share of a shard's capacity is admitted as
//! long as there is any room at all, and of what comes free the others get nothing before it has its share; what nobody
//! else uses is free to take. Who got less than it wished for gets no more than its share until there is room to spare.
//! Against the slow, obvious account: a list of what each holds, counted anew at each question.

mod world;

use engram_shards::admission::{Admission, Wish};
use engram_shards::ids::{Slot, Time};
use engram_shards::message::{Lane, Reply, Request};
use proptest::prelude::*;
use world::{CLIENT, World, unary, vector};

const STRIPES: usize = 5;
/// Longer than any client that was refused is told to stay away.
const FORGOTTEN_MICROS: u64 = 11_000_000;

#[derive(Clone, Debug)]
enum Step {
    Ask {
        slot: usize,
        lane: usize,
        wanted: u32,
    },
    /// Gives back a part of its credits, in hundredths.
    GiveBack {
        slot: usize,
        part: u32,
    },
    /// Uses a part of its credits.
    Use {
        slot: usize,
        part: u32,
    },
    /// A part of its rows waits no longer.
    Place {
        slot: usize,
        part: u32,
    },
    Wait {
        micros: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let slot = || 0..STRIPES;
    let step = prop_oneof![
        5 => (slot(), 0_usize..3, 0_u32..400).prop_map(|(slot, lane, wanted)| Step::Ask { slot, lane, wanted }),
        1 => (slot(), 0_u32..=100).prop_map(|(slot, part)| Step::GiveBack { slot, part }),
        3 => (slot(), 0_u32..=100).prop_map(|(slot, part)| Step::Use { slot, part }),
        2 => (slot(), 0_u32..=100).prop_map(|(slot, part)| Step::Place { slot, part }),
        1 => prop::sample::select(vec![1_000, 4_000_000, FORGOTTEN_MICROS])
            .prop_map(|micros| Step::Wait { micros }),
    ];
    prop::collection::vec(step, 1..200)
}

#[derive(Clone, Debug, Default)]
struct Holding {
    credits: u32,
    rows: u32,
    refused_at: Option<Time>,
    /// By lane: refused, and what is used has not fallen to where it is open again.
    is_closed: [bool; 3],
}

impl Holding {
    fn held(&self) -> u64 {
        u64::from(self.credits + self.rows)
    }

    fn shares(&self, now: Time) -> bool {
        let counts = |at: Time| now.micros_since(at) < FORGOTTEN_MICROS;
        self.held() > 0 || self.refused_at.is_some_and(counts)
    }
}

/// The slow, obvious account.
struct Model {
    capacity: u64,
    holdings: [Holding; STRIPES],
}

impl Model {
    fn used(&self) -> u64 {
        self.holdings.iter().map(Holding::held).sum()
    }

    fn points(&self, points: u64) -> u64 {
        self.capacity * points / 100
    }

    /// Rows from which a lane is full.
    fn threshold(&self, lane: Lane) -> u64 {
        match lane {
            Lane::High => self.points(100),
            Lane::Normal => self.points(90),
            Lane::Low => self.points(80),
        }
    }

    /// Opens the lanes that have room to spare.
    fn open(&mut self) {
        for lane in Lane::ALL {
            if self.used() <= self.threshold(lane) - self.points(10) {
                let all = self.holdings.iter_mut();
                all.for_each(|holding| holding.is_closed[lane.index()] = false);
            }
        }
    }

    /// How many it is to be granted.
    fn grant(&mut self, slot: usize, lane: Lane, wanted: u32, now: Time) -> u32 {
        let others = (0..STRIPES).filter(|other| *other != slot);
        let sharers = 1 + others.filter(|other| self.holdings[*other].shares(now)).count() as u64;
        let share = (self.threshold(lane) / sharers).max(1);
        let lane = if sharers > 1 && lane == Lane::High { Lane::Normal } else { lane };
        let open = self.threshold(lane);
        let is_closed = self.holdings[slot].is_closed[lane.index()];
        let (used, held) = (self.used(), self.holdings[slot].held());
        let mut granted = 0;
        while granted < u64::from(wanted) {
            let fits = used + granted < self.capacity;
            let is_of_share = held + granted < share && (sharers > 1 || !is_closed);
            let left = open.saturating_sub(used + granted + 1);
            let is_modest = sharers == 1 || held + granted < 16 * left;
            let is_open = used + granted < open && !is_closed;
            if !(is_of_share && fits || is_modest && is_open) {
                break;
            }
            granted += 1;
        }
        let holding = &mut self.holdings[slot];
        holding.credits += granted as u32;
        if granted < u64::from(wanted) {
            holding.is_closed[lane.index()] = true;
        }
        let is_known = holding.refused_at.is_some_and(|at| now.micros_since(at) < FORGOTTEN_MICROS);
        if granted == 0 && wanted > 0 && !is_known {
            holding.refused_at = Some(now);
        }
        granted as u32
    }
}

fn part_of(count: u32, part: u32) -> u32 {
    (u64::from(count) * u64::from(part)).div_ceil(100) as u32
}

proptest! {
    #[test]
    fn credits_are_granted_as_the_obvious_account_would(
        capacity in prop::sample::select(vec![1_u32, 7, 100, 1_000]),
        steps in steps(),
    ) {
        let mut admission = Admission::new(capacity);
        let mut model = Model { capacity: capacity.into(), holdings: Default::default() };
        let mut now = Time(0);
        for step in steps {
            match step {
                Step::Ask { slot, lane, wanted } => {
                    let lane = Lane::ALL[lane];
                    let wish = Wish { slot: Slot(slot), lane, wanted };
                    let (granted, pressure) = admission.grant(wish, 1, now);
                    prop_assert_eq!(granted, model.grant(slot, lane, wanted, now));
                    prop_assert_eq!(granted == 0, pressure.retry_after_micros > 0);
                    prop_assert!(model.used() <= u64::from(capacity));
                }
                Step::GiveBack { slot, part } => {
                    let holding = &mut model.holdings[slot];
                    let count = part_of(holding.credits, part);
                    holding.credits -= count;
                    admission.take_back(Slot(slot), count);
                }
                Step::Use { slot, part } => {
                    let holding = &mut model.holdings[slot];
                    let count = part_of(holding.credits, part);
                    holding.credits -= count;
                    holding.rows += count;
                    (0..count).for_each(|_| admission.admit(Lane::Normal));
                }
                Step::Place { slot, part } => {
                    let holding = &mut model.holdings[slot];
                    let count = part_of(holding.rows, part);
                    holding.rows -= count;
                    (0..count).for_each(|_| {
                        admission.placed(Slot(slot), Some(Lane::Normal), now);
                    });
                }
                Step::Wait { micros } => now = now.after_micros(micros),
            }
            model.open();
            for (slot, holding) in model.holdings.iter().enumerate() {
                prop_assert_eq!(u64::from(admission.held(Slot(slot))), holding.held());
            }
        }
    }
}

/// Three spaces that take all they get, four rows of each leaving in turn, and one that wants three rows a round.
#[test]
fn the_greedy_share_what_the_modest_leaves_and_it_waits_for_nothing() {
    const GREEDY: usize = 3;
    const QUIET: Slot = Slot(GREEDY);
    let mut admission = Admission::new(10_000);
    let mut now = Time(0);
    let ask = |admission: &mut Admission, now, slot, wanted| {
        let granted = admission.grant(Wish { slot, lane: Lane::Normal, wanted }, 1, now).0;
        (0..granted).for_each(|_| admission.admit(Lane::Normal));
        granted
    };
    let leave = |admission: &mut Admission, slot, rows| {
        let rows = admission.held(slot).min(rows);
        (0..rows).for_each(|_| admission.placed(slot, Some(Lane::Normal), Time(0)));
    };
    // The first has filled the shard before the others come.
    assert_eq!(ask(&mut admission, now, Slot(0), 50_000), 9_000);
    for round in 0..5_000 {
        assert_eq!(ask(&mut admission, now, QUIET, 3), 3, "round {round}");
        // The first one asks before all others.
        (0..GREEDY).for_each(|slot| _ = ask(&mut admission, now, Slot(slot), 512));
        (0..GREEDY).for_each(|slot| leave(&mut admission, Slot(slot), 4));
        leave(&mut admission, QUIET, 3);
    }
    let held: Vec<u32> = (0..GREEDY).map(|slot| admission.held(Slot(slot))).collect();
    let all: u32 = held.iter().sum();
    // Each has its share, a fourth; the rest is free to take, anew each time that there is room to spare.
    assert!(held.iter().all(|held| (2_240..4_500).contains(held)), "{held:?}");
    assert!((7_980..8_900).contains(&all), "{all} of 9,000 are used");
    // One that is alone again has it all, once those that were refused are forgotten.
    (1..GREEDY).for_each(|slot| leave(&mut admission, Slot(slot), u32::MAX));
    now = now.after_micros(FORGOTTEN_MICROS);
    ask(&mut admission, now, Slot(0), 50_000);
    assert_eq!(admission.held(Slot(0)), 9_000);
}

/// Through the shard: a space that filled it with rows which wait for the disk, and its neighbour.
#[test]
fn a_shard_that_one_space_has_filled_takes_its_neighbours_observations() {
    let mut world = World::with_capacity(1, 100);
    let (noisy, quiet) = (world.space("noisy"), world.space("quiet"));
    let credit = |world: &mut World, stripe, wanted| {
        world.ask(stripe, CLIENT, Request::Credit { stripe, lane: Lane::Normal, wanted });
        let Reply::Credit { granted, .. } = world.take_one() else { panic!("no answer") };
        granted
    };
    assert_eq!(credit(&mut world, noisy, 500), 90);
    for sequence in 1..=90 {
        let append = unary(sequence, &format!("m{sequence}"), vector(sequence)).append(noisy);
        world.ask(noisy, CLIENT, Request::Append(append));
    }
    for sequence in 1..=10 {
        assert_eq!(credit(&mut world, quiet, 1), 1, "number {sequence}");
        let append = unary(sequence, &format!("m{sequence}"), vector(sequence)).append(quiet);
        world.ask(quiet, CLIENT, Request::Append(append));
        assert_eq!(credit(&mut world, noisy, 1), 0);
    }
    let held = |world: &mut World, name| {
        let stripes = world.status().remove(0).stripes;
        let stripe = stripes.into_iter().find(|stripe| stripe.space.settings.name == name);
        stripe.expect("it is there").held
    };
    assert_eq!((held(&mut world, "noisy"), held(&mut world, "quiet")), (90, 10));
    world.settle();
    world.take();
    assert_eq!((held(&mut world, "noisy"), held(&mut world, "quiet")), (0, 0));
    assert_eq!(credit(&mut world, noisy, 500), 90);
}

/// What a restart finds is counted to whom it belongs.
#[test]
fn rows_of_a_restart_count_for_their_own_space() {
    let mut world = World::new(1);
    let noisy = world.space("noisy");
    world.space("quiet");
    for sequence in 1..=40 {
        world.observe(noisy, unary(sequence, &format!("m{sequence}"), vector(sequence)));
    }
    world.settle();
    world.capacity = 40;
    world.crash(world::Fate::Lost, 1);
    let status = world.status().remove(0);
    let held = |name: &str| {
        let stripe = status.stripes.iter().find(|stripe| stripe.space.settings.name == name);
        stripe.expect("it is there").held
    };
    assert_eq!((held("noisy"), held("quiet")), (status.depth, 0));
}
