//! gRPC calls on one HTTP/2 connection.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use glommio::net::TcpStream;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response, StatusCode};
use prost::Message;

use crate::failure::{Code, Failure};
use crate::wire::stream::Stream;

/// How much the server may send ahead on one stream, and on the connection: acks of many observations fit.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// What h2 may hold back of one stream: enough that the socket never runs dry.
const SEND_BUFFER_BYTES: usize = 1 << 20;
/// Before each message: whether it is compressed (one byte), and its length (four).
const MESSAGE_HEAD_BYTES: usize = 5;

/// Why a call failed.
#[derive(Debug)]
pub enum CallError {
    /// No connection.
    Connect(SocketAddr, io::Error),
    /// The connection broke.
    Http2(h2::Error),
    /// The server refused; the status that it gave.
    Refused(Failure),
    /// The server answered something that is not gRPC.
    Protocol(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Connect(address, why) => write!(f, "no connection to {address}: {why}"),
            CallError::Http2(why) => write!(f, "the connection broke: {why}"),
            CallError::Refused(status) => {
                write!(f, "refused ({:?}): {}", status.code, status.message)
            }
            CallError::Protocol(why) => write!(f, "not gRPC: {why}"),
        }
    }
}

impl std::error::Error for CallError {}

impl From<h2::Error> for CallError {
    fn from(why: h2::Error) -> CallError {
        CallError::Http2(why)
    }
}

/// One HTTP/2 connection. Clones share it; it closes with the last of them.
#[derive(Clone, Debug)]
pub struct Grpc {
    sender: SendRequest<Bytes>,
    authority: String,
}

impl Grpc {
    /// Connects to a server, on the executor of this thread.
    pub async fn connect(address: SocketAddr) -> Result<Grpc, CallError> {
        let failed = |why: io::Error| CallError::Connect(address, why);
        let socket = TcpStream::connect(address).await.map_err(|why| failed(why.into()))?;
        socket.set_nodelay(true).map_err(|why| failed(why.into()))?;
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buffer_size(SEND_BUFFER_BYTES)
            .enable_push(false)
            .handshake(Stream::new(socket))
            .await?;
        // What ends the connection is told to each of its calls.
        glommio::spawn_local(connection).detach();
        Ok(Grpc { sender, authority: address.to_string() })
    }

    /// One request, one response.
    pub async fn unary<Q: Message, A: Message + Default>(
        &self,
        path: &str,
        request: &Q,
    ) -> Result<A, CallError> {
        let mut responses = self.server_streaming(path, request).await?;
        let answer = responses.next().await?;
        let answer = answer.ok_or_else(|| CallError::Protocol("no message before OK".into()))?;
        match responses.next().await? {
            None => Ok(answer),
            Some(_) => Err(CallError::Protocol("two messages in a unary call".into())),
        }
    }

    /// One request, many responses.
    pub async fn server_streaming<Q: Message, A: Message + Default>(
        &self,
        path: &str,
        request: &Q,
    ) -> Result<Responses<A>, CallError> {
        let (mut requests, responses) = self.bidirectional(path).await?;
        requests.push(request);
        // A server may answer before it has read everything: then its answer counts, not that sending failed.
        let _ = match requests.flush().await {
            Ok(()) => requests.end(),
            failed => failed,
        };
        Ok(responses)
    }

