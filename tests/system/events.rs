//! What happens in a space is told to whoever asks for it: each event once, those that matter enough, on every stream that
//! takes a subscription. Who does not listen fast enough hears how much was missed, and holds up nobody.

use std::collections::BTreeMap;

use engram_proto::engram::v1::flow_control::Action;
use engram_proto::engram::v1::memory_flow_request::Request;
use engram_proto::engram::v1::memory_flow_response::Response;
use engram_proto::engram::v1::remember_request::MemoryType as Remembered;
use engram_proto::engram::v1::{
    Episode, FlowControl, MemoryFlowRequest, MemoryFlowResponse, RememberRequest, RememberResponse,
    StreamEventType, StreamRequest, StreamResponse, StreamSubscription,
};
use tokio::sync::mpsc;
use tokio::task::block_in_place;
use tonic::{Code, Streaming};

use crate::harness::{Client, Memories, Server, owed};

const SERVICE: &str = "/engram.v1.EngramService/";
const SPACE: &str = "listened-to";

/// A MemoryFlow in [`SPACE`].
struct Flow {
    send: mpsc::Sender<MemoryFlowRequest>,
    answers: Streaming<MemoryFlowResponse>,
}

impl Flow {
    async fn begin(client: &Client) -> Flow {
        let (send, answers) = client.talk("MemoryFlow").await;
        Flow { send, answers }
    }

    async fn say(&self, sequence_number: i64, request: Request) {
        let request = MemoryFlowRequest {
            memory_space_id: SPACE.to_owned(),
            request: Some(request),
            sequence_number,
            ..MemoryFlowRequest::default()
        };
        owed("room to send", self.send.send(request)).await.expect("the stream lives");
    }

    async fn subscribe(&self, sequence_number: i64, subscription: StreamSubscription) {
        self.say(sequence_number, Request::Subscribe(subscription)).await;
    }

    async fn told(&mut self) -> (i64, Response) {
        let answer = owed("answer on MemoryFlow", self.answers.message()).await;
        let answer = answer.expect("no error").expect("the stream goes on");
        (answer.sequence_number, answer.response.expect("an answer says something"))
    }

    /// Takes a status about a message; its text.
    async fn status(&mut self, sequence_number: i64) -> String {
        match self.told().await {
            (number, Response::Status(status)) if number == sequence_number => status.message,
            other => panic!("no status about {sequence_number} but {other:?}"),
        }
    }

    /// Takes an event that the message of this number asked for.
    async fn event(&mut self, sequence_number: i64) -> StreamResponse {
        match self.told().await {
            (number, Response::Event(event)) if number == sequence_number => event,
            other => panic!("no event but {other:?}"),
        }
    }
}

fn types(types: &[StreamEventType]) -> Vec<i32> {
    types.iter().map(|&one| one.into()).collect()
}

async fn remember(client: &Client, memories: &Memories, number: usize, importance: f32) {
    let episode = Episode { importance, ..memories.episode(number, &format!("m{number}")) };
    let request = RememberRequest {
        memory_space_id: SPACE.to_owned(),
        memory_type: Some(Remembered::Episode(episode)),
        ..RememberRequest::default()
    };
    let stored: RememberResponse = client.call("Remember", request).await.expect("it is stored");
    assert_eq!(stored.memory_id, format!("m{number}"));
}

