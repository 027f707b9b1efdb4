//! WebSocket frames over a transport. The framing itself, which knows nothing of waiting, reads from one buffer and
//! writes to another; this fills the one and empties the other.

use std::io::{self, Read, Write};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tungstenite::error::Error;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

use crate::limits::{self, MESSAGE_COPIES};
use crate::loans::Loan;
use crate::wire::transport::{Switched, Transport};

/// The framing's own read buffer: a few messages.
const FRAMING_BYTES: usize = 32 << 10;
/// What a client's control frame has before its content, its mask included.
const CONTROL_HEAD_BYTES: usize = 6;

/// Two buffers that stand for a socket that never waits.
#[derive(Debug, Default)]
struct Buffers {
    incoming: BytesMut,
    outgoing: BytesMut,
}

impl Read for Buffers {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.incoming.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = self.incoming.len().min(out.len());
        self.incoming.copy_to_slice(&mut out[..count]);
        Ok(count)
    }
}

impl Write for Buffers {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Why no further message comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The client has gone, with or without a word.
    Gone,
    /// The client broke a rule; the close code says which.
    Broke(CloseCode),
    /// Nobody has the memory for what it says now.
    Crowded,
}

/// A WebSocket.
#[derive(Debug)]
pub(super) struct Socket<S> {
    transport: S,
    frames: WebSocket<Buffers>,
    message_bytes_max: usize,
    /// Bytes that came since the last whole message, but for control frames.
    unfinished: usize,
    /// What the message takes that comes, or came last.
    room: Loan,
    /// Whether anything was received since this was last asked.
    heard: bool,
    /// Whether anything was sent since this was last asked.
    sent: bool,
    /// Whether the client broke a rule; then the framing no longer knows where a frame begins.
    broken: bool,
    /// Whether the client was told that nothing more will be sent.
    said_all: bool,
}

impl<S: Transport> Socket<S> {
    /// The server's end of a connection after its handshake.
    pub(super) fn new(switched: Switched<S>, message_bytes_max: usize) -> Socket<S> {
        let config = WebSocketConfig::default()
            .read_buffer_size(FRAMING_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(message_bytes_max))
            .max_frame_size(Some(message_bytes_max));
        let buffers = Buffers { incoming: switched.read, outgoing: BytesMut::new() };
        let frames = WebSocket::from_raw_socket(buffers, Role::Server, Some(config));
        Socket {
            transport: switched.transport,
            frames,
            message_bytes_max,
            unfinished: 0,
            room: Loan::default(),
            heard: false,
            sent: false,
            broken: false,
            said_all: false,
        }
    }

    /// Bytes that the client has not taken yet.
    pub(super) fn unsent_bytes(&self) -> usize {
        self.frames.get_ref().outgoing.len()
    }

    /// Whether so much waits for the client that it should be told nothing more.
    pub(super) fn is_congested(&self) -> bool {
        self.unsent_bytes() > limits::WEBSOCKET_UNSENT_BYTES_MAX
    }

    /// Whether the client gave a sign of life since this was last asked: it said something, or it is slow to read but
    /// does. (That the kernel took all there was to send is no such sign.)
    pub(super) fn take_alive(&mut self) -> bool {
        let heard = std::mem::take(&mut self.heard);
        let sent = std::mem::take(&mut self.sent);
        heard || (sent && self.unsent_bytes() > 0)
    }

    /// Lines a message up to be sent. After the close frame nothing more is said, so it is dropped.
    pub(super) fn say(&mut self, message: Message) {
        match self.frames.write(message) {
            Ok(()) | Err(Error::Protocol(_) | Error::ConnectionClosed | Error::AlreadyClosed) => {}
            Err(error) => panic!("memory takes every frame: {error}"),
        }
    }

    /// Lines the close frame up to be sent.
    pub(super) fn close(&mut self, code: CloseCode, reason: &'static str) {
        self.say(Message::Close(Some(CloseFrame { code, reason: reason.into() })));
    }

