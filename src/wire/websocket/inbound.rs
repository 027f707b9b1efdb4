//! What a client says in text frames: one JSON object each, whose `type` says which.
//!
//! Errors are the words of the wire contract, in its order: the JSON itself, its `type`, then the keys of that type.

use std::borrow::Cow;
use std::rc::Rc;

use serde::Deserialize;
use serde_json::value::RawValue;

use engram_proto::engram::v1::{StreamEventType, StreamSubscription};
use engram_shards::attributes::{self, Criteria};
use engram_shards::ids::Time;
use engram_shards::limits::WHO_ENTRIES_MAX;
use engram_shards::log::record::Embedding;
use engram_shards::message::{Drain, Isolation, Lane};

use crate::failure::Failure;
use crate::limits::RECALL_RESULTS_DEFAULT;
use crate::recall::Query;
use crate::session::{AckMode, FlowAction, Init, Recall, RecallHead};
use crate::wire::calendar::Moment;
use crate::wire::convert;
use crate::wire::websocket::key::{Text, missing};
use crate::wire::websocket::observation::{ObservationMessage, Scratch, read_numbers};

/// A message that was understood.
#[derive(Debug)]
pub(crate) enum Inbound<'a> {
    /// Begins or resumes a session.
    Init(Init),
    /// One observation; its embedding is in the scratch memory.
    Observation(ObservationMessage<'a>),
    /// Asks for another pace.
    FlowControl(FlowControlMessage<'a>),
    /// A similarity query; its embedding is in the scratch memory.
    Recall(RecallMessage<'a>),
    /// Wants to hear what happens.
    Subscribe(StreamSubscription),
    /// Ends the session.
    Close(CloseMessage<'a>),
}

/// `flow_control`.
#[derive(Debug)]
pub(crate) struct FlowControlMessage<'a> {
    session_id: Cow<'a, str>,
    action: Cow<'a, str>,
    preferred_rate: f32,
    buffer_remaining: i64,
}

impl FlowControlMessage<'_> {
    /// The session that it is for.
    pub(crate) fn session_id(&self) -> &str {
        &self.session_id
    }

    /// What it asks for.
    pub(crate) fn action(&self) -> Result<FlowAction, Failure> {
        match self.action.as_ref() {
            "pause" => Ok(FlowAction::Pause),
            "resume" => Ok(FlowAction::Resume),
            "slow_down" | "speed_up" => convert::pace(self.preferred_rate),
            "buffer_status" => convert::room(self.buffer_remaining),
            other => Err(convert::unknown_flow_action(other)),
        }
    }
}

/// `recall`.
#[derive(Debug)]
pub(crate) struct RecallMessage<'a> {
    request_id: Cow<'a, str>,
    results_max: u32,
    snapshot_isolation: bool,
    as_of: Option<Time>,
    page_results: u32,
    /// Without one, the newest are asked for.
    has_embedding: bool,
    criteria: Criteria,
}

impl RecallMessage<'_> {
    /// What a session takes. `scratch` is the one that the message was read with.
    pub(crate) fn recall<'b>(&self, scratch: &'b Scratch) -> Result<Recall<'b>, Failure> {
        let query = Query {
            embedding: self.has_embedding.then(|| Embedding::F32(scratch.numbers())),
            count: self.results_max,
            width: 0,
            isolation: match self.snapshot_isolation {
                true => Isolation::Durable,
                false => Isolation::InFlight,
            },
            as_of: self.as_of,
            similarity_min: -1.0,
            criteria: self.criteria.clone(),
        };
        let head =
            RecallHead { request_id: Rc::from(&*self.request_id), include_embeddings: false };
        Ok(Recall { head, query, page_results: self.page_results })
    }
}

/// `close`.
#[derive(Debug)]
pub(crate) struct CloseMessage<'a> {
    pub(crate) session_id: Option<Cow<'a, str>>,
    pub(crate) drain: Drain,
}

