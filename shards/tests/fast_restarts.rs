//! Promise: a restart takes stripes from their checkpoints and replays only what these do not cover, with as many shards
//! as before or with others; nothing that was durable is missing, and a stripe is served as soon as it is loaded.

mod world;

use std::collections::BTreeSet;

use engram_shards::checkpoint::due::CheckpointLimits;
use engram_shards::ids::{SegmentId, StripeKey, Time};
use engram_shards::log::log::IoFault;
use engram_shards::log::replay::LogFault;
use engram_shards::message::{Isolation, OpenIntent, Refusal, Reply, Request};
use engram_shards::shard::Io;
use engram_shards::space::TailLimits;
use world::{CLIENT, Fate, Sent, World, id_of, owner, recall, stripe, unary, vector};

/// Due with each record, as soon as they are a hundred bytes.
const EAGER: CheckpointLimits =
    CheckpointLimits { records_bytes_min: 100, large_bytes: 0, log_bytes_max: 100 };

fn world(shards: u16) -> World {
    let mut world = World::new(shards);
    world.checkpoints = EAGER;
    world.crash(Fate::Lost, shards);
    world
}

fn fill(world: &mut World, stripe: StripeKey, numbers: std::ops::Range<u64>) {
    for number in numbers {
        world.observe(stripe, unary(number, &format!("m{number}"), vector(number)));
    }
    finish_checkpoints(world);
    world.take();
}

/// Lets everything happen that would, checkpoints too, which pause between parts.
fn finish_checkpoints(world: &mut World) {
    world.settle();
    while !world.shards.iter().all(|shard| shard.is_checkpointed()) {
        world.pass(1_000);
        world.settle();
    }
}

/// The server stops in order, and starts again with so many shards.
fn restart(world: &mut World, shards: u16) {
    for shard in &mut world.shards {
        shard.drain();
    }
    finish_checkpoints(world);
    world.crash(Fate::Lost, shards);
}

fn all_of(world: &mut World, stripe: StripeKey) -> Vec<(u64, String)> {
    let recalled = world.recall(stripe, &vector(1), 900, Isolation::Durable);
    let mut all: Vec<_> = recalled.hits.iter().map(|hit| (hit.generation.0, id_of(hit))).collect();
    all.sort();
    all
}

fn numbered(until: u64) -> Vec<(u64, String)> {
    (1..until).map(|number| (number, format!("m{number}"))).collect()
}

#[test]
fn what_a_checkpoint_covers_is_neither_replayed_nor_linked_anew() {
    let mut world = world(1);
    let stripe = world.space("diary");
    fill(&mut world, stripe, 1..200);
    let before = world.status()[0].stripes[0].clone();
    assert!(before.linked == 199 && world.disk.checkpoints.contains_key(&stripe));
    for _ in 0..2 {
        restart(&mut world, 1);
        let after = world.status()[0].stripes[0].clone();
        assert_eq!((after.linked, after.generation), (199, before.generation));
        assert_eq!(all_of(&mut world, stripe), numbered(200));
    }
    fill(&mut world, stripe, 200..210);
    restart(&mut world, 1);
    world.disk.read.clear();
    // Each life that writes makes a segment of its own, and seals the one before.
    fill(&mut world, stripe, 210..220);
    restart(&mut world, 1);
    let last = *world.disk.files.keys().next_back().expect("there are segments");
    assert_eq!(world.disk.read, [last].into(), "only the open end of the log is read");
    assert_eq!(all_of(&mut world, stripe), numbered(220));
    world.shards[0].check().expect("its graph is sound");
}

