//! Queries of one width, timed, and the width that a recall takes.

use std::time::Instant;

use super::engine::Engine;
use super::report::{Answers, AtWidth};
use super::truth::{ANSWERS, Queries, Truth};

/// Widths told of.
const WIDTHS: [u32; 9] = [16, 24, 32, 48, 64, 100, 128, 200, 400];
/// The recall whose width is told.
const RECALL_WANTED: f64 = 0.95;
/// Results asked for where it is timed.
pub(super) const COUNT: usize = 10;
/// How often all queries are asked where it is timed.
const ROUNDS: usize = 5;
/// The widest search tried to reach a recall.
const WIDTH_MAX: u32 = 4_096;

/// What an engine answers now; the first figures are of a search of `width`.
pub(super) fn answers(engine: &mut Engine, truth: &Truth, width: u32) -> Answers {
    let (width_chosen, recall_estimate) = engine.chosen();
    let width_at_95 = width_for(engine, &truth.plain, RECALL_WANTED);
    let mut at = |width| at_width(engine, truth, width);
    let of = at(width);
    let (widths, by_default) = (WIDTHS.map(&mut at).to_vec(), at(width_chosen));
    let queries_per_s_at_95 = width_at_95.map(|width| at(width).queries_per_s);
    Answers {
        rows_linked: engine.linked(),
        rows_scanned: engine.scanned(),
        recall_at_10: of.recall_at_10,
        recall_at_100: of.recall_at_100,
        harder_recall_at_10: of.harder_recall_at_10,
        queries_per_s: of.queries_per_s,
        widths,
        by_default,
        recall_estimate,
        width_at_95,
        queries_per_s_at_95,
    }
}

/// Recall and speed at one width.
fn at_width(engine: &mut Engine, truth: &Truth, width: u32) -> AtWidth {
    let (mut seconds, mut latencies_us) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let first = latencies_us.len();
        for cue in &truth.plain.cues {
            let start = Instant::now();
            engine.search(cue, width, COUNT as u32);
            latencies_us.push(start.elapsed().as_secs_f64() * 1e6);
        }
        seconds.push(latencies_us[first..].iter().sum::<f64>() / 1e6);
    }
    seconds.sort_by(f64::total_cmp);
    latencies_us.sort_by(f64::total_cmp);
    let at = |share: f64| latencies_us[(latencies_us.len() as f64 * share) as usize];
    AtWidth {
        width,
        recall_at_10: recall(engine, &truth.plain, width, COUNT),
        recall_at_100: (width as usize >= ANSWERS)
            .then(|| recall(engine, &truth.plain, width, ANSWERS)),
        harder_recall_at_10: recall(engine, &truth.harder, width, COUNT),
        queries_per_s: truth.plain.cues.len() as f64 / seconds[ROUNDS / 2],
        p50_us: at(0.50),
        p99_us: at(0.99),
    }
}

/// The share of the true first `count` that is found.
pub(super) fn recall(engine: &mut Engine, queries: &Queries, width: u32, count: usize) -> f64 {
    let hits = |(number, cue)| queries.hits(number, count, engine.search(cue, width, count as u32));
    let hits: usize = queries.cues.iter().enumerate().map(hits).sum();
    hits as f64 / (queries.cues.len() * count) as f64
}

/// The smallest width at which recall@10 is `wanted`, by bisection; none if even the widest misses
/// it.
fn width_for(engine: &mut Engine, queries: &Queries, wanted: f64) -> Option<u32> {
    let mut reaches = |width| recall(engine, queries, width, COUNT) >= wanted;
    let mut high = COUNT as u32;
    while !reaches(high) {
        high *= 2;
        if high > WIDTH_MAX {
            return None;
        }
    }
    let mut low = high / 2;
    while high - low > 1 && high > COUNT as u32 {
        let middle = low.midpoint(high);
        if reaches(middle) { high = middle } else { low = middle }
    }
    Some(high)
}

/// Nanoseconds to compare one row, all rows one by one.
pub(super) fn scan_ns_per_row(engine: &mut Engine, truth: &Truth) -> f64 {
    let cues = &truth.plain.cues[..truth.plain.cues.len().min(50)];
    let start = Instant::now();
    for cue in cues {
        engine.scan(cue, ANSWERS as u32);
    }
    start.elapsed().as_nanos() as f64 / (cues.len() * truth.rows) as f64
}
