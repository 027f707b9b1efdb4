//! What a client is told.

use engram_proto::engram::v1::observation_ack::Status as AckStatus;
use engram_proto::engram::v1::observation_response::Result as Answer;
use engram_proto::engram::v1::stream_status::State;
use engram_proto::engram::v1::{
    ActivationTrace, ConsolidationState, ObservationAck, RecallMetadata, RecallRequest,
    RecallResponse, RememberResponse, StreamCapabilities, StreamInitAck, StreamStatus,
    StreamingRecallResponse,
};
use engram_shards::ids::Time;
use engram_shards::message::Pressure;
use uuid::Uuid;

use super::happenings::{events_missed, happened};
use super::memories::{confidence, memory, timestamp};
use crate::core::Core;
use crate::failure::{Code, Failure};
use crate::recall::{Found, Page, Recollection, Summary};
use crate::session::{AckMode, Event, Load, RecallHead, Refused, Session};
use crate::store::Stored;

/// Says an event of a session in messages, each beside the number that it is about. That a session is over is said only
/// where its client has to know more than that.
pub(crate) fn say_event(
    event: Event,
    ack_mode: AckMode,
    now: Time,
    mut say: impl FnMut(u64, Answer),
) {
    match event {
        Event::Accepted { first, last, memory_id, committed_at } => {
            say(last, Answer::Ack(accepted(ack_mode, first, memory_id, committed_at)))
        }
        Event::Indexed { first, last, memory_id } => {
            say(last, Answer::Ack(indexed(ack_mode, first, memory_id)))
        }
        Event::Refused { sequence, memory_id, why } => {
            say(sequence, Answer::Status(status_of(&why)));
            say(sequence, Answer::Ack(rejected(memory_id)));
        }
        Event::Load { load, pressure } => say(0, Answer::Status(load_status(load, pressure))),
        Event::Page { head, page, summary } => {
            say(0, Answer::RecallResult(recall_page(&head, &page, &summary)))
        }
        Event::Recalled { head, summary } => {
            say(0, Answer::RecallResult(recall_closing(&head, &summary)))
        }
        Event::RecallFailed { request_id, failure } => {
            say(0, Answer::Status(recall_failed(&request_id, &failure)))
        }
        Event::Subscribed { number, is_paused } => {
            say(number, Answer::Status(subscribed(is_paused)))
        }
        Event::Happened(event) => say(0, Answer::Event(happened(event))),
        Event::EventsMissed(count) => say(0, Answer::Event(events_missed(count, now))),
        Event::SubscriptionEnded { number, failure } => {
            say(number, Answer::Status(failed(&failure)))
        }
        Event::Ended(failure) if failure.code == Code::Aborted => {
            say(0, Answer::Status(closed(failure.message)))
        }
        Event::Ended(_) | Event::Closed { .. } => {}
    }
}

/// The session is over for this client.
pub(crate) fn closed(message: impl Into<String>) -> StreamStatus {
    status(State::Closed, message)
}

/// It is.
pub(crate) fn stored(stored: Stored) -> RememberResponse {
    RememberResponse {
        memory_id: stored.memory_id,
        storage_confidence: Some(confidence(1.0)),
        linked_memories: Vec::new(),
        initial_state: ConsolidationState::Recent.into(),
    }
}

/// The answer to `init`.
pub(crate) fn init_ack(core: &Core, session: &Session) -> StreamInitAck {
    let stripes = u32::from(session.space().settings.stripes);
    let capabilities = StreamCapabilities {
        // No rate is promised: credits follow what the shard can take.
        max_observations_per_second: 0,
        queue_capacity: core.settings().capacity.saturating_mul(stripes),
        supports_backpressure: true,
        supports_snapshot_isolation: true,
    };
    StreamInitAck {
        session_id: Uuid::from_u128(session.id().0).to_string(),
        initial_sequence: session.initial_sequence(),
        capabilities: Some(capabilities),
    }
}

/// An ack of `first..=last`.
fn accepted(
    ack_mode: AckMode,
    first: u64,
    memory_id: String,
    committed_at: Option<Time>,
) -> ObservationAck {
    ObservationAck {
        status: AckStatus::Accepted.into(),
        memory_id,
        committed_at: committed_at.map(timestamp),
        first_sequence: match ack_mode {
            AckMode::Each => 0,
            AckMode::Cumulative => first,
        },
    }
}

/// A second ack of `first..=last`.
fn indexed(ack_mode: AckMode, first: u64, memory_id: String) -> ObservationAck {
    ObservationAck {
        status: AckStatus::Indexed.into(),
        ..accepted(ack_mode, first, memory_id, None)
    }
}

/// A refusal's ack; its status says why.
fn rejected(memory_id: String) -> ObservationAck {
    ObservationAck {
        status: AckStatus::Rejected.into(),
        memory_id,
        committed_at: None,
        first_sequence: 0,
    }
}

