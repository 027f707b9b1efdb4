//! Rows that arrive, and those that went: what is outside the graph.

use crate::ids::Row;
use crate::vector::codes::Codes;

use super::Index;
use super::states::State;

impl Index {
    /// Adds a row in a slot of its own, outside the graph.
    pub fn push(&mut self, codes: &Codes) -> Row {
        self.states.push();
        let row = self.rows.push(codes);
        self.slots.waiting.push_back(row);
        Row(row)
    }

    /// Adds a row in the slot of the one that [`Index::first_gone`] names, outside the graph; there
    /// must be one, and nobody may care for it any more.
    pub fn push_again(&mut self, codes: &Codes) -> Row {
        let row = self.slots.gone.pop_front().expect("a slot that may be used again");
        self.states.set(row, State::Waiting);
        self.rows.put(row, codes);
        self.slots.waiting.push_back(row);
        Row(row)
    }

    /// Drops the row that arrived last, which must be outside the graph. Its slot is used next, as
    /// if it had not been.
    pub fn drop_last(&mut self) -> Row {
        let row = self.slots.waiting.pop_back().expect("only rows outside the graph are dropped");
        if row < self.bottom.len() {
            self.states.set(row, State::Gone);
            self.slots.gone.push_front(row);
        } else {
            assert_eq!(row + 1, self.len_slots(), "new slots are taken in their order");
            self.states.pop();
            self.rows.truncate(row);
        }
        Row(row)
    }

    /// The row that left the graph first of those whose slots were not used again, and how many
    /// had left it then, this one included.
    pub fn first_gone(&self) -> Option<(Row, u64)> {
        let row = self.slots.gone.front()?;
        Some((Row(*row), self.slots.departed - self.slots.gone.len() as u64 + 1))
    }

    /// Rows that are in no graph: those to be inserted, in that order.
    pub fn waiting(&self) -> impl DoubleEndedIterator<Item = Row> + ExactSizeIterator {
        self.slots.waiting.iter().map(|row| Row(*row))
    }

    /// Which row is to be inserted after so many others.
    pub fn waiting_at(&self, place: u32) -> Row {
        Row(self.slots.waiting[place as usize])
    }

    /// Slots: all rows have numbers below it.
    pub fn len_slots(&self) -> u32 {
        self.rows.len()
    }

    /// Slots that were taken into the graph: all rows of the graph have numbers below it.
    pub fn nodes(&self) -> u32 {
        self.bottom.len()
    }

    /// Whether `row` is in the graph, and was not removed.
    #[inline]
    pub fn is_alive(&self, row: Row) -> bool {
        self.states.is_alive(row.0)
    }

    /// Whether there is a row in this slot that was not removed, in the graph or outside.
    pub fn is_held(&self, row: Row) -> bool {
        matches!(self.states.of(row.0), State::Waiting | State::Alive)
    }

    /// Whether no row in the graph was removed.
    pub fn are_all_alive(&self) -> bool {
        self.states.are_all_alive()
    }

    /// Rows that are gone and whose slots were not used again: no search meets them, whatever is
    /// visible.
    pub fn gone(&self) -> u32 {
        self.slots.gone.len() as u32
    }

    /// How many rows ever left the graph.
    pub fn departed(&self) -> u64 {
        self.slots.departed
    }

    /// How many rows ever had their turn: they were put into the graph, or were removed before.
    pub fn inserted(&self) -> u64 {
        self.slots.inserted
    }
}
