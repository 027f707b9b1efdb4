//! Promise: a recall that nobody waits for any more ends where it is, wherever that is: it takes no further step, says
//! nothing, holds no row and no place among the recalls, and the others go on as if it had never been.

mod world;

use engram_shards::ids::StripeKey;
use engram_shards::limits::RECALLS_WAITING_MAX;
use engram_shards::message::{Isolation, Origin, Refusal, Reply, Request};
use world::{CLIENT, World, recall, unary, vector};

/// Who gives up.
const FICKLE: Origin = Origin(77);
const ROWS: u64 = 3_000;

/// A stripe with rows in its graph and some in the tail.
fn filled() -> (World, StripeKey) {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    for number in 1..=ROWS {
        world.observe(stripe, unary(number, &format!("m{number}"), vector(number)));
    }
    world.settle();
    world.take();
    (world, stripe)
}

fn ask(world: &mut World, stripe: StripeKey, origin: Origin, number: u64) {
    let recall = recall(stripe, &vector(number), 5, Isolation::InFlight);
    world.ask(stripe, origin, Request::Recall(recall));
}

/// The answers, by origin and the id of the best result.
fn answers(world: &mut World) -> Vec<(Origin, String)> {
    let replies = world.take().into_iter().map(|(origin, reply)| match reply {
        Reply::Recalled(Ok(recalled)) => (origin, world::id_of(&recalled.hits[0])),
        other => panic!("{other:?}"),
    });
    replies.collect()
}

fn abandoned(world: &mut World) -> u64 {
    world.status()[0].recalls_abandoned
}

#[test]
fn it_ends_after_any_number_of_steps_and_while_its_records_are_read() {
    let (mut world, stripe) = filled();
    // Each is given up one step later than the one before, until one was answered first.
    for steps in 0.. {
        ask(&mut world, stripe, FICKLE, 10);
        ask(&mut world, stripe, CLIENT, 20);
        for _ in 0..steps {
            let now = world.now;
            match world.shards[0].is_asked() {
                true => {
                    world.shards[0].work(1, now);
                }
                false if world.waiting.is_empty() => {}
                false => world.end_io(0),
            }
            world.collect();
        }
        let before = abandoned(&mut world);
        world.ask(stripe, FICKLE, Request::AbandonRecalls);
        if abandoned(&mut world) == before {
            assert!(steps > 5, "it has as many steps at least");
            world.settle();
            let mut told = answers(&mut world);
            told.sort();
            assert_eq!(told, [(CLIENT, "m20".to_owned()), (FICKLE, "m10".to_owned())]);
            break;
        }
        world.settle();
        assert_eq!(answers(&mut world), [(CLIENT, "m20".to_owned())], "after {steps} steps");
        // And while its records are read, or after they failed to be.
        ask(&mut world, stripe, FICKLE, 10);
        world.work();
        assert!(!world.waiting.is_empty(), "it reads");
        world.ask(stripe, FICKLE, Request::AbandonRecalls);
        world.settle();
        assert_eq!(answers(&mut world), []);
    }
}

#[test]
fn it_leaves_its_place_and_the_rows_it_saw_to_others() {
    let (mut world, stripe) = filled();
    for _ in 0..RECALLS_WAITING_MAX {
        ask(&mut world, stripe, FICKLE, 1);
    }
    ask(&mut world, stripe, CLIENT, 1);
    assert!(matches!(world.take_one(), Reply::Recalled(Err(Refusal::TooManyRecalls))));
    world.ask(stripe, FICKLE, Request::AbandonRecalls);
    assert_eq!(abandoned(&mut world), RECALLS_WAITING_MAX as u64);
    let slots = world.shards[0].used_again();
    // Every memory is replaced: the slots of what it replaces are used again, for nobody refers to them.
    for number in 1..=2 * ROWS {
        let id = format!("m{}", number % ROWS + 1);
        world.observe(stripe, unary(ROWS + number, &id, vector(number)));
        if number.is_multiple_of(100) {
            world.settle();
            world.take();
        }
    }
    assert!(world.shards[0].used_again() > slots, "someone seems to refer to rows that are gone");
}
