//! Promise: a small space is compared row by row and pays for no graph; one that outgrows that never stalls. Up to the
//! bound of its tail no row waits for more than the disk, so none counts in the depth; each row beyond puts the oldest
//! into the graph; idle time does the rest where a graph answers sooner. No step of a recall is longer for it.

mod pairs;
mod world;

use std::path::Path;

use engram_shards::graph::{Index, Scored, Scratch};
use engram_shards::ids::{SessionId, StripeKey};
use engram_shards::limits::{GRAPH_ROWS_MIN, RECALL_SCAN_ROWS_MAX, TAIL_ROWS_MAX};
use engram_shards::log::log::IoFault;
use engram_shards::message::{
    Drain, Isolation, Lane, Level, OpenIntent, Reply, Request, StripeStatus,
};
use engram_shards::quality::RecallTarget;
use engram_shards::settings::Metric;
use engram_shards::space::TailLimits;
use engram_shards::vector::codes::{Codes, encode};
use pairs::Pairs;
use world::{CLIENT, Fate, Sent, World, recall, unary, vector};

/// A world whose spaces have these bounds.
fn world_of(rows_max: u32, graph_rows_min: u32) -> World {
    let mut world = World::new(1);
    world.tail = TailLimits { rows_max, graph_rows_min };
    world.start(1).expect("an empty disk is sound");
    world
}

/// Makes observations of these numbers durable, and grants no work.
fn store(world: &mut World, stripe: StripeKey, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        world.observe(stripe, unary(number, &format!("m{number}"), vector(number)));
    }
    world.commit();
    world.take();
}

/// What is told of the only stripe, and the shard's depth.
fn told(world: &mut World) -> (StripeStatus, u32) {
    let mut status = world.status().remove(0);
    (status.stripes.remove(0), status.depth)
}

/// Grants work as long as someone waits for it. Returns the grants.
fn work_while_asked(world: &mut World) -> u32 {
    let mut grants = 0;
    while world.shards[0].is_asked() {
        world.shards[0].work(1, world.now);
        grants += 1;
    }
    grants
}

/// The machine fails and starts again; what no one vouches for becomes durable again.
fn restart(world: &mut World) {
    world.crash(Fate::Lost, 1);
    world.commit();
    world.take();
}

#[test]
fn rows_of_a_small_space_wait_for_the_disk_alone() {
    let mut world = world_of(32, 32);
    world.recall_target = Some(RecallTarget::default());
    world.start(1).expect("an empty disk is sound");
    let stripe = world.space("diary");
    world.observe(stripe, unary(1, "m1", vector(1)));
    assert_eq!(told(&mut world).1, 1, "it waits for the disk");
    world.commit();
    world.take();
    store(&mut world, stripe, 2..=31);
    assert!(!world.shards[0].has_work(), "there is nothing to be done");
    let (stripe_status, depth) = told(&mut world);
    assert_eq!((stripe_status.indexed, stripe_status.linked, depth), (31, 0, 0));
    assert!(stripe_status.upkeep.settled);
    let waits = &world.status()[0].queue_wait_micros[Lane::Normal.index()];
    assert_eq!(waits.count(), 31, "each has waited once");
    for number in 1..=31 {
        assert_eq!(world.recall_ids(stripe, &vector(number), 1), [format!("m{number}")]);
    }
}

#[test]
fn each_row_beyond_the_bound_puts_the_oldest_into_the_graph() {
    let mut world = world_of(32, 1_000);
    let stripe = world.space("diary");
    store(&mut world, stripe, 1..=32);
    assert!(!world.shards[0].has_work());
    for number in 33..=80 {
        store(&mut world, stripe, number..=number);
        let (stripe_status, depth) = told(&mut world);
        assert_eq!((stripe_status.indexed, depth), (number - 1, 1), "one waits behind the tail");
        assert_eq!(work_while_asked(&mut world), 1, "for one insertion");
        let (stripe_status, depth) = told(&mut world);
        assert_eq!((stripe_status.indexed, stripe_status.linked), (number, number - 32));
        assert_eq!(depth, 0);
    }
    store(&mut world, stripe, 81..=120);
    assert_eq!(told(&mut world).1, 40);
    assert_eq!(work_while_asked(&mut world), 40);
    assert!(!world.shards[0].has_work(), "the tail is as long as may be, and stays");
    assert_eq!((told(&mut world).0.linked, told(&mut world).1), (88, 0));
    for number in 1..=120 {
        assert_eq!(world.recall_ids(stripe, &vector(number), 1), [format!("m{number}")]);
    }
    assert_eq!(world.shards[0].check(), Ok(()));
}

