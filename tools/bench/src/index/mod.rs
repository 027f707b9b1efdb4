//! The index alone, on one thread: how fast it is filled, how much of the truth it finds, how fast.
//!
//! ```text
//!  Dataset ─► load (rows into an engine, timed) ─► ask (its answers, timed, against the truth) ─► Run
//!     └─────► truth (exact search, not timed) ──────────▲                       Runs ─► Report
//! ```
//!
//! | file | responsibility |
//! |---|---|
//! | `engine` | every call of the engine, in one place |
//! | `truth` | queries and their exact answers |
//! | `report` | what is told: medians over runs, as JSON or as a table |
//! | `load` | rows into an engine: the speed, its split, its course |
//! | `ask` | queries at one width; the width that a recall takes |
//! | `arguments` | what is measured with, and what each figure means |
//! | `measure` | these put together |

mod engine;
mod truth;
mod report;
mod load;
mod ask;
mod arguments;
mod measure;

pub(crate) use arguments::IndexArguments;
pub(crate) use measure::run;
