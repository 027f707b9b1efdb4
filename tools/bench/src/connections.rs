//! Many connections at once: most of them lie idle, some are WebSockets that store, and then some ask for much and read
//! nothing. All are served, and those who read nothing cost memory within the bound, and no one else's time.
//!
//! ```text
//!  idle ─► one request each ─────────────────────────────────────────────────────────► one more each
//!  busy ─► an observation each, now and then, and its ack ──► the same beside silent ones ─► latencies
//!  silent ──────────────────────────────────────────────────► recalls, and nothing is read
//! ```

use std::io::{Error, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use engram::dataset::{DIMENSION, Dataset};
use engram_proto::engram::v1::cue::CueType;
use engram_proto::engram::v1::observation_request::Operation;
use engram_proto::engram::v1::{Cue, EmbeddingCue, ObservationRequest, StreamingRecallRequest};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

use crate::latencies::{Latencies, Percentiles};
use crate::process::resident_bytes_max;
use crate::socket::{Form, Socket, Told, unexpected};
use crate::streams::{Rows, fill};
use crate::testbed::{Served, Testbed, TestbedArguments};

const SPACE: &str = "connections";
/// What a memory of 768 numbers takes, in bytes.
const MEMORY_BYTES: u64 = 1_300;
/// How long the server may take for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Rows from here on are stored by the busy ones, each so many of its own.
const BUSY_ROWS: usize = 1 << 20;

/// What `connections` measures with.
#[derive(clap::Args, Debug)]
pub(crate) struct ConnectionsArguments {
    #[command(flatten)]
    testbed: TestbedArguments,
    /// Rows that the space holds before anything is measured.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    rows: u64,
    /// Connections that lie idle.
    #[arg(long, default_value_t = 900)]
    idle: usize,
    /// WebSockets that store.
    #[arg(long, default_value_t = 100)]
    busy: usize,
    /// Observations of all of them in a second; each waits for its ack before the next.
    #[arg(long, default_value_t = 1_000.0)]
    rate: f64,
    /// WebSockets that recall and do not read.
    #[arg(long, default_value_t = 10)]
    silent: usize,
    /// Recalls of each of them, of 1,000 memories with their embeddings.
    #[arg(long, default_value_t = 8)]
    recalls: u32,
    /// Seconds without the silent ones, and then with them.
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
}

#[derive(Debug, Serialize)]
struct Report {
    idle: usize,
    busy: usize,
    silent: usize,
    seconds: f64,
    /// Acks of the busy ones, from when each observation was due.
    without: Percentiles,
    /// The same beside the silent ones.
    with: Percentiles,
    /// Connections that the server had at most.
    connections: u64,
    /// Memory that the process had resident at most.
    resident_bytes_max: u64,
    /// What the server says that it takes at most beside its memories.
    bound_bytes: u64,
    /// What those take.
    memories_bytes: u64,
}

/// Measures, prints. Fails where a connection is not served.
pub(crate) fn run(arguments: &ConnectionsArguments) -> Result<()> {
    let testbed = arguments.testbed.open()?;
    // The server inherits it.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    let Served { server, place: _place } = testbed.serve(&[])?;
    let rows = Rows { space: SPACE, first: 0, count: arguments.rows, per_s: None };
    fill(&testbed, &server, rows)?;
    server.wait_drained()?;
    let address = server.address;

    let mut idle = (0..arguments.idle).map(|_| visit(address)).collect::<Result<Vec<_>>>()?;
    let mut busy: Vec<Busy> =
        (0..arguments.busy).map(|number| Busy::open(address, number)).collect::<Result<_>>()?;
    let without = store_all(&testbed, &mut busy, arguments)?;
    let silent = (0..arguments.silent)
        .map(|number| ask_and_read_nothing(&testbed, address, (number, arguments.recalls)))
        .collect::<Result<Vec<_>>>()?;
    let with = store_all(&testbed, &mut busy, arguments)?;
    let connections = server.metric("connections")? as u64;
    drop(silent);
    idle.iter_mut().try_for_each(ask)?;

    let report = Report {
        idle: arguments.idle,
        busy: arguments.busy,
        silent: arguments.silent,
        seconds: arguments.seconds,
        without: without.percentiles(),
        with: with.percentiles(),
        connections,
        resident_bytes_max: resident_bytes_max(server.pid())?,
        bound_bytes: server.metric("memory_bound_bytes")? as u64,
        memories_bytes: server.rows_of(SPACE)? * MEMORY_BYTES,
    };
    server.stop()?;
    testbed.tell(&report, Report::print)
}

/// A connection that is answered once, and stays.
fn visit(address: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    ask(&mut stream)?;
    Ok(stream)
}

/// One request on it.
fn ask(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: bench\r\n\r\n")?;
    let mut answer = [0; 4_096];
    let length = stream.read(&mut answer)?;
    match answer[..length].starts_with(b"HTTP/1.1 200 ") {
        true => Ok(()),
        false => Err(Error::other(String::from_utf8_lossy(&answer[..length]).into_owned())),
    }
}

/// One that stores.
struct Busy {
    socket: Socket,
    number: usize,
    stored: u64,
}

impl Busy {
    fn open(address: SocketAddr, number: usize) -> Result<Busy> {
        // Both forms are at home here.
        let form = if number.is_multiple_of(2) { Form::Json } else { Form::Binary };
        Ok(Busy { socket: Socket::open(address, form, SPACE)?, number, stored: 0 })
    }

    /// Stores one row; ends with its ack.
    fn store(&mut self, data: &Dataset) -> Result<()> {
        self.stored += 1;
        let row = BUSY_ROWS * (1 + self.number) + self.stored as usize;
        self.socket.frames()?.write_all(&self.socket.observation(data, self.stored, row))?;
        loop {
            match self.socket.hear()? {
                Told::Accepted { last } if last == self.stored => return Ok(()),
                Told::Other => {}
                other => return Err(unexpected(&other)),
            }
        }
    }
}

/// All busy ones store for the time, each on a thread of its own; how long each ack took.
fn store_all(
    testbed: &Testbed<'_>,
    busy: &mut [Busy],
    arguments: &ConnectionsArguments,
) -> Result<Latencies> {
    let start = Instant::now();
    let each = arguments.rate / arguments.busy as f64;
    let count = (each * arguments.seconds) as u64;
    std::thread::scope(|scope| {
        let storing: Vec<_> = busy
            .iter_mut()
            .map(|one| {
                scope.spawn(move || {
                    let mut acks = Latencies::new();
                    let first = one.number as f64 / arguments.rate;
                    for number in 0..count {
                        let due = start + Duration::from_secs_f64(first + number as f64 / each);
                        sleep(due.saturating_duration_since(Instant::now()));
                        one.store(&testbed.data)?;
                        acks.record(due.elapsed());
                    }
                    Ok(acks)
                })
            })
            .collect();
        let mut acks = Latencies::new();
        for stored in storing {
            let stored: Result<Latencies> = stored.join().expect("a client does not panic");
            acks.merge(&stored?);
        }
        Ok(acks)
    })
}

/// Asks for more than any buffer between holds.
fn ask_and_read_nothing(
    testbed: &Testbed<'_>,
    address: SocketAddr,
    (number, recalls): (usize, u32),
) -> Result<Socket> {
    let socket = Socket::open(address, Form::Binary, SPACE)?;
    let mut vector = [0.0; DIMENSION];
    testbed.data.query(number, &mut vector);
    let cue = EmbeddingCue { vector: vector.to_vec(), similarity_threshold: 0.0 };
    let recall = StreamingRecallRequest {
        cue: Some(Cue { cue_type: Some(CueType::Embedding(cue)), ..Cue::default() }),
        max_results: 1_000,
        include_embeddings: true,
        ..StreamingRecallRequest::default()
    };
    let request =
        ObservationRequest { operation: Some(Operation::Recall(recall)), ..Default::default() };
    for _ in 0..recalls {
        socket.say(&request)?;
    }
    Ok(socket)
}

impl Report {
    fn print(&self) {
        let Report { idle, busy, silent, seconds, without, with, connections, .. } = self;
        println!(
            "{idle} connections lie idle, {busy} WebSockets store: {connections} at the end\n"
        );
        println!("acks for {seconds} s: {without}");
        println!("beside {silent} that read nothing: {with}");
        let mega = |bytes: u64| bytes / 1_000_000;
        println!(
            "resident {} MB at most; bound {} MB, and {} MB of memories",
            mega(self.resident_bytes_max),
            mega(self.bound_bytes),
            mega(self.memories_bytes)
        );
    }
}
