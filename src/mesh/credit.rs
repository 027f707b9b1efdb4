//! Credits that one core holds of one lane of one stripe.

use engram_shards::ids::Time;
use engram_shards::message::Pressure;

use super::frame::Address;
use crate::limits::{
    CREDIT_CHUNK_MICROS, CREDIT_CHUNK_MIN, CREDIT_IDLE_MICROS, CREDIT_REFUSAL_MICROS_MAX,
};

/// Asks for `chunk` credits ahead, again when half of them are used, so that a steady stream never
/// waits.
#[derive(Debug)]
pub(crate) struct CreditPool {
    chunk_max: u32,
    /// About as many as are used in [`CREDIT_CHUNK_MICROS`].
    chunk: u32,
    asked_at: Time,
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
    /// One that asks for `chunk_max` credits at once at most.
    pub(crate) fn new(chunk_max: u32) -> CreditPool {
        CreditPool {
            chunk_max,
            chunk: CREDIT_CHUNK_MIN.min(chunk_max),
            asked_at: Time(0),
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
    pub(crate) fn wish(&mut self, now: Time) -> Option<u32> {
        if self.asked.is_some() || self.refused.is_some() || self.free > self.chunk / 2 {
            return None;
        }
        let chunk = match now.micros_since(self.asked_at) {
            ..CREDIT_CHUNK_MICROS => 2 * self.chunk,
            _ => self.chunk / 2,
        };
        self.chunk = chunk.clamp(CREDIT_CHUNK_MIN.min(self.chunk_max), self.chunk_max);
        self.asked_at = now;
        self.asked = Some(self.chunk);
        self.asked
    }

    /// The owner has answered. Returns the ports that waited for it.
    pub(crate) fn handle_answer(
        &mut self,
        granted: u32,
        pressure: Pressure,
        now: Time,
    ) -> Vec<Address> {
        self.asked.take().expect("an owner answers what it was asked");
        self.free += granted;
        if granted == 0 {
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
        if self.free == 0 || !self.is_idle(now) {
            return None;
        }
        Some(std::mem::take(&mut self.free))
    }

    /// Whether it is of no use any more: a new one would do as well.
    pub(crate) fn is_spent(&self, now: Time) -> bool {
        let is_quiet = self.asked.is_none() && self.waiting.is_empty();
        self.free == 0 && is_quiet && self.is_idle(now)
    }

    fn is_idle(&self, now: Time) -> bool {
        now.micros_since(self.used_at) >= CREDIT_IDLE_MICROS
    }

    /// The owner has failed: the ports that waited.
    pub(crate) fn fail(self) -> Vec<Address> {
        self.waiting
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

    /// A pool that was granted its first wish at `now`.
    fn granted(chunk_max: u32, now: Time) -> CreditPool {
        let mut pool = CreditPool::new(chunk_max);
        assert_eq!(pool.take(PORT, now), Taken::Wait);
        let asked = pool.wish(now).expect("it has none");
        assert_eq!(pool.handle_answer(asked, PRESSURE, now), [PORT]);
        pool
    }

    /// Takes credits until it asks for more, at `now`.
    fn take_until_it_asks(pool: &mut CreditPool, now: Time) -> (u32, u32) {
        for taken in 1.. {
            assert_eq!(pool.take(PORT, now), Taken::Yes);
            if let Some(asked) = pool.wish(now) {
                assert_eq!(pool.wish(now), None, "one question at a time");
                return (taken, asked);
            }
        }
        unreachable!("it has no end of credits");
    }

    const SOON: u64 = CREDIT_CHUNK_MICROS - 1;

    #[test]
    fn asks_ahead_and_again_below_half() {
        let mut pool = granted(1, Time(CREDIT_CHUNK_MICROS));
        assert_eq!(take_until_it_asks(&mut pool, Time(CREDIT_CHUNK_MICROS)), (1, 1));
        let mut pool = granted(40, Time(CREDIT_CHUNK_MICROS));
        let later = Time(3 * CREDIT_CHUNK_MICROS);
        assert_eq!(take_until_it_asks(&mut pool, later), (CREDIT_CHUNK_MIN / 2, CREDIT_CHUNK_MIN));
    }

    #[test]
    fn asks_for_as_many_as_are_used_within_its_time() {
        let mut now = Time(CREDIT_CHUNK_MICROS);
        let mut pool = granted(100, now);
        for expected in [16, 32, 64, 100, 100] {
            now = now.after_micros(SOON);
            let (_, asked) = take_until_it_asks(&mut pool, now);
            assert_eq!(asked, expected, "used up soon: twice as many");
            pool.handle_answer(asked, PRESSURE, now);
        }
        for expected in [50, 25, 12, 8, 8] {
            now = now.after_micros(CREDIT_CHUNK_MICROS);
            let (_, asked) = take_until_it_asks(&mut pool, now);
            assert_eq!(asked, expected, "used up late: half as many");
            pool.handle_answer(asked, PRESSURE, now);
        }
    }

    #[test]
    fn a_refusal_holds_for_a_moment() {
        let mut pool = CreditPool::new(1);
        assert_eq!(pool.take(PORT, Time(0)), Taken::Wait);
        assert_eq!(pool.wish(Time(0)), Some(1));
        pool.handle_answer(0, PRESSURE, Time(0));
        assert_eq!(pool.take(PORT, Time(CREDIT_REFUSAL_MICROS_MAX - 1)), Taken::Refused(PRESSURE));
        assert_eq!(pool.wish(Time(1)), None);
        assert_eq!(pool.take(PORT, Time(CREDIT_REFUSAL_MICROS_MAX)), Taken::Wait);
        assert_eq!(pool.wish(Time(CREDIT_REFUSAL_MICROS_MAX)), Some(1));
    }

    #[test]
    fn what_lies_idle_goes_back_and_then_the_pool_is_spent() {
        let begun = Time(CREDIT_CHUNK_MICROS);
        let mut pool = granted(40, begun);
        assert_eq!(pool.take(PORT, begun), Taken::Yes);
        let idle = begun.after_micros(CREDIT_IDLE_MICROS);
        assert_eq!(pool.idle(Time(idle.0 - 1)), None);
        assert!(!pool.is_spent(idle), "it has credits");
        assert_eq!(pool.idle(idle), Some(CREDIT_CHUNK_MIN - 1));
        assert_eq!(pool.idle(idle), None);
        assert!(!pool.is_spent(Time(idle.0 - 1)));
        assert!(pool.is_spent(idle));
        assert_eq!(pool.take(PORT, idle), Taken::Wait);
        pool.wish(idle);
        assert!(!pool.is_spent(idle.after_micros(CREDIT_IDLE_MICROS)), "someone waits");
    }
}
