//! ObserveStream: a session over gRPC.
//!
//! One task drives a stream: it tells the session's events first and takes the next message only then, so a client
//! that does not read its acks is not read either, and nothing waits without bound.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use engram_proto::engram::v1::observation_request::Operation;
use engram_proto::engram::v1::observation_response::Result as Answer;
use engram_proto::engram::v1::stream_status::State;
use engram_proto::engram::v1::{Episode, ObservationRequest, ObservationResponse, StreamInit};
use engram_shards::message::Drain;
use prost::Message;
use prost::encoding::{DecodeContext, decode_key, skip_field};
use uuid::Uuid;

use super::framing::{Requests, Responses};
use super::{Call, decode};
use crate::core::Core;
use crate::failure::{Code, Failure};
use crate::limits::STREAM_MESSAGES_RUN;
use crate::metrics::Stage;
use crate::session::{AckMode, Event, Refused, Session};
use crate::wire::convert::{self, not_served};

/// Serves the stream until it ends.
pub(super) async fn serve(call: &mut Call) -> Result<(), Failure> {
    let core = call.core.clone();
    let Some(bytes) = poll_fn(|cx| call.requests.poll_message(cx)).await? else {
        return Ok(());
    };
    let request: ObservationRequest = decode(bytes)?;
    let sequence = request.sequence_number;
    let (init, space, session_id) = init_of(request)?;
    let wanted = convert::init(&init, space, session_id)?;
    let ack_mode = wanted.ack_mode;
    let session = call.unless_gone(Session::open(&core, wanted)).await?;
    let init_ack = convert::init_ack(&core, &session);
    let mut stream = ObserveStream {
        core: &core,
        requests: &mut call.requests,
        responses: &mut call.responses,
        response: ObservationResponse {
            session_id: init_ack.session_id.clone(),
            ..Default::default()
        },
        session,
        ack_mode,
        overload: if init.enable_backpressure { Overload::IsRefused } else { Overload::EndsStream },
        phase: Phase::Open,
        request: ObservationRequest::default(),
        held: None,
        end: None,
    };
    stream.say(sequence, Answer::InitAck(init_ack));
    let mut stopping = pin!(core.stopping());
    poll_fn(|cx| stream.poll(cx, stopping.as_mut())).await
}

/// The first message must be an `init`.
fn init_of(request: ObservationRequest) -> Result<(StreamInit, String, String), Failure> {
    let early = |message: &str| Err(Failure::new(Code::FailedPrecondition, message));
    match request.operation {
        Some(Operation::Init(init)) => Ok((init, request.memory_space_id, request.session_id)),
        Some(Operation::Observation(_) | Operation::Batch(_)) => {
            early("Must send 'init' before observations")
        }
        Some(Operation::Flow(_)) => early("Must send 'init' before flow control"),
        Some(Operation::Recall(_)) => early("Must send 'init' before recall"),
        Some(Operation::Close(_)) => early("Must send 'init' before close"),
        None => Err(empty_operation()),
    }
}

fn empty_operation() -> Failure {
    Failure::new(Code::InvalidArgument, "the message has no operation")
}

/// What an overload means to this client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overload {
    /// It understands statuses: the observation is refused, the stream lives.
    IsRefused,
    /// It does not: the stream ends, with a time to come back.
    EndsStream,
}

/// How far the stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Messages are read.
    Open,
    /// The client said `close`: it is told when all is drained.
    Closing,
    /// The client has said all.
    HalfClosed,
    /// The server stops.
    Stopping,
}

#[derive(Debug)]
struct ObserveStream<'a> {
    core: &'a Core,
    requests: &'a mut Requests,
    responses: &'a mut Responses,
    /// Reused for each answer.
    response: ObservationResponse,
    session: Session,
    ack_mode: AckMode,
    overload: Overload,
    phase: Phase,
    /// The message under way, reused for the next.
    request: ObservationRequest,
    /// How many observations of `request` were taken; `None` once it is done with.
    held: Option<usize>,
    /// How the stream ends, once all that was said before is on its way.
    end: Option<Result<(), Failure>>,
}

