//! A disk that is full, or that cannot be written, is told as what it is, and nothing that was stored suffers.

use std::time::Instant;

use engram_proto::engram::v1::forget_request::Target;
use engram_proto::engram::v1::{
    ForgetMode, ForgetRequest, ForgetResponse, Memory, RememberRequest, RememberResponse,
    remember_request::MemoryType,
};
use tonic::{Code, Status};

use crate::harness::{Client, Image, Kind, Memories, PATIENCE, Pair, Server, data_of, run, space};

/// Less than a segment takes.
const FREE_MEBIBYTES: u64 = 32;
/// Stored twice they fill most of a segment, for a record takes some 3,300 bytes …
const ROWS: u64 = 9_400;
/// … and no more than so many further ones fill the rest.
const MORE: u64 = 4_000;
/// With as many forgotten, less than half of that segment counts.
const FORGOTTEN: u64 = 2_000;

async fn remember(client: &Client, memories: &Memories, number: usize) -> Result<(), Status> {
    let memory = Memory {
        id: format!("memory-{number}"),
        content: memories.text(number),
        embedding: memories.vector(number),
        ..Memory::default()
    };
    let request = RememberRequest {
        memory_space_id: "filled".to_owned(),
        memory_type: Some(MemoryType::Memory(memory)),
        ..RememberRequest::default()
    };
    client.call::<_, RememberResponse>("Remember", request).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_serves_and_recovers() {
    let Some(image) = Image::granted(Kind::Ext4, 512) else { return };
    let memories = Memories::bundled();
    let server = Server::start(&data_of(&image));
    let client = Client::connect(server.address).await;
    for number in 0..10 {
        remember(&client, &memories, number).await.expect("there is room");
    }
    assert!(server.stop().success());
    // The place that was kept for the next segment of each log is taken too.
    for log in std::fs::read_dir(data_of(&image).join("logs")).expect("it has logs") {
        let next = log.expect("it can be listed").path().join("NEXT");
        if next.exists() {
            std::fs::remove_file(next).expect("it can be removed");
        }
    }
    let ballast = image.fill(image.free_mebibytes() - FREE_MEBIBYTES);

    // The first record of this life needs a segment, for which there is no room.
    let server = Server::start(&data_of(&image));
    let client = Client::connect(server.address).await;
    for number in 10..13 {
        let refused = remember(&client, &memories, number).await.expect_err("the disk is full");
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
        assert!(refused.message().contains("The disk is full"), "{refused:?}");
        let recalled = client.nearest("filled", &memories, 3, 1).await;
        assert_eq!(recalled.memories[0].id, "memory-3", "recalls are served");
    }
    std::fs::remove_file(ballast).expect("it is there");
    for number in 10..13 {
        remember(&client, &memories, number).await.expect("there is room again");
    }
    assert_eq!(client.nearest("filled", &memories, 11, 1).await.snapshot_sequence, 13);
    server.kill();
    let server = Server::start(&data_of(&image));
    let client = Client::connect(server.address).await;
    assert_eq!(client.nearest("filled", &memories, 12, 1).await.snapshot_sequence, 13);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_of_what_is_dead_empties_itself() {
    let Some(image) = Image::granted(Kind::Ext4, 512) else { return };
    let memories = Memories::bundled();
    let server = Server::start(&data_of(&image));
    let client = Client::connect(server.address).await;
    // The segment that is open, and the one that is kept, are all there is room for.
    remember(&client, &memories, 0).await.expect("there is room");
    image.fill(image.free_mebibytes() - FREE_MEBIBYTES);
    for round in 0..2 {
        let which = |number| (number + round * ROWS) as usize;
        client.store_as("filled", &memories, ROWS, which).await;
    }
    let mut stored = 1;
    let refused = loop {
        match remember(&client, &memories, stored as usize).await {
            Ok(()) => stored += 1,
            Err(refused) => break refused,
        }
        assert!(stored < MORE, "never full");
    };
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    // What gives room back is taken, and more of it than would have waited for a further segment.
    for number in 1..=FORGOTTEN {
        let request = ForgetRequest {
            memory_space_id: "filled".to_owned(),
            mode: ForgetMode::Delete.into(),
            target: Some(Target::MemoryId(format!("m{number}"))),
        };
        let forgotten: ForgetResponse = client.call("Forget", request).await.expect("it fits");
        assert_eq!(forgotten.memories_affected, 1, "m{number}");
    }
    let recalled = client.nearest("filled", &memories, 0, 1).await;
    assert_eq!(recalled.memories[0].id, "memory-0", "recalls are served");
    let begun = Instant::now();
    while let Err(refused) = remember(&client, &memories, stored as usize).await {
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
        assert!(begun.elapsed() < PATIENCE, "nothing is taken again");
    }
    stored += 1;
    server.kill();
    let server = Server::start(&data_of(&image));
    let client = Client::connect(server.address).await;
    assert_eq!(space(server.address)["rows"], ROWS - FORGOTTEN + stored);
    let last = stored as usize - 1;
    let recalled = client.nearest("filled", &memories, last, 1).await;
    assert_eq!(recalled.memories[0].content, memories.text(last));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_cannot_be_written_is_refused_and_can_be_read() {
    let Some(image) = Image::granted(Kind::Ext4, 512) else { return };
    let data = data_of(&image);
    let mut pair = Pair::new("read-only", 4);
    pair.run(&data, Server::kill).await;
    image.remount("ro");
    let path = data.to_str().expect("temporary folders have plain names");
    let refused = run(&["serve", "--listen", "127.0.0.1:0", "--cores", "1", "--data-dir", path]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains(path) && said.contains("cannot be written"), "{said}");
    for command in ["check", "inspect"] {
        assert!(run(&[command, path]).status.success(), "{command} only reads");
    }
    image.remount("rw");
    pair.find_all(&data).await;
}
