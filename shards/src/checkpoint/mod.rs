//! Checkpoints: what a stripe is made of, beside the position in each log up to which it needs no replay.
//!
//! ```text
//!  Stripe ─► Writing ─► parts ─► file ─► pieces ─► Reading ─► Restored: rows, graph, marks of sessions
//!               └ head: generation, positions covered ─────────► Coverage: which segments are to be read
//! ```
//!
//! | file | responsibility |
//! |---|---|
//! | `due` | when one is due |
//! | `head` | the first block of a file: whose checkpoint it is, how large, what it covers |
//! | `layout` | where each block of a file lies, from its head alone |
//! | `block` | the unit of checking |
//! | `writing` | a checkpoint that is being written |
//! | `reading` | one that is being read back |
//!
//! A stripe has one checkpoint, in a file of its own, so that any core reads it that owns the stripe. It is derived: a
//! damaged one is left aside, and the log is replayed. The bytes are told in `docs/FORMATS.md`, and why they are as they
//! are in `docs/decisions/2026-11-21-checkpoints.md`.
//!
//! **Invariant:** whatever of the stripe lies in a log before the position that the checkpoint covers there is in the
//! checkpoint. What it holds beyond that, a replay brings again.

pub mod due;
pub mod head;
pub mod layout;
pub mod block;
pub mod writing;
pub mod reading;
