//! Recalls and unary stores, whatever their transport.

use engram_shards::ids::Time;
use engram_shards::log::record::{Embedding, Observation};
use engram_shards::message::{Durability, Isolation};

use crate::core::Core;
use crate::failure::Failure;

/// A similarity query.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The space's name; empty means `default`.
    pub space: &'a str,
    /// The cue.
    pub embedding: Embedding<'a>,
    /// How many results at most.
    pub count: u32,
    /// Search width; 0 means the default.
    pub width: u32,
    /// Which rows it may see.
    pub isolation: Isolation,
    /// Results below this similarity are left out.
    pub similarity_min: f32,
}

/// What a recall found.
#[derive(Clone, Debug)]
pub struct Recollection {
    /// Best first.
    pub found: Vec<Found>,
    /// Observations durable in the space when the recall began.
    pub snapshot_sequence: u64,
    /// Rows that the recall could see.
    pub rows: u64,
}

/// One result.
#[derive(Clone, Debug)]
pub struct Found {
    /// Cosine similarity to the cue, 0…1.
    pub activation: f32,
    /// `activation`, less where it is not yet durable.
    pub confidence: f32,
    /// Whether it would survive a power cut.
    pub durability: Durability,
    /// When it was received.
    pub received_at: Time,
    /// When it was committed; where in flight, when it was received.
    pub committed_at: Time,
    body: Vec<u8>,
}

impl Found {
    /// What was observed.
    pub fn observation(&self) -> Observation<'_> {
        let _ = &self.body;
        todo!()
    }
}

/// An observation that was stored by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The memory's id.
    pub memory_id: String,
    /// When it was committed.
    pub committed_at: Time,
}

/// Searches a space, all its stripes.
pub async fn recall(core: &Core, query: Query<'_>) -> Result<Recollection, Failure> {
    let _ = (core, query);
    todo!()
}

/// Stores one observation, durably, in the space called `space` (empty means `default`; made if it is not there). An
/// empty id stands for `mem_{UUIDv7}`.
pub async fn remember(
    core: &Core,
    space: &str,
    observation: &Observation<'_>,
) -> Result<Stored, Failure> {
    let _ = (core, space, observation);
    todo!()
}