/// Reads a text frame. The error is what the client is told.
///
/// Observations, nearly all of what comes, are read in one pass; only what is not a sound observation is read again.
pub(crate) fn read<'a>(text: &'a str, scratch: &mut Scratch) -> Result<Inbound<'a>, String> {
    let observed = ObservationMessage::read(text, scratch);
    if let Ok(Some(message)) = observed {
        return Ok(Inbound::Observation(message));
    }
    let json: &RawValue =
        serde_json::from_str(text).map_err(|error| format!("Invalid JSON: {error}"))?;
    match kind_of(json)?.as_ref() {
        "observation" => {
            let fault = observed.err().unwrap_or_else(|| String::from("ambiguous type"));
            Err(format!("Invalid observation request: {fault}"))
        }
        "init" => init(text).map_err(|fault| format!("Invalid init request: {fault}")),
        "flow_control" => {
            flow_control(text).map_err(|fault| format!("Invalid flow control request: {fault}"))
        }
        "recall" => {
            recall(text, scratch).map_err(|fault| format!("Invalid recall request: {fault}"))
        }
        "subscribe" => {
            subscribe(text).map_err(|fault| format!("Invalid subscribe request: {fault}"))
        }
        "close" => close(text).map_err(|fault| format!("Invalid close request: {fault}")),
        other => Err(format!("Unknown message type: {other}")),
    }
}

fn kind_of(json: &RawValue) -> Result<Cow<'_, str>, String> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(rename = "type", borrow)]
        kind: Text<'a>,
    }
    // Sound JSON without a `type`, with one that is no string, and no object at all: for a client it is the same.
    serde_json::from_str(json.get())
        .map(|Envelope { kind }| kind.0)
        .map_err(|_| String::from("Missing 'type' field"))
}

fn init(text: &str) -> Result<Inbound<'_>, String> {
    #[derive(Deserialize)]
    struct Keys<'a> {
        #[serde(borrow)]
        memory_space_id: Option<Text<'a>>,
        #[serde(borrow)]
        session_id: Option<Text<'a>>,
        #[serde(borrow)]
        ack_mode: Option<Text<'a>>,
        #[serde(borrow)]
        priority: Option<Text<'a>>,
        client_buffer_size: Option<u32>,
        max_batch_size: Option<u32>,
        indexed_acks: Option<bool>,
        enable_backpressure: Option<bool>,
    }
    let keys: Keys<'_> = keys(text)?;
    let resume = keys.session_id.map(|text| text.0).unwrap_or_default();
    let space = match keys.memory_space_id {
        Some(space) => space.0,
        None if !resume.is_empty() => Cow::Borrowed(""),
        None => return Err(missing("memory_space_id")),
    };
    let ack_mode = match keys.ack_mode.as_ref().map(|mode| mode.0.as_ref()) {
        None | Some("each") => AckMode::Each,
        Some("cumulative") => AckMode::Cumulative,
        Some(other) => return Err(format!("ack_mode is each or cumulative, not {other}")),
    };
    let lane = match keys.priority.as_ref().map(|lane| lane.0.as_ref()) {
        None | Some("normal") => Lane::Normal,
        Some("high") => Lane::High,
        Some("low") => Lane::Low,
        Some(other) => return Err(format!("priority is high, normal or low, not {other}")),
    };
    Ok(Inbound::Init(Init {
        space: space.into_owned(),
        resume: resume.into_owned(),
        lane,
        ack_mode,
        batch_max: keys.max_batch_size.unwrap_or(0),
        buffer_max: keys.client_buffer_size.unwrap_or(0),
        indexed_acks: keys.indexed_acks.unwrap_or(false),
        load_statuses: keys.enable_backpressure.unwrap_or(false),
    }))
}

fn flow_control(text: &str) -> Result<Inbound<'_>, String> {
    #[derive(Deserialize)]
    struct Keys<'a> {
        #[serde(borrow)]
        session_id: Option<Text<'a>>,
        #[serde(borrow)]
        action: Option<Text<'a>>,
        preferred_rate: Option<f32>,
        buffer_remaining: Option<i64>,
    }
    let keys: Keys<'_> = keys(text)?;
    Ok(Inbound::FlowControl(FlowControlMessage {
        session_id: keys.session_id.ok_or_else(|| missing("session_id"))?.0,
        action: keys.action.ok_or_else(|| missing("action"))?.0,
        preferred_rate: keys.preferred_rate.unwrap_or(0.0),
        buffer_remaining: keys.buffer_remaining.unwrap_or(0),
    }))
}

