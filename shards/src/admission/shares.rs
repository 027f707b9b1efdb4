//! What each stripe holds of the shard's capacity, and how many of them share it.

use std::collections::VecDeque;

use crate::admission::drain::RETRY_MICROS_MAX;
use crate::ids::{Slot, Time};

/// For so long a stripe that was refused counts among those who share: until its clients have come back, at the latest
/// time that they were told, and a second more.
const REFUSED_MICROS: u64 = RETRY_MICROS_MAX + 1_000_000;

/// What one stripe holds.
#[derive(Clone, Copy, Debug, Default)]
struct Holding {
    /// Credits, and rows that wait.
    rows: u32,
    /// Whether it stands among those that were refused.
    is_refused: bool,
}

impl Holding {
    /// Whether it shares the capacity with others.
    fn is_sharer(&self) -> bool {
        self.rows > 0 || self.is_refused
    }
}

/// The holdings of all stripes. Every step takes the same time, however many there are.
#[derive(Debug, Default)]
pub(super) struct Shares {
    /// By slot.
    holdings: Vec<Holding>,
    sharers: u64,
    /// Each once, and until when it counts; in the order in which these times come.
    refused: VecDeque<(Slot, Time)>,
}

impl Shares {
    /// What the stripe holds.
    pub(super) fn held(&self, slot: Slot) -> u32 {
        self.holdings.get(slot.0).map_or(0, |holding| holding.rows)
    }

    /// The stripe holds so many more.
    pub(super) fn hold(&mut self, slot: Slot, rows: u32) {
        self.change(slot, |holding| holding.rows += rows);
    }

    /// It holds so many fewer.
    pub(super) fn release(&mut self, slot: Slot, rows: u32) {
        assert!(rows <= self.held(slot), "a stripe gave back credits or rows that it did not hold");
        self.change(slot, |holding| holding.rows -= rows);
    }

    /// The stripe found no room: it will come back.
    pub(super) fn refuse(&mut self, slot: Slot, now: Time) {
        let mut was_refused = false;
        self.change(slot, |holding| {
            was_refused = std::mem::replace(&mut holding.is_refused, true);
        });
        if !was_refused {
            self.refused.push_back((slot, now.after_micros(REFUSED_MICROS)));
        }
    }

    /// How many stripes share the capacity: those that hold some of it or were refused of late, and this one.
    pub(super) fn sharers(&mut self, slot: Slot, now: Time) -> u64 {
        while let Some((slot, _)) = self.refused.pop_front_if(|(_, until)| *until <= now) {
            self.change(slot, |holding| holding.is_refused = false);
        }
        let is_counted = self.holdings.get(slot.0).is_some_and(Holding::is_sharer);
        self.sharers + u64::from(!is_counted)
    }

    fn change(&mut self, slot: Slot, change: impl FnOnce(&mut Holding)) {
        if self.holdings.len() <= slot.0 {
            self.holdings.resize(slot.0 + 1, Holding::default());
        }
        let holding = &mut self.holdings[slot.0];
        let was_sharer = holding.is_sharer();
        change(holding);
        self.sharers += u64::from(holding.is_sharer());
        self.sharers -= u64::from(was_sharer);
    }
}
