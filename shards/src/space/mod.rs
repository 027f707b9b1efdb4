//! What a shard owns of a space: a stripe.
//!
//! ```text
//!  append ──► rows (index: tail ─► graph; arrays)  ──► visible() ──► recall
//!                │ durable mark
//!  commit ──────►┘──► ids: memory hash → row ──► a pair to verify ──► replace
//! ```
//!
//! | file | responsibility |
//! |---|---|
//! | `ids.rs` | hashes by row, and which living, durable rows have a memory's hash |
//! | `record.rs` | generation, times and place of each row's record, in 32 bytes |
//! | `rows.rs` | one entry a row in every array, the durable mark, who is replaced by whom |
//! | `tail.rs` | how long a tail may be, and from when on there is a graph |
//! | `stripe.rs` | rows with their space, their lanes and their counts |
//!
//! The *tail* is what is not in the graph: every recall scans it. A row of it *waits* while it is not durable, or while there
//! are more durable rows in the tail than may be; all below the mark `placed` wait for nothing.
//!
//! **Invariant:** rows in the graph ≤ placed ≤ durable mark ≤ rows.

mod ids;
mod record;
mod rows;
mod tail;
mod stripe;

pub use rows::{Arrival, Pair, Place, Rows};
pub use stripe::{Placed, Stripe};
pub use tail::TailLimits;
