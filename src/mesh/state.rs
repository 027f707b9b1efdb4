//! The bookkeeping of one core's end: what goes where, who waits for what, how every shard is.

use std::collections::{BTreeMap, VecDeque};
use std::task::{Context, Poll, Waker};

use engram_shards::ids::{StripeKey, Time};
use engram_shards::message::{Lane, Level, Origin, Pressure, Reply, Request};

use super::budget::BudgetPool;
use super::credit::CreditPool;
use super::frame::{Address, Frame, Gathering, ShardState};
use super::outgoing::Outgoing;
use super::ports::{CORE_SLOT, Life, Ports};
use super::ring::Receiver;
use super::weave::Thread;
use crate::chaos::Injection;
use crate::clock::Clock;
use crate::cores::CoreIndex;
use crate::limits::{CREDIT_CHUNK_MAX, CREDIT_POOL_SHARE};
use crate::metrics::Metrics;
use crate::placement::Placement;

/// What one end of the mesh is made with.
#[derive(Clone, Copy, Debug)]
pub struct MeshSettings {
    /// Requests between this core's sockets and the owners, at most.
    pub requests_max: u32,
    /// Bytes of the same.
    pub bytes_max: usize,
    /// Capacity of a shard: a core asks for a part of it at once.
    pub capacity: u32,
    /// The server's clock.
    pub clock: Clock,
}

/// What one core's end of the mesh knows; plain data that no one else borrows.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) core: CoreIndex,
    clock: Clock,
    pub(crate) placement: Placement,
    /// By core; none to itself.
    pub(crate) outgoing: Vec<Option<Outgoing>>,
    pub(crate) incoming: Vec<Option<Receiver<Frame>>>,
    /// Requests of this core to its own shard.
    pub(crate) local: VecDeque<(Origin, Request)>,
    /// What tests want done to this core.
    pub(crate) injected: Vec<Injection>,
    pub(crate) shards: Vec<ShardState>,
    /// By core: which of its shards is the one that serves, or will.
    lives: Vec<Life>,
    /// By core: how many changes of this core's shard it may not know of yet.
    unaware_of: Vec<u32>,
    is_quiet: Vec<bool>,
    pub(crate) ports: Ports,
    pub(crate) budget: BudgetPool,
    /// By owner, stripe and lane; of stripes that were used of late.
    credits: Vec<BTreeMap<StripeKey, [CreditPool; 3]>>,
    /// Credits of one stripe and lane that are asked for at once, at most.
    credit_chunk_max: u32,
    /// By owner: whether it was asked how loaded it is.
    is_asked: Vec<bool>,
    /// By owner: its load when this core last heard of it.
    loads: Vec<Pressure>,
    gathered: BTreeMap<Gathering, Gathered>,
    next_gathering: u64,
    /// To be woken once the state is no longer borrowed.
    pub(crate) wake: Vec<Waker>,
}

/// The load of an owner that nothing was heard of.
fn unloaded(capacity: u32) -> Pressure {
    let (depth, preferred_rate, retry_after_micros) = (0, 0, 0);
    Pressure { depth, capacity, level: Level::Normal, preferred_rate, retry_after_micros }
}

#[derive(Debug, Default)]
struct Gathered {
    reports: Vec<(CoreIndex, Metrics)>,
    waker: Option<Waker>,
}

impl State {
    pub(crate) fn new(thread: Thread, settings: MeshSettings) -> State {
        let cores = u16::try_from(thread.outgoing.len()).expect("it was made from such a number");
        let chunk_max = settings.capacity / (CREDIT_POOL_SHARE * u32::from(cores));
        State {
            core: thread.core,
            clock: settings.clock,
            placement: Placement::spread(cores),
            outgoing: thread.outgoing,
            incoming: thread.incoming,
            local: VecDeque::new(),
            injected: Vec::new(),
            shards: vec![ShardState::Recovering; usize::from(cores)],
            lives: vec![Life::default(); usize::from(cores)],
            unaware_of: vec![0; usize::from(cores)],
            is_quiet: vec![false; usize::from(cores)],
            ports: Ports::new(thread.core),
            budget: BudgetPool::new(settings.requests_max, settings.bytes_max),
            credits: (0..cores).map(|_| BTreeMap::new()).collect(),
            credit_chunk_max: chunk_max.clamp(1, CREDIT_CHUNK_MAX),
            is_asked: vec![false; usize::from(cores)],
            loads: vec![unloaded(settings.capacity); usize::from(cores)],
            gathered: BTreeMap::new(),
            next_gathering: 0,
            wake: Vec::new(),
        }
    }

    /// Sends a frame to another core, with its next batch; the caller nudges the pump, which shows
    /// it.
    pub(crate) fn send(&mut self, to: CoreIndex, frame: Frame) {
        match (&mut self.outgoing[usize::from(to.0)], frame) {
            (Some(outgoing), frame) => outgoing.push(frame),
            (None, Frame::Request(origin, request)) => self.local.push_back((origin, request)),
            (None, frame) => unreachable!("a core tells itself nothing: {frame:?}"),
        }
    }

