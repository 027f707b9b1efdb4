//! A stream over WebSocket: JSON in text frames, vectors as base64, on the executor's own sockets.
//!
//! tungstenite only turns bytes into frames here; it reads and writes a [`Pipe`] that never blocks.

use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use std::{error, fmt};

use bytes::{Buf, BytesMut};
use engram::client::stream::Transport;
use engram::client::window::Answer;
use engram_proto::engram::v1::{AckMode, Episode};
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use glommio::net::TcpStream;
use serde::{Deserialize, Serialize};
use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

/// Bytes asked of the socket at once.
const READ_BYTES: usize = 64 << 10;
/// The longest answer to the handshake that is read.
const HANDSHAKE_BYTES_MAX: usize = 16 << 10;

/// Why a stream broke.
#[derive(Debug)]
pub(crate) enum WebSocketError {
    /// The connection.
    Socket(io::Error),
    /// The frames on it.
    Frames(tungstenite::Error),
    /// What the server said.
    Protocol(String),
    /// The server sent a close frame.
    Closed,
}

impl fmt::Display for WebSocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WebSocketError::Socket(why) => write!(f, "the connection broke: {why}"),
            WebSocketError::Frames(why) => write!(f, "not WebSocket: {why}"),
            WebSocketError::Protocol(why) => write!(f, "the server said: {why}"),
            WebSocketError::Closed => write!(f, "the server closed the connection"),
        }
    }
}

impl error::Error for WebSocketError {}

impl From<io::Error> for WebSocketError {
    fn from(why: io::Error) -> WebSocketError {
        WebSocketError::Socket(why)
    }
}

/// A session on its connection.
#[derive(Debug)]
pub(crate) struct WebSocketStream {
    socket: TcpStream,
    frames: WebSocket<Pipe>,
    read: Vec<u8>,
    session_id: String,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Sent<'a> {
    Init { memory_space_id: &'a str, ack_mode: &'a str, enable_backpressure: bool },
    Observation { session_id: &'a str, sequence_number: u64, episode: SentEpisode<'a> },
    Close { session_id: &'a str, drain_queue: bool },
}

#[derive(Serialize)]
struct SentEpisode<'a> {
    id: &'a str,
    what: &'a str,
    embedding_f32: String,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Received {
    InitAck {
        session_id: String,
    },
    Ack {
        sequence_number: u64,
        first_sequence: Option<u64>,
        status: String,
    },
    Error {
        message: String,
        sequence_number: Option<u64>,
        retry_after_ms: Option<u64>,
    },
    Status {
        state: String,
        message: Option<String>,
    },
    #[serde(other)]
    Other,
}

impl WebSocketStream {
    /// Connects and opens a session.
    pub(crate) async fn open(
        address: SocketAddr,
        space: &str,
        ack_mode: AckMode,
    ) -> Result<WebSocketStream, WebSocketError> {
        let mut socket = TcpStream::connect(address).await.map_err(io::Error::from)?;
        socket.set_nodelay(true).map_err(io::Error::from)?;
        let read_ahead = upgrade(&mut socket, address).await?;
        let pipe = Pipe { incoming: read_ahead, outgoing: BytesMut::new() };
        // Frames go into the pipe at once: it is the buffer.
        let config = WebSocketConfig::default().write_buffer_size(0);
        let frames = WebSocket::from_raw_socket(pipe, Role::Client, Some(config));
        let session_id = String::new();
        let mut stream = WebSocketStream { socket, frames, read: vec![0; READ_BYTES], session_id };
        let ack_mode = if ack_mode == AckMode::Each { "each" } else { "cumulative" };
        stream.write(&Sent::Init { memory_space_id: space, ack_mode, enable_backpressure: true });
        poll_fn(|cx| stream.poll_write(cx)).await?;
        loop {
            match poll_fn(|cx| stream.poll_read(cx)).await? {
                Received::InitAck { session_id } => {
                    stream.session_id = session_id;
                    return Ok(stream);
                }
                Received::Error { message, .. } => return Err(WebSocketError::Protocol(message)),
                _ => {}
            }
        }
    }

