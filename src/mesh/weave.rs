//! The rings between all cores, made before their threads are.

use std::sync::Arc;

use super::frame::Frame;
use super::outgoing::Outgoing;
use super::ring::{Bell, Receiver, ring};
use crate::cores::CoreIndex;
use crate::limits::{RING_SLOTS_MAX, RING_SLOTS_MIN, RING_SLOTS_TOTAL};

/// The rings of one core, to be taken up on its own thread.
#[derive(Debug)]
pub struct Thread {
    pub(crate) core: CoreIndex,
    /// By core; none to itself.
    pub(crate) outgoing: Vec<Option<Outgoing>>,
    pub(crate) incoming: Vec<Option<Receiver<Frame>>>,
    /// What the core's pump sleeps on.
    pub(crate) bell: Arc<Bell>,
}

/// Bytes of all rings that end at one of `cores`.
pub fn ring_bytes(cores: u16) -> usize {
    usize::from(cores - 1) * slots_of_ring(cores) * size_of::<Frame>()
}

fn slots_of_ring(cores: u16) -> usize {
    let share = RING_SLOTS_TOTAL / usize::from(cores);
    share.clamp(RING_SLOTS_MIN, RING_SLOTS_MAX).next_power_of_two()
}

/// Rings for every ordered pair of `cores`.
pub fn weave(cores: u16) -> Vec<Thread> {
    assert!(cores > 0, "someone must serve");
    let slots = slots_of_ring(cores);
    let mut threads: Vec<Thread> = (0..cores)
        .map(|core| Thread {
            core: CoreIndex(core),
            outgoing: Vec::new(),
            incoming: Vec::new(),
            bell: Arc::new(Bell::new()),
        })
        .collect();
    for from in 0..usize::from(cores) {
        for to in 0..usize::from(cores) {
            let (outgoing, incoming) = match from == to {
                true => (None, None),
                false => {
                    let (sender, receiver) = ring(slots);
                    (Some(Outgoing::new(sender, threads[to].bell.clone())), Some(receiver))
                }
            };
            threads[from].outgoing.push(outgoing);
            threads[to].incoming.push(incoming);
        }
    }
    threads
}
