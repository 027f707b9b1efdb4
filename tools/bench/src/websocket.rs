//! Observations a second over one WebSocket into one core, as JSON with arrays of numbers and in the protocol's own form.
//!
//! ```text
//!  round: server (one core, an empty folder) ─► init ─► frames are made ─┬─► all of them, as fast as it reads ─┐
//!                                                                        └─► cumulative acks, to the last ◄────┘ stop
//! ```
//! All frames are made before the clock starts, so that what is measured is the server alone, on a core of its own.

use std::io::{BufReader, Error, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use engram::dataset::{DIMENSION, Dataset};
use engram_proto::engram::v1::observation_request::Operation;
use engram_proto::engram::v1::observation_response::Result as Answer;
use engram_proto::engram::v1::{
    AckMode, Episode, ObservationRequest, ObservationResponse, StreamInit,
    observation_ack::Status as AckStatus,
};
use prost::Message;
use serde::Serialize;
use serde_json::{Value, json};

use crate::calibration;
use crate::process::{Server, beside, cpu_seconds};

const SPACE: &str = "websocket";
/// How long the server may take for a message: after that it is taken to hang.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// What `websocket` measures with.
#[derive(clap::Args, Debug)]
pub(crate) struct WebSocketArguments {
    /// Data folder (gloss.f16, words.f16, text.jsonl).
    #[arg(long, default_value = "tests/data")]
    data: std::path::PathBuf,
    /// Observations of a round.
    #[arg(long, default_value_t = 30_000, value_parser = clap::value_parser!(u32).range(1..=80_000))]
    rows: u32,
    /// Rounds of each form, in turns; medians are told.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// The server's core.
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// The client's core.
    #[arg(long, default_value_t = 1)]
    client_core: usize,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Text frames, vectors as arrays of numbers.
    Json,
    /// Binary frames of protobuf.
    Binary,
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
    machine: String,
    commit: String,
    calibration_ns_per_step: [f64; 2],
    json: Vec<Round>,
    binary: Vec<Round>,
}

/// Measures, prints.
pub(crate) fn run(arguments: &WebSocketArguments) -> Result<()> {
    let data = Dataset::open(&arguments.data).map_err(Error::other)?;
    let before = calibration::nanos_per_step();
    let (mut json, mut binary) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds {
        json.push(round(arguments, &data, Form::Json)?);
        binary.push(round(arguments, &data, Form::Binary)?);
    }
    let report = Report {
        rows: arguments.rows,
        machine: calibration::machine(),
        commit: calibration::commit(),
        calibration_ns_per_step: [before, calibration::nanos_per_step()],
        json,
        binary,
    };
    match arguments.json {
        true => println!("{}", serde_json::to_string_pretty(&report)?),
        false => print_table(&report),
    }
    Ok(())
}

fn round(arguments: &WebSocketArguments, data: &Dataset, form: Form) -> Result<Round> {
    let program = std::env::current_exe()?;
    let scratch = program.parent().expect("a program lies in a folder");
    let folder = tempfile::Builder::new().prefix("websocket-").tempdir_in(scratch)?;
    let mut command = Command::new(beside("engram")?);
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path());
    // A list of one, for a number alone would be a count.
    let core = arguments.server_core;
    command.args(["--cores", &format!("{core}-{core}")]);
    let server = Server::start(&mut command)?;
    server.wait_ready()?;

    // A thread of its own, for a program inherits the cores of whoever starts it.
    let measured = std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            core_affinity::set_for_current(core_affinity::CoreId { id: arguments.client_core });
            stream_all(&server, arguments.rows, data, form)
        });
        client.join().expect("a client does not panic")
    })?;
    server.stop()?;
    Ok(measured)
}

