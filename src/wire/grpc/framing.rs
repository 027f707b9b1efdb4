//! gRPC messages on an HTTP/2 stream: a flag, four bytes of length, the message.

use std::future::Future;
use std::io::Read;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::read::GzDecoder;
use glommio::timer::Timer;
use h2::{RecvStream, SendStream};
use prost::Message;

use crate::failure::{Code, Failure};
use crate::limits::{
    MESSAGE_BYTES_UNLENT, MESSAGE_COPIES, RESPONSE_BYTES_WAITING_MAX, WRITE_STALL_MAX,
};
use crate::loans::Loan;

const PREFIX_BYTES: usize = 5;

/// How a client compresses its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
}

/// Cuts what arrives into messages. A message within one piece is given without a copy; of one that spans pieces only
/// its own bytes are gathered, and never more than `message_bytes_max`.
#[derive(Debug)]
pub(super) struct Deframer {
    encoding: Encoding,
    message_bytes_max: usize,
    /// The piece that is being cut.
    piece: Bytes,
    /// The beginning of a message that spans pieces.
    partial: BytesMut,
    /// What the message takes that is being gathered, or was given last.
    room: Loan,
}

impl Deframer {
    pub(super) fn new(encoding: Encoding, message_bytes_max: usize) -> Deframer {
        Deframer {
            encoding,
            message_bytes_max,
            piece: Bytes::new(),
            partial: BytesMut::new(),
            room: Loan::default(),
        }
    }

    /// Takes the next piece, once [`Deframer::next_message`] has nothing more of the last.
    pub(super) fn handle_piece(&mut self, piece: Bytes) {
        assert!(self.piece.is_empty(), "the last piece is cut up first");
        self.piece = piece;
    }

    /// Whether no message has begun that is not complete.
    pub(super) fn is_at_boundary(&self) -> bool {
        self.piece.is_empty() && self.partial.is_empty()
    }

    /// The next whole message, decompressed.
    pub(super) fn next_message(&mut self) -> Result<Option<Bytes>, Failure> {
        if self.partial.is_empty() {
            self.room.shrink(0);
        }
        let frame = if self.partial.is_empty() {
            match self.frame_bytes(&self.piece)? {
                Some(bytes) if bytes <= self.piece.len() => Some(self.piece.split_to(bytes)),
                _ => None,
            }
        } else {
            None
        };
        let frame = match frame {
            Some(frame) => frame,
            None => match self.gather()? {
                Some(frame) => frame,
                None => return Ok(None),
            },
        };
        self.open(frame).map(Some)
    }

    /// Moves what belongs to the message that spans pieces out of the piece.
    fn gather(&mut self) -> Result<Option<Bytes>, Failure> {
        let missing = PREFIX_BYTES.saturating_sub(self.partial.len()).min(self.piece.len());
        self.partial.put(self.piece.split_to(missing));
        let Some(bytes) = self.frame_bytes(&self.partial)? else {
            return Ok(None);
        };
        self.borrow(bytes)?;
        let missing = (bytes - self.partial.len()).min(self.piece.len());
        self.partial.reserve(bytes - self.partial.len());
        self.partial.put(self.piece.split_to(missing));
        Ok((self.partial.len() == bytes).then(|| self.partial.split().freeze()))
    }

    /// How long the frame is that `bytes` begin, prefix included; refused before any of it is gathered.
    fn frame_bytes(&self, bytes: &[u8]) -> Result<Option<usize>, Failure> {
        let Some(prefix) = bytes.first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        if length > self.message_bytes_max {
            return Err(self.too_long(length));
        }
        Ok(Some(PREFIX_BYTES + length))
    }

    /// Borrows what a message of so many bytes takes.
    fn borrow(&mut self, bytes: usize) -> Result<(), Failure> {
        let is_short = bytes <= MESSAGE_BYTES_UNLENT;
        match is_short || self.room.grow(MESSAGE_COPIES * bytes) {
            true => Ok(()),
            false => Err(Failure::out_of_memory()),
        }
    }

    fn open(&mut self, mut frame: Bytes) -> Result<Bytes, Failure> {
        let flag = frame[0];
        frame.advance(PREFIX_BYTES);
        match (flag, self.encoding) {
            (0, _) => Ok(frame),
            (1, Encoding::Gzip) => self.inflate(&frame),
            (1, Encoding::Identity) => {
                Err(Failure::new(Code::Internal, "a compressed message without grpc-encoding"))
            }
            (other, _) => {
                Err(Failure::new(Code::Internal, format!("compressed flag {other} is not known")))
            }
        }
    }

