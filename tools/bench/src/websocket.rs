//! Observations a second over one WebSocket into one core, as JSON with arrays of numbers and in the protocol's own form.
//!
//! ```text
//!  round: server (one core, an empty folder) ─► init ─► frames are made ─┬─► all of them, as fast as it reads ─┐
//!                                                                        └─► cumulative acks, to the last ◄────┘ stop
//! ```
//! All frames are made before the clock starts, so that what is measured is the server alone, on a core of its own.

use std::io::{Result, Write};
use std::time::Instant;

use engram::dataset::Dataset;
use serde::Serialize;

use crate::process::{Server, cpu_seconds};
use crate::socket::{Form, Socket, Told, unexpected};
use crate::testbed::{Served, Testbed, TestbedArguments};

const SPACE: &str = "websocket";

/// What `websocket` measures with.
#[derive(clap::Args, Debug)]
pub(crate) struct WebSocketArguments {
    #[command(flatten)]
    testbed: TestbedArguments,
    /// Observations of a round.
    #[arg(long, default_value_t = 30_000, value_parser = clap::value_parser!(u32).range(1..=80_000))]
    rows: u32,
    /// Rounds of each form, in turns; medians are told.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

/// One round.
#[derive(Clone, Copy, Debug, Serialize)]
struct Round {
    observations_per_s: f64,
    /// CPU of the server for one observation, in µs.
    cpu_micros: f64,
    /// Length of one frame, in bytes.
    frame_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Report {
    rows: u32,
    json: Vec<Round>,
    binary: Vec<Round>,
}

/// Measures, prints.
pub(crate) fn run(arguments: &WebSocketArguments) -> Result<()> {
    let testbed = arguments.testbed.open()?;
    let (mut json, mut binary) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds {
        json.push(round(&testbed, arguments.rows, Form::Json)?);
        binary.push(round(&testbed, arguments.rows, Form::Binary)?);
    }
    testbed.tell(&Report { rows: arguments.rows, json, binary }, print_table)
}

fn round(testbed: &Testbed<'_>, rows: u32, form: Form) -> Result<Round> {
    let Served { server, place: _place } = testbed.serve(&[])?;
    let measured = testbed.on_core(|| stream_all(&server, rows, &testbed.data, form))?;
    server.stop()?;
    Ok(measured)
}

/// Sends all rows, and waits until the last is acked.
fn stream_all(server: &Server, rows: u32, data: &Dataset, form: Form) -> Result<Round> {
    let mut socket = Socket::open(server.address, form, SPACE)?;
    let mut sending = socket.frames()?;
    let last_row = u64::from(rows);
    let frames: Vec<Vec<u8>> =
        (1..=last_row).map(|row| socket.observation(data, row, row as usize - 1)).collect();
    let bytes: u64 = frames.iter().map(|frame| frame.len() as u64).sum();

    let (user, kernel) = cpu_seconds(server.pid())?;
    let begun = Instant::now();
    let sent =
        std::thread::spawn(move || frames.iter().try_for_each(|frame| sending.write_all(frame)));
    loop {
        match socket.hear()? {
            Told::Accepted { last } if last == last_row => break,
            Told::Accepted { .. } | Told::Other => {}
            other => return Err(unexpected(&other)),
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let (user_after, kernel_after) = cpu_seconds(server.pid())?;
    sent.join().expect("writing does not panic")?;
    let rows = f64::from(rows);
    Ok(Round {
        observations_per_s: rows / seconds,
        cpu_micros: (user_after + kernel_after - user - kernel) * 1e6 / rows,
        frame_bytes: bytes / last_row,
    })
}

/// The round in the middle, by its rate.
fn median(rounds: &[Round]) -> Round {
    let mut rounds = rounds.to_vec();
    rounds.sort_by(|one, other| one.observations_per_s.total_cmp(&other.observations_per_s));
    rounds[rounds.len() / 2]
}

fn print_table(report: &Report) {
    let Report { rows, .. } = report;
    println!(
        "{rows} observations over one WebSocket into one core, {} rounds\n",
        report.json.len()
    );
    println!("{:<26}{:>16}{:>14}{:>14}", "form", "observations/s", "CPU, µs", "frame, bytes");
    for (form, rounds) in [("JSON, arrays of numbers", &report.json), ("protobuf", &report.binary)]
    {
        let Round { observations_per_s, cpu_micros, frame_bytes } = median(rounds);
        println!("{form:<26}{observations_per_s:>16.0}{cpu_micros:>14.1}{frame_bytes:>14}");
    }
}
