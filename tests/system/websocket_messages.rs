//! A WebSocket takes the protocol's own messages in binary frames, and answers each client in the form in which it
//! speaks; sessions are the same in either form and over either transport.

use engram_proto::engram::v1::observation_ack::Status as AckStatus;
use engram_proto::engram::v1::observation_request::Operation;
use engram_proto::engram::v1::observation_response::Result as Answer;
use engram_proto::engram::v1::stream_status::State;
use engram_proto::engram::v1::{
    AckMode, Episode, FlowControl, ObservationBatch, ObservationRequest, ObservationResponse,
    StreamClose, StreamInit, StreamStatus, StreamingRecallRequest, flow_control::Action,
};
use half::f16;
use serde_json::json;

use crate::harness::{Client, Heard, Memories, Observing, Server, Socket};

fn request(session: &str, sequence_number: u64, operation: Operation) -> ObservationRequest {
    ObservationRequest {
        session_id: session.to_owned(),
        sequence_number,
        operation: Some(operation),
        ..ObservationRequest::default()
    }
}

fn half_floats(memories: &Memories, number: usize) -> Episode {
    let mut episode = memories.episode(number, &format!("m{number}"));
    let vector = std::mem::take(&mut episode.embedding);
    let bytes = vector.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes());
    episode.embedding_f16 = bytes.collect::<Vec<u8>>().into();
    episode
}

fn status(response: ObservationResponse) -> StreamStatus {
    match response.result {
        Some(Answer::Status(status)) => status,
        other => panic!("no status but {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn binary_frames_carry_a_whole_session_that_goes_on_over_grpc() {
    const OBSERVATIONS: u64 = 200;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let mut socket = Socket::connect(server.address);
    let init = StreamInit {
        ack_mode: AckMode::Cumulative.into(),
        indexed_acks: true,
        ..StreamInit::default()
    };
    let init = Operation::Init(init);
    socket
        .say(&ObservationRequest { memory_space_id: "frames".to_owned(), ..request("", 0, init) });
    let response = socket.hear_response();
    assert!(response.server_timestamp.is_some());
    let Some(Answer::InitAck(ack)) = response.result else { panic!("no init_ack") };
    assert_eq!((ack.initial_sequence, response.session_id), (0, ack.session_id.clone()));
    let session = ack.session_id;

    let observations = (1..=OBSERVATIONS as usize).map(|number| half_floats(&memories, number));
    let batch = ObservationBatch { observations: observations.collect() };
    socket.say(&request(&session, 1, Operation::Batch(batch)));
    let (mut accepted, mut indexed) = (0, 0);
    while (accepted, indexed) != (OBSERVATIONS, OBSERVATIONS) {
        let response = socket.hear_response();
        let Some(Answer::Ack(ack)) = response.result else { panic!("no ack") };
        let told = match ack.status() {
            AckStatus::Accepted => &mut accepted,
            AckStatus::Indexed => &mut indexed,
            other => panic!("{other:?}"),
        };
        assert_eq!(ack.first_sequence, *told + 1);
        *told = response.sequence_number;
    }
    let recall = StreamingRecallRequest {
        cue: Some(memories.cue(7)),
        max_results: 5,
        page_size: 3,
        include_embeddings: true,
        request_id: "seven".to_owned(),
        ..StreamingRecallRequest::default()
    };
    socket.say(&request(&session, 0, Operation::Recall(recall)));
    let mut found = Vec::new();
    let closing = loop {
        let response = socket.hear_response();
        let Some(Answer::RecallResult(page)) = response.result else { panic!("no results") };
        assert_eq!(page.request_id, "seven");
        found.extend(page.results);
        if page.metadata.is_some() {
            break page.snapshot_sequence;
        }
    };
    assert_eq!((found.len(), found[0].id.as_str(), closing), (5, "m7", OBSERVATIONS));
    assert_eq!(found[0].embedding.len(), 768);
    let close = StreamClose { drain_queue: false, last_sequence: OBSERVATIONS };
    socket.say(&request(&session, 0, Operation::Close(close)));
    let response = socket.hear_response();
    assert_eq!(response.sequence_number, OBSERVATIONS);
    assert_eq!(status(response).state(), State::Closed);
    assert!(matches!(socket.hear(), Heard::Closed(1000)));

    let client = Client::connect(server.address).await;
    let (mut stream, durable) = client.resume(&session).await;
    assert_eq!(durable, OBSERVATIONS);
    stream.observe(durable + 1, memories.episode(0, "over gRPC")).await;
    stream.accepted(durable + 1).await;
    // And back, which takes it over.
    let mut socket = Socket::connect(server.address);
    socket.say(&Observing::init("", &session));
    let response = socket.hear_response();
    let Some(Answer::InitAck(ack)) = response.result else { panic!("no init_ack") };
    assert_eq!(ack.initial_sequence, OBSERVATIONS + 1);
    assert_eq!(stream.status().await.1.state(), State::Closed);
}

#[test]
fn what_is_wrong_in_a_binary_frame_is_told_in_one_and_the_connection_lives() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let mut socket = Socket::connect(server.address);
    let mut told = |bytes: Vec<u8>| {
        socket.say_bytes(bytes);
        let status = status(socket.hear_response());
        assert_eq!(status.state(), State::Error);
        status.message
    };
    use prost::Message as _;
    assert!(told(b"\xff\xff".to_vec()).starts_with("not a message: "));
    assert_eq!(told(Vec::new()), "the message has no operation");
    let early = request("", 1, Operation::Observation(memories.episode(1, "early")));
    assert_eq!(told(early.encode_to_vec()), "Must send 'init' before observations");
    let flow = FlowControl { action: Action::Pause.into(), ..FlowControl::default() };
    let early = request("", 0, Operation::Flow(flow.clone()));
    assert_eq!(told(early.encode_to_vec()), "Must send 'init' before flow control");
    let nowhere = request("", 0, Operation::Init(StreamInit::default()));
    assert!(told(nowhere.encode_to_vec()).starts_with("Invalid memory_space_id: "));

    socket.say(&Observing::init("wrong", ""));
    let session = socket.hear_response().session_id;
    let short = Episode { embedding: vec![1.0; 5], ..Episode::default() };
    socket.say(&request(&session, 1, Operation::Observation(short)));
    let response = socket.hear_response();
    assert_eq!(response.sequence_number, 1);
    assert_eq!(
        status(response).message,
        "Embedding must be exactly 768 dimensions (field: embedding)"
    );
    let Some(Answer::Ack(ack)) = socket.hear_response().result else { panic!("no ack") };
    assert_eq!(ack.status(), AckStatus::Rejected);
    socket.say(&request(&session, 4, Operation::Flow(flow)));
    let response = socket.hear_response();
    assert_eq!(response.sequence_number, 4);
    assert_eq!(status(response).state(), State::Paused);

    // Another one that speaks JSON is answered in JSON, on the same session: it takes it over.
    let mut other = Socket::connect(server.address);
    other.say_json(&json!({"type": "init", "memory_space_id": "wrong", "session_id": session}));
    assert_eq!(other.hear_json()["type"], "init_ack");
    assert_eq!(status(socket.hear_response()).state(), State::Closed);
    assert!(matches!(socket.hear(), Heard::Closed(4000)));
}
