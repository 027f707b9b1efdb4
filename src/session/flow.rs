//! How fast a client wants what it asked for (results, events): paused, paced, or as far as it has room. Without I/O.

use engram_shards::ids::Time;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FlowAction {
    /// No results until it says [`FlowAction::Resume`], and it sends no observations.
    Pause,
    /// As before the pause.
    Resume,
    /// So many results a second; 0 stands for as fast as they come.
    Pace(f32),
    /// So many results until it speaks of its room again.
    Room(u32),
}

/// How many results may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// So many now, at least one.
    Now(usize),
    /// One after so many microseconds.
    After(u64),
    /// None before the client says so.
    Withheld,
}

/// What one client asked for so far.
#[derive(Debug, Default)]
pub struct Flow {
    paused: bool,
    room: Option<usize>,
    pace: Option<Pace>,
}

#[derive(Debug)]
struct Pace {
    per_s: f64,
    /// Results that might have been told by `at` and were not.
    saved: f64,
    at: Time,
}

/// The most that a pace saves up, in seconds: what is late is caught up with, silence is not.
const SAVED_S_MAX: f64 = 0.1;
/// The slowest pace, in results a second, so that the time to the next one is a number.
const PACE_MIN: f64 = 1e-3;

impl Flow {
    /// Does what the client asks.
    pub fn handle(&mut self, action: FlowAction, now: Time) {
        match action {
            FlowAction::Pause => self.paused = true,
            FlowAction::Resume => self.paused = false,
            FlowAction::Room(results) => self.room = Some(results as usize),
            FlowAction::Pace(per_s) => {
                let per_s = f64::from(per_s);
                self.pace =
                    (per_s > 0.0).then(|| Pace { per_s: per_s.max(PACE_MIN), saved: 1.0, at: now });
            }
        }
    }

    /// From now on everything is told as it comes.
    pub fn lift(&mut self) {
        *self = Flow::default();
    }

    /// Whether it has to resume before it may observe.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether results may have to wait for the client's word.
    pub fn is_limited(&self) -> bool {
        self.paused || self.room.is_some() || self.pace.is_some()
    }

    /// How many results may be told. Changes with the time and with the other calls.
    pub fn leave(&mut self, now: Time) -> Leave {
        let room = self.room.unwrap_or(usize::MAX);
        if self.paused || room == 0 {
            return Leave::Withheld;
        }
        let Some(pace) = &mut self.pace else {
            return Leave::Now(room);
        };
        let since_s = now.micros_since(pace.at) as f64 * 1e-6;
        let saved_max = (pace.per_s * SAVED_S_MAX).max(1.0);
        pace.saved = (pace.saved + since_s * pace.per_s).min(saved_max);
        pace.at = pace.at.max(now);
        match pace.saved >= 1.0 {
            true => Leave::Now(room.min(pace.saved as usize)),
            false => Leave::After(((1.0 - pace.saved) / pace.per_s * 1e6).ceil() as u64),
        }
    }

    /// So many results were told.
    pub fn spend(&mut self, results: usize) {
        if let Some(room) = &mut self.room {
            *room = room.saturating_sub(results);
        }
        if let Some(pace) = &mut self.pace {
            pace.saved -= results as f64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_withholds_until_resumed_whatever_else_was_said() {
        let mut flow = Flow::default();
        assert_eq!(flow.leave(Time(0)), Leave::Now(usize::MAX));
        flow.handle(FlowAction::Pause, Time(0));
        flow.handle(FlowAction::Room(5), Time(0));
        assert!(flow.is_paused() && flow.is_limited());
        assert_eq!(flow.leave(Time(1)), Leave::Withheld);
        flow.handle(FlowAction::Resume, Time(2));
        assert_eq!(flow.leave(Time(2)), Leave::Now(5));
    }

    #[test]
    fn room_is_used_up_until_there_is_more() {
        let mut flow = Flow::default();
        flow.handle(FlowAction::Room(5), Time(0));
        flow.spend(3);
        assert_eq!(flow.leave(Time(0)), Leave::Now(2));
        flow.spend(2);
        assert_eq!(flow.leave(Time(9_000_000)), Leave::Withheld);
        flow.handle(FlowAction::Room(1), Time(0));
        assert_eq!(flow.leave(Time(0)), Leave::Now(1));
    }

    #[test]
    fn a_pace_is_kept_over_any_time() {
        for (per_s, told_within_10_s) in [(0.5, 6), (10.0, 101), (1_000.0, 10_001)] {
            let mut flow = Flow::default();
            flow.handle(FlowAction::Pace(per_s), Time(0));
            let (mut now, mut told) = (0, 0);
            while now <= 10_000_000 {
                match flow.leave(Time(now)) {
                    Leave::Now(results) => {
                        told += results;
                        flow.spend(results);
                    }
                    Leave::After(micros) => now += micros,
                    Leave::Withheld => panic!("a pace is no pause"),
                }
            }
            let difference = i64::abs(told_within_10_s - told as i64);
            assert!(difference <= 1, "{told} at {per_s} a second");
        }
    }

    #[test]
    fn silence_saves_up_a_tenth_of_a_second_and_no_pace_is_none() {
        let mut flow = Flow::default();
        flow.handle(FlowAction::Pace(1_000.0), Time(0));
        assert_eq!(flow.leave(Time(60_000_000)), Leave::Now(100));
        flow.spend(100);
        assert_eq!(flow.leave(Time(60_000_000)), Leave::After(1_000));
        flow.handle(FlowAction::Pace(0.0), Time(60_000_000));
        assert!(!flow.is_limited());
        assert_eq!(flow.leave(Time(60_000_000)), Leave::Now(usize::MAX));
    }
}
