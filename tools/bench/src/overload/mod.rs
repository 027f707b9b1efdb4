//! A server that is sent more than it takes: what it refuses, how full it gets, how others fare, how soon it is over.
//!
//! ```text
//!  sessions ─► server ─► acks, refusals ─┐
//!  recalls or a neighbour ─► latencies ──┼─► Report
//!  watch ─► depth, level ────────────────┘
//! ```
//!
//! | file | responsibility |
//! |---|---|
//! | `sessions` | many sessions that keep the server full for a time, and send again what was refused |
//! | `beside` | recalls and a neighbour's observations on schedule, and how long each took |
//! | `arguments` | what is measured with, and what each figure means |
//! | `report` | what is told |
//! | `measure` | these put together |

mod sessions;
mod beside;
mod arguments;
mod report;
mod measure;

pub(crate) use arguments::OverloadArguments;
pub(crate) use measure::run;
