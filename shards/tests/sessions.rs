//! Promise: a session's observations are stored once each, in their order, whoever holds its connection: a later
//! attachment fences the earlier one and starts from what is durable, also after a restart.

mod world;

use engram_shards::ids::{SessionEpoch, SessionId, StripeKey};
use engram_shards::limits::SESSION_RESUME_MICROS;
use engram_shards::message::{
    Drain, Isolation, OpenIntent, Origin, Refusal, Reply, Request, SessionOpened,
};
use world::{CLIENT, Fate, Sent, World, dropped_sequences, durable_sequences, vector};

const SESSION: u128 = 77;

fn send(
    world: &mut World,
    stripe: StripeKey,
    epoch: SessionEpoch,
    sequences: std::ops::RangeInclusive<u64>,
) {
    for sequence in sequences {
        let (id, vector) = (format!("m{sequence}"), vector(sequence));
        let sent = Sent { origin: CLIENT, session: SESSION, epoch, sequence, id: &id, vector };
        world.observe(stripe, sent);
    }
}

fn ask_open(world: &mut World, stripe: StripeKey, origin: u64, intent: OpenIntent) {
    let session = SessionId(SESSION);
    world.ask(stripe, Origin(origin), Request::OpenSession { stripe, session, intent });
}

fn ask_close(world: &mut World, stripe: StripeKey, epoch: SessionEpoch, drain: Drain) {
    let session = SessionId(SESSION);
    world.ask(stripe, CLIENT, Request::CloseSession { stripe, session, epoch, drain });
}

#[test]
fn a_session_is_open_once_its_record_is_durable() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    ask_open(&mut world, stripe, 3, OpenIntent::Begin);
    world.pass(500);
    assert_eq!(world.take().len(), 0);
    world.end_io(0);
    let replies = world.take();
    assert_eq!(replies[0].0, Origin(3));
    let Reply::Session(Ok(SessionOpened { durable_sequence: 0, space, .. })) = &replies[0].1 else {
        panic!("{replies:?}")
    };
    assert_eq!(space.settings.name, "diary");
    world.crash(Fate::Lost, 1);
    assert_eq!(world.open(stripe, SESSION, OpenIntent::Resume).durable_sequence, 0);
}

#[test]
fn who_resumes_fences_the_one_before_and_waits_for_what_it_handed_over() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    let first = world.open(stripe, SESSION, OpenIntent::Begin);
    send(&mut world, stripe, first.epoch, 1..=3);
    ask_open(&mut world, stripe, 9, OpenIntent::Resume);
    let replies = world.take();
    assert!(matches!(replies[..], [(CLIENT, Reply::Fenced { .. })]), "{replies:?}");
    send(&mut world, stripe, first.epoch, 4..=4);
    assert_eq!(dropped_sequences(&world.take()), [(4, Refusal::Fenced)]);
    world.commit();
    let replies = world.take();
    assert_eq!(durable_sequences(&replies), [1, 2, 3]);
    let (to, Reply::Session(Ok(second))) = replies.last().expect("replies") else {
        panic!("{replies:?}")
    };
    assert_eq!((*to, second.durable_sequence), (Origin(9), 3));
    assert!(second.epoch > first.epoch);
    send(&mut world, stripe, second.epoch, 4..=4);
    world.settle();
    assert_eq!(durable_sequences(&world.take()), [4]);
    assert_eq!(world.recall(stripe, &vector(1), 10, Isolation::Durable).hits.len(), 4);
    assert_eq!(world.status()[0].credits, 0, "a refused append gives its credit back");
}

#[test]
fn of_two_who_resume_at_once_the_later_one_gets_the_session() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    let first = world.open(stripe, SESSION, OpenIntent::Begin);
    send(&mut world, stripe, first.epoch, 1..=1);
    ask_open(&mut world, stripe, 8, OpenIntent::Resume);
    ask_open(&mut world, stripe, 9, OpenIntent::Resume);
    world.commit();
    let told = |replies: &[(Origin, Reply)], origin| {
        let mine: Vec<Reply> = replies
            .iter()
            .filter(|(to, _)| *to == Origin(origin))
            .map(|(_, reply)| reply.clone())
            .collect();
        assert_eq!(mine.len(), 1, "{mine:?}");
        mine[0].clone()
    };
    let replies = world.take();
    assert!(matches!(told(&replies, 8), Reply::Session(Err(Refusal::Fenced))));
    assert!(matches!(told(&replies, 9), Reply::Session(Ok(_))));
}

