//! WebSocket: `GET /v1/stream`, observations and recalls as JSON.
//!
//! ```text
//!  HTTP/1.1 ─► handshake ─► socket ◄─► conversation ─► session, recall
//!                            frames      │   ▲
//!                                inbound ┘   └ outbound (JSON)
//! ```
//! | file | responsibility |
//! |---|---|
//! | `handshake` | who may open one, and how |
//! | `socket` | frames over a transport, with bounded buffers |
//! | `key` | what the keys of a message hold |
//! | `observation` | the one message that must be fast |
//! | `inbound` | what a client says |
//! | `outbound` | what it is told |
//! | `conversation` | what becomes of what it says |
//!
//! **Invariants:** one task drives socket and session; nothing is read while a client does not read what it is told, or
//! while the session cannot take more; every connection hears a heartbeat, and a silent one ends.

mod handshake;
mod socket;
mod key;
mod observation;
mod inbound;
mod outbound;
mod conversation;

pub(crate) use conversation::Conversation;
pub(crate) use handshake::{PATH, handshake};