    /// Many requests, many responses, each as it comes. `path` is `/package.Service/Method`.
    pub async fn bidirectional<Q: Message, A: Message + Default>(
        &self,
        path: &str,
    ) -> Result<(Requests<Q>, Responses<A>), CallError> {
        let head = Request::post(format!("http://{}{path}", self.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .map_err(|why| CallError::Protocol(why.to_string()))?;
        let mut sender = self.sender.clone().ready().await?;
        let (response, stream) = sender.send_request(head, false)?;
        let requests =
            Requests { stream, buffer: BytesMut::new(), ready: Bytes::new(), message: PhantomData };
        let responses = Responses {
            state: ResponseState::Head(response),
            buffer: BytesMut::new(),
            message: PhantomData,
        };
        Ok((requests, responses))
    }
}

/// The sending half of a call.
#[derive(Debug)]
pub struct Requests<Q> {
    stream: SendStream<Bytes>,
    /// Encoded since the last flush began.
    buffer: BytesMut,
    /// What a flush still has to hand over.
    ready: Bytes,
    message: PhantomData<Q>,
}

impl<Q: Message> Requests<Q> {
    /// Encodes a message behind those that wait for [`Requests::flush`], so that small ones share a frame.
    pub fn push(&mut self, message: &Q) {
        let length = message.encoded_len();
        self.buffer.reserve(MESSAGE_HEAD_BYTES + length);
        self.buffer.put_u8(0);
        self.buffer.put_u32(u32::try_from(length).expect("a message is shorter than 4 GiB"));
        message.encode(&mut self.buffer).expect("room was reserved");
    }

    /// Bytes that wait for [`Requests::flush`].
    pub fn waiting_bytes(&self) -> usize {
        self.buffer.len() + self.ready.len()
    }

    /// Hands everything pushed to the connection, as the server's window allows. May be dropped and called again:
    /// nothing is sent twice.
    pub async fn flush(&mut self) -> Result<(), CallError> {
        loop {
            if self.ready.is_empty() {
                if self.buffer.is_empty() {
                    return Ok(());
                }
                self.ready = self.buffer.split().freeze();
            }
            let part = self.capacity().await?.min(self.ready.len());
            self.stream.send_data(self.ready.split_to(part), false)?;
        }
    }

    /// Says that no further message comes.
    pub fn end(&mut self) -> Result<(), CallError> {
        assert_eq!(self.waiting_bytes(), 0, "the end comes after a flush");
        Ok(self.stream.send_data(Bytes::new(), true)?)
    }

    /// Bytes that may be sent now; at least one.
    async fn capacity(&mut self) -> Result<usize, CallError> {
        self.stream.reserve_capacity(self.ready.len());
        while self.stream.capacity() == 0 {
            match poll_fn(|cx| self.stream.poll_capacity(cx)).await {
                Some(capacity) => capacity?,
                None => return Err(CallError::Protocol("the server ended the stream".into())),
            };
        }
        Ok(self.stream.capacity())
    }
}

/// The receiving half of a call.
#[derive(Debug)]
pub struct Responses<A> {
    state: ResponseState,
    /// Received and not yet decoded.
    buffer: BytesMut,
    message: PhantomData<A>,
}

#[derive(Debug)]
enum ResponseState {
    /// The response has not begun.
    Head(ResponseFuture),
    Body(RecvStream),
    /// The status was OK.
    Ended,
}

impl<A: Message + Default> Responses<A> {
    /// The next message, or none once the server has ended the call with OK; any other end is an error. May be dropped
    /// and called again.
    pub async fn next(&mut self) -> Result<Option<A>, CallError> {
        loop {
            if let Some(message) = self.buffered()? {
                return Ok(Some(message));
            }
            match &mut self.state {
                ResponseState::Head(response) => {
                    let response = response.await?;
                    self.state = begin(response)?;
                }
                ResponseState::Body(body) => match poll_fn(|cx| body.poll_data(cx)).await {
                    Some(data) => {
                        let data = data?;
                        body.flow_control().release_capacity(data.len())?;
                        self.buffer.extend_from_slice(&data);
                    }
                    None => {
                        let trailers =
                            poll_fn(|cx| body.poll_trailers(cx)).await?.unwrap_or_default();
                        self.state = ResponseState::Ended;
                        status_of(&trailers)?;
                    }
                },
                ResponseState::Ended => return Ok(None),
            }
        }
    }

    /// The next message of what was received, where it is whole.
    fn buffered(&mut self) -> Result<Option<A>, CallError> {
        if self.buffer.len() < MESSAGE_HEAD_BYTES {
            return Ok(None);
        }
        if self.buffer[0] != 0 {
            return Err(CallError::Protocol("a compressed message was not asked for".into()));
        }
        let length = (&self.buffer[1..MESSAGE_HEAD_BYTES]).get_u32() as usize;
        if self.buffer.len() < MESSAGE_HEAD_BYTES + length {
            return Ok(None);
        }
        self.buffer.advance(MESSAGE_HEAD_BYTES);
        let message = A::decode(self.buffer.split_to(length));
        message.map(Some).map_err(|why| CallError::Protocol(why.to_string()))
    }
}

fn begin(response: Response<RecvStream>) -> Result<ResponseState, CallError> {
    if response.status() != StatusCode::OK {
        return Err(CallError::Protocol(format!("HTTP status {}", response.status())));
    }
    // A refusal without any message has its status where else only the headers stand.
    if response.headers().contains_key("grpc-status") {
        status_of(response.headers())?;
        return Ok(ResponseState::Ended);
    }
    Ok(ResponseState::Body(response.into_body()))
}

fn status_of(trailers: &HeaderMap) -> Result<(), CallError> {
    let text = |name| trailers.get(name).and_then(|value| value.to_str().ok());
    let Some(status) = text("grpc-status") else {
        return Err(CallError::Protocol("the call ended without a status".into()));
    };
    match code_of(status) {
        Code::Ok => Ok(()),
        code => Err(CallError::Refused(Failure::new(
            code,
            unescape(text("grpc-message").unwrap_or("")),
        ))),
    }
}

/// gRPC's number of a code; what is none of them counts as UNKNOWN, as gRPC has it.
fn code_of(number: &str) -> Code {
    const CODES: [Code; 17] = [
        Code::Ok,
        Code::Cancelled,
        Code::Unknown,
        Code::InvalidArgument,
        Code::DeadlineExceeded,
        Code::NotFound,
        Code::AlreadyExists,
        Code::PermissionDenied,
        Code::ResourceExhausted,
        Code::FailedPrecondition,
        Code::Aborted,
        Code::OutOfRange,
        Code::Unimplemented,
        Code::Internal,
        Code::Unavailable,
        Code::DataLoss,
        Code::Unauthenticated,
    ];
    number
        .parse()
        .ok()
        .and_then(|number: usize| CODES.get(number).copied())
        .unwrap_or(Code::Unknown)
}

/// Undoes the percent-encoding of `grpc-message`; what is no valid escape stays as it is.
fn unescape(message: &str) -> String {
    let mut bytes = Vec::with_capacity(message.len());
    let mut rest = message.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = tail.get(..2).filter(|_| *first == b'%');
        let byte = escaped
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use engram_proto::engram::v1::{Episode, Memory};
    use glommio::net::TcpListener;

    use super::*;
    use crate::client::executor;

    /// Answers each call with `body`, byte by byte in frames of its own, and `trailers`; or, where there is no body,
    /// with the trailers alone.
    async fn serve(listener: TcpListener, body: Bytes, trailers: HeaderMap) {
        let socket = listener.accept().await.expect("a client comes");
        let mut connection =
            h2::server::handshake(Stream::new(socket)).await.expect("it speaks HTTP/2");
        while let Some(call) = connection.accept().await {
            let (_, mut respond) = call.expect("a call");
            let mut head = Response::new(());
            if body.is_empty() {
                *head.headers_mut() = trailers.clone();
                respond.send_response(head, true).expect("sent");
                continue;
            }
            let mut stream = respond.send_response(head, false).expect("sent");
            for byte in &body {
                stream.send_data(Bytes::copy_from_slice(&[*byte]), false).expect("sent");
            }
            stream.send_trailers(trailers.clone()).expect("sent");
        }
    }

    fn trailers(status: &'static str) -> HeaderMap {
        [("grpc-status", status), ("grpc-message", "told")]
            .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
            .into_iter()
            .collect()
    }

    fn framed(ids: &[&str]) -> Bytes {
        let mut body = BytesMut::new();
        for id in ids {
            let message = Memory { id: (*id).to_owned(), ..Memory::default() };
            body.put_u8(0);
            body.put_u32(message.encoded_len() as u32);
            message.encode(&mut body).expect("it grows");
        }
        body.freeze()
    }

    /// The ids that a call gets, and how it ends.
    fn called(body: Bytes, trailers: HeaderMap) -> (Vec<String>, Result<(), CallError>) {
        executor::run(None, async {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
            let address = listener.local_addr().expect("it is bound");
            let server = glommio::spawn_local(serve(listener, body, trailers));
            let grpc = Grpc::connect(address).await.expect("it listens");
            let request = Episode { embedding: vec![0.5; 40_000], ..Episode::default() };
            let mut ids = Vec::new();
            let ended = async {
                let mut responses = grpc.server_streaming::<_, Memory>("/s/M", &request).await?;
                while let Some(memory) = responses.next().await? {
                    ids.push(memory.id);
                }
                Ok(())
            };
            let ended = ended.await;
            server.cancel().await;
            (ids, ended)
        })
        .expect("this host has io_uring")
    }

    #[test]
    fn messages_are_put_together_from_whatever_frames_they_come_in() {
        let (ids, ended) =
            called(framed(&["a", "", "long enough to be told apart"]), trailers("0"));
        assert_eq!(ids, ["a", "", "long enough to be told apart"]);
        ended.expect("the status is OK");
    }

    #[test]
    fn a_status_is_told_with_and_without_messages_before_it() {
        for (body, before) in [(framed(&["a"]), 1), (Bytes::new(), 0)] {
            let (ids, ended) = called(body, trailers("14"));
            assert_eq!(ids.len(), before);
            match ended.expect_err("UNAVAILABLE") {
                CallError::Refused(failure) => {
                    assert_eq!(failure, Failure::new(Code::Unavailable, "told"));
                }
                other => panic!("{other}"),
            }
        }
    }

    #[test]
    fn a_compressed_message_is_no_message() {
        let (ids, ended) = called(Bytes::from_static(&[1, 0, 0, 0, 0]), trailers("0"));
        assert!(ids.is_empty());
        assert!(matches!(ended, Err(CallError::Protocol(_))));
    }

    #[test]
    fn statuses_are_read_as_grpc_writes_them() {
        assert_eq!(code_of("0"), Code::Ok);
        assert_eq!(code_of("8"), Code::ResourceExhausted);
        assert_eq!(code_of("16"), Code::Unauthenticated);
        assert_eq!(code_of("17"), Code::Unknown);
        for number in 0..17 {
            assert_eq!(code_of(&number.to_string()) as usize, number);
        }
        let mut trailers = HeaderMap::new();
        assert!(status_of(&trailers).is_err(), "no status is no success");
        trailers.insert("grpc-status", "5".parse().expect("a header"));
        trailers.insert("grpc-message", "no space%3A caf%C3%A9 100%".parse().expect("a header"));
        match status_of(&trailers).expect_err("NOT_FOUND") {
            CallError::Refused(failure) => {
                assert_eq!(failure, Failure::new(Code::NotFound, "no space: café 100%"));
            }
            other => panic!("{other}"),
        }
    }
}
