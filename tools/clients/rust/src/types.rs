//! What goes in and what comes out.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use engram_proto::engram::v1 as wire;
use engram_proto::engram::v1::cue::CueType;

/// What was observed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// Names the memory; one that the space already holds is replaced. Empty: `mem_{session}_{sequence}`.
    pub id: String,
    /// The text.
    pub what: String,
    /// As many numbers as the space has dimensions.
    pub embedding: Vec<f32>,
    /// When it was.
    pub when: Option<SystemTime>,
    /// The place.
    pub location: String,
    /// Who was there.
    pub who: Vec<String>,
    /// Why.
    pub why: String,
    /// How.
    pub how: String,
    /// How sure the observer is, 0 to 1; the server's own where it is not said.
    pub confidence: Option<f32>,
    /// How much it matters; subscribers ask for a least importance.
    pub importance: f32,
}

impl Observation {
    /// A text and its embedding.
    pub fn new(what: impl Into<String>, embedding: impl Into<Vec<f32>>) -> Observation {
        Observation { what: what.into(), embedding: embedding.into(), ..Observation::default() }
    }

    pub(crate) fn into_wire(self) -> wire::Episode {
        let bytes: Vec<u8> =
            self.embedding.iter().flat_map(|number| number.to_le_bytes()).collect();
        wire::Episode {
            id: self.id,
            what: self.what,
            embedding_f32: bytes.into(),
            when: self.when.map(Into::into),
            where_location: self.location,
            who: self.who,
            why: self.why,
            how: self.how,
            encoding_confidence: self
                .confidence
                .map(|value| wire::Confidence { value, ..wire::Confidence::default() }),
            importance: self.importance,
            ..wire::Episode::default()
        }
    }
}

/// An observation is durable: on disk, and in every recall from now on.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// Its number in the session, from 1.
    pub sequence: u64,
    /// What the memory is called.
    pub memory_id: String,
    /// A time by which it was durable; `None` where the server told only on resuming that it had become so.
    pub committed_at: Option<SystemTime>,
}

/// What a memory must be to be found: all that is said of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecallFilter {
    /// The earliest time.
    pub from: Option<SystemTime>,
    /// The time before which it was.
    pub to: Option<SystemTime>,
    /// The place; empty: any.
    pub location: String,
    /// Who was there, all of them.
    pub who: Vec<String>,
    /// Tags, all of them.
    pub tags: Vec<String>,
}

/// What is recalled: the memories nearest to an embedding.
#[derive(Clone, Debug, PartialEq)]
pub struct Recall {
    /// As many numbers as the space has dimensions.
    pub embedding: Vec<f32>,
    /// At most so many.
    pub max_results: u32,
    /// Whether only what is on disk may be found.
    pub durable_only: bool,
    /// Nothing less near than this.
    pub similarity_min: f32,
    /// What they must be.
    pub filter: Option<RecallFilter>,
    /// As of this time, within the last minute.
    pub snapshot_time: Option<SystemTime>,
    /// Whether their embeddings come along.
    pub include_embeddings: bool,
}

impl Recall {
    /// The ten nearest.
    pub fn nearest(embedding: impl Into<Vec<f32>>) -> Recall {
        Recall {
            embedding: embedding.into(),
            max_results: 10,
            durable_only: false,
            similarity_min: 0.0,
            filter: None,
            snapshot_time: None,
            include_embeddings: false,
        }
    }

    pub(crate) fn into_wire(self, space: &str) -> wire::StreamingRecallRequest {
        let filter = self.filter.map(|filter| wire::RecallFilter {
            from: filter.from.map(Into::into),
            to: filter.to.map(Into::into),
            where_location: filter.location,
            who: filter.who,
            tags: filter.tags,
        });
        wire::StreamingRecallRequest {
            memory_space_id: space.to_owned(),
            cue: Some(cue(self.embedding, self.similarity_min)),
            max_results: self.max_results,
            snapshot_isolation: self.durable_only,
            snapshot_time: self.snapshot_time.map(Into::into),
            include_embeddings: self.include_embeddings,
            filter,
            ..wire::StreamingRecallRequest::default()
        }
    }
}

pub(crate) fn cue(vector: Vec<f32>, similarity_threshold: f32) -> wire::Cue {
    let cue = wire::EmbeddingCue { vector, similarity_threshold };
    wire::Cue { cue_type: Some(CueType::Embedding(cue)), ..wire::Cue::default() }
}

/// A memory that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    /// What it is called.
    pub id: String,
    /// The text.
    pub content: String,
    /// How near it is to the cue, 0 to 1.
    pub activation: f32,
    /// The same, less where it is not on disk yet.
    pub confidence: f32,
    /// Whether it is on disk.
    pub durable: bool,
    /// When, who, where, why and how.
    pub metadata: BTreeMap<String, String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its numbers, where they were asked for.
    pub embedding: Vec<f32>,
}

impl From<wire::Memory> for Memory {
    fn from(memory: wire::Memory) -> Memory {
        Memory {
            durable: memory.durability() == wire::Durability::Durable,
            confidence: memory.confidence.map_or(0.0, |confidence| confidence.value),
            id: memory.id,
            content: memory.content,
            activation: memory.activation,
            metadata: memory.metadata,
            tags: memory.tags,
            embedding: memory.embedding,
        }
    }
}

/// All results of a recall.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recollection {
    /// Best first.
    pub memories: Vec<Memory>,
    /// So many observations of the space were durable at that moment.
    pub snapshot_sequence: u64,
}

/// What becomes of a memory that is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForgetMode {
    /// No recall finds it any more.
    Suppress,
    /// It is gone.
    Delete,
}

/// The lane of admission: the fuller the server, the higher the lane that it still takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// Before all others.
    High,
    /// As most.
    #[default]
    Normal,
    /// Behind all others.
    Low,
}

impl Priority {
    pub(crate) fn to_wire(self) -> wire::Priority {
        match self {
            Priority::High => wire::Priority::High,
            Priority::Normal => wire::Priority::Normal,
            Priority::Low => wire::Priority::Low,
        }
    }
}

/// How a session behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionOptions {
    /// The id of an earlier session, to go on with it; empty: a new one.
    pub resume: String,
    /// At most so many observations wait for their acks, sent or not; the server's own capacity bounds it too.
    pub window: u32,
    /// The lane of its observations.
    pub priority: Priority,
    /// So long after a connection was lost, if nothing has been acked since, the session is given up; `None`: never.
    pub patience: Option<Duration>,
    /// The longest wait before the first attempt to connect again; it doubles with each.
    pub reconnect_delay: Duration,
    /// The longest wait before any attempt.
    pub reconnect_delay_max: Duration,
}

impl Default for SessionOptions {
    fn default() -> SessionOptions {
        SessionOptions {
            resume: String::new(),
            window: 1_024,
            priority: Priority::Normal,
            patience: Some(Duration::from_secs(60)),
            reconnect_delay: Duration::from_millis(50),
            reconnect_delay_max: Duration::from_secs(5),
        }
    }
}
