//! The ports of one core: what has arrived for each, and what each still has under way.

use std::collections::VecDeque;
use std::task::Waker;

use engram_shards::ids::SessionId;
use engram_shards::message::Reply;

use super::frame::{Address, SLOT_BITS};
use crate::cores::CoreIndex;
use crate::limits::PORTS_MAX;

/// The shard that should answer has failed, is starting or is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

/// Which of the shards of one core it is: how many before it were ready and failed, as far as this
/// core knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Life(pub(crate) u64);

/// What a port is given: an owner's reply.
pub(crate) type Arrival = (CoreIndex, Result<Reply, Unavailable>);

/// An observation between socket and owner.
#[derive(Debug)]
pub(crate) struct UnderWay {
    pub(crate) owner: CoreIndex,
    pub(crate) session: SessionId,
    pub(crate) sequence: u64,
    /// What it takes of the budget.
    pub(crate) bytes: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Free,
    Held,
    /// Its port is gone, but observations are under way.
    Settling,
}

/// One port, or the place for one.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    generation: u32,
    phase: Phase,
    waker: Option<Waker>,
    arrived: VecDeque<Arrival>,
    /// In the order in which they were sent.
    under_way: VecDeque<UnderWay>,
    /// Owners that were ever sent something, and in which of their lives: a port never speaks to a
    /// later one, which knows nothing of what was agreed with this one.
    owners: Vec<(CoreIndex, Life)>,
    /// Whether it stands in the queue of those who wait for budget.
    pub(crate) waits_for_budget: bool,
}

/// All ports of a core. Slot 0 is the core's own, for its credits.
#[derive(Debug)]
pub(crate) struct Ports {
    core: CoreIndex,
    slots: Vec<Slot>,
    free: Vec<u32>,
}

/// The slot whose replies are the core's own.
pub(crate) const CORE_SLOT: u32 = 0;

impl Ports {
    pub(crate) fn new(core: CoreIndex) -> Ports {
        let mut ports = Ports { core, slots: Vec::new(), free: Vec::new() };
        assert_eq!(ports.open().slot, CORE_SLOT);
        ports
    }

    pub(crate) fn open(&mut self) -> Address {
        let slot = self.free.pop().unwrap_or_else(|| {
            assert!(self.slots.len() < PORTS_MAX, "an origin has no bits for more ports");
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        let port = &mut self.slots[slot as usize];
        assert!(port.phase == Phase::Free && port.under_way.is_empty() && port.arrived.is_empty());
        port.phase = Phase::Held;
        Address { core: self.core, slot, generation: port.generation }
    }

    /// The port is gone. Its slot stays taken while observations are under way, so that their
    /// budget finds its way back.
    pub(crate) fn close(&mut self, address: Address) -> Option<Waker> {
        let slot = &mut self.slots[address.slot as usize];
        assert!(
            slot.phase == Phase::Held && slot.generation == address.generation,
            "a port is closed once"
        );
        slot.phase = Phase::Settling;
        slot.arrived.clear();
        let waker = slot.waker.take();
        self.free_if_done(address.slot);
        waker
    }

    /// The slot of a port that is held.
    pub(crate) fn held(&mut self, address: Address) -> &mut Slot {
        let slot = &mut self.slots[address.slot as usize];
        assert!(
            slot.phase == Phase::Held && slot.generation == address.generation,
            "only its port asks for a slot"
        );
        slot
    }

    /// The slot as it was when something was promised to it: also without a port, but never with
    /// another one.
    pub(crate) fn of(&mut self, address: Address) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(address.slot as usize)?;
        (slot.generation == address.generation).then_some(slot)
    }

    /// Takes back the budget of what an owner's reply settles, and frees the slot if that was its
    /// last.
    pub(crate) fn settle(
        &mut self,
        address: Address,
        owner: CoreIndex,
        reply: &Reply,
        settled: impl FnMut(usize),
    ) {
        let (session, first, last) = match *reply {
            Reply::Durable { session, first, last, .. } => (session, first, last),
            Reply::Dropped { session, first, last, .. } => (session, first, last),
            _ => return,
        };
        if let Some(slot) = self.of(address) {
            slot.settle(settled, |sent| {
                sent.owner == owner
                    && sent.session == session
                    && (first..=last).contains(&sent.sequence)
            });
            self.free_if_done(address.slot);
        }
    }

    /// An owner's life has ended: settles all that was under way to it, and tells every port that
    /// ever spoke to it.
    pub(crate) fn fail(
        &mut self,
        owner: CoreIndex,
        life: Life,
        mut settled: impl FnMut(usize),
        wake: &mut Vec<Waker>,
    ) {
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            slot.settle(&mut settled, |sent| sent.owner == owner);
            if slot.owners.contains(&(owner, life)) {
                slot.arrive((owner, Err(Unavailable)), wake);
            }
            self.free_if_done(index as u32);
        }
    }

