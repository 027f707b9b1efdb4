//! What an observation must be before it is handed on, and the work that needs no ownership: scale, quantise, encode.

use engram_shards::limits::{
    ID_BYTES_MAX, NOTE_BYTES_MAX, WHAT_BYTES_MAX, WHO_BYTES_MAX, WHO_ENTRIES_MAX,
};
use engram_shards::log::record::{Body, Embedding, Observation, encode_body, read_embedding};
use engram_shards::vector::codes::{Codes, VectorFault, encode, normalise};

/// What is wrong with a message's content: the words that clients match on, and the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContentFault {
    pub(crate) message: String,
    pub(crate) field: &'static str,
}

/// An observation made ready for its owner.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) body: Body,
    pub(crate) codes: Codes,
}

/// Checks an observation for a space of `dimension`, quantises and encodes it. `scratch` is reused between calls.
pub(crate) fn prepare(
    observation: &Observation<'_>,
    dimension: u16,
    scratch: &mut Vec<f32>,
) -> Result<Prepared, ContentFault> {
    check_fields(observation)?;
    scale(observation.embedding, dimension, scratch)?;
    let codes = encode(scratch);
    Ok(Prepared {
        body: encode_body(observation),
        codes,
    })
}

/// Reads a vector of `dimension` numbers into `out`, scaled to unit length.
pub(crate) fn scale(
    embedding: Embedding<'_>,
    dimension: u16,
    out: &mut Vec<f32>,
) -> Result<(), ContentFault> {
    let (bytes, width) = match embedding {
        Embedding::F32(numbers) => (size_of_val(numbers), 4),
        Embedding::F32Bytes(bytes) => (bytes.len(), 4),
        Embedding::F16Bytes(bytes) => (bytes.len(), 2),
    };
    if bytes != usize::from(dimension) * width {
        return Err(embedding_fault(format!(
            "Embedding must be exactly {dimension} dimensions"
        )));
    }
    out.clear();
    out.resize(usize::from(dimension), 0.0);
    read_embedding(embedding, out).expect("the length was checked above");
    normalise(out).map_err(|fault| match fault {
        VectorFault::NotFinite => embedding_fault("Embedding must be finite".to_owned()),
        VectorFault::Zero => embedding_fault("Embedding must not be zero".to_owned()),
    })
}

fn embedding_fault(message: String) -> ContentFault {
    ContentFault {
        message,
        field: "embedding",
    }
}

fn check_fields(observation: &Observation<'_>) -> Result<(), ContentFault> {
    let texts = [
        ("id", observation.id, ID_BYTES_MAX),
        ("what", observation.what, WHAT_BYTES_MAX),
        ("where_location", observation.place, NOTE_BYTES_MAX),
        ("why", observation.why, NOTE_BYTES_MAX),
        ("how", observation.how, NOTE_BYTES_MAX),
    ];
    for (field, text, bytes_max) in texts {
        fits(field, text.len() <= bytes_max)?;
    }
    let short = |text: &&str| text.len() <= WHO_BYTES_MAX;
    fits(
        "who",
        observation.who.len() <= WHO_ENTRIES_MAX && observation.who.iter().all(short),
    )?;
    fits(
        "tags",
        observation.tags.len() <= WHO_ENTRIES_MAX && observation.tags.iter().all(short),
    )?;
    let pairs = &observation.metadata;
    fits(
        "metadata",
        pairs.len() <= WHO_ENTRIES_MAX
            && pairs.iter().all(|(key, value)| short(key) && short(value)),
    )?;
    fits(
        "when",
        observation
            .when
            .is_none_or(|(_, nanos)| nanos < 1_000_000_000),
    )
}

fn fits(field: &'static str, holds: bool) -> Result<(), ContentFault> {
    if holds {
        Ok(())
    } else {
        Err(ContentFault {
            message: format!("Field too large: {field}"),
            field,
        })
    }
}