/// Sends all rows, and waits until the last is acked.
fn stream_all(server: &Server, rows: u32, data: &Dataset, form: Form) -> Result<Round> {
    let mut stream = open(server.address)?;
    let mut answers = BufReader::new(stream.try_clone()?);
    stream.write_all(&frame(form, &init(form)))?;
    let session = match next_message(&mut answers)? {
        Told::InitAck { session } => session,
        other => return Err(unexpected(&other)),
    };
    let last_row = u64::from(rows);
    let frames: Vec<Vec<u8>> =
        (1..=last_row).map(|row| frame(form, &observation(form, data, &session, row))).collect();
    let bytes: u64 = frames.iter().map(|frame| frame.len() as u64).sum();

    let (user, kernel) = cpu_seconds(server.pid())?;
    let begun = Instant::now();
    let sending = std::thread::spawn(move || {
        frames.iter().try_for_each(|frame| stream.write_all(frame)).map(|()| stream)
    });
    loop {
        match next_message(&mut answers)? {
            Told::Accepted { last } if last == last_row => break,
            Told::Accepted { .. } | Told::Other => {}
            other => return Err(unexpected(&other)),
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let (user_after, kernel_after) = cpu_seconds(server.pid())?;
    // Dropped, the connection ends.
    drop(sending.join().expect("writing does not panic")?);
    let rows = f64::from(rows);
    Ok(Round {
        observations_per_s: rows / seconds,
        cpu_micros: (user_after + kernel_after - user - kernel) * 1e6 / rows,
        frame_bytes: bytes / last_row,
    })
}

/// A connection behind its handshake.
fn open(address: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    write!(
        stream,
        "GET /v1/stream HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    match head.starts_with(b"HTTP/1.1 101 ") {
        true => Ok(stream),
        false => Err(Error::other(String::from_utf8_lossy(&head).into_owned())),
    }
}

/// A client's frame. Its mask changes nothing, which the server cannot know.
fn frame(form: Form, payload: &[u8]) -> Vec<u8> {
    let opcode = match form {
        Form::Json => 0x81,
        Form::Binary => 0x82,
    };
    let mut frame = vec![opcode];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

fn init(form: Form) -> Vec<u8> {
    match form {
        Form::Json => json!({"type": "init", "memory_space_id": SPACE, "ack_mode": "cumulative"})
            .to_string()
            .into_bytes(),
        Form::Binary => {
            let init = StreamInit { ack_mode: AckMode::Cumulative.into(), ..StreamInit::default() };
            let request = ObservationRequest {
                memory_space_id: SPACE.to_owned(),
                operation: Some(Operation::Init(init)),
                ..ObservationRequest::default()
            };
            request.encode_to_vec()
        }
    }
}

fn observation(form: Form, data: &Dataset, session: &str, sequence: u64) -> Vec<u8> {
    let row = sequence as usize - 1;
    let mut vector = [0.0; DIMENSION];
    data.base(row, &mut vector);
    let (id, what) = (format!("m{row}"), data.base_text(row));
    match form {
        Form::Json => {
            let episode = SentEpisode { id: &id, what: &what, embedding: &vector };
            let message = Sent {
                kind: "observation",
                session_id: session,
                sequence_number: sequence,
                episode,
            };
            serde_json::to_vec(&message).expect("finite numbers and texts are JSON")
        }
        Form::Binary => {
            let episode = Episode { id, what, embedding: vector.to_vec(), ..Episode::default() };
            let request = ObservationRequest {
                session_id: session.to_owned(),
                sequence_number: sequence,
                operation: Some(Operation::Observation(episode)),
                ..ObservationRequest::default()
            };
            request.encode_to_vec()
        }
    }
}

/// An observation as JSON has it, each number with as few digits as tell it from its neighbours.
#[derive(Serialize)]
struct Sent<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    session_id: &'a str,
    sequence_number: u64,
    episode: SentEpisode<'a>,
}

#[derive(Serialize)]
struct SentEpisode<'a> {
    id: &'a str,
    what: &'a str,
    embedding: &'a [f32],
}

/// What the server said.
#[derive(Debug)]
enum Told {
    InitAck {
        session: String,
    },
    Accepted {
        last: u64,
    },
    /// Nothing that counts: a heartbeat, a ping.
    Other,
}

fn unexpected(told: &dyn std::fmt::Debug) -> Error {
    Error::other(format!("the server said {told:?}"))
}

fn next_message(answers: &mut impl Read) -> Result<Told> {
    let mut head = [0; 2];
    answers.read_exact(&mut head)?;
    let length = match head[1] & 0x7f {
        126 => {
            let mut bytes = [0; 2];
            answers.read_exact(&mut bytes)?;
            u64::from(u16::from_be_bytes(bytes))
        }
        127 => {
            let mut bytes = [0; 8];
            answers.read_exact(&mut bytes)?;
            u64::from_be_bytes(bytes)
        }
        short => u64::from(short),
    };
    let mut payload = vec![0; usize::try_from(length).map_err(Error::other)?];
    answers.read_exact(&mut payload)?;
    match head[0] & 0x0f {
        1 => told_in_json(&serde_json::from_slice(&payload)?),
        2 => told_in_binary(ObservationResponse::decode(&payload[..]).map_err(Error::other)?),
        8 => Err(unexpected(&("a close frame", payload))),
        _ => Ok(Told::Other),
    }
}

fn told_in_json(message: &Value) -> Result<Told> {
    let sequence = message["sequence_number"].as_u64();
    match (message["type"].as_str(), message["status"].as_str(), sequence) {
        (Some("init_ack"), ..) => {
            let session = message["session_id"].as_str().unwrap_or_default().to_owned();
            Ok(Told::InitAck { session })
        }
        (Some("ack"), Some("accepted"), Some(last)) => Ok(Told::Accepted { last }),
        (Some("heartbeat"), ..) => Ok(Told::Other),
        _ => Err(unexpected(message)),
    }
}

fn told_in_binary(response: ObservationResponse) -> Result<Told> {
    match response.result {
        Some(Answer::InitAck(ack)) => Ok(Told::InitAck { session: ack.session_id }),
        Some(Answer::Ack(ack)) if ack.status() == AckStatus::Accepted => {
            Ok(Told::Accepted { last: response.sequence_number })
        }
        None => Ok(Told::Other),
        other => Err(unexpected(&other)),
    }
}

/// The round in the middle, by its rate.
fn median(rounds: &[Round]) -> Round {
    let mut rounds = rounds.to_vec();
    rounds.sort_by(|one, other| one.observations_per_s.total_cmp(&other.observations_per_s));
    rounds[rounds.len() / 2]
}

fn print_table(report: &Report) {
    let Report { rows, machine, commit, calibration_ns_per_step, .. } = report;
    println!("{machine}, {commit}, {calibration_ns_per_step:.2?} ns a step");
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
