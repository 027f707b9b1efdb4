//! An acked observation is never lost, and none is stored twice.
//!
//! The server is killed with SIGKILL ten times, each time after a random number of acks, while two sessions stream
//! into one space as fast as they can. After each restart both sessions resume where the log ends: at or beyond
//! their last ack, never beyond what they sent. What the sessions then count as durable is what the space holds,
//! each under its own id, once.
//!
//! Another course: `ENGRAM_TEST_SEED=7 ENGRAM_TEST_ROUNDS=100 cargo test --release --test system durable`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engram_proto::engram::v1::observation_ack::Status as AckStatus;
use tokio::sync::mpsc;

use crate::harness::{Client, Memories, Observing, Server, first_of, get, owed};

const SPACE: &str = "durable";
const ACKS_MAX: u64 = 600;

/// What is known of one session across all crashes.
struct Known {
    prefix: char,
    /// Which of the two it is: its memories are the even or the odd ones.
    parity: usize,
    id: String,
    acked: u64,
    sent: u64,
}

impl Known {
    fn memory(&self, sequence: u64) -> usize {
        sequence as usize * 2 + self.parity
    }

    fn memory_id(&self, sequence: u64) -> String {
        format!("{}-{sequence}", self.prefix)
    }
}

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
        Err(_) => default,
    }
}

/// SplitMix64: enough to choose moments by.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_it_keeps_what_it_acked() {
    let (seed, rounds) = (setting("ENGRAM_TEST_SEED", 1), setting("ENGRAM_TEST_ROUNDS", 10));
    eprintln!("ENGRAM_TEST_SEED={seed} ENGRAM_TEST_ROUNDS={rounds}");
    let mut state = seed;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let memories = Arc::new(Memories::bundled());
    let known = |prefix, parity| Known { prefix, parity, id: String::new(), acked: 0, sent: 0 };
    let mut sessions = [known('a', 0), known('b', 1)];

    for round in 0..rounds {
        let server = Server::start(folder.path());
        let client = Client::connect(server.address).await;
        let streams = open_both(&client, &mut sessions, &memories).await;
        if round > 0 {
            assert_space_holds(&server, &client, &sessions, &memories).await;
        }
        let acks = 1 + random(&mut state) % ACKS_MAX;
        stream_until_killed(server, streams, &mut sessions, &memories, acks).await;
    }

    let server = Server::start(folder.path());
    let client = Client::connect(server.address).await;
    let streams = open_both(&client, &mut sessions, &memories).await;
    assert_space_holds(&server, &client, &sessions, &memories).await;
    for known in &sessions {
        assert_all_found(&client, known, 1, &memories).await;
    }
    for (stream, known) in streams.into_iter().zip(&sessions) {
        stream.close(known.acked).await;
    }
}

/// Begins or resumes both sessions. What turns out durable counts as acked from here on; the part of it that no ack
/// told is looked for at once.
async fn open_both(
    client: &Client,
    sessions: &mut [Known; 2],
    memories: &Memories,
) -> Vec<Observing> {
    let mut streams = Vec::new();
    for known in sessions {
        if known.id.is_empty() {
            let observing = client.begin(SPACE).await;
            known.id = observing.session.clone();
            streams.push(observing);
            continue;
        }
        let (observing, durable) = client.resume(&known.id).await;
        let (acked, sent) = (known.acked, known.sent);
        assert!(durable >= acked, "lost: {acked} acked, {durable} durable after the crash");
        assert!(durable <= sent, "invented: {sent} sent, {durable} durable after the crash");
        known.acked = durable;
        known.sent = durable;
        assert_all_found(client, known, acked + 1, memories).await;
        streams.push(observing);
    }
    streams
}

