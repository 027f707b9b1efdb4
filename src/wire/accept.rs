//! A fresh connection: which protocol it speaks, told by its first bytes.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use bytes::BytesMut;
use futures_lite::AsyncReadExt;
use futures_lite::future::or;
use glommio::net::TcpStream;
use glommio::timer::Timer;
use socket2::{SockRef, TcpKeepalive};

use super::stream::Stream;
use super::{http1, http2};
use crate::core::Core;
use crate::limits::HANDSHAKE_MAX;

/// What every HTTP/2 client says first.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves a connection until it ends. A panic in it is the caller's to contain.
pub async fn serve_connection(core: Core, socket: TcpStream) {
    match greet(socket).await {
        Some((Protocol::Http2, stream)) => {
            let stream = stream.in_turns(core.turns());
            http2::serve(core, stream).await;
        }
        Some((Protocol::Http1, stream)) => {
            let stream = stream.in_turns(core.turns());
            http1::serve(core, stream).await;
        }
        None => {}
    }
}

/// Tells a client that there are too many connections, in the protocol that it speaks, and closes.
pub async fn refuse_connection(core: Core, socket: TcpStream) {
    match greet(socket).await {
        Some((Protocol::Http2, stream)) => http2::refuse(stream).await,
        Some((Protocol::Http1, stream)) => http1::refuse(&core, stream).await,
        None => {}
    }
}

/// Waits until a fresh connection says what it speaks; none where it does not, or not in time.
async fn greet(mut socket: TcpStream) -> Option<(Protocol, Stream)> {
    // A socket that takes no options still works: only slower, or dead for longer before anyone knows.
    let _ = prepare(&socket);
    let timeout = async {
        Timer::new(HANDSHAKE_MAX).await;
        None
    };
    let (protocol, first_bytes) = or(sniff(&mut socket), timeout).await?;
    Some((protocol, Stream::new(socket).with_prefix(first_bytes.freeze())))
}

/// Acks must not wait for more to say, and a peer that vanished must be noticed though it says nothing.
fn prepare(socket: &TcpStream) -> std::io::Result<()> {
    // SAFETY: the descriptor is `socket`'s, which outlives this borrow of it.
    let descriptor = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
    let socket = SockRef::from(&descriptor);
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(10))
        .with_retries(3);
    socket.set_tcp_keepalive(&keepalive)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http2,
    Http1,
}

/// Which protocol `bytes` begin; `None` while they begin both.
fn protocol_of(bytes: &[u8]) -> Option<Protocol> {
    let compared = bytes.len().min(HTTP2_PREFACE.len());
    if bytes[..compared] != HTTP2_PREFACE[..compared] {
        Some(Protocol::Http1)
    } else {
        (compared == HTTP2_PREFACE.len()).then_some(Protocol::Http2)
    }
}

/// Reads until the protocol is known; `None` where the peer left before.
async fn sniff(socket: &mut TcpStream) -> Option<(Protocol, BytesMut)> {
    let mut read = BytesMut::new();
    loop {
        let mut piece = [0; 512];
        let count = socket.read(&mut piece).await.ok()?;
        if count == 0 {
            return None;
        }
        read.extend_from_slice(&piece[..count]);
        if let Some(protocol) = protocol_of(&read) {
            return Some((protocol, read));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_protocol() {
        for length in 0..HTTP2_PREFACE.len() {
            assert_eq!(protocol_of(&HTTP2_PREFACE[..length]), None, "{length}");
        }
        assert_eq!(protocol_of(HTTP2_PREFACE), Some(Protocol::Http2));
        assert_eq!(protocol_of(&[HTTP2_PREFACE, b"\0\0"].concat()), Some(Protocol::Http2));
        assert_eq!(protocol_of(b"P"), None);
        assert_eq!(protocol_of(b"PO"), Some(Protocol::Http1));
        assert_eq!(protocol_of(b"GET / HTTP/1.1\r\n"), Some(Protocol::Http1));
        assert_eq!(protocol_of(b"PRI * HTTP/2.0\r\n\r\nSX"), Some(Protocol::Http1));
        assert_eq!(protocol_of(&[0xff, 0]), Some(Protocol::Http1));
    }
}
