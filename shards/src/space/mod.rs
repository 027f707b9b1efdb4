//! What a shard owns of a space: a stripe.
//!
//! ```text
//!  append ──► rows (index: tail ─► graph; arrays)  ──► visible() ──► recall
//!                │ durable mark
//!  commit ──────►┘──► ids: memory hash → row ──► a pair to verify ──► replace
//!                                          └──► what is forgotten ──► forget, hide
//! ```
//!
//! | file | responsibility |
//! |---|---|
//! | `ids.rs` | hashes by row, and which living, durable rows have a memory's hash |
//! | `record.rs` | times and place of each row's record, in 24 bytes |
//! | `spans.rs` | from which generation on each row is seen, and from which on no more |
//! | `readers.rs` | who may still refer to rows that have left the graph |
//! | `gone.rs` | which generations are no more |
//! | `live.rs` | how much of each segment counts |
//! | `withheld.rs` | what is forgotten, until it is known which rows that are |
//! | `rows.rs` | one slot a row in every array, used again; the durable mark, who is replaced by whom |
//! | `tail.rs` | how long a tail may be, and from when on there is a graph |
//! | `stripe.rs` | rows with their space, their lanes and their counts |
//! | `stored.rs` | what checkpoints keep of all this |
//!
//! The *tail* is what is not in the graph: every recall scans it. A row of it *waits* while it is not durable, or while there
//! are more durable rows in the tail than may be; all below the mark `placed` wait for nothing.
//!
//! **Invariant:** rows in the graph ≤ placed ≤ durable mark ≤ rows.

mod ids;
mod record;
mod spans;
mod readers;
mod gone;
mod live;
mod withheld;
mod rows;
mod tail;
mod past;
mod stripe;
mod stored;

pub use gone::Gone;
pub use live::LiveBytes;
pub use readers::Reading;
pub use rows::{Arrival, Pair, Place, Rows, View};
pub use stored::{Extent, Loaded, Loading, RowForm};
pub use stripe::{Placed, Stripe, Told};
pub use tail::TailLimits;
pub use withheld::Withheld;
