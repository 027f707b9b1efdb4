//! Promise: recalls hold no more records than there is room for, however many there are and however long the records;
//! each is answered in its turn, and one whose results would take too much is refused.

mod world;

use engram_shards::ids::StripeKey;
use engram_shards::limits::{RECALL_BYTES_MAX, RECALLS_BYTES_MAX};
use engram_shards::log::record::{Embedding, Observation, encode_body};
use engram_shards::message::{Isolation, Lane, Origin, Refusal, Reply, Request};
use world::{CLIENT, World, recall, unary, vector};

/// As long as a text may be, nearly: what counts is that a few hundred exceed the room.
const TEXT_BYTES: usize = 60_000;
const ROWS: u64 = 500;
/// Results that one recall may have of them.
const WIDE: u32 = 200;
/// Recalls that are asked for at once.
const RECALLS: u64 = 10;
/// Who gives up.
const FICKLE: Origin = Origin(77);

fn filled() -> (World, StripeKey) {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    let text = "x".repeat(TEXT_BYTES);
    for number in 1..=ROWS {
        let id = format!("m{number}");
        let sent = unary(number, &id, vector(number));
        let observation = Observation::new(&id, &text, Embedding::F32(&sent.vector));
        let mut append = sent.append(stripe);
        append.body = encode_body(&observation);
        world.credit(stripe, Lane::Normal);
        world.ask(stripe, CLIENT, Request::Append(append));
        if number.is_multiple_of(50) {
            world.settle();
        }
    }
    world.take();
    (world, stripe)
}

fn ask(world: &mut World, stripe: StripeKey, origin: Origin, count: u32) {
    let recall = recall(stripe, &vector(1), count, Isolation::Durable);
    world.ask(stripe, origin, Request::Recall(recall));
}

fn held(world: &mut World) -> u64 {
    let held = world.status()[0].recalls_bytes;
    assert!(held <= RECALLS_BYTES_MAX, "{held}");
    held
}

/// Lets all happen, one read at a time; how much was held at most.
fn settle(world: &mut World) -> u64 {
    let mut most = 0;
    loop {
        world.work();
        most = most.max(held(world));
        if world.waiting.is_empty() {
            return most;
        }
        world.end_io(0);
    }
}

#[test]
fn those_who_find_no_room_wait_and_are_answered_in_their_turn() {
    let (mut world, stripe) = filled();
    for number in 0..RECALLS {
        ask(&mut world, stripe, Origin(100 + number), WIDE);
    }
    let most = settle(&mut world);
    assert!(most > RECALLS_BYTES_MAX / 2, "only {most} were held: nobody had to wait");
    let answered = world.take().into_iter().map(|(origin, reply)| match reply {
        Reply::Recalled(Ok(recalled)) => {
            assert_eq!(recalled.hits.len(), WIDE as usize);
            origin.0
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(answered.collect::<Vec<_>>(), (100..100 + RECALLS).collect::<Vec<_>>());
    assert_eq!(held(&mut world), 0);
}

#[test]
fn those_who_give_up_leave_their_room_to_those_who_wait() {
    let (mut world, stripe) = filled();
    // Of those that give up, some hold records and some wait for room.
    for _ in 0..RECALLS {
        ask(&mut world, stripe, FICKLE, WIDE);
    }
    world.work();
    ask(&mut world, stripe, CLIENT, WIDE);
    world.work();
    assert!(held(&mut world) > 0);
    world.ask(stripe, FICKLE, Request::AbandonRecalls);
    settle(&mut world);
    assert!(matches!(world.take_one(), Reply::Recalled(Ok(_))));
    assert_eq!(held(&mut world), 0);
}

#[test]
fn too_much_for_one_answer_is_refused_and_leaves_nothing_behind() {
    let (mut world, stripe) = filled();
    let count = RECALL_BYTES_MAX / TEXT_BYTES as u32 + 1;
    ask(&mut world, stripe, CLIENT, count);
    settle(&mut world);
    assert!(matches!(world.take_one(), Reply::Recalled(Err(Refusal::RecallTooLarge))));
    assert_eq!(held(&mut world), 0);
    ask(&mut world, stripe, CLIENT, WIDE);
    settle(&mut world);
    assert!(matches!(world.take_one(), Reply::Recalled(Ok(_))));
}
