//! What is told of the rounds; `arguments` says what each figure means.

use serde::Serialize;

use crate::rounds::median;

/// The load, and what it left on the disk.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Loaded {
    pub(super) observations_per_s: f64,
    pub(super) linked_s: f64,
    pub(super) record_bytes: u64,
    pub(super) written_bytes: u64,
    pub(super) write_amplification: f64,
    pub(super) disk_bytes: u64,
    pub(super) disk_over_live: f64,
    pub(super) checkpoint_bytes: u64,
}

/// One start of a server that has rows.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Restarted {
    pub(super) ready_s: f64,
    pub(super) first_recall_ms: f64,
    pub(super) later_recall_ms: f64,
    pub(super) disk_bytes_read: u64,
}

impl Restarted {
    pub(super) fn median(rounds: &[Restarted]) -> Restarted {
        let of = |figure: &dyn Fn(&Restarted) -> f64| median(rounds.iter().map(figure));
        Restarted {
            ready_s: of(&|round| round.ready_s),
            first_recall_ms: of(&|round| round.first_recall_ms),
            later_recall_ms: of(&|round| round.later_recall_ms),
            disk_bytes_read: of(&|round| round.disk_bytes_read as f64) as u64,
        }
    }
}

/// One with nothing in the page cache, beside the disk alone.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Cold {
    #[serde(flatten)]
    pub(super) restarted: Restarted,
    pub(super) resident_bytes: u64,
    pub(super) cold_read_s: f64,
    pub(super) cold_read_bytes: u64,
    pub(super) cold_over_read: f64,
}

impl Cold {
    pub(super) fn median(rounds: &[Cold]) -> Cold {
        let of = |figure: &dyn Fn(&Cold) -> f64| median(rounds.iter().map(figure));
        let restarted: Vec<Restarted> = rounds.iter().map(|round| round.restarted).collect();
        Cold {
            restarted: Restarted::median(&restarted),
            resident_bytes: of(&|round| round.resident_bytes as f64) as u64,
            cold_read_s: of(&|round| round.cold_read_s),
            cold_read_bytes: of(&|round| round.cold_read_bytes as f64) as u64,
            cold_over_read: of(&|round| round.cold_over_read),
        }
    }
}

/// A start behind a kill.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Killed {
    pub(super) rows: u64,
    pub(super) rows_replayed: u64,
    #[serde(flatten)]
    pub(super) restarted: Restarted,
}

/// All that was measured.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) rows: usize,
    pub(super) dimension: usize,
    pub(super) cores: Option<String>,
    pub(super) machine: String,
    pub(super) commit: String,
    pub(super) calibration_ns_per_step: Vec<f64>,
    #[serde(flatten)]
    pub(super) loaded: Loaded,
    pub(super) stop_s: f64,
    pub(super) page_cache: Restarted,
    pub(super) cold: Cold,
    pub(super) page_cache_rounds: Vec<Restarted>,
    pub(super) cold_rounds: Vec<Cold>,
    pub(super) killed: Vec<Killed>,
}

impl Report {
    pub(super) fn print_table(&self) {
        let Report { rows, dimension, machine, commit, loaded, page_cache, cold, .. } = self;
        println!("{rows} rows of {dimension} numbers, one space; {machine}, {commit}");
        println!("calibration: {:.2?} ns a step", self.calibration_ns_per_step);
        println!(
            "load: {:.0} observations/s, all in the graph after {:.1} s",
            loaded.observations_per_s, loaded.linked_s
        );
        println!(
            "written: {} MB for {} MB of records, {:.2} times; on the disk {} MB, {:.2} times, {} MB of it checkpoints",
            mega(loaded.written_bytes),
            mega(loaded.record_bytes),
            loaded.write_amplification,
            mega(loaded.disk_bytes),
            loaded.disk_over_live,
            mega(loaded.checkpoint_bytes)
        );
        println!("stopped in order in {:.2} s", self.stop_s);
        print_start("started from the page cache", page_cache);
        self.page_cache_rounds.iter().for_each(|round| print_start("  a round", round));
        print_start("started cold", &cold.restarted);
        for round in &self.cold_rounds {
            let what = format!("  a round, {:.2} times the read", round.cold_over_read);
            print_start(&what, &round.restarted);
        }
        println!(
            "  {} MB read by one thread, cold: {:.3} s; the start takes {:.2} times that ({} MB stayed in the cache)",
            mega(cold.cold_read_bytes),
            cold.cold_read_s,
            cold.cold_over_read,
            mega(cold.resident_bytes)
        );
        for Killed { rows, rows_replayed, restarted } in &self.killed {
            let what = format!("killed at {rows} rows, {rows_replayed} of them to be replayed");
            print_start(&what, restarted);
        }
    }
}

fn print_start(what: &str, restarted: &Restarted) {
    println!(
        "{what}: ready after {:.3} s; first recall {:.1} ms, later ones {:.1} ms; {} MB read from the disk",
        restarted.ready_s,
        restarted.first_recall_ms,
        restarted.later_recall_ms,
        mega(restarted.disk_bytes_read)
    );
}

fn mega(bytes: u64) -> u64 {
    bytes / 1_000_000
}
