//! Two sessions that stream into one space through crashes, and what must be there after each.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engram_proto::engram::v1::StreamingRecallRequest;
use engram_proto::engram::v1::observation_ack::Status as AckStatus;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tonic::Status;

use super::{Client, Memories, Observing, Server, first_of, get, owed};

/// Acks after which a life ends, at most, where nothing else is said.
const ACKS_MAX: u64 = 600;
/// Observations that a session sends ahead of its acks: always some are on their way.
const AHEAD_MAX: usize = 600;
/// Observations that are looked for at the same time.
const LOOKS_AT_ONCE: usize = 16;
/// Search width by which an observation is looked for.
const WIDTH: u32 = 1_024;

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

/// The number that the environment gives a test.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
        Err(_) => default,
    }
}

/// SplitMix64: enough to choose moments by.
pub(crate) fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Both sessions, their space, and what they know.
pub(crate) struct Pair {
    space: &'static str,
    memories: Arc<Memories>,
    sessions: [Known; 2],
    state: u64,
    /// Acks after which a life ends, at most.
    acks_max: u64,
    is_begun: bool,
    /// Whether the end takes the power away, rather than the server alone.
    is_cut: bool,
    /// Further ones of the servers that they stream to.
    arguments: &'static [&'static str],
}

impl Pair {
    /// Two sessions that have not begun; the seed chooses the moments of their crashes.
    pub(crate) fn new(space: &'static str, seed: u64) -> Pair {
        let known = |prefix, parity| Known { prefix, parity, id: String::new(), acked: 0, sent: 0 };
        let sessions = [known('a', 0), known('b', 1)];
        let memories = Arc::new(Memories::bundled());
        let (is_begun, is_cut) = (false, false);
        let (state, acks_max, arguments) = (seed, ACKS_MAX, &[]);
        Pair { space, memories, sessions, state, acks_max, is_begun, is_cut, arguments }
    }

    /// The same with lives that end after fewer acks, or more.
    pub(crate) fn acking(self, acks_max: u64) -> Pair {
        Pair { acks_max, ..self }
    }

    /// The same, where each end takes the power away. An ack that comes after it has begun is none: a machine without power
    /// tells nobody, while here the kernel lives on, and may call a sync done that the cut has overtaken.
    pub(crate) fn cut(self) -> Pair {
        Pair { is_cut: true, ..self }
    }

    /// The same, for servers that are started with further arguments.
    pub(crate) fn with(self, arguments: &'static [&'static str]) -> Pair {
        Pair { arguments, ..self }
    }

    /// Starts a server on `folder`, resumes there, looks whether all is there, and streams until some acks have come; then
    /// `end` ends the server, while both still stream.
    pub(crate) async fn run(&mut self, folder: &Path, end: impl FnOnce(Server)) {
        let server = Server::start_with(folder, self.arguments);
        let address = server.address;
        // How the streams of a server that is gone ended says nothing.
        let _ = self.run_on(address, || end(server)).await;
    }

    /// The same on a server that runs, and may outlive what `harm` does to it while both stream; how each stream ended.
    pub(crate) async fn run_on(
        &mut self,
        address: SocketAddr,
        harm: impl FnOnce(),
    ) -> [Result<(), Status>; 2] {
        let client = Client::connect(address).await;
        let streams = self.open_both(&client).await;
        if self.is_begun {
            self.assert_space_holds(address, &client).await;
        }
        self.is_begun = true;
        let acks = 1 + random(&mut self.state) % self.acks_max;
        self.stream_until(streams, acks, harm).await
    }

    /// Starts a server on `folder` and looks for everything.
    pub(crate) async fn find_all(&mut self, folder: &Path) {
        let server = Server::start_with(folder, self.arguments);
        let client = Client::connect(server.address).await;
        let streams = self.open_both(&client).await;
        self.assert_space_holds(server.address, &client).await;
        for known in &self.sessions {
            self.assert_all_found(&client, known, 1).await;
        }
        for (stream, known) in streams.into_iter().zip(&self.sessions) {
            stream.close(known.acked).await;
        }
    }

    /// Observations that were acked, or found durable.
    pub(crate) fn acked(&self) -> u64 {
        self.sessions.iter().map(|known| known.acked).sum()
    }

    /// What was acked since counts no more: the folder is a copy that was made before.
    pub(crate) fn forget_acks(&mut self) {
        self.sessions.iter_mut().for_each(|known| known.acked = 0);
    }

    /// Begins or resumes both sessions. What turns out durable counts as acked from here on; the part of it that no ack
    /// told is looked for at once.
    async fn open_both(&mut self, client: &Client) -> Vec<Observing> {
        let mut streams = Vec::new();
        for index in 0..self.sessions.len() {
            let known = &mut self.sessions[index];
            if known.id.is_empty() {
                let observing = client.begin(self.space).await;
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
            self.assert_all_found(client, &self.sessions[index], acked + 1).await;
            streams.push(observing);
        }
        streams
    }

    /// Both sessions stream until the server, harmed once `acks` acks have come, takes no more; how each stream ended.
    async fn stream_until(
        &mut self,
        streams: Vec<Observing>,
        acks: u64,
        harm: impl FnOnce(),
    ) -> [Result<(), Status>; 2] {
        let (acked, mut counted) = mpsc::unbounded_channel();
        let (mut ends, mut seen) = (Vec::new(), Vec::new());
        for (stream, known) in streams.into_iter().zip(self.sessions.iter()) {
            let after = known.acked;
            let so_far = Arc::new(AtomicU64::new(after));
            seen.push(Arc::clone(&so_far));
            let feeding = Feed { prefix: known.prefix, parity: known.parity, after, so_far };
            ends.push(tokio::spawn(feeding.run(stream, Arc::clone(&self.memories), acked.clone())));
        }
        for _ in 0..acks {
            owed("ack", counted.recv()).await.expect("a stream ended although its server lives");
        }
        let before: Vec<u64> = seen.iter().map(|acked| acked.load(Ordering::SeqCst)).collect();
        tokio::task::block_in_place(harm);
        let mut ended = [Ok(()), Ok(())];
        let told = ends.into_iter().zip(&mut self.sessions).zip(before).zip(&mut ended);
        for (((end, known), before), ended) in told {
            let fed = owed("end of a stream", end).await.expect("the stream ran well");
            (known.acked, known.sent) = (if self.is_cut { before } else { fed.acked }, fed.sent);
            *ended = fed.end;
        }
        ended
    }

    /// The space holds exactly what its sessions count, by its snapshot and by its number of rows.
    async fn assert_space_holds(&self, address: SocketAddr, client: &Client) {
        let total: u64 = self.sessions.iter().map(|known| known.acked).sum();
        let recalled = client.nearest(self.space, &self.memories, 0, 1).await;
        assert_eq!(recalled.snapshot_sequence, total, "observations doubled or lost");
        let spaces = get(address, "/api/v1/spaces").expect("the server answers").body;
        let spaces: serde_json::Value =
            serde_json::from_str(&spaces).expect("/api/v1/spaces is JSON");
        let mut spaces = spaces["spaces"].as_array().expect("a list").iter();
        let space = spaces.find(|space| space["id"] == self.space);
        assert_eq!(space.expect("the space is listed")["rows"], total, "rows doubled or lost");
    }

    /// Each observation from `first` to the last durable one is found by its vector, with its text, once.
    async fn assert_all_found(&self, client: &Client, known: &Known, first: u64) {
        let mut looking = JoinSet::new();
        for sequence in first..=known.acked {
            if looking.len() == LOOKS_AT_ONCE {
                looking.join_next().await.expect("some are looked for").expect("it was found");
            }
            let (number, id) = (known.memory(sequence), known.memory_id(sequence));
            let memories = Arc::clone(&self.memories);
            looking.spawn(assert_found(client.clone(), self.space, memories, number, id));
        }
        while let Some(looked) = looking.join_next().await {
            looked.expect("it was found");
        }
    }
}

