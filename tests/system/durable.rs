//! An acked observation is never lost, and none is stored twice.
//!
//! The server is killed with SIGKILL ten times, each time after a random number of acks, while two sessions stream
//! into one space as fast as they can. After each restart both sessions resume where the log ends: at or beyond
//! their last ack, never beyond what they sent. What the sessions then count as durable is what the space holds,
//! each under its own id, once.
//!
//! Another course: `ENGRAM_TEST_SEED=7 ENGRAM_TEST_ROUNDS=100 cargo test --release --test system durable`.

use crate::harness::{Pair, Server, setting};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_it_keeps_what_it_acked() {
    let (seed, rounds) = (setting("ENGRAM_TEST_SEED", 1), setting("ENGRAM_TEST_ROUNDS", 10));
    eprintln!("ENGRAM_TEST_SEED={seed} ENGRAM_TEST_ROUNDS={rounds}");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut pair = Pair::new("durable", seed);
    for _ in 0..rounds {
        pair.run(folder.path(), Server::kill).await;
    }
    pair.find_all(folder.path()).await;
    eprintln!("{rounds} kills, {} observations acked, none lost or doubled", pair.acked());
}
