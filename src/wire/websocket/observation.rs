//! The `observation` message, read in one pass.
//!
//! A vector is 768 numbers and so nearly all of the text; they are parsed straight into memory that is used again, and
//! strings without escapes are borrowed from the frame. `type` may stand anywhere in the object, so the pass takes every
//! object for an observation until it turns out not to be one.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use engram_shards::limits;
use engram_shards::log::record::{Embedding, Observation};

use crate::wire::calendar::Moment;
use crate::wire::websocket::key::{Text, missing};

/// `MemoryType` of the wire for what was observed.
const MEMORY_TYPE_EPISODIC: u8 = 1;
/// How sure an observer was who does not say.
const CONFIDENCE_DEFAULT: f32 = 0.7;

/// Memory for the vector of the message at hand.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    numbers: Vec<f32>,
    bytes: Vec<u8>,
}

impl Scratch {
    /// The numbers of the last message.
    pub(crate) fn numbers(&self) -> &[f32] {
        &self.numbers
    }
}

/// `observation`.
#[derive(Debug)]
pub(crate) struct ObservationMessage<'a> {
    pub(crate) session_id: Cow<'a, str>,
    pub(crate) sequence_number: u64,
    episode: Episode<'a>,
}

#[derive(Debug)]
struct Episode<'a> {
    id: Cow<'a, str>,
    what: Cow<'a, str>,
    form: Form,
    when: Option<Moment>,
    confidence: Option<f32>,
    place: Cow<'a, str>,
    who: Vec<Text<'a>>,
    why: Cow<'a, str>,
    how: Cow<'a, str>,
    importance: f32,
}

/// In which form the embedding came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Numbers,
    F32,
    F16,
}

impl<'a> ObservationMessage<'a> {
    /// Reads one; `None` where the object's type is another or missing. The error says what is wrong with it, provided
    /// that it is an observation at all.
    pub(crate) fn read(text: &'a str, scratch: &mut Scratch) -> Result<Option<Self>, String> {
        let mut json = serde_json::Deserializer::from_str(text);
        let keys =
            MessageKeys { scratch }.deserialize(&mut json).map_err(|error| error.to_string())?;
        json.end().map_err(|error| error.to_string())?;
        if keys.kind.is_none_or(|kind| kind.0 != "observation") {
            return Ok(None);
        }
        let session_id = keys.session_id.ok_or_else(|| missing("session_id"))?.0;
        let sequence_number = keys.sequence_number.ok_or_else(|| missing("sequence_number"))?;
        let episode = keys.episode.ok_or_else(|| missing("episode"))?.check()?;
        Ok(Some(ObservationMessage { session_id, sequence_number, episode }))
    }

    /// What a session takes. `scratch` is the one that the message was read with.
    pub(crate) fn observation<'b>(&'b self, scratch: &'b Scratch) -> Observation<'b> {
        let episode = &self.episode;
        Observation {
            id: &episode.id,
            what: &episode.what,
            embedding: match episode.form {
                Form::Numbers => Embedding::F32(&scratch.numbers),
                Form::F32 => Embedding::F32Bytes(&scratch.bytes),
                Form::F16 => Embedding::F16Bytes(&scratch.bytes),
            },
            when: episode.when.map(|when| (when.seconds, when.nanos)),
            place: &episode.place,
            who: episode.who.iter().map(|person| person.0.as_ref()).collect(),
            why: &episode.why,
            how: &episode.how,
            tags: Vec::new(),
            metadata: Vec::new(),
            memory_type: MEMORY_TYPE_EPISODIC,
            confidence: Some(episode.confidence.unwrap_or(CONFIDENCE_DEFAULT)),
            decay_rate: 0.0,
            emotional_valence: 0.0,
            importance: episode.importance,
        }
    }
}

/// Reads an array of numbers into the scratch memory.
pub(crate) fn read_numbers(array: &RawValue, scratch: &mut Scratch) -> serde_json::Result<()> {
    Numbers { out: &mut scratch.numbers }
        .deserialize(&mut serde_json::Deserializer::from_str(array.get()))
}

#[derive(Default)]
struct MessageFound<'a> {
    kind: Option<Text<'a>>,
    session_id: Option<Text<'a>>,
    sequence_number: Option<u64>,
    episode: Option<EpisodeFound<'a>>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum MessageKey {
    Type,
    SessionId,
    SequenceNumber,
    Episode,
    #[serde(other)]
    Unknown,
}

struct MessageKeys<'s> {
    scratch: &'s mut Scratch,
}

