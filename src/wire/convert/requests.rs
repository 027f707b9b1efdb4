//! What a client asks for.

use std::rc::Rc;

use engram_proto::engram::v1::cue::CueType;
use engram_proto::engram::v1::flow_control::Action;
use engram_proto::engram::v1::remember_request::MemoryType as Remembered;
use engram_proto::engram::v1::{
    AckMode as WireAckMode, ContextCue, Cue, EmbeddingCue, FlowControl,
    ForgetMode as WireForgetMode, ForgetRequest, Priority, RecallFilter, RecallRequest,
    RememberRequest, StreamClose, StreamInit, StreamingRecallRequest, forget_request,
};
use engram_shards::attributes::{Criteria, Moment};
use engram_shards::ids::Time;
use engram_shards::limits::{RECALL_RESULTS_MAX, WHO_ENTRIES_MAX};
use engram_shards::log::record::{Embedding, Observation};
use engram_shards::message::{Drain, ForgetMode, Isolation, Lane};
use prost_types::Timestamp;

use super::memories::{observation, observation_of_memory};
use crate::failure::{Code, Failure};
use crate::forget::Target;
use crate::limits::RECALL_RESULTS_DEFAULT;
use crate::recall::Query;
use crate::session::{AckMode, FlowAction, Init, Recall, RecallHead};

/// What a client wants to be remembered.
pub(crate) fn remembered(request: &RememberRequest) -> Result<Observation<'_>, Failure> {
    match &request.memory_type {
        Some(Remembered::Episode(episode)) => Ok(observation(episode)),
        Some(Remembered::Memory(memory)) => Ok(observation_of_memory(memory)),
        None => Err(invalid("neither a memory nor an episode")),
    }
}

/// What `init` asks for; `session_id` is the one to be resumed, or empty.
pub(crate) fn init(init: &StreamInit, space: String, session_id: String) -> Result<Init, Failure> {
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
    Ok(Init {
        space,
        resume: session_id,
        lane,
        ack_mode,
        batch_max: init.max_batch_size,
        buffer_max: init.client_buffer_size,
        indexed_acks: init.indexed_acks,
        load_statuses: init.enable_backpressure,
    })
}

/// How far `close` wants to drain.
pub(crate) fn drain(close: &StreamClose) -> Drain {
    if close.drain_queue { Drain::Indexed } else { Drain::Durable }
}

/// A recall on a session's stream.
pub(crate) fn recall(request: &StreamingRecallRequest) -> Result<Recall<'_>, Failure> {
    Ok(Recall {
        head: recall_head(request),
        query: streaming_query(request)?,
        page_results: request.page_size,
    })
}

/// What comes back with each answer to a streaming recall.
pub(crate) fn recall_head(request: &StreamingRecallRequest) -> RecallHead {
    RecallHead {
        request_id: Rc::from(request.request_id.as_str()),
        include_embeddings: request.include_embeddings,
    }
}

/// What a streaming recall asks.
pub(crate) fn streaming_query(request: &StreamingRecallRequest) -> Result<Query<'_>, Failure> {
    let isolation =
        if request.snapshot_isolation { Isolation::Durable } else { Isolation::InFlight };
    let query = query(request.cue.as_ref(), request.max_results, request.search_width, isolation)?;
    let as_of = moment(&request.snapshot_time)?.map(time_of);
    let query = Query { as_of, ..query };
    let Some(filter) = &request.filter else {
        return Ok(query);
    };
    Ok(Query { criteria: both(query.criteria, criteria(filter)?)?, ..query })
}

/// What a unary recall asks.
pub(crate) fn unary_query(request: &RecallRequest) -> Result<Query<'_>, Failure> {
    let count = at_least_zero(request.max_results)?;
    query(request.cue.as_ref(), count, 0, Isolation::InFlight)
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

