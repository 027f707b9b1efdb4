//! A client's stream of observations and recalls, whatever its transport: order, validation, window, acks, pages.
//!
//! ```text
//!  transport ── observe ─► order (may it come?) ─► content (check, quantise, encode) ─► credit ─► mesh ─► owner
//!            ── recall ──────────────────────────► recall (ask every stripe) ───────────────────► mesh ─► owner
//!            ── subscribe ───────────────────────► events (tell me, so much of it) ─────────────► mesh ─► owner
//!            ── flow ────► flow (paused? how fast?) ─┐
//!            ◄─ poll_event ┬ order (what is told next?) ◄──────── durable, dropped, fenced ◄──────────────┤
//!                          ├ recalls (which page is next?) ◄─────────────────── recalled ◄──────────────┤
//!                          └ events ◄────────────────────────────────────────── happened ◄──────────────┘
//! ```
//! | file | responsibility |
//! |---|---|
//! | `event` | what goes in and what comes out |
//! | `order` | the order rules, without I/O |
//! | `flow` | how fast a client wants its results, without I/O |
//! | `pacing` | waiting for it |
//! | `indexing` | what of the accepted is indexed, without I/O |
//! | `silence` | how long a client says nothing, without I/O |
//! | `recalls` | recalls under way and their pages |
//! | `open` | beginning and resuming |
//! | `attachment` | the open session that a transport drives |
//!
//! **Invariants:** acks of new numbers rise; a refusal is told after the acks of all that came before it; an
//! observation is handed on only with a credit of its owner and within the core's budget.

mod event;
mod order;
mod flow;
mod pacing;
mod indexing;
mod silence;
mod recalls;
mod open;
mod attachment;

pub use attachment::Session;
pub use event::{AckMode, Event, Init, Load, Recall, RecallHead, Refused};
pub use flow::{Flow, FlowAction};
pub(crate) use pacing::poll_leave;
