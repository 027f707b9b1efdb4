//! The only file that knows the wire's types and the engine's both.

use std::collections::BTreeMap;
use std::rc::Rc;

use engram_proto::engram::v1::cue::CueType;
use engram_proto::engram::v1::flow_control::Action;
use engram_proto::engram::v1::observation_ack::Status as AckStatus;
use engram_proto::engram::v1::remember_request::MemoryType as Remembered;
use engram_proto::engram::v1::stream_status::State;
use engram_proto::engram::v1::{
    AckMode as WireAckMode, Confidence, ConfidenceCategory, ConsolidationState, Cue,
    Durability as WireDurability, EmbeddingCue, Episode, FlowControl, ForgetMode as WireForgetMode,
    ForgetRequest, Memory, MemoryType, ObservationAck, Priority, RecallMetadata, RecallRequest,
    RecallResponse, RememberRequest, RememberResponse, StreamCapabilities, StreamClose, StreamInit,
    StreamInitAck, StreamStatus, StreamingRecallRequest, StreamingRecallResponse, forget_request,
};
use engram_shards::ids::Time;
use engram_shards::limits::RECALL_RESULTS_MAX;
use engram_shards::log::record::{Embedding, Observation, read_embedding};
use engram_shards::message::{Drain, Durability, ForgetMode, Isolation, Lane};
use prost_types::Timestamp;
use uuid::Uuid;

use crate::core::Core;
use crate::failure::{Code, Failure};
use crate::forget::Target;
use crate::limits::RECALL_RESULTS_DEFAULT;
use crate::recall::{Found, Page, Query, Recollection, Summary};
use crate::session::{AckMode, FlowAction, Init, Recall, RecallHead, Refused, Session};
use crate::store::Stored;

/// An engine's time on the wire.
pub(crate) fn timestamp(time: Time) -> Timestamp {
    Timestamp { seconds: (time.0 / 1_000_000) as i64, nanos: (time.0 % 1_000_000) as i32 * 1_000 }
}

/// A confidence and the word for it.
pub(crate) fn confidence(value: f32) -> Confidence {
    let category = match value {
        v if v <= 0.0 => ConfidenceCategory::None,
        v if v < 0.4 => ConfidenceCategory::Low,
        v if v < 0.7 => ConfidenceCategory::Medium,
        v if v < 0.95 => ConfidenceCategory::High,
        _ => ConfidenceCategory::Certain,
    };
    Confidence { value, category: category.into(), reasoning: String::new() }
}

/// What an episode observes.
pub(crate) fn observation(episode: &Episode) -> Observation<'_> {
    Observation {
        id: &episode.id,
        what: &episode.what,
        embedding: embedding(episode),
        when: episode.when.as_ref().map(moment),
        place: &episode.where_location,
        who: episode.who.iter().map(String::as_str).collect(),
        why: &episode.why,
        how: &episode.how,
        tags: Vec::new(),
        metadata: Vec::new(),
        memory_type: MemoryType::Episodic as u8,
        confidence: episode.encoding_confidence.as_ref().map(|confidence| confidence.value),
        decay_rate: episode.decay_rate,
        emotional_valence: episode.emotional_valence,
        importance: episode.importance,
    }
}

/// What a memory that is to be stored says.
pub(crate) fn observation_of_memory(memory: &Memory) -> Observation<'_> {
    Observation {
        id: &memory.id,
        what: &memory.content,
        embedding: Embedding::F32(&memory.embedding),
        when: memory.created_at.as_ref().map(moment),
        place: "",
        who: Vec::new(),
        why: "",
        how: "",
        tags: memory.tags.iter().map(String::as_str).collect(),
        metadata: memory
            .metadata
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect(),
        memory_type: MemoryType::try_from(memory.memory_type).unwrap_or_default() as u8,
        confidence: memory.confidence.as_ref().map(|confidence| confidence.value),
        decay_rate: memory.decay_rate,
        emotional_valence: 0.0,
        importance: 0.0,
    }
}