#[test]
fn a_session_is_known_after_a_restart_on_other_shards_with_its_durable_sequence() {
    let mut world = World::new(3);
    let stripe = world.space("diary");
    let opened = world.open(stripe, SESSION, OpenIntent::Begin);
    send(&mut world, stripe, opened.epoch, 1..=50);
    world.settle();
    for shards in [1, 2, 5] {
        world.crash(Fate::Lost, shards);
        world.ask(stripe, CLIENT, Request::FindSession(SessionId(SESSION)));
        let Reply::Space(Ok((space, _))) = world.take_one() else { panic!("not found") };
        assert_eq!(space.settings.name, "diary");
        assert_eq!(world.open(stripe, SESSION, OpenIntent::Resume).durable_sequence, 50);
    }
}

#[test]
fn what_is_not_known_is_refused_by_its_name() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    let other = world.space("other");
    let nowhere = world::stripe("nowhere");
    let refusal = |world: &mut World, stripe, session, intent| {
        let session = SessionId(session);
        world.ask(stripe, CLIENT, Request::OpenSession { stripe, session, intent });
        let Reply::Session(Err(refusal)) = world.take_one() else { panic!("not refused") };
        refusal
    };
    assert_eq!(refusal(&mut world, nowhere, 1, OpenIntent::Begin), Refusal::UnknownSpace);
    assert_eq!(refusal(&mut world, stripe, 1, OpenIntent::Resume), Refusal::UnknownSession);
    let opened = world.open(stripe, SESSION, OpenIntent::Begin);
    assert_eq!(refusal(&mut world, other, SESSION, OpenIntent::Resume), Refusal::WrongSpace);
    world.ask(stripe, CLIENT, Request::FindSession(SessionId(1)));
    assert!(matches!(world.take_one(), Reply::Space(Err(Refusal::UnknownSession))));
    ask_close(&mut world, stripe, SessionEpoch(opened.epoch.0 + 1), Drain::Durable);
    assert!(matches!(world.take_one(), Reply::Closed(Err(Refusal::Fenced))));
    ask_close(&mut world, other, opened.epoch, Drain::Durable);
    assert!(matches!(world.take_one(), Reply::Closed(Err(Refusal::UnknownSession))));
}

#[test]
fn closing_drains_as_far_as_it_was_asked_to() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    let opened = world.open(stripe, SESSION, OpenIntent::Begin);
    send(&mut world, stripe, opened.epoch, 1..=3);
    ask_close(&mut world, stripe, opened.epoch, Drain::Durable);
    assert_eq!(world.take().len(), 0);
    world.commit();
    let replies = world.take();
    assert_eq!(durable_sequences(&replies), [1, 2, 3]);
    assert!(matches!(replies.last(), Some((CLIENT, Reply::Closed(Ok(3))))));
    assert_eq!(world.status()[0].sessions_attached, 0);

    let again = world.open(stripe, SESSION, OpenIntent::Resume);
    send(&mut world, stripe, again.epoch, 4..=4);
    world.commit();
    world.take();
    ask_close(&mut world, stripe, again.epoch, Drain::Indexed);
    assert_eq!(world.take().len(), 0, "durable, but not in the graph");
    world.work();
    assert!(matches!(world.take_one(), Reply::Closed(Ok(4))));
}

#[test]
fn a_session_can_be_resumed_for_a_day_after_its_last_record_and_no_longer() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    let opened = world.open(stripe, SESSION, OpenIntent::Begin);
    send(&mut world, stripe, opened.epoch, 1..=1);
    world.settle();
    world.take();
    let session = SessionId(SESSION);
    let epoch = opened.epoch;
    world.ask(stripe, CLIENT, Request::DetachSession { stripe, session, epoch });
    world.pass(SESSION_RESUME_MICROS - 1_000);
    world.crash(Fate::Lost, 1);
    let opened = world.open(stripe, SESSION, OpenIntent::Resume);
    world.pass(2 * SESSION_RESUME_MICROS);
    assert_eq!(world.status()[0].sessions, 1, "attached, so kept");
    let epoch = opened.epoch;
    world.ask(stripe, CLIENT, Request::DetachSession { stripe, session, epoch });
    ask_open(&mut world, stripe, 1, OpenIntent::Resume);
    assert!(matches!(world.take_one(), Reply::Session(Err(Refusal::UnknownSession))));
    world.pass(SESSION_RESUME_MICROS);
    assert_eq!(world.status()[0].sessions, 0);
}

#[test]
#[should_panic(expected = "sequences of a session rise strictly")]
fn a_repeat_never_reaches_the_shard() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    let opened = world.open(stripe, SESSION, OpenIntent::Begin);
    send(&mut world, stripe, opened.epoch, 1..=1);
    send(&mut world, stripe, opened.epoch, 1..=1);
}

#[test]
fn an_observation_of_a_session_that_is_not_known_is_dropped() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    send(&mut world, stripe, SessionEpoch(1), 1..=1);
    assert_eq!(dropped_sequences(&world.take()), [(1, Refusal::UnknownSession)]);
    world.settle();
    assert!(world.recall(stripe, &vector(1), 1, Isolation::InFlight).hits.is_empty());
}
