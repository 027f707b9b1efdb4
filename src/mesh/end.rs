//! One core's end of the mesh: what its tasks send by, and what its pump receives by.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use engram_shards::ids::StripeKey;
use engram_shards::message::{Lane, Origin, Reply, Request};

use super::budget::BudgetPool;
use super::credit::CreditPool;
use super::frame::{Address, Frame, Gathering, ShardState};
use super::outgoing::Outgoing;
use super::ports::{CORE_SLOT, Ports};
use super::ring::{Bell, Receiver, ring};
use crate::clock::Clock;
use crate::cores::CoreIndex;
use crate::limits::{RING_DRAIN_FRAMES, RING_SLOTS_MAX, RING_SLOTS_MIN, RING_SLOTS_TOTAL};
use crate::metrics::Metrics;
use crate::notice::Notice;
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

/// The rings of one core, made before its thread is.
#[derive(Debug)]
pub struct Thread {
    core: CoreIndex,
    outgoing: Vec<Option<Outgoing>>,
    incoming: Vec<Option<Receiver<Frame>>>,
    bell: Arc<Bell>,
}

/// Rings for every ordered pair of `cores`.
pub fn weave(cores: u16) -> Vec<Thread> {
    assert!(cores > 0, "someone must serve");
    let slots = (RING_SLOTS_TOTAL / usize::from(cores)).clamp(RING_SLOTS_MIN, RING_SLOTS_MAX).next_power_of_two();
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

/// One core's end of the mesh. Cheap to clone; stays on its core.
#[derive(Clone, Debug)]
pub struct Mesh {
    shared: Rc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    state: RefCell<State>,
    metrics: RefCell<Metrics>,
    /// What this core's pump sleeps on.
    bell: Arc<Bell>,
    /// Something on this core waits for the pump.
    nudged: Cell<bool>,
    stop: Notice,
    quiet: Notice,
    ready: Notice,
}

#[derive(Debug)]
pub(crate) struct State {
    core: CoreIndex,
    clock: Clock,
    placement: Placement,
    /// By core; none to itself.
    outgoing: Vec<Option<Outgoing>>,
    incoming: Vec<Option<Receiver<Frame>>>,
    /// Requests of this core to its own shard.
    local: VecDeque<(Origin, Request)>,
    shards: Vec<ShardState>,
    is_quiet: Vec<bool>,
    pub(crate) ports: Ports,
    pub(crate) budget: BudgetPool,
    /// By owner and lane.
    credits: Vec<[CreditPool; 3]>,
    gathered: BTreeMap<Gathering, Gathered>,
    next_gathering: u64,
    /// To be woken once the state is no longer borrowed.
    pub(crate) wake: Vec<Waker>,
}

#[derive(Debug, Default)]
struct Gathered {
    reports: Vec<(CoreIndex, Metrics)>,
    waker: Option<Waker>,
}

impl Mesh {
    /// Takes up a core's rings on its own thread.
    pub fn new(thread: Thread, settings: MeshSettings) -> Mesh {
        let cores = u16::try_from(thread.outgoing.len()).expect("it was made from such a number");
        let credits = || Lane::ALL.map(|_| CreditPool::new(settings.capacity, cores));
        let state = State {
            core: thread.core,
            clock: settings.clock,
            placement: Placement::spread(cores),
            outgoing: thread.outgoing,
            incoming: thread.incoming,
            local: VecDeque::new(),
            shards: vec![ShardState::Recovering; usize::from(cores)],
            is_quiet: vec![false; usize::from(cores)],
            ports: Ports::new(thread.core),
            budget: BudgetPool::new(settings.requests_max, settings.bytes_max),
            credits: (0..cores).map(|_| credits()).collect(),
            gathered: BTreeMap::new(),
            next_gathering: 0,
            wake: Vec::new(),
        };
        let shared = Shared {
            state: RefCell::new(state),
            metrics: RefCell::default(),
            bell: thread.bell,
            nudged: Cell::new(false),
            stop: Notice::default(),
            quiet: Notice::default(),
            ready: Notice::default(),
        };
        Mesh { shared: Rc::new(shared) }
    }

    /// This core.
    pub fn core(&self) -> CoreIndex {
        self.shared.state.borrow().core
    }

    /// How many cores there are.
    pub fn cores(&self) -> u16 {
        self.shared.state.borrow().credits.len() as u16
    }

    /// The core that owns a stripe.
    pub fn owner_of(&self, stripe: StripeKey) -> CoreIndex {
        self.shared.state.borrow().placement.owner_of(stripe)
    }

    /// The table of owners.
    pub fn placement(&self) -> Placement {
        self.shared.state.borrow().placement.clone()
    }

    /// How every shard is, by core.
    pub fn shards(&self) -> Vec<ShardState> {
        self.shared.state.borrow().shards.clone()
    }

    /// This core's counters, to be updated. To be held for one statement, never across an await.
    pub fn metrics(&self) -> RefMut<'_, Metrics> {
        self.shared.metrics.borrow_mut()
    }

    /// A copy of every core's counters, by core.
    pub async fn reports(&self) -> Vec<(CoreIndex, Metrics)> {
        let own = (self.core(), self.shared.copy_of_metrics());
        let gathering = self.shared.with(|state| state.begin_gathering(own));
        self.shared.nudge();
        let _forget = Forget { shared: self.shared.clone(), gathering };
        poll_fn(|cx| self.shared.with(|state| state.poll_gathered(gathering, cx))).await
    }

    /// Tells all cores that the server stops.
    pub fn stop(&self) {
        self.shared.with(|state| state.tell_all(|| Frame::Stop));
        self.shared.stop.give();
        self.shared.nudge();
    }

    /// Given once the server stops.
    pub fn stopping(&self) -> &Notice {
        &self.shared.stop
    }

    /// Tells all cores that this one has no connection any more.
    pub fn tell_quiet(&self) {
        let core = self.core();
        let all = self.shared.with(|state| {
            state.tell_all(|| Frame::Quiet);
            state.note_quiet(core)
        });
        self.shared.nudge();
        if all {
            self.shared.quiet.give();
        }
    }

    /// Given once no core has a connection any more.
    pub fn quiet(&self) -> &Notice {
        &self.shared.quiet
    }

    /// Given once all shards serve.
    pub fn ready(&self) -> &Notice {
        &self.shared.ready
    }

    pub(crate) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }
}