    pub(crate) fn owner_of(&self, stripe: StripeKey) -> CoreIndex {
        self.placement.owner_of(stripe)
    }

    /// The life of an owner that serves now.
    pub(crate) fn ready(&self, owner: CoreIndex) -> Option<Life> {
        let owner = usize::from(owner.0);
        self.shards[owner].serves().then_some(self.lives[owner])
    }

    /// The same, where the port at `address` may speak to it.
    pub(crate) fn ready_for(&mut self, address: Address, owner: CoreIndex) -> Option<Life> {
        let life = self.ready(owner)?;
        self.ports.held(address).may_speak_to(owner, life).then_some(life)
    }

    /// A core's shard is now in this state.
    pub(crate) fn note_shard(&mut self, core: CoreIndex, shard: ShardState) {
        let index = usize::from(core.0);
        let before = std::mem::replace(&mut self.shards[index], shard);
        if before.serves() == shard.serves() {
            return;
        }
        if before.serves() {
            self.fail(core);
        }
        if core != self.core {
            return self.send(core, Frame::Noted);
        }
        let others = (0..self.unaware_of.len()).filter(|other| *other != index);
        others.for_each(|other| self.unaware_of[other] += 1);
        self.tell_if_known();
    }

    /// Another core knows of one more change of this core's shard.
    pub(crate) fn handle_noted(&mut self, core: CoreIndex) {
        self.unaware_of[usize::from(core.0)] -= 1;
        self.tell_if_known();
    }

    /// Whether all cores know how this core's shard is, so that nothing that was meant for one that
    /// failed can arrive any more.
    pub(crate) fn is_noted(&self) -> bool {
        self.unaware_of.iter().all(|changes| *changes == 0)
    }

    fn tell_if_known(&mut self) {
        let own = usize::from(self.core.0);
        if self.shards[own] == ShardState::Ready && self.is_noted() {
            self.shards[own] = ShardState::Known;
            self.tell_all(|| Frame::Shard(ShardState::Known));
        }
    }

    pub(crate) fn credit_pool(&mut self, stripe: StripeKey, lane: Lane) -> &mut CreditPool {
        let (owner, chunk_max) = (self.owner_of(stripe), self.credit_chunk_max);
        let fresh = || Lane::ALL.map(|_| CreditPool::new(chunk_max));
        let pools = self.credits[usize::from(owner.0)].entry(stripe).or_insert_with(fresh);
        &mut pools[lane.index()]
    }

    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

    /// Asks the owner of a stripe for credits if the pool runs low. Returns whether something was sent.
    pub(crate) fn ask_for_credits(&mut self, stripe: StripeKey, lane: Lane) -> bool {
        let now = self.now();
        let Some(wanted) = self.credit_pool(stripe, lane).wish(now) else {
            return false;
        };
        let request = Request::Credit { stripe, lane, wanted };
        self.send(self.owner_of(stripe), Frame::Request(self.own_origin(), request));
        true
    }

    /// Gives the budget of one request back and wakes those who wait for it.
    pub(crate) fn give_budget(&mut self, bytes: usize) {
        self.budget.give(bytes);
        for address in self.budget.woken() {
            if let Some(slot) = self.ports.of(address) {
                slot.waits_for_budget = false;
                self.wake.extend(slot.wake());
            }
        }
    }

    fn own_origin(&self) -> Origin {
        Address { core: self.core, slot: CORE_SLOT, generation: 0 }.origin()
    }

    pub(crate) fn pop(&mut self, from: CoreIndex) -> Option<Frame> {
        self.incoming[usize::from(from.0)].as_mut()?.pop()
    }

    pub(crate) fn tell_all(&mut self, frame: impl Fn() -> Frame) {
        for outgoing in self.outgoing.iter_mut().flatten() {
            outgoing.push(frame());
        }
    }

    pub(crate) fn note_quiet(&mut self, core: CoreIndex) -> bool {
        self.is_quiet[usize::from(core.0)] = true;
        self.is_quiet.iter().all(|quiet| *quiet)
    }

    pub(crate) fn handle_reply(&mut self, from: CoreIndex, address: Address, reply: Reply) {
        if address.slot == CORE_SLOT {
            return self.handle_own_reply(from, reply);
        }
        let mut settled = Vec::new();
        self.ports.settle(address, from, &reply, |bytes| settled.push(bytes));
        settled.into_iter().for_each(|bytes| self.give_budget(bytes));
        if let Some(slot) = self.ports.of(address) {
            slot.arrive((from, Ok(reply)), &mut self.wake);
        }
    }

