//! What the server promises, tried from outside on the real binary with a client that we did not write (tonic).
//!
//! One file a promise; `harness` starts servers and holds the client's calls. One program, so that tonic is linked
//! once: `cargo test --release --test system durable` runs one promise.

mod harness;

mod ack_policies;
mod broken_disk;
mod command_line;
mod compaction;
mod conformance;
mod connections;
mod damaged_checkpoint;
mod durable;
mod end_to_end;
mod events;
mod extensions;
mod fair_spaces;
mod fast_restart;
mod filters;
mod forget;
mod full_disk;
mod introspection;
mod isolation;
mod load_statuses;
mod lost_end;
mod maintenance;
mod memory_bound;
mod memory_flow;
mod memory_stream;
mod metrics;
mod power_cut;
mod recall_is_held;
mod refusals;
mod sessions;
#[cfg(feature = "chaos")]
mod shard_restart;
#[cfg(feature = "chaos")]
mod silence;
mod snapshot_time;
mod standard_services;
mod websocket_messages;
