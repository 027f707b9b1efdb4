//! What happens in a space, told as it happens, whatever the transport.
//!
//! Its owners tell as many events as the subscriber has room for, and what the subscriber takes makes room for more. So
//! the port is the queue, no longer than that room; who is slow misses events, hears how many, and holds up nobody.

use std::task::{Context, Poll, ready};

use engram_shards::ids::StripeKey;
use engram_shards::message::{Interest, Reply, Request, SpaceDescription, StripeEvent};

use crate::core::Core;
use crate::cores::CoreIndex;
use crate::failure::Failure;
use crate::limits::EVENT_BYTES;
use crate::loans::Loan;
use crate::mesh::Port;
use crate::space_name::space_name;

/// What a client wants to hear.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wanted {
    /// Which events.
    pub interest: Interest,
    /// How many of them may wait for the client.
    pub room: u32,
}

/// What a subscriber is told.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// From now on events are told.
    Begun,
    /// Something happened.
    Happened(StripeEvent),
    /// So many events were missed between those before and those after.
    Missed(u64),
}

/// A client's ear in a space; dropping it ends it.
#[derive(Debug)]
pub struct Subscription {
    port: Port,
    stripes: Vec<Source>,
    unanswered: usize,
    /// What those take that wait; none where there was not so much, and nothing is asked for.
    room: Option<Loan>,
}

/// A stripe, and how much of the room that it was given is used.
#[derive(Debug)]
struct Source {
    stripe: StripeKey,
    owner: CoreIndex,
    room: u32,
    /// Events taken since it was last told of room.
    taken: u32,
}

/// Begins to listen in the space called `space` (empty means `default`).
pub async fn subscribe(core: &Core, space: &str, wanted: Wanted) -> Result<Subscription, Failure> {
    let space = core.space(space_name(space)?).await?;
    Ok(Subscription::new(core, &space, wanted))
}

impl Subscription {
    /// Begins to listen in `space`: [`News::Begun`] comes once all its stripes know of it.
    pub fn new(core: &Core, space: &SpaceDescription, wanted: Wanted) -> Subscription {
        let port = core.port();
        let count = space.settings.stripes;
        let memory = Loan::take(wanted.room as usize * EVENT_BYTES);
        let room = (wanted.room / u32::from(count)).max(1);
        let stripes = (0..count).map(|stripe| {
            let stripe = StripeKey { space: space.key, stripe };
            Source { stripe, owner: core.mesh().owner_of(stripe), room, taken: 0 }
        });
        let stripes: Vec<Source> = match memory {
            Some(_) => stripes.collect(),
            None => Vec::new(),
        };
        for &Source { stripe, owner, room, .. } in &stripes {
            port.send(owner, Request::Subscribe { stripe, interest: wanted.interest, room });
        }
        Subscription { port, unanswered: usize::from(count), stripes, room: memory }
    }

    /// Whether all stripes know of it.
    pub fn has_begun(&self) -> bool {
        self.unanswered == 0
    }

    /// What is to be told next; not to be polled again after a failure.
    pub fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<Result<News, Failure>> {
        if self.room.is_none() {
            return Poll::Ready(Err(Failure::out_of_memory()));
        }
        loop {
            let news = match ready!(self.port.poll_reply(cx)) {
                (_, Ok(Reply::Event(stripe, event))) => {
                    self.take_from(stripe);
                    News::Happened(event)
                }
                (_, Ok(Reply::EventsMissed(count))) => News::Missed(count),
                (_, Ok(Reply::Subscribed(Ok(())))) => {
                    self.unanswered -= 1;
                    match self.has_begun() {
                        true => News::Begun,
                        false => continue,
                    }
                }
                (_, Ok(Reply::Subscribed(Err(refusal)))) => {
                    return Poll::Ready(Err(refusal.into()));
                }
                (_, Ok(other)) => panic!("a subscriber was told {other:?}"),
                (_, Err(_)) => return Poll::Ready(Err(Failure::unavailable())),
            };
            return Poll::Ready(Ok(news));
        }
    }

    /// Tells a stripe of the room that is free again, half of it at a time: each word takes a message.
    fn take_from(&mut self, stripe: StripeKey) {
        let source = &mut self.stripes[usize::from(stripe.stripe)];
        source.taken += 1;
        if source.taken >= source.room.div_ceil(2) {
            let events = std::mem::take(&mut source.taken);
            self.port.send(source.owner, Request::MakeRoom { stripe, events });
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        for &Source { stripe, owner, .. } in &self.stripes {
            self.port.send(owner, Request::Unsubscribe(stripe));
        }
    }
}
