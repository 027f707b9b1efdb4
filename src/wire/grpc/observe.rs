//! ObserveStream and MemoryStream: a session over gRPC, without and with recalls.
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
use engram_proto::engram::v1::{ObservationRequest, ObservationResponse, StreamInit};
use engram_shards::message::Drain;
use prost::Message;
use prost::encoding::{DecodeContext, decode_key, skip_field};

use super::framing::{Requests, Responses};
use super::{Call, decode};
use crate::core::Core;
use crate::failure::{Code, Failure};
use crate::metrics::Stage;
use crate::session::{AckMode, Event, Refused, Session};
use crate::turnstile::Turns;
use crate::wire::convert::{self, empty_operation, not_served};
use crate::wire::operation;

/// Which of the two streams it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Observations alone.
    Observe,
    /// Recalls beside them.
    Memory,
}

/// Serves the stream until it ends.
pub(super) async fn serve(call: &mut Call, kind: Kind) -> Result<(), Failure> {
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
    let mut stream = SessionStream {
        core: &core,
        kind,
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
        turns: core.turns(),
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
        Some(Operation::Subscribe(_)) => early("Must send 'init' before subscribe"),
        Some(Operation::Close(_)) => early("Must send 'init' before close"),
        None => Err(empty_operation()),
    }
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
struct SessionStream<'a> {
    core: &'a Core,
    kind: Kind,
    requests: &'a mut Requests,
    responses: &'a mut Responses,
    /// Reused for each answer.
    response: ObservationResponse,
    session: Session,
    ack_mode: AckMode,
    overload: Overload,
    phase: Phase,
    turns: Turns,
    /// The message under way, reused for the next.
    request: ObservationRequest,
    /// How many observations of `request` were taken; `None` once it is done with.
    held: Option<usize>,
    /// How the stream ends, once all that was said before is on its way.
    end: Option<Result<(), Failure>>,
}

impl SessionStream<'_> {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stopping: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<Result<(), Failure>> {
        let polled = self.poll_turn(cx, stopping);
        if polled.is_pending() {
            self.turns.rest();
        }
        polled
    }

    /// Goes on until there is nothing to do for now or the stream's turn is over.
    fn poll_turn(
        &mut self,
        cx: &mut Context<'_>,
        mut stopping: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<Result<(), Failure>> {
        loop {
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
                Phase::Open => {
                    ready!(self.turns.poll(cx));
                    ready!(self.poll_take(cx));
                }
                Phase::Closing | Phase::HalfClosed | Phase::Stopping => return Poll::Pending,
            }
        }
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
                let (session, request) = (&mut self.session, &self.request);
                ready!(operation::poll_observe(session, cx, request, first, episode));
            }
            Some(Operation::Batch(batch)) => {
                if let Some(episode) = batch.observations.get(taken) {
                    let (session, request) = (&mut self.session, &self.request);
                    let sequence = first.saturating_add(taken as u64);
                    ready!(operation::poll_observe(session, cx, request, sequence, episode));
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
            Some(Operation::Flow(flow)) => match convert::flow_action(flow) {
                Ok(action) => {
                    self.session.handle_flow(action);
                    self.say(first, Answer::Status(convert::flow_status(self.session.is_paused())));
                }
                Err(failure) => self.refuse_operation(first, &failure.message),
            },
            Some(Operation::Recall(recall)) => {
                let asked = match self.kind {
                    Kind::Observe => Err(not_served("recall on ObserveStream; use MemoryStream")),
                    Kind::Memory => operation::recall(&self.request, recall, &self.session),
                };
                match asked {
                    Ok(asked) => ready!(self.session.poll_recall(&asked)),
                    Err(failure) => {
                        let status = convert::recall_failed(&recall.request_id, &failure);
                        self.say(first, Answer::Status(status));
                    }
                }
            }
            Some(Operation::Subscribe(subscription)) => {
                let wanted = match self.kind {
                    Kind::Observe => {
                        Err(not_served("subscribe on ObserveStream; use MemoryStream"))
                    }
                    Kind::Memory => operation::wanted(subscription),
                };
                match wanted {
                    Ok(wanted) => self.session.subscribe(first, wanted),
                    Err(failure) => self.say(first, Answer::Status(convert::failed(&failure))),
                }
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
        self.end = match &event {
            Event::Ended(failure) => Some(Err(failure.clone())),
            Event::Refused { why: Refused::Overloaded { message, retry_after_ms, .. }, .. }
                if self.overload == Overload::EndsStream =>
            {
                let after = Duration::from_millis((*retry_after_ms).into());
                let failure = Failure::new(Code::ResourceExhausted, message.clone());
                self.end = Some(Err(failure.retry_after(after)));
                return;
            }
            Event::Closed { last_sequence } => {
                if self.phase == Phase::Closing {
                    self.say(*last_sequence, Answer::Status(convert::closed("closed")));
                }
                Some(match self.phase {
                    Phase::Stopping => {
                        Err(Failure::new(Code::Unavailable, "the server stops; resume later"))
                    }
                    Phase::Open | Phase::Closing | Phase::HalfClosed => Ok(()),
                })
            }
            _ => None,
        };
        let (ack_mode, now) = (self.ack_mode, self.core.now());
        convert::say_event(event, ack_mode, now, |sequence, answer| self.say(sequence, answer));
    }

    fn say(&mut self, sequence: u64, answer: Answer) {
        self.response.sequence_number = sequence;
        self.response.server_timestamp = Some(convert::timestamp(self.core.now()));
        self.response.result = Some(answer);
        self.responses.push(&self.response);
    }
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
    use engram_proto::engram::v1::Episode;

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
