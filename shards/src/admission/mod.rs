//! Who may hand over observations, and how many.
//!
//! ```text
//!  connection cores ── wish, by stripe and lane ──► room: the stripe's share, the lane's threshold
//!        ▲                                            │
//!        └───────────── credits, or when to come back ┘
//!  rows ── admitted ──► depth ──► placed (by deficit round robin over stripes, `shard::turns`)
//! ```
//!
//! | file | responsibility |
//! |---|---|
//! | `drain` | how fast rows cease to wait |
//! | `shares` | what each stripe holds, and how many share the capacity |
//! | `watermarks` | who was refused, and waits until there is room to spare |
//! | `credits` | what is granted, and how full the shard is |
//!
//! The depth counts rows that were admitted and wait: for the disk, or for the graph behind a tail that is as long as may
//! be.
//!
//! **Invariant:** credits held by connection cores + depth ≤ capacity, after every grant. **Invariant:** a stripe that
//! holds less than its share is refused only where the shard is full, and then nobody gets what comes free who holds more
//! than a share.

mod drain;
mod shares;
mod watermarks;
mod credits;

pub use credits::{Admission, Wish};
