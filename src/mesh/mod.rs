//! The only code that crosses cores.

use std::task::{Context, Poll};

use engram_shards::ids::StripeKey;
use engram_shards::message::{Reply, Request};

/// One of the server's cores: its index, from 0, in the order of `--cores`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoreIndex(pub u16);

/// The shard that should answer has failed, is starting or is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

/// One core's end of the mesh. Cheap to clone; stays on its core.
#[derive(Clone, Debug)]
pub struct Mesh {}

impl Mesh {
    /// This core.
    pub fn core(&self) -> CoreIndex {
        todo!()
    }

    /// How many cores there are.
    pub fn cores(&self) -> u16 {
        todo!()
    }

    /// The core that owns a stripe.
    pub fn owner_of(&self, stripe: StripeKey) -> CoreIndex {
        let _ = stripe;
        todo!()
    }

    /// Asks a shard and waits for its one reply.
    pub async fn call(&self, owner: CoreIndex, request: Request) -> Result<Reply, Unavailable> {
        let _ = (owner, request);
        todo!()
    }

    /// A port for many replies: what a session holds.
    pub fn port(&self) -> Port {
        todo!()
    }
}

/// Sends requests whose replies come back, in order per owner, to be polled. One waker, however many are waiting.
#[derive(Debug)]
pub struct Port {}

impl Port {
    /// Hands a request to a shard's core. Never blocks: what is between cores is bounded by the budget of [`crate::core`].
    pub fn send(&self, owner: CoreIndex, request: Request) {
        let _ = (owner, request);
        todo!()
    }

    /// The next reply.
    pub fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<(CoreIndex, Result<Reply, Unavailable>)> {
        let _ = cx;
        todo!()
    }
}
