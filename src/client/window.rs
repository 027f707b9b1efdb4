//! Which observation of a stream goes next, and whether every answer comes in its turn. Knows no transport and no clock:
//! time is the time since the run began, given with each call.
//!
//! A refusal for overload refuses everything behind it too, until it has been sent again. So the window goes back: it
//! waits until all that is under way is answered and the time to come back has passed, and then sends from the refused
//! one on, in order.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// What a stream has to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Observations in all; their sequences are 1 to this.
    pub count: u64,
    /// At most so many are under way.
    pub window: u64,
    /// When each is due, whatever became of those before it; `None`: as soon as there is room.
    pub schedule: Option<Schedule>,
}

/// When observations are due: an open loop, whose latencies count from here and so hide no wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// When the first is due.
    pub first: Duration,
    /// Seconds from each to the next.
    pub interval_s: f64,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    /// Send this sequence, and say so to [`Window::handle_sent`].
    Send(u64),
    /// Nothing before this time, unless an answer comes.
    Until(Duration),
    /// Nothing before an answer comes.
    Answer,
    /// All is acked.
    Done,
}

/// What the server answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// These are durable.
    Accepted {
        /// First sequence.
        first: u64,
        /// Last sequence.
        last: u64,
    },
    /// This one is refused.
    Refused {
        /// Its sequence.
        sequence: u64,
        /// When to come back; none where that would not help.
        retry_after: Option<Duration>,
        /// Why.
        message: String,
    },
}

/// An answer that must not be: something would be lost, or told twice.
#[derive(Clone, Debug, PartialEq)]
pub enum Violation {
    /// An ack for others than those whose turn it is.
    AckOutOfTurn {
        /// The sequence that must come next.
        expected: u64,
        /// First one acked.
        first: u64,
        /// Last one acked.
        last: u64,
    },
    /// A refusal of something that is not under way.
    RefusalOutOfTurn {
        /// The sequence refused.
        sequence: u64,
    },
    /// A refusal that no waiting mends.
    Refused {
        /// The sequence refused.
        sequence: u64,
        /// Why.
        message: String,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::AckOutOfTurn { expected, first, last } => {
                write!(f, "acked {first} to {last}, but the turn is at {expected}")
            }
            Violation::RefusalOutOfTurn { sequence } => {
                write!(f, "refused {sequence}, which is not under way")
            }
            Violation::Refused { sequence, message } => write!(f, "refused {sequence}: {message}"),
        }
    }
}

impl std::error::Error for Violation {}

/// The state of one stream.
#[derive(Debug)]
pub struct Window {
    plan: Plan,
    /// All up to here are acked.
    acked: u64,
    /// All up to here are sent, in this turn.
    sent: u64,
    /// Sent and not answered.
    under_way: u64,
    /// The start of the latency of `acked + 1` and those behind it, as far as they were ever sent.
    began: VecDeque<Duration>,
    /// Set while the window goes back.
    back: Option<Back>,
    refusals: u64,
}

#[derive(Clone, Copy, Debug)]
struct Back {
    /// The sequence to send from.
    to: u64,
    /// Not before this.
    at: Duration,
}

impl Window {
    /// A stream that has sent nothing.
    pub fn new(plan: Plan) -> Window {
        assert!(plan.window > 0, "nothing would ever be sent");
        let began = VecDeque::new();
        Window { plan, acked: 0, sent: 0, under_way: 0, began, back: None, refusals: 0 }
    }

    /// All up to this sequence are acked.
    pub fn acked(&self) -> u64 {
        self.acked
    }

    /// How often an observation was refused for overload and went again.
    pub fn refusals(&self) -> u64 {
        self.refusals
    }

    /// Sent and not answered.
    pub fn under_way(&self) -> u64 {
        self.under_way
    }

    /// Nothing goes for the first time any more; what was refused still goes again.
    pub fn stop(&mut self) {
        self.plan.count = self.acked + self.began.len() as u64;
    }

