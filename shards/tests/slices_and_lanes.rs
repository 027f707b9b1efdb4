//! Promise: one core serves many. A slice of work is short, recalls and insertions take turns, no space starves
//! another, and what a shard cannot take is refused by lane before it is sent.

mod world;

use engram_shards::ids::StripeKey;
use engram_shards::limits::RECALLS_WAITING_MAX;
use engram_shards::message::{Isolation, Lane, Level, Refusal, Reply, Request};
use world::{CLIENT, World, dropped_sequences, recall, stripe, unary, vector};

fn credit(world: &mut World, stripe: StripeKey, lane: Lane, wanted: u32) -> (u32, u64) {
    world.ask(stripe, CLIENT, Request::Credit { stripe, lane, wanted });
    let Reply::Credit { granted, pressure, .. } = world.take_one() else { panic!("no answer") };
    (granted, pressure.retry_after_micros)
}

#[test]
fn a_full_shard_refuses_by_lane_and_opens_again_as_it_indexes() {
    let mut world = World::with_capacity(1, 100);
    let stripe = world.space("diary");
    assert_eq!(credit(&mut world, stripe, Lane::Low, 500).0, 80);
    assert_eq!(credit(&mut world, stripe, Lane::Normal, 500).0, 10);
    assert_eq!(credit(&mut world, stripe, Lane::High, 500).0, 10);
    let (granted, retry_after) = credit(&mut world, stripe, Lane::High, 1);
    assert!(granted == 0 && retry_after > 0);
    for sequence in 1..=95 {
        let append = unary(sequence, &format!("m{sequence}"), vector(sequence)).append(stripe);
        world.ask(stripe, CLIENT, Request::Append(append));
    }
    world.ask(stripe, CLIENT, Request::ReturnCredit { stripe, count: 5 });
    let status = world.status().remove(0);
    assert_eq!((status.depth, status.credits, status.level), (95, 0, Level::Overloaded));
    assert_eq!(status.depth_by_lane, [0, 95, 0]);
    assert_eq!(credit(&mut world, stripe, Lane::Normal, 1).0, 0);
    world.settle();
    world.take();
    let status = world.status().remove(0);
    assert_eq!((status.depth, status.level), (0, Level::Normal));
    assert_eq!(credit(&mut world, stripe, Lane::Low, 500).0, 80);
}

#[test]
fn rows_of_a_restart_count_and_nothing_is_granted_above_the_capacity() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    for sequence in 1..=50 {
        world.observe(stripe, unary(sequence, &format!("m{sequence}"), vector(sequence)));
    }
    world.settle();
    world.capacity = 20;
    world.crash(world::Fate::Lost, 1);
    assert_eq!(credit(&mut world, stripe, Lane::High, 1).0, 0);
    world.settle();
    world.take();
    assert_eq!(credit(&mut world, stripe, Lane::High, 100).0, 20);
}

#[test]
fn a_refused_observation_gives_its_credit_back() {
    let mut world = World::new(1);
    let diary = world.space("diary");
    // There are no credits of a space that is not there, and none is given back.
    let nowhere = stripe("nowhere");
    assert_eq!(credit(&mut world, nowhere, Lane::High, 1).0, 0);
    let append = unary(1, "m", vector(1)).append(nowhere);
    world.ask(diary, CLIENT, Request::Append(append));
    assert_eq!(dropped_sequences(&world.take()), [(1, Refusal::UnknownSpace)]);
    world.credit(diary, Lane::Normal);
    let mut append = unary(2, "m", vector(1)).append(diary);
    append.codes.dimension = 9;
    world.ask(diary, CLIENT, Request::Append(append));
    let expected = world::DIMENSION as u16;
    assert_eq!(dropped_sequences(&world.take()), [(2, Refusal::WrongDimension { expected })]);
    assert_eq!(world.status()[0].credits, 0);
}

#[test]
fn a_slice_ends_soon_after_its_budget() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    for sequence in 1..=400 {
        world.observe(stripe, unary(sequence, &format!("m{sequence}"), vector(sequence)));
    }
    world.commit();
    let mut slices = 0;
    while world.shards[0].has_work() {
        let spent = world.shards[0].work(1_000, world.now);
        assert!(spent > 0 && spent < 4_000, "{spent}");
        slices += 1;
    }
    assert!(slices > 10, "{slices}");
}

#[test]
fn a_busy_space_does_not_starve_its_neighbour() {
    let mut world = World::new(1);
    let (busy, quiet) = (world.space("busy"), world.space("quiet"));
    for sequence in 1..=1_000 {
        world.observe(busy, unary(sequence, &format!("m{sequence}"), vector(sequence)));
    }
    world.observe(quiet, unary(1, "q", vector(1)));
    world.commit();
    let indexed = |world: &mut World, stripe: StripeKey| {
        let status = world.status().remove(0);
        let mut stripes = status.stripes.into_iter();
        stripes.find(|status| status.space.key == stripe.space).expect("it is there").indexed
    };
    while indexed(&mut world, quiet) == 0 {
        world.shards[0].work(1, world.now);
    }
    let ahead = indexed(&mut world, busy);
    assert!(ahead < 500, "{ahead} of the busy one came first");
}

#[test]
fn recalls_do_not_stop_insertions_nor_insertions_recalls() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    for sequence in 1..=200 {
        world.observe(stripe, unary(sequence, &format!("m{sequence}"), vector(sequence)));
    }
    world.commit();
    world.take();
    for number in 0..50 {
        let query = recall(stripe, &vector(number), 5, Isolation::Durable);
        world.ask(stripe, CLIENT, Request::Recall(query));
    }
    // Two steps each lead all recalls to their reads.
    for _ in 0..100 {
        world.shards[0].work(1, world.now);
    }
    world.collect();
    assert!(!world.waiting.is_empty(), "recalls came on");
    let indexed = world.status()[0].stripes[0].indexed;
    assert!((50..=150).contains(&indexed), "{indexed} rows came on");
}

#[test]
fn so_many_recalls_wait_and_no_more() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    let query = || Request::Recall(recall(stripe, &vector(1), 1, Isolation::Durable));
    for _ in 0..RECALLS_WAITING_MAX {
        world.ask(stripe, CLIENT, query());
    }
    assert_eq!(world.take().len(), 0);
    world.ask(stripe, CLIENT, query());
    assert!(matches!(world.take_one(), Reply::Recalled(Err(Refusal::TooManyRecalls))));
    world.settle();
    assert_eq!(world.take().len(), RECALLS_WAITING_MAX);
    world.ask(stripe, CLIENT, query());
    world.settle();
    assert!(matches!(world.take_one(), Reply::Recalled(Ok(_))));
}
