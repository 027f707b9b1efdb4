//! Segments that are mostly dead are given up: what counts is elsewhere by then, whatever fails on the way, and what was
//! replaced, deleted or suppressed stays so.

mod world;

use std::collections::BTreeSet;

use engram_shards::ids::{Location, StripeKey};
use engram_shards::limits::{LOG_BLOCK_BYTES, LOG_COMMIT_WAIT_MICROS};
use engram_shards::log::batch::BATCH_HEADER_BYTES;
use engram_shards::log::log::IoFault;
use engram_shards::message::{Forget, ForgetMode, OpenIntent, Reply, Request};
use engram_shards::shard::Io;
use world::{CLIENT, Fate, SECRET, Sent, World, owner, stripe, unary, vector};

/// Where a batch says how long its records are.
const PAYLOAD_BYTES_AT: usize = 36;

fn forget(world: &mut World, stripe: StripeKey, id: &str, mode: ForgetMode) -> u32 {
    let memory_hash = SECRET.memory_hash(id);
    let forget = Forget { stripe, memory_hash, id: id.into(), mode };
    world.ask(stripe, CLIENT, Request::Forget(forget));
    world.commit();
    match world.take_one() {
        Reply::Forgotten(Ok(count)) => count,
        reply => panic!("{reply:?}"),
    }
}

/// Files that hold more than a head.
fn whole(world: &World) -> usize {
    world.disk.files.values().filter(|file| file.len() > LOG_BLOCK_BYTES as usize).count()
}

/// Lets compactions run until none is left, or all that are have failed for long enough.
fn compact(world: &mut World) {
    let end = world.now.after_micros(30_000_000);
    loop {
        world.settle();
        let due = world.shards.iter().filter_map(|shard| shard.deadline()).min();
        // Sessions expire much later.
        match due.filter(|due| *due < end) {
            Some(due) => {
                world.now = world.now.max(due);
                world.pass(0);
            }
            None => break,
        }
    }
}

/// A world with memories `kept`, `replaced` (twice), `deleted` and `hidden`, in a segment that is written no more.
fn remembering() -> (World, StripeKey, SessionMark) {
    let mut world = World::new(1);
    let stripe = world.space("compacted");
    let opened = world.open(stripe, 7, OpenIntent::Begin);
    let mut sequence = 0;
    for (number, id) in ["kept", "replaced", "deleted", "hidden", "replaced"].iter().enumerate() {
        sequence += 1;
        let (session, epoch) = (7, opened.epoch);
        let vector = vector(number as u64);
        world.observe(stripe, Sent { origin: CLIENT, session, epoch, sequence, id, vector });
        world.commit();
        world.take();
    }
    (world, stripe, SessionMark { session: 7, sequence })
}

struct SessionMark {
    session: u128,
    sequence: u64,
}

fn ids(world: &mut World, stripe: StripeKey) -> BTreeSet<String> {
    world.settle();
    world.take();
    world.recall_ids(stripe, &vector(1), 20).into_iter().collect()
}

#[test]
fn what_counts_is_copied_and_the_rest_stays_gone() {
    let (mut world, stripe, mark) = remembering();
    assert_eq!(forget(&mut world, stripe, "deleted", ForgetMode::Delete), 1);
    assert_eq!(forget(&mut world, stripe, "hidden", ForgetMode::Suppress), 1);
    let expected: BTreeSet<String> = ["kept", "replaced"].map(String::from).into();
    assert_eq!(ids(&mut world, stripe), expected);
    // Each start begins a new segment, and the one before is compacted.
    for round in 0..4 {
        world.crash(Fate::Lost, 1);
        compact(&mut world);
        assert_eq!(whole(&world), 1, "round {round}");
        assert!(world.disk.files.len() <= 2, "round {round}: {:?}", world.disk.files.keys());
        assert_eq!(ids(&mut world, stripe), expected, "round {round}");
        let opened = world.open(stripe, mark.session, OpenIntent::Resume);
        assert_eq!(opened.durable_sequence, mark.sequence, "round {round}");
    }
    // What is suppressed is still there to be deleted; what is deleted is not.
    assert_eq!(forget(&mut world, stripe, "deleted", ForgetMode::Delete), 0);
    assert_eq!(forget(&mut world, stripe, "hidden", ForgetMode::Delete), 1);
    world.crash(Fate::Whole, 1);
    compact(&mut world);
    assert_eq!(ids(&mut world, stripe), expected);
}

