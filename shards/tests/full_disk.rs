//! Promise: a full disk refuses what is new, loses nothing that was acked, goes on serving recalls, and takes
//! observations again by itself as soon as there is room.

mod world;

use std::collections::BTreeSet;

use engram_shards::ids::{SessionId, StripeKey};
use engram_shards::limits::LOG_BLOCK_BYTES;
use engram_shards::log::log::IoFault;
use engram_shards::message::{
    Drain, Forget, ForgetMode, IfExists, Isolation, OpenIntent, Refusal, Reply, Request,
    SessionOpened,
};
use world::{
    CLIENT, Fate, SECRET, Sent, World, dropped_sequences, durable_sequences, id_of, recall,
    settings, stripe, unary, vector,
};

fn send(world: &mut World, stripe: StripeKey, opened: &SessionOpened, sequence: u64) {
    let (id, vector) = (format!("m{sequence}"), vector(sequence));
    let (session, epoch) = (opened.session.0, opened.epoch);
    world.observe(stripe, Sent { origin: CLIENT, session, epoch, sequence, id: &id, vector });
}

#[test]
fn what_does_not_fit_is_refused_and_its_session_can_be_resumed() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    let opened = world.open(stripe, 4, OpenIntent::Begin);
    send(&mut world, stripe, &opened, 1);
    world.settle();
    world.take();

    world.disk.fault = Some(IoFault::Full);
    send(&mut world, stripe, &opened, 2);
    send(&mut world, stripe, &opened, 3);
    world.commit();
    assert_eq!(dropped_sequences(&world.take()), [(2, Refusal::DiskFull), (3, Refusal::DiskFull)]);
    send(&mut world, stripe, &opened, 4);
    assert_eq!(dropped_sequences(&world.take()), [(4, Refusal::Fenced)]);
    assert_eq!(world.recall_ids(stripe, &vector(2), 10), ["m1"]);
    let status = world.status().remove(0);
    assert_eq!((status.depth, status.credits, status.commit_failures_full), (0, 0, 1));

    let resumed = world.open(stripe, 4, OpenIntent::Resume);
    assert_eq!(resumed.durable_sequence, 1);
    send(&mut world, stripe, &resumed, 2);
    world.commit();
    assert_eq!(dropped_sequences(&world.take()), [(2, Refusal::DiskFull)]);

    world.disk.fault = None;
    let resumed = world.open(stripe, 4, OpenIntent::Resume);
    send(&mut world, stripe, &resumed, 2);
    world.settle();
    assert_eq!(durable_sequences(&world.take()), [2]);
    assert_eq!(world.recall(stripe, &vector(2), 10, Isolation::Durable).snapshot.0, 2);
    world.crash(Fate::Lost, 1);
    assert_eq!(world.recall_ids(stripe, &vector(2), 10), ["m2", "m1"]);
}

/// Lets compactions run until none is left.
fn compact(world: &mut World) {
    loop {
        world.settle();
        let due = world.shards.iter().filter_map(|shard| shard.deadline()).min();
        let Some(due) = due.filter(|due| due.micros_since(world.now) < 60_000_000) else { break };
        world.now = world.now.max(due);
        world.pass(0);
    }
}

fn forget(world: &mut World, stripe: StripeKey, id: &str) -> u32 {
    let (memory_hash, mode) = (SECRET.memory_hash(id), ForgetMode::Delete);
    world.ask(stripe, CLIENT, Request::Forget(Forget { stripe, memory_hash, id: id.into(), mode }));
    world.commit();
    match world.take().pop() {
        Some((_, Reply::Forgotten(Ok(count)))) => count,
        reply => panic!("{reply:?}"),
    }
}

#[test]
fn a_disk_that_is_full_of_what_is_dead_empties_itself() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    for number in 1..4 {
        world.observe(stripe, unary(number, &format!("m{number}"), vector(number)));
        world.commit();
    }
    // Another life, on a disk with room for the segment that was kept, and for no other.
    world.crash(Fate::Lost, 1);
    world.disk.is_full = true;
    world.take();
    world.observe(stripe, unary(4, "m4", vector(4)));
    world.commit();
    assert_eq!(dropped_sequences(&world.take()), [(4, Refusal::DiskFull)]);
    assert_eq!(forget(&mut world, stripe, "m1"), 1, "what gives room back is taken");
    // Behind an observation that is refused it is about what was there before.
    world.observe(stripe, unary(5, "m2", vector(9)));
    assert_eq!(forget(&mut world, stripe, "m2"), 1);
    assert_eq!(world.recall_ids(stripe, &vector(2), 10), ["m3"]);
    compact(&mut world);
    let whole = world.disk.files.values().filter(|file| file.len() > LOG_BLOCK_BYTES as usize);
    assert_eq!(whole.count(), 1, "the segment of the life before is given up");
    world.disk.is_full = false;
    // It gets the generation of the one that was dropped.
    world.observe(stripe, unary(6, "m2", vector(2)));
    world.settle();
    assert_eq!(durable_sequences(&world.take()), [6]);
    for _ in 0..2 {
        let ids: BTreeSet<String> = world.recall_ids(stripe, &vector(2), 10).into_iter().collect();
        assert_eq!(ids, ["m2", "m3"].map(String::from).into());
        world.crash(Fate::Lost, 1);
        world.settle();
    }
}