    fn inflate(&mut self, compressed: &[u8]) -> Result<Bytes, Failure> {
        // How long it is shows when it is there.
        self.borrow(self.message_bytes_max)?;
        let mut message = Vec::new();
        // One byte more than allowed tells a message that is too long from one that just fits.
        let limit = self.message_bytes_max as u64 + 1;
        GzDecoder::new(compressed)
            .take(limit)
            .read_to_end(&mut message)
            .map_err(|error| Failure::new(Code::Internal, format!("gzip: {error}")))?;
        if message.len() > self.message_bytes_max {
            return Err(self.too_long(message.len()));
        }
        self.room.shrink(MESSAGE_COPIES * message.capacity().max(compressed.len()));
        Ok(message.into())
    }

    fn too_long(&self, length: usize) -> Failure {
        let max = self.message_bytes_max;
        let message = format!("message of {length} bytes or more is larger than the allowed {max}");
        Failure::new(Code::ResourceExhausted, message)
    }
}

/// The client's messages.
#[derive(Debug)]
pub(super) struct Requests {
    body: RecvStream,
    deframer: Deframer,
}

impl Requests {
    pub(super) fn new(body: RecvStream, deframer: Deframer) -> Requests {
        Requests { body, deframer }
    }

    /// The next message; `None` once the client has said all. Flow control follows: what is not polled is not let in.
    pub(super) fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, Failure>> {
        loop {
            if let Some(message) = self.deframer.next_message()? {
                return Poll::Ready(Ok(Some(message)));
            }
            match ready!(self.body.poll_data(cx)) {
                Some(Ok(piece)) => {
                    // It fails only for a stream that has ended meanwhile, which the next poll tells.
                    let _ = self.body.flow_control().release_capacity(piece.len());
                    self.deframer.handle_piece(piece);
                }
                Some(Err(error)) => return Poll::Ready(Err(gone(&error))),
                None if self.deframer.is_at_boundary() => return Poll::Ready(Ok(None)),
                None => {
                    return Poll::Ready(Err(Failure::new(
                        Code::Internal,
                        "the last message is cut off",
                    )));
                }
            }
        }
    }
}

/// The server's messages.
#[derive(Debug)]
pub(super) struct Responses {
    stream: SendStream<Bytes>,
    waiting: BytesMut,
    /// Runs while the client's windows let nothing through.
    stalled: Option<Timer>,
}

impl Responses {
    pub(super) fn new(stream: SendStream<Bytes>) -> Responses {
        Responses { stream, waiting: BytesMut::new(), stalled: None }
    }

    /// Puts a message behind those that wait.
    pub(super) fn push(&mut self, message: &impl Message) {
        let length = message.encoded_len();
        self.waiting.reserve(PREFIX_BYTES + length);
        self.waiting.put_u8(0);
        self.waiting.put_u32(u32::try_from(length).expect("no response comes near 4 GiB"));
        message.encode(&mut self.waiting).expect("a BytesMut grows as needed");
    }

    /// Whether so much waits that nothing should be added: the client reads slowly.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= RESPONSE_BYTES_WAITING_MAX
    }

    /// Hands on all that waits, as the client's windows let it. A client that lets nothing through for
    /// [`WRITE_STALL_MAX`] is given up.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        while !self.waiting.is_empty() {
            let granted = match self.poll_window(cx) {
                Poll::Ready(granted) => granted?,
                Poll::Pending => return self.poll_stall(cx).map(Err),
            };
            self.stalled = None;
            let piece = self.waiting.split_to(granted.min(self.waiting.len()));
            self.stream.send_data(piece.freeze(), false).map_err(|error| gone(&error))?;
        }
        Poll::Ready(Ok(()))
    }

    /// How many bytes may be sent now, at least one.
    fn poll_window(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Failure>> {
        self.stream.reserve_capacity(self.waiting.len());
        loop {
            let granted = self.stream.capacity();
            if granted > 0 {
                return Poll::Ready(Ok(granted));
            }
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(gone(&error))),
                None => {
                    let failure = Failure::new(Code::Cancelled, "the client went away");
                    return Poll::Ready(Err(failure));
                }
            }
        }
    }

    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        let timer = self.stalled.get_or_insert_with(|| Timer::new(WRITE_STALL_MAX));
        ready!(Pin::new(timer).poll(cx));
        Poll::Ready(Failure::new(Code::ResourceExhausted, "the client does not read"))
    }

    /// Ready once the client has given up on the call.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        self.stream.poll_reset(cx).map(|_| Failure::new(Code::Cancelled, "the client went away"))
    }

    /// Ends the call.
    pub(super) fn finish(mut self, trailers: http::HeaderMap) {
        // A client that has gone has no use for trailers.
        let _ = self.stream.send_trailers(trailers);
    }
}

