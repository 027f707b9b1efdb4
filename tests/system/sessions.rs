//! A session outlives its connection: it is resumed where the log ends, by one connection at a time.

use engram_proto::engram::v1::stream_status::State;
use tonic::Code;

use crate::harness::{Client, Memories, Observing, Server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_is_acked_again_and_stored_once() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    let mut stream = client.begin("repeating").await;
    for sequence in 1..=3 {
        stream
            .observe(sequence, memories.episode(sequence as usize, &format!("m{sequence}")))
            .await;
        stream.accepted(sequence).await;
    }
    // The same number with other content: it is the number that counts.
    stream.observe(2, memories.episode(9, "m2")).await;
    assert_eq!(stream.accepted(2).await, "m2");
    let recalled = client.nearest("repeating", &memories, 2, 10).await;
    assert_eq!((recalled.memories.len(), recalled.snapshot_sequence), (3, 3));
    assert_eq!(recalled.memories[0].content, memories.text(2));
    stream.close(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_connection_takes_over_and_the_first_is_told() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    let mut old = client.begin("taken-over").await;
    old.observe(1, memories.episode(1, "one")).await;
    old.accepted(1).await;

    let elsewhere = Client::connect(server.address).await;
    let (mut new, durable) = elsewhere.resume(&old.session).await;
    assert_eq!(durable, 1);
    let (_, status) = old.status().await;
    assert_eq!(status.state(), State::Closed, "{status:?}");
    assert_eq!(old.ended().await.code(), Code::Aborted);

    new.observe(2, memories.episode(2, "two")).await;
    assert_eq!(new.accepted(2).await, "two");
    new.close(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_close_drains_to_durable() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    let mut stream = client.begin("half-closed").await;
    for sequence in 1..=50 {
        stream.observe(sequence, memories.episode(sequence as usize, "")).await;
    }
    let session = stream.half_close();
    for sequence in 1..=50 {
        stream.accepted(sequence).await;
    }
    assert!(stream.next_ack().await.expect("a drained stream ends well").is_none());
    let (resumed, durable) = client.resume(&session).await;
    assert_eq!(durable, 50);
    resumed.close(50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_resumed_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let client = Client::connect(server.address).await;
    let unknown = "0190b1c2-0000-4000-8000-000000000000";
    let mut stream = client.open(Observing::init("", unknown)).await;
    let status = stream.ended().await;
    assert_eq!(status.code(), Code::NotFound);
    assert!(
        status.message().contains(&format!("Session error: Session not found: {unknown}")),
        "{status:?}"
    );

    let known = client.begin("its-space").await;
    let mut stream = client.open(Observing::init("another", &known.session)).await;
    assert_eq!(stream.ended().await.code(), Code::InvalidArgument);
    known.close(0).await;
}
