//! Our own fields, for clients that know them: batches, half floats, cumulative acks, second acks, pages, vectors in results.

use engram_proto::engram::v1::observation_ack::Status as AckStatus;
use engram_proto::engram::v1::observation_request::Operation;
use engram_proto::engram::v1::observation_response::Result as Answer;
use engram_proto::engram::v1::stream_status::State;
use engram_proto::engram::v1::{
    AckMode, Episode, FlowControl, ObservationBatch, ObservationRequest, RecallRequest,
    RecallResponse, StreamClose, StreamInit, StreamSubscription, StreamingRecallRequest,
    flow_control::Action,
};
use half::f16;

use crate::harness::{Client, Memories, Observing, Server, first_of};

const BATCH: u64 = 200;

fn half_floats(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect()
}

fn single_floats(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// Memory `number`, its vector as bytes: half floats where the number is even.
fn episode(memories: &Memories, number: usize) -> Episode {
    let mut episode = memories.episode(number, &format!("m{number}"));
    let vector = std::mem::take(&mut episode.embedding);
    if number.is_multiple_of(2) {
        episode.embedding_f16 = half_floats(&vector).into();
    } else {
        episode.embedding_f32 = single_floats(&vector).into();
    }
    episode
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_counts_each_of_its_observations_and_may_be_acked_at_once() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    let init = StreamInit {
        enable_backpressure: true,
        ack_mode: AckMode::Cumulative.into(),
        ..StreamInit::default()
    };
    let init = ObservationRequest {
        operation: Some(Operation::Init(init)),
        ..Observing::init("batches", "")
    };
    let mut stream = client.open(init).await;
    stream.await_init().await;
    for batch in 0..3 {
        let first = 1 + batch * BATCH;
        let observations =
            (first..first + BATCH).map(|number| episode(&memories, number as usize)).collect();
        let request = ObservationRequest {
            session_id: stream.session.clone(),
            sequence_number: first,
            operation: Some(Operation::Batch(ObservationBatch { observations })),
            ..ObservationRequest::default()
        };
        assert!(stream.send(request).await);
    }
    let mut acked = 0;
    while acked < 3 * BATCH {
        let next = stream.next_ack().await.expect("the stream ended with an error");
        let (last, ack) = next.expect("the stream ended");
        assert_eq!(ack.status(), AckStatus::Accepted);
        assert_eq!(ack.first_sequence, acked + 1, "an ack that leaves a gap or covers one twice");
        assert!(last >= ack.first_sequence);
        assert_eq!(ack.memory_id, format!("m{last}"), "the id is the last one's");
        acked = last;
    }
    assert_eq!(acked, 3 * BATCH);
    for number in (1..=3 * BATCH as usize).step_by(7) {
        let recalled = client.nearest("batches", &memories, number, 1).await;
        assert_eq!(first_of(&recalled).id, format!("m{number}"));
        assert!(first_of(&recalled).activation > 0.999);
    }
    stream.close(3 * BATCH).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_ack_tells_that_an_observation_is_indexed() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    for ack_mode in [AckMode::Each, AckMode::Cumulative] {
        let init = StreamInit {
            enable_backpressure: true,
            ack_mode: ack_mode.into(),
            indexed_acks: true,
            ..StreamInit::default()
        };
        let init = ObservationRequest {
            operation: Some(Operation::Init(init)),
            ..Observing::init(&format!("indexed-{ack_mode:?}").to_lowercase(), "")
        };
        let mut stream = client.open(init).await;
        stream.await_init().await;
        for sequence in 1..=BATCH {
            let number = sequence as usize;
            stream.observe(sequence, memories.episode(number, &format!("m{sequence}"))).await;
        }
        let drain = StreamClose { drain_queue: true, last_sequence: BATCH };
        let close = ObservationRequest {
            session_id: stream.session.clone(),
            operation: Some(Operation::Close(drain)),
            ..ObservationRequest::default()
        };
        assert!(stream.send(close).await);
        let (mut accepted, mut indexed) = (0, 0);
        loop {
            let answer = stream.answer().await;
            let last = answer.sequence_number;
            let ack = match answer.result {
                Some(Answer::Ack(ack)) => ack,
                Some(Answer::Status(status)) if status.state() == State::Closed => break,
                other => panic!("neither an ack nor CLOSED: {other:?}"),
            };
            let first = if ack_mode == AckMode::Each { last } else { ack.first_sequence };
            assert_eq!(ack.memory_id, format!("m{last}"));
            match ack.status() {
                AckStatus::Accepted => {
                    assert_eq!(first, accepted + 1);
                    accepted = last;
                }
                AckStatus::Indexed => {
                    assert_eq!(first, indexed + 1);
                    assert!(last <= accepted, "{last} is indexed before it is accepted");
                    assert_eq!(ack.committed_at, None);
                    indexed = last;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((accepted, indexed), (BATCH, BATCH), "closed before all was told");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_come_in_pages_with_their_vectors_where_asked_for() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    let mut stream = client.begin("pages").await;
    for sequence in 1..=20 {
        stream
            .observe(sequence, memories.episode(sequence as usize, &format!("m{sequence}")))
            .await;
        stream.accepted(sequence).await;
    }
    let request = StreamingRecallRequest {
        memory_space_id: "pages".to_owned(),
        cue: Some(memories.cue(5)),
        max_results: 10,
        page_size: 4,
        include_embeddings: true,
        ..StreamingRecallRequest::default()
    };
    let pages = client.recall_pages(request).await.expect("a recall of a known space succeeds");
    let lengths: Vec<usize> = pages.iter().map(|page| page.results.len()).collect();
    assert_eq!(lengths, [4, 4, 2, 0], "three pages and the closing message");
    let more: Vec<bool> = pages.iter().map(|page| page.more_results).collect();
    assert_eq!(more, [true, true, false, false]);
    assert_eq!(pages[0].results[0].id, "m5");
    for found in pages.iter().flat_map(|page| &page.results) {
        let number: usize = found.id[1..].parse().expect("ids are m and a number");
        assert_eq!(found.embedding, memories.vector(number), "another vector than was sent");
    }
    stream.close(20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_init_says_how_much_one_ack_stands_for_and_how_much_waits_for_the_client() {
    const ACKED_AT_ONCE: u32 = 30;
    const BUFFER: usize = 3;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    let init = StreamInit {
        client_buffer_size: BUFFER as u32,
        max_batch_size: ACKED_AT_ONCE,
        ack_mode: AckMode::Cumulative.into(),
        ..StreamInit::default()
    };
    let init = ObservationRequest {
        operation: Some(Operation::Init(init)),
        ..Observing::init("bounded", "")
    };
    let mut stream = client.open_memory(init).await;
    stream.await_init().await;
    let session = stream.session.clone();
    let request = |operation| ObservationRequest {
        session_id: session.clone(),
        sequence_number: 1,
        operation: Some(operation),
        ..ObservationRequest::default()
    };
    let observations = (1..=BATCH as usize).map(|number| episode(&memories, number)).collect();
    assert!(stream.send(request(Operation::Batch(ObservationBatch { observations }))).await);
    let mut acked = 0;
    while acked < BATCH {
        let next = stream.next_ack().await.expect("the stream ended with an error");
        let (last, ack) = next.expect("the stream ended");
        assert_eq!(ack.first_sequence, acked + 1);
        assert!(last - acked <= u64::from(ACKED_AT_ONCE), "one ack for {} of them", last - acked);
        acked = last;
    }

    let recall = StreamingRecallRequest {
        cue: Some(memories.cue(5)),
        max_results: 10,
        page_size: 4,
        ..StreamingRecallRequest::default()
    };
    assert!(stream.send(request(Operation::Recall(recall))).await);
    let mut lengths = Vec::new();
    loop {
        let Some(Answer::RecallResult(page)) = stream.answer().await.result else {
            panic!("no results")
        };
        if page.metadata.is_some() {
            break;
        }
        lengths.push(page.results.len());
    }
    assert_eq!(lengths, [3, 3, 3, 1]);

    let flow = |action: Action| {
        request(Operation::Flow(FlowControl { action: action.into(), ..FlowControl::default() }))
    };
    let subscription = StreamSubscription {
        event_types: vec![2],
        buffer_size: 9,
        ..StreamSubscription::default()
    };
    assert!(stream.send(request(Operation::Subscribe(subscription))).await);
    assert_eq!(stream.status().await.1.message, "subscribed");
    assert!(stream.send(flow(Action::Pause)).await);
    assert_eq!(stream.status().await.1.message, "paused");
    client.store("bounded", &memories, 5).await;
    assert!(stream.send(flow(Action::Resume)).await);
    assert_eq!(stream.status().await.1.message, "active");
    let mut told = Vec::new();
    for _ in 0..=BUFFER {
        let Some(Answer::Event(event)) = stream.answer().await.result else { panic!("no event") };
        told.extend(event.metadata.get("memory_id").or(event.metadata.get("missed")).cloned());
    }
    assert_eq!(told, ["m1", "m2", "m3", "2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recall_tells_how_its_results_were_activated_where_asked() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    client.store("traced", &memories, 5).await;
    for trace_activation in [false, true] {
        let request = RecallRequest {
            memory_space_id: "traced".to_owned(),
            cue: Some(memories.cue(2)),
            trace_activation,
            ..RecallRequest::default()
        };
        let recalled: RecallResponse =
            client.call("Recall", request).await.expect("a recall of a known space succeeds");
        assert_eq!(recalled.memories.len(), 5);
        let traces = recalled.traces.iter().map(|trace| {
            assert_eq!(trace.activation_path, [trace.memory_id.as_str()]);
            (trace.memory_id.as_str(), trace.activation_level, trace.timestamp)
        });
        let memories = recalled
            .memories
            .iter()
            .map(|memory| (memory.id.as_str(), memory.activation, memory.created_at));
        let expected = memories.take(if trace_activation { 5 } else { 0 });
        assert_eq!(traces.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }
}
