//! Which rows are alive, and how far the others have left the graph.

use crate::vector::arena::Arena;

/// Where a row stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// It is to be found.
    #[default]
    Alive,
    /// Removed, and left where it is for ever: searches start at it. So is, until it is its turn to
    /// be inserted, a removed row that is not yet in the graph.
    Ghost,
    /// Removed; all its links are as they were.
    Removed,
    /// It is no one's parent or child; links still lead to it, and from it.
    Leaving,
    /// No link leads to it or from it.
    Gone,
}

/// The state of each row.
#[derive(Clone, Debug)]
pub(super) struct States {
    states: Arena<State>,
    /// Rows not alive.
    dead: u32,
    /// Rows in [`State::Removed`].
    removed: u32,
    /// Rows that are gone.
    gone: u32,
}

impl States {
    /// No rows.
    pub(super) fn new() -> States {
        States { states: Arena::new(1), dead: 0, removed: 0, gone: 0 }
    }

    /// Bytes of RAM that they take.
    pub(super) fn bytes(&self) -> u64 {
        self.states.bytes()
    }

    /// Adds a row, alive.
    pub(super) fn push(&mut self) {
        self.states.push()[0] = State::Alive;
    }

    /// Drops the rows from `len` up.
    pub(super) fn truncate(&mut self, len: u32) {
        (len..self.states.len()).for_each(|row| self.count(row, -1));
        self.states.truncate(len);
    }

    /// The state of `row`.
    #[inline]
    pub(super) fn of(&self, row: u32) -> State {
        self.states[row]
    }

    /// Whether `row` is to be found.
    #[inline]
    pub(super) fn is_alive(&self, row: u32) -> bool {
        self.states[row] == State::Alive
    }

    /// Whether all rows are.
    pub(super) fn are_all_alive(&self) -> bool {
        self.dead == 0
    }

    /// Rows in [`State::Removed`].
    pub(super) fn removed(&self) -> u32 {
        self.removed
    }

    /// Rows that are gone.
    pub(super) fn gone(&self) -> u32 {
        self.gone
    }

    /// Gives `row` another state.
    pub(super) fn set(&mut self, row: u32, state: State) {
        self.count(row, -1);
        self.states[row] = state;
        self.count(row, 1);
    }

    fn count(&mut self, row: u32, change: i32) {
        let state = self.states[row];
        let counts = [
            (&mut self.dead, state != State::Alive),
            (&mut self.removed, state == State::Removed),
            (&mut self.gone, state == State::Gone),
        ];
        for (count, _) in counts.into_iter().filter(|(_, counts)| *counts) {
            *count = count.checked_add_signed(change).expect("a row is counted once");
        }
    }
}

/// How far a round has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mending {
    #[default]
    Idle,
    /// The tree of parents, from this row.
    Orphan(u32),
    /// The links of a layer (0 is the bottom), from this node.
    Relink(usize, u32),
    /// The links of those that leave, from this row.
    Clear(u32),
}
