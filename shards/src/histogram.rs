//! Counts of values by bucket, with the buckets that the exposition shows, so that nothing is lost in translation.

/// Upper bounds of latencies, in microseconds: those of the wire contract and finer ones below a millisecond.
pub const LATENCY_MICROS: &[u64] = &[
    50, 100, 250, 500, 1_000, 5_000, 10_000, 20_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000,
];
/// Upper bounds of the rows in an insertion batch.
pub const BATCH_ROWS: &[u64] = &[1, 10, 50, 100, 250, 500, 1_000];

/// Bounds that a histogram can have.
const BOUNDS_MAX: usize = 15;
const _: () = assert!(LATENCY_MICROS.len() <= BOUNDS_MAX && BATCH_ROWS.len() <= BOUNDS_MAX);

/// Counts by bucket: a value lies in the first whose bound it does not exceed, or in the one behind them all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    bounds: &'static [u64],
    /// Apart, so that a status that crosses between cores stays small.
    counts: Box<[u64; BOUNDS_MAX + 1]>,
    sum: u64,
}

impl Histogram {
    /// An empty one with these upper bounds, which rise.
    pub fn new(bounds: &'static [u64]) -> Histogram {
        assert!(bounds.len() <= BOUNDS_MAX);
        Histogram { bounds, counts: Box::new([0; BOUNDS_MAX + 1]), sum: 0 }
    }

    /// Counts `value`.
    pub fn record(&mut self, value: u64) {
        let bucket = self.bounds.partition_point(|&bound| bound < value);
        self.counts[bucket] += 1;
        self.sum = self.sum.saturating_add(value);
    }

    /// The upper bounds of all buckets but the last, which has none.
    pub fn bounds(&self) -> &'static [u64] {
        self.bounds
    }

    /// How many values each bucket holds (not cumulative); one more than there are bounds.
    pub fn counts(&self) -> &[u64] {
        &self.counts[..=self.bounds.len()]
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.counts().iter().sum()
    }

    /// The sum of all values.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Adds what `other`, which has the same bounds, counted.
    pub fn merge(&mut self, other: &Histogram) {
        assert_eq!(self.bounds, other.bounds, "histograms of different things");
        for (mine, theirs) in self.counts.iter_mut().zip(*other.counts) {
            *mine += theirs;
        }
        self.sum = self.sum.saturating_add(other.sum);
    }
}

/// An empty one for latencies.
impl Default for Histogram {
    fn default() -> Histogram {
        Histogram::new(LATENCY_MICROS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let mut histogram = Histogram::new(BATCH_ROWS);
        for value in [0, 1, 2, 10, 11, 1_000, 1_001, u64::MAX] {
            histogram.record(value);
        }
        assert_eq!(histogram.counts(), [2, 2, 1, 0, 0, 0, 1, 2]);
        assert_eq!(histogram.count(), 8);
    }

    #[test]
    fn merging_adds_counts_and_sums() {
        let (mut one, mut other) = (Histogram::default(), Histogram::default());
        one.record(50);
        other.record(50);
        other.record(51);
        one.merge(&other);
        assert_eq!((one.count(), one.sum(), one.counts()[0]), (3, 151, 2));
    }
}