    /// What to do at `now`. The answer changes with time and with every `handle_*`.
    pub fn next(&self, now: Duration) -> Next {
        if self.acked == self.plan.count {
            return Next::Done;
        }
        let (next, due) = match self.back {
            Some(_) if self.under_way > 0 => return Next::Answer,
            Some(back) => (back.to, back.at),
            None => (self.sent + 1, self.due(self.sent + 1)),
        };
        if next > self.plan.count || self.under_way >= self.plan.window {
            return Next::Answer;
        }
        if now < due { Next::Until(due) } else { Next::Send(next) }
    }

    /// `sequence` was sent, as [`Window::next`] said.
    pub fn handle_sent(&mut self, sequence: u64, now: Duration) {
        let expected = self.back.take().map_or(self.sent + 1, |back| back.to);
        assert_eq!(sequence, expected, "sent in order");
        self.sent = sequence;
        self.under_way += 1;
        if sequence > self.acked + self.began.len() as u64 {
            self.began.push_back(self.plan.schedule.map_or(now, |_| self.due(sequence)));
        }
    }

    /// Takes an answer; `latency` gets that of each observation that it acks.
    pub fn handle_answer(
        &mut self,
        answer: Answer,
        now: Duration,
        mut latency: impl FnMut(Duration),
    ) -> Result<(), Violation> {
        match answer {
            Answer::Accepted { first, last } => {
                let expected = self.acked + 1;
                let count = (last + 1).saturating_sub(first);
                // While going back, nothing behind the refused one may be acked.
                let newest = self.back.map_or(self.sent, |back| back.to - 1);
                if first != expected || last < first || last > newest || count > self.under_way {
                    return Err(Violation::AckOutOfTurn { expected, first, last });
                }
                self.acked = last;
                self.under_way -= count;
                let began =
                    self.began.drain(..usize::try_from(count).expect("the window is in memory"));
                began.for_each(|began| latency(now.saturating_sub(began)));
                Ok(())
            }
            Answer::Refused { sequence, retry_after, message } => {
                self.refuse(sequence, retry_after, message, now)
            }
        }
    }

    fn refuse(
        &mut self,
        sequence: u64,
        retry_after: Option<Duration>,
        message: String,
        now: Duration,
    ) -> Result<(), Violation> {
        if sequence <= self.acked || sequence > self.sent || self.under_way == 0 {
            return Err(Violation::RefusalOutOfTurn { sequence });
        }
        match (self.back, retry_after) {
            // What follows a refused one is refused as well; it goes again with it.
            (Some(back), _) if sequence > back.to => {}
            (Some(_), _) => return Err(Violation::RefusalOutOfTurn { sequence }),
            (None, None) => return Err(Violation::Refused { sequence, message }),
            (None, Some(retry_after)) => {
                self.refusals += 1;
                self.back = Some(Back { to: sequence, at: now + retry_after });
            }
        }
        self.under_way -= 1;
        Ok(())
    }

