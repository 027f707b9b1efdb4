//! Observations and recalls share one stream: each recall sees all that was sent before it, its pages come between the
//! acks, and a client says how fast it wants them.

use std::collections::BTreeMap;

use engram_proto::engram::v1::cue::CueType;
use engram_proto::engram::v1::flow_control::Action;
use engram_proto::engram::v1::observation_request::Operation;
use engram_proto::engram::v1::observation_response::Result as Answer;
use engram_proto::engram::v1::stream_status::State;
use engram_proto::engram::v1::{
    Cue, EmbeddingCue, FlowControl, ObservationRequest, SemanticCue, StreamingRecallRequest,
    observation_ack::Status as AckStatus,
};
use tonic::Code;

use crate::harness::{Client, Memories, Observing, Server, first_of};

fn recall(request_id: &str, cue: Cue, results: u32) -> StreamingRecallRequest {
    StreamingRecallRequest {
        cue: Some(cue),
        max_results: results,
        request_id: request_id.to_owned(),
        ..StreamingRecallRequest::default()
    }
}

async fn ask(stream: &Observing, recall: StreamingRecallRequest) {
    let request = ObservationRequest {
        session_id: stream.session.clone(),
        operation: Some(Operation::Recall(recall)),
        ..ObservationRequest::default()
    };
    assert!(stream.send(request).await, "the stream ended before a recall");
}

async fn flow(stream: &Observing, flow: FlowControl) {
    let request = ObservationRequest {
        session_id: stream.session.clone(),
        operation: Some(Operation::Flow(flow)),
        ..ObservationRequest::default()
    };
    assert!(stream.send(request).await, "the stream ended before flow control");
}

fn action(action: Action) -> FlowControl {
    FlowControl { action: action.into(), ..FlowControl::default() }
}

fn room(results: i32) -> FlowControl {
    FlowControl { buffer_remaining: results, ..action(Action::BufferStatus) }
}

