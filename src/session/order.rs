//! The order rules of one session, without I/O: which number may come, and what is told when.
//!
//! Numbers rise by one. A number is *in flight* from the moment it is handed over until its ack is told. Refusals keep
//! their place: each waits until all that came before it is acked, and nothing that came after it is acked before.

use std::collections::VecDeque;

use engram_shards::ids::Time;

use super::event::{AckMode, Refused};

/// What a number that arrives is to the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The one that was expected.
    Next,
    /// Durable and acked already: acked again at once, not stored twice.
    Repeat,
    /// Handed over, its ack is still to come: nothing to do.
    InFlight,
    /// Neither; `expected` should have come.
    Gap {
        /// The number that should have come.
        expected: u64,
    },
}

/// What is told next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    /// `first..=last` are durable.
    Accepted {
        first: u64,
        last: u64,
        /// Id of the last one's memory; `None` where the client gave none.
        memory_id: Option<Box<str>>,
        committed_at: Time,
    },
    /// This number is refused.
    Refused {
        sequence: u64,
        memory_id: String,
        why: Refused,
    },
}

/// An observation on its way.
#[derive(Debug)]
struct Flight {
    /// As the client gave it.
    memory_id: Option<Box<str>>,
    committed_at: Option<Time>,
}

/// A refusal that waits for its turn.
#[derive(Debug)]
struct Waiting {
    /// Everything up to this number is acked first.
    after: u64,
    sequence: u64,
    memory_id: String,
    why: Refused,
}

/// The order of one session.
#[derive(Debug)]
pub(crate) struct Order {
    /// Everything up to this number is durable and acked.
    told: u64,
    /// A time by which all of that had been committed.
    told_by: Time,
    /// `told + 1` and what follows it, without gaps.
    flights: VecDeque<Flight>,
    /// In order of arrival, so `after` never falls.
    refusals: VecDeque<Waiting>,
    /// Numbers that came again.
    repeats: VecDeque<(u64, Option<Box<str>>)>,
}

impl Order {
    /// A session whose last durable number is `durable`, at `now`.
    pub(crate) fn new(durable: u64, now: Time) -> Order {
        Order {
            told: durable,
            told_by: now,
            flights: VecDeque::new(),
            refusals: VecDeque::new(),
            repeats: VecDeque::new(),
        }
    }

    /// The number that should come next.
    pub(crate) fn expected(&self) -> u64 {
        self.told + self.flights.len() as u64 + 1
    }

    /// The last number that is durable and acked.
    pub(crate) fn told(&self) -> u64 {
        self.told
    }

    /// How many answers wait that no credit bounds.
    pub(crate) fn unbounded_len(&self) -> usize {
        self.refusals.len() + self.repeats.len()
    }

    /// Whether nothing is in flight and nothing waits to be told.
    pub(crate) fn is_settled(&self) -> bool {
        self.flights.is_empty() && self.refusals.is_empty() && self.repeats.is_empty()
    }

    /// What `sequence` is now.
    pub(crate) fn arrival(&self, sequence: u64) -> Arrival {
        let expected = self.expected();
        if sequence == expected {
            Arrival::Next
        } else if sequence > expected || sequence == 0 {
            Arrival::Gap { expected }
        } else if sequence <= self.told {
            Arrival::Repeat
        } else {
            Arrival::InFlight
        }
    }

    /// The expected number was handed over.
    pub(crate) fn hand_over(&mut self, memory_id: Option<Box<str>>) {
        self.flights.push_back(Flight {
            memory_id,
            committed_at: None,
        });
    }

    /// A number that had been acked came again.
    pub(crate) fn repeat(&mut self, sequence: u64, memory_id: Option<Box<str>>) {
        assert!(
            sequence >= 1 && sequence <= self.told,
            "only what was acked can be acked again"
        );
        self.repeats.push_back((sequence, memory_id));
    }

    /// `sequence` is refused; what came before it is acked first.
    pub(crate) fn refuse(&mut self, sequence: u64, memory_id: String, why: Refused) {
        let after = self.expected() - 1;
        self.refusals.push_back(Waiting {
            after,
            sequence,
            memory_id,
            why,
        });
    }

    /// `first..=last` became durable. Over several stripes, runs may come in any order.
    pub(crate) fn handle_durable(&mut self, first: u64, last: u64, committed_at: Time) {
        assert!(
            self.told < first && first <= last && last < self.expected(),
            "a reply about what is not in flight"
        );
        for sequence in first..=last {
            let flight = &mut self.flights[(sequence - self.told - 1) as usize];
            assert!(
                flight.committed_at.is_none(),
                "an observation becomes durable once"
            );
            flight.committed_at = Some(committed_at);
        }
    }

    /// What is to be told next, if anything is.
    pub(crate) fn next(&mut self, mode: AckMode) -> Option<Told> {
        if let Some((sequence, memory_id)) = self.repeats.pop_front() {
            let committed_at = self.told_by;
            return Some(Told::Accepted {
                first: sequence,
                last: sequence,
                memory_id,
                committed_at,
            });
        }
        if self
            .refusals
            .front()
            .is_some_and(|refusal| refusal.after == self.told)
        {
            let Waiting {
                sequence,
                memory_id,
                why,
                ..
            } = self.refusals.pop_front()?;
            return Some(Told::Refused {
                sequence,
                memory_id,
                why,
            });
        }
        let limit = self
            .refusals
            .front()
            .map_or(u64::MAX, |refusal| refusal.after);
        let first = self.told + 1;
        let mut last_memory_id = None;
        while self.told < limit
            && self
                .flights
                .front()
                .is_some_and(|flight| flight.committed_at.is_some())
        {
            let Flight {
                memory_id,
                committed_at,
            } = self.flights.pop_front()?;
            self.told += 1;
            self.told_by = self.told_by.max(committed_at?);
            last_memory_id = memory_id;
            if mode == AckMode::Each {
                break;
            }
        }
        (self.told >= first).then(|| Told::Accepted {
            first,
            last: self.told,
            memory_id: last_memory_id,
            committed_at: self.told_by,
        })
    }
}
