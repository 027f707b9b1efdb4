//! The only file that knows the wire's types and the engine's both.

use std::collections::BTreeMap;

use engram_proto::engram::v1::cue::CueType;
use engram_proto::engram::v1::observation_ack::Status as AckStatus;
use engram_proto::engram::v1::stream_status::State;
use engram_proto::engram::v1::{
    AckMode as WireAckMode, Confidence, ConfidenceCategory, Cue, Durability as WireDurability,
    EmbeddingCue, Episode, ForgetMode as WireForgetMode, ForgetRequest, Memory, MemoryType,
    ObservationAck, Priority, RecallMetadata, RecallRequest, StreamCapabilities, StreamClose,
    StreamInit, StreamInitAck, StreamStatus, StreamingRecallRequest, forget_request,
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
use crate::recall::{Found, Query, Recollection};
use crate::session::{AckMode, Init, Refused, Session};

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

/// Why an observation is refused.
pub(crate) fn status_of(why: &Refused) -> StreamStatus {
    match why {
        Refused::Content { message, field } => {
            status(State::Error, format!("{message} (field: {field})"))
        }
        Refused::Sequence { message } => status(State::Error, message.clone()),
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
    let width = request.search_width;
    query(&request.memory_space_id, request.cue.as_ref(), request.max_results, width, isolation)
}

/// What a unary recall asks.
pub(crate) fn unary_query(request: &RecallRequest) -> Result<Query<'_>, Failure> {
    let count = at_least_zero(request.max_results)?;
    query(&request.memory_space_id, request.cue.as_ref(), count, 0, Isolation::InFlight)
}

/// Which memories are to be forgotten. By a cue, only those that are as like it as it says itself: without that, a recall
/// gives the nearest there are, however far.
pub(crate) fn forget_target(request: &ForgetRequest) -> Result<Target<'_>, Failure> {
    let cue = match &request.target {
        None => return Err(invalid("neither a memory's id nor a pattern")),
        Some(forget_request::Target::MemoryId(id)) => return Ok(Target::Id(id)),
        Some(forget_request::Target::Pattern(cue)) => cue,
    };
    let (space, isolation) = (&request.memory_space_id, Isolation::InFlight);
    let query = query(space, Some(cue), RECALL_RESULTS_MAX, 0, isolation)?;
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

fn query<'a>(
    space: &'a str,
    cue: Option<&'a Cue>,
    count: u32,
    width: u32,
    isolation: Isolation,
) -> Result<Query<'a>, Failure> {
    let cue = cue.ok_or_else(|| invalid("the recall has no cue"))?;
    let embedding = embedding_cue(cue)?;
    let threshold = cue.threshold.as_ref().map_or(0.0, |threshold| threshold.value);
    let counts = [count, at_least_zero(cue.max_results)?, RECALL_RESULTS_DEFAULT];
    Ok(Query {
        space,
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

/// What a recall did.
pub(crate) fn recall_metadata(recollection: &Recollection, took_micros: u64) -> RecallMetadata {
    let found = &recollection.found;
    let sum: f32 = found.iter().map(|found| found.activation).sum();
    RecallMetadata {
        total_activated: i32::try_from(recollection.rows).unwrap_or(i32::MAX),
        above_threshold: found.len() as i32,
        avg_activation: if found.is_empty() { 0.0 } else { sum / found.len() as f32 },
        recall_time_ms: (took_micros / 1_000) as i64,
        activation_path: Vec::new(),
    }
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
            query("", Some(&cue), 0, 0, Isolation::Durable).map(|query| query.similarity_min)
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
            query("", Some(cue), count, 0, Isolation::Durable).map(|query| query.count)
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
            query("", Some(&none), 1, 0, Isolation::Durable).unwrap_err().code,
            Code::InvalidArgument
        );
        assert_eq!(
            query("", None, 1, 0, Isolation::Durable).unwrap_err().code,
            Code::InvalidArgument
        );
        let semantic =
            Cue { cue_type: Some(CueType::Semantic(Default::default())), ..Cue::default() };
        let refusal = query("", Some(&semantic), 1, 0, Isolation::Durable).unwrap_err();
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
