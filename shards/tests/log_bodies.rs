//! What was observed comes back as it was, and no bytes whatever make a reader panic.

use engram_shards::log::record::{
    Embedding, Observation, decode_body, decode_space, encode_body, encode_space, read_body,
    read_embedding,
};
use engram_shards::settings::{Metric, SpaceSettings};
use proptest::prelude::*;

/// An observation that owns its text.
#[derive(Clone, Debug)]
struct Owned {
    id: String,
    texts: [String; 4],
    when: Option<(i64, u32)>,
    who: Vec<String>,
    tags: Vec<String>,
    metadata: Vec<(String, String)>,
    memory_type: u8,
    confidence: Option<f32>,
    numbers: [f32; 3],
    vector: Vec<u8>,
    half: bool,
}

impl Owned {
    fn borrowed(&self) -> Observation<'_> {
        let embedding = if self.half {
            Embedding::F16Bytes(&self.vector)
        } else {
            Embedding::F32Bytes(&self.vector)
        };
        Observation {
            id: &self.id,
            what: &self.texts[0],
            embedding,
            when: self.when,
            place: &self.texts[1],
            who: self.who.iter().map(String::as_str).collect(),
            why: &self.texts[2],
            how: &self.texts[3],
            tags: self.tags.iter().map(String::as_str).collect(),
            metadata: self.metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect(),
            memory_type: self.memory_type,
            confidence: self.confidence,
            decay_rate: self.numbers[0],
            emotional_valence: self.numbers[1],
            importance: self.numbers[2],
        }
    }
}

fn observations() -> impl Strategy<Value = Owned> {
    let text = "\\PC{0,20}";
    let texts = [text; 4].map(|text| text.prop_map(String::from));
    let number = -1e6f32..1e6;
    (
        ("\\PC{1,20}", texts, any::<Option<(i64, u32)>>(), prop::collection::vec(text, 0..4)),
        (
            prop::collection::vec(text, 0..4),
            prop::collection::vec((text, text), 0..4),
            any::<u8>(),
            prop::option::of(0f32..1.0),
        ),
        ([number.clone(), number.clone(), number], prop::collection::vec(any::<[u8; 4]>(), 8..40)),
        any::<bool>(),
    )
        .prop_map(
            |(
                (id, texts, when, who),
                (tags, metadata, memory_type, confidence),
                (numbers, vector),
                half,
            )| {
                let vector = vector.concat();
                Owned {
                    id,
                    texts,
                    when,
                    who,
                    tags,
                    metadata,
                    memory_type,
                    confidence,
                    numbers,
                    vector,
                    half,
                }
            },
        )
}

proptest! {
    #[test]
    fn an_observation_comes_back(owned in observations()) {
        let observation = owned.borrowed();
        let body = encode_body(&observation);
        prop_assert_eq!(decode_body(&body.bytes), Ok(observation));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode_body(&bytes);
        let _ = decode_space(&bytes);
        let _ = read_body(&bytes);
    }

    #[test]
    fn no_change_of_a_body_panics(
        owned in observations(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encode_body(&owned.borrowed()).bytes;
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        let _ = decode_body(&bytes);
        let _ = decode_body(&bytes[..cut.index(bytes.len())]);
    }

    #[test]
    fn floats_and_their_bytes_are_one_embedding(values in prop::collection::vec(any::<f32>(), 8..20)) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let of = |embedding| encode_body(&Observation { embedding, ..plain() });
        prop_assert_eq!(of(Embedding::F32(&values)), of(Embedding::F32Bytes(&bytes)));
        let mut read = vec![0.0; values.len()];
        read_embedding(Embedding::F32Bytes(&bytes), &mut read).expect("as long as it is");
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&read), bits(&values));
    }

    #[test]
    fn a_space_comes_back(name in "[a-z0-9_-]{3,64}", dimension in 8u16..=4096, stripes in 1u16..) {
        let settings = SpaceSettings { name, dimension, metric: Metric::Cosine, stripes };
        let body = encode_space(&settings);
        prop_assert_eq!(decode_space(&body.bytes), Ok(settings));
        for cut in 0..body.bytes.len() {
            prop_assert!(decode_space(&body.bytes[..cut]).is_err());
        }
    }
}

fn plain() -> Observation<'static> {
    Observation::new("a", "", Embedding::F32(&[]))
}

#[test]
fn every_half_float_is_read_exactly() {
    for bits in 0..=u16::MAX {
        let mut read = [0.0];
        read_embedding(Embedding::F16Bytes(&bits.to_le_bytes()), &mut read).expect("one number");
        let expected = half::f16::from_bits(bits).to_f32();
        assert_eq!(read[0].to_bits(), expected.to_bits(), "half {bits:#06x}");
    }
}

#[test]
fn a_vector_of_another_length_is_refused() {
    let mut out = [0.0; 3];
    for bytes in [0, 8, 11, 13, 16] {
        assert!(read_embedding(Embedding::F32Bytes(&vec![0; bytes]), &mut out).is_err());
    }
    assert!(read_embedding(Embedding::F32(&[1.0; 2]), &mut out).is_err());
    assert!(read_embedding(Embedding::F16Bytes(&[0; 5]), &mut out).is_err());
}

/// Readers pass over fields that they do not know, so that later versions may add some.
#[test]
fn an_unknown_field_is_passed_over() {
    let mut bytes = encode_body(&plain()).bytes;
    bytes.extend_from_slice(&[200, 3, 0, 0, 0, 1, 2, 3]);
    let embedding = Embedding::F32Bytes(&[]);
    assert_eq!(decode_body(&bytes), Ok(Observation { embedding, ..plain() }));
}