fn recall<'a>(text: &'a str, scratch: &mut Scratch) -> Result<Inbound<'a>, String> {
    #[derive(Deserialize)]
    struct Keys<'a> {
        #[serde(borrow)]
        request_id: Option<Text<'a>>,
        #[serde(borrow)]
        embedding: Option<&'a RawValue>,
        max_results: Option<u32>,
        snapshot_isolation: Option<bool>,
        #[serde(borrow)]
        snapshot_time: Option<Text<'a>>,
        page_size: Option<u32>,
        #[serde(borrow)]
        filter: Option<FilterKeys<'a>>,
    }
    let keys: Keys<'_> = keys(text)?;
    let request_id = keys.request_id.ok_or_else(|| missing("request_id"))?.0;
    match keys.embedding {
        Some(embedding) => {
            read_numbers(embedding, scratch).map_err(|error| error.to_string())?;
        }
        // The newest of those that pass a filter.
        None if keys.filter.is_some() => {}
        None => return Err(missing("embedding")),
    }
    Ok(Inbound::Recall(RecallMessage {
        request_id,
        results_max: keys.max_results.unwrap_or(RECALL_RESULTS_DEFAULT),
        snapshot_isolation: keys.snapshot_isolation.unwrap_or(false),
        as_of: time("snapshot_time", keys.snapshot_time)?.map(convert::time_of),
        // A client that names no size knows nothing of pages.
        page_results: keys.page_size.filter(|size| *size > 0).unwrap_or(u32::MAX),
        has_embedding: keys.embedding.is_some(),
        criteria: keys.filter.map_or(Ok(Criteria::default()), FilterKeys::criteria)?,
    }))
}

/// What results must be.
#[derive(Deserialize)]
struct FilterKeys<'a> {
    #[serde(borrow)]
    from: Option<Text<'a>>,
    #[serde(borrow)]
    to: Option<Text<'a>>,
    #[serde(borrow)]
    where_location: Option<Text<'a>>,
    #[serde(borrow, default)]
    who: Vec<Text<'a>>,
    #[serde(borrow, default)]
    tags: Vec<Text<'a>>,
}

impl FilterKeys<'_> {
    fn criteria(self) -> Result<Criteria, String> {
        let FilterKeys { from, to, where_location, who, tags } = self;
        let names = |names: Vec<Text<'_>>| match names.len() <= WHO_ENTRIES_MAX {
            true => Ok(names.iter().map(|name| Box::from(&*name.0)).collect()),
            false => Err(format!("a filter names {WHO_ENTRIES_MAX} at most")),
        };
        Ok(Criteria {
            from: time("filter.from", from)?,
            to: time("filter.to", to)?,
            place: where_location.map_or_else(Box::default, |place| Box::from(&*place.0)),
            who: names(who)?,
            tags: names(tags)?,
        })
    }
}

fn time(key: &str, text: Option<Text<'_>>) -> Result<Option<attributes::Moment>, String> {
    match text {
        None => Ok(None),
        Some(text) => match Moment::parse_rfc3339(&text.0) {
            Some(Moment { seconds, nanos }) => Ok(Some((seconds, nanos))),
            None => Err(format!("{key} is no time by RFC 3339")),
        },
    }
}

fn subscribe(text: &str) -> Result<Inbound<'_>, String> {
    #[derive(Deserialize)]
    struct Keys<'a> {
        #[serde(borrow)]
        event_types: Option<Vec<Text<'a>>>,
        min_importance: Option<f32>,
        buffer_size: Option<i32>,
    }
    let keys: Keys<'_> = keys(text)?;
    let types = keys.event_types.unwrap_or_default();
    Ok(Inbound::Subscribe(StreamSubscription {
        event_types: types.iter().map(|name| event_type(&name.0)).collect::<Result<_, _>>()?,
        min_importance: keys.min_importance.unwrap_or(0.0),
        buffer_size: keys.buffer_size.unwrap_or(0),
        enable_backpressure: false,
    }))
}

fn event_type(name: &str) -> Result<i32, String> {
    let known =
        StreamEventType::from_str_name(&format!("STREAM_EVENT_TYPE_{}", name.to_ascii_uppercase()));
    known.map(i32::from).ok_or_else(|| format!("event type {name} is not known"))
}

fn close(text: &str) -> Result<Inbound<'_>, String> {
    #[derive(Deserialize)]
    struct Keys<'a> {
        #[serde(borrow)]
        session_id: Option<Text<'a>>,
        drain_queue: Option<bool>,
    }
    let keys: Keys<'_> = keys(text)?;
    let session_id = keys.session_id.map(|text| text.0);
    let drain = match keys.drain_queue {
        Some(true) => Drain::Indexed,
        Some(false) | None => Drain::Durable,
    };
    Ok(Inbound::Close(CloseMessage { session_id, drain }))
}

