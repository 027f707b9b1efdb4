//! A folder can be checked, looked into, copied and brought back, also while a server writes to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use engram_shards::limits::GRAPH_ROWS_MIN;
use serde_json::Value;

use crate::harness::{Client, Memories, Pair, Server, run, space};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn name(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

/// A command that must succeed; its lines of JSON.
fn lines(arguments: &[&str]) -> Vec<Value> {
    let output = run(arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    json(&output)
}

fn json(output: &Output) -> Vec<Value> {
    let lines = text(&output.stdout);
    lines.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

/// A command that must fail with this exit code; what it says.
fn refused(arguments: &[&str], code: i32) -> String {
    let output = run(arguments);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}{said}", text(&output.stdout));
    said
}

/// The segments of a folder, in order.
fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for log in fs::read_dir(folder.join("logs")).expect("it has logs") {
        let log = log.expect("it can be listed").path();
        let listed = fs::read_dir(log).expect("a log is a folder");
        files.extend(listed.map(|file| file.expect("it can be listed").path()));
    }
    files.retain(|file| file.extension().is_some_and(|ending| ending == "seg"));
    files.sort_unstable();
    files
}

/// Offset of a record in the middle of the log, and the file that it lies in. What the last batch of a life held lies there
/// twice, as it was appended anew; this one lies there once.
fn a_record(folder: &Path) -> (PathBuf, u64) {
    let all = lines(&["inspect", name(folder), "--limit", "1000000", "--json"]);
    let mut file = PathBuf::new();
    let (mut found, mut proven, mut doubled) = (Vec::new(), Vec::new(), Vec::new());
    for line in &all {
        match line["kind"].as_str() {
            Some("segment") => file = line["file"].as_str().expect("a path").into(),
            Some("observation") if line["proven"] == true => {
                found.push((file.clone(), line["offset"].as_u64().expect("a number")));
                proven.push(line["generation"].as_u64());
            }
            Some("observation") => doubled.push(line["generation"].as_u64()),
            _ => {}
        }
    }
    let mut generations = proven.into_iter();
    found.retain(|_| !doubled.contains(&generations.next().expect("one each")));
    found.swap_remove(found.len() / 2)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_told_where_it_is_and_all_else_is_saved() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let data = folder.path().join("data");
    let mut pair = Pair::new("damaged", 3);
    for _ in 0..2 {
        pair.run(&data, |server| {
            let checked = lines(&["check", name(&data), "--json"]);
            let sum = checked.last().expect("a sum");
            assert_eq!(sum["sound"], true, "{checked:?}");
            let into = refused(&["check", name(&data), "--salvage", name(&data)], 2);
            assert!(into.contains(&server.pid().to_string()), "not who holds it: {into}");
            server.kill();
        })
        .await;
    }
    pair.find_all(&data).await;
    let sum = lines(&["check", name(&data), "--json"]).pop().expect("a sum");
    assert_eq!(sum["counted"]["observations"], pair.acked());

    let (file, offset) = a_record(&data);
    let mut bytes = fs::read(&file).expect("it is there");
    bytes[offset as usize + 200] ^= 4;
    fs::write(&file, bytes).expect("it can be written");
    let output = run(&["check", name(&data), "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let findings = json(&output);
    let damaged = &findings[0];
    assert_eq!(damaged["kind"], "damaged", "{findings:?}");
    assert_eq!(
        (damaged["file"].as_str(), damaged["offset"].as_u64()),
        (file.to_str(), Some(offset))
    );
    assert_eq!(findings[1]["kind"], "missing_observations", "{findings:?}");
    // A server that has a checkpoint of all of it would not read it again.
    fs::remove_dir_all(data.join("checkpoints")).expect("they are there");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--cores", "1", "--data-dir", name(&data)];
    let said = refused(&serve, 1);
    assert!(said.contains(&format!("{} is corrupt at offset {offset}", file.display())), "{said}");
    let said =
        refused(&["backup", name(&folder.path().join("none")), "--data-dir", name(&data)], 1);
    assert!(said.contains("no backup was made"), "{said}");
    assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 1, "something was left");

    let saved = folder.path().join("saved");
    refused(&["check", name(&data), "--salvage", name(&saved)], 1);
    let server = Server::start(&saved);
    let spaces = crate::harness::get(server.address, "/api/v1/spaces").expect("it answers").body;
    let spaces: Value = serde_json::from_str(&spaces).expect("it is JSON");
    assert_eq!(spaces["spaces"][0]["id"], "damaged");
    assert_eq!(spaces["spaces"][0]["rows"], pair.acked() - 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_running_server_holds_what_was_acked_before() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = |name: &str| folder.path().join(name);
    let (data, copy, restored) = (path("data"), path("copy"), path("restored"));
    let (mut before, mut meanwhile) = (Pair::new("before", 5), Pair::new("meanwhile", 6));
    before.run(&data, Server::kill).await;
    meanwhile
        .run(&data, |server| {
            let sum = lines(&["backup", name(&copy), "--data-dir", name(&data), "--json"]);
            let sum = sum.last().expect("a sum");
            assert_eq!(sum["sound"], true, "{sum}");
            // What the second server writes is not sealed; what the first one wrote may lie there too by now.
            assert!(sum["taken"]["copied"].as_u64() >= Some(1), "{sum}");
            server.kill();
        })
        .await;
    let left: Vec<_> = fs::read_dir(folder.path()).expect("it is there").collect();
    assert_eq!(left.len(), 2, "beside the folder and its backup: {left:?}");

    let serve = ["serve", "--listen", "127.0.0.1:0", "--cores", "1", "--data-dir", name(&copy)];
    let said = refused(&serve, 1);
    assert!(said.contains("is a backup") && said.contains("engram restore"), "{said}");
    refused(&["backup", name(&copy), "--data-dir", name(&data)], 1);
    refused(&["restore", name(&copy), name(&data)], 1);
    refused(&["restore", name(&data), name(&restored)], 1);
    lines(&["restore", name(&copy), name(&restored), "--json"]);
    before.find_all(&restored).await;
    meanwhile.forget_acks();
    meanwhile.find_all(&restored).await;
    lines(&["check", name(&copy), "--json"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_lost_something_is_not_restored() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = |name: &str| folder.path().join(name);
    let (data, copy, restored) = (path("data"), path("copy"), path("restored"));
    let mut pair = Pair::new("kept", 8);
    pair.run(&data, Server::kill).await;
    lines(&["backup", name(&copy), "--data-dir", name(&data), "--json"]);

    // Cut at its end, where a folder that is served would have a torn tail.
    let last = segments(&copy).pop().expect("it has segments");
    let whole = fs::read(&last).expect("it is there");
    fs::write(&last, &whole[..whole.len() - 4096]).expect("it can be written");
    let said = text(&run(&["check", name(&copy)]).stdout);
    assert!(said.contains("the backup was made with more of it"), "{said}");
    refused(&["restore", name(&copy), name(&restored)], 1);
    let serve = ["serve", "--listen", "127.0.0.1:0", "--cores", "1", "--data-dir", name(&restored)];
    refused(&serve, 1);
    fs::remove_dir_all(&restored).unwrap_or_default();

    fs::remove_file(&last).expect("it is there");
    let said = text(&run(&["check", name(&copy)]).stdout);
    assert!(said.contains("missing: ") && said.contains(name(&last)), "{said}");
    refused(&["restore", name(&copy), name(&restored)], 1);
    fs::remove_dir_all(&restored).unwrap_or_default();

    // As a crash in the middle leaves it: without its last file it is no backup.
    fs::write(&last, &whole).expect("it can be written");
    fs::remove_file(copy.join("BACKUP")).expect("it is there");
    let said = refused(&["restore", name(&copy), name(&restored)], 1);
    assert!(said.contains("no backup"), "{said}");
}

/// The only file in a folder's folder of checkpoints.
fn checkpoint(folder: &Path) -> PathBuf {
    let listed = fs::read_dir(folder.join("checkpoints")).expect("it is there");
    let files: Vec<_> = listed.map(|file| file.expect("it can be listed").path()).collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    file.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checkpoints_are_shown_and_come_along() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = |name: &str| folder.path().join(name);
    let (data, copy, restored) = (path("data"), path("copy"), path("restored"));
    let rows = u64::from(GRAPH_ROWS_MIN) + 104;
    let server = Server::start(&data);
    let client = Client::connect(server.address).await;
    client.store("kept", &Memories::bundled(), rows).await;
    drop(client);
    while space(server.address)["linked"] != rows {
        tokio::task::yield_now().await;
    }
    assert!(server.stop().success());

    let shown = lines(&["inspect", name(&data), "--json"]);
    let shown: Vec<_> = shown.iter().filter(|line| line["kind"] == "checkpoint").collect();
    let [shown] = &shown[..] else { panic!("{shown:?}") };
    assert_eq!((&shown["nodes"], &shown["generation"]), (&rows.into(), &rows.into()), "{shown}");
    assert_eq!(shown["bytes"], fs::metadata(checkpoint(&data)).expect("it is there").len());
    assert_eq!(shown["file"].as_str(), Some(name(&checkpoint(&data.canonicalize().expect("it")))));

    let sum = lines(&["backup", name(&copy), "--data-dir", name(&data), "--json"]).pop();
    assert_eq!(sum.expect("a sum")["taken"]["checkpoints"], 1);
    let sum = lines(&["restore", name(&copy), name(&restored), "--json"]).pop();
    assert_eq!(sum.expect("a sum")["counted"]["checkpoints"], 1);
    let server = Server::start(&restored);
    assert_eq!(space(server.address)["linked"], rows, "it would have to be linked anew");
    server.kill();

    // Nothing is lost by a damaged one: it is told, and all else comes back.
    let file = checkpoint(&copy);
    let mut bytes = fs::read(&file).expect("it is there");
    *bytes.last_mut().expect("it is not empty") ^= 1;
    // A link of the folder's own.
    fs::remove_file(&file).expect("it is there");
    fs::write(&file, bytes).expect("it can be written");
    let without = path("without");
    let told = lines(&["restore", name(&copy), name(&without), "--json"]);
    assert_eq!(told[0]["kind"], "damaged_checkpoint", "{told:?}");
    assert_eq!(told[1]["counted"]["checkpoints"], 0);
    let server = Server::start(&without);
    assert_eq!(space(server.address)["rows"], rows);
    server.kill();
    lines(&["check", name(&data), "--json"]);

    // A log that ends before what a checkpoint covers has lost its end.
    let restored = path("cut");
    fs::copy(checkpoint(&data), &file).expect("it can be copied");
    lines(&["restore", name(&copy), name(&restored), "--json"]);
    for file in segments(&restored) {
        let bytes = fs::metadata(&file).expect("it is there").len();
        let opened = fs::File::options().write(true).open(&file).expect("it can be opened");
        opened.set_len(bytes - 4096).expect("it can be cut");
    }
    let output = run(&["check", name(&restored), "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let found = json(&output);
    assert!(found.iter().any(|finding| finding["kind"] == "missing_end"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_format_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut pair = Pair::new("later", 9);
    pair.run(folder.path(), Server::kill).await;
    let path = name(folder.path());
    let serve = ["serve", "--listen", "127.0.0.1:0", "--cores", "1", "--data-dir", path];

    let file = segments(folder.path()).pop().expect("it has segments");
    let whole = fs::read(&file).expect("it is there");
    let mut later = whole.clone();
    later[8..12].copy_from_slice(&9u32.to_le_bytes());
    let crc = engram_shards::log::field::crc32c(&later[..44]);
    later[44..48].copy_from_slice(&crc.to_le_bytes());
    fs::write(&file, &later).expect("it can be written");
    for said in [refused(&serve, 1), refused(&["check", path], 2)] {
        assert!(said.contains(name(&file)) && said.contains("version 9"), "{said}");
    }
    fs::write(&file, whole).expect("it can be written");

    let identity = folder.path().join("FOLDER");
    let whole = fs::read_to_string(&identity).expect("it is text");
    fs::write(&identity, whole.replace("version 1", "version 8")).expect("it can be written");
    for said in [refused(&serve, 1), refused(&["check", path], 2), refused(&["inspect", path], 2)] {
        assert!(said.contains(path) && said.contains("version 8"), "{said}");
    }
    fs::write(&identity, whole).expect("it can be written");
    pair.find_all(folder.path()).await;
}

#[test]
fn what_is_no_data_folder_is_not_read() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    for command in ["check", "inspect"] {
        refused(&[command, name(folder.path())], 2);
        refused(&[command, name(&folder.path().join("none"))], 2);
    }
    assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 0, "something was made");
}