/// Takes a page or the closing message: the ids of its results, and whether it is the closing one.
async fn page(stream: &mut Observing, request_id: &str) -> (Vec<String>, bool) {
    let answer = stream.answer().await;
    let Some(Answer::RecallResult(page)) = answer.result else {
        panic!("no results but {answer:?}")
    };
    assert_eq!(page.request_id, request_id);
    let ids = page.results.into_iter().map(|memory| memory.id).collect();
    (ids, page.metadata.is_some())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recall_sees_what_was_sent_before_it_on_its_stream() {
    const OBSERVATIONS: u64 = 300;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    let mut stream = client.open_memory(Observing::init("interleaved", "")).await;
    stream.await_init().await;
    let sender = stream.sender();
    let sending = tokio::spawn(async move {
        let memories = Memories::bundled();
        for number in 1..=OBSERVATIONS {
            sender.observe(number, memories.episode(number as usize, &format!("m{number}"))).await;
            if number % 10 == 0 {
                let asked = recall(&format!("r{number}"), memories.cue(number as usize), 3);
                ask(&sender, StreamingRecallRequest { page_size: 2, ..asked }).await;
            }
        }
    });
    let mut acked = 0;
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut closed = 0;
    while acked < OBSERVATIONS || closed < OBSERVATIONS / 10 {
        let answer = stream.answer().await;
        match answer.result {
            Some(Answer::Ack(ack)) => {
                assert_eq!(ack.status(), AckStatus::Accepted);
                assert_eq!(answer.sequence_number, acked + 1);
                acked += 1;
            }
            Some(Answer::RecallResult(page)) => {
                let ids = found.entry(page.request_id).or_default();
                ids.extend(page.results.into_iter().map(|memory| memory.id));
                closed += u64::from(page.metadata.is_some());
            }
            other => panic!("neither an ack nor results: {other:?}"),
        }
    }
    sending.await.expect("all was sent");
    for number in (10..=OBSERVATIONS).step_by(10) {
        let ids = &found[&format!("r{number}")];
        assert_eq!((ids.len(), &ids[0]), (3, &format!("m{number}")), "{ids:?}");
    }
    // The session is one like any other: it goes on over ObserveStream.
    let session = stream.half_close();
    assert_eq!(stream.next().await.expect("a drained stream ends well"), None);
    let (mut stream, durable) = client.resume(&session).await;
    assert_eq!(durable, OBSERVATIONS);
    stream.observe(durable + 1, memories.episode(0, "last")).await;
    assert_eq!(stream.accepted(durable + 1).await, "last");
    stream.close(durable + 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recall_that_fails_is_named_and_its_stream_lives_on() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    let mut stream = client.open_memory(Observing::init("failing", "")).await;
    stream.await_init().await;
    let short = EmbeddingCue { vector: vec![1.0; 767], similarity_threshold: 0.0 };
    let short = Cue { cue_type: Some(CueType::Embedding(short)), ..Cue::default() };
    let words = Cue { cue_type: Some(CueType::Semantic(SemanticCue::default())), ..Cue::default() };
    let elsewhere = StreamingRecallRequest {
        memory_space_id: "another".to_owned(),
        ..recall("elsewhere", memories.cue(1), 1)
    };
    let cases = [
        (recall("short", short, 1), "Embedding must be exactly 768 dimensions (field: embedding)"),
        (
            recall("words", words, 1),
            "semantic cues are not served by engram; send an embedding cue or a context cue",
        ),
        (recall("nothing", Cue::default(), 1), "the recall has no cue"),
        (elsewhere, "Invalid memory_space_id: the session is of failing (field: memory_space_id)"),
    ];
    for (asked, message) in cases {
        let request_id = asked.request_id.clone();
        ask(&stream, asked).await;
        let (_, status) = stream.status().await;
        assert_eq!((status.state(), status.message.as_str()), (State::Error, message));
        assert_eq!(status.request_id, request_id);
    }
    ask(&stream, recall("empty", memories.cue(1), 1)).await;
    assert_eq!(page(&mut stream, "empty").await, (Vec::new(), true));
    stream.close(0).await;

    let early = ObservationRequest {
        operation: Some(Operation::Recall(recall("early", memories.cue(1), 1))),
        ..ObservationRequest::default()
    };
    let status = client.open_memory(early).await.ended().await;
    assert_eq!(
        (status.code(), status.message()),
        (Code::FailedPrecondition, "Must send 'init' before recall")
    );
    let mut observing = client.begin("failing").await;
    ask(&observing, recall("misplaced", memories.cue(1), 1)).await;
    let (_, status) = observing.status().await;
    assert_eq!(status.message, "Not served: recall on ObserveStream; use MemoryStream");
    observing.close(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_withholds_results_and_refuses_observations_until_resumed() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    let mut stream = client.open_memory(Observing::init("paused", "")).await;
    stream.await_init().await;
    stream.observe(1, memories.episode(1, "one")).await;
    flow(&stream, action(Action::Pause)).await;
    // The ack of what came before the pause may come on either side of its answer.
    for _ in 0..2 {
        match stream.answer().await.result {
            Some(Answer::Ack(ack)) => assert_eq!(ack.status(), AckStatus::Accepted),
            Some(Answer::Status(status)) => assert_eq!(status.state(), State::Paused),
            other => panic!("neither an ack nor a status: {other:?}"),
        }
    }

    ask(&stream, recall("withheld", memories.cue(1), 1)).await;
    stream.observe(2, memories.episode(2, "two")).await;
    let status = stream.refused(2).await;
    assert_eq!((status.state(), status.message.as_str()), (State::Paused, "Session paused"));
    // Its shard answers recalls in turn: with this one, what the stream withholds is answered too.
    let other = client.nearest("paused", &memories, 1, 1).await;
    assert_eq!(first_of(&other).id, "one");
    flow(&stream, room(100)).await;
    assert_eq!(stream.status().await.1.state(), State::Paused, "a pause lasts until it ends");

    flow(&stream, action(Action::Resume)).await;
    assert_eq!(stream.status().await.1.state(), State::Active);
    assert_eq!(page(&mut stream, "withheld").await, (vec!["one".to_owned()], false));
    assert_eq!(page(&mut stream, "withheld").await, (Vec::new(), true));
    stream.observe(2, memories.episode(2, "two")).await;
    assert_eq!(stream.accepted(2).await, "two");
    flow(&stream, action(Action::Unspecified)).await;
    let (_, status) = stream.status().await;
    assert_eq!(status.message, "Unknown flow control action: 0");
    stream.close(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_come_as_far_as_there_is_room_and_at_the_pace_that_is_asked_for() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    client.store("roomy", &memories, 20).await;
    let mut stream = client.open_memory(Observing::init("roomy", "")).await;
    stream.await_init().await;
    flow(&stream, room(3)).await;
    assert_eq!(stream.status().await.1.state(), State::Active);
    ask(&stream, recall("roomy", memories.cue(1), 10)).await;
    assert_eq!(page(&mut stream, "roomy").await.0.len(), 3);
    flow(&stream, room(1)).await;
    assert_eq!(stream.status().await.1.state(), State::Active);
    assert_eq!(page(&mut stream, "roomy").await.0.len(), 1);
    // Eight recalls wait for room at most; a further one is refused lest it keep the client's word about that away.
    for number in 0..8 {
        ask(&stream, recall(&format!("waits {number}"), memories.cue(1), 1)).await;
    }
    let (_, status) = stream.status().await;
    assert_eq!(status.request_id, "waits 7");
    assert_eq!(status.state(), State::Overloaded);
    flow(&stream, room(1_000)).await;
    assert_eq!(stream.status().await.1.state(), State::Active);
    let mut results = 0;
    for _ in 0..7 * 2 + 2 {
        let answer = stream.answer().await;
        let Some(Answer::RecallResult(page)) = answer.result else {
            panic!("no results but {answer:?}")
        };
        results += page.results.len();
    }
    assert_eq!(results, 6 + 7);

    let paced = FlowControl { preferred_rate: 50.0, ..action(Action::SlowDown) };
    flow(&stream, paced).await;
    assert_eq!(stream.status().await.1.state(), State::Active);
    ask(&stream, recall("paced", memories.cue(1), 10)).await;
    let (mut results, mut pages) = (0, 0);
    loop {
        let (ids, is_closing) = page(&mut stream, "paced").await;
        results += ids.len();
        pages += 1;
        if is_closing {
            break;
        }
    }
    assert_eq!(results, 10);
    assert!(pages > 2, "at a pace, ten results do not come in one page");
    stream.close(0).await;
}
