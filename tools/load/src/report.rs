//! What was measured, for people and as JSON.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// The longest latency that is told apart.
const LATENCY_MICROS_MAX: u64 = 600_000_000;

/// Latencies, in microseconds, to three digits.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    /// None yet.
    pub(crate) fn new() -> Latencies {
        let histogram = Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3);
        Latencies(histogram.expect("the bounds are constants"))
    }

    /// One more.
    pub(crate) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LATENCY_MICROS_MAX));
    }

    /// All of another's as well.
    pub(crate) fn merge(&mut self, other: &Latencies) {
        self.0.add(&other.0).expect("the bounds are the same");
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// In milliseconds; none where there is no latency.
    pub(crate) fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(quantile) as f64 / 1_000.0)
    }
}

/// What a run measured.
#[derive(Debug)]
pub(crate) struct Report {
    /// Rows, all of them acked.
    pub rows: usize,
    /// From the first send to the last ack.
    pub elapsed: Duration,
    /// From when a row was due, or first sent, to its ack.
    pub acks: Latencies,
    /// From when a recall was due to its last result.
    pub recalls: Latencies,
    /// Recalls that the server refused.
    pub recalls_failed: u64,
    /// Refusals for overload; what was refused went again.
    pub refusals: u64,
    /// CPU time of the server in that time.
    pub server_cpu: Option<Duration>,
    /// Resident memory of the server at the end of it.
    pub server_rss_bytes: Option<u64>,
    /// Share of the ten nearest that recalls found once all was acked.
    pub recall_at_10: Option<f64>,
}

impl Report {
    /// Rows acked a second.
    pub(crate) fn observations_per_s(&self) -> f64 {
        self.rows as f64 / self.elapsed.as_secs_f64()
    }

    fn cpu_us_per_observation(&self) -> Option<f64> {
        self.server_cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / self.rows as f64)
    }

    /// One object; what was not measured is null.
    pub(crate) fn json(&self) -> Value {
        json!({
            "observations_per_s": self.observations_per_s(),
            "ack_p50_ms": self.acks.quantile_ms(0.5),
            "ack_p99_ms": self.acks.quantile_ms(0.99),
            "recall_p99_ms": self.recalls.quantile_ms(0.99),
            "cpu_us_per_observation": self.cpu_us_per_observation(),
            "rss_bytes": self.server_rss_bytes,
            "rows": self.rows,
            "elapsed_s": self.elapsed.as_secs_f64(),
            "ack_p999_ms": self.acks.quantile_ms(0.999),
            "recall_p50_ms": self.recalls.quantile_ms(0.5),
            "recalls": self.recalls.count(),
            "recalls_failed": self.recalls_failed,
            "refusals": self.refusals,
            "recall_at_10": self.recall_at_10,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |latencies: &Latencies, quantile| {
            latencies.quantile_ms(quantile).map_or("–".to_owned(), |ms| format!("{ms:.2} ms"))
        };
        let acks = |quantile| ms(&self.acks, quantile);
        writeln!(f, "observations  {} acked in {:.2} s", self.rows, self.elapsed.as_secs_f64())?;
        writeln!(f, "rate          {:.0} observations/s", self.observations_per_s())?;
        writeln!(f, "ack           p50 {}, p99 {}, p99.9 {}", acks(0.5), acks(0.99), acks(0.999))?;
        if self.refusals > 0 {
            writeln!(f, "overload      {} refusals, all sent again", self.refusals)?;
        }
        if self.recalls.count() > 0 || self.recalls_failed > 0 {
            let (p50, p99) = (ms(&self.recalls, 0.5), ms(&self.recalls, 0.99));
            writeln!(f, "recall        {} answered, p50 {p50}, p99 {p99}", self.recalls.count())?;
            if self.recalls_failed > 0 {
                writeln!(f, "              {} refused", self.recalls_failed)?;
            }
        }
        if let Some(share) = self.recall_at_10 {
            writeln!(f, "recall@10     {share:.4} against exact search")?;
        }
        if let (Some(cpu), Some(rss)) = (self.cpu_us_per_observation(), self.server_rss_bytes) {
            let rss = rss as f64 / f64::from(1 << 20);
            writeln!(f, "server        {cpu:.1} CPU-µs an observation, {rss:.0} MiB resident")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_every_key_that_tools_read() {
        let mut acks = Latencies::new();
        (1..=100).for_each(|ms| acks.record(Duration::from_millis(ms)));
        let report = Report {
            rows: 100,
            elapsed: Duration::from_secs(2),
            acks,
            recalls: Latencies::new(),
            recalls_failed: 0,
            refusals: 0,
            server_cpu: Some(Duration::from_millis(3)),
            server_rss_bytes: Some(4_096),
            recall_at_10: None,
        };
        let json = report.json();
        assert_eq!(json["observations_per_s"], 50.0);
        assert_eq!(json["cpu_us_per_observation"], 30.0);
        assert_eq!(json["rss_bytes"], 4_096);
        assert!((json["ack_p50_ms"].as_f64().expect("a number") - 50.0).abs() < 0.1);
        assert!((json["ack_p99_ms"].as_f64().expect("a number") - 99.0).abs() < 0.2);
        assert!(json["recall_p99_ms"].is_null() && json.get("recall_p99_ms").is_some());
    }
}
