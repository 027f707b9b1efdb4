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
//! | `stripe.rs` | rows with their space, their lanes and their counts |
//!
//! **Invariant:** rows in the graph ≤ durable mark ≤ rows.

mod ids;
mod record;
mod rows;
mod stripe;

pub use rows::{Arrival, Pair, Place, Rows};
pub use stripe::{Inserted, Stripe};