    fn handle_own_reply(&mut self, from: CoreIndex, reply: Reply) {
        let load = match reply {
            Reply::Credit { stripe, lane, granted, pressure } => {
                let now = self.now();
                let pool = self.credit_pool(stripe, lane);
                let waiting = pool.handle_answer(granted, pressure, now);
                self.wake_ports(waiting);
                pressure
            }
            Reply::Load(load) => {
                self.is_asked[usize::from(from.0)] = false;
                load
            }
            _ => unreachable!("the core itself asks for credits and load only: {reply:?}"),
        };
        self.note_load(from, load);
    }

    /// An owner's load is this now; who speaks to it hears of a change of its level.
    fn note_load(&mut self, owner: CoreIndex, load: Pressure) {
        let before = std::mem::replace(&mut self.loads[usize::from(owner.0)], load);
        if before.level != load.level {
            self.ports.wake_all_of(owner, &mut self.wake);
        }
    }

    /// An owner's load when this core last heard of it: with each answer about credits, and while it is
    /// [`Level::Critical`] or worse a few dozen times a second.
    pub(crate) fn load_of(&self, owner: CoreIndex) -> Pressure {
        self.loads[usize::from(owner.0)]
    }

    /// An owner has failed: gives back what it had, and tells all who waited for it.
    fn fail(&mut self, owner: CoreIndex) {
        let life = self.lives[usize::from(owner.0)];
        self.lives[usize::from(owner.0)] = Life(life.0 + 1);
        if owner == self.core {
            self.local.clear();
        }
        let mut settled = Vec::new();
        self.ports.fail(owner, life, |bytes| settled.push(bytes), &mut self.wake);
        settled.into_iter().for_each(|bytes| self.give_budget(bytes));
        self.is_asked[usize::from(owner.0)] = false;
        let pools = std::mem::take(&mut self.credits[usize::from(owner.0)]);
        for pool in pools.into_values().flatten() {
            self.wake_ports(pool.fail());
        }
        let capacity = self.load_of(owner).capacity;
        self.note_load(owner, unloaded(capacity));
    }

    fn wake_ports(&mut self, addresses: Vec<Address>) {
        for address in addresses {
            let slot = self.ports.of(address);
            self.wake.extend(slot.and_then(|slot| slot.wake()));
        }
    }

    /// Gives idle credits back, and asks owners that are loaded how they are. Returns whether something was sent.
    pub(crate) fn tend_credits(&mut self) -> bool {
        let mut sent = false;
        for owner in (0..self.credits.len() as u16).map(CoreIndex) {
            for (stripe, count) in self.take_idle_credits(owner) {
                let request = Request::ReturnCredit { stripe, count };
                self.send(owner, Frame::Request(self.own_origin(), request));
                sent = true;
            }
            let is_loaded = self.load_of(owner).level >= Level::Critical;
            if is_loaded && self.ready(owner).is_some() && !self.is_asked[usize::from(owner.0)] {
                self.is_asked[usize::from(owner.0)] = true;
                self.send(owner, Frame::Request(self.own_origin(), Request::Load));
                sent = true;
            }
        }
        sent
    }

    /// What lay unused for long of an owner's credits; forgets pools that no one uses.
    fn take_idle_credits(&mut self, owner: CoreIndex) -> Vec<(StripeKey, u32)> {
        let (now, mut idle) = (self.now(), Vec::new());
        self.credits[usize::from(owner.0)].retain(|stripe, pools| {
            let counts = pools.iter_mut().filter_map(|pool| pool.idle(now));
            idle.extend(counts.map(|count| (*stripe, count)));
            !pools.iter().all(|pool| pool.is_spent(now))
        });
        idle
    }

    pub(crate) fn begin_gathering(&mut self, own: (CoreIndex, Metrics)) -> Gathering {
        let gathering = Gathering(self.next_gathering);
        self.next_gathering += 1;
        self.gathered.insert(gathering, Gathered { reports: vec![own], waker: None });
        self.tell_all(|| Frame::AskMetrics(gathering));
        gathering
    }

    /// The one who asked is gone. Returns its waker, to be dropped once the state is no longer
    /// borrowed.
    pub(crate) fn forget_gathering(&mut self, gathering: Gathering) -> Option<Waker> {
        self.gathered.remove(&gathering)?.waker
    }

    pub(crate) fn note_report(&mut self, gathering: Gathering, report: (CoreIndex, Metrics)) {
        // The one who asked may be gone.
        if let Some(gathered) = self.gathered.get_mut(&gathering) {
            gathered.reports.push(report);
            self.wake.extend(gathered.waker.take());
        }
    }

    pub(crate) fn poll_gathered(
        &mut self,
        gathering: Gathering,
        cx: &Context<'_>,
    ) -> Poll<Vec<(CoreIndex, Metrics)>> {
        let gathered =
            self.gathered.get_mut(&gathering).expect("it is there until its future ends");
        if gathered.reports.len() < self.credits.len() {
            gathered.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut reports = std::mem::take(&mut gathered.reports);
        reports.sort_by_key(|(core, _)| *core);
        Poll::Ready(reports)
    }
}
