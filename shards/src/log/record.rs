//! Records: what one entry of the log is, byte by byte. One reader, one writer.

pub use crate::log::body::{
    Body, BodyFault, Embedding, Observation, decode_body, decode_space, encode_body, encode_space,
    read_embedding,
};
pub use crate::log::gone::{
    GONE_RUN_BYTES, decode_cancelled, decode_forgotten, decode_gone, encode_cancelled, encode_copy,
    encode_forgotten, encode_gone, encode_gone_behind, first_commit,
};

use crate::ids::{Generation, SessionId, SpaceKey, StripeKey, Time};
use crate::limits;
use crate::log::field::{crc32c, is_zero, put_at, u16_at, u32_at, u64_at, u128_at};

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
    /// A memory was deleted (`encode_forgotten`): all observations of its id up to this generation.
    Tombstone,
    /// A memory was suppressed (`encode_forgotten`): the same observations are kept and not recalled.
    Suppression,
    /// Observations of a session above its unbroken run over all stripes, whose end is `sequence`, are cancelled
    /// (`encode_cancelled`): they will be sent again, perhaps under other ids, into other stripes.
    Cancellation,
    /// The durable mark of a session, carried by a compaction; empty body. `generation` is one of which the mark was
    /// right, `received_at` the time of the session's last record.
    Mark,
    /// Generations of the stripe that are no more (`encode_gone`), whether or not there are records of them.
    Gone,
}

impl RecordKind {
    fn code(self) -> u8 {
        match self {
            RecordKind::Observation => 1,
            RecordKind::Space => 2,
            RecordKind::Session => 3,
            RecordKind::Tombstone => 4,
            RecordKind::Suppression => 5,
            RecordKind::Cancellation => 6,
            RecordKind::Mark => 7,
            RecordKind::Gone => 8,
        }
    }

    fn of_code(code: u8) -> Option<RecordKind> {
        match code {
            1 => Some(RecordKind::Observation),
            2 => Some(RecordKind::Space),
            3 => Some(RecordKind::Session),
            4 => Some(RecordKind::Tombstone),
            5 => Some(RecordKind::Suppression),
            6 => Some(RecordKind::Cancellation),
            7 => Some(RecordKind::Mark),
            8 => Some(RecordKind::Gone),
            _ => None,
        }
    }
}

const HEAD_CRC_AT: usize = 0;
const BODY_CRC_AT: usize = HEAD_CRC_AT + 4;
const BODY_BYTES_AT: usize = BODY_CRC_AT + 4;
const KIND_AT: usize = BODY_BYTES_AT + 4;
const ZERO_AT: usize = KIND_AT + 1;
const STRIPE_AT: usize = ZERO_AT + 1;
const SPACE_AT: usize = STRIPE_AT + 2;
const GENERATION_AT: usize = SPACE_AT + 8;
const SESSION_AT: usize = GENERATION_AT + 8;
const SEQUENCE_AT: usize = SESSION_AT + 16;
const MEMORY_HASH_AT: usize = SEQUENCE_AT + 8;
const RECEIVED_AT_AT: usize = MEMORY_HASH_AT + 8;
/// Length of a record's head; its body follows.
pub const RECORD_HEAD_BYTES: usize = RECEIVED_AT_AT + 8;
/// Records start on this boundary, and are padded to it with zeros.
pub const RECORD_ALIGN_BYTES: usize = 8;