impl ObserveStream<'_> {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut stopping: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<Result<(), Failure>> {
        for _ in 0..STREAM_MESSAGES_RUN {
            self.tell_events(cx);
            let flushed = self.responses.poll_flush(cx)?;
            if self.end.is_some() {
                ready!(flushed);
                return Poll::Ready(self.end.take().expect("it was there a line above"));
            }
            if self.responses.is_full() {
                return Poll::Pending;
            }
            if self.phase == Phase::Open && stopping.as_mut().poll(cx).is_ready() {
                self.close(Phase::Stopping, Drain::Durable);
                continue;
            }
            match self.phase {
                Phase::Open => ready!(self.poll_take(cx)),
                Phase::Closing | Phase::HalfClosed | Phase::Stopping => return Poll::Pending,
            }
        }
        // A stream that never pauses must not keep its core for itself.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn close(&mut self, phase: Phase, drain: Drain) {
        self.phase = phase;
        self.session.close(drain);
    }

    /// Takes one message, or one observation of a batch.
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.held.is_none() {
            match ready!(self.requests.poll_message(cx)) {
                Ok(Some(bytes)) => match self.read(bytes) {
                    Ok(()) => self.held = Some(0),
                    Err(failure) => self.end = Some(Err(failure)),
                },
                Ok(None) => self.close(Phase::HalfClosed, Drain::Durable),
                Err(failure) => self.end = Some(Err(failure)),
            }
        }
        match self.held {
            Some(taken) => self.poll_handle(cx, taken),
            None => Poll::Ready(()),
        }
    }

    /// Decodes into the memory of the last message.
    fn read(&mut self, bytes: Bytes) -> Result<(), Failure> {
        let spare = match self.request.operation.take() {
            Some(Operation::Observation(episode)) if carries_observation(&bytes) => Some(episode),
            _ => None,
        };
        self.request.clear();
        self.request.operation = spare.map(|mut episode| {
            episode.clear();
            Operation::Observation(episode)
        });
        let begun = Instant::now();
        let merged = self.request.merge(bytes);
        self.core.metrics().spend(Stage::Decode, begun);
        merged
            .map_err(|error| Failure::new(Code::InvalidArgument, format!("not a message: {error}")))
    }

    /// Does what the held message asks; pending while the session cannot take it.
    fn poll_handle(&mut self, cx: &mut Context<'_>, taken: usize) -> Poll<()> {
        let first = self.request.sequence_number;
        match &self.request.operation {
            Some(Operation::Observation(episode)) => {
                let fault = foreign(&self.request, &self.session);
                ready!(poll_observe(&mut self.session, cx, first, episode, fault));
            }
            Some(Operation::Batch(batch)) => {
                if let Some(episode) = batch.observations.get(taken) {
                    let fault = foreign(&self.request, &self.session);
                    let sequence = first.saturating_add(taken as u64);
                    ready!(poll_observe(&mut self.session, cx, sequence, episode, fault));
                    if taken + 1 < batch.observations.len() {
                        self.held = Some(taken + 1);
                        return Poll::Ready(());
                    }
                }
            }
            Some(Operation::Close(close)) => {
                let drain = convert::drain(close);
                self.close(Phase::Closing, drain);
            }
            Some(Operation::Init(_)) => self.refuse_operation(first, "'init' was already sent"),
            Some(Operation::Flow(_)) => self.refuse_operation(first, &not_served("flow").message),
            Some(Operation::Recall(_)) => {
                self.refuse_operation(first, &not_served("recall").message)
            }
            None => self.end = Some(Err(empty_operation())),
        }
        self.held = None;
        Poll::Ready(())
    }

    fn refuse_operation(&mut self, sequence: u64, message: &str) {
        self.say(sequence, Answer::Status(convert::status(State::Error, message)));
    }

    /// Says what the session has to tell, as far as the client reads.
    fn tell_events(&mut self, cx: &mut Context<'_>) {
        while self.end.is_none() && !self.responses.is_full() {
            match self.session.poll_event(cx) {
                Poll::Ready(event) => self.tell(event),
                Poll::Pending => return,
            }
        }
    }

    fn tell(&mut self, event: Event) {
        match event {
            Event::Accepted { first, last, memory_id, committed_at } => {
                let ack = convert::accepted(self.ack_mode, first, memory_id, committed_at);
                self.say(last, Answer::Ack(ack));
            }
            Event::Refused { sequence, memory_id, why } => {
                self.tell_refusal(sequence, memory_id, why)
            }
            Event::Ended(failure) => {
                if failure.code == Code::Aborted {
                    let status = convert::status(State::Closed, failure.message.clone());
                    self.say(0, Answer::Status(status));
                }
                self.end = Some(Err(failure));
            }
            Event::Closed { last_sequence } => {
                if self.phase == Phase::Closing {
                    self.say(
                        last_sequence,
                        Answer::Status(convert::status(State::Closed, "closed")),
                    );
                }
                self.end = Some(match self.phase {
                    Phase::Stopping => {
                        Err(Failure::new(Code::Unavailable, "the server stops; resume later"))
                    }
                    Phase::Open | Phase::Closing | Phase::HalfClosed => Ok(()),
                });
            }
        }
    }

    fn tell_refusal(&mut self, sequence: u64, memory_id: String, why: Refused) {
        if let (Refused::Overloaded { message, retry_after_ms, .. }, Overload::EndsStream) =
            (&why, self.overload)
        {
            let after = Duration::from_millis((*retry_after_ms).into());
            self.end = Some(Err(
                Failure::new(Code::ResourceExhausted, message.clone()).retry_after(after)
            ));
            return;
        }
        self.say(sequence, Answer::Status(convert::status_of(&why)));
        self.say(sequence, Answer::Ack(convert::rejected(memory_id)));
    }

    fn say(&mut self, sequence: u64, answer: Answer) {
        self.response.sequence_number = sequence;
        self.response.server_timestamp = Some(convert::timestamp(self.core.now()));
        self.response.result = Some(answer);
        self.responses.push(&self.response);
    }
}

