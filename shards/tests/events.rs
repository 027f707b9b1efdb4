//! Promise: a subscriber hears what happens in its stripe, each event once and in order: observations once they are
//! durable, recalls once they are answered. For what it has no room it hears how much that was, and nobody waits for it.

mod world;

use engram_shards::ids::{Generation, StripeKey};
use engram_shards::log::log::IoFault;
use engram_shards::message::{
    Happened, Interest, Isolation, Origin, Refusal, Reply, Request, StripeEvent,
};
use world::{World, stripe, unary, vector};

/// Who listens.
const EAR: Origin = Origin(77);

fn subscribe(world: &mut World, stripe: StripeKey, (stored, recalled): (bool, bool), room: u32) {
    let interest = Interest { stored, recalled, importance_min: f32::NEG_INFINITY };
    world.ask(stripe, EAR, Request::Subscribe { stripe, interest, room });
    assert!(matches!(heard(world)[..], [Reply::Subscribed(Ok(()))]));
}

fn heard(world: &mut World) -> Vec<Reply> {
    let replies = world.take().into_iter();
    replies.filter(|(origin, _)| *origin == EAR).map(|(_, reply)| reply).collect()
}

/// Ids that were told to be stored, and how many events were missed, in one line of text.
fn told(world: &mut World) -> String {
    let words = heard(world).into_iter().map(|reply| match reply {
        Reply::Event(_, StripeEvent { happened: Happened::Stored { id, generation }, .. }) => {
            assert_ne!(generation, Generation(0), "the first one of a stripe is 1");
            id.into_string()
        }
        Reply::EventsMissed(count) => format!("-{count}"),
        other => panic!("{other:?}"),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn observe(world: &mut World, stripe: StripeKey, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        world.observe(stripe, unary(number, &format!("m{number}"), vector(number)));
    }
}

#[test]
fn what_is_stored_is_told_once_it_is_durable_and_never_if_it_is_not() {
    let mut world = World::new(1);
    let (diary, other) = (world.space("diary"), world.space("other"));
    subscribe(&mut world, diary, (true, false), 100);
    observe(&mut world, diary, 1..=3);
    observe(&mut world, other, 4..=6);
    assert_eq!(told(&mut world), "", "nothing is durable yet");
    world.commit();
    assert_eq!(told(&mut world), "m1 m2 m3");

    world.disk.fault = Some(IoFault::Full);
    observe(&mut world, diary, 7..=9);
    world.commit();
    assert_eq!(told(&mut world), "");
    world.disk.fault = None;
    observe(&mut world, diary, 10..=11);
    world.commit();
    assert_eq!(told(&mut world), "m10 m11");

    world.ask(diary, EAR, Request::Unsubscribe(diary));
    observe(&mut world, diary, 12..=12);
    world.commit();
    assert_eq!(told(&mut world), "");
}

#[test]
fn who_has_no_room_misses_what_happens_and_hears_how_much_it_was() {
    let mut world = World::new(1);
    let diary = world.space("diary");
    subscribe(&mut world, diary, (true, false), 2);
    let make_room = |world: &mut World, events| {
        world.ask(diary, EAR, Request::MakeRoom { stripe: diary, events });
    };
    observe(&mut world, diary, 1..=5);
    world.commit();
    assert_eq!(told(&mut world), "m1 m2");
    make_room(&mut world, 3);
    observe(&mut world, diary, 6..=7);
    world.commit();
    assert_eq!(told(&mut world), "-3 m6 m7");
    make_room(&mut world, 1);
    observe(&mut world, diary, 8..=9);
    world.commit();
    assert_eq!(told(&mut world), "m8 m9");
    // Another subscription of the same origin takes the place of the first.
    subscribe(&mut world, diary, (true, false), 1);
    observe(&mut world, diary, 10..=11);
    world.commit();
    assert_eq!(told(&mut world), "m10");
}

#[test]
fn recalls_are_told_with_what_they_found() {
    let mut world = World::new(1);
    let diary = world.space("diary");
    subscribe(&mut world, diary, (false, true), 10);
    world.recall(diary, &vector(1), 3, Isolation::Durable);
    observe(&mut world, diary, 1..=5);
    world.commit();
    world.recall(diary, &vector(4), 3, Isolation::Durable);
    let found = heard(&mut world).into_iter().map(|reply| match reply {
        Reply::Event(_, StripeEvent { happened: Happened::Recalled { results, best }, .. }) => {
            (results, best.map(String::from))
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(found.collect::<Vec<_>>(), [(0, None), (3, Some("m4".to_owned()))]);
}

#[test]
fn a_stripe_that_is_not_here_has_no_events() {
    let mut world = World::new(1);
    let interest = Interest { stored: true, recalled: true, importance_min: 0.0 };
    let stripe = stripe("nowhere");
    world.ask(stripe, EAR, Request::Subscribe { stripe, interest, room: 1 });
    let [Reply::Subscribed(Err(Refusal::UnknownSpace))] = heard(&mut world)[..] else {
        panic!("taken in");
    };
}
