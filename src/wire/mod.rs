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
//! | `accept` | tells HTTP/2 from HTTP/1.1 by the first bytes |

pub mod accept;
pub mod stream;
