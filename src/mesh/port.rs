//! Ports: how a session or a call speaks with owners.

use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use engram_shards::ids::StripeKey;
use engram_shards::message::{Append, Lane, Pressure, Reply, Request};

use super::credit::Taken;
use super::end::{Mesh, Shared};
use super::frame::{Address, Frame};
use super::ports::{Life, Unavailable, UnderWay};
use crate::cores::CoreIndex;

impl Mesh {
    /// A port for many replies: what a session holds, and what a unary append makes for itself.
    pub fn port(&self) -> Port {
        let shared = self.shared().clone();
        let address = shared.with(|state| state.ports.open());
        Port { shared, address }
    }

    /// Asks a shard and waits for its one reply. Not for appends: they go through a [`Port`], with
    /// credit and budget.
    pub async fn call(&self, owner: CoreIndex, request: Request) -> Result<Reply, Unavailable> {
        let mut port = self.port();
        port.send(owner, request);
        let (from, reply) = poll_fn(|cx| port.poll_reply(cx)).await;
        assert_eq!(from, owner, "only the owner that was asked answers");
        reply
    }
}

/// Sends requests whose replies come back, in order per owner, to be polled. It has one waker for
/// replies, credit and budget together: a task polls whichever it waits for, and is woken when any
/// of them may have changed.
pub struct Port {
    shared: Rc<Shared>,
    address: Address,
}

impl Port {
    /// Hands a request to a shard's core. Never blocks. Not for appends. An owner that is not ready,
    /// or has failed since this port first spoke to it, is answered for at once, with
    /// `Unavailable`.
    pub fn send(&self, owner: CoreIndex, request: Request) {
        assert!(!matches!(request, Request::Append(_)), "an append needs credit and budget");
        self.shared.with(|state| match state.ready_for(self.address, owner) {
            Some(life) => {
                state.ports.held(self.address).speak_to(owner, life);
                state.send(owner, Frame::Request(self.address.origin(), request));
            }
            None => {
                let slot = state.ports.held(self.address);
                slot.arrive((owner, Err(Unavailable)), &mut state.wake);
            }
        });
        self.shared.nudge();
    }

    /// An owner's load as this core knows it. When its level changes, the waker is woken that [`Port::poll_reply`] left.
    pub fn load_of(&self, owner: CoreIndex) -> Pressure {
        self.shared.with(|state| state.load_of(owner))
    }

