//! The only code that crosses cores.
//!
//! ```text
//!  session ─ Port ─┐                                              ┌─► shard (by the owner's pump)
//!                  ├─► Outgoing ══ ring, one per ordered pair ══► │
//!  call ──── Port ─┘   (backlog)                                  └─► ports (replies), state of shards, stop
//! ```
//!
//! | file | responsibility |
//! |---|---|
//! | `sync` | the atomics that the ring is built from; exchanged by the model checker |
//! | `ring` | one bounded ring, and the bell of a sleeping receiver |
//! | `frame` | the closed set of what crosses, and the address of a reply |
//! | `ports` | what has arrived for whom, and which budget is still out |
//! | `budget`, `credit` | what a core may have under way, in all and towards one stripe |
//! | `outgoing` | a ring with the backlog before it |
//! | `weave` | the rings of all pairs of cores |
//! | `state` | the bookkeeping of one core's end: ports, credits, how every shard is |
//! | `end` | one core's end: sending, receiving, and waking whom it concerns |
//! | `port` | what sessions and calls hold |
//!
//! **Invariant:** an append has a credit of its stripe and room in its core's budget; both are given
//! back exactly once, however its port, its owner or its connection ends. **Invariant:** no waker
//! is called while the state is borrowed.

mod sync;
pub mod ring;
mod frame;
mod ports;
mod budget;
mod credit;
mod outgoing;
mod weave;
mod state;
mod end;
mod port;

#[cfg(test)]
mod ring_tests;
#[cfg(test)]
mod tests;

pub use crate::cores::CoreIndex;
pub use end::Mesh;
pub use frame::ShardState;
pub use port::{Budget, Credit, CreditAnswer, Port};
pub use ports::Unavailable;
pub use state::MeshSettings;
pub use weave::{Thread, ring_bytes, weave};
