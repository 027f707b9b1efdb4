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
//! | `convert` | the wire's types and the engine's |
//! | `grpc` | gRPC on one HTTP/2 stream |
//! | `http2` | one HTTP/2 connection: limits, windows, its streams' tasks |
//! | `accept` | tells HTTP/2 from HTTP/1.1 by the first bytes |

pub mod stream;
mod convert;
mod grpc;
mod http;
mod http1;
mod http2;
pub mod accept;
