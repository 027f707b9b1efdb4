//! INDEXED acks: what of the accepted observations waits for nothing any more.
//!
//! The owners are asked one question at a time, about all that was accepted until then.

use std::collections::VecDeque;

/// An ACCEPTED ack that was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) memory_id: String,
}

/// What was accepted and not told to be indexed.
#[derive(Debug, Default)]
pub(super) struct Indexing {
    /// In the order of their acks.
    accepted: VecDeque<Accepted>,
    /// So many of the first are indexed.
    indexed: usize,
    /// So many of those behind them were accepted when the owners were asked.
    asked: usize,
    /// Owners that have not answered.
    unanswered: usize,
}

impl Indexing {
    /// These were accepted.
    pub(super) fn accept(&mut self, accepted: Accepted) {
        self.accepted.push_back(accepted);
    }

    /// How many are not told to be indexed.
    pub(super) fn len(&self) -> usize {
        self.accepted.len()
    }

    /// Whether all are.
    pub(super) fn is_empty(&self) -> bool {
        self.accepted.is_empty()
    }

    /// Whether the owners, so many, are to be asked now; then they are.
    pub(super) fn ask(&mut self, owners: usize) -> bool {
        let behind = self.accepted.len() - self.indexed;
        if self.unanswered > 0 || behind == 0 {
            return false;
        }
        (self.asked, self.unanswered) = (behind, owners);
        true
    }

    /// One of the owners that were asked has answered.
    pub(super) fn handle_placed(&mut self) {
        assert!(self.unanswered > 0, "an owner answers what it was asked");
        self.unanswered -= 1;
        if self.unanswered == 0 {
            self.indexed += std::mem::take(&mut self.asked);
        }
    }

    /// The next to be told.
    pub(super) fn next(&mut self) -> Option<Accepted> {
        self.indexed = self.indexed.checked_sub(1)?;
        self.accepted.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(number: u64) -> Accepted {
        Accepted { first: number, last: number, memory_id: String::new() }
    }

    #[test]
    fn an_answer_covers_what_was_accepted_before_its_question() {
        let mut indexing = Indexing::default();
        assert!(!indexing.ask(2), "there is nothing to ask about");
        indexing.accept(accepted(1));
        indexing.accept(accepted(2));
        assert!(indexing.ask(2));
        indexing.accept(accepted(3));
        assert!(!indexing.ask(2), "one question at a time");
        indexing.handle_placed();
        assert_eq!(indexing.next(), None, "one owner is silent");
        indexing.handle_placed();
        assert_eq!(indexing.next(), Some(accepted(1)));
        assert!(indexing.ask(2), "about the third");
        assert_eq!(indexing.next(), Some(accepted(2)));
        assert_eq!(indexing.next(), None);
        indexing.handle_placed();
        indexing.handle_placed();
        assert_eq!(indexing.next(), Some(accepted(3)));
        assert!(indexing.is_empty() && !indexing.ask(2));
    }
}
