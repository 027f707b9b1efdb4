//! Where each row stands: outside the graph, in it, or gone from it.
//!
//! ```text
//!  push ─► Waiting ──insert──► Alive ──remove──► Removed ──mend──► Leaving ──mend──► Gone ─► push
//!             └──remove──► Dropped ──its turn────────────────────────────────────────┘
//! ```
//! A row at which searches start is not taken out: once removed it is a ghost for ever.

use crate::vector::arena::Arena;

/// Where a row stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// Outside the graph; it waits for its turn.
    #[default]
    Waiting,
    /// Removed while it waited.
    Dropped,
    /// In the graph, to be found.
    Alive,
    /// Removed, and left where it is for ever: searches start at it.
    Ghost,
    /// Removed; all its links are as they were.
    Removed,
    /// It is no one's parent or child; links still lead to it, and from it.
    Leaving,
    /// No link leads to it or from it. Another row may take its slot.
    Gone,
}

const STATES: usize = State::Gone as usize + 1;

impl State {
    /// Whether links lead to such a row.
    #[inline]
    pub(super) fn is_linked(self) -> bool {
        matches!(self, State::Alive | State::Ghost | State::Removed | State::Leaving)
    }
}

/// The state of each row, and how many are in each.
#[derive(Clone, Debug)]
pub(super) struct States {
    states: Arena<State>,
    counts: [u32; STATES],
}

impl States {
    /// No rows.
    pub(super) fn new() -> States {
        States { states: Arena::new(1), counts: [0; STATES] }
    }

    /// Bytes of RAM that they take.
    pub(super) fn bytes(&self) -> u64 {
        self.states.bytes()
    }

    /// Adds a row that waits.
    pub(super) fn push(&mut self) {
        self.states.push();
        self.counts[State::default() as usize] += 1;
    }

    /// Drops the last row.
    pub(super) fn pop(&mut self) {
        let last = self.states.len() - 1;
        self.counts[self.of(last) as usize] -= 1;
        self.states.truncate(last);
    }

    /// The state of `row`.
    #[inline]
    pub(super) fn of(&self, row: u32) -> State {
        self.states[row]
    }

    /// Whether `row` is in the graph, to be found.
    #[inline]
    pub(super) fn is_alive(&self, row: u32) -> bool {
        self.states[row] == State::Alive
    }

    /// Whether links lead to `row`.
    #[inline]
    pub(super) fn is_linked(&self, row: u32) -> bool {
        self.states[row].is_linked()
    }

    /// Whether all rows to which links lead are alive.
    pub(super) fn are_all_alive(&self) -> bool {
        [State::Ghost, State::Removed, State::Leaving].iter().all(|state| self.count(*state) == 0)
    }

    /// Rows of this state.
    pub(super) fn count(&self, state: State) -> u32 {
        self.counts[state as usize]
    }

    /// Gives `row` another state.
    pub(super) fn set(&mut self, row: u32, state: State) {
        self.counts[self.of(row) as usize] -= 1;
        self.counts[state as usize] += 1;
        self.states[row] = state;
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
    /// Those that leave, from this row.
    Go(u32),
}