/// What a client wants to be remembered.
pub(crate) fn remembered(request: &RememberRequest) -> Result<Observation<'_>, Failure> {
    match &request.memory_type {
        Some(Remembered::Episode(episode)) => Ok(observation(episode)),
        Some(Remembered::Memory(memory)) => Ok(observation_of_memory(memory)),
        None => Err(invalid("neither a memory nor an episode")),
    }
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

/// The byte forms stand instead of the numbers where they are given.
fn embedding(episode: &Episode) -> Embedding<'_> {
    if !episode.embedding_f16.is_empty() {
        Embedding::F16Bytes(&episode.embedding_f16)
    } else if !episode.embedding_f32.is_empty() {
        Embedding::F32Bytes(&episode.embedding_f32)
    } else {
        Embedding::F32(&episode.embedding)
    }
}

/// Nanoseconds that are none (negative ones) become too many, and are refused with the rest of the content.
fn moment(timestamp: &Timestamp) -> (i64, u32) {
    (timestamp.seconds, u32::try_from(timestamp.nanos).unwrap_or(u32::MAX))
}

/// What `init` asks for; `session_id` is the one to be resumed, or empty.
pub(crate) fn init(init: &StreamInit, space: String, session_id: String) -> Result<Init, Failure> {
    if init.indexed_acks {
        return Err(not_served("indexed_acks"));
    }
    let lane = match Priority::try_from(init.priority) {
        Ok(Priority::High) => Lane::High,
        Ok(Priority::Normal) => Lane::Normal,
        Ok(Priority::Low) => Lane::Low,
        Err(_) => return Err(invalid(format!("priority {} is not known", init.priority))),
    };
    let ack_mode = match WireAckMode::try_from(init.ack_mode) {
        Ok(WireAckMode::Each) => AckMode::Each,
        Ok(WireAckMode::Cumulative) => AckMode::Cumulative,
        Err(_) => return Err(invalid(format!("ack_mode {} is not known", init.ack_mode))),
    };
    Ok(Init { space, resume: session_id, lane, ack_mode })
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

/// How far `close` wants to drain.
pub(crate) fn drain(close: &StreamClose) -> Drain {
    if close.drain_queue { Drain::Indexed } else { Drain::Durable }
}

/// An ack of `first..=last`.
pub(crate) fn accepted(
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

/// A refusal's ack; its status says why.
pub(crate) fn rejected(memory_id: String) -> ObservationAck {
    ObservationAck {
        status: AckStatus::Rejected.into(),
        memory_id,
        committed_at: None,
        first_sequence: 0,
    }
}

/// What a client reads that observes although it has paused.
pub(crate) const SESSION_PAUSED: &str = "Session paused";

/// Why an observation is refused.
pub(crate) fn status_of(why: &Refused) -> StreamStatus {
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

/// A status that is no more than its state and a text.
pub(crate) fn status(state: State, message: impl Into<String>) -> StreamStatus {
    StreamStatus { state: state.into(), message: message.into(), ..StreamStatus::default() }
}

/// What a streaming recall asks.
pub(crate) fn streaming_query(request: &StreamingRecallRequest) -> Result<Query<'_>, Failure> {
    if request.snapshot_time.is_some() {
        return Err(not_served("snapshot_time"));
    }
    if request.filter.is_some() {
        return Err(not_served("filter"));
    }
    let isolation =
        if request.snapshot_isolation { Isolation::Durable } else { Isolation::InFlight };
    query(request.cue.as_ref(), request.max_results, request.search_width, isolation)
}

/// What comes back with each answer to a streaming recall.
pub(crate) fn recall_head(request: &StreamingRecallRequest) -> RecallHead {
    RecallHead {
        request_id: Rc::from(request.request_id.as_str()),
        include_embeddings: request.include_embeddings,
    }
}

/// A recall on a session's stream.
pub(crate) fn recall(request: &StreamingRecallRequest) -> Result<Recall<'_>, Failure> {
    Ok(Recall {
        head: recall_head(request),
        query: streaming_query(request)?,
        page_results: request.page_size,
    })
}

/// How a client wants its results to flow.
pub(crate) fn flow_action(flow: &FlowControl) -> Result<FlowAction, Failure> {
    match Action::try_from(flow.action) {
        Ok(Action::Pause) => Ok(FlowAction::Pause),
        Ok(Action::Resume) => Ok(FlowAction::Resume),
        Ok(Action::SlowDown | Action::SpeedUp) => pace(flow.preferred_rate),
        Ok(Action::BufferStatus) => room(flow.buffer_remaining.into()),
        Ok(Action::Unspecified) | Err(_) => Err(unknown_flow_action(&flow.action.to_string())),
    }
}

/// So many results a second; 0: as fast as they come.
pub(crate) fn pace(per_s: f32) -> Result<FlowAction, Failure> {
    match per_s.is_finite() && per_s >= 0.0 {
        true => Ok(FlowAction::Pace(per_s)),
        false => Err(invalid("preferred_rate must be a number of results a second")),
    }
}

/// Room for so many results.
pub(crate) fn room(results: i64) -> Result<FlowAction, Failure> {
    let results = u32::try_from(results);
    results.map(FlowAction::Room).map_err(|_| invalid("buffer_remaining must not be negative"))
}

/// The answer to flow control: the state that holds from now on.
pub(crate) fn flow_status(is_paused: bool) -> StreamStatus {
    match is_paused {
        true => status(State::Paused, "paused"),
        false => status(State::Active, "active"),
    }
}

/// There is no such action.
pub(crate) fn unknown_flow_action(action: &str) -> Failure {
    invalid(format!("Unknown flow control action: {action}"))
}

/// What a unary recall asks.
pub(crate) fn unary_query(request: &RecallRequest) -> Result<Query<'_>, Failure> {
    let count = at_least_zero(request.max_results)?;
    query(request.cue.as_ref(), count, 0, Isolation::InFlight)
}