#[test]
fn any_number_of_shards_takes_checkpoints_over() {
    let mut world = world(1);
    let names: Vec<String> = (0..7).map(|number| format!("space-{number}")).collect();
    for name in &names {
        world.space(name);
    }
    let mut until = 1;
    for shards in [1, 3, 2, 5, 1, 4, 1] {
        restart(&mut world, shards);
        for name in &names {
            fill(&mut world, stripe(name), until..until + 20);
        }
        until += 20;
        for name in &names {
            assert_eq!(all_of(&mut world, stripe(name)), numbered(until), "{shards} shards");
        }
        assert_eq!(world.disk.checkpoints.len(), names.len());
    }
    restart(&mut world, 3);
    world.disk.read.clear();
    restart(&mut world, 2);
    let linked = world.status().into_iter().flat_map(|shard| shard.stripes);
    assert!(linked.map(|stripe| stripe.linked).all(|linked| linked > 0));
    let logs: BTreeSet<_> = world.disk.files.keys().map(|segment| segment.log).collect();
    assert!(world.disk.read.len() <= logs.len(), "{:?}", world.disk.read);
}

#[test]
fn a_crash_at_any_step_leaves_the_checkpoint_before() {
    let is_checkpoint = |io: &Io| {
        matches!(
            io,
            Io::CreateCheckpoint { .. }
                | Io::WriteCheckpoint { .. }
                | Io::SyncCheckpoint { .. }
                | Io::KeepCheckpoint { .. }
        )
    };
    for (steps, fate) in (0..6).flat_map(|steps| [(steps, Fate::Lost), (steps, Fate::Torn)]) {
        let mut world = world(1);
        let stripe = world.space("diary");
        fill(&mut world, stripe, 1..60);
        let before = world.disk.checkpoints.clone();
        for number in 60..120 {
            world.observe(stripe, unary(number, &format!("m{number}"), vector(number)));
        }
        world.collect();
        for _ in 0..8 {
            world.pass(1_000);
            world.end_all(|io| !is_checkpoint(io));
        }
        let mut done = 0;
        while done < steps {
            world.pass(1_000);
            let Some(index) = world.waiting.iter().position(|(_, _, io)| is_checkpoint(io)) else {
                break;
            };
            world.end_io(index);
            done += 1;
        }
        let is_kept = world.disk.checkpoints != before;
        world.crash(fate, 1);
        world.commit();
        assert_eq!(all_of(&mut world, stripe), numbered(120), "{steps} steps");
        assert!(!is_kept || world.disk.checkpoints != before);
        world.shards[0].check().expect("its graph is sound");
    }
}

#[test]
fn a_checkpoint_that_cannot_be_written_is_tried_again_later() {
    let mut world = world(1);
    let stripe = world.space("diary");
    fill(&mut world, stripe, 1..60);
    for number in 60..180 {
        world.observe(stripe, unary(number, &format!("m{number}"), vector(number)));
    }
    let is_checkpoint = |io: &Io| matches!(io, Io::CreateCheckpoint { .. });
    world.end_all(|io| !is_checkpoint(io));
    let before = world.disk.checkpoints.clone();
    world.disk.fault = Some(IoFault::Full);
    for _ in 0..50 {
        world.pass(1_000);
        world.end_all(|_| true);
    }
    assert_eq!(world.status()[0].checkpoint_failures, 1, "and then it rests");
    assert_eq!(world.disk.checkpoints, before);
    world.work();
    let status = world.status();
    assert_eq!(status[0].stripes[0].linked, 179, "its graph goes on");
    world.disk.fault = None;
    world.pass(60_000_000);
    finish_checkpoints(&mut world);
    assert!(world.disk.checkpoints != before);
    restart(&mut world, 1);
    assert_eq!(all_of(&mut world, stripe), numbered(180));
}

#[test]
fn a_damaged_checkpoint_is_left_aside_and_its_stripe_replayed() {
    let mut world = world(2);
    let names = ["diary", "notes", "log"];
    for name in names {
        let stripe = world.space(name);
        fill(&mut world, stripe, 1..80);
    }
    restart(&mut world, 2);
    let sound = world.disk.checkpoints.clone();
    for name in names {
        for at in [5, 4_000, 5_000, sound[&stripe(name)].len() - 1] {
            world.disk.checkpoints = sound.clone();
            world.disk.checkpoints.get_mut(&stripe(name)).expect("it is there")[at] ^= 8;
            world.crash(Fate::Lost, 2);
            world.commit();
            let linked = |stripe: &engram_shards::message::StripeStatus| stripe.linked;
            let status = world.status();
            let linked: Vec<u64> = status.iter().flat_map(|one| &one.stripes).map(linked).collect();
            assert_eq!(linked.iter().filter(|linked| **linked == 0).count(), 1, "{linked:?}");
            for name in names {
                assert_eq!(all_of(&mut world, stripe(name)), numbered(80), "byte {at}");
            }
        }
    }
}