async fn assert_found(
    client: Client,
    space: &'static str,
    memories: Arc<Memories>,
    number: usize,
    id: String,
) {
    // As wide as can be: what is looked for is whether it is there, not how good the index is.
    let request = StreamingRecallRequest {
        memory_space_id: space.to_owned(),
        cue: Some(memories.cue(number)),
        max_results: 2,
        search_width: WIDTH,
        ..StreamingRecallRequest::default()
    };
    let recalled = client.recall(request).await.expect("a recall of a known space");
    let found = first_of(&recalled);
    assert_eq!(found.id, id, "not found by its own vector");
    assert_eq!(found.content, memories.text(number));
    let again = recalled.memories[1..].iter().any(|memory| memory.id == id);
    assert!(!again, "{id} is found twice");
}

/// One session's stream in one life of the server.
struct Feed {
    prefix: char,
    parity: usize,
    after: u64,
    /// The last sequence acked, while it runs.
    so_far: Arc<AtomicU64>,
}

/// What became of it.
struct Fed {
    /// The last sequence acked.
    acked: u64,
    /// The last one sent.
    sent: u64,
    /// How the stream ended.
    end: Result<(), Status>,
}

impl Feed {
    /// Streams to the end.
    async fn run(
        self,
        mut stream: Observing,
        memories: Arc<Memories>,
        acks: mpsc::UnboundedSender<()>,
    ) -> Fed {
        let sent = Arc::new(AtomicU64::new(self.after));
        let known = Known {
            prefix: self.prefix,
            parity: self.parity,
            id: String::new(),
            acked: 0,
            sent: 0,
        };
        let (requests, session) = (stream.send.clone(), stream.session.clone());
        let room = Arc::new(Semaphore::new(AHEAD_MAX));
        let sender = tokio::spawn({
            let (sent, room) = (Arc::clone(&sent), Arc::clone(&room));
            async move {
                for sequence in self.after + 1.. {
                    let Ok(room) = room.acquire().await else { return };
                    room.forget();
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
        let end = loop {
            let (sequence, ack) = match stream.next_ack().await {
                Ok(Some(next)) => next,
                Ok(None) => break Ok(()),
                Err(status) => break Err(status),
            };
            assert_eq!(
                (sequence, ack.status()),
                (acked + 1, AckStatus::Accepted),
                "acks out of order"
            );
            acked = sequence;
            room.add_permits(1);
            self.so_far.store(acked, Ordering::SeqCst);
            // Nobody counts any more once the server is killed.
            let _ = acks.send(());
        };
        room.close();
        drop(stream);
        owed("end of the sender", sender).await.expect("the sender ran well");
        Fed { acked, sent: sent.load(Ordering::SeqCst), end }
    }
}
