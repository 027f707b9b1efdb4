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
//! | `calendar` | dates as text |
//! | `transport` | bytes and timers as protocol code sees them |
//! | `exposition` | metrics as text |
//! | `http` | the routes of plain HTTP |
//! | `http1` | HTTP/1.1 |
//! | `websocket` | observations and recalls as JSON |

pub mod accept;
pub mod stream;
pub mod calendar;
pub mod transport;
pub mod exposition;
pub mod http;
pub mod http1;
pub mod websocket;