/// Hands an observation in; one that is meant for elsewhere is refused in its place.
fn poll_observe(
    session: &mut Session,
    cx: &mut Context<'_>,
    sequence: u64,
    episode: &Episode,
    foreign: Option<Refused>,
) -> Poll<()> {
    match foreign {
        None => session.poll_observe(cx, sequence, &convert::observation(episode)),
        Some(why) => {
            session.refuse(sequence, episode.id.clone(), why);
            Poll::Ready(())
        }
    }
}

/// Why a message is not for this session, if it says so.
fn foreign(request: &ObservationRequest, session: &Session) -> Option<Refused> {
    let space = &session.space().settings.name;
    if !request.memory_space_id.is_empty() && request.memory_space_id != *space {
        let message = format!("Invalid memory_space_id: the session is of {space}");
        return Some(Refused::Content { message, field: "memory_space_id" });
    }
    if request.session_id.is_empty() {
        return None;
    }
    let given = Uuid::try_parse(&request.session_id).map(|uuid| uuid.as_u128());
    if given == Ok(session.id().0) {
        return None;
    }
    let own = Uuid::from_u128(session.id().0);
    let message = format!("Session ID mismatch: expected {own}, got {}", request.session_id);
    Some(Refused::Content { message, field: "session_id" })
}

/// Whether the message's operation is an observation: then the last one's memory can be used again. (Without that
/// look, an empty message would pass for an empty observation.)
fn carries_observation(mut bytes: &[u8]) -> bool {
    const OBSERVATION: u32 = 3;
    while !bytes.is_empty() {
        let Ok((field, wire_type)) = decode_key(&mut bytes) else {
            return false;
        };
        if field == OBSERVATION {
            return true;
        }
        if skip_field(wire_type, field, &mut bytes, DecodeContext::default()).is_err() {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_is_told_from_what_is_none() {
        let request = |operation| ObservationRequest {
            memory_space_id: "space".into(),
            session_id: "session".into(),
            sequence_number: 7,
            operation,
        };
        let carries = |operation| carries_observation(&request(operation).encode_to_vec());
        assert!(carries(Some(Operation::Observation(Episode::default()))));
        assert!(!carries(Some(Operation::Init(StreamInit::default()))));
        assert!(!carries(Some(Operation::Batch(Default::default()))));
        assert!(!carries(None));
        assert!(!carries_observation(&[0xff]));
        assert!(!carries_observation(b""));
    }

    #[test]
    fn only_an_init_opens_a_stream() {
        let open = |operation| {
            let failure =
                init_of(ObservationRequest { operation, ..Default::default() }).unwrap_err();
            (failure.code, failure.message)
        };
        let before =
            |what: &str| (Code::FailedPrecondition, format!("Must send 'init' before {what}"));
        assert_eq!(open(Some(Operation::Observation(Episode::default()))), before("observations"));
        assert_eq!(open(Some(Operation::Batch(Default::default()))), before("observations"));
        assert_eq!(open(Some(Operation::Flow(Default::default()))), before("flow control"));
        assert_eq!(open(None).0, Code::InvalidArgument);
    }
}
