//! A client's line to the server over one of the transports.

use engram_proto::engram::v1::cue::CueType;
use engram_proto::engram::v1::flow_control::Action;
use engram_proto::engram::v1::observation_ack::Status as AckStatus;
use engram_proto::engram::v1::observation_request::Operation;
use engram_proto::engram::v1::observation_response::Result as Answer;
use engram_proto::engram::v1::stream_status::State;
use engram_proto::engram::v1::{
    ContextCue, Cue, EmbeddingCue, Episode, FlowControl, ObservationRequest, ObservationResponse,
    RecallFilter, StreamClose, StreamEventType, StreamInit, StreamSubscription,
    StreamingRecallRequest,
};
use serde_json::{Value, json};
use tokio::task::block_in_place;
use tonic::Code;

use super::said::{Said, Told};
use crate::harness::{Client, Heard, Observing, Server, Socket};

/// How messages cross the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// MemoryStream.
    Grpc,
    /// WebSocket, text frames.
    Json,
    /// WebSocket, binary frames.
    Messages,
}

impl Transport {
    pub(super) const ALL: [Transport; 3] = [Transport::Grpc, Transport::Json, Transport::Messages];
}

enum Wire {
    /// Opened with its first message.
    Grpc(Client, Option<Observing>),
    Json(Socket),
    Messages(Socket),
}

/// One line.
pub(super) struct Line {
    wire: Wire,
    session: String,
}

impl Line {
    pub(super) async fn open(server: &Server, transport: Transport) -> Line {
        let address = server.address;
        let wire = match transport {
            Transport::Grpc => Wire::Grpc(Client::connect(address).await, None),
            Transport::Json => Wire::Json(block_in_place(|| Socket::connect(address))),
            Transport::Messages => Wire::Messages(block_in_place(|| Socket::connect(address))),
        };
        Line { wire, session: String::new() }
    }

    pub(super) async fn say(&mut self, said: &Said) {
        match &mut self.wire {
            Wire::Grpc(client, stream) => {
                let request = request_of(said, &self.session);
                match stream {
                    None => *stream = Some(client.open_memory(request).await),
                    Some(stream) => assert!(stream.send(request).await, "the stream has ended"),
                }
            }
            Wire::Json(socket) => {
                let message = json_of(said, &self.session);
                block_in_place(|| socket.say_json(&message));
            }
            Wire::Messages(socket) => {
                let request = request_of(said, &self.session);
                block_in_place(|| socket.say(&request));
            }
        }
    }

    pub(super) async fn told(&mut self) -> Told {
        let mut found = Vec::new();
        loop {
            let told = match &mut self.wire {
                Wire::Grpc(_, stream) => {
                    let stream = stream.as_mut().expect("something was said");
                    match stream.next().await {
                        Ok(Some(response)) => told_by_response(response, &mut found),
                        Ok(None) => Some(Told::Ended { code: Code::Ok, words: String::new() }),
                        Err(status) => {
                            let words = status.message().to_owned();
                            Some(Told::Ended { code: status.code(), words })
                        }
                    }
                }
                Wire::Json(socket) | Wire::Messages(socket) => {
                    match block_in_place(|| socket.hear()) {
                        Heard::Json(json) => told_by_json(&json, &mut found),
                        Heard::Response(response) => told_by_response(response, &mut found),
                        Heard::Closed(code) => Some(Told::Ended {
                            code: match code {
                                1000 => Code::Ok,
                                1001 => Code::Unavailable,
                                4000 => Code::Aborted,
                                other => panic!("closed with {other}"),
                            },
                            words: String::new(),
                        }),
                    }
                }
            };
            if let Some(Told::Opened { session, .. }) = &told {
                self.session.clone_from(session);
            }
            if let Some(told) = told {
                return told;
            }
        }
    }
}

fn request_of(said: &Said, own: &str) -> ObservationRequest {
    let mut request = ObservationRequest { session_id: own.to_owned(), ..Default::default() };
    request.operation = Some(match said {
        Said::Init { space, session } => {
            request.memory_space_id.clone_from(space);
            request.session_id.clone_from(session);
            Operation::Init(StreamInit { enable_backpressure: true, ..StreamInit::default() })
        }
        Said::Observe { session, sequence, episode } => {
            request.session_id = session.clone().unwrap_or_else(|| own.to_owned());
            request.sequence_number = *sequence;
            Operation::Observation((**episode).clone())
        }
        Said::Flow(name) => {
            let action = match *name {
                "pause" => Action::Pause,
                "resume" => Action::Resume,
                _ => Action::Unspecified,
            };
            Operation::Flow(FlowControl { action: action.into(), ..FlowControl::default() })
        }
        Said::Recall(vector) => {
            let cue = EmbeddingCue { vector: vector.clone(), similarity_threshold: 0.0 };
            let cue = Cue { cue_type: Some(CueType::Embedding(cue)), ..Cue::default() };
            Operation::Recall(StreamingRecallRequest { cue: Some(cue), ..Default::default() })
        }
        Said::RecallAt { place, vector } => {
            let cue_type = match vector {
                Some(vector) => {
                    let (vector, similarity_threshold) = (vector.clone(), 0.0);
                    CueType::Embedding(EmbeddingCue { vector, similarity_threshold })
                }
                None => CueType::Context(ContextCue::default()),
            };
            let cue = Cue { cue_type: Some(cue_type), ..Cue::default() };
            let where_location = (*place).to_owned();
            let filter = Some(RecallFilter { where_location, ..RecallFilter::default() });
            let recall = StreamingRecallRequest { cue: Some(cue), filter, ..Default::default() };
            Operation::Recall(recall)
        }
        Said::Subscribe(names) => {
            let number = |name: &&str| i32::from(event_type(name));
            let event_types = names.iter().map(number).collect();
            Operation::Subscribe(StreamSubscription { event_types, ..Default::default() })
        }
        Said::Close { drain } => {
            Operation::Close(StreamClose { drain_queue: *drain, last_sequence: 0 })
        }
    });
    request
}

