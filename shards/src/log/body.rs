//! What a record says: an observation, or a space. Encoded once, on the connection's core, and kept as it is.
//!
//! A body is a fixed part, for an observation its vector, then tagged fields in rising order of their tags. A reader
//! passes over tags that it does not know, so later versions may add some.

use crate::limits;
pub use crate::log::field::BodyFault;
use crate::log::field::{Fields, crc32c, push_field, push_text, put_at, u16_at, u32_at};
use crate::settings::{Metric, SpaceSettings};

/// An encoded body, and its checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The body's bytes, as they will lie in the log.
    pub bytes: Vec<u8>,
    /// CRC-32C of `bytes`.
    pub crc: u32,
}

impl Body {
    /// The body of a kind of record that says everything in its head.
    pub fn empty() -> Body {
        Body::of(Vec::new())
    }

    pub(crate) fn of(bytes: Vec<u8>) -> Body {
        let crc = crc32c(&bytes);
        Body { bytes, crc }
    }
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

impl Embedding<'_> {
    /// How many numbers it has; a remainder that makes no whole number does not count.
    pub fn dimension(&self) -> usize {
        match self {
            Embedding::F32(values) => values.len(),
            Embedding::F32Bytes(bytes) => bytes.len() / 4,
            Embedding::F16Bytes(bytes) => bytes.len() / 2,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Embedding::F32(values) => values.len() * 4,
            Embedding::F32Bytes(bytes) | Embedding::F16Bytes(bytes) => bytes.len(),
        }
    }
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

impl<'a> Observation<'a> {
    /// One of which nothing else is told.
    pub fn new(id: &'a str, what: &'a str, embedding: Embedding<'a>) -> Observation<'a> {
        Observation {
            id,
            what,
            embedding,
            when: None,
            place: "",
            who: Vec::new(),
            why: "",
            how: "",
            tags: Vec::new(),
            metadata: Vec::new(),
            memory_type: 0,
            confidence: None,
            decay_rate: 0.0,
            emotional_valence: 0.0,
            importance: 0.0,
        }
    }
}

const FORM_AT: usize = 0;
const MEMORY_TYPE_AT: usize = FORM_AT + 1;
const DIMENSION_AT: usize = MEMORY_TYPE_AT + 1;
const DECAY_RATE_AT: usize = DIMENSION_AT + 2;
const EMOTIONAL_VALENCE_AT: usize = DECAY_RATE_AT + 4;
const IMPORTANCE_AT: usize = EMOTIONAL_VALENCE_AT + 4;
/// Length of an observation's fixed part; its vector follows, aligned for its numbers.
pub const OBSERVATION_FIXED_BYTES: usize = IMPORTANCE_AT + 4;

const FORM_F32: u8 = 1;
const FORM_F16: u8 = 2;

const TAG_ID: u8 = 1;
const TAG_WHAT: u8 = 2;
const TAG_WHEN: u8 = 3;
const TAG_PLACE: u8 = 4;
const TAG_WHO: u8 = 5;
const TAG_WHY: u8 = 6;
const TAG_HOW: u8 = 7;
const TAG_TAG: u8 = 8;
const TAG_METADATA: u8 = 9;
const TAG_CONFIDENCE: u8 = 10;

/// Encodes the body of an observation. Lengths were checked against `limits` by whoever calls.
pub fn encode_body(observation: &Observation<'_>) -> Body {
    let embedding = observation.embedding;
    let dimension = u16::try_from(embedding.dimension()).expect("the dimension was checked");
    let form = match embedding {
        Embedding::F32(_) | Embedding::F32Bytes(_) => FORM_F32,
        Embedding::F16Bytes(_) => FORM_F16,
    };
    // Room for the fixed part, the vector, the text and what is usual of the rest, so that growing is rare.
    let mut out = Vec::with_capacity(
        OBSERVATION_FIXED_BYTES + embedding.bytes() + observation.what.len() + 256,
    );
    out.resize(OBSERVATION_FIXED_BYTES, 0);
    out[FORM_AT] = form;
    out[MEMORY_TYPE_AT] = observation.memory_type;
    put_at(&mut out, DIMENSION_AT, dimension.to_le_bytes());
    put_at(&mut out, DECAY_RATE_AT, observation.decay_rate.to_le_bytes());
    put_at(&mut out, EMOTIONAL_VALENCE_AT, observation.emotional_valence.to_le_bytes());
    put_at(&mut out, IMPORTANCE_AT, observation.importance.to_le_bytes());
    push_embedding(&mut out, embedding);
    push_fields(&mut out, observation);
    assert!(out.len() <= limits::RECORD_BODY_BYTES_MAX as usize, "a body of {} bytes", out.len());
    Body::of(out)
}

fn push_embedding(out: &mut Vec<u8>, embedding: Embedding<'_>) {
    match embedding {
        Embedding::F32(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Embedding::F32Bytes(bytes) => {
            assert!(bytes.len().is_multiple_of(4), "{} bytes are no 32-bit floats", bytes.len());
            out.extend_from_slice(bytes);
        }
        Embedding::F16Bytes(bytes) => {
            assert!(bytes.len().is_multiple_of(2), "{} bytes are no half floats", bytes.len());
            out.extend_from_slice(bytes);
        }
    }
}

fn push_fields(out: &mut Vec<u8>, observation: &Observation<'_>) {
    push_text(out, TAG_ID, observation.id);
    push_text(out, TAG_WHAT, observation.what);
    if let Some((seconds, nanos)) = observation.when {
        let mut when = [0; 12];
        put_at(&mut when, 0, seconds.to_le_bytes());
        put_at(&mut when, 8, nanos.to_le_bytes());
        push_field(out, TAG_WHEN, &when);
    }
    push_text(out, TAG_PLACE, observation.place);
    for who in &observation.who {
        push_field(out, TAG_WHO, who.as_bytes());
    }
    push_text(out, TAG_WHY, observation.why);
    push_text(out, TAG_HOW, observation.how);
    for tag in &observation.tags {
        push_field(out, TAG_TAG, tag.as_bytes());
    }
    for (key, value) in &observation.metadata {
        let mut entry = Vec::with_capacity(4 + key.len() + value.len());
        let key_bytes = u32::try_from(key.len()).expect("keys are bounded by limits");
        entry.extend_from_slice(&key_bytes.to_le_bytes());
        entry.extend_from_slice(key.as_bytes());
        entry.extend_from_slice(value.as_bytes());
        push_field(out, TAG_METADATA, &entry);
    }
    if let Some(confidence) = observation.confidence {
        push_field(out, TAG_CONFIDENCE, &confidence.to_le_bytes());
    }
}

/// Reads a body back.
pub fn decode_body(bytes: &[u8]) -> Result<Observation<'_>, BodyFault> {
    let (fixed, embedding, fields) = split(bytes)?;
    let mut observation = Observation {
        memory_type: fixed[MEMORY_TYPE_AT],
        decay_rate: f32::from_bits(u32_at(fixed, DECAY_RATE_AT)),
        emotional_valence: f32::from_bits(u32_at(fixed, EMOTIONAL_VALENCE_AT)),
        importance: f32::from_bits(u32_at(fixed, IMPORTANCE_AT)),
        ..Observation::new("", "", embedding)
    };
    read_fields(fields, &mut observation)?;
    if observation.id.is_empty() {
        return Err(BodyFault);
    }
    Ok(observation)
}

/// Takes the body of an observation apart: its fixed part, its vector, its fields.
fn split(bytes: &[u8]) -> Result<(&[u8], Embedding<'_>, &[u8]), BodyFault> {
    let (fixed, rest) = bytes.split_at_checked(OBSERVATION_FIXED_BYTES).ok_or(BodyFault)?;
    let dimension = usize::from(u16_at(fixed, DIMENSION_AT));
    let number_bytes = match fixed[FORM_AT] {
        FORM_F32 => 4,
        FORM_F16 => 2,
        _ => return Err(BodyFault),
    };
    let (vector, fields) = rest.split_at_checked(dimension * number_bytes).ok_or(BodyFault)?;
    let embedding = match fixed[FORM_AT] {
        FORM_F32 => Embedding::F32Bytes(vector),
        _ => Embedding::F16Bytes(vector),
    };
    Ok((fixed, embedding, fields))
}

/// The fields in the body of an observation.
pub(crate) fn fields_of(bytes: &[u8]) -> Result<&[u8], BodyFault> {
    split(bytes).map(|(_, _, fields)| fields)
}

fn read_fields<'a>(bytes: &'a [u8], out: &mut Observation<'a>) -> Result<(), BodyFault> {
    let mut fields = Fields::new(bytes);
    while let Some((tag, field)) = fields.next()? {
        match tag {
            TAG_ID => out.id = text(field)?,
            TAG_WHAT => out.what = text(field)?,
            TAG_WHEN => {
                let when: [u8; 12] = field.try_into().map_err(|_| BodyFault)?;
                let seconds = i64::from_le_bytes(when[..8].try_into().map_err(|_| BodyFault)?);
                out.when = Some((seconds, u32_at(&when, 8)));
            }
            TAG_PLACE => out.place = text(field)?,
            TAG_WHO => out.who.push(text(field)?),
            TAG_WHY => out.why = text(field)?,
            TAG_HOW => out.how = text(field)?,
            TAG_TAG => out.tags.push(text(field)?),
            TAG_METADATA => {
                let (length, entry) = field.split_at_checked(4).ok_or(BodyFault)?;
                let key_bytes = u32_at(length, 0) as usize;
                let (key, value) = entry.split_at_checked(key_bytes).ok_or(BodyFault)?;
                out.metadata.push((text(key)?, text(value)?));
            }
            TAG_CONFIDENCE => {
                let bits = field.try_into().map_err(|_| BodyFault)?;
                out.confidence = Some(f32::from_le_bytes(bits));
            }
            _ => {}
        }
    }
    Ok(())
}

fn text(bytes: &[u8]) -> Result<&str, BodyFault> {
    std::str::from_utf8(bytes).map_err(|_| BodyFault)
}

/// Writes the vector of an observation into `out` (as long as the dimension), as received (not scaled).
pub fn read_embedding(embedding: Embedding<'_>, out: &mut [f32]) -> Result<(), BodyFault> {
    match embedding {
        Embedding::F32(values) if values.len() == out.len() => out.copy_from_slice(values),
        Embedding::F32Bytes(bytes) if bytes.len() == out.len() * 4 => {
            let (numbers, _) = bytes.as_chunks::<4>();
            for (value, number) in out.iter_mut().zip(numbers) {
                *value = f32::from_le_bytes(*number);
            }
        }
        Embedding::F16Bytes(bytes) if bytes.len() == out.len() * 2 => {
            let (numbers, _) = bytes.as_chunks::<2>();
            for (value, number) in out.iter_mut().zip(numbers) {
                *value = f32_of_half(u16::from_le_bytes(*number));
            }
        }
        _ => return Err(BodyFault),
    }
    Ok(())
}

/// The number that an IEEE half float stands for; exact, as every half is a single.
fn f32_of_half(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let exponent = u32::from(half >> 10) & 0x1f;
    let mantissa = u32::from(half & 0x3ff);
    match (exponent, mantissa) {
        // Zero and subnormals: the mantissa counts steps of 2⁻²⁴.
        (0, _) => f32::from_bits((mantissa as f32 * (1.0 / 16_777_216.0)).to_bits() | sign),
        // Infinity keeps an empty mantissa; a NaN is made a quiet one.
        (0x1f, 0) => f32::from_bits(sign | 0x7f80_0000),
        (0x1f, _) => f32::from_bits(sign | 0x7fc0_0000 | mantissa << 13),
        _ => f32::from_bits(sign | (exponent + 127 - 15) << 23 | mantissa << 13),
    }
}

const SPACE_DIMENSION_AT: usize = 0;
const SPACE_STRIPES_AT: usize = SPACE_DIMENSION_AT + 2;
const SPACE_METRIC_AT: usize = SPACE_STRIPES_AT + 2;
const SPACE_ZERO_AT: usize = SPACE_METRIC_AT + 1;
/// Length of a space's fixed part.
pub const SPACE_FIXED_BYTES: usize = SPACE_ZERO_AT + 3;

const METRIC_COSINE: u8 = 1;
const METRIC_DOT: u8 = 2;
const METRIC_EUCLIDEAN: u8 = 3;
const TAG_NAME: u8 = 1;

/// Encodes the body of a `Space` record.
pub fn encode_space(settings: &SpaceSettings) -> Body {
    let mut out = vec![0; SPACE_FIXED_BYTES];
    put_at(&mut out, SPACE_DIMENSION_AT, settings.dimension.to_le_bytes());
    put_at(&mut out, SPACE_STRIPES_AT, settings.stripes.to_le_bytes());
    out[SPACE_METRIC_AT] = match settings.metric {
        Metric::Cosine => METRIC_COSINE,
        Metric::Dot => METRIC_DOT,
        Metric::Euclidean => METRIC_EUCLIDEAN,
    };
    push_text(&mut out, TAG_NAME, &settings.name);
    Body::of(out)
}

/// Reads the body of a `Space` record.
pub fn decode_space(bytes: &[u8]) -> Result<SpaceSettings, BodyFault> {
    let (fixed, rest) = bytes.split_at_checked(SPACE_FIXED_BYTES).ok_or(BodyFault)?;
    let metric = match fixed[SPACE_METRIC_AT] {
        METRIC_COSINE => Metric::Cosine,
        METRIC_DOT => Metric::Dot,
        METRIC_EUCLIDEAN => Metric::Euclidean,
        _ => return Err(BodyFault),
    };
    let mut name = "";
    let mut fields = Fields::new(rest);
    while let Some((tag, field)) = fields.next()? {
        if tag == TAG_NAME {
            name = text(field)?;
        }
    }
    let dimension = u16_at(fixed, SPACE_DIMENSION_AT);
    let stripes = u16_at(fixed, SPACE_STRIPES_AT);
    let dimensions = limits::DIMENSION_MIN..=limits::DIMENSION_MAX;
    if name.is_empty() || stripes == 0 || !dimensions.contains(&dimension) {
        return Err(BodyFault);
    }
    Ok(SpaceSettings { name: name.to_owned(), dimension, metric, stripes })
}
