//! Memories: what is observed, and what is recalled.

use std::collections::BTreeMap;

use engram_proto::engram::v1::{
    Confidence, ConfidenceCategory, Durability as WireDurability, Episode, Memory, MemoryType,
};
use engram_shards::ids::Time;
use engram_shards::log::record::{Embedding, Observation, read_embedding};
use engram_shards::message::Durability;
use prost_types::Timestamp;

use crate::recall::Found;

/// An engine's time on the wire.
pub(crate) fn timestamp(time: Time) -> Timestamp {
    Timestamp { seconds: (time.0 / 1_000_000) as i64, nanos: (time.0 % 1_000_000) as i32 * 1_000 }
}

/// A confidence and the word for it.
pub(crate) fn confidence(value: f32) -> Confidence {
    let category = match value {
        v if v <= 0.0 => ConfidenceCategory::None,
        v if v < 0.4 => ConfidenceCategory::Low,
        v if v < 0.7 => ConfidenceCategory::Medium,
        v if v < 0.95 => ConfidenceCategory::High,
        _ => ConfidenceCategory::Certain,
    };
    Confidence { value, category: category.into(), reasoning: String::new() }
}

/// What an episode observes.
pub(crate) fn observation(episode: &Episode) -> Observation<'_> {
    Observation {
        id: &episode.id,
        what: &episode.what,
        embedding: embedding(episode),
        when: episode.when.as_ref().map(moment),
        place: &episode.where_location,
        who: episode.who.iter().map(String::as_str).collect(),
        why: &episode.why,
        how: &episode.how,
        tags: Vec::new(),
        metadata: Vec::new(),
        memory_type: MemoryType::Episodic as u8,
        confidence: episode.encoding_confidence.as_ref().map(|confidence| confidence.value),
        decay_rate: episode.decay_rate,
        emotional_valence: episode.emotional_valence,
        importance: episode.importance,
    }
}

/// What a memory that is to be stored says.
pub(crate) fn observation_of_memory(memory: &Memory) -> Observation<'_> {
    Observation {
        when: memory.created_at.as_ref().map(moment),
        tags: memory.tags.iter().map(String::as_str).collect(),
        metadata: memory
            .metadata
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect(),
        memory_type: MemoryType::try_from(memory.memory_type).unwrap_or_default() as u8,
        confidence: memory.confidence.as_ref().map(|confidence| confidence.value),
        decay_rate: memory.decay_rate,
        ..Observation::new(&memory.id, &memory.content, Embedding::F32(&memory.embedding))
    }
}

/// The byte forms stand instead of the numbers where they are given.
fn embedding(episode: &Episode) -> Embedding<'_> {
    if !episode.embedding_f16.is_empty() {
        Embedding::F16Bytes(&episode.embedding_f16)
    } else if !episode.embedding_f32.is_empty() {
        Embedding::F32Bytes(&episode.embedding_f32)
    } else {
        Embedding::F32(&episode.embedding)
    }
}

/// Nanoseconds that are none (negative ones) become too many, and are refused with the rest of the content.
fn moment(timestamp: &Timestamp) -> (i64, u32) {
    (timestamp.seconds, u32::try_from(timestamp.nanos).unwrap_or(u32::MAX))
}

/// A result, with its vector as it was received where `dimension` is given.
pub(crate) fn memory(found: &Found, dimension: Option<u16>) -> Memory {
    let observation = found.observation();
    Memory {
        id: observation.id.to_owned(),
        embedding: dimension
            .map_or_else(Vec::new, |dimension| vector(observation.embedding, dimension)),
        activation: found.activation,
        confidence: Some(confidence(found.confidence)),
        last_access: None,
        created_at: Some(timestamp(found.received_at)),
        decay_rate: observation.decay_rate,
        content: observation.what.to_owned(),
        metadata: metadata(&observation),
        tags: observation.tags.iter().map(|&tag| tag.to_owned()).collect(),
        memory_type: observation.memory_type.into(),
        durability: match found.durability {
            Durability::Durable => WireDurability::Durable.into(),
            Durability::InFlight => WireDurability::InFlight.into(),
        },
    }
}

fn vector(embedding: Embedding<'_>, dimension: u16) -> Vec<f32> {
    let mut numbers = vec![0.0; usize::from(dimension)];
    read_embedding(embedding, &mut numbers).expect("the vector was checked when it was stored");
    numbers
}

/// Who, where, why, how and when of the episode, beside the memory's own.
pub(crate) fn metadata(observation: &Observation<'_>) -> BTreeMap<String, String> {
    let when = observation
        .when
        .map(|(seconds, nanos)| Timestamp { seconds, nanos: nanos as i32 }.to_string());
    let described = [
        ("who", observation.who.join(", ")),
        ("where", observation.place.to_owned()),
        ("why", observation.why.to_owned()),
        ("how", observation.how.to_owned()),
        ("when", when.unwrap_or_default()),
    ];
    let own = observation.metadata.iter().map(|&(key, value)| (key, value.to_owned()));
    let described = described.into_iter().filter(|(_, value)| !value.is_empty());
    own.chain(described).map(|(key, value)| (key.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_episode_says_who_where_why_how_and_when() {
        let episode = Episode {
            who: vec!["Ada".into(), "Bob".into()],
            where_location: "lab".into(),
            when: Some(Timestamp { seconds: 1_700_000_000, nanos: 0 }),
            ..Episode::default()
        };
        let metadata = metadata(&observation(&episode));
        let expected = [("when", "2023-11-14T22:13:20Z"), ("where", "lab"), ("who", "Ada, Bob")];
        assert_eq!(
            metadata,
            expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
        );
    }
}
