//! A client that asks for it hears when the queue fills and when it has drained, each change once, and what is refused
//! meanwhile succeeds when it is sent again. One that does not ask loses its stream, with a time to come back.
//!
//! The disk is synced once a second here, so that what is sent at once waits, unless a sync comes in between: then more is
//! sent.

use std::time::Duration;

use engram_proto::engram::v1::observation_ack::Status as AckStatus;
use engram_proto::engram::v1::observation_request::Operation;
use engram_proto::engram::v1::observation_response::Result as Answer;
use engram_proto::engram::v1::stream_status::State;
use engram_proto::engram::v1::{ObservationBatch, ObservationRequest, StreamInit};
use engram_proto::google::rpc::{RetryInfo, Status as RichStatus};
use prost::Message;
use tonic::Code;

use crate::harness::{Client, Memories, Observing, Server};

const CAPACITY: u64 = 200;
/// A sync comes in between once in many times; so often in a row means that nothing is told.
const BATCHES_MAX: u64 = 50;
const ARGUMENTS: [&str; 4] = ["--capacity", "200", "--durability", "interval:1000"];

/// As many observations as the queue has places, from `first` on, in one message.
fn batch(stream: &Observing, memories: &Memories, first: u64) -> ObservationRequest {
    let episode = |number: u64| memories.episode(number as usize, &format!("m{number}"));
    ObservationRequest {
        session_id: stream.session.clone(),
        sequence_number: first,
        operation: Some(Operation::Batch(ObservationBatch {
            observations: (first..first + CAPACITY).map(episode).collect(),
        })),
        ..ObservationRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_hears_when_the_queue_fills_and_when_it_has_drained() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start_with(folder.path(), &ARGUMENTS);
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    let mut stream = client.begin("loaded").await;
    let mut told = State::Active;
    let (mut acked, mut refused, mut changes, mut unanswered, mut batches) = (0, 0, 0, 0, 0);
    while changes == 0 || refused == 0 || told != State::Active || unanswered > 0 {
        if unanswered == 0 && told == State::Active {
            assert!(stream.send(batch(&stream, &memories, acked + 1)).await);
            unanswered = CAPACITY;
            batches += 1;
            assert!(batches <= BATCHES_MAX, "{changes} changes were told, {refused} were refused");
        }
        let answer = stream.answer().await;
        match answer.result {
            Some(Answer::Ack(ack)) => {
                unanswered -= 1;
                match ack.status() {
                    AckStatus::Accepted => acked += 1,
                    AckStatus::Rejected => refused += 1,
                    other => panic!("{other:?}"),
                }
                if ack.status() == AckStatus::Accepted {
                    assert_eq!(answer.sequence_number, acked);
                }
            }
            // It says why the ack that follows is a refusal.
            Some(Answer::Status(status)) if answer.sequence_number > 0 => match status.state() {
                State::Overloaded => assert!(status.retry_after_ms > 0, "{status:?}"),
                _ => assert!(status.message.starts_with("Sequence validation"), "{status:?}"),
            },
            Some(Answer::Status(status)) => {
                let state = status.state();
                assert_ne!(state, told, "told twice");
                assert_eq!(u64::from(status.queue_capacity), CAPACITY);
                let full = f64::from(status.queue_depth) / CAPACITY as f64;
                assert!((f64::from(status.pressure) - full).abs() < 1e-3, "{status:?}");
                match state {
                    State::Active => assert!(full < 0.7, "{status:?}"),
                    State::Backpressure => {
                        let rises = told == State::Active;
                        assert!(full >= if rises { 0.8 } else { 0.7 }, "{status:?}");
                        assert!(status.preferred_rate > 0.0, "{status:?}");
                    }
                    State::Overloaded => assert!(full >= 0.8, "{status:?}"),
                    other => panic!("{other:?} is no load"),
                }
                told = state;
                changes += 1;
            }
            other => panic!("unasked: {other:?}"),
        }
    }
    // What was refused is taken when it is sent again.
    let again = memories.episode(acked as usize + 1, "again");
    stream.observe(acked + 1, again).await;
    assert_eq!(stream.accepted(acked + 1).await, "again");
    let recalled = client.nearest("loaded", &memories, 1, 1).await;
    assert_eq!(recalled.snapshot_sequence, acked + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_knows_no_statuses_is_told_by_the_end_of_its_stream() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start_with(folder.path(), &ARGUMENTS);
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    let init = ObservationRequest {
        operation: Some(Operation::Init(StreamInit::default())),
        ..Observing::init("loaded", "")
    };
    let mut stream = client.open(init).await;
    stream.await_init().await;
    let mut acked = 0;
    let ended = loop {
        if acked % CAPACITY == 0 {
            assert!(acked < BATCHES_MAX * CAPACITY, "the stream lives on under any load");
            assert!(stream.send(batch(&stream, &memories, acked + 1)).await);
        }
        match stream.next().await {
            Ok(answer) => {
                let answer = answer.expect("the stream is not closed").result;
                assert!(matches!(answer, Some(Answer::Ack(_))), "{answer:?}");
                acked += 1;
            }
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::ResourceExhausted);
    assert!(ended.message().starts_with("Queue error: Queue over capacity: "), "{ended:?}");
    let rich = RichStatus::decode(ended.details()).expect("a rich status stands beside it");
    assert_eq!((rich.code, rich.message.as_str()), (8, ended.message()));
    assert_eq!(rich.details[0].type_url, "type.googleapis.com/google.rpc.RetryInfo");
    let retry = RetryInfo::decode(&rich.details[0].value[..]).expect("it says when to come back");
    let after = Duration::try_from(retry.retry_delay.expect("a delay")).expect("a positive one");
    assert!(after > Duration::ZERO);
    let (resumed, durable) = client.resume(&stream.session).await;
    assert!(durable >= acked, "{durable} are durable and {acked} were acked");
    resumed.close(durable).await;
}
