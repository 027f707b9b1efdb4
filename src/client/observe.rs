//! One ObserveStream: a session, its observations and their answers.

use std::time::Duration;

use engram_proto::engram::v1::observation_ack::Status;
use engram_proto::engram::v1::observation_request::Operation;
use engram_proto::engram::v1::observation_response::Result as Answered;
use engram_proto::engram::v1::stream_status::State;
use engram_proto::engram::v1::{
    AckMode, Episode, ObservationAck, ObservationRequest, ObservationResponse, StreamClose,
    StreamInit, StreamStatus,
};
use futures_lite::future;

use super::grpc::{CallError, Grpc, Requests, Responses};
use super::stream::Transport;
use super::window::Answer;

const PATH: &str = "/engram.v1.EngramService/ObserveStream";

/// A session on its stream.
#[derive(Debug)]
pub struct ObserveStream {
    requests: Requests<ObservationRequest>,
    responses: Responses<ObservationResponse>,
    session_id: String,
    initial_sequence: u64,
    /// The last status that told of an observation: it says why, before the ack that says REJECTED.
    told: Option<(u64, StreamStatus)>,
}

/// Which session to open.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The space; may be empty to resume.
    pub space: String,
    /// A session to resume, or empty for a new one.
    pub session_id: String,
    /// How acks come.
    pub ack_mode: AckMode,
}

impl ObserveStream {
    /// Opens a session, or resumes one.
    pub async fn open(grpc: &Grpc, opening: Opening) -> Result<ObserveStream, CallError> {
        let (mut requests, mut responses) =
            grpc.bidirectional::<ObservationRequest, ObservationResponse>(PATH).await?;
        requests.push(&ObservationRequest {
            memory_space_id: opening.space,
            session_id: opening.session_id,
            sequence_number: 0,
            operation: Some(Operation::Init(StreamInit {
                enable_backpressure: true,
                ack_mode: opening.ack_mode.into(),
                ..StreamInit::default()
            })),
        });
        requests.flush().await?;
        let (session_id, initial_sequence) = loop {
            match next(&mut responses).await?.result {
                Some(Answered::InitAck(ack)) => break (ack.session_id, ack.initial_sequence),
                // Load may be told at any time.
                Some(Answered::Status(_)) => {}
                other => return Err(CallError::Protocol(format!("no init_ack but {other:?}"))),
            }
        };
        Ok(ObserveStream { requests, responses, session_id, initial_sequence, told: None })
    }

    /// The session's id, with which it can be resumed.
    pub fn session_id(&self) -> &str {
        &self.session_id
    }

    /// The last durable sequence when it was opened.
    pub fn initial_sequence(&self) -> u64 {
        self.initial_sequence
    }

    /// Ends the session's stream in order; returns the final sequence.
    pub async fn close(mut self) -> Result<u64, CallError> {
        self.requests.push(&ObservationRequest {
            session_id: self.session_id.clone(),
            operation: Some(Operation::Close(StreamClose::default())),
            ..ObservationRequest::default()
        });
        self.requests.flush().await?;
        self.requests.end()?;
        let mut last = None;
        while let Some(response) = self.responses.next().await? {
            if let Some(Answered::Status(status)) = &response.result
                && status.state() == State::Closed
            {
                last = Some(response.sequence_number);
            }
        }
        last.ok_or_else(|| CallError::Protocol("the stream ended without CLOSED".into()))
    }

    /// What a response answers; none for what comes beside the answers.
    fn answer_of(&mut self, response: ObservationResponse) -> Result<Option<Answer>, CallError> {
        let sequence = response.sequence_number;
        match response.result {
            Some(Answered::Status(status)) if status.state() == State::Closed => {
                Err(CallError::Protocol(format!("the session was closed: {}", status.message)))
            }
            // Load is told in this way too; it asks for nothing that the window does not do.
            Some(Answered::Status(status)) => {
                self.told = Some((sequence, status));
                Ok(None)
            }
            Some(Answered::Ack(ack)) => Ok(self.answer_of_ack(sequence, &ack)),
            other => Err(CallError::Protocol(format!("unasked: {other:?}"))),
        }
    }

    /// What an ack means; none for those that come beside the one for durability.
    fn answer_of_ack(&mut self, sequence: u64, ack: &ObservationAck) -> Option<Answer> {
        match ack.status() {
            Status::Accepted => {
                let first = if ack.first_sequence == 0 { sequence } else { ack.first_sequence };
                Some(Answer::Accepted { first, last: sequence })
            }
            Status::Rejected => {
                let told = self.told.take().filter(|(about, _)| *about == sequence);
                let status = told.map(|(_, status)| status).unwrap_or_default();
                let overloaded = status.state() == State::Overloaded;
                let wait = Duration::from_millis(status.retry_after_ms.into());
                let retry_after = overloaded.then_some(wait);
                Some(Answer::Refused { sequence, retry_after, message: status.message })
            }
            Status::Indexed | Status::Unspecified => None,
        }
    }
}

impl Transport for ObserveStream {
    type Error = CallError;

    fn push(&mut self, sequence: u64, episode: Episode) {
        self.requests.push(&ObservationRequest {
            memory_space_id: String::new(),
            session_id: self.session_id.clone(),
            sequence_number: sequence,
            operation: Some(Operation::Observation(episode)),
        });
    }

    fn waiting_bytes(&self) -> usize {
        self.requests.waiting_bytes()
    }

    async fn flush(&mut self) -> Result<Option<Answer>, CallError> {
        loop {
            let (requests, responses) = (&mut self.requests, &mut self.responses);
            let flushed = async {
                match requests.flush().await {
                    Ok(()) => Ok(None),
                    // Why the server takes no more stands behind the answers that still come.
                    Err(_) => future::pending().await,
                }
            };
            let answered = async { next(responses).await.map(Some) };
            let Some(response) = future::or(flushed, answered).await? else {
                return Ok(None);
            };
            if let Some(answer) = self.answer_of(response)? {
                return Ok(Some(answer));
            }
        }
    }

    async fn answer(&mut self) -> Result<Answer, CallError> {
        loop {
            let response = next(&mut self.responses).await?;
            if let Some(answer) = self.answer_of(response)? {
                return Ok(answer);
            }
        }
    }
}

async fn next(
    responses: &mut Responses<ObservationResponse>,
) -> Result<ObservationResponse, CallError> {
    let ended = || CallError::Protocol("the server ended the stream".into());
    responses.next().await?.ok_or_else(ended)
}
