//! What a client that speaks JSON is told: one object in each text frame.

use std::collections::BTreeMap;

use serde::Serialize;
use tungstenite::Message;

use engram_proto::engram::v1::stream_status::State;
use engram_proto::engram::v1::{StreamInitAck, StreamResponse, StreamStatus};
use engram_shards::ids::Time;

use crate::failure::{Code, Failure};
use crate::recall::{Page, Summary};
use crate::session::{AckMode, Event, RecallHead, Refused};
use crate::wire::calendar::Moment;
use crate::wire::convert::{self, SESSION_PAUSED};
use crate::wire::memory_json::MemoryJson;

/// Whom something is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addressee<'a> {
    pub(super) session_id: Option<&'a str>,
    pub(super) ack_mode: AckMode,
    pub(super) now: Time,
}

/// A message to the client.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Outbound<'a> {
    /// A session is open.
    InitAck { session_id: &'a str, initial_sequence: u64, capabilities: Capabilities },
    /// Observations are durable, or indexed.
    Ack {
        session_id: &'a str,
        sequence_number: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        first_sequence: Option<u64>,
        status: &'static str,
        memory_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        committed_at: Option<Moment>,
    },
    /// The server lives.
    Heartbeat { session_id: Option<&'a str>, timestamp: Moment },
    /// How the session stands.
    Status {
        session_id: Option<&'a str>,
        state: &'static str,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        queue_depth: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        queue_capacity: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pressure: Option<f32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        preferred_rate: Option<f32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u32>,
        sequence_number: u64,
    },
    /// Results of a recall, or a page of them.
    RecallResult {
        request_id: &'a str,
        results: Vec<MemoryJson<'a>>,
        more_results: bool,
        snapshot_sequence: u64,
    },
    /// Something happened in the space.
    Event {
        event_type: String,
        timestamp: Moment,
        description: &'a str,
        metadata: &'a BTreeMap<String, String>,
        importance: f32,
    },
    /// Something was refused.
    Error {
        message: &'a str,
        session_id: Option<&'a str>,
        code: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        sequence_number: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        field: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
}

/// What the server can do, for `init_ack`.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Capabilities {
    /// 0: no other limit than the queue's.
    pub(super) max_observations_per_second: u32,
    pub(super) queue_capacity: u32,
    pub(super) supports_backpressure: bool,
    pub(super) supports_snapshot_isolation: bool,
}

impl Outbound<'_> {
    /// The message as a text frame.
    pub(super) fn to_message(&self) -> Message {
        Message::text(serde_json::to_string(self).expect("these values are all JSON"))
    }
}

/// Says an event of a session. That it has failed is said as what failed.
pub(super) fn say_event(event: &Event, to: &Addressee<'_>, mut say: impl FnMut(Message)) {
    let session_id = to.session_id;
    match event {
        Event::Accepted { first, last, memory_id, committed_at } => {
            say(ack(to, "accepted", (*first, *last), memory_id, *committed_at))
        }
        Event::Indexed { first, last, memory_id } => {
            say(ack(to, "indexed", (*first, *last), memory_id, None))
        }
        Event::Refused { sequence, why, .. } => say(refused(why, *sequence, session_id)),
        Event::Load { load, pressure } => {
            say(status(&convert::load_status(*load, *pressure), 0, session_id))
        }
        Event::Page { head, page, summary } => say(recall_result(head, page, summary)),
        // The last page said so already.
        Event::Recalled { summary, .. } if summary.results > 0 => {}
        Event::Recalled { head, summary } => {
            let page = Page { found: Vec::new(), more_results: false };
            say(recall_result(head, &page, summary))
        }
        Event::RecallFailed { request_id, failure } => {
            say(failed(failure, session_id, Some(request_id)))
        }
        Event::Subscribed { is_paused, .. } => {
            say(status(&convert::subscribed(*is_paused), 0, session_id))
        }
        Event::Happened(event) => say(event_told(&convert::happened(event.clone()), event.at)),
        Event::EventsMissed(count) => {
            say(event_told(&convert::events_missed(*count, to.now), to.now))
        }
        Event::SubscriptionEnded { failure, .. } => say(failed(failure, session_id, None)),
        Event::Ended(failure) if failure.code == Code::Aborted => {
            say(status(&convert::closed(&*failure.message), 0, session_id))
        }
        Event::Ended(failure) => say(failed(failure, session_id, None)),
        Event::Closed { .. } => {}
    }
}

