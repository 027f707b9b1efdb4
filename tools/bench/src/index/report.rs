//! What is told of the runs; `arguments` says what each figure means.

use serde::Serialize;

use crate::rounds::median;

/// Speed over some rows of a load.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Stretch {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) inserts_per_s: f64,
}

/// Answers at one width of the search.
#[derive(Clone, Copy, Serialize)]
pub(super) struct AtWidth {
    pub(super) width: u32,
    pub(super) recall_at_10: f64,
    pub(super) recall_at_100: Option<f64>,
    pub(super) harder_recall_at_10: f64,
    pub(super) queries_per_s: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
}

/// A load of rows handed over so many at a time.
#[derive(Clone, Copy, Serialize)]
pub(super) struct AtBatch {
    pub(super) batch: usize,
    pub(super) rows: usize,
    pub(super) inserts_per_s: f64,
    pub(super) distances_per_insert: f64,
    /// At the width of `--width`.
    pub(super) recall_at_10: f64,
}

/// What an engine answers at one time.
#[derive(Clone, Serialize)]
pub(super) struct Answers {
    pub(super) rows_linked: u32,
    pub(super) rows_scanned: u32,
    pub(super) recall_at_10: f64,
    pub(super) recall_at_100: Option<f64>,
    pub(super) harder_recall_at_10: f64,
    pub(super) queries_per_s: f64,
    pub(super) widths: Vec<AtWidth>,
    pub(super) by_default: AtWidth,
    pub(super) recall_estimate: Option<f32>,
    pub(super) width_at_95: Option<u32>,
    pub(super) queries_per_s_at_95: Option<f64>,
}

/// An engine that has nothing left to do.
#[derive(Clone, Serialize)]
pub(super) struct Settled {
    pub(super) seconds: f64,
    /// Of the load and the settling together.
    pub(super) inserts_per_s: f64,
    #[serde(flatten)]
    pub(super) answers: Answers,
}

/// One run, or the medians of several.
#[derive(Clone, Serialize)]
pub(super) struct Run {
    pub(super) inserts_per_s: f64,
    pub(super) inserts_per_s_first_10000: f64,
    pub(super) inserts_per_s_by_100000: Vec<Stretch>,
    pub(super) encode_us: f64,
    pub(super) insert_us: f64,
    pub(super) cpu_share: f64,
    pub(super) distances_per_insert: f64,
    #[serde(flatten)]
    pub(super) answers: Answers,
    pub(super) settled: Option<Settled>,
    pub(super) scan_ns_per_row: f64,
    pub(super) batches: Vec<AtBatch>,
    pub(super) calibration_ns_per_step: f64,
}

impl Run {
    /// The median of each figure that differs from run to run; the others are the first run's.
    fn median(runs: &[Run]) -> Run {
        let of = |figure: &dyn Fn(&Run) -> f64| median(runs.iter().map(figure));
        let mut run = runs[0].clone();
        run.inserts_per_s = of(&|run| run.inserts_per_s);
        run.inserts_per_s_first_10000 = of(&|run| run.inserts_per_s_first_10000);
        run.encode_us = of(&|run| run.encode_us);
        run.insert_us = of(&|run| run.insert_us);
        run.cpu_share = of(&|run| run.cpu_share);
        run.scan_ns_per_row = of(&|run| run.scan_ns_per_row);
        run.calibration_ns_per_step = of(&|run| run.calibration_ns_per_step);
        for (at, stretch) in run.inserts_per_s_by_100000.iter_mut().enumerate() {
            stretch.inserts_per_s = of(&|run| run.inserts_per_s_by_100000[at].inserts_per_s);
        }
        for (at, batch) in run.batches.iter_mut().enumerate() {
            batch.inserts_per_s = of(&|run| run.batches[at].inserts_per_s);
        }
        run.answers = Answers::median(runs.iter().map(|run| &run.answers).collect());
        let settled: Vec<&Settled> = runs.iter().filter_map(|run| run.settled.as_ref()).collect();
        if let Some(median_settled) = &mut run.settled {
            median_settled.seconds = median(settled.iter().map(|settled| settled.seconds));
            median_settled.inserts_per_s =
                median(settled.iter().map(|settled| settled.inserts_per_s));
            median_settled.answers =
                Answers::median(settled.iter().map(|settled| &settled.answers).collect());
        }
        run
    }
}

impl Answers {
    fn median(all: Vec<&Answers>) -> Answers {
        let of = |figure: &dyn Fn(&Answers) -> f64| median(all.iter().map(|each| figure(each)));
        let at = |pick: &dyn Fn(&Answers) -> AtWidth| AtWidth {
            queries_per_s: of(&|answers| pick(answers).queries_per_s),
            p50_us: of(&|answers| pick(answers).p50_us),
            p99_us: of(&|answers| pick(answers).p99_us),
            ..pick(all[0])
        };
        // Each run builds the same graph: recalls and widths are those of the first.
        let mut answers = all[0].clone();
        answers.queries_per_s = of(&|answers| answers.queries_per_s);
        answers.by_default = at(&|answers| answers.by_default);
        for (number, width) in answers.widths.iter_mut().enumerate() {
            *width = at(&|answers| answers.widths[number]);
        }
        if let Some(speed) = &mut answers.queries_per_s_at_95 {
            *speed = of(&|answers| answers.queries_per_s_at_95.unwrap_or_default());
        }
        answers
    }
}

