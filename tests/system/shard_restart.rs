//! A shard that fails is built anew from its log inside the process, while the other cores go on; one that fails again
//! and again stays down and says so.
//!
//! The shard of one core is made to panic twenty times while two sessions stream into it, and a third streams into the
//! shard of another core all the while. After each panic both resume exactly where the log ends, as after a crash of the
//! whole server; the third never sees an error.
//!
//! Only in a build with the feature `chaos`: `cargo test --release --features chaos --test system shard_restart`.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tonic::{Code, Status};

use crate::harness::{
    Client, Memories, PATIENCE, Pair, Server, first_of, get, owed, post, run, setting,
};

const PANICS: usize = 20;
/// Acks after which one comes, at most.
const ACKS_MAX: u64 = 150;
/// Between two looks at a server that tells nobody.
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);
/// Further ones while nobody streams: what a shard leaves behind in memory, each of them leaves again …
const PANICS_AT_REST: usize = 10;
/// … which would be more than this of shards of so many rows, and is less of what is not given back at once.
const LEFT_MEBIBYTES: u64 = 64;

/// Lets something happen to a core.
fn inject(address: SocketAddr, core: usize, what: &str) {
    let wish = format!(r#"{{"core":{core},"inject":{what}}}"#);
    let answer = post(address, "/chaos", &wish).expect("the server answers");
    assert_eq!(answer.status, 202, "{answer:?}");
}

/// The value of a counter or gauge of one core.
fn value(address: SocketAddr, name: &str, core: usize) -> u64 {
    let page = get(address, "/metrics").expect("the server answers").body;
    let series = format!("engram_streaming_{name}{{worker_id=\"{core}\"}} ");
    let line = page.lines().find_map(|line| line.strip_prefix(series.as_str()));
    line.unwrap_or_else(|| panic!("no {series}")).parse().expect("a whole number")
}

fn ready(address: SocketAddr) -> (u16, Value) {
    let answer = get(address, "/health/ready").expect("the server answers");
    (answer.status, serde_json::from_str(&answer.body).expect("JSON"))
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "never {what}");
        std::thread::sleep(BETWEEN_LOOKS);
    }
}

/// How many spaces each core has.
fn spaces_of_cores(address: SocketAddr) -> Vec<u64> {
    let answer = get(address, "/api/v1/system/health").expect("the server answers");
    let health: Value = serde_json::from_str(&answer.body).expect("JSON");
    let cores = health["cores"].as_array().expect("a list");
    cores.iter().map(|core| core["spaces"].as_u64().expect("a number")).collect()
}

