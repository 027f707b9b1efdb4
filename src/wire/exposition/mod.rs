//! Metrics as text, for Prometheus and whatever reads OpenMetrics.
//!
//! ```text
//!  every core's counters ─┐
//!                         ├─► families (what is told) ─► page (how it is written) ─► text
//!  every shard's status ──┘
//! ```
//! | file | responsibility |
//! |---|---|
//! | `page` | the two text formats |
//! | `spaces` | which spaces have a label of their own |
//! | `families` | names, types, labels and buckets |
//!
//! **Invariant:** names, types, labels and buckets are those of the wire contract; a series appears once.

mod page;
mod spaces;
mod families;

pub use families::render;
pub use page::Format;
