//! What an observation must be before it is handed on, and the work that needs no ownership: scale, quantise, encode.

use engram_shards::limits::{
    ID_BYTES_MAX, LENGTH_MAX, LENGTH_MIN, NOTE_BYTES_MAX, WHAT_BYTES_MAX, WHO_BYTES_MAX,
    WHO_ENTRIES_MAX,
};
use engram_shards::log::record::{Body, Embedding, Observation, encode_body, read_embedding};
use engram_shards::message::Cue;
use engram_shards::settings::{Metric, SpaceSettings};
use engram_shards::vector::codes::{Codes, Encoded, VectorFault};

use crate::failure::{Code, Failure};

/// What is wrong with a message's content: the words that clients match on, and the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentFault {
    /// What a client reads.
    pub message: String,
    /// Which field.
    pub field: &'static str,
}

impl From<ContentFault> for Failure {
    fn from(fault: ContentFault) -> Failure {
        let ContentFault { message, field } = fault;
        Failure::new(Code::InvalidArgument, format!("{message} (field: {field})"))
    }
}

/// An observation made ready for its owner.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) body: Body,
    pub(crate) codes: Codes,
}

/// Checks an observation for the space, quantises and encodes it. `scratch` is reused between calls.
pub(crate) fn prepare(
    observation: &Observation<'_>,
    space: &SpaceSettings,
    scratch: &mut Vec<f32>,
) -> Result<Prepared, ContentFault> {
    check_fields(observation)?;
    read(observation.embedding, space.dimension, scratch)?;
    let codes = codes_of(scratch, space.metric)?;
    Ok(Prepared { body: encode_body(observation), codes })
}

/// Checks a cue for the space and quantises it.
pub(crate) fn prepare_cue(
    embedding: Embedding<'_>,
    space: &SpaceSettings,
) -> Result<Cue, ContentFault> {
    let mut vector = Vec::new();
    read(embedding, space.dimension, &mut vector)?;
    let mut scaled = vector.clone();
    let codes = codes_of(&mut scaled, space.metric)?;
    let vector = match space.metric {
        Metric::Cosine => scaled,
        Metric::Dot | Metric::Euclidean => vector,
    };
    Ok(Cue::Like { vector: vector.into_boxed_slice(), codes })
}

/// The codes of `vector`, which is scaled to unit length in place.
fn codes_of(vector: &mut [f32], metric: Metric) -> Result<Codes, ContentFault> {
    let codes = Encoded::new(vector).and_then(|encoded| encoded.codes(metric));
    codes.map_err(|fault| match fault {
        VectorFault::NotFinite => embedding_fault("Embedding must be finite".to_owned()),
        VectorFault::Zero => embedding_fault("Embedding must not be zero".to_owned()),
        VectorFault::Length => {
            let range = format!("{LENGTH_MIN:e} to {LENGTH_MAX:e}");
            embedding_fault(format!("Embedding must have a length of {range} in this space"))
        }
    })
}

/// Reads a vector of `dimension` numbers into `out`.
fn read(embedding: Embedding<'_>, dimension: u16, out: &mut Vec<f32>) -> Result<(), ContentFault> {
    let width_bytes = if matches!(embedding, Embedding::F16Bytes(_)) { 2 } else { 4 };
    if embedding_bytes(embedding) != usize::from(dimension) * width_bytes {
        return Err(embedding_fault(format!("Embedding must be exactly {dimension} dimensions")));
    }
    out.clear();
    out.resize(usize::from(dimension), 0.0);
    read_embedding(embedding, out).expect("the length was checked above");
    Ok(())
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
        Observation::new("id", "what", embedding)
    }

    fn space(metric: Metric) -> SpaceSettings {
        SpaceSettings { name: "robots".to_owned(), dimension: 8, metric, stripes: 1 }
    }

    fn fault(observation: &Observation<'_>) -> (String, &'static str) {
        let ContentFault { message, field } =
            prepare(observation, &space(Metric::Cosine), &mut Vec::new())
                .expect_err("it is not as it must be");
        (message, field)
    }

    const GOOD: Embedding<'static> = Embedding::F32(&[1.0; 8]);

    #[test]
    fn a_good_observation_is_prepared_and_a_texts_limit_is_inclusive() {
        let id = "i".repeat(ID_BYTES_MAX);
        let who = "w".repeat(WHO_BYTES_MAX);
        let good = Observation { id: &id, who: vec![&who; WHO_ENTRIES_MAX], ..observation(GOOD) };
        let prepared = prepare(&good, &space(Metric::Cosine), &mut Vec::new());
        let prepared = prepared.expect("it is as it must be");
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
    fn lengths_are_checked_where_they_count() {
        for length in [1e-13, 1e13] {
            let embedding = Embedding::F32(&[length; 8]);
            assert!(prepare_cue(embedding, &space(Metric::Cosine)).is_ok());
            for metric in [Metric::Dot, Metric::Euclidean] {
                let space = space(metric);
                let of_cue = prepare_cue(embedding, &space).expect_err("of no such length");
                let observation = observation(embedding);
                let of_observation = prepare(&observation, &space, &mut Vec::new());
                assert_eq!(of_observation.expect_err("of no such length"), of_cue);
                assert_eq!(of_cue.field, "embedding");
                let expected = "Embedding must have a length of 1e-12 to 1e12 in this space";
                assert_eq!(of_cue.message, expected);
            }
        }
        for metric in [Metric::Dot, Metric::Euclidean] {
            let zero = prepare_cue(Embedding::F32(&[0.0; 8]), &space(metric));
            assert_eq!(zero.expect_err("zero").message, "Embedding must not be zero");
        }
    }

    #[test]
    fn a_cue_is_scaled_for_cosine_alone() {
        let received = Embedding::F32(&[2.0; 8]);
        let vector = |metric| match prepare_cue(received, &space(metric)) {
            Ok(Cue::Like { vector, .. }) => vector,
            other => panic!("{other:?}"),
        };
        assert!(vector(Metric::Cosine).iter().all(|&x| (x - 8f32.sqrt().recip()).abs() < 1e-6));
        assert_eq!(*vector(Metric::Dot), [2.0; 8]);
        assert_eq!(*vector(Metric::Euclidean), [2.0; 8]);
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