    /// Wakes whoever has ever spoken to `owner`.
    pub(crate) fn wake_all_of(&mut self, owner: CoreIndex, wake: &mut Vec<Waker>) {
        let speak = |slot: &&mut Slot| slot.owners.iter().any(|(spoken, _)| *spoken == owner);
        wake.extend(self.slots.iter_mut().filter(speak).filter_map(Slot::wake));
    }

    fn free_if_done(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        if slot.phase != Phase::Settling || !slot.under_way.is_empty() {
            return;
        }
        slot.phase = Phase::Free;
        slot.owners.clear();
        slot.waits_for_budget = false;
        slot.generation = (slot.generation + 1) & ((1 << SLOT_BITS) - 1);
        self.free.push(index);
    }
}

impl Slot {
    /// Whether something may go to this life of `owner`: the port has not spoken to an earlier one.
    pub(crate) fn may_speak_to(&self, owner: CoreIndex, life: Life) -> bool {
        let known = self.owners.iter().find(|(known, _)| *known == owner);
        known.is_none_or(|(_, known)| *known == life)
    }

    /// Notes that something goes to this life of `owner`.
    pub(crate) fn speak_to(&mut self, owner: CoreIndex, life: Life) {
        assert!(self.may_speak_to(owner, life), "a port keeps to one life of an owner");
        if !self.owners.contains(&(owner, life)) {
            self.owners.push((owner, life));
        }
    }

    /// Notes an observation that goes to its owner.
    pub(crate) fn send(&mut self, sent: UnderWay, life: Life) {
        self.speak_to(sent.owner, life);
        self.under_way.push_back(sent);
    }

    /// Gives the port what arrived; nothing where the port is gone.
    pub(crate) fn arrive(&mut self, arrival: Arrival, wake: &mut Vec<Waker>) {
        if self.phase == Phase::Held {
            self.arrived.push_back(arrival);
            wake.extend(self.waker.take());
        }
    }

    /// The oldest arrival that was not taken.
    pub(crate) fn take(&mut self) -> Option<Arrival> {
        self.arrived.pop_front()
    }

    /// Leaves a waker for whatever changes next. A task has one waker here, however often it asks.
    pub(crate) fn wait(&mut self, waker: &Waker) {
        match &self.waker {
            Some(known) if known.will_wake(waker) => {}
            _ => self.waker = Some(waker.clone()),
        }
    }

    /// The waker that was left.
    pub(crate) fn wake(&mut self) -> Option<Waker> {
        self.waker.take()
    }

    /// Removes what `is_settled` from what is under way. Replies come in order, so that it is most
    /// often the front.
    fn settle(
        &mut self,
        mut settled: impl FnMut(usize),
        mut is_settled: impl FnMut(&UnderWay) -> bool,
    ) {
        while let Some(sent) = self.under_way.pop_front_if(|sent| is_settled(sent)) {
            settled(sent.bytes);
        }
        self.under_way.retain(|sent| {
            let gone = is_settled(sent);
            if gone {
                settled(sent.bytes);
            }
            !gone
        });
    }
}
