//! Promise: an observation is in the next recall after its arrival, wherever it is on its way: waiting for the disk,
//! being written, in the tail, in the graph. Who wants only what is durable gets only that.

mod world;

use engram_shards::message::{Durability, Isolation, Reply, Request};
use engram_shards::shard::Io;
use world::{CLIENT, World, id_of, recall, unary, vector};

#[test]
fn it_is_found_at_every_station() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    let found = |world: &mut World| {
        let recalled = world.recall(stripe, &vector(1), 1, Isolation::InFlight);
        let hit = &recalled.hits[0];
        assert_eq!(id_of(hit), "a");
        assert!(hit.similarity > 0.999_99, "{}", hit.similarity);
        hit.durability
    };
    world.observe(stripe, unary(1, "a", vector(1)));
    assert_eq!(found(&mut world), Durability::InFlight, "waiting for others");
    world.pass(500);
    assert!(matches!(world.waiting[0].2, Io::Commit { .. }));
    assert_eq!(found(&mut world), Durability::InFlight, "being written");
    world.end_io(0);
    assert_eq!(world.status()[0].stripes[0].indexed, 0);
    assert_eq!(found(&mut world), Durability::Durable, "on the disk");
    world.work();
    assert_eq!(world.status()[0].stripes[0].indexed, 1);
    assert_eq!(found(&mut world), Durability::Durable, "in the graph");
}

#[test]
fn a_recall_of_what_is_durable_sees_nothing_in_flight() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    world.observe(stripe, unary(1, "durable", vector(1)));
    world.commit();
    world.observe(stripe, unary(2, "in flight", vector(2)));
    let recalled = world.recall(stripe, &vector(2), 10, Isolation::Durable);
    assert_eq!(recalled.hits.iter().map(id_of).collect::<Vec<_>>(), ["durable"]);
    assert_eq!((recalled.snapshot.0, recalled.rows), (1, 1));
    let recalled = world.recall(stripe, &vector(2), 10, Isolation::InFlight);
    assert_eq!(recalled.hits.len(), 2);
    assert_eq!((recalled.snapshot.0, recalled.rows), (1, 2));
}

#[test]
fn what_becomes_durable_after_a_recall_began_was_in_flight_for_it() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    world.observe(stripe, unary(1, "a", vector(1)));
    for isolation in [Isolation::Durable, Isolation::InFlight] {
        let request = Request::Recall(recall(stripe, &vector(1), 10, isolation));
        world.ask(stripe, CLIENT, request);
    }
    world.commit();
    world.take();
    world.settle();
    let replies = world.take();
    let hits: Vec<_> = replies
        .iter()
        .map(|(_, reply)| match reply {
            Reply::Recalled(Ok(recalled)) => &recalled.hits,
            reply => panic!("{reply:?}"),
        })
        .collect();
    assert!(hits[0].is_empty());
    assert_eq!(hits[1][0].durability, Durability::InFlight);
    assert_eq!(hits[1][0].committed_at, hits[1][0].received_at);
}

#[test]
fn a_recall_passes_over_a_record_that_cannot_be_read_and_says_so() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    for number in 1..=10 {
        world.observe(stripe, unary(number, &format!("m{number}"), vector(number)));
    }
    world.commit();
    world.ask(stripe, CLIENT, Request::Recall(recall(stripe, &vector(3), 10, Isolation::Durable)));
    world.take();
    world.work();
    let Some((_, _, Io::Read { places })) = world.waiting.front().cloned() else {
        panic!("a recall reads its candidates")
    };
    // The nearest is the first one asked for.
    world.disk.unreadable.insert(places[0]);
    let torn = places[4];
    let byte = (torn.offset + torn.bytes - 16) as usize;
    world.disk.files.get_mut(&torn.segment).expect("its file")[byte] ^= 1;
    let recalled = world.recall(stripe, &vector(3), 10, Isolation::Durable);
    assert_eq!(recalled.unreadable, 2);
    assert_eq!(recalled.hits.len(), 8);
    assert!(!recalled.hits.iter().any(|hit| id_of(hit) == "m3"));
    assert!(world.status()[0].unreadable >= 2);
}

#[test]
fn nothing_but_the_same_space_is_seen() {
    let mut world = World::new(2);
    let stripes: Vec<_> =
        ["one", "two", "three"].into_iter().map(|name| (name, world.space(name))).collect();
    for (name, stripe) in &stripes {
        world.observe(*stripe, unary(1, name, vector(1)));
    }
    world.settle();
    for (name, stripe) in &stripes {
        assert_eq!(world.recall_ids(*stripe, &vector(1), 10), [*name]);
    }
}
