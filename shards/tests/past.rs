//! Promise: a recall as of an earlier time finds what was durable then, and nothing else; or it says how far back it can look,
//! which is no further than the last minute, the start, and the latest replacement of a memory.

mod world;

use engram_shards::ids::{StripeKey, Time};
use engram_shards::limits::PAST_MICROS;
use engram_shards::message::{Isolation, Recall, Recalled, Refusal, Reply, Request};
use engram_shards::shard::Io;
use world::{CLIENT, Fate, World, id_of, recall, unary, vector};

fn recalled(world: &mut World, stripe: StripeKey, at: Time) -> Result<Recalled, Refusal> {
    let query = recall(stripe, &vector(1), 100, Isolation::InFlight);
    world.take();
    world.ask(stripe, CLIENT, Request::Recall(Recall { as_of: Some(at), ..query }));
    loop {
        world.work();
        world.end_all(|io| matches!(io, Io::Read { .. }));
        if let Some((_, Reply::Recalled(recalled))) = world.take().pop() {
            return recalled;
        }
    }
}

/// How many there were, by generation, of which these are the ids.
fn found(world: &mut World, stripe: StripeKey, at: Time) -> (u64, Vec<String>) {
    let recalled = recalled(world, stripe, at).expect("it is not long ago");
    let mut ids: Vec<String> = recalled.hits.iter().map(id_of).collect();
    ids.sort();
    (recalled.snapshot.0, ids)
}

fn oldest(world: &mut World, stripe: StripeKey, at: Time) -> Time {
    match recalled(world, stripe, at) {
        Err(Refusal::TooLongAgo { oldest }) => oldest,
        other => panic!("{other:?}"),
    }
}

/// Stores a memory; when it was durable.
fn store(world: &mut World, stripe: StripeKey, sequence: u64, id: &str) -> Time {
    world.pass(1_000_000);
    world.observe(stripe, unary(sequence, id, vector(sequence)));
    world.settle();
    world.now
}

fn ids(numbers: std::ops::RangeInclusive<u64>) -> Vec<String> {
    numbers.map(|number| format!("m{number}")).collect()
}

#[test]
fn it_finds_what_was_durable_then() {
    let mut world = World::new(1);
    let begun = world.now;
    let stripe = world.space("diary");
    let times: Vec<Time> =
        (1..=9).map(|number| store(&mut world, stripe, number, &format!("m{number}"))).collect();
    for (number, &at) in (1..).zip(&times) {
        assert_eq!(found(&mut world, stripe, at), (number, ids(1..=number)));
        let just_before = Time(at.0 - 500_000);
        assert_eq!(found(&mut world, stripe, just_before), (number - 1, ids(1..=number - 1)));
    }
    assert_eq!(found(&mut world, stripe, Time(u64::MAX)), (9, ids(1..=9)));
    // Nothing is known of the time before it was made …
    assert!(oldest(&mut world, stripe, begun) > begun);
    // … and not for ever of what followed.
    world.pass(PAST_MICROS);
    store(&mut world, stripe, 10, "m10");
    store(&mut world, stripe, 11, "m11");
    let known = oldest(&mut world, stripe, times[0]);
    assert_eq!(found(&mut world, stripe, known).0, 9);
    assert!(known >= times[8]);
}

#[test]
fn it_does_not_look_behind_a_replacement_or_a_restart() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    let before = store(&mut world, stripe, 1, "one");
    store(&mut world, stripe, 2, "two");
    let after = store(&mut world, stripe, 3, "one");
    let known = oldest(&mut world, stripe, before);
    assert!(known > before && known <= after);
    let expected = (3, vec!["one".to_owned(), "two".to_owned()]);
    assert_eq!(found(&mut world, stripe, known), expected);
    world.pass(1_000_000);
    world.crash(Fate::Whole, 1);
    world.settle();
    assert!(oldest(&mut world, stripe, after) > after);
    let now = world.now;
    assert_eq!(found(&mut world, stripe, now), expected);
}
