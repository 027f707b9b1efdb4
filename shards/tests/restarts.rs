//! Promise: a restart gives back every space, row and session, with as many shards as before or with others; what nobody
//! vouches for is not relied on, and not lost; and a log that lacks something is refused, not patched over.

mod world;

use engram_shards::ids::{LogId, StripeKey};
use engram_shards::log::log::IoFault;
use engram_shards::log::replay::LogFault;
use engram_shards::message::{
    Durability, IfExists, Isolation, OpenIntent, Refusal, Reply, Request, SpaceDescription,
};
use engram_shards::shard::Shard;
use world::{CLIENT, Fate, Sent, World, durable_sequences, id_of, settings, stripe, unary, vector};

fn fill(world: &mut World, names: &[String], numbers: std::ops::Range<u64>) {
    for number in numbers {
        for name in names {
            let id = format!("{name}-{number}");
            world.observe(stripe(name), unary(number, &id, vector(number)));
        }
    }
    world.settle();
    world.take();
}

fn all_of(world: &mut World, stripe: StripeKey) -> Vec<(u64, String)> {
    let recalled = world.recall(stripe, &vector(1), 500, Isolation::InFlight);
    let mut all: Vec<_> = recalled.hits.iter().map(|hit| (hit.generation.0, id_of(hit))).collect();
    all.sort();
    all
}

#[test]
fn any_number_of_shards_takes_up_what_any_other_left() {
    let mut world = World::new(1);
    let names: Vec<String> = (0..7).map(|number| format!("space-{number}")).collect();
    for name in &names {
        world.space(name);
    }
    let mut until = 1;
    for shards in [1, 3, 2, 5, 1, 4, 1] {
        world.crash(Fate::Lost, shards);
        fill(&mut world, &names, until..until + 12);
        until += 12;
        for name in &names {
            let expected: Vec<_> = (1..until).map(|n| (n, format!("{name}-{n}"))).collect();
            assert_eq!(all_of(&mut world, stripe(name)), expected, "{shards} shards");
        }
    }
    world.crash(Fate::Lost, 2);
    let status = world.status();
    assert_eq!(status.iter().map(|shard| shard.stripes.len()).sum::<usize>(), names.len());
    let depth: u32 = status.iter().map(|shard| shard.depth).sum();
    assert_eq!(u64::from(depth), (until - 1) * names.len() as u64, "replayed rows are in the tail");
    world.settle();
    assert!(world.status().iter().all(|shard| shard.depth == 0), "and then in the graph");
}

/// A folder whose last batch is whole, and which no one was told of: rows 1 and 2 durable, 3 and 4 unproven.
fn with_unproven() -> (World, StripeKey) {
    let mut world = World::new(2);
    let stripe = world.space("diary");
    let opened = world.open(stripe, 6, OpenIntent::Begin);
    for sequence in 1..=4 {
        let (id, vector) = (format!("m{sequence}"), vector(sequence));
        let (origin, epoch) = (CLIENT, opened.epoch);
        world.observe(stripe, Sent { origin, session: 6, epoch, sequence, id: &id, vector });
        if sequence == 2 {
            world.settle();
        }
    }
    world.pass(500);
    world.crash(Fate::Whole, 1);
    (world, stripe)
}

#[test]
fn what_nobody_vouches_for_is_in_flight_until_it_is_written_again() {
    let (mut world, stripe) = with_unproven();
    let durability = |world: &mut World| {
        let recalled = world.recall(stripe, &vector(4), 1, Isolation::InFlight);
        assert_eq!(id_of(&recalled.hits[0]), "m4");
        recalled.hits[0].durability
    };
    assert!(!world.shards.iter().all(Shard::is_settled), "a recall would miss what was acked");
    assert_eq!(durability(&mut world), Durability::InFlight);
    assert_eq!(world.recall(stripe, &vector(4), 9, Isolation::Durable).snapshot.0, 2);
    let resumed = world.open(stripe, 6, OpenIntent::Resume);
    assert_eq!(resumed.durable_sequence, 4, "the resume waits for them");
    assert!(world.shards.iter().all(Shard::is_settled));
    assert_eq!(durability(&mut world), Durability::Durable);
    for shards in [1, 3, 1] {
        world.crash(Fate::Lost, shards);
        let expected: Vec<_> = (1..=4).map(|number| (number, format!("m{number}"))).collect();
        assert_eq!(all_of(&mut world, stripe), expected);
    }
}

