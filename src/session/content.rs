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
    Ok(Prepared { body: encode_body(observation), codes })
}

/// Reads a vector of `dimension` numbers into `out`, scaled to unit length.
pub(crate) fn scale(
    embedding: Embedding<'_>,
    dimension: u16,
    out: &mut Vec<f32>,
) -> Result<(), ContentFault> {
    let width_bytes = if matches!(embedding, Embedding::F16Bytes(_)) { 2 } else { 4 };
    if embedding_bytes(embedding) != usize::from(dimension) * width_bytes {
        return Err(embedding_fault(format!("Embedding must be exactly {dimension} dimensions")));
    }
    out.clear();
    out.resize(usize::from(dimension), 0.0);
    read_embedding(embedding, out).expect("the length was checked above");
    normalise(out).map_err(|fault| match fault {
        VectorFault::NotFinite => embedding_fault("Embedding must be finite".to_owned()),
        VectorFault::Zero => embedding_fault("Embedding must not be zero".to_owned()),
    })
}

/// About what an observation takes on its way, before it is encoded.
pub(crate) fn size_bytes(observation: &Observation<'_>) -> usize {
    observation.what.len() + embedding_bytes(observation.embedding)
}

fn embedding_bytes(embedding: Embedding<'_>) -> usize {
    match embedding {
        Embedding::F32(numbers) => size_of_val(numbers),
        Embedding::F32Bytes(bytes) | Embedding::F16Bytes(bytes) => bytes.len(),
    }
}

fn embedding_fault(message: String) -> ContentFault {
    ContentFault { message, field: "embedding" }
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
    fits("who", observation.who.len() <= WHO_ENTRIES_MAX && observation.who.iter().all(short))?;
    fits("tags", observation.tags.len() <= WHO_ENTRIES_MAX && observation.tags.iter().all(short))?;
    let pairs = &observation.metadata;
    fits(
        "metadata",
        pairs.len() <= WHO_ENTRIES_MAX
            && pairs.iter().all(|(key, value)| short(key) && short(value)),
    )?;
    fits("when", observation.when.is_none_or(|(_, nanos)| nanos < 1_000_000_000))
}

fn fits(field: &'static str, holds: bool) -> Result<(), ContentFault> {
    if holds {
        Ok(())
    } else {
        Err(ContentFault { message: format!("Field too large: {field}"), field })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observation<'a>(embedding: Embedding<'a>) -> Observation<'a> {
        Observation {
            id: "id",
            what: "what",
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

    fn fault(observation: &Observation<'_>) -> (String, &'static str) {
        let ContentFault { message, field } =
            prepare(observation, 8, &mut Vec::new()).expect_err("it is not as it must be");
        (message, field)
    }

    const GOOD: Embedding<'static> = Embedding::F32(&[1.0; 8]);

    #[test]
    fn a_good_observation_is_prepared_and_a_texts_limit_is_inclusive() {
        let id = "i".repeat(ID_BYTES_MAX);
        let who = "w".repeat(WHO_BYTES_MAX);
        let good = Observation { id: &id, who: vec![&who; WHO_ENTRIES_MAX], ..observation(GOOD) };
        let prepared = prepare(&good, 8, &mut Vec::new()).expect("it is as it must be");
        assert_eq!(prepared.codes.dimension, 8);
    }

    #[test]
    fn vectors_are_checked() {
        let wrong = ("Embedding must be exactly 8 dimensions".to_owned(), "embedding");
        assert_eq!(fault(&observation(Embedding::F32(&[1.0; 7]))), wrong);
        assert_eq!(fault(&observation(Embedding::F32(&[]))), wrong);
        assert_eq!(fault(&observation(Embedding::F32Bytes(&[0; 33]))), wrong);
        assert_eq!(fault(&observation(Embedding::F16Bytes(&[0; 32]))), wrong);
        let not_finite = ("Embedding must be finite".to_owned(), "embedding");
        assert_eq!(fault(&observation(Embedding::F32(&[f32::NAN; 8]))), not_finite);
        assert_eq!(fault(&observation(Embedding::F32(&[f32::INFINITY; 8]))), not_finite);
        let zero = ("Embedding must not be zero".to_owned(), "embedding");
        assert_eq!(fault(&observation(Embedding::F32(&[0.0; 8]))), zero);
    }

    #[test]
    fn long_fields_are_named() {
        let long = |field: &'static str| (format!("Field too large: {field}"), field);
        let text = |bytes: usize| "x".repeat(bytes);
        let (id, what, note) =
            (text(ID_BYTES_MAX + 1), text(WHAT_BYTES_MAX + 1), text(NOTE_BYTES_MAX + 1));
        let who = text(WHO_BYTES_MAX + 1);
        let good = observation(GOOD);
        assert_eq!(fault(&Observation { id: &id, ..good.clone() }), long("id"));
        assert_eq!(fault(&Observation { what: &what, ..good.clone() }), long("what"));
        assert_eq!(fault(&Observation { place: &note, ..good.clone() }), long("where_location"));
        assert_eq!(fault(&Observation { why: &note, ..good.clone() }), long("why"));
        assert_eq!(fault(&Observation { how: &note, ..good.clone() }), long("how"));
        assert_eq!(fault(&Observation { who: vec![&who], ..good.clone() }), long("who"));
        assert_eq!(
            fault(&Observation { who: vec!["a"; WHO_ENTRIES_MAX + 1], ..good.clone() }),
            long("who")
        );
        assert_eq!(fault(&Observation { tags: vec![&who], ..good.clone() }), long("tags"));
        assert_eq!(
            fault(&Observation { metadata: vec![("key", &who)], ..good.clone() }),
            long("metadata")
        );
        assert_eq!(fault(&Observation { when: Some((0, u32::MAX)), ..good }), long("when"));
    }
}
