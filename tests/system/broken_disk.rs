//! A disk that fails below the process is told as what it is, and takes nothing with it that was acked.
//!
//! The server's folder lies on a file system of the test's (FUSE), which fails writes or syncs, tears writes, or has no
//! more room, when it is told to. So the errors come to the server as a kernel brings them, through io_uring.
//!
//! Another course: `ENGRAM_TEST_SEED=7 ENGRAM_TEST_DISK_FAULTS=100 cargo test --release --test system broken_disk`. Where
//! the machine grants no FUSE, the tests say so; the simulator stands for it there.

use std::thread;
use std::time::{Duration, Instant};

use tonic::Code;

use crate::harness::{
    Client, Fault, FaultyDisk, Memories, PATIENCE, Pair, Server, get, random, setting,
};

/// Acks after which the disk fails, at most.
const ACKS_MAX: u64 = 150;
/// A commit of that many acks is longer.
const SECTORS_MAX: u64 = 64;
/// Between two looks at whether the disk has failed.
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_is_told_and_the_server_goes_on_when_it_is_mended() {
    let Some(disk) = FaultyDisk::granted() else { return };
    let memories = Memories::bundled();
    let server = Server::start(&disk.data());
    let address = server.address;
    let mut pair = Pair::new("broken-disk", 2).acking(ACKS_MAX);
    for (fault, code) in [
        (Fault::Write, Code::Unavailable),
        (Fault::Full, Code::ResourceExhausted),
        (Fault::Tear { sectors: 3 }, Code::Unavailable),
        (Fault::Sync, Code::Unavailable),
    ] {
        let ended = pair.run_on(address, || disk.begin(fault, u32::MAX)).await;
        for end in ended {
            let status = end.expect_err("nothing can be acked");
            assert_eq!(status.code(), code, "{fault:?}: {status:?}");
            assert!(!status.details().is_empty(), "no time to come back: {status:?}");
        }
        let client = Client::connect(address).await;
        let recalled = client.nearest("broken-disk", &memories, 3, 1).await;
        assert_eq!(recalled.memories.len(), 1, "recalls are served, {fault:?}");
        let ready = get(address, "/health/ready").expect("it answers");
        assert_eq!(ready.status, 200, "a disk that fails is no failure of a shard: {ready:?}");
        assert!(disk.mend() > 0, "{fault:?} never struck");
    }
    server.kill();
    pair.find_all(&disk.data()).await;
    eprintln!("4 faults of a disk, {} observations acked, none lost or doubled", pair.acked());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_its_disk_fails_it_keeps_what_it_acked() {
    let seed = setting("ENGRAM_TEST_SEED", 1);
    let rounds = setting("ENGRAM_TEST_DISK_FAULTS", 8);
    eprintln!("ENGRAM_TEST_SEED={seed} ENGRAM_TEST_DISK_FAULTS={rounds}");
    let Some(disk) = FaultyDisk::granted() else { return };
    let mut state = seed;
    let mut pair = Pair::new("broken-disk", seed).acking(ACKS_MAX);
    let mut struck = 0;
    for _ in 0..rounds {
        let fault = match random(&mut state) % 4 {
            0 => Fault::Write,
            1 => Fault::Sync,
            _ => Fault::Tear { sectors: (random(&mut state) % SECTORS_MAX) as usize },
        };
        // Once: what failed is written anew elsewhere. More often: it is refused.
        let times = 1 + (random(&mut state) % 3) as u32;
        pair.run(&disk.data(), |server| {
            disk.begin(fault, times);
            let start = Instant::now();
            while !disk.has_failed() {
                assert!(start.elapsed() < PATIENCE, "{fault:?} never struck");
                thread::sleep(BETWEEN_LOOKS);
            }
            server.kill();
            struck += disk.mend();
        })
        .await;
    }
    pair.find_all(&disk.data()).await;
    eprintln!(
        "{rounds} kills, {struck} faults of a disk, {} observations acked, none lost or doubled",
        pair.acked()
    );
}
