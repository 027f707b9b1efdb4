//! What was acked survives a power cut, on real file systems.
//!
//! The server's folder lies on an ext4, then on an XFS image. While two sessions stream into it, the file system's own
//! shutdown call cuts it off, without flushing its journal: nothing that was not synced reaches the image. The server is
//! killed, the image mounted again (its journal is replayed), and a new server must have every acked observation.
//!
//! An ack counts if it had come when the cut began. The kernel lives on: a sync that it had begun may return without an
//! error although what it should have made durable is lost (docs/decisions/2026-11-21-faults-below.md shows how). What had
//! returned before is in the image.
//!
//! Another course: `ENGRAM_TEST_SEED=7 ENGRAM_TEST_POWER_CUTS=50 cargo test --release --test system power_cut`. Where the
//! machine grants no loop device, the test says so; the simulator stands for it there.

use crate::harness::{Image, Kind, Pair, data_of, setting};

/// A life of the server reserves a segment of 64 MiB for each core that stores something.
const MEBIBYTES_A_CUT: u64 = 64;

async fn cut_again_and_again(kind: Kind, arguments: &'static [&'static str]) {
    let (seed, cuts) = (setting("ENGRAM_TEST_SEED", 1), setting("ENGRAM_TEST_POWER_CUTS", 3));
    eprintln!("ENGRAM_TEST_SEED={seed} ENGRAM_TEST_POWER_CUTS={cuts}");
    let mebibytes = 512 + (cuts + 1) * MEBIBYTES_A_CUT * 5 / 4;
    let Some(mut image) = Image::granted(kind, mebibytes) else { return };
    let mut pair = Pair::new("power-cut", seed).with(arguments).cut();
    for _ in 0..cuts {
        pair.run(&data_of(&image), |server| {
            image.cut_power();
            server.kill();
        })
        .await;
        image.mount_again();
    }
    pair.find_all(&data_of(&image)).await;
    eprintln!("{kind:?}: {cuts} power cuts, {} observations acked, none lost", pair.acked());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_off_on_ext4_it_keeps_what_it_acked() {
    cut_again_and_again(Kind::Ext4, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_off_on_xfs_it_keeps_what_it_acked() {
    cut_again_and_again(Kind::Xfs, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_off_between_two_syncs_it_keeps_what_it_acked() {
    cut_again_and_again(Kind::Ext4, &["--durability", "interval:20"]).await;
}
