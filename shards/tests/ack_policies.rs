//! Promise: an ack means what the server was told that it shall mean.
//!
//! `Sync`: `ack_means_durable`. Here: an interval acks what was synced, many commits at a time; acks of what is only
//! written say so, and the rows are not durable until they are synced.

mod world;

use engram_shards::message::{Durability, Isolation, OpenIntent, Origin, Recalled, Reply};
use engram_shards::settings::AckPolicy;
use engram_shards::shard::{Io, Shard};
use world::{Fate, Sent, World, durable_sequences, id_of, unary, vector};

const INTERVAL: AckPolicy = AckPolicy::Interval { micros: 50_000 };

fn world(acks: AckPolicy) -> World {
    let mut world = World::new(1);
    world.acks = acks;
    world.start(1).expect("an empty disk is sound");
    world
}

/// Writes all that waits to be written, and syncs nothing.
fn write_all(world: &mut World) {
    world.pass(500);
    world.end_all(|io| !matches!(io, Io::Sync { .. }));
}

fn is_sync(world: &World) -> bool {
    matches!(world.waiting.front(), Some((_, _, Io::Sync { .. })))
}

#[test]
fn an_interval_acks_with_its_sync_all_that_was_written_before() {
    let mut world = world(INTERVAL);
    let stripe = world.space("diary");
    world.commit();
    world.take();
    let begun = world.now;
    for sequence in 1..=3 {
        world.observe(stripe, unary(sequence, &format!("m{sequence}"), vector(sequence)));
        write_all(&mut world);
        assert!(world.waiting.is_empty() && world.take().is_empty(), "written, not synced");
    }
    let due = world.shards.iter().filter_map(Shard::deadline).min();
    assert_eq!(due, Some(begun.after_micros(50_000)), "counted from the first one");
    world.pass(50_000);
    assert!(is_sync(&world), "{:?}", world.waiting);
    assert!(world.take().is_empty(), "the sync is in flight");
    world.end_io(0);
    let replies = world.take();
    assert_eq!(durable_sequences(&replies), [1, 2, 3]);
    let times: Vec<_> = replies
        .iter()
        .map(|(_, reply)| match reply {
            Reply::Durable { committed_at, .. } => committed_at.expect("it is durable"),
            reply => panic!("{reply:?}"),
        })
        .collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "each batch has its own: {times:?}");
    // What a restart finds has the same times. (A further batch vouches for these three; it is itself appended anew.)
    world.observe(stripe, unary(4, "m4", vector(4)));
    world.commit();
    let before = world.recall(stripe, &vector(2), 4, Isolation::Durable);
    world.crash(Fate::Lost, 1);
    world.settle();
    let after = world.recall(stripe, &vector(2), 4, Isolation::Durable);
    let vouched = |recalled: &Recalled| {
        let hits = recalled.hits.iter().map(|hit| (id_of(hit), hit.committed_at));
        let mut hits: Vec<_> = hits.filter(|(id, _)| id != "m4").collect();
        hits.sort_unstable();
        hits
    };
    assert_eq!(vouched(&before).len(), 3);
    assert_eq!(vouched(&before), vouched(&after));
}

#[test]
fn what_is_only_written_is_acked_without_a_time_and_is_in_flight() {
    let mut world = world(AckPolicy::Write);
    let stripe = world.space("diary");
    world.commit();
    world.take();
    for sequence in 1..=2 {
        world.observe(stripe, unary(sequence, &format!("m{sequence}"), vector(sequence)));
        write_all(&mut world);
        let reply = world.take_one();
        let Reply::Durable { first, committed_at, .. } = reply else { panic!("{reply:?}") };
        assert_eq!((first, committed_at), (sequence, None));
    }
    let durability = |world: &mut World| {
        let recalled = world.recall(stripe, &vector(1), 1, Isolation::InFlight);
        recalled.hits[0].durability
    };
    assert_eq!(durability(&mut world), Durability::InFlight);
    assert!(world.recall(stripe, &vector(1), 1, Isolation::Durable).hits.is_empty());
    world.pass(100_000);
    assert!(is_sync(&world), "{:?}", world.waiting);
    world.end_io(0);
    assert!(world.take().is_empty(), "they were told once");
    assert_eq!(durability(&mut world), Durability::Durable);
}

#[test]
fn a_session_that_was_acked_too_early_is_resumed_at_what_is_durable() {
    let mut world = world(AckPolicy::Write);
    let stripe = world.space("diary");
    let opened = world.open(stripe, 1, OpenIntent::Begin);
    world.take();
    for sequence in 1..=4 {
        let (id, vector) = (format!("m{sequence}"), vector(sequence));
        let (origin, epoch) = (Origin(10), opened.epoch);
        world.observe(stripe, Sent { origin, session: 1, epoch, sequence, id: &id, vector });
        write_all(&mut world);
        if sequence == 2 {
            world.pass(100_000);
            world.end_all(|_| true);
        }
    }
    assert_eq!(durable_sequences(&world.take()), [1, 2, 3, 4]);
    // The sync of the last two fails, and so does the second attempt: what was acked is gone, and the session knows.
    world.disk.fault = Some(engram_shards::log::log::IoFault::Failed);
    world.pass(100_000);
    world.end_all(|_| true);
    for _ in 0..4 {
        world.pass(500);
        world.end_all(|_| true);
    }
    world.disk.fault = None;
    assert!(world.take().iter().all(|(_, reply)| !matches!(reply, Reply::Dropped { .. })));
    let again = world.open(stripe, 1, OpenIntent::Resume);
    assert_eq!(again.durable_sequence, 2);
}

#[test]
fn a_drain_waits_for_no_interval() {
    for acks in [INTERVAL, AckPolicy::Write] {
        let mut world = world(acks);
        let stripe = world.space("diary");
        world.commit();
        world.observe(stripe, unary(1, "a", vector(1)));
        world.shards.iter_mut().for_each(Shard::drain);
        let now = world.now;
        world.pass(0);
        world.end_all(|_| true);
        assert_eq!(world.now, now);
        let recalled = world.recall(stripe, &vector(1), 1, Isolation::Durable);
        assert_eq!(recalled.hits.len(), 1, "{acks:?}");
    }
}
