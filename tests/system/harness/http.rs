//! Plain HTTP/1.1 and plain bytes, on std's sockets.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::PATIENCE;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: u16,
    /// Its body, as text.
    pub(crate) body: String,
}

/// `GET path`, on a connection of its own.
pub(crate) fn get(address: SocketAddr, path: &str) -> io::Result<Answer> {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"))
}

/// What is told of the only space.
pub(crate) fn space(address: SocketAddr) -> Value {
    let answer = get(address, "/api/v1/spaces").expect("it answers");
    let list: Value = serde_json::from_str(&answer.body).expect("JSON");
    list["spaces"][0].clone()
}

/// `POST path` with a body of JSON, on a connection of its own.
pub(crate) fn post(address: SocketAddr, path: &str, body: &str) -> io::Result<Answer> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close");
    let kind = format!("Content-Type: application/json\r\nContent-Length: {}", body.len());
    ask(address, &format!("{head}\r\n{kind}\r\n\r\n{body}"))
}

/// A connection that asks again and again.
pub(crate) struct Visitor {
    stream: TcpStream,
    address: SocketAddr,
}

impl Visitor {
    /// Connects.
    pub(crate) fn connect(address: SocketAddr) -> Visitor {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time that is not zero");
        Visitor { stream, address }
    }

    /// `GET path`; its status.
    pub(crate) fn get(&mut self, path: &str) -> u16 {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        self.stream.write_all(request.as_bytes()).expect("the server reads");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).expect("the server answers");
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("a head is text");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.expect("the server says how long a body is").parse().expect("a number");
        self.stream.read_exact(&mut vec![0; length]).expect("the body comes");
        head.split(' ').nth(1).expect("a status").parse().expect("a number")
    }
}

fn ask(address: SocketAddr, request: &str) -> io::Result<Answer> {
    let answer = raw(address, request.as_bytes())?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let malformed =
        || io::Error::new(io::ErrorKind::InvalidData, format!("no HTTP answer: {answer:?}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(malformed)?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or_else(malformed)?;
    Ok(Answer { status, body: body.to_owned() })
}

/// Sends bytes and reads until the server closes. Fails where it does not close.
pub(crate) fn raw(address: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = Vec::new();
    let sent = stream.write_all(bytes);
    match (sent, stream.read_to_end(&mut answer)) {
        (_, Err(why)) if ended(&why) => Ok(answer),
        (Err(why), _) if !ended(&why) => Err(why),
        (_, Err(why)) => Err(why),
        (_, Ok(_)) => Ok(answer),
    }
}

/// Closed by the other side in a hurry: with bytes of ours unread, a close is a reset.
fn ended(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}