/// Length of the record of a body of `body_bytes`, padding included.
pub const fn record_bytes(body_bytes: usize) -> usize {
    (RECORD_HEAD_BYTES + body_bytes).next_multiple_of(RECORD_ALIGN_BYTES)
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordFault(pub &'static str);

/// A record as it was found, with checksums checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it is about.
    pub head: RecordHead,
    /// Its body.
    pub body: &'a [u8],
    /// CRC-32C of its body.
    pub body_crc: u32,
}

/// Appends a record to a batch that goes to a segment of `incarnation`. Returns the checksum of its head.
pub(crate) fn push(out: &mut Vec<u8>, head: &RecordHead, body: &Body, incarnation: u64) -> u32 {
    let mut bytes = [0; RECORD_HEAD_BYTES];
    let body_bytes = u32::try_from(body.bytes.len()).expect("bodies are bounded by limits");
    put_at(&mut bytes, BODY_CRC_AT, body.crc.to_le_bytes());
    put_at(&mut bytes, BODY_BYTES_AT, body_bytes.to_le_bytes());
    bytes[KIND_AT] = head.kind.code();
    put_at(&mut bytes, STRIPE_AT, head.stripe.stripe.to_le_bytes());
    put_at(&mut bytes, SPACE_AT, head.stripe.space.0.to_le_bytes());
    put_at(&mut bytes, GENERATION_AT, head.generation.0.to_le_bytes());
    put_at(&mut bytes, SESSION_AT, head.session.0.to_le_bytes());
    put_at(&mut bytes, SEQUENCE_AT, head.sequence.to_le_bytes());
    put_at(&mut bytes, MEMORY_HASH_AT, head.memory_hash.to_le_bytes());
    put_at(&mut bytes, RECEIVED_AT_AT, head.received_at.0.to_le_bytes());
    let head_crc = head_crc(&bytes, incarnation);
    put_at(&mut bytes, HEAD_CRC_AT, head_crc.to_le_bytes());
    out.extend_from_slice(&bytes);
    out.extend_from_slice(&body.bytes);
    out.resize(
        out.len() + record_bytes(body.bytes.len()) - RECORD_HEAD_BYTES - body.bytes.len(),
        0,
    );
    head_crc
}

/// The checksum over all of a head behind it, mixed with the incarnation: a record of a file's earlier life has another.
fn head_crc(head: &[u8], incarnation: u64) -> u32 {
    let incarnation = incarnation.to_le_bytes();
    crc32c(&head[BODY_CRC_AT..RECORD_HEAD_BYTES]) ^ crc32c(&incarnation)
}

/// Reads the record that `bytes` begin with, as a replay does: its head must be of this incarnation.
/// Also returns its head's checksum and its length.
pub(crate) fn read_first(
    bytes: &[u8],
    incarnation: u64,
) -> Result<(Record<'_>, u32, usize), RecordFault> {
    let (record, length) = parse(bytes)?;
    let expected = u32_at(bytes, HEAD_CRC_AT);
    if head_crc(bytes, incarnation) != expected {
        return Err(RecordFault("record head checksum"));
    }
    check_body(&record)?;
    Ok((record, expected, length))
}

/// The length of the record that `bytes` begin with, if its head is as it was written; its body may be cut or damaged.
pub(crate) fn length_of_sound_head(bytes: &[u8], incarnation: u64) -> Option<usize> {
    let head = bytes.get(..RECORD_HEAD_BYTES)?;
    let body_bytes = u32_at(head, BODY_BYTES_AT);
    let is_sound = body_bytes <= limits::RECORD_BODY_BYTES_MAX
        && RecordKind::of_code(head[KIND_AT]).is_some()
        && head_crc(head, incarnation) == u32_at(head, HEAD_CRC_AT);
    is_sound.then(|| record_bytes(body_bytes as usize))
}

/// Reads one whole record from where its location says. The caller, who knows what it looks for, compares the head.
pub fn read(bytes: &[u8]) -> Result<Record<'_>, RecordFault> {
    let (record, length) = parse(bytes)?;
    if length != bytes.len() {
        return Err(RecordFault("record length"));
    }
    check_body(&record)?;
    Ok(record)
}

/// The body within the bytes of a whole record, as they lie at its location, once its checksum was found right. (The
/// head's own checksum is the replay's affair: it is mixed with the segment's incarnation.)
pub fn read_body(bytes: &[u8]) -> Result<&[u8], BodyFault> {
    read(bytes).map(|record| record.body).map_err(|_| BodyFault)
}

fn check_body(record: &Record<'_>) -> Result<(), RecordFault> {
    if crc32c(record.body) == record.body_crc || planted!(BodyCrcSkipped) {
        Ok(())
    } else {
        Err(RecordFault("record body checksum"))
    }
}

/// Takes bytes apart; checks lengths and padding, and no checksum.
fn parse(bytes: &[u8]) -> Result<(Record<'_>, usize), RecordFault> {
    if bytes.len() < RECORD_HEAD_BYTES {
        return Err(RecordFault("record head cut short"));
    }
    let body_bytes = u32_at(bytes, BODY_BYTES_AT);
    if body_bytes > limits::RECORD_BODY_BYTES_MAX {
        return Err(RecordFault("record body length"));
    }
    let body_end = RECORD_HEAD_BYTES + body_bytes as usize;
    let end = record_bytes(body_bytes as usize);
    if end > bytes.len() {
        return Err(RecordFault("record body cut short"));
    }
    let kind = RecordKind::of_code(bytes[KIND_AT]).ok_or(RecordFault("record kind"))?;
    if bytes[ZERO_AT] != 0 || !is_zero(&bytes[body_end..end]) {
        return Err(RecordFault("record padding"));
    }
    let stripe =
        StripeKey { space: SpaceKey(u64_at(bytes, SPACE_AT)), stripe: u16_at(bytes, STRIPE_AT) };
    let head = RecordHead {
        stripe,
        generation: Generation(u64_at(bytes, GENERATION_AT)),
        session: SessionId(u128_at(bytes, SESSION_AT)),
        sequence: u64_at(bytes, SEQUENCE_AT),
        memory_hash: u64_at(bytes, MEMORY_HASH_AT),
        received_at: Time(u64_at(bytes, RECEIVED_AT_AT)),
        kind,
    };
    let body = &bytes[RECORD_HEAD_BYTES..body_end];
    Ok((Record { head, body, body_crc: u32_at(bytes, BODY_CRC_AT) }, end))
}
