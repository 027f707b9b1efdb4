//! A session waits for a silent client for a while, not for ever: then its stream ends, with a word that it can be
//! resumed, and it can. Who listens to events, or waits for an ack, is not silent.
//!
//! Only in a build with the feature `chaos`, where the while may be shorter than is promised:
//! `cargo test --release --features chaos --test system silence`.

use engram_proto::engram::v1::observation_request::Operation;
use engram_proto::engram::v1::observation_response::Result as Answer;
use engram_proto::engram::v1::{ObservationRequest, StreamSubscription};
use serde_json::json;
use tokio::task::block_in_place;
use tonic::Code;

use crate::harness::{Client, Memories, Observing, Server, Socket};

const ARGUMENTS: [&str; 3] = ["--chaos", "--chaos-session-silence", "300ms"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_clients_stream_ends_and_its_session_is_resumed() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start_with(folder.path(), &ARGUMENTS);
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    let mut stream = client.begin("quiet").await;
    stream.observe(1, memories.episode(1, "one")).await;
    stream.accepted(1).await;
    let ended = stream.ended().await;
    assert_eq!(ended.code(), Code::Unavailable);
    assert_eq!(ended.message(), "Session silent for 300ms; resume to go on");
    let (mut stream, durable) = client.resume(&stream.session).await;
    assert_eq!(durable, 1);
    stream.observe(2, memories.episode(2, "two")).await;
    stream.accepted(2).await;

    // A WebSocket lives on, and says `init` again.
    let mut socket = block_in_place(|| Socket::connect(server.address));
    for _ in 0..2 {
        block_in_place(|| socket.say_json(&json!({"type": "init", "memory_space_id": "quiet"})));
        assert_eq!(block_in_place(|| socket.hear_json())["type"], "init_ack");
        let told = block_in_place(|| socket.hear_json());
        assert_eq!((&told["type"], &told["code"]), (&json!("error"), &json!("unavailable")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_listens_to_events_is_not_silent() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start_with(folder.path(), &ARGUMENTS);
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    let mut listener = client.open_memory(Observing::init("heard", "")).await;
    listener.await_init().await;
    let subscribe = Operation::Subscribe(StreamSubscription::default());
    let request =
        ObservationRequest { operation: Some(subscribe), ..ObservationRequest::default() };
    assert!(listener.send(request).await);
    assert_eq!(listener.status().await.1.message, "subscribed");
    // Each of these streams ends of silence, one after the other: the listener bears it longer than either.
    for number in 1..=2 {
        let mut stream = client.begin("heard").await;
        let id = format!("m{number}");
        stream.observe(1, memories.episode(number, &id)).await;
        stream.accepted(1).await;
        assert_eq!(stream.ended().await.code(), Code::Unavailable);
        let Some(Answer::Event(event)) = listener.answer().await.result else { panic!("no event") };
        assert_eq!(event.metadata["memory_id"], id);
    }
}