/// Both sessions stream until the server, killed once `acks` acks have come, takes no more.
async fn stream_until_killed(
    server: Server,
    streams: Vec<Observing>,
    sessions: &mut [Known; 2],
    memories: &Arc<Memories>,
    acks: u64,
) {
    let (acked, mut counted) = mpsc::unbounded_channel();
    let mut ends = Vec::new();
    for (stream, known) in streams.into_iter().zip(sessions.iter()) {
        let feeding = Feed { prefix: known.prefix, parity: known.parity, after: known.acked };
        ends.push(tokio::spawn(feeding.run(stream, Arc::clone(memories), acked.clone())));
    }
    for _ in 0..acks {
        owed("ack", counted.recv()).await.expect("a stream ended although its server lives");
    }
    server.kill();
    for (end, known) in ends.into_iter().zip(sessions) {
        (known.acked, known.sent) =
            owed("end of a killed server's stream", end).await.expect("the stream ran well");
    }
}

/// One session's stream in one life of the server.
struct Feed {
    prefix: char,
    parity: usize,
    after: u64,
}

impl Feed {
    /// Streams to the end; the last sequence acked and the last one sent.
    async fn run(
        self,
        mut stream: Observing,
        memories: Arc<Memories>,
        acks: mpsc::UnboundedSender<()>,
    ) -> (u64, u64) {
        let sent = Arc::new(AtomicU64::new(self.after));
        let known = Known {
            prefix: self.prefix,
            parity: self.parity,
            id: String::new(),
            acked: 0,
            sent: 0,
        };
        let (requests, session) = (stream.send.clone(), stream.session.clone());
        let sender = tokio::spawn({
            let sent = Arc::clone(&sent);
            async move {
                for sequence in self.after + 1.. {
                    let episode =
                        memories.episode(known.memory(sequence), &known.memory_id(sequence));
                    // Counted before it goes: what the server may have seen is at most this.
                    sent.store(sequence, Ordering::SeqCst);
                    if requests
                        .send(Observing::observation(&session, sequence, episode))
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
            }
        });
        let mut acked = self.after;
        // The end comes as an error or as a plain end, as the connection broke; both end the round.
        while let Ok(Some((sequence, ack))) = stream.next_ack().await {
            assert_eq!(
                (sequence, ack.status()),
                (acked + 1, AckStatus::Accepted),
                "acks out of order"
            );
            acked = sequence;
            // Nobody counts any more once the server is killed.
            let _ = acks.send(());
        }
        drop(stream);
        owed("end of the sender", sender).await.expect("the sender ran well");
        (acked, sent.load(Ordering::SeqCst))
    }
}

/// The space holds exactly what its sessions count, by its snapshot and by its number of rows.
async fn assert_space_holds(
    server: &Server,
    client: &Client,
    sessions: &[Known; 2],
    memories: &Memories,
) {
    let total: u64 = sessions.iter().map(|known| known.acked).sum();
    let recalled = client.nearest(SPACE, memories, 0, 1).await;
    assert_eq!(recalled.snapshot_sequence, total, "observations doubled or lost");
    let spaces = get(server.address, "/api/v1/spaces").expect("the server answers").body;
    let spaces: serde_json::Value = serde_json::from_str(&spaces).expect("/api/v1/spaces is JSON");
    let space =
        spaces["spaces"].as_array().expect("a list").iter().find(|space| space["id"] == SPACE);
    assert_eq!(space.expect("the space is listed")["rows"], total, "rows doubled or lost");
}

/// Each observation from `first` to the last durable one is found by its vector, with its text, once.
async fn assert_all_found(client: &Client, known: &Known, first: u64, memories: &Memories) {
    for sequence in first..=known.acked {
        let recalled = client.nearest(SPACE, memories, known.memory(sequence), 2).await;
        let found = first_of(&recalled);
        assert_eq!(found.id, known.memory_id(sequence), "not found by its own vector");
        assert_eq!(found.content, memories.text(known.memory(sequence)));
        let again = recalled.memories[1..].iter().any(|memory| memory.id == found.id);
        assert!(!again, "{} is found twice", found.id);
    }
}
