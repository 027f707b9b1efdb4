//! The order rules of one session, without I/O: which number may come, and what is told when.
//!
//! Numbers rise by one. A number is *in flight* from the moment it is handed over until its ack is told. Refusals keep
//! their place: each waits until all that came before it is acked, and nothing that came after it is acked before.

use std::collections::VecDeque;

use engram_shards::ids::Time;

use super::event::Refused;

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
    Refused { sequence: u64, memory_id: String, why: Refused },
}

/// An observation on its way.
#[derive(Debug)]
struct Flight {
    /// As the client gave it.
    memory_id: Option<Box<str>>,
    received_at: Time,
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
    pub(crate) fn hand_over(&mut self, memory_id: Option<Box<str>>, received_at: Time) {
        self.flights.push_back(Flight { memory_id, received_at, committed_at: None });
    }

    /// When `sequence`, which is in flight, was received.
    pub(crate) fn received_at(&self, sequence: u64) -> Time {
        self.flights[self.index(sequence)].received_at
    }

    /// A number that had been acked came again.
    pub(crate) fn repeat(&mut self, sequence: u64, memory_id: Option<Box<str>>) {
        assert!(sequence >= 1 && sequence <= self.told, "only what was acked can be acked again");
        self.repeats.push_back((sequence, memory_id));
    }

    /// `sequence` is refused; what came before it is acked first.
    pub(crate) fn refuse(&mut self, sequence: u64, memory_id: String, why: Refused) {
        let after = self.expected() - 1;
        self.refusals.push_back(Waiting { after, sequence, memory_id, why });
    }

    /// `first..=last` became durable. Over several stripes, runs may come in any order.
    pub(crate) fn handle_durable(&mut self, first: u64, last: u64, committed_at: Time) {
        for sequence in first..=last {
            let index = self.index(sequence);
            let flight = &mut self.flights[index];
            assert!(flight.committed_at.is_none(), "an observation becomes durable once");
            flight.committed_at = Some(committed_at);
        }
    }

    /// What is to be told next, if anything is; one ack stands for `run_max` numbers at most.
    pub(crate) fn next(&mut self, run_max: u64) -> Option<Told> {
        if let Some((sequence, memory_id)) = self.repeats.pop_front() {
            let committed_at = self.told_by;
            return Some(Told::Accepted {
                first: sequence,
                last: sequence,
                memory_id,
                committed_at,
            });
        }
        if self.refusals.front().is_some_and(|refusal| refusal.after == self.told) {
            let Waiting { sequence, memory_id, why, .. } = self.refusals.pop_front()?;
            return Some(Told::Refused { sequence, memory_id, why });
        }
        let limit = self.refusals.front().map_or(u64::MAX, |refusal| refusal.after);
        let limit = limit.min(self.told.saturating_add(run_max));
        let first = self.told + 1;
        let mut last_memory_id = None;
        while self.told < limit
            && self.flights.front().is_some_and(|flight| flight.committed_at.is_some())
        {
            let Flight { memory_id, committed_at, .. } = self.flights.pop_front()?;
            self.told += 1;
            self.told_by = self.told_by.max(committed_at?);
            last_memory_id = memory_id;
        }
        (self.told >= first).then_some(Told::Accepted {
            first,
            last: self.told,
            memory_id: last_memory_id,
            committed_at: self.told_by,
        })
    }

