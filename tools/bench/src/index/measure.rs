//! Runs, one after the other, and what is told of them.

use std::io::{Error, Result};
use std::time::Instant;

use engram::dataset::{DIMENSION, Dataset};

use crate::calibration;

use super::arguments::IndexArguments;
use super::ask::{COUNT, answers, recall, scan_ns_per_row};
use super::engine::{Engine, LINKS, WIDTH_INSERT};
use super::load::Load;
use super::report::{AtBatch, Memory, Report, Run, Setting, Settled};
use super::truth::Truth;

/// Batches compared, and the rows that each of them loads at most.
const BATCHES: [usize; 5] = [1, 10, 100, 500, 1_000];
const BATCHES_ROWS_MAX: usize = 50_000;
/// Rows of a small space.
const ROWS_SMALL: usize = 10_000;

/// Measures, prints.
pub(crate) fn run(arguments: &IndexArguments) -> Result<()> {
    let data = Dataset::open(&arguments.data).map_err(Error::other)?;
    let (rows, queries) = (arguments.rows as usize, arguments.queries as usize);
    let (mut memory, mut truth) = (None, None);
    let mut runs = Vec::new();
    for _ in 0..arguments.runs {
        let (engine, load) = Load::run(&data, rows, arguments.batch);
        // Of the first load, before anything else has grown and shrunk the process.
        memory.get_or_insert(Memory::of(&load));
        let truth = truth.get_or_insert_with(|| Truth::find(&data, rows, queries));
        runs.push(measure(arguments, &data, truth, engine, &load));
    }
    if let (Some(path), Some(truth)) = (&arguments.truth, &truth) {
        truth.write(path)?;
    }
    let setting = Setting {
        rows,
        queries,
        batch: arguments.batch,
        width: arguments.width,
        dimension: DIMENSION,
        m: LINKS,
        ef: WIDTH_INSERT,
        machine: calibration::machine(),
        commit: calibration::commit(),
    };
    let report = Report::new(setting, memory.expect("a run at least"), runs);
    match arguments.json {
        true => println!("{}", serde_json::to_string_pretty(&report)?),
        false => report.print_table(),
    }
    Ok(())
}

impl Memory {
    fn of(load: &Load) -> Memory {
        Memory {
            bytes_per_row: load.bytes as f64 / load.rows as f64,
            resident_bytes_per_row: load.resident_bytes as f64 / load.rows as f64,
        }
    }
}

/// The figures of one load.
fn measure(
    arguments: &IndexArguments,
    data: &Dataset,
    truth: &Truth,
    mut engine: Engine,
    load: &Load,
) -> Run {
    let answers = answers(&mut engine, truth, arguments.width);
    let scan_ns_per_row = scan_ns_per_row(&mut engine, truth);
    let settled = arguments.settle.then(|| settle(arguments, truth, &mut engine, load));
    // Not beside the next ones.
    drop(engine);
    Run {
        inserts_per_s: load.inserts_per_s(),
        inserts_per_s_first_10000: load.inserts_per_s_first(ROWS_SMALL),
        inserts_per_s_by_100000: load.stretches(),
        encode_us: load.encode_us(),
        insert_us: load.insert_us(),
        cpu_share: load.cpu_share(),
        distances_per_insert: load.distances_per_insert(),
        answers,
        settled,
        scan_ns_per_row,
        batches: if arguments.batches { batches(arguments, data) } else { Vec::new() },
        calibration_ns_per_step: calibration::nanos_per_step(),
    }
}

/// What an engine answers once it has nothing left to do.
fn settle(arguments: &IndexArguments, truth: &Truth, engine: &mut Engine, load: &Load) -> Settled {
    let start = Instant::now();
    engine.settle();
    let seconds = start.elapsed().as_secs_f64();
    let rows = load.rows as f64;
    Settled {
        seconds,
        inserts_per_s: rows / (rows / load.inserts_per_s() + seconds),
        answers: answers(engine, truth, arguments.width),
    }
}

/// Loads of the first rows by rows handed over at a time.
fn batches(arguments: &IndexArguments, data: &Dataset) -> Vec<AtBatch> {
    let rows = (arguments.rows as usize).min(BATCHES_ROWS_MAX);
    let truth = Truth::find(data, rows, arguments.queries as usize);
    let load = |batch| {
        let (mut engine, load) = Load::run(data, rows, batch);
        AtBatch {
            batch,
            rows,
            inserts_per_s: load.inserts_per_s(),
            distances_per_insert: load.distances_per_insert(),
            recall_at_10: recall(&mut engine, &truth.plain, arguments.width, COUNT),
        }
    };
    BATCHES.map(load).to_vec()
}