fn keys<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        read(text, &mut Scratch::default()).expect_err("not a sound message")
    }

    #[test]
    fn faults_are_told_in_the_contracts_words_and_order() {
        assert!(refused("{").starts_with("Invalid JSON: "));
        assert!(refused(r#"{"type":"close"} x"#).starts_with("Invalid JSON: "));
        assert!(refused(r#"{"type":"observation","episode":NaN}"#).starts_with("Invalid JSON: "));
        for text in ["[]", "5", "{}", r#"{"type":7}"#, r#"{"Type":"init"}"#] {
            assert_eq!(refused(text), "Missing 'type' field", "{text}");
        }
        assert_eq!(refused(r#"{"type":"dream"}"#), "Unknown message type: dream");
        assert_eq!(
            refused(r#"{"type":"init"}"#),
            "Invalid init request: missing field memory_space_id"
        );
        assert_eq!(
            refused(r#"{"type":"flow_control","session_id":"a"}"#),
            "Invalid flow control request: missing field action"
        );
        assert_eq!(
            refused(r#"{"type":"recall","embedding":[1]}"#),
            "Invalid recall request: missing field request_id"
        );
        assert_eq!(
            refused(r#"{"type":"subscribe","event_types":["rain"]}"#),
            "Invalid subscribe request: event type rain is not known"
        );
        assert!(
            refused(r#"{"type":"close","drain_queue":3}"#).starts_with("Invalid close request: ")
        );
    }

    #[test]
    fn init_reads_its_options_and_ignores_unknown_keys() {
        let text = r#"{"memory_space_id":"sp\u0061ce","priority":"low","ack_mode":"cumulative",
            "later":{"x":[1]},"client_buffer_size":3,"type":"init"}"#;
        let Ok(Inbound::Init(init)) = read(text, &mut Scratch::default()) else {
            panic!("an init");
        };
        assert_eq!((init.space.as_str(), init.resume.as_str()), ("space", ""));
        assert_eq!((init.lane, init.ack_mode), (Lane::Low, AckMode::Cumulative));
        assert_eq!((init.buffer_max, init.batch_max), (3, 0));
    }

    #[test]
    fn a_resuming_init_needs_no_space() {
        let text = r#"{"type":"init","session_id":"s"}"#;
        let Ok(Inbound::Init(init)) = read(text, &mut Scratch::default()) else {
            panic!("an init");
        };
        assert_eq!((init.space.as_str(), init.resume.as_str()), ("", "s"));
        assert!(
            refused(r#"{"type":"init","memory_space_id":"a","priority":"urgent"}"#)
                .contains("urgent")
        );
    }

    #[test]
    fn a_recall_fills_the_scratch_memory() {
        let mut scratch = Scratch::default();
        let text =
            r#"{"type":"recall","request_id":"q","embedding":[1, -2.5, 3e1],"max_results":2}"#;
        let Ok(Inbound::Recall(recall)) = read(text, &mut scratch) else {
            panic!("a recall");
        };
        assert_eq!((recall.request_id.as_ref(), recall.results_max), ("q", 2));
        assert!(recall.has_embedding && !recall.snapshot_isolation);
        assert_eq!(recall.criteria, Criteria::default());
        let text = r#"{"type":"recall","request_id":"q","filter":{"from":"1970-01-01T00:00:01Z",
            "where_location":"l\u0061b","who":["Ada"]}}"#;
        let Ok(Inbound::Recall(recall)) = read(text, &mut scratch) else {
            panic!("a recall");
        };
        let criteria = Criteria {
            from: Some((1, 0)),
            place: "lab".into(),
            who: vec!["Ada".into()],
            ..Criteria::default()
        };
        assert!(!recall.has_embedding);
        assert_eq!(recall.criteria, criteria);
        assert_eq!(
            refused(r#"{"type":"recall","request_id":"q","filter":{"to":"noon"}}"#),
            "Invalid recall request: filter.to is no time by RFC 3339"
        );
        assert_eq!(
            refused(r#"{"type":"recall","request_id":"q"}"#),
            "Invalid recall request: missing field embedding"
        );
        assert_eq!(scratch.numbers(), [1.0, -2.5, 30.0]);
    }
}