    fn due(&self, sequence: u64) -> Duration {
        self.plan.schedule.map_or(Duration::ZERO, |schedule| {
            let offset = (sequence - 1) as f64 * schedule.interval_s;
            schedule.first + Duration::from_secs_f64(offset)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn window(count: u64, window: u64) -> Window {
        Window::new(Plan { count, window, schedule: None })
    }

    fn send(window: &mut Window, now: Duration) -> Vec<u64> {
        let mut sent = Vec::new();
        while let Next::Send(sequence) = window.next(now) {
            window.handle_sent(sequence, now);
            sent.push(sequence);
        }
        sent
    }

    fn accept(window: &mut Window, first: u64, last: u64) -> Result<(), Violation> {
        window.handle_answer(Answer::Accepted { first, last }, 9 * MS, |_| {})
    }

    fn refuse(
        window: &mut Window,
        sequence: u64,
        after: Option<Duration>,
    ) -> Result<(), Violation> {
        let message = "queue".to_owned();
        let answer = Answer::Refused { sequence, retry_after: after, message };
        window.handle_answer(answer, 9 * MS, |_| panic!("a refusal has no latency"))
    }

    #[test]
    fn no_more_than_the_window_is_under_way_and_all_is_acked_in_the_end() {
        let mut stream = window(5, 3);
        assert_eq!(send(&mut stream, MS), [1, 2, 3]);
        assert_eq!(stream.next(MS), Next::Answer);
        accept(&mut stream, 1, 2).expect("in turn");
        assert_eq!(send(&mut stream, MS), [4, 5]);
        accept(&mut stream, 3, 5).expect("in turn");
        assert_eq!(stream.next(MS), Next::Done);
        assert_eq!(stream.acked(), 5);
    }

    #[test]
    fn acks_out_of_turn_are_told() {
        for (first, last) in [(2, 2), (1, 4), (0, 1), (1, 0)] {
            let mut stream = window(5, 3);
            send(&mut stream, MS);
            let told = accept(&mut stream, first, last);
            assert_eq!(told, Err(Violation::AckOutOfTurn { expected: 1, first, last }));
        }
        let mut stream = window(5, 3);
        send(&mut stream, MS);
        accept(&mut stream, 1, 1).expect("in turn");
        accept(&mut stream, 1, 1).expect_err("told twice");
    }

    #[test]
    fn a_schedule_is_kept_and_latency_counts_from_it() {
        let schedule = Some(Schedule { first: 10 * MS, interval_s: 0.002 });
        let mut stream = Window::new(Plan { count: 3, window: 1, schedule });
        assert_eq!(stream.next(MS), Next::Until(10 * MS));
        assert_eq!(send(&mut stream, 13 * MS), [1]);
        let answer = Answer::Accepted { first: 1, last: 1 };
        let mut told = Vec::new();
        stream.handle_answer(answer, 15 * MS, |latency| told.push(latency)).expect("in turn");
        assert_eq!(told, [5 * MS], "since it was due, not since it was sent");
        assert_eq!(stream.next(11 * MS), Next::Until(12 * MS));
    }

    #[test]
    fn a_refused_one_and_all_behind_it_go_again_in_order() {
        let mut stream = window(6, 4);
        assert_eq!(send(&mut stream, MS), [1, 2, 3, 4]);
        accept(&mut stream, 1, 1).expect("in turn");
        assert_eq!(send(&mut stream, 2 * MS), [5]);
        refuse(&mut stream, 2, Some(5 * MS)).expect("overload may be");
        for sequence in [3, 4] {
            assert_eq!(stream.next(60 * MS), Next::Answer, "until all under way is answered");
            refuse(&mut stream, sequence, None).expect("it follows");
        }
        assert!(accept(&mut stream, 2, 2).is_err(), "the refused one is not acked");
        refuse(&mut stream, 5, None).expect("it follows");
        assert_eq!(stream.next(10 * MS), Next::Until(14 * MS));
        assert_eq!(send(&mut stream, 14 * MS), [2, 3, 4, 5]);
        let mut told = Vec::new();
        let answer = Answer::Accepted { first: 2, last: 5 };
        stream.handle_answer(answer, 21 * MS, |latency| told.push(latency)).expect("in turn");
        assert_eq!(told, [20 * MS, 20 * MS, 20 * MS, 19 * MS], "since they were first sent");
        assert_eq!(send(&mut stream, 21 * MS), [6]);
        assert_eq!(stream.refusals(), 1);
    }

    #[test]
    fn a_stopped_stream_ends_once_all_that_it_ever_sent_is_acked() {
        let mut stream = window(100, 4);
        assert_eq!(send(&mut stream, MS), [1, 2, 3, 4]);
        accept(&mut stream, 1, 2).expect("in turn");
        refuse(&mut stream, 3, Some(MS)).expect("overload may be");
        stream.stop();
        assert_eq!((stream.under_way(), stream.next(60 * MS)), (1, Next::Answer));
        refuse(&mut stream, 4, None).expect("it follows");
        assert_eq!(send(&mut stream, 60 * MS), [3, 4]);
        accept(&mut stream, 3, 4).expect("in turn");
        assert_eq!((stream.next(60 * MS), stream.acked()), (Next::Done, 4));
    }

    #[test]
    fn refusals_that_waiting_does_not_mend_are_told() {
        let mut stream = window(5, 3);
        send(&mut stream, MS);
        let told = refuse(&mut stream, 1, None).expect_err("no time to come back");
        assert_eq!(told, Violation::Refused { sequence: 1, message: "queue".into() });
        refuse(&mut stream, 4, Some(MS)).expect_err("it was never sent");
        accept(&mut stream, 1, 1).expect("in turn");
        refuse(&mut stream, 1, Some(MS)).expect_err("it is acked");
    }
}
