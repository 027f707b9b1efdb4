//! Streams observations into engram and recalls them, over gRPC.
//!
//! ```no_run
//! use engram_client::{Client, Observation, Recall, SessionOptions};
//!
//! # async fn stream(source: Vec<(String, Vec<f32>)>, cue: Vec<f32>) -> Result<(), engram_client::Error> {
//! let client = Client::new("http://127.0.0.1:50051")?;
//! let session = client.open_session("robots", SessionOptions::default()).await?;
//! for (text, embedding) in source {
//!     // Returns once there is room; what it gives resolves once the observation is on disk.
//!     let _ack = session.observe(Observation::new(text, embedding)).await?;
//! }
//! let found = session.recall(Recall { max_results: 5, ..Recall::nearest(cue) }).await?;
//! let final_sequence = session.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! ```text
//!  Session ─ commands ─► task ─┬─► machine (what goes next, what an answer means)
//!     ▲                        └─► call: MemoryStream of one connection, then of the next
//!     └──────── acks, results, how it stands
//! ```
//! | module | responsibility |
//! |---|---|
//! | `error` | every way of failing that a caller can act on |
//! | `types` | what goes in and what comes out |
//! | `delay` | how long to wait before connecting again |
//! | `calls` | the server's calls, by tonic |
//! | `machine` | a session's rules, without I/O |
//! | `session` | a session over as many connections as it takes |
//! | `events` | what happens in a space, over as many connections as it takes |
//! | `client` | one server |
//!
//! **Invariant:** each observation becomes durable once, in the order of the calls, whatever happens to connections
//! and to the server.

mod error;
mod types;
mod delay;
mod calls;
mod machine;
mod session;
mod events;
mod client;

pub use client::Client;
pub use error::{Error, ErrorKind};
pub use events::{Event, EventKind, Events, Subscription};
pub use session::{Ack, Session};
pub use types::{
    ForgetMode, Memory, Observation, Priority, Recall, RecallFilter, Receipt, Recollection,
    SessionOptions,
};
