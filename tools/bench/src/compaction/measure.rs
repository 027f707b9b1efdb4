//! One run: memories are stored, then replaced.

use std::io::{Error, Result};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use engram::dataset::Dataset;

use crate::calibration;
use crate::process::{Server, beside, get, sum_of};

use super::activity::{Activity, watch};
use super::arguments::CompactionArguments;
use super::report::{Compared, Report};
use super::traffic::{Order, Rate, Stored, Traffic};

/// Measures, prints.
pub(crate) fn run(arguments: &CompactionArguments) -> Result<()> {
    let data = Arc::new(Dataset::open(&arguments.data).map_err(Error::other)?);
    let program = std::env::current_exe()?;
    let folder = program.parent().expect("a program lies in a folder");
    let scratch = arguments.scratch.as_deref().unwrap_or(folder);
    let folder = tempfile::Builder::new().prefix("compaction-").tempdir_in(scratch)?;
    let mut command = Command::new(beside("engram")?);
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path());
    if let Some(cores) = &arguments.cores {
        command.args(["--cores", cores]);
    }
    let mut calibration_ns_per_step = vec![calibration::nanos_per_step()];
    let server = Server::start(&mut command)?;
    server.wait_ready()?;
    let (rows, start) = (arguments.rows as usize, Instant::now());
    let all = Rate { count: rows as u64, per_s: None };
    let all = Stored { rows, order: Order::Stored, rate: all };
    Traffic::store(server.address, data.clone(), all, start).finish()?;
    server.wait_drained()?;

    let start = Instant::now();
    let watch = watch(server.address, start);
    let rate = |per_s: f64| Rate {
        count: (per_s * f64::from(arguments.seconds)) as u64,
        per_s: Some(per_s),
    };
    let stores = Stored { rows, order: arguments.order, rate: rate(arguments.rate) };
    let stores = Traffic::store(server.address, data.clone(), stores, start);
    let recalls = Traffic::recall(server.address, data, rate(arguments.recalls), start);
    let (acks, recalls) = (stores.finish()?, recalls.finish()?);
    let activity = Activity::of(watch)?;
    calibration_ns_per_step.push(calibration::nanos_per_step());

    let metrics = get(server.address, "/metrics")?;
    let sum = |name: &str| sum_of(&metrics, &format!("engram_streaming_{name}"), |_| true) as u64;
    let (disk_bytes, live_bytes) = (sum("log_bytes"), sum("log_live_bytes"));
    let report = Report {
        rows: arguments.rows,
        order: arguments.order,
        rate: arguments.rate,
        recall_rate: arguments.recalls,
        seconds: arguments.seconds,
        cores: arguments.cores.clone(),
        machine: calibration::machine(),
        commit: calibration::commit(),
        calibration_ns_per_step,
        acks: Compared::new(&acks, &activity),
        recalls: Compared::new(&recalls, &activity),
        active_share: activity.share(),
        copied_bytes_per_s: activity.copied_per_s(),
        compacted_segments: sum("compacted_segments_total"),
        disk_bytes,
        live_bytes,
        disk_over_live: disk_bytes as f64 / live_bytes as f64,
    };
    server.stop()?;
    match arguments.json {
        true => println!("{}", serde_json::to_string_pretty(&report)?),
        false => report.print_table(),
    }
    Ok(())
}