#[test]
fn a_log_that_lost_what_a_checkpoint_covers_is_refused() {
    let mut world = world(1);
    let stripe = world.space("diary");
    for numbers in [1..60, 60..120] {
        fill(&mut world, stripe, numbers);
        restart(&mut world, 1);
    }
    let whole = world.disk.files.clone();
    let (&last, bytes) = whole.last_key_value().expect("there are segments");
    let behind = (last.number, bytes.len() as u32);
    for length in [None, Some(0), Some(4_096), Some(bytes.len() - 4_096)] {
        match length {
            Some(length) => world.disk.files.insert(last, bytes[..length].to_vec()),
            None => world.disk.files.remove(&last),
        };
        match world.start(1).expect_err("a new segment would be covered before it is written") {
            LogFault::EndMissing { segment, offset, covered, stripe: of } => {
                assert!((segment.number, offset) < behind && of == stripe, "{length:?}");
                assert_eq!(covered, behind);
            }
            fault => panic!("{length:?}: {fault:?}"),
        }
    }
    world.disk.files.clear();
    let fault = world.start(1).expect_err("all is lost");
    let LogFault::EndMissing { segment, .. } = fault else { panic!("{fault:?}") };
    assert_eq!(segment.number, 0);
    world.disk.files = whole;
    assert_eq!(world.start(1), Ok(()));
    assert_eq!(all_of(&mut world, stripe), numbered(120));
}

#[test]
fn what_may_live_in_a_cache_alone_is_covered_by_no_checkpoint() {
    let mut world = world(2);
    let is_second = |name: &String| owner(stripe(name), 2) == 1;
    let name = (0..).map(|number| format!("space-{number}")).find(is_second).expect("half of them");
    let stripe = world.space(&name);
    fill(&mut world, stripe, 1..60);
    let synced = world.disk.files.clone();
    world.observe(stripe, unary(60, "m60", vector(60)));
    world.pass(500);
    // The process ends, and what its last write left in the cache is read back, and written to another log.
    world.crash(Fate::Whole, 1);
    assert_ne!(world.disk.files, synced);
    restart(&mut world, 1);
    // The power goes, and the cache with it.
    world.disk.files.extend(synced);
    assert_eq!(world.start(1), Ok(()));
    world.commit();
    assert_eq!(all_of(&mut world, stripe), numbered(61));
}

#[test]
fn sessions_go_on_where_they_were() {
    let mut world = world(1);
    let stripe = world.space("diary");
    let opened = world.open(stripe, 6, OpenIntent::Begin);
    for sequence in 1..=50 {
        let (id, vector) = (format!("m{sequence}"), vector(sequence));
        let (origin, epoch) = (CLIENT, opened.epoch);
        world.observe(stripe, Sent { origin, session: 6, epoch, sequence, id: &id, vector });
    }
    restart(&mut world, 1);
    restart(&mut world, 1);
    let resumed = world.open(stripe, 6, OpenIntent::Resume);
    assert_eq!(resumed.durable_sequence, 50);
}