/// What the pump of this core does with its end.
impl Mesh {
    /// Tells all cores how this core's shard is.
    pub(crate) fn set_shard(&self, shard: ShardState) {
        let core = self.core();
        self.shared.with(|state| state.tell_all(|| Frame::Shard(shard)));
        self.shared.handle_shard(core, shard);
        self.shared.nudge();
    }

    /// Takes in what other cores sent, and leaves in `requests` what is for this core's shard.
    pub(crate) fn receive(&self, requests: &mut Vec<(Origin, Request)>) {
        self.shared.nudged.set(false);
        for from in 0..self.cores() {
            let from = CoreIndex(from);
            for _ in 0..RING_DRAIN_FRAMES {
                let Some(frame) = self.shared.state.borrow_mut().pop(from) else { break };
                self.shared.handle(from, frame, requests);
            }
        }
        requests.extend(self.shared.state.borrow_mut().local.drain(..));
    }

    /// Sends what this core's shard answers.
    pub(crate) fn reply(&self, origin: Origin, reply: Reply) {
        let address = Address::of(origin);
        self.shared.with(|state| match address.core == state.core {
            true => state.handle_reply(state.core, address, reply),
            false => state.send(address.core, Frame::Reply(origin, reply)),
        });
    }

    /// Shows the other cores all that was sent to them. Returns false where some rings have no room; then it is to be
    /// called again soon.
    pub(crate) fn flush(&self) -> bool {
        let mut state = self.shared.state.borrow_mut();
        state.outgoing.iter_mut().flatten().fold(true, |all, outgoing| outgoing.flush() && all)
    }

    /// Gives back what this core has not used for long.
    pub(crate) fn return_idle_credits(&self) {
        if self.shared.with(State::return_idle_credits) {
            self.shared.nudge();
        }
    }

    /// Ready when there is something to [`receive`](Mesh::receive), or someone nudged.
    pub(crate) fn poll_arrival(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.bell.arm(cx.waker());
        if self.shared.has_arrivals() {
            self.shared.bell.disarm();
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Wakes the pump.
    pub(crate) fn nudge(&self) {
        self.shared.nudge();
    }

    /// No pump drains this end any more.
    pub(crate) fn silence(&self) {
        self.shared.bell.silence();
    }
}

impl Shared {
    /// Works on the state, then wakes whom that concerns: a waker may run code that needs the state itself.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut State) -> R) -> R {
        let (result, wake) = {
            let mut state = self.state.borrow_mut();
            let result = work(&mut state);
            (result, std::mem::take(&mut state.wake))
        };
        wake.into_iter().for_each(Waker::wake);
        result
    }

    pub(crate) fn nudge(&self) {
        if !self.nudged.replace(true) {
            self.bell.ring();
        }
    }

    fn has_arrivals(&self) -> bool {
        let mut state = self.state.borrow_mut();
        self.nudged.get()
            || !state.local.is_empty()
            || state.incoming.iter_mut().flatten().any(|receiver| !receiver.is_empty())
    }

    fn handle(&self, from: CoreIndex, frame: Frame, requests: &mut Vec<(Origin, Request)>) {
        match frame {
            Frame::Request(origin, request) => requests.push((origin, request)),
            Frame::Reply(origin, reply) => {
                self.with(|state| state.handle_reply(from, Address::of(origin), reply));
            }
            Frame::Shard(shard) => self.handle_shard(from, shard),
            Frame::Stop => self.stop.give(),
            Frame::Quiet => {
                if self.with(|state| state.note_quiet(from)) {
                    self.quiet.give();
                }
            }
            Frame::AskMetrics(gathering) => {
                let metrics = Box::new(self.copy_of_metrics());
                self.with(|state| state.send(from, Frame::Metrics(gathering, metrics)));
            }
            Frame::Metrics(gathering, metrics) => {
                self.with(|state| state.note_report(gathering, (from, *metrics)));
            }
        }
    }

    fn handle_shard(&self, core: CoreIndex, shard: ShardState) {
        let all_ready = self.with(|state| {
            state.shards[usize::from(core.0)] = shard;
            if shard == ShardState::Failed {
                state.fail(core);
            }
            state.shards.iter().all(|shard| *shard == ShardState::Ready)
        });
        if all_ready {
            self.ready.give();
        }
    }

    fn copy_of_metrics(&self) -> Metrics {
        let mut metrics = self.metrics.borrow().clone();
        let state = self.state.borrow();
        metrics.between_bytes = state.budget.bytes() as u64;
        metrics.between_requests = u64::from(state.budget.requests());
        metrics
    }
}

impl State {
    /// Sends a frame to another core, with its next batch; the caller nudges the pump, which shows it.
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