#[test]
fn a_session_waits_for_no_row_that_was_dropped() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    world.open(stripe, 4, OpenIntent::Begin);
    let opened = world.open(stripe, 4, OpenIntent::Resume);
    world.disk.fault = Some(IoFault::Full);
    send(&mut world, stripe, &opened, 1);
    world.commit();
    assert_eq!(dropped_sequences(&world.take()), [(1, Refusal::DiskFull)]);
    let SessionOpened { session, epoch, .. } = world.open(stripe, 4, OpenIntent::Resume);
    world.ask(
        stripe,
        CLIENT,
        Request::CloseSession { stripe, session, epoch, drain: Drain::Indexed },
    );
    assert!(matches!(world.take_one(), Reply::Closed(Ok(_))));
}

#[test]
fn what_waits_for_a_dropped_record_is_told_why() {
    let mut world = World::new(1);
    let diary = world.space("diary");
    let opened = world.open(diary, 4, OpenIntent::Begin);
    world.disk.fault = Some(IoFault::Failed);
    send(&mut world, diary, &opened, 1);
    let (session, epoch) = (opened.session, opened.epoch);
    let close = Request::CloseSession { stripe: diary, session, epoch, drain: Drain::Durable };
    world.ask(diary, CLIENT, close);
    let begin =
        Request::OpenSession { stripe: diary, session: SessionId(5), intent: OpenIntent::Begin };
    world.ask(diary, CLIENT, begin);
    let other = stripe("other");
    for _ in 0..2 {
        let create =
            Request::CreateSpace { settings: settings("other"), if_exists: IfExists::MustBeSame };
        world.ask(other, CLIENT, create);
    }
    world.commit();
    let replies = world.take();
    let why = |reply: &Reply| match reply {
        Reply::Closed(Err(refusal)) => (1, refusal.clone()),
        Reply::Session(Err(refusal)) => (2, refusal.clone()),
        Reply::Space(Err(refusal)) => (3, refusal.clone()),
        Reply::Dropped { refusal, .. } => (4, refusal.clone()),
        reply => panic!("{reply:?}"),
    };
    let mut told: Vec<_> = replies.iter().map(|(_, reply)| why(reply)).collect();
    told.sort_by_key(|(kind, _)| *kind);
    let expected = [1, 2, 3, 3, 4].map(|kind| (kind, Refusal::Unavailable));
    assert_eq!(told, expected);

    world.disk.fault = None;
    assert_eq!(world.status()[0].sessions, 1, "a session that never was is not known");
    world.open(diary, 5, OpenIntent::Begin);
    world.space("other");
}

#[test]
fn a_recall_that_saw_what_is_dropped_goes_on_without_it() {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    world.observe(stripe, unary(1, "kept", vector(1)));
    world.settle();
    world.observe(stripe, unary(2, "dropped", vector(2)));
    world.take();
    for steps in 0..4 {
        world.disk.fault = None;
        world.observe(stripe, unary(3, "dropped", vector(2)));
        let request = recall(stripe, &vector(2), 5, Isolation::InFlight);
        world.ask(stripe, CLIENT, Request::Recall(request));
        (0..steps).for_each(|_| assert!(world.shards[0].work(1, world.now) > 0));
        world.disk.fault = Some(IoFault::Full);
        world.pass(500);
        world.end_all(|io| !matches!(io, engram_shards::shard::Io::Read { .. }));
        // Another takes its row before the recall goes on.
        world.observe(stripe, unary(4, "later", vector(2)));
        world.work();
        world.end_all(|io| matches!(io, engram_shards::shard::Io::Read { .. }));
        world.work();
        let replies = world.take();
        let recalled = replies.iter().find_map(|(_, reply)| match reply {
            Reply::Recalled(Ok(recalled)) => Some(recalled),
            _ => None,
        });
        let ids: Vec<_> = recalled.expect("results").hits.iter().map(id_of).collect();
        assert_eq!(ids, ["kept"], "dropped after {steps} steps");
        world.commit();
        world.take();
    }
}
