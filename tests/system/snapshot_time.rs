//! `snapshot_time` recalls what was durable then, over gRPC and WebSocket; where that is not known any more, the refusal names
//! the oldest time that is.

use engram_proto::engram::v1::StreamingRecallRequest;
use prost_types::Timestamp;
use serde_json::json;
use tokio::task::block_in_place;
use tonic::Code;

use crate::harness::{Client, Memories, Server, Socket};

const SPACE: &str = "past";

fn request(memories: &Memories, snapshot_time: Option<Timestamp>) -> StreamingRecallRequest {
    StreamingRecallRequest {
        memory_space_id: SPACE.to_owned(),
        cue: Some(memories.cue(1)),
        snapshot_time,
        ..StreamingRecallRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recall_finds_what_was_durable_at_a_time_of_its_choice() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    let mut stream = client.begin(SPACE).await;
    let mut times = Vec::new();
    for sequence in 1..=5 {
        let episode = memories.episode(sequence as usize, &format!("m{sequence}"));
        stream.observe(sequence, episode).await;
        let (_, ack) = stream.next_ack().await.expect("no error").expect("an ack");
        times.push(ack.committed_at.expect("durable"));
    }
    for (number, &time) in (1..).zip(&times) {
        let recalled = client.recall(request(&memories, Some(time))).await.expect("known");
        let mut ids: Vec<String> = recalled.memories.into_iter().map(|memory| memory.id).collect();
        ids.sort();
        let expected: Vec<String> = (1..=number).map(|number| format!("m{number}")).collect();
        assert_eq!((recalled.snapshot_sequence, ids), (number, expected));
    }
    let mut socket = block_in_place(|| Socket::connect(server.address));
    block_in_place(|| socket.say_json(&json!({"type": "init", "memory_space_id": SPACE})));
    assert_eq!(block_in_place(|| socket.hear_json())["type"], "init_ack");
    let recall = |time: String| {
        json!({
            "type": "recall", "request_id": "q", "embedding": memories.vector(1),
            "snapshot_time": time,
        })
    };
    block_in_place(|| socket.say_json(&recall(times[2].to_string())));
    let found = block_in_place(|| socket.hear_json());
    assert_eq!(found["snapshot_sequence"], 3);
    assert_eq!(found["results"].as_array().expect("a list").len(), 3);

    // The third is replaced: its old form is not kept for times before that.
    stream.observe(6, memories.episode(9, "m3")).await;
    stream.accepted(6).await;
    let mut recalls = 0..10_000;
    let refusal = loop {
        // Its ids are compared in a moment; until then both are there.
        match client.recall(request(&memories, Some(times[2]))).await {
            Ok(recalled) => assert_eq!(recalled.snapshot_sequence, 3),
            Err(refusal) => break refusal,
        }
        recalls.next().expect("the replaced one is gone after a moment");
    };
    assert_eq!(refusal.code(), Code::OutOfRange);
    assert!(refusal.message().starts_with("snapshot_time is too long ago: the oldest is "));
    block_in_place(|| socket.say_json(&recall(times[2].to_string())));
    let told = block_in_place(|| socket.hear_json());
    assert_eq!((&told["type"], &told["code"]), (&json!("error"), &json!("out_of_range")));
    let bad = Some(Timestamp { seconds: 1, nanos: -1 });
    let Err(refusal) = client.recall(request(&memories, bad)).await else { panic!("no time") };
    assert_eq!(refusal.code(), Code::InvalidArgument);
}
