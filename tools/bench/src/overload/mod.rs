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
//! | `report` | what is told |
//! | `sessions` | many sessions that keep the server full for a time, and send again what was refused |
//! | `beside` | recalls and a neighbour's observations on schedule, and how long each took |
//! | `arguments` | what is measured with, and what each figure means |
//! | `measure` | these put together |

mod report;
mod sessions;
mod beside;
mod arguments;
mod measure;

pub(crate) use arguments::OverloadArguments;
pub(crate) use measure::run;