#[test]
fn a_stripe_is_served_once_it_is_loaded_and_no_sooner() {
    let mut world = world(1);
    let (small, large) = (world.space("small"), world.space("large"));
    fill(&mut world, small, 1..20);
    fill(&mut world, large, 1..300);
    let opened = world.open(large, 9, OpenIntent::Begin);
    world.loads_later = true;
    restart(&mut world, 1);
    let ask = |world: &mut World, stripe, request| {
        world.ask(stripe, CLIENT, request);
        world.take_one()
    };
    let cue = || Request::Recall(recall(large, &vector(3), 5, Isolation::Durable));
    assert!(!world.shards[0].is_settled(), "not all is there");
    for name in ["small", "large"] {
        let describe = Request::DescribeSpace(stripe(name).space);
        let reply = ask(&mut world, stripe(name), describe);
        assert!(matches!(reply, Reply::Space(Err(Refusal::Unavailable))), "{reply:?}");
    }
    assert_eq!(world.load_next(), Ok(Some(small)), "the smallest comes first");
    assert_eq!(all_of(&mut world, small), numbered(20));
    let reply = ask(&mut world, large, cue());
    assert!(matches!(reply, Reply::Recalled(Err(Refusal::Unavailable))), "{reply:?}");
    let session = opened.session;
    let resume = Request::OpenSession { stripe: large, session, intent: OpenIntent::Resume };
    let reply = ask(&mut world, large, resume.clone());
    assert!(matches!(reply, Reply::Session(Err(Refusal::Unavailable))), "{reply:?}");
    let reply = ask(&mut world, large, Request::FindSession(session));
    assert!(matches!(reply, Reply::Space(Err(Refusal::Unavailable))), "{reply:?}");
    // What comes to the other meanwhile is as ever.
    world.observe(small, unary(20, "m20", vector(20)));
    finish_checkpoints(&mut world);
    world.take();
    assert_eq!(world.load_next(), Ok(Some(large)));
    world.commit();
    assert!(world.shards[0].is_settled());
    assert_eq!(all_of(&mut world, large), numbered(300));
    assert_eq!(all_of(&mut world, small), numbered(21));
    let reply = ask(&mut world, large, Request::FindSession(session));
    assert!(matches!(reply, Reply::Space(Ok(_))), "{reply:?}");
    assert_eq!(world.load_next(), Ok(None));
}

#[test]
fn rows_that_come_while_a_graph_stands_still_wait_in_the_tail_and_are_found() {
    let mut world = world(1);
    world.tail = TailLimits { rows_max: 5, graph_rows_min: 0 };
    world.crash(Fate::Lost, 1);
    let stripe = world.space("diary");
    fill(&mut world, stripe, 1..100);
    for number in 100..400 {
        world.observe(stripe, unary(number, &format!("m{number}"), vector(number)));
    }
    let is_checkpoint = |io: &Io| matches!(io, Io::CreateCheckpoint { .. });
    for _ in 0..8 {
        world.pass(1_000);
        world.end_all(|io| !is_checkpoint(io));
    }
    assert!(world.waiting.iter().any(|(_, _, io)| is_checkpoint(io)));
    let linked = world.status()[0].stripes[0].linked;
    assert_eq!(world.shards[0].work(1_000_000, Time(0)), 0, "nothing may change");
    assert_eq!(all_of(&mut world, stripe), numbered(400));
    assert_eq!(world.status()[0].stripes[0].linked, linked);
    finish_checkpoints(&mut world);
    assert_eq!(world.status()[0].stripes[0].linked, 399);
    assert!(world.status().iter().all(|shard| shard.depth == 0));
}

#[test]
fn a_few_old_records_are_covered_so_that_their_segment_need_not_be_read() {
    let mut world = world(1);
    world.checkpoints =
        CheckpointLimits { records_bytes_min: 20_000, large_bytes: 0, log_bytes_max: 10_000 };
    world.crash(Fate::Lost, 1);
    let (quiet, busy) = (world.space("quiet"), world.space("busy"));
    fill(&mut world, quiet, 1..4);
    assert!(!world.disk.checkpoints.contains_key(&quiet));
    fill(&mut world, busy, 1..150);
    assert!(world.disk.checkpoints.contains_key(&quiet));
    let first: Vec<SegmentId> = world.disk.files.keys().copied().collect();
    for _ in 0..2 {
        world.crash(Fate::Lost, 1);
        fill(&mut world, busy, 1_000..1_001);
    }
    world.disk.read.clear();
    world.crash(Fate::Lost, 1);
    assert!(first.iter().all(|segment| !world.disk.read.contains(segment)));
    assert_eq!(all_of(&mut world, quiet), numbered(4));
}
