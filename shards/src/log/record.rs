//! Records: what one entry of the log is, byte by byte. One reader, one writer.

use crate::ids::{Generation, SessionId, StripeKey, Time};
use crate::settings::SpaceSettings;

/// An encoded observation: the body of its record, made by the connection's core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The body's bytes, as they will lie in the log.
    pub bytes: Vec<u8>,
    /// CRC-32C of `bytes`.
    pub crc: u32,
}

/// The embedding as it was received; stored so, little-endian.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Embedding<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// 32-bit floats as little-endian bytes, perhaps unaligned.
    F32Bytes(&'a [u8]),
    /// IEEE half floats as little-endian bytes.
    F16Bytes(&'a [u8]),
}

/// An observation's content, borrowed: what is encoded, and what decoding gives back.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation<'a> {
    /// The memory's id, 1–256 bytes.
    pub id: &'a str,
    /// The text.
    pub what: &'a str,
    /// Its vector.
    pub embedding: Embedding<'a>,
    /// When it happened: seconds and nanoseconds since the UNIX epoch.
    pub when: Option<(i64, u32)>,
    /// Where.
    pub place: &'a str,
    /// Who took part.
    pub who: Vec<&'a str>,
    /// Why.
    pub why: &'a str,
    /// How.
    pub how: &'a str,
    /// Tags (of a Memory).
    pub tags: Vec<&'a str>,
    /// Metadata (of a Memory).
    pub metadata: Vec<(&'a str, &'a str)>,
    /// `MemoryType` of the wire (0 unspecified … 4 working).
    pub memory_type: u8,
    /// How sure the observer was, 0…1.
    pub confidence: Option<f32>,
    /// As received; kept, not used.
    pub decay_rate: f32,
    /// As received; kept, not used.
    pub emotional_valence: f32,
    /// As received.
    pub importance: f32,
}

/// Encodes the body of an observation. Lengths were checked against `limits` by whoever calls.
pub fn encode_body(observation: &Observation<'_>) -> Body {
    let _ = observation;
    todo!()
}

/// Reads a body back.
pub fn decode_body(bytes: &[u8]) -> Result<Observation<'_>, BodyFault> {
    let _ = bytes;
    todo!()
}

/// Writes the vector of an observation into `out` (as long as the dimension), as received (not scaled).
pub fn read_embedding(embedding: Embedding<'_>, out: &mut [f32]) -> Result<(), BodyFault> {
    let _ = (embedding, out);
    todo!()
}

/// A body that is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyFault;

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHead {
    /// The stripe it belongs to.
    pub stripe: StripeKey,
    /// See [`Generation`].
    pub generation: Generation,
    /// The session, or `SessionId::NONE`.
    pub session: SessionId,
    /// Number in the session.
    pub sequence: u64,
    /// Hash of the memory's id (0 where the kind has none).
    pub memory_hash: u64,
    /// When it was received.
    pub received_at: Time,
    /// What follows.
    pub kind: RecordKind,
}

/// What a record's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// An observation (`encode_body`).
    Observation,
    /// A space was made (`encode_space`).
    Space,
    /// A session was opened; empty body.
    Session,
}

/// Encodes the body of a `Space` record.
pub fn encode_space(settings: &SpaceSettings) -> Body {
    let _ = settings;
    todo!()
}

/// Reads the body of a `Space` record.
pub fn decode_space(bytes: &[u8]) -> Result<SpaceSettings, BodyFault> {
    let _ = bytes;
    todo!()
}

/// The body within the bytes of a whole record, as they lie at its location, once its checksum was found right. (The
/// head's own checksum is the replay's affair: it is mixed with the segment's incarnation.)
pub fn read_body(record: &[u8]) -> Result<&[u8], BodyFault> {
    let _ = record;
    todo!()
}