    /// Sends what is lined up; ready once the client has taken all of it.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let outgoing = &mut self.frames.get_mut().outgoing;
        let unsent = outgoing.len();
        if unsent == 0 {
            return Poll::Ready(Ok(()));
        }
        let sent = self.transport.poll_write_from(cx, outgoing);
        self.sent |= outgoing.len() < unsent;
        sent.map_err(|_| Fault::Gone)
    }

    /// The next text or binary message. Pings are answered, the newest one where several wait.
    pub(super) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Fault>> {
        if self.unfinished == 0 {
            self.room.shrink(0);
        }
        loop {
            match self.frames.read() {
                Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                    self.unfinished = 0;
                    return Poll::Ready(Ok(message));
                }
                Ok(control) => {
                    let bytes = CONTROL_HEAD_BYTES + control.len();
                    self.unfinished = self.unfinished.saturating_sub(bytes);
                }
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    let incoming = &mut self.frames.get_mut().incoming;
                    match ready!(self.transport.poll_read_into(cx, incoming)) {
                        Ok(count @ 1..) => {
                            self.heard = true;
                            self.unfinished += count;
                            if !self.borrow() {
                                self.broken = true;
                                return Poll::Ready(Err(Fault::Crowded));
                            }
                        }
                        Ok(0) | Err(_) => return Poll::Ready(Err(Fault::Gone)),
                    }
                }
                Err(error) => {
                    let fault = fault_of(&error);
                    self.broken |= matches!(fault, Fault::Broke(_));
                    return Poll::Ready(Err(fault));
                }
            }
        }
    }

    /// Borrows what the message takes that comes. Frames without content count as well, so bytes may be more than a
    /// message can have.
    fn borrow(&mut self) -> bool {
        let bytes = self.unfinished.min(self.message_bytes_max);
        bytes <= limits::MESSAGE_BYTES_UNLENT || self.room.grow(MESSAGE_COPIES * bytes)
    }

    /// Sends the rest and waits until the client has gone too.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Err(Fault::Gone) = ready!(self.poll_send(cx)) {
            return Poll::Ready(());
        }
        while !self.broken && ready!(self.poll_message(cx)).is_ok() {}
        if self.broken {
            return self.poll_drain(cx);
        }
        // The answer to the client's own close frame may just have been written.
        self.poll_send(cx).map(|_| ())
    }

    /// Reads what a client that broke a rule still says, which is no frames any more: closed with bytes unread, the
    /// connection would be reset, and the client might never see why.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if ready!(self.poll_send(cx)).is_err() {
            return Poll::Ready(());
        }
        if !self.said_all {
            if ready!(self.transport.poll_end(cx)).is_err() {
                return Poll::Ready(());
            }
            self.said_all = true;
        }
        let unread = &mut self.frames.get_mut().incoming;
        loop {
            unread.clear();
            if !matches!(ready!(self.transport.poll_read_into(cx, unread)), Ok(1..)) {
                return Poll::Ready(());
            }
        }
    }
}

