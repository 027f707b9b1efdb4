//! What is replaced and forgotten gives its room back: the log takes at most twice what counts and a few segments more, also
//! with another number of cores, and a kill in the middle of a compaction loses nothing and brings nothing back.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use engram_proto::engram::v1::forget_request::Target;
use engram_proto::engram::v1::{ForgetMode, ForgetRequest, ForgetResponse, StreamingRecallRequest};
use engram_shards::limits::LOG_SEGMENT_BYTES;
use serde_json::Value;

use crate::harness::{Client, Memories, PATIENCE, Recalled, Server, first_of, get, run, space};

const SPACE: &str = "compacted";
/// Some 3,300 bytes each: more than one segment in all, …
const ROWS: u64 = 24_000;
/// … and stored so often.
const ROUNDS: u64 = 2;
/// Those up to this one are replaced by the second round, the others stay as they were.
const REPLACED: u64 = 20_000;
/// One in so many of the first ones is forgotten, by either way.
const FORGOTTEN_SHARE: u64 = 500;
/// Lives that end in the middle of a compaction.
const KILLS: u64 = 4;
/// Beside twice what counts: an open segment, and one that is not worth it.
const SEGMENTS_MORE: u64 = 2;
/// Search width by which a memory is looked for.
const WIDTH: u32 = 1_024;
/// Between two looks at a server that tells nobody.
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

/// The sum of a counter or gauge of all cores.
fn sum(address: SocketAddr, name: &str) -> u64 {
    let page = get(address, "/metrics").expect("the server answers").body;
    let series = format!("engram_streaming_{name}{{");
    let lines = page.lines().filter(|line| line.starts_with(&series));
    let value = |line: &str| line.rsplit_once(' ').and_then(|(_, value)| value.parse::<f64>().ok());
    lines.map(|line| value(line).expect("a number")).sum::<f64>() as u64
}

/// Bytes of all segments. The place of its next one, which each core's log has beside them, is there whatever counts.
fn on_disk(folder: &Path) -> u64 {
    let mut bytes = 0;
    for log in fs::read_dir(folder.join("logs")).expect("it has logs") {
        for file in fs::read_dir(log.expect("it can be listed").path()).expect("a log is a folder")
        {
            let file = file.expect("it can be listed");
            if file.path().extension().is_none_or(|ending| ending != "seg") {
                continue;
            }
            // A server may have removed it since.
            bytes += file.metadata().map_or(0, |file| file.len());
        }
    }
    bytes
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "never {what}");
        thread::sleep(BETWEEN_LOOKS);
    }
}

async fn forget(client: &Client, number: u64, mode: ForgetMode) {
    let request = ForgetRequest {
        memory_space_id: SPACE.to_owned(),
        mode: mode.into(),
        target: Some(Target::MemoryId(format!("m{number}"))),
    };
    let response: ForgetResponse = client.call("Forget", request).await.expect("it is there");
    assert_eq!(response.memories_affected, 1, "m{number}");
}

fn forgotten() -> impl Iterator<Item = (u64, ForgetMode)> {
    let numbers = (1..=REPLACED).step_by(FORGOTTEN_SHARE as usize);
    numbers.zip([ForgetMode::Delete, ForgetMode::Suppress].into_iter().cycle())
}

/// The number of the bundled memory that the last round stored under `m{number}`.
fn stored(number: u64) -> usize {
    (number + if number <= REPLACED { ROWS } else { 0 }) as usize
}

/// What is nearest to a memory, by a search that finds each by its own vector.
async fn nearest(client: &Client, memories: &Memories, number: usize) -> Recalled {
    let request = StreamingRecallRequest {
        memory_space_id: SPACE.to_owned(),
        cue: Some(memories.cue(number)),
        max_results: 3,
        search_width: WIDTH,
        ..StreamingRecallRequest::default()
    };
    client.recall(request).await.expect("a recall of a known space succeeds")
}