fn ack(
    to: &Addressee<'_>,
    status: &'static str,
    (first, last): (u64, u64),
    memory_id: &str,
    committed_at: Option<Time>,
) -> Message {
    Outbound::Ack {
        session_id: to.session_id.unwrap_or_default(),
        sequence_number: last,
        first_sequence: (to.ack_mode == AckMode::Cumulative).then_some(first),
        status,
        memory_id,
        committed_at: committed_at.map(|time| Moment::from_micros(time.0)),
    }
    .to_message()
}

/// A session is open.
pub(super) fn init_ack(ack: &StreamInitAck) -> Message {
    let told = ack.capabilities.unwrap_or_default();
    let capabilities = Capabilities {
        max_observations_per_second: told.max_observations_per_second,
        queue_capacity: told.queue_capacity,
        supports_backpressure: told.supports_backpressure,
        supports_snapshot_isolation: told.supports_snapshot_isolation,
    };
    let (session_id, initial_sequence) = (&*ack.session_id, ack.initial_sequence);
    Outbound::InitAck { session_id, initial_sequence, capabilities }.to_message()
}

/// The server lives.
pub(super) fn heartbeat(to: &Addressee<'_>) -> Message {
    let timestamp = Moment::from_micros(to.now.0);
    Outbound::Heartbeat { session_id: to.session_id, timestamp }.to_message()
}

/// Why a message as a whole, such as the recall `request_id`, failed.
pub(super) fn failed(
    failure: &Failure,
    session_id: Option<&str>,
    request_id: Option<&str>,
) -> Message {
    Outbound::Error {
        message: &failure.message,
        session_id,
        code: failure.code.label(),
        sequence_number: None,
        request_id,
        field: None,
        retry_after_ms: failure.retry_after.map(|after| after.as_millis() as u64),
    }
    .to_message()
}

/// Why an observation is refused.
fn refused(why: &Refused, sequence: u64, session_id: Option<&str>) -> Message {
    let (message, code, field, retry_after_ms) = match why {
        Refused::Content { message, field } => {
            (message.as_str(), Code::InvalidArgument, Some(*field), None)
        }
        Refused::Sequence { message } => (message.as_str(), Code::FailedPrecondition, None, None),
        Refused::Paused => (SESSION_PAUSED, Code::FailedPrecondition, None, None),
        Refused::Overloaded { message, retry_after_ms, .. } => {
            let after_ms = u64::from(*retry_after_ms);
            (message.as_str(), Code::ResourceExhausted, None, Some(after_ms))
        }
    };
    Outbound::Error {
        message,
        session_id,
        code: code.label(),
        sequence_number: Some(sequence),
        request_id: None,
        field,
        retry_after_ms,
    }
    .to_message()
}

/// How a session stands.
pub(super) fn status(
    status: &StreamStatus,
    sequence_number: u64,
    session_id: Option<&str>,
) -> Message {
    let is_load = status.queue_capacity > 0;
    Outbound::Status {
        session_id,
        state: match status.state() {
            State::Active => "active",
            State::Paused => "paused",
            State::Backpressure => "backpressure",
            State::Overloaded => "overloaded",
            State::Closed => "closed",
            State::Error | State::Unspecified => "error",
        },
        message: &status.message,
        queue_depth: is_load.then_some(status.queue_depth),
        queue_capacity: is_load.then_some(status.queue_capacity),
        pressure: is_load.then_some(status.pressure),
        preferred_rate: (status.preferred_rate > 0.0).then_some(status.preferred_rate),
        retry_after_ms: (status.retry_after_ms > 0).then_some(status.retry_after_ms),
        sequence_number,
    }
    .to_message()
}

/// Something that happened in the space.
fn event_told(event: &StreamResponse, at: Time) -> Message {
    let name = event.event_type().as_str_name();
    let event_type = name.strip_prefix("STREAM_EVENT_TYPE_").unwrap_or(name).to_ascii_lowercase();
    Outbound::Event {
        event_type,
        timestamp: Moment::from_micros(at.0),
        description: &event.description,
        metadata: &event.metadata,
        importance: event.importance,
    }
    .to_message()
}

/// A page of a recall's results.
fn recall_result(head: &RecallHead, page: &Page, summary: &Summary) -> Message {
    Outbound::RecallResult {
        request_id: &head.request_id,
        results: page.found.iter().map(MemoryJson::new).collect(),
        more_results: page.more_results,
        snapshot_sequence: summary.snapshot_sequence,
    }
    .to_message()
}

#[cfg(test)]
mod tests {
    use engram_proto::engram::v1::StreamCapabilities;
    use engram_shards::message::{Level, Pressure};
    use serde_json::{Value, json};

    use super::*;
    use crate::session::Load;

