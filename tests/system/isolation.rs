//! Spaces do not see each other, and recall while streams run sees every acked observation at once.
//!
//! Three clients stream 5,000 observations each at the same time into three spaces, with the same vectors in each,
//! so that anything that leaked from a neighbour would be found first. Beside each stream another connection recalls
//! what was just acked.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::harness::{Client, Memories, Observing, Server, first_of, owed};

const OBSERVATIONS: u64 = 5_000;
/// One in so many acked observations is recalled while its stream runs.
const SAMPLE: u64 = 25;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_clients_at_once_find_their_own_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Arc::new(Memories::bundled());
    let mut clients = Vec::new();
    for space in ["red", "green", "blue"] {
        let client = Client::connect(server.address).await;
        clients.push(tokio::spawn(fill(client, space, Arc::clone(&memories))));
    }
    for client in clients {
        client.await.expect("a client found what it should not, or not what it should");
    }
}

fn id(space: &str, sequence: u64) -> String {
    format!("{space}-{sequence}")
}

/// Streams all into one space, recalling what is acked while it runs and a sample of all at the end.
async fn fill(client: Client, space: &'static str, memories: Arc<Memories>) {
    let mut stream = client.begin(space).await;
    let (requests, session) = (stream.send.clone(), stream.session.clone());
    let sender = tokio::spawn({
        let memories = Arc::clone(&memories);
        async move {
            for sequence in 1..=OBSERVATIONS {
                let episode = memories.episode(sequence as usize, &id(space, sequence));
                let request = Observing::observation(&session, sequence, episode);
                owed("room to send", requests.send(request)).await.expect("the stream lives");
            }
        }
    });
    // Room for every sample, so that recalls never hold back the acks.
    let (acked, samples) = mpsc::channel((OBSERVATIONS / SAMPLE) as usize);
    let watcher = tokio::spawn(recall_acked(client.clone(), space, Arc::clone(&memories), samples));
    for sequence in 1..=OBSERVATIONS {
        assert_eq!(stream.accepted(sequence).await, id(space, sequence));
        if sequence % SAMPLE == 0 {
            acked.send(sequence).await.expect("the watcher reads to the end");
        }
    }
    drop(acked);
    sender.await.expect("the sender ran well");
    watcher.await.expect("what was acked was found");
    let recalled = client.nearest(space, &memories, 1, 1).await;
    assert_eq!(
        recalled.snapshot_sequence, OBSERVATIONS,
        "{space} holds what others sent, or less than its own"
    );
    stream.close(OBSERVATIONS).await;
}

/// Recalls acked observations while others stream: each is its own nearest, and all that is found is of this space.
async fn recall_acked(
    client: Client,
    space: &str,
    memories: Arc<Memories>,
    mut acked: mpsc::Receiver<u64>,
) {
    let mut snapshot_before = 0;
    while let Some(sequence) = acked.recv().await {
        let recalled = client.nearest(space, &memories, sequence as usize, 5).await;
        assert_eq!(first_of(&recalled).id, id(space, sequence), "acked but not found");
        assert!(
            recalled.snapshot_sequence >= sequence,
            "a snapshot that misses what was acked before it"
        );
        assert!(recalled.snapshot_sequence >= snapshot_before, "a snapshot sequence fell");
        snapshot_before = recalled.snapshot_sequence;
        for memory in &recalled.memories {
            assert!(memory.id.starts_with(&format!("{space}-")), "{space} found {}", memory.id);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_session_cannot_be_used_by_a_stream_of_another() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    let first = client.begin("first").await;
    let mut second = client.begin("second").await;
    // The number fits, the session does not.
    let stray = Observing::observation(&first.session, 1, memories.episode(0, "stray"));
    assert!(second.send(stray).await);
    let status = second.refused(1).await;
    let expected =
        format!("Session ID mismatch: expected {}, got {}", second.session, first.session);
    assert!(status.message.contains(&expected), "{}", status.message);
    second.observe(1, memories.episode(0, "own")).await;
    assert_eq!(second.accepted(1).await, "own");
    assert_eq!(client.nearest("first", &memories, 0, 10).await.memories.len(), 0);
}