impl<'de> DeserializeSeed<'de> for MessageKeys<'_> {
    type Value = MessageFound<'de>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MessageKeys<'_> {
    type Value = MessageFound<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = MessageFound::default();
        while let Some(key) = map.next_key()? {
            match key {
                MessageKey::Type => found.kind = map.next_value()?,
                MessageKey::SessionId => found.session_id = map.next_value()?,
                MessageKey::SequenceNumber => found.sequence_number = map.next_value()?,
                MessageKey::Episode => {
                    let episode = EpisodeKeys { scratch: &mut *self.scratch };
                    found.episode = Some(map.next_value_seed(episode)?);
                }
                MessageKey::Unknown => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

#[derive(Default)]
struct EpisodeFound<'a> {
    id: Option<Text<'a>>,
    what: Option<Text<'a>>,
    form: Option<Form>,
    when: Option<Text<'a>>,
    confidence: Option<f32>,
    place: Option<Text<'a>>,
    who: Option<Vec<Text<'a>>>,
    why: Option<Text<'a>>,
    how: Option<Text<'a>>,
    importance: Option<f32>,
}

impl<'a> EpisodeFound<'a> {
    fn check(self) -> Result<Episode<'a>, String> {
        let text = |text: Option<Text<'a>>| text.unwrap_or_default().0;
        let read_when = |when: Text<'a>| {
            Moment::parse_rfc3339(&when.0)
                .ok_or_else(|| format!("when is not RFC 3339: {}", when.0))
        };
        Ok(Episode {
            id: self.id.ok_or_else(|| missing("id"))?.0,
            what: self.what.ok_or_else(|| missing("what"))?.0,
            form: self.form.ok_or_else(|| missing("embedding"))?,
            when: self.when.map(read_when).transpose()?,
            confidence: self.confidence,
            place: text(self.place),
            who: self.who.unwrap_or_default(),
            why: text(self.why),
            how: text(self.how),
            importance: self.importance.unwrap_or(0.0),
        })
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum EpisodeKey {
    Id,
    What,
    Embedding,
    EmbeddingF32,
    EmbeddingF16,
    When,
    EncodingConfidence,
    WhereLocation,
    Who,
    Why,
    How,
    Importance,
    #[serde(other)]
    Unknown,
}

struct EpisodeKeys<'s> {
    scratch: &'s mut Scratch,
}

impl<'de> DeserializeSeed<'de> for EpisodeKeys<'_> {
    type Value = EpisodeFound<'de>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EpisodeKeys<'_> {
    type Value = EpisodeFound<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an episode")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = EpisodeFound::default();
        while let Some(key) = map.next_key()? {
            match key {
                EpisodeKey::Id => found.id = map.next_value()?,
                EpisodeKey::What => found.what = map.next_value()?,
                EpisodeKey::Embedding => {
                    map.next_value_seed(Numbers { out: &mut self.scratch.numbers })?;
                    found.form = Some(Form::Numbers);
                }
                EpisodeKey::EmbeddingF32 => {
                    read_base64(&map.next_value()?, 4, &mut self.scratch.bytes)?;
                    found.form = Some(Form::F32);
                }
                EpisodeKey::EmbeddingF16 => {
                    read_base64(&map.next_value()?, 2, &mut self.scratch.bytes)?;
                    found.form = Some(Form::F16);
                }
                EpisodeKey::When => found.when = map.next_value()?,
                EpisodeKey::EncodingConfidence => found.confidence = map.next_value()?,
                EpisodeKey::WhereLocation => found.place = map.next_value()?,
                EpisodeKey::Who => found.who = map.next_value()?,
                EpisodeKey::Why => found.why = map.next_value()?,
                EpisodeKey::How => found.how = map.next_value()?,
                EpisodeKey::Importance => found.importance = map.next_value()?,
                EpisodeKey::Unknown => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

fn read_base64<E: serde::de::Error>(
    text: &Text<'_>,
    number_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<(), E> {
    out.clear();
    base64_simd::STANDARD
        .decode_append(text.0.as_bytes(), out)
        .map_err(|_| E::custom("the embedding is not base64"))?;
    if !out.len().is_multiple_of(number_bytes) {
        return Err(E::custom("the embedding ends within a number"));
    }
    Ok(())
}

/// An array of numbers, read into memory that is used again. `null`, which is how JavaScript writes NaN, becomes NaN,
/// so that it is refused as what it is.
struct Numbers<'s> {
    out: &'s mut Vec<f32>,
}

/// One number more than any space takes: what is longer is refused for its length, so the rest need not be kept.
const NUMBERS_MAX: usize = limits::DIMENSION_MAX as usize + 1;

impl<'de> DeserializeSeed<'de> for Numbers<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Numbers<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        self.out.clear();
        while let Some(number) = array.next_element::<Option<f32>>()? {
            if self.out.len() < NUMBERS_MAX {
                self.out.push(number.unwrap_or(f32::NAN));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a>(text: &'a str, scratch: &mut Scratch) -> ObservationMessage<'a> {
        ObservationMessage::read(text, scratch).expect("sound").expect("an observation")
    }

    fn fault(episode: &str) -> String {
        let text = format!(
            r#"{{"type":"observation","session_id":"s","sequence_number":1,"episode":{episode}}}"#
        );
        ObservationMessage::read(&text, &mut Scratch::default()).expect_err("faulty")
    }

    #[test]
    fn every_key_arrives_and_type_may_come_last() {
        let mut scratch = Scratch::default();
        let text = r#"{"episode":{"embedding":[0.5,-1,2e-1],"id":"i\u00e9","what":"w","who":["a","b\n"],
            "when":"1970-01-01T00:00:01.5Z","encoding_confidence":0.25,"where_location":"p","why":"y",
            "how":"h","importance":2,"mood":{"deep":[[]]}},"sequence_number":7,"session_id":"s",
            "type":"observation"}"#;
        let message = read(text, &mut scratch);
        assert_eq!((message.session_id.as_ref(), message.sequence_number), ("s", 7));
        let expected = Observation {
            id: "ié",
            what: "w",
            embedding: Embedding::F32(&[0.5, -1.0, 0.2]),
            when: Some((1, 500_000_000)),
            place: "p",
            who: vec!["a", "b\n"],
            why: "y",
            how: "h",
            tags: vec![],
            metadata: vec![],
            memory_type: 1,
            confidence: Some(0.25),
            decay_rate: 0.0,
            emotional_valence: 0.0,
            importance: 2.0,
        };
        assert_eq!(message.observation(&scratch), expected);
    }

    #[test]
    fn a_lean_episode_gets_the_defaults() {
        let mut scratch = Scratch::default();
        let text = r#"{"type":"observation","session_id":"s","sequence_number":1,
            "episode":{"id":"i","what":"w","embedding":[1],"why":null}}"#;
        let message = read(text, &mut scratch);
        let observation = message.observation(&scratch);
        assert_eq!(observation.confidence, Some(CONFIDENCE_DEFAULT));
        assert_eq!((observation.when, observation.place, observation.why), (None, "", ""));
    }

    #[test]
    fn strings_without_escapes_are_borrowed() {
        let text = r#"{"type":"observation","session_id":"s","sequence_number":1,
            "episode":{"id":"i","what":"plain","who":["me"],"embedding":[1]}}"#;
        let message = read(text, &mut Scratch::default());
        assert!(matches!(message.episode.what, Cow::Borrowed(_)));
        assert!(matches!(message.episode.who[0].0, Cow::Borrowed(_)));
    }

    #[test]
    fn base64_vectors_are_handed_on_as_bytes() {
        let mut scratch = Scratch::default();
        let text = r#"{"type":"observation","session_id":"s","sequence_number":1,
            "episode":{"id":"i","what":"w","embedding_f32":"AACAPwAAAMA="}}"#;
        let message = read(text, &mut scratch);
        let bytes = [0, 0, 128, 63, 0, 0, 0, 192];
        assert_eq!(message.observation(&scratch).embedding, Embedding::F32Bytes(&bytes));
        let text = text.replace("embedding_f32", "embedding_f16");
        let message = read(&text, &mut scratch);
        assert_eq!(message.observation(&scratch).embedding, Embedding::F16Bytes(&bytes));
        assert!(
            fault(r#"{"id":"i","what":"w","embedding_f32":"AAA="}"#).contains("within a number")
        );
        assert!(fault(r#"{"id":"i","what":"w","embedding_f16":"*"}"#).contains("not base64"));
    }

    #[test]
    fn missing_keys_are_named() {
        assert_eq!(fault(r#"{"what":"w","embedding":[1]}"#), "missing field id");
        assert_eq!(fault(r#"{"id":"i","embedding":[1]}"#), "missing field what");
        assert_eq!(fault(r#"{"id":"i","what":"w"}"#), "missing field embedding");
        let text = r#"{"type":"observation","session_id":"s"}"#;
        let fault = ObservationMessage::read(text, &mut Scratch::default()).expect_err("faulty");
        assert_eq!(fault, "missing field sequence_number");
    }

    #[test]
    fn wrong_types_and_dates_are_faults() {
        assert!(fault(r#"{"id":1,"what":"w","embedding":[1]}"#).contains("expected a string"));
        assert!(fault(r#"{"id":"i","what":"w","embedding":["1"]}"#).contains("f32"));
        assert!(fault(r#"{"id":"i","what":"w","embedding":[1e999]}"#).contains("out of range"));
        assert!(
            fault(r#"{"id":"i","what":"w","embedding":[1],"when":"now"}"#).contains("RFC 3339")
        );
    }

    #[test]
    fn null_is_not_a_number_and_a_huge_number_is_infinite() {
        let mut scratch = Scratch::default();
        let text = r#"{"type":"observation","session_id":"s","sequence_number":1,
            "episode":{"id":"i","what":"w","embedding":[null,1e300]}}"#;
        read(text, &mut scratch);
        assert!(scratch.numbers()[0].is_nan() && scratch.numbers()[1].is_infinite());
    }

    #[test]
    fn an_endless_vector_takes_bounded_memory() {
        let mut scratch = Scratch::default();
        let text = format!(
            r#"{{"type":"observation","session_id":"s","sequence_number":1,
            "episode":{{"id":"i","what":"w","embedding":[{}0]}}}}"#,
            "0,".repeat(100_000)
        );
        read(&text, &mut scratch);
        assert_eq!(scratch.numbers().len(), NUMBERS_MAX);
    }
}