/// Which memories are to be forgotten. By a cue, only those that are as like it as it says itself: without that, a recall
/// gives the nearest there are, however far.
pub(crate) fn forget_target(request: &ForgetRequest) -> Result<Target<'_>, Failure> {
    let cue = match &request.target {
        None => return Err(invalid("neither a memory's id nor a pattern")),
        Some(forget_request::Target::MemoryId(id)) => return Ok(Target::Id(id)),
        Some(forget_request::Target::Pattern(cue)) => cue,
    };
    let query = query(Some(cue), RECALL_RESULTS_MAX, 0, Isolation::InFlight)?;
    match query.similarity_min > 0.0 {
        true => Ok(Target::Like(query)),
        false => Err(invalid("a pattern to be forgotten needs a threshold")),
    }
}

/// How far memories are to be forgotten: where nothing is said, so that it can be undone.
pub(crate) fn forget_mode(request: &ForgetRequest) -> Result<ForgetMode, Failure> {
    match WireForgetMode::try_from(request.mode) {
        Ok(WireForgetMode::Unspecified | WireForgetMode::Suppress) => Ok(ForgetMode::Suppress),
        Ok(WireForgetMode::Delete) => Ok(ForgetMode::Delete),
        Ok(WireForgetMode::Overwrite) => Err(not_served(
            "FORGET_MODE_OVERWRITE; to overwrite a memory, store another one under its id",
        )),
        Err(_) => Err(invalid(format!("mode {} is not known", request.mode))),
    }
}

fn query(
    cue: Option<&Cue>,
    count: u32,
    width: u32,
    isolation: Isolation,
) -> Result<Query<'_>, Failure> {
    let cue = cue.ok_or_else(|| invalid("the recall has no cue"))?;
    let embedding = embedding_cue(cue)?;
    let threshold = cue.threshold.as_ref().map_or(0.0, |threshold| threshold.value);
    let counts = [count, at_least_zero(cue.max_results)?, RECALL_RESULTS_DEFAULT];
    Ok(Query {
        embedding: Embedding::F32(&embedding.vector),
        count: counts.into_iter().find(|count| *count > 0).unwrap_or(RECALL_RESULTS_DEFAULT),
        width,
        isolation,
        similarity_min: similarity_min(threshold, embedding.similarity_threshold)?,
    })
}

