//! Promise: no one is told that an observation is durable before the disk has said so, and what was told is there after
//! any crash.

mod world;

use engram_shards::ids::SessionId;
use engram_shards::message::{Isolation, OpenIntent, Origin, Reply};
use engram_shards::shard::Io;
use world::{Fate, Sent, World, durable_sequences, id_of, unary, vector};

#[test]
fn the_ack_comes_with_the_end_of_the_commit_and_not_before() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    world.observe(stripe, unary(1, "a", vector(1)));
    world.collect();
    assert!(world.waiting.is_empty(), "one record waits for others first");
    world.pass(500);
    assert!(matches!(world.waiting[0].2, Io::Commit { .. }));
    world.work();
    assert_eq!(world.take().len(), 0, "the commit is in flight");
    world.end_io(0);
    assert_eq!(durable_sequences(&world.take()), [1]);
}

#[test]
fn consecutive_sequences_of_a_commit_are_told_together_by_session() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    let one = world.open(stripe, 1, OpenIntent::Begin);
    let other = world.open(stripe, 2, OpenIntent::Begin);
    for sequence in 1..=16 {
        for (session, epoch, origin) in [(1, one.epoch, 10), (2, other.epoch, 20)] {
            let id = format!("{session}-{sequence}");
            let vector = vector(sequence);
            let origin = Origin(origin);
            world.observe(stripe, Sent { origin, session, epoch, sequence, id: &id, vector });
        }
    }
    world.commit();
    let replies = world.take();
    let told = |origin, session| {
        let mine = replies.iter().filter(|(to, _)| *to == Origin(origin));
        let runs = mine.map(|(_, reply)| match reply {
            Reply::Durable { session: of, first, last, .. } => {
                assert_eq!(*of, SessionId(session));
                (*first, *last)
            }
            reply => panic!("{reply:?}"),
        });
        runs.collect::<Vec<_>>()
    };
    assert_eq!(told(10, 1), [(1, 16)]);
    assert_eq!(told(20, 2), [(1, 16)]);
}

#[test]
fn commit_times_never_fall() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    let mut times = Vec::new();
    for sequence in 1..=5 {
        world.observe(stripe, unary(sequence, &format!("m{sequence}"), vector(sequence)));
        world.commit();
        let Reply::Durable { committed_at, .. } = world.take_one() else { panic!("not durable") };
        times.push(committed_at);
        world.now.0 -= 200_000;
    }
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn what_was_acked_is_there_after_a_crash_and_nothing_that_was_not_sent() {
    for fate in [Fate::Lost, Fate::Whole, Fate::Torn] {
        for acked in 0..40_u64 {
            let mut world = World::new(1);
            let stripe = world.space("diary");
            let opened = world.open(stripe, 9, OpenIntent::Begin);
            let send = |world: &mut World, sequence, epoch| {
                let (id, vector) = (format!("m{sequence}"), vector(sequence));
                let origin = Origin(5);
                world
                    .observe(stripe, Sent { origin, session: 9, epoch, sequence, id: &id, vector });
            };
            (1..=acked).for_each(|sequence| send(&mut world, sequence, opened.epoch));
            world.commit();
            assert_eq!(durable_sequences(&world.take()), (1..=acked).collect::<Vec<_>>());
            (acked + 1..acked + 8).for_each(|sequence| send(&mut world, sequence, opened.epoch));
            world.pass(500);
            world.crash(fate, 1);

            let resumed = world.open(stripe, 9, OpenIntent::Resume);
            let expected = if fate == Fate::Whole { acked + 7 } else { acked };
            assert_eq!(resumed.durable_sequence, expected, "{fate:?} after {acked}");
            let all = world.recall(stripe, &vector(1), 100, Isolation::Durable);
            let mut found: Vec<String> = all.hits.iter().map(id_of).collect();
            let mut sent: Vec<String> = (1..=expected).map(|number| format!("m{number}")).collect();
            found.sort();
            sent.sort();
            assert_eq!(found, sent, "{fate:?} after {acked}");
            assert_eq!(all.snapshot.0, expected);
            send(&mut world, expected + 1, resumed.epoch);
            world.commit();
            assert_eq!(durable_sequences(&world.take()), [expected + 1]);
        }
    }
}

#[test]
fn a_commit_that_failed_once_is_written_anew_and_acked_then() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    world.observe(stripe, unary(1, "a", vector(1)));
    world.pass(500);
    world.disk.fault = Some(engram_shards::log::log::IoFault::Failed);
    world.end_io(0);
    world.disk.fault = None;
    assert_eq!(world.take().len(), 0);
    world.commit();
    assert_eq!(durable_sequences(&world.take()), [1]);
    assert_eq!(world.recall_ids(stripe, &vector(1), 1), ["a"]);
}
