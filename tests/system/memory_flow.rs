//! Stores and recalls on one stream without a session: each is answered in its turn, under the number that the client
//! gave it, and what fails is told while the stream lives on.

use engram_proto::engram::v1::flow_control::Action;
use engram_proto::engram::v1::flow_status::State;
use engram_proto::engram::v1::memory_flow_request::Request;
use engram_proto::engram::v1::memory_flow_response::Response;
use engram_proto::engram::v1::remember_request::MemoryType as Remembered;
use engram_proto::engram::v1::{
    Episode, FlowControl, FlowStatus, MemoryFlowRequest, MemoryFlowResponse, RecallRequest,
    RecallResponse, RememberRequest, RememberResponse, StreamEventType, StreamSubscription,
};
use tokio::sync::mpsc;
use tonic::{Code, Streaming};

use crate::harness::{Client, Memories, Server, first_of, owed};

/// The client's half of a MemoryFlow.
#[derive(Clone)]
struct Says(mpsc::Sender<MemoryFlowRequest>);

impl Says {
    async fn say(&self, sequence_number: i64, request: Request) {
        let request = MemoryFlowRequest {
            memory_space_id: "flowing".to_owned(),
            request: Some(request),
            session_id: "mine".to_owned(),
            sequence_number,
        };
        owed("room to send", self.0.send(request)).await.expect("the stream lives");
    }

    async fn control(&self, sequence_number: i64, action: Action) {
        let flow = FlowControl { action: action.into(), ..FlowControl::default() };
        self.say(sequence_number, Request::Control(flow)).await;
    }
}

/// The server's half.
struct Hears(Streaming<MemoryFlowResponse>);

impl Hears {
    /// The next answer and the number that it repeats.
    async fn told(&mut self) -> (i64, Response) {
        let answer = owed("answer on MemoryFlow", self.0.message()).await;
        let answer = answer.expect("no error").expect("the stream goes on");
        assert_eq!(answer.session_id, "mine", "an answer repeats the request's session");
        assert!(answer.timestamp.is_some());
        (answer.sequence_number, answer.response.expect("an answer says something"))
    }

    async fn status(&mut self, sequence_number: i64) -> FlowStatus {
        match self.told().await {
            (number, Response::Status(status)) if number == sequence_number => status,
            other => panic!("no status about {sequence_number} but {other:?}"),
        }
    }

    async fn stored(&mut self, sequence_number: i64) -> String {
        match self.told().await {
            (number, Response::RememberResult(stored)) if number == sequence_number => {
                stored.memory_id
            }
            other => panic!("{sequence_number} was not stored but {other:?}"),
        }
    }

    async fn recalled(&mut self, sequence_number: i64) -> String {
        match self.told().await {
            (number, Response::RecallResult(found)) if number == sequence_number => {
                found.memories[0].id.clone()
            }
            other => panic!("{sequence_number} was not recalled but {other:?}"),
        }
    }
}

async fn begin(client: &Client) -> (Says, Hears) {
    let (send, answers) = client.talk("MemoryFlow").await;
    (Says(send), Hears(answers))
}

fn remember(episode: Episode) -> RememberRequest {
    RememberRequest {
        memory_type: Some(Remembered::Episode(episode)),
        ..RememberRequest::default()
    }
}