/// Why an observation is refused.
fn status_of(why: &Refused) -> StreamStatus {
    match why {
        Refused::Content { message, field } => {
            status(State::Error, format!("{message} (field: {field})"))
        }
        Refused::Sequence { message } => status(State::Error, message.clone()),
        Refused::Paused => status(State::Paused, SESSION_PAUSED),
        Refused::Overloaded { message, retry_after_ms, depth, capacity } => StreamStatus {
            queue_depth: *depth,
            queue_capacity: *capacity,
            pressure: *depth as f32 / (*capacity).max(1) as f32,
            retry_after_ms: *retry_after_ms,
            ..status(State::Overloaded, message.clone())
        },
    }
}

/// How loaded the owners are.
pub(crate) fn load_status(load: Load, pressure: Pressure) -> StreamStatus {
    let Pressure { depth, capacity, preferred_rate, .. } = pressure;
    let (state, message) = match load {
        Load::Active => (State::Active, "active"),
        Load::Backpressure => (State::Backpressure, "the queue fills: send more slowly"),
        Load::Overloaded => (State::Overloaded, "the queue is full: send nothing for a while"),
    };
    StreamStatus {
        queue_depth: depth,
        queue_capacity: capacity,
        pressure: depth as f32 / capacity.max(1) as f32,
        preferred_rate: preferred_rate as f32,
        retry_after_ms: pressure.retry_after_ms(),
        ..status(state, message)
    }
}

/// A status that is no more than its state and a text.
pub(crate) fn status(state: State, message: impl Into<String>) -> StreamStatus {
    StreamStatus { state: state.into(), message: message.into(), ..StreamStatus::default() }
}

/// The answer to flow control: the state that holds from now on.
pub(crate) fn flow_status(is_paused: bool) -> StreamStatus {
    match is_paused {
        true => status(State::Paused, "paused"),
        false => status(State::Active, "active"),
    }
}

/// Events are told from now on; the state that holds.
pub(crate) fn subscribed(is_paused: bool) -> StreamStatus {
    StreamStatus { message: "subscribed".to_owned(), ..flow_status(is_paused) }
}

/// What a client reads that observes although it has paused.
pub(crate) const SESSION_PAUSED: &str = "Session paused";

/// What a unary recall wants to be told beside its memories.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    include_metadata: bool,
    trace_activation: bool,
}

impl Told {
    /// What `request` wants.
    pub(crate) fn of(request: &RecallRequest) -> Told {
        let RecallRequest { include_metadata, trace_activation, .. } = *request;
        Told { include_metadata, trace_activation }
    }
}

/// All that a recall found.
pub(crate) fn recalled(recollection: &Recollection, told: Told) -> RecallResponse {
    let Recollection { found, summary, .. } = recollection;
    let traced = if told.trace_activation { &found[..] } else { &[] };
    RecallResponse {
        memories: found.iter().map(|found| memory(found, None)).collect(),
        recall_confidence: Some(confidence(found.first().map_or(0.0, |best| best.confidence))),
        metadata: told.include_metadata.then(|| recall_metadata(summary)),
        traces: traced.iter().map(trace).collect(),
    }
}

/// How a result was activated: by the cue itself, since nothing spreads from one memory to another here.
fn trace(found: &Found) -> ActivationTrace {
    let id = found.observation().id.to_owned();
    ActivationTrace {
        activation_path: vec![id.clone()],
        memory_id: id,
        activation_level: found.activation,
        timestamp: Some(timestamp(found.received_at)),
    }
}

/// A page of what a recall found.
pub(crate) fn recall_page(
    head: &RecallHead,
    page: &Page,
    summary: &Summary,
) -> StreamingRecallResponse {
    let dimension = head.include_embeddings.then_some(summary.dimension);
    StreamingRecallResponse {
        results: page.found.iter().map(|found| memory(found, dimension)).collect(),
        more_results: page.more_results,
        metadata: None,
        snapshot_sequence: summary.snapshot_sequence,
        request_id: head.request_id.to_string(),
    }
}

/// What follows a recall's last page.
pub(crate) fn recall_closing(head: &RecallHead, summary: &Summary) -> StreamingRecallResponse {
    StreamingRecallResponse {
        results: Vec::new(),
        more_results: false,
        metadata: Some(recall_metadata(summary)),
        snapshot_sequence: summary.snapshot_sequence,
        request_id: head.request_id.to_string(),
    }
}

/// Why a recall on a session's stream has no results.
pub(crate) fn recall_failed(request_id: &str, failure: &Failure) -> StreamStatus {
    StreamStatus { request_id: request_id.to_owned(), ..failed(failure) }
}

/// Why something that a client asked for will not be.
pub(crate) fn failed(failure: &Failure) -> StreamStatus {
    let state = match failure.code {
        Code::ResourceExhausted => State::Overloaded,
        _ => State::Error,
    };
    StreamStatus {
        retry_after_ms: failure.retry_after_ms(),
        ..status(state, failure.message.clone())
    }
}

/// What a recall did.
fn recall_metadata(summary: &Summary) -> RecallMetadata {
    RecallMetadata {
        total_activated: i32::try_from(summary.rows).unwrap_or(i32::MAX),
        above_threshold: i32::try_from(summary.results).unwrap_or(i32::MAX),
        avg_activation: summary.activation_mean,
        recall_time_ms: (summary.took_micros / 1_000) as i64,
        activation_path: Vec::new(),
    }
}
