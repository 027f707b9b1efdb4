//! Whose turn it is: recalls in the order in which they can go on, stripes by deficit round robin.

use std::collections::{BTreeMap, VecDeque};

use crate::ids::{Generation, Slot};
use crate::limits::RECALLS_BYTES_MAX;
use crate::message::Origin;
use crate::recall::Job;
use crate::space::Rows;

/// Distances that a stripe may spend on insertions before the next one's turn: a few rows' worth.
const QUANTUM_DISTANCES: u32 = 8_000;

/// Names a recall within the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RecallNumber(u64);

/// A recall and whom it is for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) origin: Origin,
    pub(super) slot: Slot,
    pub(super) job: Job,
    /// Bytes of records that it may hold: those that it holds, or those that it waited for.
    held: u64,
}

impl Asked {
    pub(super) fn new(origin: Origin, slot: Slot, job: Job) -> Asked {
        Asked { origin, slot, job, held: 0 }
    }
}

/// All recalls that have begun.
///
/// **Invariant:** together they hold records of [`RECALLS_BYTES_MAX`] bytes at most. Who has no room for its own waits
/// behind whoever came before it, so that narrow recalls cannot keep a wide one waiting.
#[derive(Debug, Default)]
pub(super) struct Recalls {
    jobs: BTreeMap<RecallNumber, Asked>,
    runnable: VecDeque<RecallNumber>,
    /// Those that wait for room, and for how many bytes of it.
    crowded: VecDeque<(RecallNumber, u64)>,
    /// What all may hold.
    held: u64,
    next: u64,
}

impl Recalls {
    /// Takes one in.
    pub(super) fn begin(&mut self, asked: Asked) {
        let number = RecallNumber(self.next);
        self.next += 1;
        self.jobs.insert(number, asked);
        self.runnable.push_back(number);
    }

    /// The number of the next one that begins.
    pub(super) fn next_number(&self) -> RecallNumber {
        RecallNumber(self.next)
    }

    /// Of those that are not done, the one that began first.
    pub(super) fn first(&self) -> Option<RecallNumber> {
        self.jobs.first_key_value().map(|(number, _)| *number)
    }

    /// The one whose turn it is; it stays so until it waits or ends.
    pub(super) fn current(&mut self) -> Option<(RecallNumber, &mut Asked)> {
        let number = *self.runnable.front()?;
        Some((number, self.jobs.get_mut(&number).expect("a runnable recall exists")))
    }

    /// The current one waits for records.
    pub(super) fn wait(&mut self) {
        self.runnable.pop_front().expect("the current recall");
    }

    /// The current one is done.
    pub(super) fn end(&mut self) -> Asked {
        let number = self.runnable.pop_front().expect("the current recall");
        let asked = self.jobs.remove(&number).expect("a runnable recall exists");
        self.give_back(asked.held);
        asked
    }

    /// How many bytes of records the current one may hold.
    pub(super) fn room(&self) -> u64 {
        let current = self.runnable.front().map_or(0, |number| self.jobs[number].held);
        match self.crowded.is_empty() {
            true => current + (RECALLS_BYTES_MAX - self.held),
            false => current,
        }
    }

    /// The current one made a step: it holds what it holds now.
    pub(super) fn settle(&mut self) {
        let (_, asked) = self.current().expect("the recall that made the step");
        let (before, now) = (asked.held, asked.job.bytes());
        asked.held = now;
        self.held += now;
        self.give_back(before);
        assert!(self.held <= RECALLS_BYTES_MAX, "recalls hold more than they may");
    }

    /// The current one waits for room.
    pub(super) fn crowd(&mut self, bytes: u64) {
        assert!(bytes <= RECALLS_BYTES_MAX, "there would never be room");
        let number = self.runnable.pop_front().expect("the current recall");
        self.crowded.push_back((number, bytes));
        self.give_back(0);
    }

    /// So many bytes are not held any more: those who wait for room go on as far as there is.
    fn give_back(&mut self, bytes: u64) {
        self.held -= bytes;
        while let Some((number, bytes)) =
            self.crowded.pop_front_if(|(_, bytes)| *bytes <= RECALLS_BYTES_MAX - self.held)
        {
            self.held += bytes;
            self.jobs.get_mut(&number).expect("a recall that waits exists").held = bytes;
            self.runnable.push_back(number);
        }
    }

