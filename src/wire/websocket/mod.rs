//! WebSocket: `GET /v1/stream`, observations and recalls as JSON or as the protocol's own messages.
//!
//! ```text
//!  HTTP/1.1 ─► handshake ─► socket ◄─► conversation ─► session, recall
//!                            frames      │   ▲
//!                      inbound (JSON) ┘   └ form ─► outbound (JSON)
//! ```
//! | file | responsibility |
//! |---|---|
//! | `handshake` | who may open one, and how |
//! | `socket` | frames over a transport, with bounded buffers |
//! | `key` | what the keys of a message hold |
//! | `observation` | the one message that must be fast |
//! | `inbound` | what a client says in JSON |
//! | `outbound` | what it is told in JSON |
//! | `form` | what it is told in the form in which it speaks |
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
mod form;
mod conversation;

pub(crate) use conversation::Conversation;
pub(crate) use handshake::{PATH, handshake};
