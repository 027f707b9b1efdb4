//! The log is the store: segments, batches, records, group commit, replay.
pub mod record;
pub mod log;
pub mod replay;
