//! A WebSocket, message by message, in either form.

use std::net::{SocketAddr, TcpStream};

use engram_proto::engram::v1::{ObservationRequest, ObservationResponse};
use prost::Message as _;
use serde_json::Value;
use tungstenite::{Message, WebSocket};

use super::PATIENCE;

/// A connection.
pub(crate) struct Socket {
    frames: WebSocket<TcpStream>,
}

/// What the server says.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A JSON object that is no heartbeat.
    Json(Value),
    /// A message of the protocol that is no heartbeat.
    Response(ObservationResponse),
    /// The close frame's code.
    Closed(u16),
}

impl Socket {
    /// Connects to `/v1/stream`.
    pub(crate) fn connect(address: SocketAddr) -> Socket {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time that is not zero");
        let opened = tungstenite::client(format!("ws://{address}/v1/stream"), stream);
        let (frames, _) = opened.expect("the server opens a WebSocket");
        Socket { frames }
    }

    /// Says an object in a text frame.
    pub(crate) fn say_json(&mut self, message: &Value) {
        self.say_text(&message.to_string());
    }

    /// Says this in a text frame.
    pub(crate) fn say_text(&mut self, text: &str) {
        self.frames.send(Message::text(text)).expect("the server reads");
    }

    /// Says a message of the protocol in a binary frame.
    pub(crate) fn say(&mut self, request: &ObservationRequest) {
        self.say_bytes(request.encode_to_vec());
    }

    /// Says this in a binary frame.
    pub(crate) fn say_bytes(&mut self, bytes: Vec<u8>) {
        self.frames.send(Message::binary(bytes)).expect("the server reads");
    }

    /// What the server says next.
    pub(crate) fn hear(&mut self) -> Heard {
        loop {
            match self.frames.read().expect("the server says something in time") {
                Message::Text(text) => {
                    let json: Value = serde_json::from_str(&text).expect("text frames are JSON");
                    if json["type"] != "heartbeat" {
                        return Heard::Json(json);
                    }
                }
                Message::Binary(bytes) => {
                    let response = ObservationResponse::decode(bytes);
                    let response = response.expect("binary frames are messages");
                    if response.result.is_some() {
                        return Heard::Response(response);
                    }
                }
                Message::Close(frame) => {
                    return Heard::Closed(frame.map_or(1_005, |frame| frame.code.into()));
                }
                _ => {}
            }
        }
    }

    /// The next object.
    pub(crate) fn hear_json(&mut self) -> Value {
        match self.hear() {
            Heard::Json(json) => json,
            other => panic!("no JSON but {other:?}"),
        }
    }

    /// The next message of the protocol.
    pub(crate) fn hear_response(&mut self) -> ObservationResponse {
        match self.hear() {
            Heard::Response(response) => response,
            other => panic!("no message but {other:?}"),
        }
    }
}
