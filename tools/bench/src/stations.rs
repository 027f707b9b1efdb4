//! Server CPU for one observation, split by station, beside a tonic server that only decodes.
//!
//! The server runs on one core, the client on another; the two servers take turns in one run. A station's time is what
//! the server's own counters say (`engram_streaming_stage_seconds_total`); the whole is what the kernel charged the process. What
//! the counters leave over is the runtime itself, and the kernel's work in other threads (fdatasync).

use std::collections::BTreeMap;
use std::io::{Error, Result};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::StationsArguments;
use crate::calibration;
use crate::process::{Server, beside, cpu_seconds, get};

/// One run of one server.
#[derive(Clone, Debug, Default, Serialize)]
struct Sample {
    observations_per_s: f64,
    ack_p99_ms: f64,
    cpu_us: f64,
    cpu_kernel_us: f64,
    stations_us: BTreeMap<String, f64>,
}

/// What the load tool prints.
#[derive(Deserialize)]
struct Load {
    observations_per_s: f64,
    ack_p99_ms: f64,
}

/// Everything measured, in the order in which it ran.
#[derive(Serialize)]
struct Report {
    rows: u64,
    calibration_ns_per_step: Vec<f64>,
    engram: Vec<Sample>,
    tonic_echo: Vec<Sample>,
}

/// Measures, prints.
pub(crate) fn run(arguments: &StationsArguments) -> Result<()> {
    let mut report = Report {
        rows: arguments.rows,
        calibration_ns_per_step: Vec::new(),
        engram: Vec::new(),
        tonic_echo: Vec::new(),
    };
    for _ in 0..arguments.runs {
        report.calibration_ns_per_step.push(calibration::nanos_per_step());
        report.engram.push(measure_engram(arguments)?);
        report.tonic_echo.push(measure_echo(arguments)?);
    }
    match arguments.testbed.json {
        true => println!("{}", serde_json::to_string_pretty(&report)?),
        false => print_table(&report),
    }
    Ok(())
}

fn measure_engram(arguments: &StationsArguments) -> Result<Sample> {
    let folder = arguments.testbed.folder()?;
    // A lone number would be a count of cores.
    let core = format!("{0}-{0}", arguments.testbed.server_core);
    let mut command = Command::new(beside("engram")?);
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--cores", &core])
        .arg("--data-dir")
        .arg(folder.path());
    let server = Server::start(&mut command)?;
    server.wait_ready()?;
    let stages_before = stage_seconds(&server)?;
    let cpu_before = cpu_seconds(server.pid())?;
    let load = drive(arguments, &server)?;
    server.wait_drained()?;
    let cpu_after = cpu_seconds(server.pid())?;
    let stages_after = stage_seconds(&server)?;
    let mut sample = sample(arguments, &load, cpu_before, cpu_after);
    for (stage, seconds) in stages_after {
        let before = stages_before.get(&stage).copied().unwrap_or_default();
        sample.stations_us.insert(stage, (seconds - before) * 1e6 / arguments.rows as f64);
    }
    Ok(sample)
}

fn measure_echo(arguments: &StationsArguments) -> Result<Sample> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["tonic-echo", "--core", &arguments.testbed.server_core.to_string()]);
    let server = Server::start(&mut command)?;
    let cpu_before = cpu_seconds(server.pid())?;
    let load = drive(arguments, &server)?;
    Ok(sample(arguments, &load, cpu_before, cpu_seconds(server.pid())?))
}

fn sample(
    arguments: &StationsArguments,
    load: &Load,
    before: (f64, f64),
    after: (f64, f64),
) -> Sample {
    let each = 1e6 / arguments.rows as f64;
    Sample {
        observations_per_s: load.observations_per_s,
        ack_p99_ms: load.ack_p99_ms,
        cpu_us: (after.0 - before.0 + after.1 - before.1) * each,
        cpu_kernel_us: (after.1 - before.1) * each,
        stations_us: BTreeMap::new(),
    }
}

fn drive(arguments: &StationsArguments, server: &Server) -> Result<Load> {
    let output = Command::new(beside("engram-load")?)
        .args(["--addr", &server.address.to_string(), "--json"])
        .args(["--rows", &arguments.rows.to_string()])
        .args(["--spaces", &arguments.spaces.to_string()])
        .args(["--streams", &arguments.streams.to_string()])
        .args(["--core", &arguments.testbed.client_core.to_string()])
        .arg("--data")
        .arg(&arguments.testbed.data)
        .output()?;
    if !output.status.success() {
        return Err(Error::other(format!(
            "engram-load failed: {}",
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn stage_seconds(server: &Server) -> Result<BTreeMap<String, f64>> {
    let text = get(server.address, "/metrics")?;
    let mut stages = BTreeMap::new();
    for line in
        text.lines().filter(|line| line.starts_with("engram_streaming_stage_seconds_total{"))
    {
        let stage = line.split("stage=\"").nth(1).and_then(|rest| rest.split('"').next());
        let value = line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        if let (Some(stage), Some(value)) = (stage, value) {
            *stages.entry(stage.to_owned()).or_default() += value;
        }
    }
    Ok(stages)
}

fn print_table(report: &Report) {
    println!(
        "{} observations a run, {} runs of each in turns; medians (min–max)",
        report.rows,
        report.engram.len()
    );
    println!("calibration: {} ns a step", spread(report.calibration_ns_per_step.iter().copied()));
    println!();
    println!("{:<34} {:>24} {:>24}", "", "engram", "tonic, decodes only");
    let both = |name: &str, pick: &dyn Fn(&Sample) -> f64| {
        let engram = spread(report.engram.iter().map(pick));
        let echo = spread(report.tonic_echo.iter().map(pick));
        println!("{name:<34} {engram:>24} {echo:>24}");
    };
    both("observations/s", &|sample| sample.observations_per_s);
    both("ack p99, ms", &|sample| sample.ack_p99_ms);
    both("CPU-µs an observation, all", &|sample| sample.cpu_us);
    both("  of it in the kernel", &|sample| sample.cpu_kernel_us);
    let Some(first) = report.engram.first() else { return };
    for stage in first.stations_us.keys() {
        let of = |sample: &Sample| sample.stations_us.get(stage).copied().unwrap_or_default();
        println!("  station {stage:<24} {:>24}", spread(report.engram.iter().map(of)));
    }
    let rest = |sample: &Sample| sample.cpu_us - sample.stations_us.values().sum::<f64>();
    println!("  {:<32} {:>24}", "what no station claims", spread(report.engram.iter().map(rest)));
}

/// Median, minimum and maximum.
fn spread(values: impl Iterator<Item = f64>) -> String {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (sorted.first(), sorted.last()) else {
        return String::from("none");
    };
    let median = sorted[sorted.len() / 2];
    let digits = if median >= 1000.0 { 0 } else { 2 };
    format!("{median:.digits$} ({least:.digits$}–{most:.digits$})")
}
