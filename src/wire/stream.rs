//! A connection's bytes: glommio's socket behind the traits that h2 wants, with the bytes that were read ahead.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_lite::{AsyncRead as _, AsyncWrite as _};
use glommio::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::turnstile::Turns;

/// A connection.
#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
    /// Read already; comes before what the socket still has.
    prefix: Bytes,
    meter: Meter,
    /// None where it may read as it likes.
    turns: Option<Turns>,
}

/// Counts what was read from a connection, also once the connection itself is in a protocol's hands.
#[derive(Clone, Debug, Default)]
pub struct Meter(Rc<Cell<u64>>);

impl Meter {
    /// Bytes read so far.
    pub fn bytes_read(&self) -> u64 {
        self.0.get()
    }
}

impl Stream {
    /// A fresh connection.
    pub fn new(socket: TcpStream) -> Stream {
        Stream { socket, prefix: Bytes::new(), meter: Meter::default(), turns: None }
    }

    /// The same connection, which gives `prefix` before what it still has.
    pub fn with_prefix(self, prefix: Bytes) -> Stream {
        assert!(self.prefix.is_empty(), "a connection is sniffed once");
        Stream { prefix, ..self }
    }

    /// The same connection, which is read in its turns.
    pub fn in_turns(self, turns: Turns) -> Stream {
        Stream { turns: Some(turns), ..self }
    }

    /// Its meter.
    pub fn meter(&self) -> Meter {
        self.meter.clone()
    }

    /// The socket, for its addresses and options.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.prefix.is_empty() {
            let count = self.prefix.len().min(buf.remaining());
            buf.put_slice(&self.prefix[..count]);
            self.prefix.advance(count);
            return Poll::Ready(Ok(()));
        }
        if let Some(turns) = &mut self.turns {
            ready!(turns.poll(cx));
        }
        let read = Pin::new(&mut self.socket).poll_read(cx, buf.initialize_unfilled());
        if let Some(turns) = &mut self.turns {
            // Whoever has what was read may read on much later.
            turns.rest();
        }
        read.map_ok(|count| {
            self.meter.0.set(self.meter.0.get() + count as u64);
            buf.advance(count);
        })
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.socket).poll_close(cx) {
            // The peer was faster: what was to be reached is reached.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::NotConnected => {
                Poll::Ready(Ok(()))
            }
            other => other,
        }
    }
}
