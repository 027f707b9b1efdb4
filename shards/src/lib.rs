//! The engine of one core: a sans-IO, deterministic state machine.
//!
//! It owns spaces outright (rows, graph, log) and knows no socket, file, clock or thread: inputs are
//! `handle_*` calls that carry the time, outputs are polled. The runtime (`engram`) feeds it from io_uring,
//! the simulator (`engram-sim`) from a seed.
//!
//! Modules stand in reading order, leaves first; each imports only from those above it.

#[macro_use]
mod planted;
pub mod ids;
pub(crate) mod bytes;
pub mod limits;
pub mod settings;
pub mod vector;
pub mod graph;
pub mod quality;
pub mod log;
pub mod histogram;
pub mod attributes;
pub mod record_cache;
pub mod message;
pub mod admission;
pub mod session;
pub mod space;
pub mod checkpoint;
pub mod recall;
pub mod shard;

#[cfg(feature = "planted")]
pub use planted::{Planted, plant};
