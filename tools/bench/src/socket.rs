//! A WebSocket client that blocks, with as little work of its own as may be: its frames can be made beforehand.

use std::io::{BufReader, Error, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use engram::dataset::{DIMENSION, Dataset};
use engram_proto::engram::v1::observation_request::Operation;
use engram_proto::engram::v1::observation_response::Result as Answer;
use engram_proto::engram::v1::stream_status::State;
use engram_proto::engram::v1::{
    AckMode, Episode, ObservationRequest, ObservationResponse, StreamInit,
    observation_ack::Status as AckStatus,
};
use prost::Message;
use serde::Serialize;
use serde_json::{Value, json};

/// How long the server may take for a message: after that it is taken to hang.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Text frames, vectors as arrays of numbers.
    Json,
    /// Binary frames of protobuf.
    Binary,
}

/// A session on its connection.
pub(crate) struct Socket {
    stream: TcpStream,
    answers: BufReader<TcpStream>,
    form: Form,
    /// Its id.
    pub(crate) session: String,
}

impl Socket {
    /// Connects and opens a session.
    pub(crate) fn open(address: SocketAddr, form: Form, space: &str) -> Result<Socket> {
        let stream = connect(address)?;
        let answers = BufReader::new(stream.try_clone()?);
        let mut socket = Socket { stream, answers, form, session: String::new() };
        socket.stream.write_all(&frame(form, &init(form, space)))?;
        match socket.hear()? {
            Told::InitAck { session } => socket.session = session,
            other => return Err(unexpected(&other)),
        }
        Ok(socket)
    }

    /// Frames of this session go here.
    pub(crate) fn frames(&self) -> Result<TcpStream> {
        self.stream.try_clone()
    }

    /// What the server says next.
    pub(crate) fn hear(&mut self) -> Result<Told> {
        next_message(&mut self.answers)
    }

    /// Says something in the protocol's own form.
    pub(crate) fn say(&self, request: &ObservationRequest) -> Result<()> {
        self.frames()?.write_all(&frame(Form::Binary, &request.encode_to_vec()))
    }

    /// The frame with an observation that shows a row.
    pub(crate) fn observation(&self, data: &Dataset, sequence: u64, row: usize) -> Vec<u8> {
        observation(self.form, data, (&self.session, sequence), row)
    }
}

/// A connection behind its handshake.
fn connect(address: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    write!(
        stream,
        "GET /v1/stream HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    match head.starts_with(b"HTTP/1.1 101 ") {
        true => Ok(stream),
        false => Err(Error::other(String::from_utf8_lossy(&head).into_owned())),
    }
}

/// A client's frame. Its mask changes nothing, which the server cannot know.
fn frame(form: Form, payload: &[u8]) -> Vec<u8> {
    let opcode = match form {
        Form::Json => 0x81,
        Form::Binary => 0x82,
    };
    let mut frame = vec![opcode];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

fn init(form: Form, space: &str) -> Vec<u8> {
    match form {
        Form::Json => json!({"type": "init", "memory_space_id": space, "ack_mode": "cumulative"})
            .to_string()
            .into_bytes(),
        Form::Binary => {
            let init = StreamInit { ack_mode: AckMode::Cumulative.into(), ..StreamInit::default() };
            let request = ObservationRequest {
                memory_space_id: space.to_owned(),
                operation: Some(Operation::Init(init)),
                ..ObservationRequest::default()
            };
            request.encode_to_vec()
        }
    }
}

fn observation(
    form: Form,
    data: &Dataset,
    (session, sequence): (&str, u64),
    row: usize,
) -> Vec<u8> {
    let mut vector = [0.0; DIMENSION];
    data.base(row, &mut vector);
    let (id, what) = (format!("m{row}"), data.base_text(row));
    match form {
        Form::Json => {
            let episode = SentEpisode { id: &id, what: &what, embedding: &vector };
            let message = Sent {
                kind: "observation",
                session_id: session,
                sequence_number: sequence,
                episode,
            };
            let message = serde_json::to_vec(&message);
            frame(form, &message.expect("finite numbers and texts are JSON"))
        }
        Form::Binary => {
            let episode = Episode { id, what, embedding: vector.to_vec(), ..Episode::default() };
            let request = ObservationRequest {
                session_id: session.to_owned(),
                sequence_number: sequence,
                operation: Some(Operation::Observation(episode)),
                ..ObservationRequest::default()
            };
            frame(form, &request.encode_to_vec())
        }
    }
}

/// An observation as JSON has it, each number with as few digits as tell it from its neighbours.
#[derive(Serialize)]
struct Sent<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    session_id: &'a str,
    sequence_number: u64,
    episode: SentEpisode<'a>,
}