    fn index(&self, sequence: u64) -> usize {
        assert!(self.told < sequence && sequence < self.expected(), "{sequence} is not in flight");
        (sequence - self.told - 1) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// What a client and a disk may do.
    #[derive(Clone, Debug)]
    enum Step {
        /// A good observation arrives, so far from the number that should come.
        Arrive(i64),
        /// The number that should come arrives and is refused for its content.
        ArriveBad,
        /// One of those in flight becomes durable.
        Durable(usize),
        /// The transport asks what to tell, so many times.
        Tell(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => Just(Step::Arrive(0)),
            2 => (-6_i64..4).prop_map(Step::Arrive),
            1 => Just(Step::ArriveBad),
            5 => (0_usize..8).prop_map(Step::Durable),
            4 => (1_usize..6).prop_map(Step::Tell),
        ];
        prop::collection::vec(step, 1..200)
    }

    /// The slow, obvious session: everything that ever arrived, in order, each with what must become of it.
    #[derive(Debug)]
    struct Model {
        /// Numbers handed over, from the first on; whether they are durable.
        flights: BTreeMap<u64, bool>,
        /// New numbers and refusals in the order in which they must be told; those told are taken off the front.
        to_tell: VecDeque<Fate>,
        expected: u64,
        acked: u64,
        repeats: VecDeque<u64>,
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Fate {
        Accepted(u64),
        Refused(u64),
    }

    impl Model {
        fn check(&mut self, told: Told) {
            match told {
                Told::Refused { sequence, .. } => {
                    assert_eq!(self.to_tell.pop_front(), Some(Fate::Refused(sequence)));
                }
                Told::Accepted { first, last, .. } if self.repeats.front() == Some(&first) => {
                    assert_eq!(first, last);
                    assert!(last <= self.acked, "only what was acked is acked again");
                    self.repeats.pop_front();
                }
                Told::Accepted { first, last, memory_id, committed_at } => {
                    for sequence in first..=last {
                        assert_eq!(self.to_tell.pop_front(), Some(Fate::Accepted(sequence)));
                        assert!(
                            self.flights[&sequence],
                            "{sequence} is acked before it is durable"
                        );
                        assert_eq!(sequence, self.acked + 1);
                        self.acked = sequence;
                    }
                    assert_eq!(memory_id.as_deref(), Some(format!("id {last}").as_str()));
                    assert!(
                        committed_at >= Time(last),
                        "told before the time of the last one's commit"
                    );
                }
            }
        }

        /// Whether there is something that must be told now.
        fn owes(&self) -> bool {
            !self.repeats.is_empty()
                || match self.to_tell.front() {
                    Some(Fate::Accepted(sequence)) => self.flights[sequence],
                    Some(Fate::Refused(_)) => true,
                    None => false,
                }
        }
    }

    fn refusal() -> Refused {
        Refused::Sequence { message: String::new() }
    }

    fn run(run_max: u64, initial: u64, steps: Vec<Step>) {
        let mut order = Order::new(initial, Time(0));
        let mut model = Model {
            flights: BTreeMap::new(),
            to_tell: VecDeque::new(),
            expected: initial + 1,
            acked: initial,
            repeats: VecDeque::new(),
        };
        for step in steps {
            match step {
                Step::Arrive(distance) => {
                    let sequence = model.expected.saturating_add_signed(distance);
                    match order.arrival(sequence) {
                        Arrival::Next => {
                            assert_eq!(sequence, model.expected);
                            order.hand_over(Some(format!("id {sequence}").into()), Time(sequence));
                            assert_eq!(order.received_at(sequence), Time(sequence));
                            model.flights.insert(sequence, false);
                            model.to_tell.push_back(Fate::Accepted(sequence));
                            model.expected += 1;
                        }
                        Arrival::Repeat => {
                            assert!(sequence >= 1 && sequence <= model.acked);
                            order.repeat(sequence, None);
                            model.repeats.push_back(sequence);
                        }
                        Arrival::InFlight => {
                            assert!(sequence > model.acked && sequence < model.expected);
                        }
                        Arrival::Gap { expected } => {
                            assert!(sequence == 0 || sequence > model.expected);
                            assert_eq!(expected, model.expected);
                            order.refuse(sequence, String::new(), refusal());
                            model.to_tell.push_back(Fate::Refused(sequence));
                        }
                    }
                }
                Step::ArriveBad => {
                    order.refuse(model.expected, String::new(), refusal());
                    model.to_tell.push_back(Fate::Refused(model.expected));
                }
                Step::Durable(index) => {
                    let waiting: Vec<u64> = model
                        .flights
                        .iter()
                        .filter(|(_, durable)| !**durable)
                        .map(|(&number, _)| number)
                        .collect();
                    if let Some(&sequence) = waiting.get(index) {
                        order.handle_durable(sequence, sequence, Time(sequence));
                        model.flights.insert(sequence, true);
                    }
                }
                Step::Tell(times) => {
                    for _ in 0..times {
                        assert_eq!(model.owes(), {
                            let told = order.next(run_max);
                            let any = told.is_some();
                            if let Some(Told::Accepted { first, last, .. }) = told {
                                assert!(last - first < run_max, "{first}..={last} in one ack");
                            }
                            if let Some(told) = told {
                                model.check(told);
                            }
                            any
                        });
                    }
                }
            }
            assert_eq!(order.expected(), model.expected);
            assert_eq!(order.told(), model.acked);
            assert_eq!(order.is_settled(), model.to_tell.is_empty() && model.repeats.is_empty());
        }
    }

    proptest! {
        #[test]
        fn what_is_told_keeps_the_order_of_what_came(
            run_max in prop::sample::select(vec![1, 2, 3, u64::MAX]),
            initial in 0_u64..5,
            steps in steps(),
        ) {
            run(run_max, initial, steps);
        }
    }

    #[test]
    fn a_cumulative_ack_stops_at_a_refusal() {
        let mut order = Order::new(0, Time(0));
        order.hand_over(None, Time(1));
        order.hand_over(None, Time(1));
        order.refuse(3, String::new(), refusal());
        order.hand_over(None, Time(2));
        order.handle_durable(1, 3, Time(9));
        let accepted = |first, last| {
            Some(Told::Accepted { first, last, memory_id: None, committed_at: Time(9) })
        };
        assert_eq!(order.next(u64::MAX), accepted(1, 2));
        assert!(matches!(order.next(u64::MAX), Some(Told::Refused { sequence: 3, .. })));
        assert_eq!(order.next(u64::MAX), accepted(3, 3));
        assert_eq!(order.next(u64::MAX), None);
        assert!(order.is_settled());
    }

    #[test]
    fn zero_is_nobodys_number() {
        let order = Order::new(5, Time(0));
        assert_eq!(order.arrival(0), Arrival::Gap { expected: 6 });
        assert_eq!(order.arrival(5), Arrival::Repeat);
    }

    #[test]
    #[should_panic(expected = "not in flight")]
    fn what_was_not_handed_over_cannot_be_durable() {
        Order::new(5, Time(0)).handle_durable(6, 6, Time(1));
    }
}
