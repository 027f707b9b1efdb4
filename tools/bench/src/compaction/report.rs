//! What is told; `arguments` says what each figure means.

use serde::Serialize;

use super::activity::Activity;
use super::traffic::{Answered, Order};

/// How long they took.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Latencies {
    count: usize,
    p50: f64,
    p99: f64,
    p999: f64,
}

/// Beside compactions, and not.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Compared {
    with: Latencies,
    without: Latencies,
    p99_ratio: f64,
}

/// All that was measured.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) rows: u32,
    pub(super) order: Order,
    pub(super) rate: f64,
    pub(super) recall_rate: f64,
    pub(super) seconds: u32,
    pub(super) cores: Option<String>,
    pub(super) machine: String,
    pub(super) commit: String,
    pub(super) calibration_ns_per_step: Vec<f64>,
    pub(super) acks: Compared,
    pub(super) recalls: Compared,
    pub(super) active_share: f64,
    pub(super) copied_bytes_per_s: f64,
    pub(super) compacted_segments: u64,
    pub(super) disk_bytes: u64,
    pub(super) live_bytes: u64,
    pub(super) disk_over_live: f64,
}

impl Latencies {
    fn of(mut millis: Vec<f64>) -> Latencies {
        millis.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let last = millis.len().saturating_sub(1);
            millis.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
        };
        Latencies { count: millis.len(), p50: at(0.5), p99: at(0.99), p999: at(0.999) }
    }
}

impl Compared {
    pub(super) fn new(answered: &[Answered], activity: &Activity) -> Compared {
        let is_beside = |one: &&Answered| activity.was_between(one.due, one.due + one.latency);
        let (with, without): (Vec<&Answered>, Vec<&Answered>) =
            answered.iter().partition(is_beside);
        let of = |all: Vec<&Answered>| {
            Latencies::of(all.iter().map(|one| one.latency.as_secs_f64() * 1e3).collect())
        };
        let (with, without) = (of(with), of(without));
        Compared { with, without, p99_ratio: with.p99 / without.p99 }
    }

    fn print(&self, what: &str) {
        for (when, latencies) in [("with", self.with), ("without", self.without)] {
            let Latencies { count, p50, p99, p999 } = latencies;
            println!(
                "{what} {when}: {count}, p50 {p50:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms"
            );
        }
        println!("{what}: p99 with compactions is {:.2} times that without", self.p99_ratio);
    }
}

impl Report {
    pub(super) fn print_table(&self) {
        let Report { rows, order, rate, recall_rate, seconds, machine, commit, .. } = self;
        println!(
            "{rows} memories, {rate:.0} replaced (order: {order:?}) and {recall_rate:.0} recalls a second, {seconds} s; {machine}, {commit}"
        );
        println!("calibration: {:.2?} ns a step", self.calibration_ns_per_step);
        println!(
            "a compaction at work for {:.0} % of the time, {:.1} MB/s copied then, {} segments given up",
            100.0 * self.active_share,
            self.copied_bytes_per_s / 1e6,
            self.compacted_segments
        );
        self.acks.print("acks");
        self.recalls.print("recalls");
        println!(
            "{} MB on the disk over {} MB that count: {:.2} times",
            self.disk_bytes / 1_000_000,
            self.live_bytes / 1_000_000,
            self.disk_over_live
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_latencies() {
        let latencies = Latencies::of((0..=1_000).rev().map(f64::from).collect());
        assert_eq!((latencies.p50, latencies.p99, latencies.p999), (500.0, 990.0, 999.0));
        assert!(Latencies::of(Vec::new()).p99.is_nan());
    }
}
