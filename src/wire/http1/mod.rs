//! HTTP/1.1: plain requests, and the way into WebSocket.
//!
//! ```text
//!  bytes ─► head ─► body ─► connection ─► http (the routes) ─► answer ─► bytes
//!                               └─ GET /v1/stream ─► websocket
//! ```
//! | file | responsibility |
//! |---|---|
//! | `head` | request line and headers, checked and bounded |
//! | `body` | a body of a known length or in chunks, bounded |
//! | `answer` | an answer's bytes |
//! | `connection` | one request after the other, each in its time |
//! | `site` | this server's answers, and its WebSockets |
//!
//! **Invariants:** nothing is kept of a request beyond its limits; every wait ends; a request that cannot be understood
//! is the last of its connection.

pub(crate) mod head;
pub(crate) mod body;
pub(crate) mod answer;
pub(crate) mod connection;
mod site;

pub use head::LongQuery;
pub use site::{refuse, serve};
