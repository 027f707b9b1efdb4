//! One ObserveStream or MemoryStream: what is sent, and what its answers must be.

use engram_proto::engram::v1::observation_request::Operation;
use engram_proto::engram::v1::observation_response::Result as Answer;
use engram_proto::engram::v1::{
    Episode, ObservationAck, ObservationRequest, ObservationResponse, StreamClose, StreamInit,
    StreamStatus, observation_ack::Status as AckStatus, stream_status::State,
};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::owed;

/// A stream that is open.
pub(crate) struct Observing {
    /// Sends on the stream; dropped, the client's half is closed.
    pub(crate) send: mpsc::Sender<ObservationRequest>,
    /// An error that came with the headers is the stream's end like any other.
    answers: Result<Streaming<ObservationResponse>, Status>,
    /// The session's id, once `init_ack` came.
    pub(crate) session: String,
}

impl Observing {
    /// Of a call's two ends.
    pub(crate) fn new(
        send: mpsc::Sender<ObservationRequest>,
        answers: Result<Streaming<ObservationResponse>, Status>,
    ) -> Observing {
        Observing { send, answers, session: String::new() }
    }

    /// Another one that sends on the same stream, but hears nothing.
    pub(crate) fn sender(&self) -> Observing {
        Observing {
            send: self.send.clone(),
            answers: Err(Status::unknown("the answers are another's")),
            session: self.session.clone(),
        }
    }

    /// The message that begins a session in a space, or resumes one.
    pub(crate) fn init(space: &str, session: &str) -> ObservationRequest {
        let init = StreamInit { enable_backpressure: true, ..StreamInit::default() };
        ObservationRequest {
            memory_space_id: space.to_owned(),
            session_id: session.to_owned(),
            operation: Some(Operation::Init(init)),
            sequence_number: 0,
        }
    }

    /// An observation of session `session`.
    pub(crate) fn observation(
        session: &str,
        sequence: u64,
        episode: Episode,
    ) -> ObservationRequest {
        ObservationRequest {
            memory_space_id: String::new(),
            session_id: session.to_owned(),
            sequence_number: sequence,
            operation: Some(Operation::Observation(episode)),
        }
    }

    /// Sends one message; whether the stream still takes it.
    pub(crate) async fn send(&self, request: ObservationRequest) -> bool {
        owed("room to send", self.send.send(request)).await.is_ok()
    }

    /// Sends an observation of this session.
    pub(crate) async fn observe(&self, sequence: u64, episode: Episode) {
        let request = Observing::observation(&self.session, sequence, episode);
        assert!(self.send(request).await, "the stream ended before observation {sequence}");
    }

    /// The next message, or how the stream ended.
    pub(crate) async fn next(&mut self) -> Result<Option<ObservationResponse>, Status> {
        match &mut self.answers {
            Ok(answers) => owed("answer on ObserveStream", answers.message()).await,
            Err(status) => Err(status.clone()),
        }
    }

    /// The next message, which must be one.
    pub(crate) async fn answer(&mut self) -> ObservationResponse {
        let next = self.next().await.expect("the stream ended with an error");
        next.expect("the stream ended")
    }

    /// Takes `init_ack`; the initial sequence.
    pub(crate) async fn await_init(&mut self) -> u64 {
        let answer = self.answer().await;
        let Some(Answer::InitAck(ack)) = answer.result else {
            panic!("no init_ack but {answer:?}")
        };
        assert_eq!(ack.session_id.len(), 36, "not a hyphenated UUID: {}", ack.session_id);
        let capabilities = ack.capabilities.expect("init_ack tells the capabilities");
        assert!(capabilities.queue_capacity > 0, "a queue without room: {capabilities:?}");
        self.session = ack.session_id;
        ack.initial_sequence
    }

    /// Takes the next ack, skipping statuses that only tell of load; its sequence and the ack.
    pub(crate) async fn next_ack(&mut self) -> Result<Option<(u64, ObservationAck)>, Status> {
        while let Some(answer) = self.next().await? {
            let sequence = answer.sequence_number;
            match answer.result {
                Some(Answer::Ack(ack)) => return Ok(Some((sequence, ack))),
                Some(Answer::Status(status)) if sequence == 0 && tells_of_load(&status) => {}
                other => panic!("no ack but {other:?}"),
            }
        }
        Ok(None)
    }

    /// Takes the ACCEPTED of `sequence`; the memory's id.
    pub(crate) async fn accepted(&mut self, sequence: u64) -> String {
        let ack = self.next_ack().await.expect("the stream ended with an error");
        let (number, ack) = ack.expect("the stream ended");
        assert_eq!((number, ack.status()), (sequence, AckStatus::Accepted), "{ack:?}");
        assert!(ack.committed_at.is_some(), "ACCEPTED without the time of its commit");
        ack.memory_id
    }

    /// Takes a refusal of `sequence` that its stream survives: the status that says why, then REJECTED.
    pub(crate) async fn refused(&mut self, sequence: u64) -> StreamStatus {
        let answer = self.answer().await;
        let Some(Answer::Status(status)) = answer.result else {
            panic!("no status but {answer:?}")
        };
        assert_eq!(answer.sequence_number, sequence, "{status:?}");
        let answer = self.answer().await;
        let Some(Answer::Ack(ack)) = answer.result else { panic!("no ack but {answer:?}") };
        assert_eq!((answer.sequence_number, ack.status()), (sequence, AckStatus::Rejected));
        status
    }

    /// Takes the next status.
    pub(crate) async fn status(&mut self) -> (u64, StreamStatus) {
        let answer = self.answer().await;
        let Some(Answer::Status(status)) = answer.result else {
            panic!("no status but {answer:?}")
        };
        (answer.sequence_number, status)
    }

    /// Closes the client's half without `close`; the session's id.
    pub(crate) fn half_close(&mut self) -> String {
        // The stream of requests ends with its last sender.
        (self.send, _) = mpsc::channel(1);
        self.session.clone()
    }

    /// Takes the error that ends the stream.
    pub(crate) async fn ended(&mut self) -> Status {
        match self.next().await {
            Err(status) => status,
            Ok(answer) => panic!("the stream should have ended with an error, not {answer:?}"),
        }
    }

    /// Sends `close` and takes CLOSED and the stream's good end.
    pub(crate) async fn close(mut self, last_sequence: u64) {
        let close = Operation::Close(StreamClose { drain_queue: false, last_sequence });
        let request = ObservationRequest {
            session_id: self.session.clone(),
            operation: Some(close),
            ..ObservationRequest::default()
        };
        assert!(self.send(request).await, "the stream ended before `close`");
        let (sequence, status) = loop {
            match self.status().await {
                (0, status) if tells_of_load(&status) => {}
                told => break told,
            }
        };
        assert_eq!(status.state(), State::Closed, "{status:?}");
        assert_eq!(sequence, last_sequence, "CLOSED tells the final sequence");
        assert_eq!(self.next().await.expect("a closed stream ends well"), None);
    }
}

fn tells_of_load(status: &StreamStatus) -> bool {
    matches!(status.state(), State::Backpressure | State::Overloaded | State::Active)
}
