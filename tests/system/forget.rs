//! A memory that is forgotten is in no recall after the answer, also after a kill; whatever else there is stays.

use engram_proto::engram::v1::{
    Cue, ForgetMode, ForgetRequest, ForgetResponse, RecallRequest, forget_request::Target,
};
use tonic::{Code, Status};

use crate::harness::{Client, Memories, Server};

const SPACE: &str = "forgetting";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_forgotten_is_recalled_no_more_also_after_a_kill() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    let mut stream = client.begin(SPACE).await;
    for sequence in 1..=6 {
        let number = sequence as usize;
        stream.observe(sequence, memories.episode(number, &format!("memory-{sequence}"))).await;
    }
    for sequence in 1..=6 {
        stream.accepted(sequence).await;
    }
    assert_eq!(ids(&client, &memories).await, [1, 2, 3, 4, 5, 6]);

    let deleted = forget(&client, "memory-2", ForgetMode::Delete).await.expect("it is deleted");
    assert_eq!((deleted.memories_affected, deleted.reversible), (1, false));
    assert_eq!(deleted.forget_confidence.expect("it is told").value, 1.0);
    let hidden = forget(&client, "memory-4", ForgetMode::Suppress).await.expect("it is hidden");
    assert_eq!((hidden.memories_affected, hidden.reversible), (1, true));
    // Where nothing is said, so that it can be undone.
    let hidden = forget(&client, "memory-5", ForgetMode::Unspecified).await.expect("it is hidden");
    assert_eq!((hidden.memories_affected, hidden.reversible), (1, true));
    // Again, and one that never was.
    for (id, mode) in [
        ("memory-2", ForgetMode::Delete),
        ("memory-4", ForgetMode::Suppress),
        ("memory-9", ForgetMode::Delete),
    ] {
        let again = forget(&client, id, mode).await.expect("there is nothing wrong with that");
        assert_eq!(again.memories_affected, 0, "{id}");
    }
    assert_eq!(ids(&client, &memories).await, [1, 3, 6]);
    // Stored again under its id, it is another memory.
    stream.observe(7, memories.episode(4, "memory-4")).await;
    stream.accepted(7).await;
    assert_eq!(ids(&client, &memories).await, [1, 3, 4, 6]);

    server.kill();
    let server = Server::start(folder.path());
    let client = Client::connect(server.address).await;
    assert_eq!(ids(&client, &memories).await, [1, 3, 4, 6]);
    let deleted = forget(&client, "memory-5", ForgetMode::Delete).await.expect("it is deleted");
    assert_eq!(deleted.memories_affected, 1, "what is suppressed can still be deleted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_like_a_cue_is_forgotten() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    let mut stream = client.begin(SPACE).await;
    for (sequence, id) in [(1, "memory-1"), (2, "memory-2"), (3, "memory-3")] {
        // The first two are the same but for their ids.
        let number = [1, 1, 3][sequence as usize - 1];
        stream.observe(sequence, memories.episode(number, id)).await;
        stream.accepted(sequence).await;
    }
    let without = Target::Pattern(memories.cue(1));
    let refused = forget_target(&client, without, ForgetMode::Delete).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    assert_eq!(ids(&client, &memories).await, [1, 2, 3]);
    let mut cue = memories.cue(1);
    let threshold = engram_proto::engram::v1::Confidence { value: 0.99, ..Default::default() };
    cue.threshold = Some(threshold);
    let forgotten = forget_target(&client, Target::Pattern(cue), ForgetMode::Delete).await;
    assert_eq!(forgotten.expect("they are forgotten").memories_affected, 2);
    assert_eq!(ids(&client, &memories).await, [3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_forgotten_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let client = Client::connect(server.address).await;
    let code = |refused: Result<ForgetResponse, Status>| refused.unwrap_err().code();
    assert_eq!(code(forget(&client, "memory-1", ForgetMode::Delete).await), Code::NotFound);
    let memories = Memories::bundled();
    let mut stream = client.begin(SPACE).await;
    stream.observe(1, memories.episode(1, "memory-1")).await;
    stream.accepted(1).await;
    let overwritten = forget(&client, "memory-1", ForgetMode::Overwrite).await;
    assert_eq!(code(overwritten), Code::Unimplemented);
    for id in ["", &"x".repeat(257)] {
        assert_eq!(code(forget(&client, id, ForgetMode::Delete).await), Code::InvalidArgument);
    }
    let untold: Result<ForgetResponse, Status> = client
        .call("Forget", ForgetRequest { memory_space_id: SPACE.to_owned(), ..Default::default() })
        .await;
    assert_eq!(code(untold), Code::InvalidArgument);
    let unknown_mode = ForgetRequest {
        memory_space_id: SPACE.to_owned(),
        mode: 9,
        target: Some(Target::MemoryId("memory-1".to_owned())),
    };
    assert_eq!(code(client.call("Forget", unknown_mode).await), Code::InvalidArgument);
    assert_eq!(ids(&client, &memories).await, [1]);
}

async fn forget(client: &Client, id: &str, mode: ForgetMode) -> Result<ForgetResponse, Status> {
    forget_target(client, Target::MemoryId(id.to_owned()), mode).await
}

async fn forget_target(
    client: &Client,
    target: Target,
    mode: ForgetMode,
) -> Result<ForgetResponse, Status> {
    let request = ForgetRequest {
        memory_space_id: SPACE.to_owned(),
        mode: mode.into(),
        target: Some(target),
    };
    client.call("Forget", request).await
}

/// The numbers in the ids of all that is recalled, by both kinds of recall.
async fn ids(client: &Client, memories: &Memories) -> Vec<u32> {
    let number = |id: &str| id.strip_prefix("memory-").and_then(|number| number.parse().ok());
    let number = |id: &str| -> u32 { number(id).expect("an id of this test") };
    let streamed = client.nearest(SPACE, memories, 1, 100).await;
    let mut streamed: Vec<u32> =
        streamed.memories.iter().map(|memory| number(&memory.id)).collect();
    streamed.sort_unstable();
    let request = RecallRequest {
        memory_space_id: SPACE.to_owned(),
        cue: Some(Cue { max_results: 100, ..memories.cue(1) }),
        ..RecallRequest::default()
    };
    let single: engram_proto::engram::v1::RecallResponse =
        client.call("Recall", request).await.expect("a recall succeeds");
    let mut single: Vec<u32> = single.memories.iter().map(|memory| number(&memory.id)).collect();
    single.sort_unstable();
    assert_eq!(streamed, single);
    streamed
}
