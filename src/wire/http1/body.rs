//! The body of a request, put together from what comes, never longer than it may be.

use bytes::{Buf, Bytes, BytesMut};
use http::StatusCode;

use crate::limits;
use crate::loans::Loan;
use crate::wire::http1::head::{BadRequest, BodyLength};

/// Puts a body together.
#[derive(Debug)]
pub(crate) struct BodyReader {
    body: BytesMut,
    bytes_max: usize,
    next: Next,
    /// What a long one takes.
    room: Loan,
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// So many bytes, and then the body is whole.
    LastBytes(usize),
    ChunkSize,
    /// So many bytes of a chunk.
    ChunkBytes(usize),
    /// The line end that closes a chunk.
    ChunkEnd,
    /// Headers after the last chunk; so many bytes of them went by.
    Trailers(usize),
}

/// A chunk's size with its extensions is never this long.
const CHUNK_LINE_BYTES_MAX: usize = 1 << 10;

impl BodyReader {
    /// Begins a body; refuses one that says at once that it is too long.
    pub(crate) fn new(length: BodyLength, bytes_max: usize) -> Result<BodyReader, BadRequest> {
        let next = match length {
            BodyLength::Bytes(bytes) if bytes > bytes_max => return Err(TOO_LONG),
            BodyLength::Bytes(bytes) => Next::LastBytes(bytes),
            BodyLength::Chunked => Next::ChunkSize,
        };
        Ok(BodyReader { body: BytesMut::new(), bytes_max, next, room: Loan::default() })
    }

    /// Takes what belongs to the body off the front of `input`; gives the body once it is whole.
    pub(crate) fn advance(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, BadRequest> {
        loop {
            match self.next {
                Next::LastBytes(left) => {
                    let left = self.take(input, left)?;
                    self.next = Next::LastBytes(left);
                    return Ok((left == 0).then(|| self.body.split().freeze()));
                }
                Next::ChunkSize => match self.read_chunk_size(input)? {
                    Some(next) => self.next = next,
                    None => return Ok(None),
                },
                Next::ChunkBytes(left) => match self.take(input, left)? {
                    0 => self.next = Next::ChunkEnd,
                    left => {
                        self.next = Next::ChunkBytes(left);
                        return Ok(None);
                    }
                },
                Next::ChunkEnd => match input.get(..2) {
                    Some(b"\r\n") => {
                        input.advance(2);
                        self.next = Next::ChunkSize;
                    }
                    Some(_) => return Err(BadRequest::syntax("a chunk is longer than its size")),
                    None => return Ok(None),
                },
                Next::Trailers(gone) => {
                    let Some(line) = input.iter().position(|&byte| byte == b'\n') else {
                        check_trailers(gone + input.len())?;
                        return Ok(None);
                    };
                    let empty = matches!(&input[..line], b"" | b"\r");
                    input.advance(line + 1);
                    if empty {
                        return Ok(Some(self.body.split().freeze()));
                    }
                    check_trailers(gone + line + 1)?;
                    self.next = Next::Trailers(gone + line + 1);
                }
            }
        }
    }

    /// What the body takes, for as long as it is used.
    pub(crate) fn into_room(self) -> Loan {
        self.room
    }

    /// Moves up to `wanted` bytes; how many are still missing.
    fn take(&mut self, input: &mut BytesMut, wanted: usize) -> Result<usize, BadRequest> {
        let count = wanted.min(input.len());
        let bytes = self.body.len() + count;
        if bytes > limits::MESSAGE_BYTES_UNLENT && !self.room.grow(limits::MESSAGE_COPIES * bytes) {
            return Err(UNLENT);
        }
        self.body.extend_from_slice(&input.split_to(count));
        Ok(wanted - count)
    }

    fn read_chunk_size(&self, input: &mut BytesMut) -> Result<Option<Next>, BadRequest> {
        match httparse::parse_chunk_size(input) {
            Ok(httparse::Status::Complete((line, size))) => {
                input.advance(line);
                let size = usize::try_from(size).unwrap_or(usize::MAX);
                if size > self.bytes_max - self.body.len() {
                    return Err(TOO_LONG);
                }
                Ok(Some(if size == 0 { Next::Trailers(0) } else { Next::ChunkBytes(size) }))
            }
            Ok(httparse::Status::Partial) if input.len() <= CHUNK_LINE_BYTES_MAX => Ok(None),
            _ => Err(BadRequest::syntax("a chunk's size is not a number")),
        }
    }
}

const UNLENT: BadRequest = BadRequest {
    status: StatusCode::SERVICE_UNAVAILABLE,
    message: "the memory that the server has for requests is used up",
};
const TOO_LONG: BadRequest = BadRequest {
    status: StatusCode::PAYLOAD_TOO_LARGE,
    message: "the body is longer than a message may be",
};

fn check_trailers(bytes: usize) -> Result<(), BadRequest> {
    if bytes > limits::HTTP_HEADERS_BYTES_MAX {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Err(BadRequest { status, message: "the trailers are longer than 16 KiB" });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a body that comes in pieces of `piece` bytes; the body, and what is left behind it.
    fn read(length: BodyLength, text: &str, piece: usize) -> Result<(Bytes, usize), BadRequest> {
        let mut reader = BodyReader::new(length, 10)?;
        let mut input = BytesMut::new();
        let mut left = text.as_bytes();
        loop {
            if let Some(body) = reader.advance(&mut input)? {
                return Ok((body, input.len() + left.len()));
            }
            let (now, later) = left.split_at(piece.min(left.len()));
            assert!(!now.is_empty(), "the body never ends");
            input.extend_from_slice(now);
            left = later;
        }
    }

    #[test]
    fn bodies_are_the_same_however_they_are_cut() {
        let chunked = "3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nTrailer: t\r\n\r\nnext";
        for piece in 1..chunked.len() {
            let (body, left) = read(BodyLength::Chunked, chunked, piece).expect("sound");
            assert_eq!((body.as_ref(), left), (b"abcdefg".as_ref(), 4), "pieces of {piece}");
            let (body, left) = read(BodyLength::Bytes(5), "12345next", piece).expect("sound");
            assert_eq!((body.as_ref(), left), (b"12345".as_ref(), 4), "pieces of {piece}");
        }
        assert_eq!(read(BodyLength::Bytes(0), "", 1), Ok((Bytes::new(), 0)));
    }

    #[test]
    fn a_body_is_never_longer_than_it_may_be() {
        assert_eq!(read(BodyLength::Bytes(11), "", 1), Err(TOO_LONG));
        assert_eq!(read(BodyLength::Chunked, "b\r\n", 8), Err(TOO_LONG));
        assert_eq!(read(BodyLength::Chunked, "6\r\n123456\r\n5\r\n", 64), Err(TOO_LONG));
        assert_eq!(read(BodyLength::Chunked, "ffffffffffffffff\r\n", 64), Err(TOO_LONG));
    }

    #[test]
    fn broken_chunks_are_refused() {
        let refused = |text| read(BodyLength::Chunked, text, 64).expect_err("broken").status;
        assert_eq!(refused("x\r\n"), StatusCode::BAD_REQUEST);
        assert_eq!(refused("1\r\nab\r\n"), StatusCode::BAD_REQUEST);
        assert_eq!(refused(&format!("1;{}", "e".repeat(2 << 10))), StatusCode::BAD_REQUEST);
        let trailers = format!("0\r\n{}", "T: t\r\n".repeat(4_000));
        let refused = read(BodyLength::Chunked, &trailers, 64).expect_err("too long").status;
        assert_eq!(refused, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
}