/// RAM after the first load.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Memory {
    pub(super) bytes_per_row: f64,
    pub(super) resident_bytes_per_row: f64,
}

/// What was measured, where.
#[derive(Serialize)]
pub(super) struct Setting {
    pub(super) rows: usize,
    pub(super) queries: usize,
    pub(super) batch: usize,
    pub(super) width: u32,
    pub(super) dimension: usize,
    pub(super) m: usize,
    pub(super) ef: u32,
    pub(super) machine: String,
    pub(super) commit: String,
}

/// All that is told.
#[derive(Serialize)]
pub(super) struct Report {
    #[serde(flatten)]
    setting: Setting,
    #[serde(flatten)]
    memory: Memory,
    inserts_per_s_min: f64,
    inserts_per_s_max: f64,
    #[serde(flatten)]
    median: Run,
    /// In the order in which they ran.
    runs: Vec<Run>,
}

impl Report {
    pub(super) fn new(setting: Setting, memory: Memory, runs: Vec<Run>) -> Report {
        let speeds = || runs.iter().map(|run| run.inserts_per_s);
        Report {
            setting,
            memory,
            inserts_per_s_min: speeds().fold(f64::INFINITY, f64::min),
            inserts_per_s_max: speeds().fold(0.0, f64::max),
            median: Run::median(&runs),
            runs,
        }
    }

    /// For a person to read.
    pub(super) fn print_table(&self) {
        let Report { setting, median: run, .. } = self;
        println!(
            "{} rows of {} numbers, {} at a time, M {}, efC {}; {} queries; medians of {} runs",
            setting.rows,
            setting.dimension,
            setting.batch,
            setting.m,
            setting.ef,
            setting.queries,
            self.runs.len()
        );
        println!(
            "commit {}, {}, {:.2} ns a step",
            setting.commit, setting.machine, run.calibration_ns_per_step
        );
        println!(
            "inserts/s {:.0} ({:.0}–{:.0}), first 10,000 rows {:.0}; \
             {:.1} + {:.1} µs to encode + insert, {:.0} distances; on a CPU {:.0} % of the time",
            run.inserts_per_s,
            self.inserts_per_s_min,
            self.inserts_per_s_max,
            run.inserts_per_s_first_10000,
            run.encode_us,
            run.insert_us,
            run.distances_per_insert,
            run.cpu_share * 100.0
        );
        for stretch in run.inserts_per_s_by_100000.iter().filter(|_| setting.rows > 100_000) {
            println!("  rows to {:>9}: {:.0} inserts/s", stretch.to, stretch.inserts_per_s);
        }
        println!(
            "{:.0} bytes a row, the process grew by {:.0}; scan {:.1} ns a row",
            self.memory.bytes_per_row, self.memory.resident_bytes_per_row, run.scan_ns_per_row
        );
        run.answers.print();
        if let Some(settled) = &run.settled {
            println!(
                "settled after {:.1} s; load and settling together {:.0} inserts/s",
                settled.seconds, settled.inserts_per_s
            );
            settled.answers.print();
        }
        for batch in &run.batches {
            println!(
                "  {} rows, {:>4} at a time: {:.0} inserts/s, {:.0} distances, recall@10 {:.4}",
                batch.rows,
                batch.batch,
                batch.inserts_per_s,
                batch.distances_per_insert,
                batch.recall_at_10
            );
        }
    }
}

impl Answers {
    fn print(&self) {
        println!("  {} rows in the graph, {} scanned", self.rows_linked, self.rows_scanned);
        println!("  width  recall@10  @100    harder@10  queries/s  p50 µs  p99 µs");
        self.widths.iter().for_each(AtWidth::print);
        let estimate = self.recall_estimate.map_or("none".to_owned(), |it| format!("{it:.3}"));
        println!("  by default (the space's own estimate of its recall: {estimate}):");
        self.by_default.print();
        match self.width_at_95.zip(self.queries_per_s_at_95) {
            Some((width, speed)) => {
                println!("  recall@10 0.95 at width {width}: {speed:.0} queries/s")
            }
            None => println!("  recall@10 0.95 is not reached"),
        }
    }
}

impl AtWidth {
    fn print(&self) {
        let at_100 = self.recall_at_100.map_or("–".to_owned(), |recall| format!("{recall:.4}"));
        println!(
            "  {:>5}  {:<9.4}  {at_100:<6}  {:<9.4}  {:>9.0}  {:>6.0}  {:>6.0}",
            self.width,
            self.recall_at_10,
            self.harder_recall_at_10,
            self.queries_per_s,
            self.p50_us,
            self.p99_us
        );
    }
}
