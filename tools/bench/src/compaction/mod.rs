//! What compactions do to others: memories are replaced at a steady rate, so that segments die and are compacted now and then.
//! Acks and recalls of the moments with a compaction at work are told beside those of the moments without, in one run.
//!
//! ```text
//!  Dataset ─► traffic ─► server ─► latencies ─┐
//!                          └─► activity ──────┴─► with, without ─► Report
//! ```
//!
//! | file | responsibility |
//! |---|---|
//! | `activity` | when compactions were at work |
//! | `traffic` | observations and recalls on schedule, and how long each took |
//! | `report` | percentiles of both kinds of moments, as JSON or as a table |
//! | `arguments` | what is measured with, and what each figure means |
//! | `measure` | these put together |

mod activity;
mod traffic;
mod report;
mod arguments;
mod measure;

pub(crate) use arguments::CompactionArguments;
pub(crate) use measure::run;