fn embedding_cue(cue: &Cue) -> Result<&EmbeddingCue, Failure> {
    let kind = match &cue.cue_type {
        Some(CueType::Embedding(embedding)) => return Ok(embedding),
        None => return Err(invalid("the recall has no cue")),
        Some(CueType::Context(_)) => "context",
        Some(CueType::Temporal(_)) => "temporal",
        Some(CueType::Semantic(_)) => "semantic",
        Some(CueType::Pattern(_)) => "pattern",
    };
    let message = format!("{kind} cues are not served by engram; send an embedding cue");
    Err(Failure::new(Code::Unimplemented, message))
}

/// Zero stands for "no threshold", so it lets through what points away from the cue too.
fn similarity_min(threshold: f32, similarity_threshold: f32) -> Result<f32, Failure> {
    if !threshold.is_finite() || !similarity_threshold.is_finite() {
        return Err(invalid("thresholds must be finite"));
    }
    let highest = threshold.max(similarity_threshold);
    Ok(if highest == 0.0 { -1.0 } else { highest })
}

fn at_least_zero(count: i32) -> Result<u32, Failure> {
    u32::try_from(count).map_err(|_| invalid("max_results must not be negative"))
}

/// A result, with its vector as it was received where `dimension` is given.
pub(crate) fn memory(found: &Found, dimension: Option<u16>) -> Memory {
    let observation = found.observation();
    Memory {
        id: observation.id.to_owned(),
        embedding: dimension
            .map_or_else(Vec::new, |dimension| vector(observation.embedding, dimension)),
        activation: found.activation,
        confidence: Some(confidence(found.confidence)),
        last_access: None,
        created_at: Some(timestamp(found.received_at)),
        decay_rate: observation.decay_rate,
        content: observation.what.to_owned(),
        metadata: metadata(&observation),
        tags: observation.tags.iter().map(|&tag| tag.to_owned()).collect(),
        memory_type: observation.memory_type.into(),
        durability: match found.durability {
            Durability::Durable => WireDurability::Durable.into(),
            Durability::InFlight => WireDurability::InFlight.into(),
        },
    }
}

fn vector(embedding: Embedding<'_>, dimension: u16) -> Vec<f32> {
    let mut numbers = vec![0.0; usize::from(dimension)];
    read_embedding(embedding, &mut numbers).expect("the vector was checked when it was stored");
    numbers
}

/// Who, where, why, how and when of the episode, beside the memory's own.
pub(crate) fn metadata(observation: &Observation<'_>) -> BTreeMap<String, String> {
    let when = observation
        .when
        .map(|(seconds, nanos)| Timestamp { seconds, nanos: nanos as i32 }.to_string());
    let described = [
        ("who", observation.who.join(", ")),
        ("where", observation.place.to_owned()),
        ("why", observation.why.to_owned()),
        ("how", observation.how.to_owned()),
        ("when", when.unwrap_or_default()),
    ];
    let own = observation.metadata.iter().map(|&(key, value)| (key, value.to_owned()));
    let described = described.into_iter().filter(|(_, value)| !value.is_empty());
    own.chain(described).map(|(key, value)| (key.to_owned(), value)).collect()
}

/// All that a recall found.
pub(crate) fn recalled(recollection: &Recollection, include_metadata: bool) -> RecallResponse {
    let Recollection { found, summary } = recollection;
    RecallResponse {
        memories: found.iter().map(|found| memory(found, None)).collect(),
        recall_confidence: Some(confidence(found.first().map_or(0.0, |best| best.confidence))),
        metadata: include_metadata.then(|| recall_metadata(summary)),
        traces: Vec::new(),
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
    let state = match failure.code {
        Code::ResourceExhausted => State::Overloaded,
        _ => State::Error,
    };
    let after_ms = failure.retry_after.map_or(0, |after| after.as_millis());
    StreamStatus {
        request_id: request_id.to_owned(),
        retry_after_ms: u32::try_from(after_ms).unwrap_or(u32::MAX),
        ..status(state, failure.message.clone())
    }
}

/// What a recall did.
pub(crate) fn recall_metadata(summary: &Summary) -> RecallMetadata {
    RecallMetadata {
        total_activated: i32::try_from(summary.rows).unwrap_or(i32::MAX),
        above_threshold: i32::try_from(summary.results).unwrap_or(i32::MAX),
        avg_activation: summary.activation_mean,
        recall_time_ms: (summary.took_micros / 1_000) as i64,
        activation_path: Vec::new(),
    }
}

/// A message that asks for nothing.
pub(crate) fn empty_operation() -> Failure {
    invalid("the message has no operation")
}

fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(Code::InvalidArgument, message)
}

