//! 10,000 observations from the first message to the last ack, and what a recall of them tells.

use std::collections::BTreeSet;
use std::sync::Arc;

use engram_proto::engram::v1::{
    Confidence, Cue, Memory, RecallRequest, RecallResponse, RememberRequest, RememberResponse,
    StreamingRecallRequest, remember_request::MemoryType,
};
use tonic::Code;

use crate::harness::{Client, Memories, Observing, Server, first_of, owed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_observations_are_acked_in_order_found_and_kept() {
    const OBSERVATIONS: u64 = 10_000;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Arc::new(Memories::bundled());
    let client = Client::connect(server.address).await;
    let mut stream = client.begin("ten-thousand").await;
    let (requests, session) = (stream.send.clone(), stream.session.clone());
    let sender = tokio::spawn({
        let (memories, session) = (Arc::clone(&memories), session.clone());
        async move {
            for sequence in 1..=OBSERVATIONS {
                let request = Observing::observation(
                    &session,
                    sequence,
                    memories.episode(sequence as usize, ""),
                );
                owed("room to send", requests.send(request)).await.expect("the stream lives");
            }
        }
    });
    for sequence in 1..=OBSERVATIONS {
        assert_eq!(stream.accepted(sequence).await, format!("mem_{session}_{sequence}"));
    }
    sender.await.expect("the sender ran well");
    stream.close(OBSERVATIONS).await;
    assert_own_vectors_come_first(&client, &memories, &session, OBSERVATIONS).await;

    // Stopped well and started again, nothing has changed.
    assert!(server.stop().success(), "a stop by SIGTERM exits with 0");
    let server = Server::start(folder.path());
    let client = Client::connect(server.address).await;
    assert_own_vectors_come_first(&client, &memories, &session, OBSERVATIONS).await;
    let (stream, durable) = client.resume(&session).await;
    assert_eq!(durable, OBSERVATIONS, "the session did not survive its own close");
    stream.close(OBSERVATIONS).await;
}

async fn assert_own_vectors_come_first(
    client: &Client,
    memories: &Memories,
    session: &str,
    observations: u64,
) {
    for sequence in (1..=observations).step_by(97) {
        let recalled = client.nearest("ten-thousand", memories, sequence as usize, 10).await;
        assert_eq!(recalled.snapshot_sequence, observations);
        assert_eq!(recalled.memories.len(), 10);
        let found = first_of(&recalled);
        assert_eq!(found.id, format!("mem_{session}_{sequence}"));
        assert_eq!(found.content, memories.text(sequence as usize));
        assert!(found.activation > 0.999, "similarity to itself: {}", found.activation);
        assert!(found.embedding.is_empty(), "an embedding that nobody asked for");
        assert!(
            recalled.memories.is_sorted_by(|a, b| a.activation >= b.activation),
            "not best first"
        );
        let ids: BTreeSet<&str> =
            recalled.memories.iter().map(|memory| memory.id.as_str()).collect();
        assert_eq!(ids.len(), 10, "a memory is found twice");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_the_space_holds_is_replaced() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    let mut stream = client.begin("replacing").await;
    stream.observe(1, memories.episode(1, "same")).await;
    stream.observe(2, memories.episode(2, "other")).await;
    stream.observe(3, memories.episode(3, "same")).await;
    for (sequence, id) in [(1, "same"), (2, "other"), (3, "same")] {
        assert_eq!(stream.accepted(sequence).await, id);
    }
    let recalled = client.nearest("replacing", &memories, 1, 10).await;
    let mut found: Vec<(&str, &str)> = recalled
        .memories
        .iter()
        .map(|memory| (memory.id.as_str(), memory.content.as_str()))
        .collect();
    found.sort_unstable();
    let (same, other) = (memories.text(3), memories.text(2));
    assert_eq!(found, [("other", other.as_str()), ("same", same.as_str())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn remember_and_recall_as_single_calls() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;

    let remembered = remember(&client, &memories, 1, "").await;
    let made =
        uuid::Uuid::parse_str(remembered.strip_prefix("mem_").expect("a made id begins with mem_"));
    assert_eq!(made.expect("a made id is a UUID").get_version_num(), 7);
    assert_eq!(remember(&client, &memories, 2, "named").await, "named");

    // No space named: `default`.
    let request = RecallRequest {
        cue: Some(Cue { max_results: 1, ..memories.cue(2) }),
        max_results: 1,
        include_metadata: true,
        ..RecallRequest::default()
    };
    let recalled: RecallResponse = client.call("Recall", request).await.expect("a recall succeeds");
    assert_eq!(recalled.memories.len(), 1);
    assert_eq!(recalled.memories[0].id, "named");
    assert_eq!(recalled.memories[0].content, memories.text(2));
    assert!(recalled.metadata.is_some(), "asked for and not told");
}

async fn remember(client: &Client, memories: &Memories, number: usize, id: &str) -> String {
    let memory = Memory {
        id: id.to_owned(),
        content: memories.text(number),
        embedding: memories.vector(number),
        confidence: Some(Confidence { value: 0.9, ..Confidence::default() }),
        ..Memory::default()
    };
    let request = RememberRequest {
        memory_type: Some(MemoryType::Memory(memory)),
        ..RememberRequest::default()
    };
    let answer: RememberResponse =
        client.call("Remember", request).await.expect("a good memory is remembered");
    answer.memory_id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recall_never_makes_a_space_and_names_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    let of = |space: &str, cue: Option<Cue>| StreamingRecallRequest {
        memory_space_id: space.to_owned(),
        cue,
        max_results: 1,
        ..StreamingRecallRequest::default()
    };
    let code = |answer: Result<_, tonic::Status>| answer.err().map(|status| status.code());

    let cue = memories.cue(1);
    assert_eq!(code(client.recall(of("nowhere", Some(cue.clone()))).await), Some(Code::NotFound));
    assert_eq!(code(client.recall(of("nowhere", Some(cue.clone()))).await), Some(Code::NotFound));
    let stream = client.begin("somewhere").await;
    assert_eq!(code(client.recall(of("somewhere", None)).await), Some(Code::InvalidArgument));
    let mut short = cue.clone();
    let Some(engram_proto::engram::v1::cue::CueType::Embedding(vector)) = &mut short.cue_type
    else {
        unreachable!("cues of memories are vectors")
    };
    vector.vector.pop();
    let refused = client
        .recall(of("somewhere", Some(short)))
        .await
        .err()
        .expect("a cue of 767 numbers is refused");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(
        refused.message().contains("Embedding must be exactly 768 dimensions"),
        "{}",
        refused.message()
    );
    assert_eq!(code(client.recall(of("somewhere", Some(cue))).await), None);
    stream.close(0).await;
}
