//! A log that ends before what a checkpoint covers of it is not gone on with: new segments would lie before what the
//! checkpoint covers, and the next start would leave them out. The server says what is missing and how to mend it, and
//! touches nothing; once the file is back it serves all that there was.
//!
//! The end of the last segment is cut off, then the segment is taken away. `engram check` says the same.

use std::fs;
use std::path::{Path, PathBuf};

use engram_shards::checkpoint::head::LogPosition;
use engram_shards::checkpoint::reading::CheckedHead;
use engram_shards::ids::LogId;
use engram_shards::limits::LOG_BLOCK_BYTES;
use serde_json::Value;

use crate::harness::{Client, Memories, Server, run, space, stripe_of};

/// Rows of a space that gets a checkpoint when the server stops.
const ROWS: u64 = 1_000;

/// The files of logs and checkpoints, and how long each is.
fn listed(folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.join("logs"), folder.join("checkpoints")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("it is there") {
            let entry = entry.expect("it can be listed");
            let is = entry.metadata().expect("it is there");
            if is.is_dir() {
                folders.push(entry.path())
            } else {
                files.push((entry.path(), is.len()))
            }
        }
    }
    files.sort_unstable();
    files
}

/// Up to which offset the first segment of log 0 is covered.
fn covered_of(checkpoint: &Path) -> u32 {
    let bytes = fs::read(checkpoint).expect("it is there");
    let head = CheckedHead::new(&bytes, stripe_of(checkpoint), bytes.len() as u64).expect("sound");
    let [LogPosition { segment, offset }] = head.head().covered[..] else { panic!("{head:?}") };
    assert_eq!((segment.log, segment.number), (LogId(0), 1));
    offset
}

/// What the log lost is told by its files and offset, by a server that does not start and by a check.
fn refuse(folder: &Path, last: &Path, checkpoint: &Path) {
    let path = folder.to_str().expect("temporary folders have plain names");
    let before = listed(folder);
    for cores in ["1", "2"] {
        let serve = ["serve", "--listen", "127.0.0.1:0", "--cores", cores, "--data-dir", path];
        let output = run(&serve);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        let place = format!("the end of a log is missing: {} ends at offset ", last.display());
        assert!(said.contains(&place), "{said}");
        assert!(said.contains(checkpoint.to_str().expect("a plain name")), "{said}");
        assert!(said.contains(&format!("engram check {path} --salvage")), "no mend: {said}");
    }
    assert_eq!(listed(folder), before, "it was written to");
    let output = run(&["check", path, "--json"]);
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut found = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let found =
        found.find(|line| line["kind"] == "missing_end").unwrap_or_else(|| panic!("{lines}"));
    assert_eq!((found["file"].as_str(), output.status.code()), (last.to_str(), Some(1)));
    assert_eq!(found["checkpoint"].as_str(), checkpoint.to_str());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_without_its_end_is_not_served() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let folder = &folder.path().canonicalize().expect("it is there");
    let server = Server::start_on(1, folder, &[]);
    let client = Client::connect(server.address).await;
    client.store("kept", &Memories::bundled(), ROWS).await;
    drop(client);
    assert!(server.stop().success());
    let checkpoint = fs::read_dir(folder.join("checkpoints")).expect("it is there").next();
    let checkpoint = checkpoint.expect("a checkpoint").expect("it can be listed").path();
    let log = folder.join("logs/00000");
    let segment = log.join("0000000001.seg");
    let files = fs::read_dir(&log).expect("it is there").map(|file| file.expect("listed").path());
    let segments = files.filter(|file| file.extension().is_some_and(|ending| ending == "seg"));
    assert_eq!(segments.count(), 1, "all lies in one segment");

    let whole = fs::read(&segment).expect("it is there");
    // The least that is missed: the last block of what the checkpoint covers.
    let cut = covered_of(&checkpoint) - LOG_BLOCK_BYTES;
    fs::write(&segment, &whole[..cut as usize]).expect("it can be written");
    refuse(folder, &segment, &checkpoint);
    fs::remove_file(&segment).expect("it is there");
    refuse(folder, &log, &checkpoint);

    fs::write(&segment, &whole).expect("it can be written");
    let server = Server::start(folder);
    assert_eq!(space(server.address)["rows"], ROWS);
    server.kill();
}