#[test]
fn idle_time_gives_a_graph_to_a_space_of_some_size_and_to_none_below() {
    let mut world = world_of(64, 48);
    let stripe = world.space("diary");
    store(&mut world, stripe, 1..=47);
    assert!(!world.shards[0].has_work(), "too few rows for a graph");
    store(&mut world, stripe, 48..=48);
    assert!(world.shards[0].has_work() && !world.shards[0].is_asked(), "for idle time alone");
    world.work();
    assert_eq!(told(&mut world).0.linked, 48);
    store(&mut world, stripe, 49..=60);
    assert_eq!((told(&mut world).0.linked, told(&mut world).1), (48, 0), "no one waits for it");
    world.work();
    assert_eq!(told(&mut world).0.linked, 60);
    assert_eq!(world.shards[0].check(), Ok(()));
}

#[test]
fn a_space_takes_any_number_of_rows_beyond_the_capacity_while_its_tail_has_room() {
    let mut world = World::with_capacity(1, 10);
    world.tail = TailLimits { rows_max: 300, graph_rows_min: 300 };
    world.start(1).expect("an empty disk is sound");
    let stripe = world.space("diary");
    for first in (1..=290).step_by(10) {
        store(&mut world, stripe, first..=first + 7);
        assert_eq!(world.status()[0].level, Level::Normal);
    }
    world.ask(stripe, CLIENT, Request::Credit { stripe, lane: Lane::High, wanted: 100 });
    assert!(matches!(world.take_one(), Reply::Credit { granted: 10, .. }));
    world.ask(stripe, CLIENT, Request::ReturnCredit { stripe, count: 10 });
    // And once it has none, what waits is bounded as ever.
    for first in (301..=380).step_by(8) {
        store(&mut world, stripe, first..=first + 7);
        work_while_asked(&mut world);
    }
    store(&mut world, stripe, 381..=388);
    let status = world.status().remove(0);
    assert_eq!((status.depth, status.level), (8, Level::Critical));
    world.ask(stripe, CLIENT, Request::Credit { stripe, lane: Lane::High, wanted: 100 });
    assert!(matches!(world.take_one(), Reply::Credit { granted: 2, .. }));
}

#[test]
fn rows_that_the_disk_would_not_take_leave_a_tail_of_both_kinds() {
    let mut world = world_of(8, 100);
    let stripe = world.space("diary");
    store(&mut world, stripe, 1..=5);
    world.disk.fault = Some(IoFault::Full);
    store(&mut world, stripe, 6..=20);
    world.disk.fault = None;
    let (stripe_status, depth) = told(&mut world);
    assert_eq!((stripe_status.rows, stripe_status.indexed, depth), (5, 5, 0));
    store(&mut world, stripe, 21..=30);
    assert_eq!((told(&mut world).0.indexed, told(&mut world).1), (8, 7), "seven are too many");
    world.disk.fault = Some(IoFault::Failed);
    store(&mut world, stripe, 31..=33);
    world.disk.fault = None;
    assert_eq!((told(&mut world).0.indexed, told(&mut world).1), (8, 7));
    assert_eq!(work_while_asked(&mut world), 7);
    assert_eq!((told(&mut world).0.indexed, told(&mut world).1), (15, 0));
    assert_eq!(world.status()[0].depth_by_lane, [0, 0, 0]);
    for number in (1..=5).chain(21..=30) {
        assert_eq!(world.recall_ids(stripe, &vector(number), 1), [format!("m{number}")]);
    }
    assert_eq!(world.recall_ids(stripe, &vector(1), 100).len(), 15, "and no others");
}

