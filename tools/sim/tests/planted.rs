//! Each bug that is planted in the engine is found by the checker that is there for it, and each checker finds one.
//!
//! `cargo test --release -p engram-sim --features planted --test planted` prints the table that
//! docs/decisions/2026-11-21-planted-bugs.md has too. `engram-sim --planted BUG --seed N`, built with the same feature,
//! tells the story of one.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use engram_shards::{Planted, plant};
use engram_sim::ledger::{Checker, Wrong};
use engram_sim::trace::Story;
use engram_sim::world;

/// Within so many seeds each is found.
const SEEDS: u64 = 500;

const PAGE: &str = include_str!("../../../docs/decisions/2026-11-21-planted-bugs.md");

/// The checker that finds it. Others may as well, or the engine's own assertions.
fn finder(bug: Planted) -> Checker {
    match bug {
        Planted::AckBeforeSync => Checker::Kept,
        Planted::SyncFailureIgnored => Checker::Log,
        Planted::SyncRetriedInPlace => Checker::Log,
        Planted::SectorShared => Checker::Log,
        Planted::RecordsSwapped => Checker::Order,
        Planted::GenerationSkipped => Checker::Generations,
        Planted::BodyCrcSkipped => Checker::Kept,
        Planted::TailCutTooEarly => Checker::Kept,
        Planted::OtherLifeTaken => Checker::Log,
        Planted::EndUnstated => Checker::Generations,
        Planted::CommitTimesRestart => Checker::Time,
        Planted::DamageCut => Checker::Damage,
        Planted::MarkForgotten => Checker::Session,
        Planted::FenceForgotten => Checker::Once,
        Planted::OpenedBeforeDurable => Checker::Session,
        Planted::CloseUntold => Checker::Answer,
        Planted::UnprovenLost => Checker::Recall,
        Planted::TailForgotten => Checker::Recall,
        Planted::InFlightRecalled => Checker::Recall,
        Planted::ReplacedRecalled => Checker::Recall,
        Planted::ReplacementForgotten => Checker::Rows,
        Planted::HashTrusted => Checker::Recall,
        Planted::ForgottenByHash => Checker::Recall,
        Planted::ForgetForgotten => Checker::Forgotten,
        Planted::EmptiedBeforeCopied => Checker::Generations,
        Planted::GoneForgotten => Checker::Generations,
        Planted::MarkNotCarried => Checker::Kept,
        Planted::SuppressionNotCarried => Checker::Forgotten,
        Planted::CompactionForgotten => Checker::Disk,
        Planted::SharesForgotten => Checker::Disk,
        Planted::RoomAwaited => Checker::Answer,
        Planted::CapacityExceeded => Checker::Queue,
        Planted::CreditLost => Checker::Queue,
        Planted::HoldingForgotten => Checker::Queue,
        Planted::BackLinksDropped => Checker::Graph,
        Planted::CheckpointUnsynced => Checker::Checkpoint,
        Planted::CoveredTooFar => Checker::Log,
        Planted::BlockCrcSkipped => Checker::Graph,
        Planted::GoneRowLinked => Checker::Graph,
        Planted::CheckpointFailureIgnored => Checker::Checkpoint,
        Planted::LoadingUnnoticed => Checker::Once,
        Planted::RecordMistaken => Checker::Recall,
        Planted::EndUnchecked => Checker::Damage,
    }
}

/// What came to light of a planted bug.
#[derive(Clone, Debug, Default)]
struct Finds {
    /// The first seed in which anyone noticed anything.
    noticed: Option<u64>,
    /// The first in which its checker did, and what that said.
    found: Option<(u64, String)>,
}

fn find(bug: Planted) -> Finds {
    plant(Some(bug));
    let mut finds = Finds::default();
    for seed in 0..SEEDS {
        let run = AssertUnwindSafe(|| world::run(seed, None, Story::Hashed));
        let wrong = match panic::catch_unwind(run) {
            Ok(Ok(_)) => continue,
            Ok(Err(wrong)) => wrong,
            Err(_) => Wrong { checker: Checker::Engine, text: String::new() },
        };
        finds.noticed.get_or_insert(seed);
        if wrong.checker == finder(bug) {
            finds.found = Some((seed, wrong.text));
            break;
        }
    }
    plant(None);
    finds
}

/// All of them, on as many cores as there are.
fn find_all() -> Vec<(Planted, Finds)> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut found = Vec::new();
        while let Some(&bug) = Planted::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
            found.push((bug, find(bug)));
        }
        found
    };
    let mut found: Vec<_> = thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker ends")).collect()
    });
    found.sort_by_key(|(bug, _)| *bug);
    found
}

/// A bug's row of the table, but for the seeds.
fn row(bug: Planted) -> String {
    format!("| `{bug:?}` | {} | `{:?}` |", bug.what(), finder(bug))
}

#[test]
fn each_planted_bug_is_found_by_its_checker() {
    // What the engine's own assertions say is of no interest here.
    panic::set_hook(Box::new(|_| {}));
    let found = find_all();
    let _ = panic::take_hook();
    for (bug, finds) in &found {
        let seed = |seed: Option<u64>| seed.map_or("–".into(), |seed| (seed + 1).to_string());
        let (noticed, by) = (seed(finds.noticed), seed(finds.found.as_ref().map(|found| found.0)));
        println!("{} {by} | {noticed} |", row(*bug));
    }
    for (bug, finds) in &found {
        if let Some((seed, text)) = &finds.found {
            println!("engram-sim --planted {bug:?} --seed {seed}\n  {:?}: {text}", finder(*bug));
        }
    }
    let missed = found.iter().filter(|(_, finds)| finds.found.is_none()).map(|(bug, _)| bug);
    let missed: Vec<_> = missed.collect();
    assert!(missed.is_empty(), "not found within {SEEDS} seeds: {missed:?}");
}

#[test]
fn each_checker_finds_a_bug() {
    for checker in Checker::ALL.into_iter().filter(|checker| *checker != Checker::Engine) {
        let finds = |bug: &&Planted| finder(**bug) == checker;
        assert!(Planted::ALL.iter().any(|bug| finds(&bug)), "{checker:?} finds none");
    }
}

#[test]
fn the_page_has_the_table() {
    for &bug in Planted::ALL {
        assert!(PAGE.contains(&row(bug)), "the page lacks {}", row(bug));
    }
    let rows = PAGE.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, Planted::ALL.len(), "the page has rows of bugs that there are not");
}
