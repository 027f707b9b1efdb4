//! What happens in a space, over as many connections as it takes.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use engram_proto::engram::v1 as wire;
use engram_proto::engram::v1::memory_flow_request::Request;
use engram_proto::engram::v1::memory_flow_response::Response;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tonic::Streaming;

use crate::calls::Calls;
use crate::delay::{Chance, Delays};
use crate::error::{Error, ErrorKind};
use crate::types::SessionOptions;

/// What is wanted of a space's events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Subscription {
    /// Only these; empty: all.
    pub kinds: Vec<EventKind>,
    /// Only events that matter so much.
    pub importance_min: f32,
    /// So many may wait here; 0: the server chooses.
    pub buffer: u32,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// An observation became durable.
    Stored,
    /// A recall was answered.
    Recalled,
}

/// Something that happened, or what is not known of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It happened.
    Happened {
        /// What.
        kind: EventKind,
        /// When.
        at: Option<SystemTime>,
        /// The memory: the one that was stored, the best that was recalled.
        memory_id: Option<String>,
        /// How much it matters.
        importance: f32,
        /// What else the server says.
        metadata: BTreeMap<String, String>,
    },
    /// So many events are missing here: they were read too slowly.
    Missed(u64),
    /// The connection was made anew: what happened meanwhile is missing here.
    Interrupted,
}

/// Events as they come, from the moment in which [`crate::Client::subscribe`] returned.
#[derive(Debug)]
pub struct Events {
    calls: Calls,
    request: wire::MemoryFlowRequest,
    flow: Option<Flow>,
    delays: Delays,
    patience: Duration,
}

#[derive(Debug)]
struct Flow {
    /// The flow ends with it.
    _requests: mpsc::UnboundedSender<wire::MemoryFlowRequest>,
    answers: Streaming<wire::MemoryFlowResponse>,
}

impl Events {
    /// Subscribes; returns once nothing is missed any more.
    pub(crate) async fn subscribe(
        calls: Calls,
        space: &str,
        subscription: &Subscription,
    ) -> Result<Events, Error> {
        let event_types = subscription.kinds.iter().map(|kind| match kind {
            EventKind::Stored => wire::StreamEventType::Storage.into(),
            EventKind::Recalled => wire::StreamEventType::Recall.into(),
        });
        let wanted = wire::StreamSubscription {
            event_types: event_types.collect(),
            min_importance: subscription.importance_min,
            buffer_size: i32::try_from(subscription.buffer).unwrap_or(i32::MAX),
            ..wire::StreamSubscription::default()
        };
        let request = wire::MemoryFlowRequest {
            memory_space_id: space.to_owned(),
            request: Some(Request::Subscribe(wanted)),
            ..wire::MemoryFlowRequest::default()
        };
        // A subscription is as patient as a session is.
        let own = SessionOptions::default();
        let delays = Delays::new(own.reconnect_delay, own.reconnect_delay_max, Chance::new());
        let patience = own.patience.expect("the default has an end");
        let flow = Some(begin(&calls, &request).await?);
        Ok(Events { calls, request, flow, delays, patience })
    }

    /// The next event. After an error there are none.
    pub async fn next(&mut self) -> Result<Event, Error> {
        let Some(flow) = &mut self.flow else {
            return self.go_on().await;
        };
        match next(flow).await {
            Ok(event) => Ok(event),
            Err(error) if error.passes() => {
                self.flow = None;
                self.go_on().await
            }
            Err(error) => Err(error),
        }
    }

    /// Connects again.
    async fn go_on(&mut self) -> Result<Event, Error> {
        let lost = Instant::now();
        loop {
            match begin(&self.calls, &self.request).await {
                Ok(flow) => {
                    self.flow = Some(flow);
                    self.delays.reset();
                    return Ok(Event::Interrupted);
                }
                Err(error) if error.passes() && lost.elapsed() < self.patience => {
                    sleep(self.delays.next(error.retry_after())).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

async fn begin(calls: &Calls, request: &wire::MemoryFlowRequest) -> Result<Flow, Error> {
    let (requests, receiver) = mpsc::unbounded_channel();
    requests.send(request.clone()).expect("the receiver is held here");
    let answers = calls.clone().talk("MemoryFlow", receiver).await;
    let answers = answers.map_err(|status| Error::of_status(&status))?;
    let mut flow = Flow { _requests: requests, answers };
    match answer(&mut flow).await? {
        Response::Status(status) => refused(&status).map_or(Ok(flow), Err),
        other => Err(Error::new(ErrorKind::Protocol, format!("{other:?} before a status"))),
    }
}

async fn next(flow: &mut Flow) -> Result<Event, Error> {
    loop {
        match answer(flow).await? {
            Response::Event(event) => return Ok(Event::from(event)),
            Response::Status(status) => {
                if let Some(error) = refused(&status) {
                    return Err(error);
                }
            }
            // What nobody asked for.
            _ => {}
        }
    }
}

async fn answer(flow: &mut Flow) -> Result<Response, Error> {
    loop {
        let answer = flow.answers.message().await.map_err(|status| Error::of_status(&status))?;
        let ended = || Error::new(ErrorKind::Unavailable, "the server ended the stream");
        if let Some(response) = answer.ok_or_else(ended)?.response {
            return Ok(response);
        }
    }
}

/// Why there is no subscription (any more).
fn refused(status: &wire::FlowStatus) -> Option<Error> {
    let kind = match status.message.starts_with("Not served") {
        true => ErrorKind::NotServed,
        false => ErrorKind::InvalidRequest,
    };
    let is_refusal = status.state() == wire::flow_status::State::Error;
    is_refusal.then(|| Error::new(kind, status.message.as_str()))
}

impl From<wire::StreamResponse> for Event {
    fn from(event: wire::StreamResponse) -> Event {
        let kind = match event.event_type() {
            wire::StreamEventType::Storage => EventKind::Stored,
            wire::StreamEventType::Recall => EventKind::Recalled,
            // The gap is the only event without a type of these.
            _ => {
                let missed = event.metadata.get("missed").and_then(|count| count.parse().ok());
                return Event::Missed(missed.unwrap_or(0));
            }
        };
        let mut metadata = event.metadata;
        Event::Happened {
            kind,
            at: event.timestamp.and_then(|at| SystemTime::try_from(at).ok()),
            memory_id: metadata.remove("memory_id"),
            importance: event.importance,
            metadata,
        }
    }
}
