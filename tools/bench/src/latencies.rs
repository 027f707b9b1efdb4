//! How long things took: in microseconds, to three digits.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::rounds::median;

/// The longest that is told apart.
const MICROS_MAX: u64 = 600_000_000;

/// Many of them.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

/// What is told of them, in milliseconds; all 0 where there are none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) count: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

impl Latencies {
    /// None yet.
    pub(crate) fn new() -> Latencies {
        let histogram = Histogram::new_with_bounds(1, MICROS_MAX, 3);
        Latencies(histogram.expect("the bounds are constants"))
    }

    /// One more.
    pub(crate) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(MICROS_MAX));
    }

    /// All of another's as well.
    pub(crate) fn merge(&mut self, other: &Latencies) {
        self.0.add(&other.0).expect("the bounds are the same");
    }

    /// What is told of them.
    pub(crate) fn percentiles(&self) -> Percentiles {
        let at = |share: f64| self.0.value_at_quantile(share) as f64 / 1e3;
        let (p50_ms, p99_ms, max_ms) = (at(0.5), at(0.99), at(1.0));
        Percentiles { count: self.0.len(), p50_ms, p99_ms, max_ms }
    }
}

impl Percentiles {
    /// The median of each figure over the rounds; the count and the longest are of all of them.
    pub(crate) fn of_rounds(rounds: &[Percentiles]) -> Percentiles {
        let of = |figure: &dyn Fn(&Percentiles) -> f64| median(rounds.iter().map(figure));
        Percentiles {
            count: rounds.iter().map(|round| round.count).sum(),
            p50_ms: of(&|round| round.p50_ms),
            p99_ms: of(&|round| round.p99_ms),
            max_ms: rounds.iter().map(|round| round.max_ms).fold(0.0, f64::max),
        }
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Percentiles { count, p50_ms, p99_ms, max_ms } = self;
        write!(f, "p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms, most {max_ms:.2} ms ({count})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_all_that_was_recorded() {
        let (mut low, mut high) = (Latencies::new(), Latencies::new());
        (1..=50).for_each(|ms| low.record(Duration::from_millis(ms)));
        (51..=100).for_each(|ms| high.record(Duration::from_millis(ms)));
        low.merge(&high);
        let Percentiles { count, p50_ms, p99_ms, max_ms } = low.percentiles();
        assert_eq!(count, 100);
        for (told, expected) in [(p50_ms, 50.0), (p99_ms, 99.0), (max_ms, 100.0)] {
            assert!((told / expected - 1.0).abs() < 0.002, "{told} for {expected}");
        }
        assert_eq!(Latencies::new().percentiles().count, 0);
    }

    #[test]
    fn of_rounds_the_middle_one_is_told() {
        let round = |ms: f64| Percentiles { count: 2, p50_ms: ms, p99_ms: 10.0 - ms, max_ms: ms };
        let told = Percentiles::of_rounds(&[round(3.0), round(1.0), round(2.0)]);
        assert_eq!(told, Percentiles { count: 6, p50_ms: 2.0, p99_ms: 8.0, max_ms: 3.0 });
    }
}
