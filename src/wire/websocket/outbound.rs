//! What a client is told: one JSON object in each text frame.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use tungstenite::Message;

use engram_shards::log::record::Observation;
use engram_shards::message::Durability;

use crate::failure::{Code, Failure};
use crate::recall::{Found, Page, Summary};
use crate::session::{RecallHead, Refused};
use crate::wire::calendar::Moment;
use crate::wire::convert::{self, SESSION_PAUSED};

/// A message to the client.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Outbound<'a> {
    /// A session is open.
    InitAck { session_id: &'a str, initial_sequence: u64, capabilities: Capabilities },
    /// Observations are durable.
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
        sequence_number: u64,
    },
    /// Results of a recall, or a page of them.
    RecallResult {
        request_id: &'a str,
        results: Vec<ResultEntry<'a>>,
        more_results: bool,
        snapshot_sequence: u64,
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

/// One result of a recall.
#[derive(Debug, Serialize)]
pub(super) struct ResultEntry<'a> {
    id: &'a str,
    content: &'a str,
    activation: f32,
    confidence: f32,
    durability: &'static str,
    when: Option<Moment>,
    metadata: BTreeMap<String, String>,
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Outbound<'_> {
    /// The message as a text frame.
    pub(super) fn to_message(&self) -> Message {
        Message::text(serde_json::to_string(self).expect("these values are all JSON"))
    }
}

/// Why a message as a whole is refused.
pub(super) fn error(message: &str, code: Code, session_id: Option<&str>) -> Message {
    let code = code.label();
    let (sequence_number, request_id, field, retry_after_ms) = (None, None, None, None);
    Outbound::Error {
        message,
        session_id,
        code,
        sequence_number,
        request_id,
        field,
        retry_after_ms,
    }
    .to_message()
}

/// Why a call, such as the recall `request_id`, failed.
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
pub(super) fn refused(why: &Refused, sequence: u64, session_id: &str) -> Message {
    let (message, code, field, retry_after_ms) = match why {
        Refused::Content { message, field } => {
            (message.as_str(), Code::InvalidArgument, Some(*field), None)
        }
        Refused::Sequence { message } => (message.as_str(), Code::FailedPrecondition, None, None),
        Refused::Paused => (SESSION_PAUSED, Code::FailedPrecondition, None, None),
        Refused::Overloaded { message, retry_after_ms, .. } => {
            (message.as_str(), Code::ResourceExhausted, None, Some(u64::from(*retry_after_ms)))
        }
    };
    Outbound::Error {
        message,
        session_id: Some(session_id),
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
    session_id: Option<&str>,
    state: &'static str,
    message: &str,
    sequence_number: u64,
) -> Message {
    Outbound::Status { session_id, state, message, sequence_number }.to_message()
}

/// A page of a recall's results.
pub(super) fn recall_result(head: &RecallHead, page: &Page, summary: &Summary) -> Message {
    let found = page.found.iter();
    Outbound::RecallResult {
        request_id: &head.request_id,
        results: found.map(|found| entry(found, &found.observation())).collect(),
        more_results: page.more_results,
        snapshot_sequence: summary.snapshot_sequence,
    }
    .to_message()
}

fn entry<'a>(found: &Found, observation: &Observation<'a>) -> ResultEntry<'a> {
    ResultEntry {
        id: observation.id,
        content: observation.what,
        activation: found.activation,
        confidence: found.confidence,
        durability: match found.durability {
            Durability::Durable => "durable",
            Durability::InFlight => "in_flight",
        },
        when: observation.when.map(|(seconds, nanos)| Moment { seconds, nanos }),
        metadata: convert::metadata(observation),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(message: &Message) -> Value {
        serde_json::from_str(message.to_text().expect("text")).expect("JSON")
    }

    #[test]
    fn acks_have_the_contracts_shape() {
        let ack = |first_sequence| Outbound::Ack {
            session_id: "s",
            sequence_number: 7,
            first_sequence,
            status: "accepted",
            memory_id: "m\"",
            committed_at: Some(Moment { seconds: 0, nanos: 0 }),
        };
        let expected = json!({"type": "ack", "session_id": "s", "sequence_number": 7,
            "status": "accepted", "memory_id": "m\"", "committed_at": "1970-01-01T00:00:00Z"});
        assert_eq!(read(&ack(None).to_message()), expected);
        assert_eq!(read(&ack(Some(3)).to_message())["first_sequence"], 3);
    }

    #[test]
    fn init_ack_and_heartbeat_have_the_contracts_shape() {
        let capabilities = Capabilities {
            max_observations_per_second: 0,
            queue_capacity: 5,
            supports_backpressure: true,
            supports_snapshot_isolation: true,
        };
        let ack = Outbound::InitAck { session_id: "s", initial_sequence: 0, capabilities };
        let expected = json!({"type": "init_ack", "session_id": "s", "initial_sequence": 0,
            "capabilities": {"max_observations_per_second": 0, "queue_capacity": 5,
                "supports_backpressure": true, "supports_snapshot_isolation": true}});
        assert_eq!(read(&ack.to_message()), expected);
        let timestamp = Moment { seconds: 0, nanos: 0 };
        let heartbeat = Outbound::Heartbeat { session_id: None, timestamp };
        let expected =
            json!({"type": "heartbeat", "session_id": null, "timestamp": "1970-01-01T00:00:00Z"});
        assert_eq!(read(&heartbeat.to_message()), expected);
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
        assert_eq!(read(&refused(&why, 3, "s")), expected);
        let why = Refused::Content {
            message: String::from("Embedding must be finite"),
            field: "embedding",
        };
        let told = read(&refused(&why, 4, "s"));
        assert_eq!(
            (&told["code"], &told["field"]),
            (&json!("invalid_argument"), &json!("embedding"))
        );
        let expected =
            json!({"type": "error", "message": "m", "session_id": null, "code": "not_found"});
        assert_eq!(read(&error("m", Code::NotFound, None)), expected);
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
