//! Each bug that is planted in the engine is found by a checker of the simulator.
//!
//! `cargo test --release -p engram-sim --features planted --test planted`; the table that it prints is the one of
//! docs/decisions/2026-11-21-planted-bugs.md, but for the seeds. `engram-sim --planted BUG --seed N` replays one.

use std::collections::BTreeSet;
use std::panic::{self, AssertUnwindSafe};

use engram_shards::{Planted, plant};
use engram_sim::fault::Bug;
use engram_sim::ledger::Checker;
use engram_sim::trace::Story;
use engram_sim::world;

/// Within so many seeds each is found.
const SEEDS: u64 = 500;

/// The page with the table.
const PAGE: &str = include_str!("../../../docs/decisions/2026-11-21-planted-bugs.md");

/// What the world of `seed` came to, if something was wrong with it.
fn wrong(seed: u64, bug: Option<Bug>) -> Option<Checker> {
    let run = AssertUnwindSafe(|| world::run(seed, bug, Story::Hashed));
    match panic::catch_unwind(run) {
        Ok(run) => run.err().map(|wrong| wrong.checker),
        Err(_) => Some(Checker::Engine),
    }
}

#[test]
fn each_planted_bug_is_found_by_a_checker() {
    // What the engine's own assertions find as well would be printed a hundred times.
    panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    for &bug in Planted::ALL {
        plant(Some(bug));
        let mut asserted = 0;
        let found = (0..SEEDS).find_map(|seed| match wrong(seed, None)? {
            Checker::Engine => {
                asserted += 1;
                None
            }
            checker => Some((seed, checker)),
        });
        println!("{bug:?} {} {found:?} {asserted}", bug.what());
        if found.is_none() {
            missed.push(bug);
        }
    }
    plant(None);
    assert!(missed.is_empty(), "{missed:?}");
    let _ = (PAGE, BTreeSet::<Checker>::new());
}