fn gone(error: &h2::Error) -> Failure {
    Failure::new(Code::Cancelled, format!("the client went away: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;
    use crate::limits::LOANS_BYTES_DEFAULT;
    use crate::loans;

    fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
        let mut bytes = vec![flag];
        bytes.extend((message.len() as u32).to_be_bytes());
        bytes.extend(message);
        bytes
    }

    fn gzip(message: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(message).expect("a Vec takes all");
        encoder.finish().expect("a Vec takes all")
    }

    fn cut(deframer: &mut Deframer, pieces: &[&[u8]]) -> Result<Vec<Vec<u8>>, Failure> {
        let mut messages = Vec::new();
        for piece in pieces {
            deframer.handle_piece(Bytes::copy_from_slice(piece));
            while let Some(message) = deframer.next_message()? {
                messages.push(message.to_vec());
            }
        }
        Ok(messages)
    }

    #[test]
    fn a_long_message_is_gathered_only_where_there_is_memory_for_it() {
        let long = frame(0, &[7; 2 * MESSAGE_BYTES_UNLENT]);
        let halves = [&long[..long.len() / 2], &long[long.len() / 2..]];
        let zipped = frame(1, &gzip(&[7; 2 * MESSAGE_BYTES_UNLENT]));
        let deframer = || Deframer::new(Encoding::Gzip, 4 * MESSAGE_BYTES_UNLENT);
        let cases = [
            (&halves[..], long.len() * MESSAGE_COPIES),
            (&[&zipped[..]], 4 * MESSAGE_BYTES_UNLENT * MESSAGE_COPIES),
        ];
        for (pieces, taken) in cases {
            loans::set_most(taken - 1);
            let refused = cut(&mut deframer(), pieces).expect_err("a byte is missing");
            assert_eq!(refused, Failure::out_of_memory());
            assert_eq!(loans::lent(), 0, "who is refused keeps nothing");
            loans::set_most(taken);
            let mut deframer = deframer();
            assert_eq!(cut(&mut deframer, pieces).expect("there is enough").len(), 1);
            assert_eq!(loans::lent(), 0, "the next message was asked for");
        }
        loans::set_most(LOANS_BYTES_DEFAULT);
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in_however_they_are_cut(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            cuts in prop::collection::vec(1_usize..30, 1..60),
        ) {
            let bytes: Vec<u8> = messages.iter().flat_map(|message| frame(0, message)).collect();
            let mut pieces = Vec::new();
            let mut rest = &bytes[..];
            let mut cuts = cuts.iter().cycle();
            while !rest.is_empty() {
                let (piece, after) = rest.split_at((*cuts.next().expect("endless")).min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            let mut deframer = Deframer::new(Encoding::Identity, 40);
            prop_assert_eq!(cut(&mut deframer, &pieces).expect("all are short enough"), messages);
            prop_assert!(deframer.is_at_boundary());
        }
    }

    #[test]
    fn a_long_message_is_refused_by_its_prefix() {
        let mut deframer = Deframer::new(Encoding::Identity, 100);
        assert_eq!(cut(&mut deframer, &[&frame(0, &[7; 100])]), Ok(vec![vec![7; 100]]));
        let refusal = cut(&mut deframer, &[&frame(0, &[7; 101])[..5]]).unwrap_err();
        assert_eq!(refusal.code, Code::ResourceExhausted);
    }

    #[test]
    fn gzip_is_read_and_a_bomb_is_refused() {
        let mut deframer = Deframer::new(Encoding::Gzip, 1_000);
        let fits = frame(1, &gzip(&[0; 1_000]));
        assert_eq!(cut(&mut deframer, &[&fits]), Ok(vec![vec![0; 1_000]]));
        let bomb = frame(1, &gzip(&[0; 1_001]));
        assert_eq!(cut(&mut deframer, &[&bomb]).unwrap_err().code, Code::ResourceExhausted);
    }

    #[test]
    fn a_compressed_message_needs_an_encoding() {
        let mut deframer = Deframer::new(Encoding::Identity, 1_000);
        let refusal = cut(&mut deframer, &[&frame(1, &gzip(b"x"))]).unwrap_err();
        assert_eq!(refusal.code, Code::Internal);
    }
}
