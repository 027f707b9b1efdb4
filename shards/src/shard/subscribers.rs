//! Who wants to hear what happens in a stripe, and how much of it each has room for.
//!
//! A subscriber that has none is told nothing and costs a count; what it missed it hears once there is room again. So
//! events never slow down what they tell of, and no queue of them grows.

use std::collections::{BTreeMap, VecDeque};

use crate::ids::{Generation, Slot};
use crate::limits::STRIPE_SUBSCRIBERS_MAX;
use crate::log::log::Ordinal;
use crate::message::{Interest, Origin, Refusal, StripeEvent};

#[derive(Debug)]
struct Subscriber {
    origin: Origin,
    interest: Interest,
    room: u32,
    missed: u64,
}

/// An observation that a subscriber wants to hear of once it is durable.
#[derive(Debug, PartialEq)]
pub(super) struct Storing {
    pub(super) slot: Slot,
    pub(super) id: Box<str>,
    pub(super) generation: Generation,
    pub(super) importance: f32,
}

/// All subscribers of a shard.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    by_slot: BTreeMap<Slot, Vec<Subscriber>>,
    /// In the order of the log; bounded as what is pending is.
    storing: VecDeque<(Ordinal, Storing)>,
}

impl Subscribers {
    /// Takes one in, instead of what it wanted before.
    pub(super) fn subscribe(
        &mut self,
        slot: Slot,
        origin: Origin,
        interest: Interest,
        room: u32,
    ) -> Result<(), Refusal> {
        self.unsubscribe(slot, origin);
        let subscribers = self.by_slot.entry(slot).or_default();
        if subscribers.len() >= STRIPE_SUBSCRIBERS_MAX {
            return Err(Refusal::TooManySubscribers);
        }
        subscribers.push(Subscriber { origin, interest, room, missed: 0 });
        Ok(())
    }

    /// It wants nothing more; it may be unknown.
    pub(super) fn unsubscribe(&mut self, slot: Slot, origin: Origin) {
        if let Some(subscribers) = self.by_slot.get_mut(&slot) {
            subscribers.retain(|subscriber| subscriber.origin != origin);
            if subscribers.is_empty() {
                self.by_slot.remove(&slot);
            }
        }
    }

    /// It has room for so many more. Returns how many events it missed for want of it.
    pub(super) fn make_room(&mut self, slot: Slot, origin: Origin, events: u32) -> u64 {
        let mut subscribers = self.by_slot.get_mut(&slot).into_iter().flatten();
        let Some(subscriber) = subscribers.find(|subscriber| subscriber.origin == origin) else {
            return 0;
        };
        subscriber.room = subscriber.room.saturating_add(events);
        std::mem::take(&mut subscriber.missed)
    }

    /// Whether someone wants to hear of such events in a stripe.
    pub(super) fn want(&self, slot: Slot, such: impl Fn(&Interest) -> bool) -> bool {
        let mut subscribers = self.by_slot.get(&slot).into_iter().flatten();
        subscribers.any(|subscriber| such(&subscriber.interest))
    }

    /// Who is to be told of an event; whoever wants it and has no room for it has missed it.
    pub(super) fn tell(
        &mut self,
        slot: Slot,
        event: &StripeEvent,
        such: impl Fn(&Interest) -> bool,
    ) -> Vec<Origin> {
        let mut told = Vec::new();
        for subscriber in self.by_slot.get_mut(&slot).into_iter().flatten() {
            let interest = &subscriber.interest;
            // Whether a number that is none is important, no one can say.
            let is_important =
                event.importance.is_nan() || event.importance >= interest.importance_min;
            if !such(interest) || !is_important {
                continue;
            }
            match subscriber.room.checked_sub(1) {
                Some(room) => {
                    subscriber.room = room;
                    told.push(subscriber.origin);
                }
                None => subscriber.missed += 1,
            }
        }
        told
    }

    /// The log was given an observation that is to be told of.
    pub(super) fn store(&mut self, ordinal: Ordinal, storing: Storing) {
        self.storing.push_back((ordinal, storing));
    }

    /// The next one that is durable: all before `end` are.
    pub(super) fn stored_before(&mut self, end: Ordinal) -> Option<Storing> {
        self.storing.pop_front_if(|(ordinal, _)| *ordinal < end).map(|(_, storing)| storing)
    }

    /// None of them will be durable.
    pub(super) fn drop_storing(&mut self) {
        self.storing.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Time;
    use crate::message::Happened;

    const SLOT: Slot = Slot(3);

    fn interest(importance_min: f32) -> Interest {
        Interest { stored: true, recalled: false, importance_min }
    }

    fn event(importance: f32) -> StripeEvent {
        let happened = Happened::Stored { id: "a".into(), generation: Generation(1) };
        StripeEvent { at: Time(0), importance, happened }
    }

    #[test]
    fn who_has_no_room_misses_events_and_hears_how_many() {
        let mut subscribers = Subscribers::default();
        subscribers.subscribe(SLOT, Origin(1), interest(f32::NEG_INFINITY), 2).expect("room");
        subscribers.subscribe(SLOT, Origin(2), interest(0.5), 9).expect("room");
        let mut told = |importance| subscribers.tell(SLOT, &event(importance), |one| one.stored);
        assert_eq!(told(0.0), [Origin(1)]);
        assert_eq!(told(0.5), [Origin(1), Origin(2)]);
        assert_eq!(told(f32::NAN), [Origin(2)]);
        assert_eq!(told(0.1), []);
        assert_eq!(subscribers.make_room(SLOT, Origin(1), 1), 2);
        assert_eq!(subscribers.make_room(SLOT, Origin(2), 1), 0);
        assert_eq!(subscribers.make_room(SLOT, Origin(3), 1), 0, "not known");
        assert_eq!(subscribers.tell(SLOT, &event(0.0), |one| one.stored), [Origin(1)]);
        assert_eq!(subscribers.tell(SLOT, &event(0.9), |one| one.recalled), []);
        assert_eq!(subscribers.tell(Slot(4), &event(0.9), |one| one.stored), []);
    }

    #[test]
    fn a_stripe_has_so_many_subscribers_at_most_each_once() {
        let mut subscribers = Subscribers::default();
        for origin in (0..STRIPE_SUBSCRIBERS_MAX as u64).chain([5]) {
            assert_eq!(subscribers.subscribe(SLOT, Origin(origin), interest(0.0), 1), Ok(()));
        }
        let another = subscribers.subscribe(SLOT, Origin(999), interest(0.0), 1);
        assert_eq!(another, Err(Refusal::TooManySubscribers));
        subscribers.unsubscribe(SLOT, Origin(5));
        assert_eq!(subscribers.subscribe(SLOT, Origin(999), interest(0.0), 1), Ok(()));
    }
}
