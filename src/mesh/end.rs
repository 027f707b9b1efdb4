//! One core's end of the mesh: what its tasks send by, and what its pump receives by.

use std::cell::{Cell, RefCell, RefMut};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use engram_shards::ids::StripeKey;
use engram_shards::message::{Origin, Reply, Request};

use super::frame::{Address, Frame, Gathering, ShardState};
use super::ring::Bell;
use super::state::{MeshSettings, State};
use super::weave::Thread;
use crate::chaos::Injection;
use crate::cores::CoreIndex;
use crate::limits::RING_DRAIN_FRAMES;
use crate::loans;
use crate::metrics::Metrics;
use crate::notice::Notice;
use crate::placement::Placement;
use crate::turnstile::Turnstile;

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
    turnstile: Turnstile,
}

impl Mesh {
    /// Takes up a core's rings on its own thread.
    pub fn new(thread: Thread, settings: MeshSettings) -> Mesh {
        let bell = thread.bell.clone();
        let state = State::new(thread, settings);
        let shared = Shared {
            state: RefCell::new(state),
            metrics: RefCell::default(),
            bell,
            nudged: Cell::new(false),
            stop: Notice::default(),
            quiet: Notice::default(),
            ready: Notice::default(),
            turnstile: Turnstile::default(),
        };
        Mesh { shared: Rc::new(shared) }
    }

    /// How this core's streams take turns.
    pub fn turnstile(&self) -> &Turnstile {
        &self.shared.turnstile
    }

    /// This core.
    pub fn core(&self) -> CoreIndex {
        self.shared.state.borrow().core
    }

    /// How many cores there are.
    pub fn cores(&self) -> u16 {
        self.shared.state.borrow().shards.len() as u16
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

    /// Lets a test do something to a core.
    pub fn inject(&self, core: CoreIndex, injection: Injection) {
        self.shared.with(|state| match core == state.core {
            true => state.injected.push(injection),
            false => state.send(core, Frame::Inject(injection)),
        });
        self.shared.nudge();
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

    /// Whether all cores know how this core's shard is: none sends one that has failed anything more,
    /// and another may take its place. Changes with [`Mesh::receive`].
    pub(crate) fn is_noted(&self) -> bool {
        self.shared.state.borrow().is_noted()
    }

    /// Takes in what other cores sent, and leaves in `requests` what is for this core's shard.
    pub(crate) fn receive(&self, requests: &mut Vec<(Origin, Request)>) {
        self.shared.nudged.set(false);
        for from in 0..self.cores() {
            let from = CoreIndex(from);
            for _ in 0..RING_DRAIN_FRAMES {
                let Some(frame) = self.shared.state.borrow_mut().pop(from) else {
                    break;
                };
                self.shared.handle(from, frame, requests);
            }
        }
        requests.extend(self.shared.state.borrow_mut().local.drain(..));
    }

    /// What tests want done to this core.
    pub(crate) fn take_injected(&self) -> Vec<Injection> {
        std::mem::take(&mut self.shared.state.borrow_mut().injected)
    }

    /// Sends what this core's shard answers.
    pub(crate) fn reply(&self, origin: Origin, reply: Reply) {
        let address = Address::of(origin);
        self.shared.with(|state| match address.core == state.core {
            true => state.handle_reply(state.core, address, reply),
            false => state.send(address.core, Frame::Reply(origin, reply)),
        });
    }

    /// Shows the other cores all that was sent to them. Returns false where some rings have no
    /// room; then it is to be called again soon.
    pub(crate) fn flush(&self) -> bool {
        let mut state = self.shared.state.borrow_mut();
        let mut all = true;
        for outgoing in state.outgoing.iter_mut().flatten() {
            all &= outgoing.flush();
        }
        all
    }

    /// Gives back what this core has not used for long, and asks loaded owners how they are. To be called a few dozen
    /// times a second.
    pub(crate) fn tend_credits(&self) {
        if self.shared.with(State::tend_credits) {
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
    /// Works on the state, then wakes whom that concerns: a waker may run code that needs the state
    /// itself.
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
            Frame::Inject(injection) => self.with(|state| state.injected.push(injection)),
            Frame::Noted => self.with(|state| state.handle_noted(from)),
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
            state.note_shard(core, shard);
            state.shards.iter().all(|shard| shard.serves())
        });
        if all_ready {
            self.ready.give();
        }
    }

    fn copy_of_metrics(&self) -> Metrics {
        let mut metrics = self.metrics.borrow().clone();
        let state = self.state.borrow();
        metrics.between_bytes = state.budget.bytes() as u64;
        metrics.lent_bytes = loans::lent() as u64;
        metrics.between_requests = u64::from(state.budget.requests());
        metrics
    }
}

/// Forgets a gathering when its future ends or is dropped.
struct Forget {
    shared: Rc<Shared>,
    gathering: Gathering,
}

impl Drop for Forget {
    fn drop(&mut self) {
        let forgotten = self.shared.with(|state| state.forget_gathering(self.gathering));
        drop(forgotten);
    }
}
