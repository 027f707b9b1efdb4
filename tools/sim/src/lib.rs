//! A deterministic simulator: real shards, and all around them drawn from one seed.
//!
//! ```text
//!            seed ─► random ─► faults, times, sizes, vectors
//!                      │
//!  clients ─► requests ┴─► process: shards ─► I/O ─► disk
//!     ▲                        │                      │ crash, torn and lost writes
//!     └─────── replies ────────┘◄──── logs ◄──────────┘
//!     └──► ledger (what was sent, acked, seen) ◄── audit of the disk, and of what is recalled
//! ```
//!
//! | file | responsibility |
//! |---|---|
//! | `random` | the one source of chance |
//! | `trace` | the hash of all that happened; the same seed must give the same |
//! | `fault` | how bad a world a seed draws, and bugs planted on purpose |
//! | `disk` | files as a disk and its cache keep them |
//! | `device` | the disk in the weather: what fails, and when it is full |
//! | `ledger` | what was promised to whom: the checker |
//! | `audit` | what the disk holds at a restart, read without the engine |
//! | `process` | the shards of one run, and their I/O in flight |
//! | `client` | who sends and recalls |
//! | `verify` | whether what shards answer is right |
//! | `world` | the loop of events |
//!
//! Nothing here knows how the engine works: a checker that shares its assumptions would share its faults.

pub mod random;
pub mod trace;
pub mod fault;
pub mod disk;
pub mod device;
pub mod ledger;
pub mod audit;
pub mod process;
pub mod client;
pub mod verify;
pub mod world;
