//! How a server comes back: stopped in order, cold, and killed; and what it writes before.
//!
//! ```text
//!  Dataset ─► ingest ─► server ─► files ─┬─► start again, from the page cache ─┐
//!                                        ├─► start again, cold ────────────────┼─► Report
//!                                        ├─► read by one thread, cold ─────────┤
//!                                        └─► SIGKILL under load, start again ──┘
//! ```
//!
//! | file | responsibility |
//! |---|---|
//! | `files` | a folder's files: how long, in the page cache and out of it |
//! | `ingest` | rows into the server, beside whatever happens to it |
//! | `report` | what is told: rounds and medians, as JSON or as a table |
//! | `arguments` | what is measured with, and what each figure means |
//! | `measure` | these put together |

mod files;
mod ingest;
mod report;
mod arguments;
mod measure;

pub(crate) use arguments::RestartArguments;
pub(crate) use files::{below, drop_cached};
pub(crate) use ingest::{Ingest, SPACE};
pub(crate) use measure::run;
