//! A memory that was recalled, as JSON has it.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use engram_shards::message::Durability;

use crate::recall::Found;
use crate::wire::calendar::Moment;
use crate::wire::convert;

/// One result of a recall.
#[derive(Debug, Serialize)]
pub(super) struct MemoryJson<'a> {
    id: &'a str,
    content: &'a str,
    activation: f32,
    confidence: f32,
    durability: &'static str,
    when: Option<Moment>,
    metadata: BTreeMap<String, String>,
}

impl<'a> MemoryJson<'a> {
    pub(super) fn new(found: &'a Found) -> MemoryJson<'a> {
        let observation = found.observation();
        MemoryJson {
            id: observation.id,
            content: observation.what,
            activation: found.activation,
            confidence: found.confidence,
            durability: match found.durability {
                Durability::Durable => "durable",
                Durability::InFlight => "in_flight",
            },
            when: observation.when.map(|(seconds, nanos)| Moment { seconds, nanos }),
            metadata: convert::metadata(&observation),
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
