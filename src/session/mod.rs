//! A client's stream of observations, whatever its transport: order, validation, window, acks.
//!
//! ```text
//!  transport ── observe ─► order (may it come?) ─► content (check, quantise, encode) ─► credit ─► mesh ─► owner
//!            ◄─ poll_event ─ order (what is told next?) ◄──────────── durable, dropped, fenced ◄───────────┘
//! ```
//! | file | responsibility |
//! |---|---|
//! | `event` | what goes in and what comes out |
//! | `order` | the order rules, without I/O |
//! | `content` | what an observation must be; scaling, quantising, encoding |
//! | `open` | beginning and resuming |
//! | `attachment` | the open session that a transport drives |
//!
//! **Invariants:** acks of new numbers rise; a refusal is told after the acks of all that came before it; an
//! observation is handed on only with a credit of its owner and within the core's budget.

mod event;
mod order;
pub(crate) mod content;
mod open;
mod attachment;

pub use attachment::Session;
pub(crate) use attachment::over_capacity;
pub use event::{AckMode, Event, Init, Refused};
pub use open::{check_space_name, default_settings};
