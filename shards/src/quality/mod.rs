//! Recall, held: how good a stripe's answers are, which search width makes them good enough, and
//! which rows to link anew meanwhile.
//!
//! ```text
//!  recall ──cue──► cues ──┐
//!  rows ──────────────────┴► sample: exact scan, then searches of rising width
//!                                │ hits by width              │ neighbours that were missed
//!                                ▼                            ▼
//!                             estimate ──► width           refining ──► Index::refine
//! ```
//!
//! | file | responsibility |
//! |---|---|
//! | `cues.rs` | what was asked of late |
//! | `row_set.rs` | a set of rows |
//! | `sample.rs` | one query, answered exactly and by the graph: a resumable job |
//! | `estimate.rs` | recall by width, from the last samples; the smallest width that holds the target |
//! | `refining.rs` | which row is refined next |
//! | `upkeep.rs` | what is done next, how much of it beside a full load, and when all is done |
//! | `stored.rs` | what checkpoints keep of it |
//!
//! Nothing here draws random numbers or reads a clock: work is counted in distances, and equal
//! inputs lead to equal widths.
//!
//! **Invariant:** a stripe that is settled costs nothing; it stays so until rows or cues come.

mod cues;
mod row_set;
mod sample;
mod estimate;
mod refining;
mod upkeep;
mod stored;

pub use upkeep::{RecallTarget, Upkeep, UpkeepStatus};