    /// Ends the session's stream in order.
    pub(crate) async fn close(mut self) -> Result<(), WebSocketError> {
        let session_id = self.session_id.clone();
        self.write(&Sent::Close { session_id: &session_id, drain_queue: false });
        poll_fn(|cx| self.poll_write(cx)).await?;
        let mut drained = false;
        loop {
            match poll_fn(|cx| self.poll_read(cx)).await {
                Ok(Received::Error { message, .. }) => {
                    return Err(WebSocketError::Protocol(message));
                }
                Ok(Received::Status { state, .. }) => {
                    drained |= state.eq_ignore_ascii_case("closed")
                }
                Ok(_) => {}
                Err(WebSocketError::Closed) if drained => return Ok(()),
                Err(why) => return Err(why),
            }
        }
    }

    fn write(&mut self, message: &Sent<'_>) {
        let text = serde_json::to_string(message).expect("strings and numbers are JSON");
        self.frames.write(Message::text(text)).expect("a pipe takes every frame");
    }

    /// Ready once nothing waits to be sent.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WebSocketError>> {
        let outgoing = &mut self.frames.get_mut().outgoing;
        while !outgoing.is_empty() {
            let written = ready!(Pin::new(&mut self.socket).poll_write(cx, outgoing))?;
            outgoing.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, WebSocketError>> {
        loop {
            match self.frames.read() {
                Ok(Message::Text(text)) => {
                    let received = serde_json::from_str(&text)
                        .map_err(|why| WebSocketError::Protocol(format!("{why}: {text}")));
                    return Poll::Ready(received);
                }
                Ok(Message::Close(_)) => return Poll::Ready(Err(WebSocketError::Closed)),
                // Pings are answered into the pipe, which the next write empties.
                Ok(_) => continue,
                Err(tungstenite::Error::Io(why)) if why.kind() == io::ErrorKind::WouldBlock => {}
                Err(why) => return Poll::Ready(Err(WebSocketError::Frames(why))),
            }
            if let Poll::Ready(Err(why)) = self.poll_write(cx) {
                return Poll::Ready(Err(why));
            }
            let count = ready!(Pin::new(&mut self.socket).poll_read(cx, &mut self.read))?;
            if count == 0 {
                return Poll::Ready(Err(WebSocketError::Socket(
                    io::ErrorKind::UnexpectedEof.into(),
                )));
            }
            self.frames.get_mut().incoming.extend_from_slice(&self.read[..count]);
        }
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer, WebSocketError>> {
        loop {
            if let Some(answer) = answer_of(ready!(self.poll_read(cx))?)? {
                return Poll::Ready(Ok(answer));
            }
        }
    }
}

impl Transport for WebSocketStream {
    type Error = WebSocketError;

    fn push(&mut self, sequence_number: u64, episode: Episode) {
        let vector: Vec<u8> = episode.embedding.iter().flat_map(|x| x.to_le_bytes()).collect();
        let embedding_f32 = base64_simd::STANDARD.encode_to_string(&vector);
        let session_id = self.session_id.clone();
        let episode = SentEpisode { id: &episode.id, what: &episode.what, embedding_f32 };
        self.write(&Sent::Observation { session_id: &session_id, sequence_number, episode });
    }

    fn waiting_bytes(&self) -> usize {
        self.frames.get_ref().outgoing.len()
    }

    async fn flush(&mut self) -> Result<Option<Answer>, WebSocketError> {
        poll_fn(|cx| match self.poll_write(cx) {
            Poll::Ready(written) => Poll::Ready(written.map(|()| None)),
            Poll::Pending => self.poll_answer(cx).map_ok(Some),
        })
        .await
    }

    async fn answer(&mut self) -> Result<Answer, WebSocketError> {
        poll_fn(|cx| self.poll_answer(cx)).await
    }
}

/// What a message answers; none for what comes beside the answers.
fn answer_of(received: Received) -> Result<Option<Answer>, WebSocketError> {
    Ok(match received {
        Received::Ack { sequence_number: last, first_sequence, status } if status == "accepted" => {
            Some(Answer::Accepted { first: first_sequence.unwrap_or(last), last })
        }
        Received::Error { message, sequence_number: Some(sequence), retry_after_ms } => {
            let retry_after = retry_after_ms.map(Duration::from_millis);
            Some(Answer::Refused { sequence, retry_after, message })
        }
        Received::Error { message, sequence_number: None, .. } => {
            return Err(WebSocketError::Protocol(message));
        }
        Received::Status { state, message } if state.eq_ignore_ascii_case("closed") => {
            let message = message.unwrap_or_default();
            return Err(WebSocketError::Protocol(format!("the session was closed: {message}")));
        }
        _ => None,
    })
}

/// The HTTP side of the handshake; returns what came behind it.
async fn upgrade(socket: &mut TcpStream, address: SocketAddr) -> Result<BytesMut, WebSocketError> {
    let key = generate_key();
    let request = format!(
        "GET /v1/stream HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await?;
    let (mut received, mut chunk) = (BytesMut::new(), [0; 1_024]);
    let end = loop {
        if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        let count = socket.read(&mut chunk).await?;
        if count == 0 || received.len() > HANDSHAKE_BYTES_MAX {
            return Err(WebSocketError::Protocol("no answer to the WebSocket handshake".into()));
        }
        received.extend_from_slice(&chunk[..count]);
    };
    let head = String::from_utf8_lossy(&received.split_to(end)).into_owned();
    let accept = derive_accept_key(key.as_bytes());
    if !head.starts_with("HTTP/1.1 101") || !head.contains(&accept) {
        return Err(WebSocketError::Protocol(head.trim_end().to_owned()));
    }
    Ok(received)
}

/// The two ends of a connection as tungstenite sees them: it never waits.
#[derive(Debug)]
struct Pipe {
    incoming: BytesMut,
    outgoing: BytesMut,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.incoming.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = buffer.len().min(self.incoming.len());
        self.incoming.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(json: &str) -> Result<Option<Answer>, WebSocketError> {
        answer_of(serde_json::from_str(json).expect("it parses"))
    }

    #[test]
    fn answers_are_read_as_the_contract_writes_them() {
        let each = answer(
            r#"{"type":"ack","session_id":"s","sequence_number":7,"status":"accepted","memory_id":"m"}"#,
        );
        assert_eq!(each.expect("an answer"), Some(Answer::Accepted { first: 7, last: 7 }));
        let run =
            answer(r#"{"type":"ack","sequence_number":9,"first_sequence":3,"status":"accepted"}"#);
        assert_eq!(run.expect("an answer"), Some(Answer::Accepted { first: 3, last: 9 }));
        let overload =
            r#"{"type":"error","message":"full","sequence_number":4,"retry_after_ms":20}"#;
        let wait = Some(Duration::from_millis(20));
        let refused = Answer::Refused { sequence: 4, retry_after: wait, message: "full".into() };
        assert_eq!(answer(overload).expect("an answer"), Some(refused));
        assert!(answer(r#"{"type":"error","message":"Invalid JSON","session_id":null}"#).is_err());
        assert!(answer(r#"{"type":"status","state":"CLOSED","message":"taken over"}"#).is_err());
        for beside in [
            r#"{"type":"heartbeat","session_id":null,"timestamp":"t"}"#,
            r#"{"type":"ack","sequence_number":7,"status":"indexed"}"#,
            r#"{"type":"status","state":"BACKPRESSURE","message":"slower"}"#,
        ] {
            assert_eq!(answer(beside).expect("no error"), None);
        }
    }
}