#[test]
fn what_nobody_vouches_for_survives_a_full_disk() {
    let (mut world, stripe) = with_unproven();
    world.disk.fault = Some(IoFault::Full);
    let session = engram_shards::ids::SessionId(6);
    let resume = Request::OpenSession { stripe, session, intent: OpenIntent::Resume };
    world.ask(stripe, CLIENT, resume);
    world.observe(stripe, unary(9, "new", vector(9)));
    world.commit();
    assert!(
        world.shards.iter().all(Shard::is_settled),
        "what the disk does not take must not keep the rest from being served"
    );
    let replies = world.take();
    assert!(
        matches!(
            &replies[..],
            [
                (_, Reply::Dropped { refusal: Refusal::DiskFull, .. }),
                (_, Reply::Session(Err(Refusal::DiskFull)))
            ]
        ),
        "{replies:?}"
    );
    assert_eq!(all_of(&mut world, stripe).len(), 4, "the new one is gone, those are not");
    world.crash(Fate::Lost, 1);
    world.pass(500);
    world.end_all(|_| true);
    world.disk.fault = None;
    let due = world.shards[0].deadline().expect("they are tried again");
    assert!(due <= world.now.after_micros(1_000_000), "and soon");
    world.pass(due.micros_since(world.now));
    world.observe(stripe, unary(9, "new", vector(9)));
    world.settle();
    assert_eq!(durable_sequences(&world.take()), [9]);
    let expected: Vec<_> = ["m1", "m2", "m3", "m4", "new"]
        .iter()
        .zip(1..)
        .map(|(id, n)| (n, id.to_string()))
        .collect();
    assert_eq!(all_of(&mut world, stripe), expected);
    world.crash(Fate::Lost, 3);
    assert_eq!(all_of(&mut world, stripe), expected);
}

#[test]
fn a_space_and_a_session_that_nobody_vouches_for_are_not_lost() {
    let mut world = World::new(1);
    let stripe = stripe("diary");
    let create =
        || Request::CreateSpace { settings: settings("diary"), if_exists: IfExists::MustBeSame };
    world.ask(stripe, CLIENT, create());
    world.pass(500);
    world.end_io(0);
    world.pass(500);
    world.crash(Fate::Whole, 1);
    world.ask(stripe, CLIENT, create());
    assert_eq!(world.take().len(), 0, "it may yet be lost, so no one is told");
    world.commit();
    let Reply::Space(Ok((SpaceDescription { settings: found, .. }, _))) = world.take_one() else {
        panic!("not made")
    };
    assert_eq!(found, settings("diary"));

    let session = engram_shards::ids::SessionId(6);
    let begin = Request::OpenSession { stripe, session, intent: OpenIntent::Begin };
    world.ask(stripe, CLIENT, begin);
    world.pass(500);
    world.crash(Fate::Whole, 1);
    world.open(stripe, 6, OpenIntent::Resume);
    world.crash(Fate::Lost, 2);
    world.open(stripe, 6, OpenIntent::Resume);
}

#[test]
fn what_nobody_vouches_for_goes_ahead_of_anything_new() {
    let (mut world, stripe) = with_unproven();
    world.disk.fault = Some(IoFault::Full);
    world.commit();
    world.disk.fault = None;
    world.observe(stripe, unary(9, "new", vector(9)));
    world.commit();
    assert_eq!(durable_sequences(&world.take()), [9]);
    let recalled = world.recall(stripe, &vector(9), 9, Isolation::Durable);
    assert_eq!((recalled.snapshot.0, recalled.hits[0].generation.0), (5, 5));
    assert_eq!(recalled.hits.len(), 5);
}

#[test]
fn rows_that_are_gone_from_the_middle_are_missed() {
    let mut world = World::new(1);
    let names: Vec<String> = (0..4).map(|number| format!("space-{number}")).collect();
    for name in &names {
        world.space(name);
    }
    // Else the last ones would be copied out of the log that is to go.
    world.disk.is_untold = true;
    for (shards, from) in [(1, 1), (2, 9), (1, 17)] {
        world.crash(Fate::Lost, shards);
        fill(&mut world, &names, from..from + 8);
        // Later commits vouch for these rows, so that no other shard writes them again.
        for name in &names {
            world.space(&format!("{name}-{from}"));
        }
    }
    world.disk.files.retain(|segment, _| segment.log != LogId(1));
    let fault = world.start(1).expect_err("rows 9 to 16 of some spaces are gone");
    let LogFault::Corrupt { what, .. } = fault else { panic!("{fault:?}") };
    assert_eq!(what, "generations of this stripe are missing");
}

#[test]
fn a_log_that_is_gone_is_missed() {
    let mut world = World::new(2);
    let names: Vec<String> = (0..4).map(|number| format!("space-{number}")).collect();
    for name in &names {
        world.space(name);
    }
    fill(&mut world, &names, 1..5);
    world.crash(Fate::Lost, 1);
    fill(&mut world, &names, 5..9);
    assert_eq!(world.start(1), Ok(()));
    world.disk.files.retain(|segment, _| segment.log != LogId(1));
    let fault = world.start(1).expect_err("half of the rows are gone");
    assert!(matches!(fault, LogFault::Corrupt { .. }), "{fault:?}");
}

#[test]
fn the_same_logs_make_the_same_shard() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    fill(&mut world, &["diary".to_owned()], 1..300);
    let recalled = |world: &mut World| {
        world.crash(Fate::Lost, 1);
        world.settle();
        let found = world.recall(stripe, &vector(7), 20, Isolation::Durable);
        let hits: Vec<_> =
            found.hits.iter().map(|hit| (id_of(hit), hit.similarity.to_bits())).collect();
        (hits, found.distances)
    };
    let first = recalled(&mut world);
    assert_eq!(first, recalled(&mut world));
}
