//! Credits that one core holds of one lane of one owner.

use engram_shards::ids::Time;
use engram_shards::message::Pressure;

use super::frame::Address;
use crate::limits::{
    CREDIT_CHUNK_MAX, CREDIT_IDLE_MICROS, CREDIT_POOL_SHARE, CREDIT_REFUSAL_MICROS_MAX,
};

/// Asks for `chunk` credits ahead, again when half of them are used, so that a steady stream never
/// waits.
#[derive(Debug)]
pub(crate) struct CreditPool {
    chunk: u32,
    free: u32,
    /// How many the owner was asked for, until it answers.
    asked: Option<u32>,
    refused: Option<(Pressure, Time)>,
    waiting: Vec<Address>,
    used_at: Time,
}

/// What a pool says to the wish for one credit.
#[derive(Debug, PartialEq)]
pub(crate) enum Taken {
    /// Here it is.
    Yes,
    /// The owner has none now.
    Refused(Pressure),
    /// The owner was asked; the port is among those that are woken by its answer.
    Wait,
}

impl CreditPool {
    pub(crate) fn new(capacity: u32, cores: u16) -> CreditPool {
        let chunk = (capacity / (CREDIT_POOL_SHARE * u32::from(cores))).clamp(1, CREDIT_CHUNK_MAX);
        CreditPool {
            chunk,
            free: 0,
            asked: None,
            refused: None,
            waiting: Vec::new(),
            used_at: Time(0),
        }
    }

    /// Takes a credit for `port`.
    pub(crate) fn take(&mut self, port: Address, now: Time) -> Taken {
        self.used_at = now;
        if self.free > 0 {
            self.free -= 1;
            return Taken::Yes;
        }
        match self.refused {
            Some((pressure, until)) if now < until => return Taken::Refused(pressure),
            _ => self.refused = None,
        }
        if !self.waiting.contains(&port) {
            self.waiting.push(port);
        }
        Taken::Wait
    }

    /// How many to ask the owner for now, if any.
    pub(crate) fn wish(&mut self) -> Option<u32> {
        if self.asked.is_some() || self.refused.is_some() || self.free > self.chunk / 2 {
            return None;
        }
        self.asked = Some(self.chunk);
        self.asked
    }

    /// Whether the owner may be asked for none, only to hear how it is; then it is.
    pub(crate) fn inquire(&mut self) -> bool {
        let may = self.asked.is_none();
        if may {
            self.asked = Some(0);
        }
        may
    }

    /// The owner has answered. Returns the ports that waited for it.
    pub(crate) fn handle_answer(
        &mut self,
        granted: u32,
        pressure: Pressure,
        now: Time,
    ) -> Vec<Address> {
        let asked = self.asked.take().expect("an owner answers what it was asked");
        self.free += granted;
        if granted == 0 && asked > 0 {
            let micros = pressure.retry_after_micros.clamp(1, CREDIT_REFUSAL_MICROS_MAX);
            self.refused = Some((pressure, now.after_micros(micros)));
        }
        std::mem::take(&mut self.waiting)
    }

    /// One was taken and not used.
    pub(crate) fn give(&mut self) {
        self.free += 1;
    }

    /// What lay unused for long, to be returned to the owner.
    pub(crate) fn idle(&mut self, now: Time) -> Option<u32> {
        if self.free == 0 || now.micros_since(self.used_at) < CREDIT_IDLE_MICROS {
            return None;
        }
        Some(std::mem::take(&mut self.free))
    }

    /// The owner has failed. Returns the ports that waited.
    pub(crate) fn fail(&mut self) -> Vec<Address> {
        self.free = 0;
        self.asked = None;
        self.refused = None;
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use engram_shards::message::Level;

    use super::*;
    use crate::cores::CoreIndex;

    const PORT: Address = Address { core: CoreIndex(0), slot: 3, generation: 0 };
    const PRESSURE: Pressure = Pressure {
        depth: 9,
        capacity: 10,
        level: Level::Overloaded,
        preferred_rate: 1,
        retry_after_micros: 5_000,
    };

    #[test]
    fn asks_ahead_and_again_below_half() {
        let mut pool = CreditPool::new(640, 2);
        assert_eq!(pool.take(PORT, Time(1)), Taken::Wait);
        assert_eq!(pool.wish(), Some(40));
        assert_eq!(pool.wish(), None, "one question at a time");
        assert_eq!(pool.handle_answer(40, PRESSURE, Time(2)), [PORT]);
        for _ in 0..19 {
            assert_eq!(pool.take(PORT, Time(3)), Taken::Yes);
            assert_eq!(pool.wish(), None);
        }
        assert_eq!(pool.take(PORT, Time(3)), Taken::Yes);
        assert_eq!(pool.wish(), Some(40));
    }

    #[test]
    fn a_refusal_holds_for_a_moment() {
        let mut pool = CreditPool::new(10, 1);
        assert_eq!(pool.take(PORT, Time(0)), Taken::Wait);
        assert_eq!(pool.wish(), Some(1));
        pool.handle_answer(0, PRESSURE, Time(0));
        assert_eq!(pool.take(PORT, Time(CREDIT_REFUSAL_MICROS_MAX - 1)), Taken::Refused(PRESSURE));
        assert_eq!(pool.wish(), None);
        assert_eq!(pool.take(PORT, Time(CREDIT_REFUSAL_MICROS_MAX)), Taken::Wait);
        assert_eq!(pool.wish(), Some(1));
    }

    #[test]
    fn a_question_for_none_is_no_refusal() {
        let mut pool = CreditPool::new(640, 2);
        assert!(pool.inquire());
        assert!(!pool.inquire(), "one question at a time");
        assert_eq!(pool.take(PORT, Time(0)), Taken::Wait);
        assert_eq!(pool.handle_answer(0, PRESSURE, Time(0)), [PORT]);
        assert_eq!(pool.take(PORT, Time(0)), Taken::Wait);
        assert_eq!(pool.wish(), Some(40));
    }

    #[test]
    fn what_lies_idle_goes_back() {
        let mut pool = CreditPool::new(640, 2);
        assert_eq!(pool.take(PORT, Time(0)), Taken::Wait);
        pool.wish();
        pool.handle_answer(40, PRESSURE, Time(0));
        assert_eq!(pool.take(PORT, Time(5)), Taken::Yes);
        assert_eq!(pool.idle(Time(4 + CREDIT_IDLE_MICROS)), None);
        assert_eq!(pool.idle(Time(5 + CREDIT_IDLE_MICROS)), Some(39));
        assert_eq!(pool.idle(Time(5 + CREDIT_IDLE_MICROS)), None);
    }
}