    /// Takes room for one observation between socket and owner, of about `bytes`; pending while the
    /// core has none left.
    pub fn poll_budget(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<Budget> {
        let taken = self.shared.with(|state| {
            if state.budget.take(bytes) {
                return true;
            }
            let slot = state.ports.held(self.address);
            slot.wait(cx.waker());
            if !std::mem::replace(&mut slot.waits_for_budget, true) {
                state.budget.wait(self.address);
            }
            false
        });
        match taken {
            true => Poll::Ready(Budget { shared: Some(self.shared.clone()), bytes }),
            false => Poll::Pending,
        }
    }

    /// Takes one credit of a stripe and lane. Pending only while the stripe's owner is being asked.
    pub fn poll_credit(
        &mut self,
        cx: &mut Context<'_>,
        stripe: StripeKey,
        lane: Lane,
    ) -> Poll<CreditAnswer> {
        let (taken, asked) = self.shared.with(|state| {
            let owner = state.owner_of(stripe);
            let Some(life) = state.ready_for(self.address, owner) else {
                return (None, false);
            };
            let now = state.now();
            let taken = state.credit_pool(stripe, lane).take(self.address, now);
            if taken == Taken::Wait {
                state.ports.held(self.address).wait(cx.waker());
            }
            (Some((taken, life)), state.ask_for_credits(stripe, lane))
        });
        if asked {
            self.shared.nudge();
        }
        match taken {
            None => Poll::Ready(CreditAnswer::Unavailable),
            Some((Taken::Yes, life)) => {
                let credit = Credit { shared: Some(self.shared.clone()), stripe, life, lane };
                Poll::Ready(CreditAnswer::Taken(credit))
            }
            Some((Taken::Refused(pressure), _)) => Poll::Ready(CreditAnswer::Refused(pressure)),
            Some((Taken::Wait, _)) => Poll::Pending,
        }
    }

    /// Hands an observation to the owner that gave `credit`. The credit is spent; the budget goes
    /// back when the owner's `Durable` or `Dropped` arrives on this core, whether or not this port
    /// still lives.
    pub fn append(&self, append: Append, credit: Credit, budget: Budget) {
        assert_eq!(append.lane, credit.lane, "a credit is good for its lane");
        assert_eq!(append.stripe, credit.stripe, "a credit is good for its stripe");
        let (owner, life) = (credit.owner(), credit.life);
        if self.shared.with(|state| state.ready_for(self.address, owner)) != Some(life) {
            // Who gave the credit has failed; the budget goes back as it is dropped.
            self.shared.with(|state| {
                state.ports.held(self.address).arrive((owner, Err(Unavailable)), &mut state.wake);
            });
            return;
        }
        credit.spend();
        let sent = UnderWay {
            owner,
            session: append.session,
            sequence: append.sequence,
            bytes: budget.spend(),
        };
        self.shared.with(|state| {
            state.ports.held(self.address).send(sent, life);
            state.send(owner, Frame::Request(self.address.origin(), Request::Append(append)));
        });
        self.shared.nudge();
    }

    /// The next reply. `Unavailable` comes once from an owner that fails, after all that it still
    /// answered (every request to it that is not answered by then never will be), and once for each
    /// later request to it, as for each request to one that is not ready.
    pub fn poll_reply(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<(CoreIndex, Result<Reply, Unavailable>)> {
        self.shared.with(|state| {
            let slot = state.ports.held(self.address);
            match slot.take() {
                Some(arrival) => Poll::Ready(arrival),
                None => {
                    slot.wait(cx.waker());
                    Poll::Pending
                }
            }
        })
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        let waker = self.shared.with(|state| state.ports.close(self.address));
        drop(waker);
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Port {:?}", self.address)
    }
}

/// Room for one observation between socket and owner; given back when it is dropped.
pub struct Budget {
    shared: Option<Rc<Shared>>,
    bytes: usize,
}

impl Budget {
    /// Sets how many bytes it really takes. May overdraw the core's budget; then the next one waits
    /// longer.
    pub fn resize(&mut self, bytes: usize) {
        let shared = self.shared.as_ref().expect("it is not spent");
        shared.with(|state| state.budget.resize(self.bytes, bytes));
        self.bytes = bytes;
    }

    fn spend(mut self) -> usize {
        self.shared = None;
        self.bytes
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.with(|state| state.give_budget(self.bytes));
        }
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Budget of {} B", self.bytes)
    }
}

/// Leave to hand one observation to one stripe; goes back to the core's pool when it is dropped
/// unspent.
pub struct Credit {
    shared: Option<Rc<Shared>>,
    stripe: StripeKey,
    /// The life of the owner that granted it: no other knows of it.
    life: Life,
    lane: Lane,
}

impl Credit {
    /// The owner that gave it.
    pub fn owner(&self) -> CoreIndex {
        let shared = self.shared.as_ref().expect("it is not spent");
        shared.with(|state| state.owner_of(self.stripe))
    }

    /// Its lane.
    pub fn lane(&self) -> Lane {
        self.lane
    }

    fn spend(mut self) {
        self.shared = None;
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.with(|state| {
                if state.ready(state.owner_of(self.stripe)) == Some(self.life) {
                    state.credit_pool(self.stripe, self.lane).give();
                }
            });
        }
    }
}

impl fmt::Debug for Credit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credit of {:?}, {:?}", self.stripe, self.lane)
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
