//! How long a client has said nothing, without I/O.

use std::time::Duration;

use engram_shards::ids::Time;

/// The silence of one client, and how much of it its session bears.
#[derive(Debug)]
pub(super) struct Silence {
    limit: Duration,
    heard_at: Time,
}

impl Silence {
    /// A client that has just spoken.
    pub(super) fn new(limit: Duration, now: Time) -> Silence {
        Silence { limit, heard_at: now }
    }

    /// The client speaks, or has a reason not to.
    pub(super) fn end(&mut self, now: Time) {
        self.heard_at = self.heard_at.max(now);
    }

    /// How long it may last yet; none where it has lasted too long.
    pub(super) fn left(&self, now: Time) -> Option<Duration> {
        let lasted = Duration::from_micros(now.micros_since(self.heard_at));
        self.limit.checked_sub(lasted).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lasts_from_the_last_word() {
        let mut silence = Silence::new(Duration::from_micros(100), Time(50));
        assert_eq!(silence.left(Time(50)), Some(Duration::from_micros(100)));
        assert_eq!(silence.left(Time(149)), Some(Duration::from_micros(1)));
        assert_eq!(silence.left(Time(150)), None);
        silence.end(Time(149));
        assert_eq!(silence.left(Time(150)), Some(Duration::from_micros(99)));
        // The clock was set back.
        silence.end(Time(0));
        assert_eq!(silence.left(Time(0)), Some(Duration::from_micros(100)));
        assert_eq!(silence.left(Time(249)), None);
    }
}