fn metadata(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_told_by_type_and_importance_under_the_number_that_asked_for_them() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    remember(&client, &memories, 0, 1.0).await;

    let mut important = Flow::begin(&client).await;
    let event_types = types(&[StreamEventType::Storage, StreamEventType::Decay]);
    let subscription =
        StreamSubscription { event_types, min_importance: 0.5, ..StreamSubscription::default() };
    important.subscribe(4, subscription).await;
    assert_eq!(important.status(4).await, "subscribed");
    let mut all = Flow::begin(&client).await;
    all.subscribe(-1, StreamSubscription::default()).await;
    assert_eq!(all.status(-1).await, "subscribed");

    for (number, importance) in [(1, 0.4), (2, 0.5), (3, 0.0), (4, 0.9)] {
        remember(&client, &memories, number, importance).await;
    }
    client.nearest(SPACE, &memories, 2, 3).await;
    for (number, importance) in [(2, 0.5), (4, 0.9)] {
        let event = important.event(4).await;
        assert_eq!((event.event_type(), event.importance), (StreamEventType::Storage, importance));
        assert_eq!(event.metadata["memory_id"], format!("m{number}"));
        assert!(event.timestamp.is_some());
    }
    for number in 1..=4 {
        let event = all.event(-1).await;
        let (id, generation) = (format!("m{number}"), (number + 1).to_string());
        let expected = metadata(&[("memory_id", &id), ("generation", &generation)]);
        assert_eq!(event.metadata, expected);
        assert_eq!(event.description, format!("stored {id}"));
    }
    let event = all.event(-1).await;
    assert_eq!(event.event_type(), StreamEventType::Recall);
    assert_eq!(event.metadata, metadata(&[("memory_id", "m2"), ("results", "3")]));

    // A second subscription takes the place of the first.
    let event_types = types(&[StreamEventType::Recall]);
    all.subscribe(7, StreamSubscription { event_types, ..StreamSubscription::default() }).await;
    assert_eq!(all.status(7).await, "subscribed");
    remember(&client, &memories, 5, 1.0).await;
    client.nearest(SPACE, &memories, 5, 1).await;
    assert_eq!(all.event(7).await.metadata["memory_id"], "m5");
    let event_types = types(&[StreamEventType::Decay]);
    all.subscribe(8, StreamSubscription { event_types, ..StreamSubscription::default() }).await;
    assert!(all.status(8).await.starts_with("Not served: events of these types"));
    // A half-closed stream ends, although events would go on for ever.
    drop(all.send);
    assert_eq!(owed("end", all.answers.message()).await.expect("it ends well"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_subscriber_hears_how_much_it_missed_and_ingest_goes_on() {
    const ROOM: usize = 10;
    const STORED: usize = 100;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    remember(&client, &memories, 0, 0.0).await;
    let mut flow = Flow::begin(&client).await;
    let control = |action: Action| {
        Request::Control(FlowControl { action: action.into(), ..FlowControl::default() })
    };
    flow.say(1, control(Action::Pause)).await;
    assert_eq!(flow.status(1).await, "paused");
    let subscription = StreamSubscription {
        event_types: types(&[StreamEventType::Storage]),
        buffer_size: ROOM as i32,
        ..StreamSubscription::default()
    };
    flow.subscribe(2, subscription).await;
    assert_eq!(flow.status(2).await, "subscribed");
    for number in 1..=STORED {
        remember(&client, &memories, number, 0.0).await;
    }
    flow.say(3, control(Action::Resume)).await;
    assert_eq!(flow.status(3).await, "active");
    for number in 1..=ROOM {
        assert_eq!(flow.event(2).await.metadata["memory_id"], format!("m{number}"));
    }
    let gap = flow.event(2).await;
    assert_eq!(gap.event_type(), StreamEventType::Unspecified);
    assert_eq!(gap.metadata, metadata(&[("missed", &(STORED - ROOM).to_string())]));
    remember(&client, &memories, STORED + 1, 0.0).await;
    assert_eq!(flow.event(2).await.metadata["memory_id"], format!("m{}", STORED + 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_tells_the_same_events_until_the_server_stops() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    let request = StreamRequest {
        memory_space_id: SPACE.to_owned(),
        event_types: types(&[StreamEventType::Storage]),
        min_importance: 0.5,
    };
    let listen = async |request: StreamRequest| {
        client.server_stream::<_, StreamResponse>(SERVICE, "Stream", request).await
    };
    let unknown = match listen(request.clone()).await {
        Err(status) => status,
        Ok(mut answers) => owed("end", answers.message()).await.expect_err("no such space"),
    };
    assert_eq!(unknown.code(), Code::NotFound);
    remember(&client, &memories, 0, 1.0).await;
    let mut events = listen(request).await.expect("the call is taken");
    // The call is taken before its shard knows of it: what is stored until then is not told.
    let first = {
        let mut event = std::pin::pin!(events.message());
        let mut number = 0;
        loop {
            number += 1;
            tokio::select! {
                biased;
                event = &mut event => break event.expect("no error").expect("an event"),
                () = remember(&client, &memories, number, 1.0) => {}
            }
        }
    };
    assert_eq!(first.event_type(), StreamEventType::Storage);
    let first: usize = first.metadata["memory_id"][1..].parse().expect("m and a number");
    remember(&client, &memories, 4_000, 0.1).await;
    assert!(block_in_place(|| server.stop()).success());
    let mut expected = first;
    let end = loop {
        match owed("event", events.message()).await {
            Ok(Some(event)) => {
                expected += 1;
                assert_eq!(event.metadata["memory_id"], format!("m{expected}"));
            }
            Ok(None) => panic!("it ends with a word"),
            Err(status) => break status,
        }
    };
    assert_eq!(end.code(), Code::Unavailable, "{end:?}");
}