/// There is no such action.
pub(crate) fn unknown_flow_action(action: &str) -> Failure {
    invalid(format!("Unknown flow control action: {action}"))
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
    match query.similarity_min > 0.0 && query.embedding.is_some() {
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
    let (embedding, threshold_of_cue, criteria) = match cue_type(cue)? {
        Served::Embedding(embedding) => {
            let vector = Embedding::F32(&embedding.vector);
            (Some(vector), embedding.similarity_threshold, Criteria::default())
        }
        Served::Context(context) => {
            let ContextCue { time_start, time_end, location, participants } = context;
            let criteria = asked((time_start, time_end), location, participants, &[])?;
            (None, 0.0, criteria)
        }
    };
    let threshold = cue.threshold.as_ref().map_or(0.0, |threshold| threshold.value);
    let counts = [count, at_least_zero(cue.max_results)?, RECALL_RESULTS_DEFAULT];
    Ok(Query {
        embedding,
        count: counts.into_iter().find(|count| *count > 0).unwrap_or(RECALL_RESULTS_DEFAULT),
        width,
        isolation,
        as_of: None,
        similarity_min: similarity_min(threshold, threshold_of_cue)?,
        criteria,
    })
}

/// What a filter asks of memories.
fn criteria(filter: &RecallFilter) -> Result<Criteria, Failure> {
    let RecallFilter { from, to, where_location, who, tags } = filter;
    asked((from, to), where_location, who, tags)
}

fn asked(
    (from, to): (&Option<Timestamp>, &Option<Timestamp>),
    place: &str,
    who: &[String],
    tags: &[String],
) -> Result<Criteria, Failure> {
    if who.len() > WHO_ENTRIES_MAX || tags.len() > WHO_ENTRIES_MAX {
        return Err(invalid(format!("a filter names {WHO_ENTRIES_MAX} at most")));
    }
    let boxed = |names: &[String]| names.iter().map(|name| name.as_str().into()).collect();
    let (from, to) = (moment(from)?, moment(to)?);
    Ok(Criteria { from, to, place: place.into(), who: boxed(who), tags: boxed(tags) })
}

fn moment(time: &Option<Timestamp>) -> Result<Option<Moment>, Failure> {
    match time {
        Some(Timestamp { seconds, nanos: nanos @ 0..1_000_000_000 }) => {
            Ok(Some((*seconds, *nanos as u32)))
        }
        Some(_) => Err(invalid("a time has 0 to 999,999,999 nanoseconds")),
        None => Ok(None),
    }
}

/// The engine's time at this moment; before 1970, its begin.
pub(crate) fn time_of((seconds, nanos): Moment) -> Time {
    let micros = u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000);
    Time(micros.saturating_add(u64::from(nanos / 1_000)))
}

/// What both ask.
fn both(one: Criteria, other: Criteria) -> Result<Criteria, Failure> {
    let place = match (&*one.place, &*other.place) {
        ("", _) => other.place,
        (_, "") => one.place,
        (a, b) if a == b => one.place,
        _ => return Err(invalid("the cue and the filter name two places")),
    };
    Ok(Criteria {
        from: one.from.max(other.from),
        to: one.to.into_iter().chain(other.to).min(),
        place,
        who: [one.who, other.who].concat(),
        tags: [one.tags, other.tags].concat(),
    })
}

/// A cue of a kind that is served.
enum Served<'a> {
    Embedding(&'a EmbeddingCue),
    Context(&'a ContextCue),
}

fn cue_type(cue: &Cue) -> Result<Served<'_>, Failure> {
    let kind = match &cue.cue_type {
        Some(CueType::Embedding(embedding)) => return Ok(Served::Embedding(embedding)),
        Some(CueType::Context(context)) => return Ok(Served::Context(context)),
        None => return Err(invalid("the recall has no cue")),
        Some(CueType::Temporal(_)) => "temporal",
        Some(CueType::Semantic(_)) => "semantic",
        Some(CueType::Pattern(_)) => "pattern",
    };
    let message =
        format!("{kind} cues are not served by engram; send an embedding cue or a context cue");
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

/// A message that asks for nothing.
pub(crate) fn empty_operation() -> Failure {
    invalid("the message has no operation")
}

/// What is asked for is part of the contract, but not of what this server does.
pub(crate) fn not_served(what: &str) -> Failure {
    Failure::new(Code::Unimplemented, format!("Not served: {what}"))
}

fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(Code::InvalidArgument, message)
}

#[cfg(test)]
mod tests {
    use engram_proto::engram::v1::Confidence;

    use super::*;

    fn confidence(value: f32) -> Confidence {
        Confidence { value, ..Confidence::default() }
    }

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
    fn only_embedding_and_context_cues_are_served() {
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
    fn an_init_says_how_it_is_to_be_answered() {
        let asks = StreamInit { priority: 9, ..StreamInit::default() };
        assert_eq!(
            init(&asks, "space".into(), String::new()).unwrap_err().code,
            Code::InvalidArgument
        );
        let asks =
            StreamInit { priority: Priority::Low.into(), ack_mode: 1, ..StreamInit::default() };
        let init = init(&asks, "space".into(), String::new()).expect("served");
        assert_eq!((init.lane, init.ack_mode), (Lane::Low, AckMode::Cumulative));
        assert!(!init.indexed_acks && !init.load_statuses);
    }
}
