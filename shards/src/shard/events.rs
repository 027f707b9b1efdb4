//! What happens in stripes, told to their subscribers.

use crate::ids::{Slot, StripeKey, Time};
use crate::log::log::Ordinal;
use crate::log::record::{Observation, decode_body};
use crate::message::{Append, Happened, Interest, Origin, Recalled, Refusal, Reply, StripeEvent};
use crate::shard::engine::Shard;
use crate::shard::subscribers::Storing;

impl Shard {
    pub(super) fn subscribe(
        &mut self,
        origin: Origin,
        stripe: StripeKey,
        interest: Interest,
        room: u32,
    ) {
        let subscribed = self.take_in(origin, stripe, interest, room);
        self.reply(origin, Reply::Subscribed(subscribed));
    }

    fn take_in(
        &mut self,
        origin: Origin,
        stripe: StripeKey,
        interest: Interest,
        room: u32,
    ) -> Result<(), Refusal> {
        let absent = self.absent(stripe);
        let (slot, _) = self.stripe(stripe).ok_or(absent)?;
        self.subscribers.subscribe(slot, origin, interest, room)
    }

    pub(super) fn unsubscribe(&mut self, origin: Origin, stripe: StripeKey) {
        // It is not here where it was refused.
        if let Some((slot, _)) = self.stripe(stripe) {
            self.subscribers.unsubscribe(slot, origin);
        }
    }

    pub(super) fn make_room(&mut self, origin: Origin, stripe: StripeKey, events: u32) {
        let (slot, _) = self.stripe(stripe).expect("it was subscribed to");
        let missed = self.subscribers.make_room(slot, origin, events);
        if missed > 0 {
            self.reply(origin, Reply::EventsMissed(missed));
        }
    }

    /// What will be told of an observation once it is durable; none where nobody wants to hear of it.
    pub(super) fn storing(&self, slot: Slot, append: &Append) -> Option<Storing> {
        if !self.subscribers.want(slot, |interest| interest.stored) {
            return None;
        }
        let Observation { id, importance, .. } = decoded(&append.body.bytes);
        let generation = self.stripes[slot.0].next_generation();
        Some(Storing { slot, id: id.into(), generation, importance })
    }

    /// Tells of the observations before `end`, which are durable now.
    pub(super) fn tell_stored(&mut self, end: Ordinal, at: Time) {
        while let Some(storing) = self.subscribers.stored_before(end) {
            let Storing { slot, id, generation, importance } = storing;
            let happened = Happened::Stored { id, generation };
            let event = StripeEvent { at, importance, happened };
            self.tell_event(slot, &event, |interest| interest.stored);
        }
    }

    /// What will be told of an answer to a recall; none where nobody wants to hear of it.
    pub(super) fn recalled(&self, slot: Slot, recalled: &Recalled) -> Option<StripeEvent> {
        if !self.subscribers.want(slot, |interest| interest.recalled) {
            return None;
        }
        let importances = recalled.hits.iter().map(|hit| decoded(&hit.body).importance);
        let importance = importances.reduce(f32::max).unwrap_or(0.0);
        let best = recalled.hits.first().map(|hit| decoded(&hit.body).id.into());
        let happened = Happened::Recalled { results: recalled.hits.len() as u32, best };
        Some(StripeEvent { at: self.now, importance, happened })
    }

    /// Tells of an answer to a recall.
    pub(super) fn tell_recalled(&mut self, slot: Slot, event: &StripeEvent) {
        self.tell_event(slot, event, |interest| interest.recalled);
    }

    fn tell_event(&mut self, slot: Slot, event: &StripeEvent, such: impl Fn(&Interest) -> bool) {
        let stripe = self.stripes[slot.0].key();
        for origin in self.subscribers.tell(slot, event, such) {
            self.reply(origin, Reply::Event(stripe, event.clone()));
        }
    }
}

fn decoded(body: &[u8]) -> Observation<'_> {
    decode_body(body).expect("a body was checked where it was made, and where it was ranked")
}
