//! `--durability` says what an ack means, the server tells it, and its acks keep to it.

use engram_proto::engram::v1::{Durability, StreamingRecallRequest};

use crate::harness::{Client, Memories, Pair, Server, first_of, get, run};

fn durability_told(server: &Server) -> String {
    let health = get(server.address, "/health").expect("it answers").body;
    let health: serde_json::Value = serde_json::from_str(&health).expect("/health is JSON");
    health["durability"].as_str().expect("a name").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ack_that_means_written_tells_no_time_and_the_memory_is_in_flight_until_it_is_synced() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start_with(folder.path(), &["--durability", "none"]);
    assert_eq!(durability_told(&server), "none");
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    let mut stream = client.begin("written").await;
    for sequence in 1..=20 {
        stream
            .observe(sequence, memories.episode(sequence as usize, &format!("m{sequence}")))
            .await;
        let ack = stream.next_ack().await.expect("the stream lives").expect("an ack");
        assert_eq!((ack.0, ack.1.committed_at), (sequence, None));
    }
    // `close` waits until all is durable; then recalls say so.
    stream.close(20).await;
    let request = StreamingRecallRequest {
        memory_space_id: "written".to_owned(),
        cue: Some(memories.cue(20)),
        max_results: 1,
        snapshot_isolation: true,
        ..StreamingRecallRequest::default()
    };
    let recalled = client.recall(request).await.expect("the space is there");
    assert_eq!(first_of(&recalled).durability(), Durability::Durable);
    assert_eq!((first_of(&recalled).id.as_str(), recalled.snapshot_sequence), ("m20", 20));
    assert!(server.stop().success());
    let server = Server::start(folder.path());
    assert_eq!(durability_told(&server), "sync");
    let client = Client::connect(server.address).await;
    assert_eq!(client.nearest("written", &memories, 3, 1).await.snapshot_sequence, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interval_acks_what_is_durable_and_keeps_it() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut pair = Pair::new("interval", 21).with(&["--durability", "interval:30"]);
    for _ in 0..3 {
        pair.run(folder.path(), |server| {
            assert_eq!(durability_told(&server), "interval:30");
            server.kill();
        })
        .await;
    }
    pair.find_all(folder.path()).await;
    assert!(run(&["check", folder.path().to_str().expect("a plain name")]).status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_only_written_outlives_the_process() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut pair = Pair::new("written", 22).with(&["--durability", "none"]);
    for _ in 0..3 {
        pair.run(folder.path(), Server::kill).await;
    }
    pair.find_all(folder.path()).await;
}

#[test]
fn another_durability_is_refused_by_name() {
    let refused = run(&["serve", "--durability", "interval:0"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("interval:MS"), "{said}");
}