    pub(crate) fn is_ready(&self, owner: CoreIndex) -> bool {
        self.shards[usize::from(owner.0)] == ShardState::Ready
    }

    pub(crate) fn credit_pool(&mut self, owner: CoreIndex, lane: Lane) -> &mut CreditPool {
        &mut self.credits[usize::from(owner.0)][lane.index()]
    }

    pub(crate) fn now(&self) -> engram_shards::ids::Time {
        self.clock.now()
    }

    /// Asks an owner for credits if its pool runs low. Returns whether something was sent.
    pub(crate) fn ask_for_credits(&mut self, owner: CoreIndex, lane: Lane) -> bool {
        let Some(wanted) = self.credit_pool(owner, lane).wish() else { return false };
        self.send(owner, Frame::Request(self.own_origin(), Request::Credit { lane, wanted }));
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

    fn pop(&mut self, from: CoreIndex) -> Option<Frame> {
        self.incoming[usize::from(from.0)].as_mut()?.pop()
    }

    fn tell_all(&mut self, frame: impl Fn() -> Frame) {
        for outgoing in self.outgoing.iter_mut().flatten() {
            outgoing.push(frame());
        }
    }

    fn note_quiet(&mut self, core: CoreIndex) -> bool {
        self.is_quiet[usize::from(core.0)] = true;
        self.is_quiet.iter().all(|quiet| *quiet)
    }

    fn handle_reply(&mut self, from: CoreIndex, address: Address, reply: Reply) {
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
        let Reply::Credit { lane, granted, pressure } = reply else {
            unreachable!("the core itself asks for credits only: {reply:?}");
        };
        let now = self.now();
        let waiting = self.credit_pool(from, lane).handle_answer(granted, pressure, now);
        self.wake_ports(waiting);
    }

    fn fail(&mut self, owner: CoreIndex) {
        let mut settled = Vec::new();
        self.ports.fail(owner, |bytes| settled.push(bytes), &mut self.wake);
        settled.into_iter().for_each(|bytes| self.give_budget(bytes));
        for lane in Lane::ALL {
            let waiting = self.credit_pool(owner, lane).fail();
            self.wake_ports(waiting);
        }
    }

    fn wake_ports(&mut self, addresses: Vec<Address>) {
        for address in addresses {
            let slot = self.ports.of(address);
            self.wake.extend(slot.and_then(|slot| slot.wake()));
        }
    }

    fn return_idle_credits(&mut self) -> bool {
        let now = self.now();
        let mut sent = false;
        for owner in 0..self.credits.len() as u16 {
            for lane in Lane::ALL {
                let owner = CoreIndex(owner);
                if let Some(count) = self.credit_pool(owner, lane).idle(now) {
                    self.send(owner, Frame::Request(self.own_origin(), Request::ReturnCredit { count }));
                    sent = true;
                }
            }
        }
        sent
    }

    fn begin_gathering(&mut self, own: (CoreIndex, Metrics)) -> Gathering {
        let gathering = Gathering(self.next_gathering);
        self.next_gathering += 1;
        self.gathered.insert(gathering, Gathered { reports: vec![own], waker: None });
        self.tell_all(|| Frame::AskMetrics(gathering));
        gathering
    }

    fn note_report(&mut self, gathering: Gathering, report: (CoreIndex, Metrics)) {
        // The one who asked may be gone.
        if let Some(gathered) = self.gathered.get_mut(&gathering) {
            gathered.reports.push(report);
            self.wake.extend(gathered.waker.take());
        }
    }

    fn poll_gathered(&mut self, gathering: Gathering, cx: &Context<'_>) -> Poll<Vec<(CoreIndex, Metrics)>> {
        let gathered = self.gathered.get_mut(&gathering).expect("it is there until its future ends");
        if gathered.reports.len() < self.credits.len() {
            gathered.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut reports = std::mem::take(&mut gathered.reports);
        reports.sort_by_key(|(core, _)| *core);
        Poll::Ready(reports)
    }
}

/// Forgets a gathering when its future ends or is dropped.
struct Forget {
    shared: Rc<Shared>,
    gathering: Gathering,
}

impl Drop for Forget {
    fn drop(&mut self) {
        let forgotten = self.shared.state.borrow_mut().gathered.remove(&self.gathering);
        drop(forgotten);
    }
}
