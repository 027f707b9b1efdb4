//! The runtime of engram: executors pinned to cores, listeners, gRPC, WebSocket and HTTP, rings between cores, disk I/O.
//!
//! It decides nothing that the engine (`engram-shards`) decides. Modules stand in reading order, leaves first; each
//! imports only from those above it.

pub mod limits;
pub mod loans;
pub mod failure;
pub mod dataset;
pub mod config;
pub mod cores;
pub mod chaos;
pub mod preflight;
pub mod clock;
pub mod contain;
pub mod aside;
pub mod knock;
pub mod notice;
pub mod turnstile;
pub mod metrics;
pub mod folder;
pub mod checkpoint_files;
pub mod down;
pub mod maintenance;
pub mod log_readers;
pub mod shares;
pub mod recycling;
pub mod disk;
pub mod placement;
pub mod memory;
pub mod mesh;
pub mod pump;
pub mod core;
pub mod memory_bound;
pub mod recovery;
pub mod supervisor;
pub mod space_name;
pub mod content;
pub mod store;
pub mod recall;
pub mod events;
pub mod forget;
pub mod session;
pub mod wire;
pub mod stop;
pub mod listen;
pub mod connections;
pub mod boot;
pub mod client;
pub mod demo;
pub mod cli;
