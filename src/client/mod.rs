//! A client of the server's own protocol: what the demo and the load generator speak.
//!
//! ```text
//!  rows ─► stream (a window decides) ─► observe ─┬─► grpc ─► h2 ─► socket
//!                                 cue ─► recall ─┘
//! ```
//! | file | responsibility |
//! |---|---|
//! | `executor` | runs a client on a thread of its own |
//! | `grpc` | calls on one HTTP/2 connection: unary, server streaming, bidirectional |
//! | `window` | which observation goes next, and whether every answer is in order; knows no transport and no clock |
//! | `stream` | drives a window over a transport until all is acked |
//! | `observe` | one ObserveStream, the transport over gRPC |
//! | `recall` | one RecallStream call |
//!
//! **Invariant:** an observation counts as acked only when the server said so in its turn; an answer out of turn is an
//! error, never skipped.

pub mod executor;
pub mod grpc;
pub mod window;
pub mod stream;
pub mod observe;
pub mod recall;
