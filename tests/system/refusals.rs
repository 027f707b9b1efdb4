//! What is wrong is refused as the contract says, and nothing else suffers.
//!
//! Beside every wrong message a bystander holds a stream of its own on another connection: it is served before and
//! after. The harness fails every test in which the server panics.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use engram_proto::engram::v1::stream_status::State;
use engram_proto::engram::v1::{Episode, ObservationRequest};
use tonic::Code;

use crate::harness::{Client, Memories, Observing, Server, get, raw};

/// A client that does nothing wrong.
struct Bystander {
    stream: Observing,
    memories: Memories,
    sequence: u64,
}

impl Bystander {
    async fn join(address: SocketAddr) -> Bystander {
        let stream = Client::connect(address).await.begin("bystander").await;
        let mut bystander = Bystander { stream, memories: Memories::bundled(), sequence: 0 };
        bystander.is_served(address).await;
        bystander
    }

    /// Its next observation is acked, and the server calls itself ready.
    async fn is_served(&mut self, address: SocketAddr) {
        self.sequence += 1;
        let episode = self.memories.episode(self.sequence as usize, "");
        self.stream.observe(self.sequence, episode).await;
        self.stream.accepted(self.sequence).await;
        let ready = get(address, "/health/ready").expect("the server answers");
        assert_eq!(ready.status, 200, "{}", ready.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_observation_is_refused_by_field_and_its_stream_lives_on() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let mut bystander = Bystander::join(server.address).await;
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    let mut stream = client.begin("refusing").await;

    let good = |id: &str| memories.episode(1, id);
    let with = |change: &dyn Fn(&mut Episode)| {
        let mut episode = good("bad");
        change(&mut episode);
        episode
    };
    let bad: Vec<(Episode, &str)> = vec![
        (
            with(&|e| e.embedding.truncate(767)),
            "Embedding must be exactly 768 dimensions (field: embedding)",
        ),
        (
            with(&|e| e.embedding.clear()),
            "Embedding must be exactly 768 dimensions (field: embedding)",
        ),
        (with(&|e| e.embedding[7] = f32::NAN), "Embedding must be finite (field: embedding)"),
        (
            with(&|e| e.embedding[767] = f32::INFINITY),
            "Embedding must be finite (field: embedding)",
        ),
        (with(&|e| e.embedding.fill(0.0)), "Embedding must not be zero (field: embedding)"),
        (with(&|e| e.id = "x".repeat(257)), "Field too large: id (field: id)"),
        (with(&|e| e.what = "x".repeat(64 * 1024 + 1)), "Field too large: what (field: what)"),
        (with(&|e| e.who = vec!["x".to_owned(); 65]), "Field too large: who (field: who)"),
    ];
    for (sequence, (episode, message)) in (1..).zip(bad) {
        stream.observe(sequence, episode).await;
        let status = stream.refused(sequence).await;
        assert_eq!((status.state(), status.message.as_str()), (State::Error, message));
        // The number was not consumed.
        stream.observe(sequence, good("good")).await;
        assert_eq!(stream.accepted(sequence).await, "good");
        bystander.is_served(server.address).await;
    }
    let found = client.nearest("refusing", &memories, 1, 10).await;
    let ids: Vec<&str> = found.memories.iter().map(|memory| memory.id.as_str()).collect();
    assert_eq!(ids, ["good"], "something refused was stored");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_is_refused_and_so_is_what_follows_it() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    let mut stream = client.begin("gaps").await;
    stream.observe(1, memories.episode(1, "one")).await;
    stream.accepted(1).await;
    for sequence in [3, 4, u64::MAX] {
        stream.observe(sequence, memories.episode(3, "far")).await;
        let status = stream.refused(sequence).await;
        let expected = format!(
            "Sequence validation failed: Sequence mismatch for session {}: expected 2, got {sequence}",
            stream.session
        );
        assert!(status.message.starts_with(&expected), "{}", status.message);
        assert_eq!(status.state(), State::Error);
    }
    stream.observe(2, memories.episode(2, "two")).await;
    assert_eq!(stream.accepted(2).await, "two");
    stream.close(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_init_is_refused_and_its_stream_lives_on() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    let mut stream = client.begin("twice").await;
    assert!(stream.send(Observing::init("twice", "")).await);
    let (_, status) = stream.status().await;
    assert_eq!(status.state(), State::Error, "{status:?}");
    stream.observe(1, memories.episode(1, "one")).await;
    assert_eq!(stream.accepted(1).await, "one");
    stream.close(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_later_message_can_mend_ends_the_stream() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let mut bystander = Bystander::join(server.address).await;
    let client = Client::connect(server.address).await;
    let memories = Memories::bundled();
    let cases: Vec<(ObservationRequest, Code, &str)> = vec![
        (
            Observing::observation("", 1, memories.episode(1, "early")),
            Code::FailedPrecondition,
            "Must send 'init' before observations",
        ),
        (Observing::init("No Such Name!", ""), Code::InvalidArgument, "Invalid memory_space_id: "),
        (Observing::init("ab", ""), Code::InvalidArgument, "Invalid memory_space_id: "),
        (Observing::init("", ""), Code::InvalidArgument, "Invalid memory_space_id: "),
        (ObservationRequest::default(), Code::InvalidArgument, ""),
    ];
    for (first, code, message) in cases {
        let mut stream = client.open(first).await;
        let status = stream.ended().await;
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(message), "{}", status.message());
        bystander.is_served(server.address).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_100_megabytes_ends_its_stream_only() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let mut bystander = Bystander::join(server.address).await;
    let client = Client::connect(server.address).await;
    let mut stream = client.begin("large").await;
    // Another stream on the very connection that carries it.
    let mut neighbour = client.begin("neighbour").await;
    let memories = Memories::bundled();

    let huge = Episode { what: "x".repeat(100 << 20), ..memories.episode(1, "huge") };
    stream.observe(1, huge).await;
    assert_eq!(stream.ended().await.code(), Code::ResourceExhausted);
    neighbour.observe(1, memories.episode(1, "one")).await;
    assert_eq!(neighbour.accepted(1).await, "one");
    bystander.is_served(server.address).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_port_is_answered_or_closed() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let mut bystander = Bystander::join(server.address).await;
    let mut noise = vec![0; 4096];
    let mut state = 0x2545_F491_u32;
    for byte in &mut noise {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    }
    let preface: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let garbage: Vec<Vec<u8>> = vec![
        noise.clone(),
        vec![0; 100_000],
        b"PRI * HTTP/9.9\r\n\r\n".to_vec(),
        [preface, &noise].concat(),
        b"GET / HTTP/1.1\r\nno colon in this line\r\n\r\n".to_vec(),
        [b"GET /".to_vec(), vec![b'x'; 200_000], b" HTTP/1.1\r\n\r\n".to_vec()].concat(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello".to_vec(),
    ];
    for bytes in garbage {
        let answer = raw(server.address, &bytes).expect("the server closes the connection");
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "garbage was served: {:?}", &bytes[..16]);
        bystander.is_served(server.address).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_vanishes_mid_frame_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let mut bystander = Bystander::join(server.address).await;
    let whole = half_an_observation();
    // Cut in the preface, in a frame's head, in the headers, in the gRPC prefix, in the message.
    for cut in [10, 24 + 4, 24 + 9 + 9 + 20, whole.len() - 1_000, whole.len()] {
        let mut stream = TcpStream::connect(server.address).expect("the server listens");
        stream.write_all(&whole[..cut]).expect("the server reads");
        drop(stream);
        bystander.is_served(server.address).await;
    }
    // And in the middle of a WebSocket's handshake and of a request's head.
    for part in ["GET /v1/stream HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebS", "GET /hea"] {
        let mut stream = TcpStream::connect(server.address).expect("the server listens");
        stream.write_all(part.as_bytes()).expect("the server reads");
        drop(stream);
        bystander.is_served(server.address).await;
    }
}

/// The bytes of an ObserveStream call whose DATA frame announces 3,000 bytes and carries 2,000.
fn half_an_observation() -> Vec<u8> {
    let frame = |length: u32, kind: u8, flags: u8, stream: u32| {
        let mut head = length.to_be_bytes()[1..].to_vec();
        head.extend([kind, flags]);
        head.extend(stream.to_be_bytes());
        head
    };
    // HPACK, each header a literal without indexing.
    let mut headers = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/engram.v1.EngramService/ObserveStream"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        headers.extend([0, name.len() as u8]);
        headers.extend(name.as_bytes());
        headers.push(value.len() as u8);
        headers.extend(value.as_bytes());
    }
    let (settings, end_headers) = (4, 4);
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(0, settings, 0, 0));
    bytes.extend(frame(headers.len() as u32, 1, end_headers, 1));
    bytes.extend(&headers);
    bytes.extend(frame(3_000, 0, 0, 1));
    // An uncompressed gRPC message of 2,995 bytes.
    bytes.extend([0, 0, 0, 0x0B, 0xB3]);
    bytes.resize(bytes.len() + 1_995, 0);
    bytes
}