/// What is asked for is part of the contract, but not of what this server does.
pub(crate) fn not_served(what: &str) -> Failure {
    Failure::new(Code::Unimplemented, format!("Not served: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cue(similarity_threshold: f32, threshold: Option<f32>) -> Cue {
        let embedding = EmbeddingCue { vector: vec![1.0; 8], similarity_threshold };
        Cue {
            cue_type: Some(CueType::Embedding(embedding)),
            threshold: threshold.map(confidence),
            ..Cue::default()
        }
    }

    #[test]
    fn the_highest_threshold_holds_and_none_lets_all_through() {
        let min = |cue: Cue| {
            query(Some(&cue), 0, 0, Isolation::Durable).map(|query| query.similarity_min)
        };
        assert_eq!(min(cue(0.0, None)), Ok(-1.0));
        assert_eq!(min(cue(0.3, None)), Ok(0.3));
        assert_eq!(min(cue(0.3, Some(0.5))), Ok(0.5));
        assert!(min(cue(f32::NAN, None)).is_err());
    }

    #[test]
    fn the_requests_count_goes_before_the_cues_and_both_before_the_default() {
        let mut cue = cue(0.0, None);
        let count = |cue: &Cue, count| {
            query(Some(cue), count, 0, Isolation::Durable).map(|query| query.count)
        };
        assert_eq!(count(&cue, 0), Ok(10));
        cue.max_results = 7;
        assert_eq!(count(&cue, 0), Ok(7));
        assert_eq!(count(&cue, 3), Ok(3));
        cue.max_results = -1;
        assert!(count(&cue, 3).is_err());
    }

    #[test]
    fn only_embedding_cues_are_served() {
        let none = Cue::default();
        assert_eq!(
            query(Some(&none), 1, 0, Isolation::Durable).unwrap_err().code,
            Code::InvalidArgument
        );
        assert_eq!(query(None, 1, 0, Isolation::Durable).unwrap_err().code, Code::InvalidArgument);
        let semantic =
            Cue { cue_type: Some(CueType::Semantic(Default::default())), ..Cue::default() };
        let refusal = query(Some(&semantic), 1, 0, Isolation::Durable).unwrap_err();
        assert_eq!(refusal.code, Code::Unimplemented);
    }

    #[test]
    fn what_an_init_asks_and_is_not_served_is_refused() {
        let asks = StreamInit { indexed_acks: true, ..StreamInit::default() };
        assert_eq!(
            init(&asks, "space".into(), String::new()).unwrap_err(),
            not_served("indexed_acks")
        );
        let asks = StreamInit { priority: 9, ..StreamInit::default() };
        assert_eq!(
            init(&asks, "space".into(), String::new()).unwrap_err().code,
            Code::InvalidArgument
        );
        let asks =
            StreamInit { priority: Priority::Low.into(), ack_mode: 1, ..StreamInit::default() };
        let init = init(&asks, "space".into(), String::new()).expect("served");
        assert_eq!((init.lane, init.ack_mode), (Lane::Low, AckMode::Cumulative));
    }

    #[test]
    fn an_episode_says_who_where_why_how_and_when() {
        let episode = Episode {
            who: vec!["Ada".into(), "Bob".into()],
            where_location: "lab".into(),
            when: Some(Timestamp { seconds: 1_700_000_000, nanos: 0 }),
            ..Episode::default()
        };
        let metadata = metadata(&observation(&episode));
        let expected = [("when", "2023-11-14T22:13:20Z"), ("where", "lab"), ("who", "Ada, Bob")];
        assert_eq!(
            metadata,
            expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
        );
    }
}