/// Bytes of all segments that count, as the folder tells.
fn counted(path: &str) -> u64 {
    let inspected = run(&["inspect", path, "--counted", "--json"]);
    assert!(inspected.status.success(), "{}", String::from_utf8_lossy(&inspected.stderr));
    let said = String::from_utf8_lossy(&inspected.stdout).into_owned();
    let lines = said.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter_map(|line| line["bytes_counted"].as_u64()).sum()
}

async fn check(server: &Server, memories: &Memories) {
    let left = ROWS - forgotten().count() as u64;
    // What was replayed of forgotten memories is withheld from recalls at once, and taken out of the rows a little later.
    until("without what is forgotten", || space(server.address)["rows"] == left);
    let client = Client::connect(server.address).await;
    for number in (2..=ROWS).step_by(400) {
        let recalled = nearest(&client, memories, stored(number)).await;
        let (found, id) = (first_of(&recalled), format!("m{number}"));
        assert_eq!(found.id, id, "of {number}");
        assert_eq!(found.content, memories.text(stored(number)), "the text of {id}");
    }
    for (number, _) in forgotten() {
        let recalled = nearest(&client, memories, stored(number)).await;
        assert!(recalled.memories.iter().all(|memory| memory.id != format!("m{number}")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dead_gives_its_room_back() {
    let parent = tempfile::tempdir().expect("a temporary folder can be made");
    let (folder, copy) = (parent.path().join("data"), parent.path().join("copy"));
    let memories = Memories::bundled();
    let server = Server::start_on(1, &folder, &[]);
    let client = Client::connect(server.address).await;
    for round in 0..ROUNDS {
        let rows = if round == 0 { ROWS } else { REPLACED };
        client.store_as(SPACE, &memories, rows, |number| (number + round * ROWS) as usize).await;
    }
    for (number, mode) in forgotten() {
        forget(&client, number, mode).await;
    }
    drop(client);
    server.kill();
    // Each start finds segments that are written no more, and moves what counts in them together; from the middle on with
    // another number of cores.
    for kill in 1..=KILLS {
        let server = match kill <= KILLS / 2 {
            true => Server::start_on(1, &folder, &[]),
            false => Server::start(&folder),
        };
        check(&server, &memories).await;
        let enough = kill * u64::from(LOG_SEGMENT_BYTES) / 8;
        let is_over = |address| {
            let most = 2 * sum(address, "log_live_bytes") + u64::from(LOG_SEGMENT_BYTES);
            sum(address, "compaction_bytes_total") >= enough || on_disk(&folder) <= most
        };
        until("in the middle of a compaction", || is_over(server.address));
        server.kill();
    }
    let server = Server::start(&folder);
    let more = SEGMENTS_MORE * u64::from(LOG_SEGMENT_BYTES);
    until("twice what counts", || {
        on_disk(&folder) <= 2 * sum(server.address, "log_live_bytes") + more
    });
    check(&server, &memories).await;
    let (live, disk) = (sum(server.address, "log_live_bytes"), on_disk(&folder));
    server.kill();
    let [path, copy] = [&folder, &copy].map(|path| path.to_str().expect("a plain name"));
    let checked = run(&["check", path]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    let counted = counted(path);
    // Copies are a field longer than what they were made of.
    assert!(counted.abs_diff(live) < live / 100, "{counted} bytes count, and {live} by the server");
    // A segment that is full of what counts stays, and a backup shares it.
    let copied = run(&["backup", copy, "--data-dir", path, "--json"]);
    let said = String::from_utf8_lossy(&copied.stdout);
    let sum = said.lines().last().and_then(|line| serde_json::from_str::<Value>(line).ok());
    let linked = sum.as_ref().and_then(|sum| sum["taken"]["linked"].as_u64());
    assert!(copied.status.success() && linked >= Some(1), "{said}");
    let server = Server::start(&folder);
    check(&server, &memories).await;
    assert!(server.stop().success());
    eprintln!("{} MiB of records that count, {} MiB on the disk", live >> 20, disk >> 20);
}