    /// Bytes of records that all may hold.
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    /// One that waits for records; none where it was abandoned meanwhile.
    pub(super) fn waiting(&mut self, number: RecallNumber) -> Option<&mut Asked> {
        self.jobs.get_mut(&number)
    }

    /// Takes out all that are for `origin`, wherever they are.
    pub(super) fn abandon(&mut self, origin: Origin) -> Vec<Asked> {
        let gone = self.jobs.extract_if(.., |_, asked| asked.origin == origin);
        let gone: Vec<Asked> = gone.map(|(_, asked)| asked).collect();
        self.runnable.retain(|number| self.jobs.contains_key(number));
        self.crowded.retain(|(number, _)| self.jobs.contains_key(number));
        self.give_back(gone.iter().map(|asked| asked.held).sum());
        gone
    }

    /// It need not wait any longer.
    pub(super) fn wake(&mut self, number: RecallNumber) {
        self.runnable.push_back(number);
    }

    /// Rows of a stripe are about to be dropped: those of higher generations than `kept`.
    pub(super) fn truncate(&mut self, slot: Slot, kept: Generation, rows: &Rows) {
        for asked in self.jobs.values_mut().filter(|asked| asked.slot == slot) {
            asked.job.truncate(kept, rows);
        }
    }

    /// How many have begun and are not done.
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether one can go on.
    pub(super) fn is_runnable(&self) -> bool {
        !self.runnable.is_empty()
    }
}

/// The stripes whose upkeep is not settled, each once, in turn.
#[derive(Debug, Default)]
pub(super) struct Restless {
    turns: VecDeque<Slot>,
    /// By slot: whether it stands in `turns`.
    waits: Vec<bool>,
}

impl Restless {
    /// Whether the stripe is known not to be settled.
    pub(super) fn has(&self, slot: Slot) -> bool {
        self.waits.get(slot.0).is_some_and(|waits| *waits)
    }

    /// The stripe is not settled; it may be known already.
    pub(super) fn enter(&mut self, slot: Slot) {
        if self.waits.len() <= slot.0 {
            self.waits.resize(slot.0 + 1, false);
        }
        if !std::mem::replace(&mut self.waits[slot.0], true) {
            self.turns.push_back(slot);
        }
    }

    /// Whose turn it is.
    pub(super) fn current(&self) -> Option<Slot> {
        self.turns.front().copied()
    }

    /// The current one's turn ends.
    pub(super) fn pass(&mut self) {
        self.turns.rotate_left(1);
    }

    /// The current one is settled.
    pub(super) fn leave(&mut self) {
        let slot = self.turns.pop_front().expect("the current stripe");
        self.waits[slot.0] = false;
    }

    /// The stripe is to be left alone for a while.
    pub(super) fn remove(&mut self, slot: Slot) {
        if self.has(slot) {
            self.turns.retain(|other| *other != slot);
            self.waits[slot.0] = false;
        }
    }

    /// Whether all are settled.
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}

/// The stripes whose tail is overlong.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    turns: VecDeque<Turn>,
}

#[derive(Debug)]
struct Turn {
    slot: Slot,
    /// Below zero where its last row took more than there was left: its next turn is shorter by that.
    distances_left: i64,
}

impl Rotation {
    /// The stripe's tail is overlong, and was not before.
    pub(super) fn enter(&mut self, slot: Slot) {
        self.turns.push_back(Turn { slot, distances_left: QUANTUM_DISTANCES.into() });
    }

    /// Whose turn it is.
    pub(super) fn current(&self) -> Option<Slot> {
        self.turns.front().map(|turn| turn.slot)
    }

    /// The current one has inserted a row and has more: its turn ends once it has spent its share.
    pub(super) fn spend(&mut self, distances: u32) {
        let turn = self.turns.front_mut().expect("the current stripe");
        turn.distances_left -= i64::from(distances);
        if turn.distances_left <= 0 {
            turn.distances_left += i64::from(QUANTUM_DISTANCES);
            self.turns.rotate_left(1);
        }
    }

    /// The current one's tail is overlong no more.
    pub(super) fn leave(&mut self) {
        self.turns.pop_front().expect("the current stripe");
    }

    /// The stripe is to be left alone for a while, if its tail is overlong.
    pub(super) fn remove(&mut self, slot: Slot) {
        self.turns.retain(|turn| turn.slot != slot);
    }

    /// Whether no stripe's tail is overlong.
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}