#[test]
fn a_crash_at_any_write_loses_and_doubles_nothing() {
    let expected: BTreeSet<String> = ["kept", "replaced"].map(String::from).into();
    for fate in [Fate::Lost, Fate::Torn, Fate::Whole] {
        let mut is_over = false;
        let mut writes = 0;
        while !is_over {
            let (mut world, stripe, mark) = remembering();
            forget(&mut world, stripe, "deleted", ForgetMode::Delete);
            forget(&mut world, stripe, "hidden", ForgetMode::Suppress);
            world.crash(Fate::Lost, 1);
            // So many writes end well.
            let mut left = writes;
            is_over = loop {
                world.collect();
                let is_read = |io: &Io| matches!(io, Io::Read { .. });
                world.end_all(is_read);
                world.work();
                if !world.waiting.is_empty() {
                    if left == 0 {
                        break false;
                    }
                    left -= 1;
                    world.end_io(0);
                    continue;
                }
                let due = world.shards.iter().filter_map(|shard| shard.deadline()).min();
                match due.filter(|due| due.micros_since(world.now) < 60_000_000) {
                    Some(due) => {
                        world.now = world.now.max(due);
                        world.pass(0);
                    }
                    None => break true,
                }
            };
            world.crash(fate, 1);
            assert_eq!(ids(&mut world, stripe), expected, "{fate:?} after {writes} writes");
            compact(&mut world);
            assert_eq!(ids(&mut world, stripe), expected, "{fate:?} after {writes} writes");
            let opened = world.open(stripe, mark.session, OpenIntent::Resume);
            assert_eq!(opened.durable_sequence, mark.sequence);
            // A torn write may leave a segment that counts for nothing.
            assert!(whole(&world) <= 2, "{fate:?} after {writes} writes");
            writes += 1;
        }
        assert!(writes > 3, "a compaction takes some writes");
    }
}

#[test]
fn a_disk_that_is_full_meanwhile_costs_nothing() {
    let (mut world, stripe, _) = remembering();
    forget(&mut world, stripe, "deleted", ForgetMode::Delete);
    world.crash(Fate::Lost, 1);
    world.disk.fault = Some(IoFault::Full);
    for _ in 0..3 {
        world.pass(2_000_000);
        world.end_all(|_| true);
    }
    assert_eq!(whole(&world), 1, "nothing was given up");
    world.disk.fault = None;
    compact(&mut world);
    assert_eq!(whole(&world), 1);
    let expected: BTreeSet<String> = ["hidden", "kept", "replaced"].map(String::from).into();
    assert_eq!(ids(&mut world, stripe), expected);
}

#[test]
fn a_segment_that_a_forgotten_memory_needed_goes_once_it_is_compared() {
    let (mut world, stripe, _) = remembering();
    forget(&mut world, stripe, "deleted", ForgetMode::Delete);
    world.crash(Fate::Lost, 1);
    // The record that was replayed is not compared yet when the first look is taken.
    world.collect();
    assert!(world.waiting.iter().any(|(_, _, io)| matches!(io, Io::Read { .. })));
    world.pass(0);
    world.pass(1_000_000);
    compact(&mut world);
    assert_eq!(whole(&world), 1);
    assert_eq!(world.disk.files.len(), 2, "{:?}", world.disk.files.keys());
}

#[test]
fn a_removal_that_fails_is_tried_again() {
    let (mut world, stripe, _) = remembering();
    let expected: BTreeSet<String> =
        ["deleted", "hidden", "kept", "replaced"].map(String::from).into();
    world.crash(Fate::Lost, 1);
    compact(&mut world);
    world.crash(Fate::Lost, 1);
    // A second segment in a row goes, and with it a file.
    let is_removal = |io: &Io| matches!(io, Io::RemoveSegment { .. });
    let mut failed = 0;
    loop {
        world.collect();
        world.work();
        if let Some(place) = world.waiting.iter().position(|(_, _, io)| is_removal(io)) {
            let fails = failed < 2;
            world.disk.fault = fails.then_some(IoFault::Failed);
            world.end_io(place);
            world.disk.fault = None;
            failed += usize::from(fails);
            continue;
        }
        if !world.waiting.is_empty() {
            world.end_io(0);
            continue;
        }
        let due = world.shards.iter().filter_map(|shard| shard.deadline()).min();
        match due.filter(|due| due.micros_since(world.now) < 60_000_000) {
            Some(due) => {
                world.now = world.now.max(due);
                world.pass(0);
            }
            None => break,
        }
    }
    assert!(failed > 0, "nothing was to be removed");
    assert_eq!(world.disk.files.len(), 2, "{:?}", world.disk.files.keys());
    assert_eq!(ids(&mut world, stripe), expected);
}