#[test]
fn a_session_drained_to_the_index_closes_as_soon_as_its_rows_wait_for_nothing() {
    let mut world = world_of(4, 100);
    let stripe = world.space("diary");
    let close = |world: &mut World, epoch| {
        let session = SessionId(7);
        let drain = Drain::Indexed;
        world.ask(stripe, CLIENT, Request::CloseSession { stripe, session, epoch, drain });
    };
    let send = |world: &mut World, epoch, sequences: std::ops::RangeInclusive<u64>| {
        for sequence in sequences {
            let id = format!("m{sequence}");
            let sent = Sent { session: 7, epoch, ..unary(sequence, &id, vector(sequence)) };
            world.observe(stripe, sent);
        }
    };
    let opened = world.open(stripe, 7, OpenIntent::Begin);
    send(&mut world, opened.epoch, 1..=4);
    close(&mut world, opened.epoch);
    assert_eq!(world.take().len(), 0, "not durable");
    world.commit();
    assert!(matches!(world.take().last(), Some((CLIENT, Reply::Closed(Ok(4))))), "in the tail");
    let opened = world.open(stripe, 7, OpenIntent::Resume);
    send(&mut world, opened.epoch, 5..=6);
    world.commit();
    world.take();
    close(&mut world, opened.epoch);
    assert_eq!(world.take().len(), 0, "two wait behind the tail");
    world.shards[0].work(1, world.now);
    assert_eq!(world.take().len(), 0, "one does");
    world.shards[0].work(1, world.now);
    assert!(matches!(world.take_one(), Reply::Closed(Ok(6))));
}

#[test]
fn who_waits_for_rows_is_told_once_they_wait_for_nothing() {
    let mut world = world_of(4, 100);
    let stripe = world.space("diary");
    let send = |world: &mut World, numbers: std::ops::RangeInclusive<u64>| {
        for number in numbers {
            world.observe(stripe, unary(number, &format!("m{number}"), vector(number)));
        }
    };
    let wait = |world: &mut World| world.ask(stripe, CLIENT, Request::AwaitPlaced(stripe));
    let told = |world: &mut World| {
        world.take().iter().filter(|(_, reply)| matches!(reply, Reply::Placed(_))).count()
    };
    wait(&mut world);
    assert_eq!(told(&mut world), 1, "nothing has arrived");
    send(&mut world, 1..=4);
    wait(&mut world);
    assert_eq!(told(&mut world), 0, "not durable");
    world.commit();
    assert_eq!(told(&mut world), 1, "in the tail");
    send(&mut world, 5..=5);
    wait(&mut world);
    send(&mut world, 6..=6);
    wait(&mut world);
    world.commit();
    assert_eq!(told(&mut world), 0, "one and two wait behind the tail");
    world.shards[0].work(1, world.now);
    assert_eq!(told(&mut world), 1);
    world.shards[0].work(1, world.now);
    assert_eq!(told(&mut world), 1);
    send(&mut world, 7..=7);
    wait(&mut world);
    world.disk.fault = Some(IoFault::Failed);
    world.commit();
    assert_eq!(told(&mut world), 1, "what was dropped waits for nothing");
}

