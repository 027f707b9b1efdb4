//! The shard: inputs are handled, work is granted, outputs are polled.
//!
//! ```text
//!  handle_request ─► requests ─► log ─► Io ─► handle_io ─► commits ─► replies
//!                       │                         │           └─► pairs to verify, rows to insert
//!                       └─► recalls ◄─► work ◄────┘ (records read)
//! ```
//!
//! | file | responsibility |
//! |---|---|
//! | `io.rs` | what a shard is made with, and what crosses between it and the runtime |
//! | `forgotten.rs` | memories on their way to be forgotten |
//! | `shares.rs` | segments that hold what is several shards' |
//! | `pace.rs` | how fast a compaction goes |
//! | `pending.rs` | what the log was given, until it answers |
//! | `compaction.rs` | which segments count how much, and the compaction under way |
//! | `making.rs` | spaces that are being made |
//! | `awaited.rs` | who waits until rows wait for nothing |
//! | `subscribers.rs` | who hears what happens in stripes |
//! | `wanted.rs` | what reads are for |
//! | `engine.rs` | the shard's parts, its inputs and outputs |
//! | `requests.rs` | spaces, observations, credits, lists |
//! | `opening.rs` | sessions: opened, closed, detached |
//! | `commits.rs` | what becomes of records when a commit ends |
//! | `unproven.rs` | replayed records that nobody vouches for: to the log again |
//! | `reads.rs` | records read back: for recalls, and to verify replacements |
//! | `events.rs` | what happens in stripes, told |
//! | `forgetting.rs` | memories that are deleted or suppressed |
//! | `compacting.rs` | segments that are mostly dead: what counts is copied, the rest goes |
//! | `turns.rs` | whose turn it is: recalls first, spaces in fair rotation |
//! | `checkpoints.rs` | which stripe's checkpoint is due, and the one that is being written |
//! | `checkpointing.rs` | how that goes on, step by step |
//! | `recovering.rs` | a shard from its logs and checkpoints |
//!
//! **Invariants:** what is pending is what the log was given and has not answered, in the same order; a stripe stands in
//! the rotation exactly if it has a row to insert; nothing waits for a time but what `deadline` names.

mod shares;
mod io;
mod turns;
mod awaited;
mod subscribers;
mod forgotten;
mod checkpoints;
mod pace;
mod pending;
mod compaction;
mod making;
mod wanted;
mod unproven;
mod engine;
mod requests;
mod opening;
mod commits;
mod reads;
mod events;
mod checkpointing;
mod forgetting;
mod compacting;
mod recovering;

pub use engine::Shard;
pub use io::{Io, IoOutput, IoTicket, Output, ShardConfig};
pub use recovering::{Loading, Ready, Recovering, Remains};
pub use shares::Share;
