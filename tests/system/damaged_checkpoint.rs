//! A damaged checkpoint costs time alone: whichever part of it is damaged, it is left aside, told in the log by file and
//! offset, counted, and everything acked is found.
//!
//! One byte is turned in the head and in each kind of block, then the file is cut short by one. `engram check` names the
//! same place, and says that nothing is lost. Then the disk gives neither its head nor what is behind it.

use std::fs;
use std::path::{Path, PathBuf};

use engram_shards::checkpoint::head::HEAD_BYTES;
use engram_shards::checkpoint::layout::{Block, Blocks, Kind};
use engram_shards::checkpoint::reading::CheckedHead;
use engram_shards::limits::GRAPH_ROWS_MIN;
use serde_json::Value;

use crate::harness::{
    Client, Fault, FaultyDisk, Memories, Server, first_of, get, run, space, stripe_of,
};

/// Rows of a space that gets a graph of two layers at least.
const ROWS: u64 = GRAPH_ROWS_MIN as u64 + 104;

/// Rows of a space that gets a checkpoint when the server stops.
const FEW_ROWS: u64 = 1_001;

/// The only checkpoint of a folder.
fn checkpoint_of(folder: &Path) -> PathBuf {
    let listed = fs::read_dir(folder.join("checkpoints")).expect("it is there");
    let files: Vec<_> = listed.map(|file| file.expect("it can be listed").path()).collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    file.clone()
}

/// The blocks of a sound checkpoint.
fn blocks_of(file: &Path, bytes: &[u8]) -> Vec<Block> {
    let (head, stripe) = (&bytes[..HEAD_BYTES], stripe_of(file));
    let head = CheckedHead::new(head, stripe, bytes.len() as u64).expect("sound");
    Blocks::of(head.head()).collect()
}

/// Serves with this checkpoint in place of the folder's; what is wrong with it begins at `offset`.
async fn serve_with(folder: &Path, file: &Path, damaged: &[u8], offset: u64) {
    fs::write(file, damaged).expect("it can be written");
    let path = folder.to_str().expect("temporary folders have plain names");
    let output = run(&["check", path, "--json"]);
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = lines.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    let lines: Vec<Value> = lines.collect();
    // A segment that a compaction was about to write to may be there, and empty.
    let is_damaged = |line: &&Value| line["kind"] == "damaged_checkpoint";
    let found = lines.iter().find(is_damaged).expect("it is found");
    let sum = lines.last().expect("the last line sums up");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!((found["file"].as_str(), found["offset"].as_u64()), (file.to_str(), Some(offset)));
    assert_eq!(sum["counted"]["damage"], sum["counted"]["damaged_checkpoints"], "{sum}");

    serve_from_log(folder, file, ROWS, offset).await;
}

/// Serves what the log holds; its checkpoint is left aside for what is wrong at `offset`.
async fn serve_from_log(folder: &Path, file: &Path, rows: u64, offset: u64) {
    let server = Server::start(folder);
    assert_eq!(space(server.address)["rows"], rows);
    let client = Client::connect(server.address).await;
    let memories = Memories::bundled();
    for number in (1..=rows as usize).step_by(500) {
        let recalled = client.nearest("kept", &memories, number, 1).await;
        assert_eq!(first_of(&recalled).id, format!("m{number}"));
    }
    let metrics = get(server.address, "/metrics").expect("it answers").body;
    let counted = metrics.lines().filter(|line| {
        line.starts_with("engram_streaming_checkpoints_left_aside_total{") && line.ends_with(" 1")
    });
    assert_eq!(counted.count(), 1, "one core counts it");
    let said = server.said();
    let told = said.lines().find(|line| line.contains("a checkpoint is damaged and left aside"));
    let told = told.unwrap_or_else(|| panic!("not told:\n{said}"));
    assert!(told.contains(&format!("offset={offset} ")), "{told}");
    assert!(told.contains(file.to_str().expect("a plain name")), "{told}");
    server.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_damaged_of_a_checkpoint_is_in_the_log() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let folder = &folder.path().canonicalize().expect("it is there");
    let server = Server::start(folder);
    let client = Client::connect(server.address).await;
    client.store("kept", &Memories::bundled(), ROWS).await;
    drop(client);
    while space(server.address)["linked"] != ROWS {
        tokio::task::yield_now().await;
    }
    assert!(server.stop().success());
    let file = checkpoint_of(folder);
    let sound = fs::read(&file).expect("it is there");
    let blocks = blocks_of(&file, &sound);
    let with_flip = |at: u64| {
        let mut damaged = sound.clone();
        damaged[at as usize] ^= 0x10;
        damaged
    };
    serve_with(folder, &file, &with_flip(60), 0).await;
    // Of this one there are no rows outside the graph.
    for kind in [Kind::State, Kind::Sessions, Kind::Nodes, Kind::Upper(0), Kind::Rows] {
        let of_kind = |block: &&Block| block.kind == kind;
        let block = blocks.iter().rfind(of_kind).unwrap_or_else(|| panic!("no {kind:?}"));
        serve_with(folder, &file, &with_flip(block.end() - 1), block.offset).await;
    }
    serve_with(folder, &file, &sound[..sound.len() - 1], 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_disk_does_not_give_of_a_checkpoint_is_in_the_log() {
    let Some(disk) = FaultyDisk::granted() else { return };
    let folder = &disk.data();
    let server = Server::start(folder);
    let client = Client::connect(server.address).await;
    client.store("kept", &Memories::bundled(), FEW_ROWS).await;
    drop(client);
    assert!(server.stop().success());
    let file = checkpoint_of(folder);
    for from in [0, HEAD_BYTES as u64] {
        disk.begin(Fault::ReadCheckpoint { from }, u32::MAX);
        serve_from_log(folder, &file, FEW_ROWS, 0).await;
        assert!(disk.mend() > 0, "it was not read from {from} on");
    }
}