#[test]
fn a_restart_leaves_small_spaces_ready_and_counts_what_waits_of_others() {
    let mut world = world_of(32, 1_000);
    let small = world.space("small");
    store(&mut world, small, 1..=32);
    restart(&mut world);
    assert!(!world.shards[0].has_work(), "nothing is to be built");
    assert_eq!((told(&mut world).0.indexed, told(&mut world).1), (32, 0));
    assert_eq!(world.recall_ids(small, &vector(17), 1), ["m17"]);
    store(&mut world, small, 33..=50);
    work_while_asked(&mut world);
    assert_eq!((told(&mut world).0.linked, told(&mut world).1), (18, 0));
    restart(&mut world);
    assert_eq!((told(&mut world).0.indexed, told(&mut world).1), (32, 18));
    assert_eq!(work_while_asked(&mut world), 18);
    assert_eq!((told(&mut world).0.linked, told(&mut world).1), (18, 0));
    // One that idle time gives a graph gets it after a restart too.
    world.tail.graph_rows_min = 32;
    world.crash(Fate::Lost, 1);
    assert!(world.shards[0].has_work(), "before anything else becomes durable");
    world.settle();
    assert_eq!(told(&mut world).0.linked, 50);
    assert_eq!(world.recall_ids(small, &vector(17), 1), ["m17"]);
}

#[test]
fn no_step_of_a_recall_is_longer_because_the_tail_is() {
    let mut world = World::with_capacity(1, 2 * TAIL_ROWS_MAX);
    world.tail = TailLimits { graph_rows_min: u32::MAX, ..TailLimits::default() };
    world.start(1).expect("an empty disk is sound");
    let stripe = world.space("diary");
    store(&mut world, stripe, 1..=u64::from(TAIL_ROWS_MAX));
    world.ask(stripe, CLIENT, Request::Recall(recall(stripe, &vector(5), 10, Isolation::Durable)));
    let mut steps = Vec::new();
    while world.shards[0].is_asked() {
        steps.push(world.shards[0].work(1, world.now));
    }
    // A step also asks each row whether it is visible, and compares the best of the others by their int8 codes.
    let most = RECALL_SCAN_ROWS_MAX + RECALL_SCAN_ROWS_MAX / 16 + 100;
    assert!(steps.iter().all(|step| *step <= most), "{steps:?}");
    assert_eq!(steps.iter().filter(|step| **step >= RECALL_SCAN_ROWS_MAX).count(), 2, "{steps:?}");
}

/// Recall@10 of `ask`, against the comparison of all int8 codes.
fn recall_of(index: &Index, queries: &[Codes], ask: impl Fn(&Codes, &mut Vec<Scored>)) -> f64 {
    let (mut scratch, mut best, mut found) = (Scratch::default(), Vec::new(), Vec::new());
    let mut hits = 0;
    for query in queries {
        best.clear();
        found.clear();
        // As many are asked for as there are, so that each is compared by its int8 codes.
        index.scan(query, 0..index.len(), index.len(), |_| true, &mut scratch, &mut best);
        ask(query, &mut found);
        let is_hit = |scored: &&Scored| scored.similarity >= best[9].similarity;
        hits += found.iter().take(10).filter(is_hit).count();
    }
    hits as f64 / (10 * queries.len()) as f64
}

#[test]
fn a_scan_finds_more_than_a_graph() {
    let pairs = Pairs::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data"));
    let mut index = Index::new(pairs::DIMENSION, Metric::Cosine, 1);
    let mut scratch = Scratch::default();
    for row in 0..GRAPH_ROWS_MIN {
        index.push(&encode(&pairs.base(row as usize)));
        index.insert_next(128, &mut scratch);
    }
    let queries: Vec<Codes> = (0..200).map(|query| encode(&pairs.query(query))).collect();
    let scratch = std::cell::RefCell::new(scratch);
    // As a recall asks, of ten results.
    let scanned = recall_of(&index, &queries, |query, found| {
        let scratch = &mut scratch.borrow_mut();
        for from in (0..GRAPH_ROWS_MIN).step_by(RECALL_SCAN_ROWS_MAX as usize) {
            let range = from..GRAPH_ROWS_MIN.min(from + RECALL_SCAN_ROWS_MAX);
            index.scan(query, range, 18, |_| true, scratch, found);
        }
    });
    let searched = recall_of(&index, &queries, |query, found| {
        index.search(query, 128, 18, |_| true, &mut scratch.borrow_mut(), found);
    });
    assert!(scanned >= 0.995 && scanned >= searched, "{scanned} scanned, {searched} searched");
}
