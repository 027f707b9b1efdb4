//! What crosses from one core to another: a closed set.

use engram_shards::message::{Origin, Reply, Request};

use crate::chaos::Injection;
use crate::cores::CoreIndex;
use crate::metrics::Metrics;

/// One thing told to another core. Frames of one ordered pair of cores arrive in the order in which
/// they were sent.
#[derive(Debug)]
pub(crate) enum Frame {
    /// For the shard of the receiving core. Loss: whoever asked waits for ever, and an append's
    /// budget and credit are gone; so it is never lost but with the shard itself, and a shard that
    /// fails is told to all ([`Frame::Shard`]).
    Request(Origin, Request),
    /// For a port of the receiving core. Loss: as above.
    Reply(Origin, Reply),
    /// The sender's shard is now in this state; what it was asked before and has not answered it
    /// never will once it does not serve. Loss: requests to it hang, or are refused for ever.
    Shard(ShardState),
    /// The sender knows that the receiver's shard has begun, or has ceased, to serve; what it asked
    /// one that has ceased lies before this. Loss: no other shard takes the place of one that
    /// failed, and the server never says that it is ready.
    Noted,
    /// A test wants this done to the receiving core. Loss: the test waits for what it does not see.
    Inject(Injection),
    /// The server stops. Loss: the receiving core serves on, and the process does not end.
    Stop,
    /// The sender has no connection any more and sends no further append. Loss: the receiver waits
    /// until the drain's time is up.
    Quiet,
    /// Asks for a copy of the receiver's counters. Loss: the scrape hangs until its client goes.
    AskMetrics(Gathering),
    /// The sender's counters. Loss: as above.
    Metrics(Gathering, Box<Metrics>),
}

/// Names one gathering of all cores' counters, on the core that asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Gathering(pub(crate) u64);

/// Whether a shard answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardState {
    /// It reads its log: the server starts, or the shard failed and is built anew.
    Recovering,
    /// It serves; another core may not know it yet.
    Ready,
    /// It serves, and every core knows it.
    Known,
    /// It failed again and again, and stays down until the process is started anew.
    Failed,
}

impl ShardState {
    /// Whether it answers.
    pub fn serves(self) -> bool {
        matches!(self, ShardState::Ready | ShardState::Known)
    }
}

/// A port, as an [`Origin`] carries it: core, slot, and which of the slot's ports it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) core: CoreIndex,
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// Bits of a slot's number, and of its generation. A generation comes again after 16 million ports
/// of one slot, far later than any reply.
pub(crate) const SLOT_BITS: u32 = 24;

impl Address {
    pub(crate) fn origin(self) -> Origin {
        let core = u64::from(self.core.0) << (2 * SLOT_BITS);
        Origin(core | u64::from(self.slot) << SLOT_BITS | u64::from(self.generation))
    }

    pub(crate) fn of(origin: Origin) -> Address {
        let field = |shift: u32| (origin.0 >> shift) as u32 & ((1 << SLOT_BITS) - 1);
        let core = CoreIndex((origin.0 >> (2 * SLOT_BITS)) as u16);
        Address { core, slot: field(SLOT_BITS), generation: field(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_its_origin() {
        let max = (1 << SLOT_BITS) - 1;
        for (core, slot, generation) in [(0, 0, 0), (1, 2, 3), (u16::MAX, max, max), (7, max, 0)] {
            let address = Address { core: CoreIndex(core), slot, generation };
            assert_eq!(Address::of(address.origin()), address);
        }
    }
}
