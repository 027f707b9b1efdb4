//! What a recall takes where its memories are at hand, in the page cache, or on the disk alone: the same cues, in one run.
//!
//! ```text
//!  load ─► round: server ─► drop the page cache ─► cues (disk) ─► the same cues (at hand) ─► stop
//!                 server that keeps no records ──► cues ─► the same cues (page cache) ─────► stop
//! ```

use std::io::{Error, Result};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use engram::client::executor;
use engram::client::grpc::{CallError, Grpc};
use engram::client::recall::{Cued, recall};
use engram::dataset::{DIMENSION, Dataset};
use serde::Serialize;

use crate::calibration;
use crate::process::{Server, beside};
use crate::restart::{Ingest, SPACE, below, drop_cached};

/// What `recalls` measures with.
#[derive(clap::Args, Debug)]
pub(crate) struct RecallsArguments {
    /// Data folder (gloss.f16, words.f16, text.jsonl); its last 1,000 rows are the queries.
    #[arg(long, default_value = "tests/data")]
    data: std::path::PathBuf,
    /// Rows of the one space.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(100..))]
    rows: u32,
    /// Cues of a round; each is asked one behind the other on one connection.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=900))]
    cues: u32,
    /// Memories of each recall, with their texts.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    count: u32,
    /// Rounds; what is told is the median over all of their recalls.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// The server's cores, as its own --cores takes them [default: its own default].
    #[arg(long)]
    cores: Option<String>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Microseconds of a recall.
#[derive(Clone, Copy, Debug, Serialize)]
struct Micros {
    p50: f64,
    p99: f64,
}

#[derive(Debug, Serialize)]
struct Report {
    rows: u32,
    cues: u32,
    count: u32,
    machine: String,
    commit: String,
    calibration_ns_per_step: [f64; 2],
    /// None of the files in the page cache, none of the records at hand.
    disk: Micros,
    /// All files in the page cache, no records kept.
    page_cache: Micros,
    /// Each asked for the second time.
    at_hand: Micros,
    disk_over_at_hand: f64,
    page_cache_over_at_hand: f64,
}

/// Measures, prints.
pub(crate) fn run(arguments: &RecallsArguments) -> Result<()> {
    let data = Arc::new(Dataset::open(&arguments.data).map_err(Error::other)?);
    let program = std::env::current_exe()?;
    let scratch = program.parent().expect("a program lies in a folder");
    let folder = tempfile::Builder::new().prefix("recalls-").tempdir_in(scratch)?;
    let start = |record_cache_bytes: Option<&str>| {
        let mut command = Command::new(beside("engram")?);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path());
        if let Some(bytes) = record_cache_bytes {
            command.args(["--record-cache-bytes", bytes]);
        }
        if let Some(cores) = &arguments.cores {
            command.args(["--cores", cores]);
        }
        let server = Server::start(&mut command)?;
        server.wait_ready()?;
        Ok::<_, Error>(server)
    };
    let before = calibration::nanos_per_step();
    let server = start(None)?;
    Ingest::start(server.address, data.clone(), 0..arguments.rows as usize).finish()?;
    server.wait_drained()?;
    server.stop()?;
    let (mut disk, mut page_cache, mut at_hand) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..arguments.rounds {
        let server = start(None)?;
        drop_cached(&below(folder.path())?)?;
        let passes = ask_twice(&server, &data, arguments)?;
        disk.extend(passes.0);
        at_hand.extend(passes.1);
        server.stop()?;
        let server = start(Some("0"))?;
        page_cache.extend(ask_twice(&server, &data, arguments)?.1);
        server.stop()?;
    }
    let (disk, page_cache, at_hand) = (micros(disk), micros(page_cache), micros(at_hand));
    let report = Report {
        rows: arguments.rows,
        cues: arguments.cues,
        count: arguments.count,
        machine: calibration::machine(),
        commit: calibration::commit(),
        calibration_ns_per_step: [before, calibration::nanos_per_step()],
        disk,
        page_cache,
        at_hand,
        disk_over_at_hand: disk.p50 / at_hand.p50,
        page_cache_over_at_hand: page_cache.p50 / at_hand.p50,
    };
    match arguments.json {
        true => println!("{}", serde_json::to_string_pretty(&report)?),
        false => print_table(&report),
    }
    Ok(())
}

/// All cues, and all of them again: microseconds of each recall of either pass.
fn ask_twice(
    server: &Server,
    data: &Dataset,
    arguments: &RecallsArguments,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let asked = executor::run(None, async {
        let grpc = Grpc::connect(server.address).await?;
        // The first recall of a connection pays for it.
        ask(&grpc, data, 0..1, arguments.count).await?;
        let cues = 1..1 + arguments.cues as usize;
        let first = ask(&grpc, data, cues.clone(), arguments.count).await?;
        let second = ask(&grpc, data, cues, arguments.count).await?;
        Ok::<_, CallError>((first, second))
    });
    asked.map_err(Error::other)?.map_err(Error::other)
}

async fn ask(
    grpc: &Grpc,
    data: &Dataset,
    cues: std::ops::Range<usize>,
    count: u32,
) -> std::result::Result<Vec<f64>, CallError> {
    let mut micros = Vec::with_capacity(cues.len());
    for cue in cues {
        let mut vector = [0.0; DIMENSION];
        data.query(cue, &mut vector);
        let start = Instant::now();
        let found = recall(grpc, Cued { space: SPACE, vector: &vector, count }).await?;
        micros.push(start.elapsed().as_secs_f64() * 1e6);
        if found.len() < count as usize {
            return Err(CallError::Protocol(format!("{} memories found", found.len())));
        }
    }
    Ok(micros)
}

fn micros(mut of_all: Vec<f64>) -> Micros {
    of_all.sort_by(f64::total_cmp);
    let at = |share: usize| of_all[(of_all.len() - 1) * share / 100];
    Micros { p50: at(50), p99: at(99) }
}

fn print_table(report: &Report) {
    let Report { rows, cues, count, machine, commit, calibration_ns_per_step, .. } = report;
    println!("{machine}, {commit}, {calibration_ns_per_step:.2?} ns a step");
    println!("{rows} rows, {cues} cues a round, {count} memories each\n");
    println!("{:<44}{:>10}{:>10}", "where the records are", "p50, µs", "p99, µs");
    for (place, Micros { p50, p99 }) in [
        ("on the disk", report.disk),
        ("in the page cache (--record-cache-bytes 0)", report.page_cache),
        ("at hand", report.at_hand),
    ] {
        println!("{place:<44}{p50:>10.0}{p99:>10.0}");
    }
    let (disk, page_cache) = (report.disk_over_at_hand, report.page_cache_over_at_hand);
    println!("\nover those at hand: disk {disk:.2}×, page cache {page_cache:.2}×");
}