fn recall(memories: &Memories, number: usize) -> RecallRequest {
    RecallRequest {
        cue: Some(memories.cue(number)),
        max_results: 1,
        include_metadata: true,
        ..RecallRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_and_recalls_are_answered_in_turn_under_their_numbers() {
    const MEMORIES: i64 = 300;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let client = Client::connect(server.address).await;
    let (says, mut hears) = begin(&client).await;
    let sending = tokio::spawn(async move {
        let memories = Memories::bundled();
        for number in 1..=MEMORIES {
            let episode = memories.episode(number as usize, &format!("m{number}"));
            says.say(number, Request::Remember(remember(episode))).await;
            says.say(-number, Request::Recall(recall(&memories, number as usize))).await;
        }
    });
    let (mut stored, mut recalled) = (0, 0);
    while (stored, recalled) != (MEMORIES, MEMORIES) {
        match hears.told().await {
            (number, Response::RememberResult(told)) => {
                stored += 1;
                assert_eq!((number, told.memory_id), (stored, format!("m{stored}")));
            }
            (number, Response::RecallResult(told)) => {
                recalled += 1;
                assert_eq!(number, -recalled);
                assert_eq!(told.memories[0].id, format!("m{recalled}"), "not seen at once");
                assert!(told.metadata.is_some());
            }
            (_, other) => panic!("neither stored nor recalled: {other:?}"),
        }
    }
    sending.await.expect("all was sent");
    let ended = owed("end of MemoryFlow", hears.0.message()).await;
    assert_eq!(ended.expect("a half-closed stream ends well"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_is_told_and_a_pause_withholds_results_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    let (says, mut hears) = begin(&client).await;
    let failed = |status: &FlowStatus| {
        assert_eq!(status.state(), State::Error);
        (status.metrics["code"].clone(), status.message.clone())
    };
    says.say(1, Request::Recall(recall(&memories, 1))).await;
    let (code, message) = failed(&hears.status(1).await);
    assert_eq!((code.as_str(), message.as_str()), ("not_found", "Memory space not found: flowing"));
    let empty = Episode { embedding: Vec::new(), ..memories.episode(1, "empty") };
    says.say(2, Request::Remember(remember(empty))).await;
    let (code, message) = failed(&hears.status(2).await);
    assert_eq!(code, "invalid_argument");
    assert_eq!(message, "Embedding must be exactly 768 dimensions (field: embedding)");
    let in_vain = StreamSubscription {
        event_types: vec![StreamEventType::Decay.into()],
        ..StreamSubscription::default()
    };
    says.say(3, Request::Subscribe(in_vain)).await;
    assert_eq!(failed(&hears.status(3).await).0, "unimplemented");

    says.say(4, Request::Remember(remember(memories.episode(1, "one")))).await;
    assert_eq!(hears.stored(4).await, "one");
    says.control(5, Action::Pause).await;
    assert_eq!(hears.status(5).await.state(), State::Paused);
    says.say(6, Request::Recall(recall(&memories, 1))).await;
    says.say(7, Request::Remember(remember(memories.episode(2, "two")))).await;
    assert_eq!(hears.status(7).await.message, "Session paused");
    // Its shard answers recalls in turn: with this one, what the stream withholds is answered too.
    let other = client.nearest("flowing", &memories, 1, 1).await;
    assert_eq!(first_of(&other).id, "one");
    says.control(8, Action::BufferStatus).await;
    assert_eq!(hears.status(8).await.state(), State::Paused);
    says.control(9, Action::Resume).await;
    assert_eq!(hears.status(9).await.state(), State::Active);
    // The last word about the room was that there is none.
    let roomy = FlowControl {
        action: Action::BufferStatus.into(),
        buffer_remaining: 9,
        ..FlowControl::default()
    };
    says.say(10, Request::Control(roomy)).await;
    assert_eq!(hears.status(10).await.state(), State::Active);
    assert_eq!(hears.recalled(6).await, "one");
    drop(says);
    let ended = owed("end of MemoryFlow", hears.0.message()).await;
    assert_eq!(ended.expect("a half-closed stream ends well"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_stores_and_of_recalls_answer_in_turn_and_end_with_what_fails() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let memories = Memories::bundled();
    let client = Client::connect(server.address).await;
    let (stores, mut stored) =
        client.talk::<RememberRequest, RememberResponse>("StreamingRemember").await;
    let sending = tokio::spawn(async move {
        let memories = Memories::bundled();
        for number in 1..=100 {
            // All of one id: the last one must be the one that stays.
            owed("room", stores.send(remember(memories.episode(number, "same")))).await.expect("");
        }
        let faulty = RememberRequest::default();
        owed("room", stores.send(faulty)).await.expect("the stream lives");
        stores
    });
    for _ in 1..=100 {
        let told = owed("store", stored.message()).await.expect("no error").expect("an answer");
        assert_eq!(told.memory_id, "same");
    }
    let ended = owed("end of the stores", stored.message()).await.expect_err("nothing to store");
    assert_eq!(
        (ended.code(), ended.message()),
        (Code::InvalidArgument, "neither a memory nor an episode")
    );
    drop(sending.await);

    let (recalls, mut recalled) =
        client.talk::<RecallRequest, RecallResponse>("StreamingRecall").await;
    let sending = tokio::spawn(async move {
        let memories = Memories::bundled();
        for number in 1..=50 {
            owed("room", recalls.send(recall(&memories, number))).await.expect("it lives");
        }
    });
    for _ in 1..=50 {
        let told = owed("recall", recalled.message()).await.expect("no error").expect("an answer");
        assert_eq!(told.memories.len(), 1);
        assert_eq!(told.memories[0].content, memories.text(100), "not what was stored last");
    }
    sending.await.expect("all was sent");
    assert_eq!(owed("end", recalled.message()).await.expect("it ends well"), None);
}