/// The core of a new space.
fn make_space(address: SocketAddr, name: &str) -> usize {
    let before = spaces_of_cores(address);
    let made = post(address, "/api/v1/spaces", &format!(r#"{{"id":"{name}"}}"#));
    assert_eq!(made.expect("the server answers").status, 201);
    let after = spaces_of_cores(address);
    let changed = before.iter().zip(&after).position(|(before, after)| before != after);
    changed.expect("a core has one more")
}

/// A new space on another core than this, if there is another.
fn make_space_beside(address: SocketAddr, core: usize) -> Option<String> {
    if spaces_of_cores(address).len() == 1 {
        eprintln!("NOT TRIED: this machine has one core, so there is no neighbour");
        return None;
    }
    let mut names = (0..).map(|number| format!("neighbour-{number}"));
    names.find(|name| make_space(address, name) != core)
}

/// Streams into a space until it is told to end; how many were acked.
async fn stream_beside(address: SocketAddr, space: String, ends: Arc<AtomicBool>) -> u64 {
    const WINDOW: u64 = 16;
    // So many are as no other is; of those that follow, some say the same by words that are spelled the same.
    const DISTINCT: u64 = 4_000;
    let id = |sequence: u64| format!("n-{}", sequence % DISTINCT);
    let number = |sequence: u64| (sequence % DISTINCT) as usize;
    let memories = Memories::bundled();
    let client = Client::connect(address).await;
    let mut stream = client.begin(&space).await;
    let mut sequence = 0;
    while !ends.load(Ordering::SeqCst) {
        for next in sequence + 1..=sequence + WINDOW {
            stream.observe(next, memories.episode(number(next), &id(next))).await;
        }
        for next in sequence + 1..=sequence + WINDOW {
            stream.accepted(next).await;
        }
        sequence += WINDOW;
        let recalled = client.nearest(&space, &memories, number(sequence), 1).await;
        assert_eq!(first_of(&recalled).id, id(sequence));
    }
    stream.close(sequence).await;
    sequence
}

fn assert_unavailable(end: &Result<(), Status>) {
    let status = end.as_ref().expect_err("a stream ended well although its shard failed");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(!status.details().is_empty(), "no time to come back: {status:?}");
}

fn resident_mebibytes(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid()));
    let status = status.expect("a child that was not waited for has one");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")).expect("VmRSS in kB");
    kibibytes.trim().parse::<u64>().expect("a number") >> 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_panics_comes_back_and_its_neighbour_goes_on() {
    let seed = setting("ENGRAM_TEST_SEED", 1);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    // No records are kept in memory: they would come to more and more while it is measured.
    let arguments = ["--chaos", "--chaos-failures-max", "1000", "--record-cache-bytes", "0"];
    let mut server = Server::start_with(folder.path(), &arguments);
    server.expect_panics(PANICS + PANICS_AT_REST);
    let address = server.address;
    let core = make_space(address, "failing");
    let ends = Arc::new(AtomicBool::new(false));
    let beside = make_space_beside(address, core)
        .map(|space| tokio::spawn(stream_beside(address, space, Arc::clone(&ends))));

    let mut pair = Pair::new("failing", seed).acking(ACKS_MAX);
    for panic in 1..=PANICS {
        let ended = pair.run_on(address, || inject(address, core, r#""panic""#)).await;
        ended.iter().for_each(assert_unavailable);
        until("built anew", || value(address, "shard_restarts_total", core) == panic as u64);
        until("ready again", || ready(address).0 == 200);
    }
    ends.store(true, Ordering::SeqCst);
    if let Some(beside) = beside {
        let acked = owed("end of the neighbour's stream", beside).await;
        let acked = acked.expect("the neighbour saw no error");
        assert!(acked > 0);
        eprintln!("the neighbour's stream: {acked} acked");
    }
    let mut resident = Vec::new();
    for panic in PANICS + 1..=PANICS + PANICS_AT_REST {
        inject(address, core, r#""panic""#);
        until("built anew", || value(address, "shard_restarts_total", core) == panic as u64);
        until("ready again", || ready(address).0 == 200);
        resident.push(resident_mebibytes(&server));
    }
    let panics = (PANICS + PANICS_AT_REST) as u64;
    assert_eq!(value(address, "contained_panics_total", core), panics);
    let (first, last) = (resident[0], resident[PANICS_AT_REST - 1]);
    assert!(last < first + LEFT_MEBIBYTES, "shards leave memory behind: {resident:?} MiB");
    assert!(server.stop().success());
    pair.find_all(folder.path()).await;
    eprintln!(
        "{panics} panics of one shard, {} observations acked, none lost or doubled; {first} MiB \
         resident, {last} MiB after {} panics more",
        pair.acked(),
        PANICS_AT_REST - 1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_fails_again_and_again_stays_down_and_says_so() {
    const FAILURES_MAX: usize = 3;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut server = Server::start_with(folder.path(), &["--chaos"]);
    server.expect_panics(FAILURES_MAX);
    let address = server.address;
    let core = make_space(address, "failing");
    let beside = make_space_beside(address, core);
    let mut pair = Pair::new("failing", 3);
    for panic in 1..FAILURES_MAX {
        let ended = pair.run_on(address, || inject(address, core, r#""panic""#)).await;
        ended.iter().for_each(assert_unavailable);
        until("built anew", || value(address, "shard_restarts_total", core) == panic as u64);
        until("ready again", || ready(address).0 == 200);
        assert_eq!(notes(folder.path()), 0);
    }
    let ended = pair.run_on(address, || inject(address, core, r#""panic""#)).await;
    ended.iter().for_each(assert_unavailable);
    until("down", || ready(address).1["status"] == "failed");
    let (status, body) = ready(address);
    assert_eq!(status, 503);
    let reason = body["reason"].as_str().expect("a text");
    assert!(reason.contains(&format!("stay down until the server is started anew: {core};")));
    assert_eq!(value(address, "shard_up", core), 0);
    assert_eq!(notes(folder.path()), 1);
    if let Some(space) = beside {
        assert_eq!(value(address, "shard_up", 1 - core), 1);
        let ends = Arc::new(AtomicBool::new(false));
        let streaming = tokio::spawn(stream_beside(address, space.clone(), Arc::clone(&ends)));
        until("served beside", || {
            let series = format!("observations_total{{memory_space=\"{space}\"");
            let page = get(address, "/metrics").expect("the server answers").body;
            let mut lines = page.lines().filter(|line| line.contains(&series));
            lines.any(|line| !line.ends_with(" 0"))
        });
        ends.store(true, Ordering::SeqCst);
        streaming.await.expect("the neighbour saw no error");
    }
    assert!(server.stop().success());
    assert_eq!(notes(folder.path()), 1, "who comes later is told as well");
    pair.find_all(folder.path()).await;
    assert_eq!(notes(folder.path()), 0, "another server has begun since");
}

/// How many shards `engram check` says stay down, of this panic.
fn notes(folder: &Path) -> usize {
    let path = folder.to_str().expect("temporary folders have plain names");
    let checked = run(&["check", path, "--json"]);
    assert!(checked.status.success(), "{checked:?}");
    let printed = String::from_utf8(checked.stdout).expect("JSON is text");
    let findings = printed.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    let downs = findings.filter(|finding: &Value| finding["kind"] == "shard_down");
    downs.inspect(|down| assert_eq!(down["cause"], "chaos was asked for")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_whose_log_cannot_be_read_again_stays_down_and_its_neighbour_goes_on() {
    /// Within the first record, which later ones say was synced.
    const DAMAGED_AT: u64 = 4096 + 100;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut server = Server::start_with(folder.path(), &["--chaos"]);
    server.expect_panics(1);
    let address = server.address;
    let core = make_space(address, "failing");
    let beside = make_space_beside(address, core);
    let mut pair = Pair::new("failing", 4).acking(ACKS_MAX);
    let segment = folder.path().join(format!("logs/{core:05}/0000000001.seg"));
    let harm = || {
        let file = OpenOptions::new().read(true).write(true).open(&segment);
        let file = file.expect("the core's log has a segment");
        let mut byte = [0];
        file.read_exact_at(&mut byte, DAMAGED_AT).expect("it is that long");
        file.write_all_at(&[!byte[0]], DAMAGED_AT).expect("it can be written");
        inject(address, core, r#""panic""#);
    };
    let ended = pair.run_on(address, harm).await;
    ended.iter().for_each(assert_unavailable);
    until("down", || ready(address).1["status"] == "failed");
    if let Some(space) = beside {
        let ends = Arc::new(AtomicBool::new(true));
        stream_beside(address, space, ends).await;
    }
    assert!(server.stop().success());
    let path = folder.path().to_str().expect("temporary folders have plain names");
    let checked = run(&["check", path]);
    assert_eq!(checked.status.code(), Some(1), "the folder is damaged");
    let said = String::from_utf8_lossy(&checked.stdout);
    let down = said.lines().find(|line| line.contains("stays down")).expect("it is noted");
    assert!(down.contains(&format!("{} is corrupt at offset", segment.display())), "{down}");
    let damage = said.lines().find(|line| line.starts_with("damaged: ")).expect("it is found");
    assert!(damage.contains(&segment.display().to_string()), "{damage}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_or_sync_that_fails_is_made_anew_elsewhere_and_what_fails_twice_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start_with(folder.path(), &["--chaos"]);
    let address = server.address;
    let core = make_space(address, "failing");
    let memories = Memories::bundled();
    let client = Client::connect(address).await;
    let mut stream = client.begin("failing").await;
    let mut sequence = 0;
    for what in [r#"{"fail_writes":1}"#, r#"{"fail_syncs":1}"#] {
        inject(address, core, what);
        for _ in 0..10 {
            sequence += 1;
            stream.observe(sequence, memories.episode(sequence as usize, "")).await;
            stream.accepted(sequence).await;
        }
    }
    stream.close(sequence).await;

    let mut pair = Pair::new("twice-failing", 5);
    // Made by its first stream, so it is on any core.
    for what in [r#"{"fail_writes":1000}"#, r#"{"fail_syncs":1000}"#] {
        let all = |what: &str| {
            (0..spaces_of_cores(address).len()).for_each(|core| inject(address, core, what));
        };
        let ended = pair.run_on(address, || all(what)).await;
        ended.iter().for_each(assert_unavailable);
        all(&what.replace("1000", "0"));
    }
    assert_eq!(ready(address).0, 200, "a disk that fails is no failure of the shard");
    assert!(server.stop().success());
    pair.find_all(folder.path()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_flag_nothing_can_be_asked_for() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let answer = post(server.address, "/chaos", r#"{"core":0,"inject":"panic"}"#);
    assert_eq!(answer.expect("the server answers").status, 404);
    assert!(server.stop().success());
}
