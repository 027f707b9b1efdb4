//! The only code that crosses cores.

use std::task::{Context, Poll};

use engram_shards::ids::StripeKey;
use engram_shards::message::{Append, Lane, Pressure, Reply, Request};

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

    /// Asks a shard and waits for its one reply. Not for appends: they go through a [`Port`], with credit and budget.
    pub async fn call(&self, owner: CoreIndex, request: Request) -> Result<Reply, Unavailable> {
        let _ = (owner, request);
        todo!()
    }

    /// A port for many replies: what a session holds, and what a unary append makes for itself.
    pub fn port(&self) -> Port {
        todo!()
    }
}

/// Sends requests whose replies come back, in order per owner, to be polled. It has one waker for replies, credit and
/// budget together: a task polls whichever it waits for, and is woken when any of them may have changed.
#[derive(Debug)]
pub struct Port {}

impl Port {
    /// Hands a request to a shard's core. Never blocks. Not for appends.
    pub fn send(&self, owner: CoreIndex, request: Request) {
        let _ = (owner, request);
        todo!()
    }

    /// Takes room for one observation between socket and owner, of about `bytes`; pending while the core has none left.
    pub fn poll_budget(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<Budget> {
        let _ = (cx, bytes);
        todo!()
    }

    /// Takes one credit of a lane. Pending only while the owner is being asked.
    pub fn poll_credit(&mut self, cx: &mut Context<'_>, owner: CoreIndex, lane: Lane) -> Poll<CreditAnswer> {
        let _ = (cx, owner, lane);
        todo!()
    }

    /// Hands an observation to the owner that gave `credit`. The credit is spent; the budget goes back when the
    /// owner's `Durable` or `Dropped` arrives on this core, whether or not this port still lives.
    pub fn append(&self, append: Append, credit: Credit, budget: Budget) {
        let _ = (append, credit, budget);
        todo!()
    }

    /// The next reply. `Unavailable` comes once from an owner that fails, after all that it still answered: every
    /// request to it that is not answered by then never will be.
    pub fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<(CoreIndex, Result<Reply, Unavailable>)> {
        let _ = cx;
        todo!()
    }
}

/// Room for one observation between socket and owner; given back when it is dropped.
#[derive(Debug)]
pub struct Budget {}

impl Budget {
    /// Sets how many bytes it really takes. May overdraw the core's budget; then the next one waits longer.
    pub fn resize(&mut self, bytes: usize) {
        let _ = bytes;
        todo!()
    }
}

/// Leave to hand one observation to one owner; goes back to the core's pool when it is dropped unspent.
#[derive(Debug)]
pub struct Credit {}

impl Credit {
    /// The owner that gave it.
    pub fn owner(&self) -> CoreIndex {
        todo!()
    }

    /// Its lane.
    pub fn lane(&self) -> Lane {
        todo!()
    }
}

/// What an owner answers to the wish for a credit.
#[derive(Debug)]
pub enum CreditAnswer {
    /// Here it is.
    Taken(Credit),
    /// None now; the load, and when to come back.
    Refused(Pressure),
    /// The owner has failed, is starting or is stopping.
    Unavailable,
}
