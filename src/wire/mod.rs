//! The protocols: what bytes on a connection mean.
//!
//! ```text
//!  listener ─► accept (which protocol?) ─┬─► http2 ─┬─► grpc ─► convert ─► session, recall
//!                                        │          └─► http
//!                                        └─► http1 ─┬─► http ─► session, recall
//!                                                   └─► websocket
//! ```
//! | file | responsibility |
//! |---|---|
//! | `stream` | a connection's bytes; the only file that names tokio's traits |
//! | `transport` | bytes and timers as HTTP/1.1 and WebSocket see them |
//! | `calendar` | dates as text |
//! | `convert` | the wire's types and the engine's |
//! | `operation` | what a message does to an open session |
//! | `exposition` | metrics as text |
//! | `memory_json` | a memory as JSON |
//! | `http_memories` | memories stored and recalled over plain HTTP |
//! | `console` | the page that observes and recalls in a browser |
//! | `http` | the routes of plain HTTP |
//! | `websocket` | observations and recalls as JSON, and in the protocol's own messages |
//! | `http1` | HTTP/1.1, and the way from it into WebSocket |
//! | `grpc` | gRPC on one HTTP/2 stream |
//! | `http2` | one HTTP/2 connection: limits, windows, its streams' tasks |
//! | `accept` | tells HTTP/2 from HTTP/1.1 by the first bytes |

pub mod stream;
pub mod transport;
pub mod calendar;
mod convert;
mod operation;
pub mod exposition;
mod memory_json;
mod http_memories;
mod console;
pub mod http;
pub mod websocket;
pub mod http1;
mod grpc;
mod http2;
pub mod accept;