    fn read(message: &Message) -> Value {
        serde_json::from_str(message.to_text().expect("text")).expect("JSON")
    }

    fn to(ack_mode: AckMode) -> Addressee<'static> {
        Addressee { session_id: Some("s"), ack_mode, now: Time(0) }
    }

    #[test]
    fn acks_have_the_contracts_shape() {
        let told = |ack_mode| {
            let mut told = Vec::new();
            let (memory_id, committed_at) = ("m\"".to_owned(), Some(Time(0)));
            let accepted = Event::Accepted { first: 3, last: 7, memory_id, committed_at };
            say_event(&accepted, &to(ack_mode), |message| told.push(read(&message)));
            told.remove(0)
        };
        let expected = json!({"type": "ack", "session_id": "s", "sequence_number": 7,
            "status": "accepted", "memory_id": "m\"", "committed_at": "1970-01-01T00:00:00Z"});
        assert_eq!(told(AckMode::Each), expected);
        assert_eq!(told(AckMode::Cumulative)["first_sequence"], 3);
    }

    #[test]
    fn init_ack_and_heartbeat_have_the_contracts_shape() {
        let capabilities = StreamCapabilities {
            max_observations_per_second: 0,
            queue_capacity: 5,
            supports_backpressure: true,
            supports_snapshot_isolation: true,
        };
        let ack = StreamInitAck {
            session_id: "s".to_owned(),
            initial_sequence: 0,
            capabilities: Some(capabilities),
        };
        let expected = json!({"type": "init_ack", "session_id": "s", "initial_sequence": 0,
            "capabilities": {"max_observations_per_second": 0, "queue_capacity": 5,
                "supports_backpressure": true, "supports_snapshot_isolation": true}});
        assert_eq!(read(&init_ack(&ack)), expected);
        let nobody = Addressee { session_id: None, ..to(AckMode::Each) };
        let expected =
            json!({"type": "heartbeat", "session_id": null, "timestamp": "1970-01-01T00:00:00Z"});
        assert_eq!(read(&heartbeat(&nobody)), expected);
    }

    #[test]
    fn refusals_say_what_why_and_when_to_come_back() {
        let why = Refused::Overloaded {
            message: String::from("Queue error: Queue over capacity: 9/9"),
            retry_after_ms: 40,
            depth: 9,
            capacity: 9,
        };
        let expected = json!({"type": "error", "session_id": "s", "sequence_number": 3,
            "message": "Queue error: Queue over capacity: 9/9", "code": "resource_exhausted",
            "retry_after_ms": 40});
        assert_eq!(read(&refused(&why, 3, Some("s"))), expected);
        let why = Refused::Content {
            message: String::from("Embedding must be finite"),
            field: "embedding",
        };
        let told = read(&refused(&why, 4, Some("s")));
        assert_eq!(
            (&told["code"], &told["field"]),
            (&json!("invalid_argument"), &json!("embedding"))
        );
        let expected =
            json!({"type": "error", "message": "m", "session_id": null, "code": "not_found"});
        assert_eq!(read(&failed(&Failure::new(Code::NotFound, "m"), None, None)), expected);
    }

    #[test]
    fn a_status_tells_of_load_where_there_is_some() {
        let pressure = Pressure {
            depth: 85,
            capacity: 100,
            level: Level::Critical,
            preferred_rate: 50,
            retry_after_micros: 0,
        };
        let loaded = convert::load_status(Load::Backpressure, pressure);
        let expected = json!({"type": "status", "session_id": "s", "state": "backpressure",
            "message": "the queue fills: send more slowly", "queue_depth": 85,
            "queue_capacity": 100, "pressure": 0.85, "preferred_rate": 50.0,
            "sequence_number": 0});
        assert_eq!(read(&status(&loaded, 0, Some("s"))), expected);
        let expected = json!({"type": "status", "session_id": null, "state": "paused",
            "message": "paused", "sequence_number": 0});
        assert_eq!(read(&status(&convert::flow_status(true), 0, None)), expected);
    }

    #[test]
    fn results_have_the_contracts_shape() {
        let head = RecallHead { request_id: "q".into(), include_embeddings: false };
        let summary = Summary {
            results: 0,
            activation_mean: 0.0,
            snapshot_sequence: 12,
            rows: 0,
            dimension: 768,
            took_micros: 0,
        };
        let page = Page { found: Vec::new(), more_results: false };
        let expected = json!({"type": "recall_result", "request_id": "q", "results": [],
            "more_results": false, "snapshot_sequence": 12});
        assert_eq!(read(&recall_result(&head, &page, &summary)), expected);
    }
}
