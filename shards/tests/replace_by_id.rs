//! Promise: an id that the space already holds replaces that memory. There is one result, the new one, from the moment
//! it is acked; and what an earlier recall saw it goes on seeing.

mod world;

use engram_shards::ids::StripeKey;
use engram_shards::message::{Isolation, Reply, Request};
use engram_shards::shard::Io;
use world::{CLIENT, Fate, Sent, World, id_of, recall, unary, vector};

fn store(world: &mut World, stripe: StripeKey, sequence: u64, id: &str, direction: u64) {
    world.observe(stripe, unary(sequence, id, vector(direction)));
    world.end_all(|io| !matches!(io, Io::Read { .. }));
    world.pass(500);
    world.end_all(|io| !matches!(io, Io::Read { .. }));
}

#[test]
fn there_is_one_result_and_it_is_the_new_one() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    store(&mut world, stripe, 1, "a", 1);
    store(&mut world, stripe, 2, "b", 2);
    store(&mut world, stripe, 3, "a", 3);
    world.settle();
    let recalled = world.recall(stripe, &vector(3), 10, Isolation::Durable);
    let ids: Vec<_> = recalled.hits.iter().map(id_of).collect();
    assert_eq!((ids[0].as_str(), ids.len()), ("a", 2));
    assert_eq!((recalled.hits[0].generation.0, recalled.rows, recalled.snapshot.0), (3, 2, 3));
    assert_eq!(world.status()[0].stripes[0].rows, 2);
    world.crash(Fate::Lost, 2);
    world.settle();
    assert_eq!(
        world.status().iter().flat_map(|shard| &shard.stripes).map(|s| s.rows).sum::<u64>(),
        2
    );
}

#[test]
fn the_old_one_is_gone_with_the_ack_even_before_the_ids_were_compared() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    store(&mut world, stripe, 1, "a", 1);
    // Enough others that the new one is no candidate for the old one's cue.
    (2..200).for_each(|number| store(&mut world, stripe, number, &format!("m{number}"), number));
    world.settle();
    let opposite: Vec<f32> = vector(1).iter().map(|number| -number).collect();
    world.observe(stripe, Sent { vector: opposite, ..unary(500, "a", Vec::new()) });
    world.pass(500);
    world.end_io(0);
    assert!(matches!(world.waiting[0].2, Io::Read { .. }), "the pair is being read");
    let pair = world.waiting.pop_front().expect("the pair");
    let recalled = world.recall(stripe, &vector(1), 1, Isolation::Durable);
    assert_ne!(id_of(&recalled.hits[0]), "a", "the old one is still there");
    world.waiting.push_front(pair);
    world.settle();
    let recalled = world.recall(stripe, &vector(1), 1, Isolation::Durable);
    assert_ne!(id_of(&recalled.hits[0]), "a");
}

#[test]
fn a_recall_that_began_before_goes_on_seeing_the_old_one() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    store(&mut world, stripe, 1, "a", 1);
    world.settle();
    world.take();
    world.ask(stripe, CLIENT, Request::Recall(recall(stripe, &vector(1), 5, Isolation::Durable)));
    store(&mut world, stripe, 2, "a", 2);
    world.end_all(|_| true);
    assert_eq!(world.status()[0].stripes[0].rows, 1, "the old one is replaced");
    world.take();
    world.settle();
    let Reply::Recalled(Ok(recalled)) = world.take_one() else { panic!("no results") };
    assert_eq!(recalled.hits.len(), 1);
    assert_eq!(recalled.hits[0].generation.0, 1);
}

#[test]
fn replacements_in_a_row_leave_the_last_one() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    for number in 1..=20 {
        world.observe(stripe, unary(number, "a", vector(number)));
    }
    world.settle();
    assert_eq!(world.status()[0].stripes[0].rows, 1);
    let recalled = world.recall(stripe, &vector(3), 10, Isolation::Durable);
    assert_eq!(recalled.hits.len(), 1);
    assert_eq!(recalled.hits[0].generation.0, 20);
    world.crash(Fate::Lost, 1);
    world.settle();
    assert_eq!(world.status()[0].stripes[0].rows, 1);
    assert_eq!(world.recall(stripe, &vector(3), 10, Isolation::Durable).hits[0].generation.0, 20);
}

#[test]
fn what_was_replaced_takes_no_place_among_the_results() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    world.observe(stripe, unary(1, "b", vector(2)));
    for number in 2..60 {
        world.observe(stripe, unary(number, "a", vector(1)));
    }
    world.settle();
    assert_eq!(world.recall_ids(stripe, &vector(1), 2), ["a", "b"]);
}

#[test]
fn two_ids_of_one_hash_live_side_by_side() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    for (number, id) in [(1, "a"), (2, "b"), (3, "c"), (4, "a")] {
        world.credit(stripe, engram_shards::message::Lane::Normal);
        let mut append = unary(number, id, vector(number)).append(stripe);
        append.memory_hash = 42;
        world.ask(stripe, CLIENT, Request::Append(append));
    }
    world.settle();
    assert_eq!(world.status()[0].stripes[0].rows, 3);
    let recalled = world.recall(stripe, &vector(4), 10, Isolation::Durable);
    let mut found: Vec<_> =
        recalled.hits.iter().map(|hit| (id_of(hit), hit.generation.0)).collect();
    found.sort();
    assert_eq!(found, [("a".into(), 4), ("b".into(), 2), ("c".into(), 3)]);
}