#[derive(Serialize)]
struct SentEpisode<'a> {
    id: &'a str,
    what: &'a str,
    embedding: &'a [f32],
}

/// What the server said.
#[derive(Debug)]
pub(crate) enum Told {
    InitAck {
        session: String,
    },
    Accepted {
        last: u64,
    },
    /// The session was closed.
    Closed {
        last: u64,
    },
    /// The connection ends, with this code.
    End {
        code: u16,
    },
    /// Nothing that counts: a heartbeat, a ping.
    Other,
}

/// What was not to be said.
pub(crate) fn unexpected(told: &dyn std::fmt::Debug) -> Error {
    Error::other(format!("the server said {told:?}"))
}

fn next_message(answers: &mut impl Read) -> Result<Told> {
    let mut head = [0; 2];
    answers.read_exact(&mut head)?;
    let length = match head[1] & 0x7f {
        126 => {
            let mut bytes = [0; 2];
            answers.read_exact(&mut bytes)?;
            u64::from(u16::from_be_bytes(bytes))
        }
        127 => {
            let mut bytes = [0; 8];
            answers.read_exact(&mut bytes)?;
            u64::from_be_bytes(bytes)
        }
        short => u64::from(short),
    };
    let mut payload = vec![0; usize::try_from(length).map_err(Error::other)?];
    answers.read_exact(&mut payload)?;
    match head[0] & 0x0f {
        1 => told_in_json(&serde_json::from_slice(&payload)?),
        2 => told_in_binary(ObservationResponse::decode(&payload[..]).map_err(Error::other)?),
        8 => {
            let code = payload.first_chunk().copied().map_or(0, u16::from_be_bytes);
            Ok(Told::End { code })
        }
        _ => Ok(Told::Other),
    }
}

fn told_in_json(message: &Value) -> Result<Told> {
    let sequence = message["sequence_number"].as_u64();
    match (message["type"].as_str(), message["status"].as_str(), sequence) {
        (Some("init_ack"), ..) => {
            let session = message["session_id"].as_str().unwrap_or_default().to_owned();
            Ok(Told::InitAck { session })
        }
        (Some("ack"), Some("accepted"), Some(last)) => Ok(Told::Accepted { last }),
        (Some("status"), ..) if message["state"] == "CLOSED" => {
            Ok(Told::Closed { last: sequence.unwrap_or_default() })
        }
        (Some("heartbeat"), ..) => Ok(Told::Other),
        _ => Err(unexpected(message)),
    }
}

fn told_in_binary(response: ObservationResponse) -> Result<Told> {
    match response.result {
        Some(Answer::InitAck(ack)) => Ok(Told::InitAck { session: ack.session_id }),
        Some(Answer::Ack(ack)) if ack.status() == AckStatus::Accepted => {
            Ok(Told::Accepted { last: response.sequence_number })
        }
        Some(Answer::Status(status)) if status.state() == State::Closed => {
            Ok(Told::Closed { last: response.sequence_number })
        }
        None => Ok(Told::Other),
        other => Err(unexpected(&other)),
    }
}