/// A row that was found where nobody vouches for it is copied before anything goes that may be the one that is on the disk:
/// here the record of `moved` in the log of a shard that is no more, whose batch lives in a cache until the power goes.
#[test]
fn what_lives_in_a_cache_alone_is_not_relied_on() {
    let named = |then: usize| {
        let mut names = (0..).map(|number| format!("space {number}"));
        let is_moved =
            |name: &String| (owner(stripe(name), 3), owner(stripe(name), 2)) == (1, then);
        names.find(is_moved).expect("one in six is")
    };
    let mut world = World::new(3);
    let (anchor, stripe) = (world.space(&named(1)), world.space(&named(0)));
    let begin = |world: &mut World, stripe: StripeKey, number: u64, id: &str| {
        world.observe(stripe, unary(number, id, vector(number)));
        world.pass(LOG_COMMIT_WAIT_MICROS);
        let written = world.waiting.iter().rev().find_map(|(_, _, io)| match io {
            Io::Commit { segment, offset, bytes, .. } => Some((*segment, *offset, bytes.clone())),
            _ => None,
        });
        written.expect("it is being written")
    };
    // A neighbour's record that cannot be read keeps the segment.
    let (segment, offset, bytes) = begin(&mut world, anchor, 1, "anchor");
    let payload = bytes[PAYLOAD_BYTES_AT..][..4].try_into().expect("four bytes");
    let offset = offset + BATCH_HEADER_BYTES as u32;
    let anchored = Location { segment, offset, bytes: u32::from_le_bytes(payload) };
    world.commit();
    begin(&mut world, stripe, 1, "kept");
    world.commit();
    // This batch is whole, and no one was told of it.
    let (segment, offset, bytes) = begin(&mut world, stripe, 2, "moved");
    world.crash(Fate::Whole, 2);
    world.disk.unreadable.insert(anchored);
    world.settle();
    begin(&mut world, stripe, 3, "later");
    world.settle();
    world.take();
    let expected: BTreeSet<String> = ["kept", "moved", "later"].map(String::from).into();
    // Copied, and copied once more.
    for _ in 0..2 {
        world.crash(Fate::Lost, 2);
        compact(&mut world);
        assert_eq!(ids(&mut world, stripe), expected);
    }
    let file = world.disk.files.get_mut(&segment).expect("nobody emptied it");
    file[offset as usize..][..bytes.len()].fill(0);
    world.crash(Fate::Lost, 2);
    assert_eq!(ids(&mut world, stripe), expected);
}

#[test]
fn segments_of_another_number_of_shards_go_too() {
    let mut world = World::new(3);
    let stripes: Vec<StripeKey> = (0..6).map(|number| world.space(&format!("{number}"))).collect();
    for (number, stripe) in (0..).zip(&stripes) {
        for (sequence, id) in (1..).zip(["kept", "replaced", "deleted", "replaced"]) {
            world.observe(*stripe, unary(sequence, id, vector(10 * number + sequence)));
            world.commit();
        }
        world.take();
        assert_eq!(forget(&mut world, *stripe, "deleted", ForgetMode::Delete), 1);
    }
    let expected: BTreeSet<String> = ["kept", "replaced"].map(String::from).into();
    for shards in [2, 1, 3, 2] {
        world.crash(Fate::Lost, shards);
        compact(&mut world);
        assert!(whole(&world) <= usize::from(shards), "{shards}: {:?}", world.disk.files.keys());
        for stripe in &stripes {
            assert_eq!(ids(&mut world, *stripe), expected, "{shards} shards");
        }
    }
}
