//! What is told; `arguments` says what each figure means.

use serde::Serialize;

use crate::latencies::Percentiles;
use crate::rounds::median;

/// One overload.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Overloaded {
    pub(super) saturation_per_s: f64,
    pub(super) due_per_s: f64,
    pub(super) sent_per_s: f64,
    pub(super) taken_per_s: f64,
    pub(super) refused: u64,
    pub(super) depth_max: u64,
    pub(super) capacity: u64,
    pub(super) recalls: Percentiles,
    pub(super) active_after_s: f64,
    pub(super) sent_again: u64,
    pub(super) stored: u64,
    pub(super) resident_bytes_max: u64,
    pub(super) bound_bytes: u64,
    pub(super) memories_bytes: u64,
}

/// How a neighbour of one fared.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Neighboured {
    pub(super) saturation_per_s: f64,
    pub(super) alone: Percentiles,
    pub(super) beside: Percentiles,
    pub(super) p99_ratio: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Report<R> {
    pub(super) rows: u64,
    pub(super) times: f64,
    pub(super) seconds: f64,
    pub(super) sessions: u32,
    pub(super) rounds: Vec<R>,
}

/// The highest level of pressure that metrics tell.
pub(super) fn level_of(metrics: &str) -> u8 {
    let lines =
        metrics.lines().filter(|line| line.starts_with("engram_streaming_backpressure_state{"));
    let levels = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    levels.fold(0.0, f64::max) as u8
}

impl<R> Report<R> {
    fn print_head(&self) {
        let Report { rows, times, seconds, sessions, rounds } = self;
        println!(
            "{rows} rows, then {times} times of what the core takes is due for {seconds} s on {sessions} sessions; {} rounds",
            rounds.len()
        );
    }
}

impl Report<Overloaded> {
    pub(super) fn print_table(&self) {
        self.print_head();
        self.rounds.iter().for_each(Overloaded::print);
    }
}

impl Overloaded {
    fn print(&self) {
        let mega = |bytes: u64| bytes / 1_000_000;
        println!(
            "\nthe core takes {:.0} observations/s; {:.0} were due, {:.0} sent, {:.0} taken; {} told to come back",
            self.saturation_per_s, self.due_per_s, self.sent_per_s, self.taken_per_s, self.refused
        );
        println!("depth: {} at most, of {}", self.depth_max, self.capacity);
        println!("recalls meanwhile: {}", self.recalls);
        println!("ACTIVE again after {:.2} s", self.active_after_s);
        println!(
            "then {} sent again and acked; {} rows stored, all that was acked",
            self.sent_again, self.stored
        );
        println!(
            "resident {} MB at most; bound {} MB, and {} MB of memories",
            mega(self.resident_bytes_max),
            mega(self.bound_bytes),
            mega(self.memories_bytes)
        );
    }
}

impl Report<Neighboured> {
    pub(super) fn print_table(&self) {
        self.print_head();
        for round in &self.rounds {
            println!("\nthe core takes {:.0} observations/s", round.saturation_per_s);
            println!("a neighbour's acks alone: {}", round.alone);
            println!("beside that load: {}: p99 {:.2} times", round.beside, round.p99_ratio);
        }
        let ratio = median(self.rounds.iter().map(|round| round.p99_ratio));
        println!("\np99 beside that load over alone: {ratio:.2} times (median)");
    }
}