fn fault_of(error: &Error) -> Fault {
    match error {
        Error::Capacity(_) => Fault::Broke(CloseCode::Size),
        Error::Utf8(_) => Fault::Broke(CloseCode::Invalid),
        Error::Protocol(_) | Error::AttackAttempt => Fault::Broke(CloseCode::Protocol),
        _ => Fault::Gone,
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_lite::future::{block_on, poll_once};

    use super::*;
    use crate::loans;
    use crate::wire::transport::fake::{End, duplex};
    use crate::wire::transport::{read_into, write_from};

    fn pair(message_bytes_max: usize) -> (End, Socket<End>) {
        let (client, server) = duplex();
        let switched = Switched { transport: server, read: BytesMut::new() };
        (client, Socket::new(switched, message_bytes_max))
    }

    /// A client's frame, masked with zeros.
    fn frame(first_byte: u8, payload: &[u8]) -> BytesMut {
        let mut frame = BytesMut::from(&[first_byte][..]);
        match payload.len() {
            length @ ..126 => frame.extend_from_slice(&[0x80 | length as u8]),
            length => {
                frame.extend_from_slice(&[0x80 | 127]);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(payload);
        frame
    }

    async fn received(
        client: &mut End,
        socket: &mut Socket<End>,
        mut frames: BytesMut,
    ) -> Result<Message, Fault> {
        write_from(client, &mut frames).await.expect("memory does not fail");
        poll_fn(|cx| socket.poll_message(cx)).await
    }

    #[test]
    fn messages_come_whole_from_fragments_and_from_what_was_read_ahead() {
        block_on(async {
            let (mut client, server) = duplex();
            let read = frame(0x01, b"hel");
            let mut socket = Socket::new(Switched { transport: server, read }, 100);
            let message = received(&mut client, &mut socket, frame(0x80, b"lo")).await;
            assert_eq!(message, Ok(Message::text("hello")));
            assert!(socket.take_alive() && !socket.take_alive());
        });
    }

    #[test]
    fn broken_rules_have_their_close_codes() {
        block_on(async {
            let fault = async |message_bytes_max, frames| {
                let (mut client, mut socket) = pair(message_bytes_max);
                received(&mut client, &mut socket, frames).await.expect_err("a fault")
            };
            let too_long = frame(0x81, &[b'x'; 200]);
            assert_eq!(fault(199, too_long).await, Fault::Broke(CloseCode::Size));
            assert_eq!(fault(100, frame(0x81, &[0xff])).await, Fault::Broke(CloseCode::Invalid));
            assert_eq!(fault(100, frame(0xc1, b"")).await, Fault::Broke(CloseCode::Protocol));
            let unmasked = BytesMut::from(&[0x81, 0x01, b'x'][..]);
            assert_eq!(fault(100, unmasked).await, Fault::Broke(CloseCode::Protocol));
        });
    }

    #[test]
    fn a_length_is_believed_only_up_to_the_limit() {
        block_on(async {
            let (mut client, mut socket) = pair(4 << 20);
            let mut head = BytesMut::from(&[0x82, 0x80 | 127][..]);
            head.extend_from_slice(&(100_u64 << 20).to_be_bytes());
            head.extend_from_slice(&[0; 4]);
            let fault = received(&mut client, &mut socket, head).await;
            assert_eq!(fault, Err(Fault::Broke(CloseCode::Size)));
        });
    }

    #[test]
    fn a_long_message_is_taken_only_where_there_is_memory_for_it() {
        let long = 4 * limits::MESSAGE_BYTES_UNLENT;
        block_on(async {
            for (most, is_taken) in [(long, false), (4 * long, true)] {
                loans::set_most(most);
                let (mut client, mut socket) = pair(2 * long);
                let mut frames = frame(0x82, &vec![7; long]);
                write_from(&mut client, &mut frames).await.expect("memory does not fail");
                let message = poll_fn(|cx| socket.poll_message(cx)).await;
                match is_taken {
                    true => {
                        assert_eq!(message.map(|message| message.len()), Ok(long));
                        assert!(loans::lent() >= long, "it is in use");
                        assert!(poll_once(poll_fn(|cx| socket.poll_message(cx))).await.is_none());
                    }
                    false => assert_eq!(message, Err(Fault::Crowded)),
                }
                drop(socket);
                assert_eq!(loans::lent(), 0);
            }
        });
        loans::set_most(limits::LOANS_BYTES_DEFAULT);
    }

    #[test]
    fn what_is_no_message_borrows_no_more_than_one_may() {
        loans::set_most(1 << 20);
        block_on(async {
            let long = 2 * limits::MESSAGE_BYTES_UNLENT;
            // Signs of life, and a message whose fragments have nothing in them.
            let pongs = (frame(0x8a, &[7; 125]), 0);
            let fragments = (frame(0x00, b""), MESSAGE_COPIES * long);
            for (frame_of_many, borrowed) in [pongs, fragments] {
                let (mut client, mut socket) = pair(long);
                let mut frames = frame(0x02, b"");
                while frames.len() < 4 * long {
                    frames.extend_from_slice(&frame_of_many);
                }
                write_from(&mut client, &mut frames).await.expect("memory does not fail");
                assert!(poll_once(poll_fn(|cx| socket.poll_message(cx))).await.is_none());
                assert_eq!(loans::lent(), borrowed);
            }
        });
        loans::set_most(limits::LOANS_BYTES_DEFAULT);
    }

    #[test]
    fn pings_are_answered() {
        block_on(async {
            let (mut client, mut socket) = pair(100);
            let mut frames = frame(0x89, b"are you there");
            frames.extend_from_slice(&frame(0x81, b"text"));
            assert_eq!(received(&mut client, &mut socket, frames).await, Ok(Message::text("text")));
            poll_fn(|cx| socket.poll_send(cx)).await.expect("sent");
            let mut said = BytesMut::new();
            read_into(&mut client, &mut said).await.expect("read");
            assert_eq!(&said[..], b"\x8a\x0dare you there");
        });
    }

    #[test]
    fn a_close_frame_is_answered_and_the_client_is_gone() {
        block_on(async {
            let (mut client, mut socket) = pair(100);
            let fault = received(&mut client, &mut socket, frame(0x88, &[0x03, 0xe8])).await;
            assert_eq!(fault, Err(Fault::Gone));
            poll_fn(|cx| socket.poll_send(cx)).await.expect("sent");
            let mut said = BytesMut::new();
            read_into(&mut client, &mut said).await.expect("read");
            assert_eq!(&said[..], b"\x88\x02\x03\xe8");
        });
    }

    #[test]
    fn a_client_that_broke_a_rule_is_told_and_read_to_its_end() {
        block_on(async {
            let (mut client, mut socket) = pair(100);
            let too_long = frame(0x81, &[b'x'; 200]);
            let fault = received(&mut client, &mut socket, too_long).await;
            assert_eq!(fault, Err(Fault::Broke(CloseCode::Size)));
            socket.close(CloseCode::Size, "");
            let mut ending = Box::pin(poll_fn(|cx| socket.poll_end(cx)));
            assert!(poll_once(&mut ending).await.is_none());
            let mut more = BytesMut::from(&[b'x'; 100_000][..]);
            write_from(&mut client, &mut more).await.expect("written");
            assert!(poll_once(&mut ending).await.is_none());
            let mut said = BytesMut::new();
            while read_into(&mut client, &mut said).await.expect("read") > 0 {}
            assert_eq!(&said[..], b"\x88\x02\x03\xf1");
            drop(client);
            ending.await;
        });
    }

    #[test]
    fn the_end_waits_for_the_clients_close_frame() {
        block_on(async {
            let (mut client, mut socket) = pair(100);
            socket.close(CloseCode::Normal, "");
            let mut ending = Box::pin(poll_fn(|cx| socket.poll_end(cx)));
            assert!(poll_once(&mut ending).await.is_none());
            write_from(&mut client, &mut frame(0x88, &[0x03, 0xe8])).await.expect("written");
            ending.await;
        });
    }
}
