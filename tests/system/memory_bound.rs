//! The server says how much memory it takes at most beside its memories, and keeps to it: whoever connects, however many,
//! and whether they read what they are told or not.

use std::fs;

use base64_simd::STANDARD;
use engram_proto::engram::v1::observation_request::Operation;
use engram_proto::engram::v1::observation_response::Result as Answer;
use engram_proto::engram::v1::stream_status::State;
use engram_proto::engram::v1::{
    IntrospectRequest, IntrospectResponse, ObservationRequest, StreamInit, StreamingRecallRequest,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::harness::{Client, Memories, Server, Socket, Visitor, get};

/// What a memory takes at most, with its place in the graph.
const ROW_BYTES: u64 = 2_000;
const MEMORIES: u64 = 1_500;

/// What the server said that it takes at most.
fn bound(server: &Server) -> u64 {
    let metrics = get(server.address, "/metrics").expect("it answers").body;
    let name = "engram_streaming_memory_bound_bytes{";
    let lines = metrics.lines().filter(|line| line.starts_with(name));
    let bytes = lines.map(|line| line.rsplit(' ').next().expect("a value"));
    bytes.map(|bytes| bytes.parse::<f64>().expect("a number") as u64).sum()
}

/// What it takes.
fn resident(server: &Server) -> u64 {
    let path = format!("/proc/{}/status", server.pid());
    let status = fs::read_to_string(path).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells");
    let kibibytes = line.trim().strip_suffix(" kB").expect("in kB");
    kibibytes.parse::<u64>().expect("a number") << 10
}

fn assert_within_bound(server: &Server, rows: u64) {
    let (most, took) = (bound(server) + rows * ROW_BYTES, resident(server));
    assert!(took <= most, "the most that it took is {took} bytes, and {most} are allowed");
}

/// Opens a session over WebSocket; its id.
fn begin(socket: &mut Socket, space: &str) -> String {
    socket.say_json(&json!({"type": "init", "memory_space_id": space}));
    let ack = socket.hear_json();
    assert_eq!(ack["type"], "init_ack", "{ack}");
    ack["session_id"].as_str().expect("an id").to_owned()
}

fn said(operation: Operation) -> ObservationRequest {
    ObservationRequest { operation: Some(operation), ..ObservationRequest::default() }
}

fn observation(session: &str, sequence: u64, memories: &Memories, number: usize) -> Value {
    let bytes: Vec<u8> = memories.vector(number).into_iter().flat_map(f32::to_le_bytes).collect();
    json!({"type": "observation", "session_id": session, "sequence_number": sequence, "episode": {
        "id": format!("m{number}"), "what": memories.text(number),
        "embedding_f32": STANDARD.encode_to_string(bytes),
    }})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bound_is_told_by_all_who_tell_it() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start_on(1, folder.path(), &[]);
    let wanted = "memory_bound_bytes".to_owned();
    let request = IntrospectRequest { metrics: vec![wanted], ..IntrospectRequest::default() };
    let client = Client::connect(server.address).await;
    let told: IntrospectResponse = client.call("Introspect", request).await.expect("served");
    assert_eq!(told.metrics["memory_bound_bytes"], bound(&server) as f32);
    let expected = format!(
        "memory {} MiB at most beside memories (process ",
        bound(&server).div_ceil(1 << 20)
    );
    let line = server.printed("memory ");
    assert!(line.starts_with(&expected), "{line}");
}

#[test]
fn a_thousand_connections_at_once_are_served_within_the_bound() {
    const QUIET: usize = 900;
    const BUSY: usize = 100;
    const EACH: u64 = 20;
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("up to the hard limit all may");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();

    let visit = |_| {
        let mut visitor = Visitor::connect(server.address);
        assert_eq!(visitor.get("/health"), 200);
        visitor
    };
    let mut quiet: Vec<Visitor> = (0..QUIET).map(visit).collect();
    let mut busy: Vec<(Socket, String)> = (0..BUSY)
        .map(|_| {
            let mut socket = Socket::connect(server.address);
            let session = begin(&mut socket, "crowd");
            (socket, session)
        })
        .collect();
    for sequence in 1..=EACH {
        for (at, (socket, session)) in busy.iter_mut().enumerate() {
            let number = at * EACH as usize + sequence as usize;
            socket.say_json(&observation(session, sequence, &memories, number));
        }
    }
    for (socket, session) in &mut busy {
        for sequence in 1..=EACH {
            let ack = socket.hear_json();
            assert_eq!(
                (&ack["type"], &ack["status"]),
                (&json!("ack"), &json!("accepted")),
                "{ack}"
            );
            assert_eq!(
                (&ack["sequence_number"], &ack["session_id"]),
                (&json!(sequence), &json!(session))
            );
        }
    }
    assert!(quiet.iter_mut().all(|visitor| visitor.get("/health") == 200));
    assert_within_bound(&server, BUSY as u64 * EACH);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_ask_for_much_and_read_nothing_take_no_more_than_was_said() {
    /// Together they ask for some gigabytes.
    const GREEDY: usize = 60;
    const RECALLS: usize = 8;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let little = ["--request-memory-bytes", "67108864", "--connections-max", "100"];
    let server = Server::start_on(1, folder.path(), &little);
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    client.store("greed", &memories, MEMORIES).await;

    let mut stream = client.begin("greed").await;
    let open = |_| {
        let mut socket = Socket::connect(server.address);
        let init = Operation::Init(StreamInit::default());
        socket.say(&ObservationRequest { memory_space_id: "greed".to_owned(), ..said(init) });
        let answer = socket.hear_response().result;
        assert!(matches!(answer, Some(Answer::InitAck(_))), "{answer:?}");
        socket
    };
    let mut greedy: Vec<Socket> = (0..GREEDY).map(open).collect();
    let recall = StreamingRecallRequest {
        cue: Some(memories.cue(1)),
        max_results: 1_000,
        page_size: 1_000,
        include_embeddings: true,
        ..StreamingRecallRequest::default()
    };
    for socket in &mut greedy {
        for _ in 0..RECALLS {
            socket.say(&said(Operation::Recall(recall.clone())));
        }
    }
    // Beside them others are served.
    for sequence in 1..=100 {
        stream.observe(sequence, memories.episode(sequence as usize, "beside")).await;
        stream.accepted(sequence).await;
    }
    let mut refused = 0;
    for mut socket in greedy {
        // Each is answered, with results or with a time to come back.
        let mut open = RECALLS;
        while open > 0 {
            match socket.hear_response().result {
                Some(Answer::RecallResult(page)) => open -= usize::from(page.metadata.is_some()),
                Some(Answer::Status(status)) => {
                    assert_eq!(status.state(), State::Overloaded, "{status:?}");
                    assert!(status.retry_after_ms > 0, "{status:?}");
                    open -= 1;
                    refused += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_within_bound(&server, MEMORIES);
    assert!(refused > 0, "there was memory for all: the test asks for too little");
    let recalled = client.nearest("greed", &memories, 7, 5).await;
    assert_eq!(recalled.memories[0].id, "m7");
}