fn json_of(said: &Said, own: &str) -> Value {
    match said {
        Said::Init { space, session } => json!({
            "type": "init", "memory_space_id": space, "session_id": session,
            "enable_backpressure": true,
        }),
        Said::Observe { session, sequence, episode } => json!({
            "type": "observation", "session_id": session.as_deref().unwrap_or(own),
            "sequence_number": sequence, "episode": json_of_episode(episode),
        }),
        Said::Flow(action) => json!({"type": "flow_control", "session_id": own, "action": action}),
        Said::Recall(vector) => json!({"type": "recall", "request_id": "r", "embedding": vector}),
        Said::RecallAt { place, vector } => {
            let filter = json!({"where_location": place});
            match vector {
                Some(vector) => json!({
                    "type": "recall", "request_id": "r", "embedding": vector, "filter": filter,
                }),
                None => json!({"type": "recall", "request_id": "r", "filter": filter}),
            }
        }
        Said::Subscribe(names) => json!({"type": "subscribe", "event_types": names}),
        Said::Close { drain } => {
            json!({"type": "close", "session_id": own, "drain_queue": drain})
        }
    }
}

fn json_of_episode(episode: &Episode) -> Value {
    json!({
        "id": episode.id, "what": episode.what, "embedding": episode.embedding,
        "where_location": episode.where_location, "who": episode.who, "why": episode.why,
        "how": episode.how,
    })
}

fn event_type(name: &str) -> StreamEventType {
    let name = format!("STREAM_EVENT_TYPE_{}", name.to_uppercase());
    StreamEventType::from_str_name(&name).expect("a type of the contract")
}

/// None where more belongs to it.
fn told_by_response(response: ObservationResponse, found: &mut Vec<String>) -> Option<Told> {
    let sequence = response.sequence_number;
    match response.result.expect("no heartbeat") {
        Answer::InitAck(ack) => {
            Some(Told::Opened { session: ack.session_id, initial: ack.initial_sequence })
        }
        Answer::Ack(ack) => match ack.status() {
            AckStatus::Accepted => Some(Told::Accepted { sequence, id: ack.memory_id }),
            AckStatus::Rejected => match found.pop() {
                Some(words) => Some(Told::Refused { sequence, words }),
                None => {
                    assert_eq!(sequence, 0, "a status goes before a REJECTED");
                    None
                }
            },
            other => panic!("unasked: {other:?}"),
        },
        Answer::Status(status) => match status.state() {
            State::Closed => Some(Told::Closed(sequence)),
            State::Active if status.message == "subscribed" => Some(Told::Subscribed),
            State::Active => Some(Told::Flow { paused: false }),
            State::Paused if sequence == 0 => Some(Told::Flow { paused: true }),
            // No ack need follow: it may be about something else than an observation.
            _ if sequence == 0 => Some(Told::Refused { sequence, words: status.message }),
            _ => {
                found.push(status.message);
                None
            }
        },
        Answer::Event(event) => Some(match event.event_type() {
            StreamEventType::Storage => {
                Told::Event { kind: "storage", id: event.metadata["memory_id"].clone() }
            }
            StreamEventType::Recall => {
                Told::Event { kind: "recall", id: event.metadata["memory_id"].clone() }
            }
            other => panic!("unasked: {other:?}"),
        }),
        Answer::RecallResult(page) => {
            found.extend(page.results.into_iter().map(|memory| memory.id));
            page.metadata.map(|_| Told::Found(std::mem::take(found)))
        }
    }
}

fn told_by_json(json: &Value, found: &mut Vec<String>) -> Option<Told> {
    let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
    let number = |key: &str| json[key].as_u64().unwrap_or_default();
    match json["type"].as_str().expect("every message has a type") {
        "init_ack" => {
            Some(Told::Opened { session: text("session_id"), initial: number("initial_sequence") })
        }
        "ack" => {
            assert_eq!(json["status"], "accepted");
            Some(Told::Accepted { sequence: number("sequence_number"), id: text("memory_id") })
        }
        "error" => {
            Some(Told::Refused { sequence: number("sequence_number"), words: text("message") })
        }
        "status" => match json["state"].as_str().expect("a status has a state") {
            "closed" => Some(Told::Closed(number("sequence_number"))),
            "active" if json["message"] == "subscribed" => Some(Told::Subscribed),
            state => Some(Told::Flow { paused: state == "paused" }),
        },
        "event" => {
            let kind = match json["event_type"].as_str().expect("an event has a type") {
                "storage" => "storage",
                "recall" => "recall",
                other => panic!("unasked: {other}"),
            };
            let id = json["metadata"]["memory_id"].as_str().expect("an event is about a memory");
            Some(Told::Event { kind, id: id.to_owned() })
        }
        "recall_result" => {
            let results = json["results"].as_array().expect("a list");
            found.extend(results.iter().map(|result| result["id"].as_str().unwrap_or("").into()));
            (json["more_results"] == false).then(|| Told::Found(std::mem::take(found)))
        }
        other => panic!("{other} is no message of the contract"),
    }
}
