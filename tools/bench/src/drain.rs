//! SIGTERM while the queue is full: how soon the server has ended in order, whether every client was told what is durable,
//! and whether all of that is there when it is started again.
//!
//! ```text
//!  round: server ─► sessions send as fast as they are let ─► so many wait ─► SIGTERM ─┬─► exit status, seconds
//!                   WebSockets listen ────────────────────────────────────────────────┴─► what each client heard
//!         server again ─► rows of the space ≥ what was acked
//! ```

use std::io::{Error, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use engram::client::executor;
use engram::client::grpc::CallError;
use engram::client::stream::{self, StreamError};
use engram::client::window::{Plan, Window};
use engram::dataset::Dataset;
use engram::failure::Code;
use serde::Serialize;

use crate::process::Server;
use crate::rounds::{median, repeat};
use crate::socket::{Form, Socket, Told, unexpected};
use crate::streams::{episode_of, open};
use crate::testbed::{Served, Testbed, TestbedArguments};

const SPACE: &str = "drain";
/// The part of the queue that sessions of the normal lane may fill is this much longer than what is waited for.
const CAPACITY_OVER_QUEUED: f64 = 1.25;
/// Between two looks at the queue.
const BETWEEN: Duration = Duration::from_millis(2);
/// How long the queue may take to fill.
const FILLED_WITHIN: Duration = Duration::from_secs(120);
/// The close code of a server that stops.
const GOING_AWAY: u16 = 1001;

/// What `drain` measures with.
#[derive(clap::Args, Debug)]
pub(crate) struct DrainArguments {
    #[command(flatten)]
    testbed: TestbedArguments,
    /// Observations that wait when SIGTERM comes, at least.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    queued: u32,
    /// Sessions that send, each on a gRPC connection of its own.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    sessions: u32,
    /// Observations of each of them under way at most.
    #[arg(long, default_value_t = 4_096, value_parser = clap::value_parser!(u64).range(1..))]
    window: u64,
    /// Sessions that listen on WebSockets.
    #[arg(long, default_value_t = 8)]
    websockets: u32,
    /// Rounds; medians are told.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Round {
    /// Observations that waited when SIGTERM came.
    queued: u64,
    /// Observations that were acked until the end.
    acked: u64,
    /// From SIGTERM until the last client was told.
    told_s: f64,
    /// From SIGTERM to the end of the process.
    stopped_s: f64,
    /// Rows that were there when it was started again.
    rows: u64,
    /// From its start until it served them.
    ready_again_s: f64,
}

#[derive(Debug, Serialize)]
struct Report {
    sessions: u32,
    websockets: u32,
    stopped_s: f64,
    told_s: f64,
    rounds: Vec<Round>,
}

/// Measures, prints. Fails where a client was not told, or something acked is not there.
pub(crate) fn run(arguments: &DrainArguments) -> Result<()> {
    let testbed = arguments.testbed.open()?;
    let rounds = repeat(arguments.rounds, || round(&testbed, arguments))?;
    let report = Report {
        sessions: arguments.sessions,
        websockets: arguments.websockets,
        stopped_s: median(rounds.iter().map(|round| round.stopped_s)),
        told_s: median(rounds.iter().map(|round| round.told_s)),
        rounds,
    };
    testbed.tell(&report, print_table)
}

fn round(testbed: &Testbed<'_>, arguments: &DrainArguments) -> Result<Round> {
    let capacity = (f64::from(arguments.queued) * CAPACITY_OVER_QUEUED) as u32;
    let settings = ["--capacity".to_owned(), capacity.to_string()];
    let Served { server, place } = testbed.serve(&settings)?;
    let listening: Vec<_> =
        (0..arguments.websockets).map(|_| listen(server.address)).collect::<Result<_>>()?;
    let sending = send(testbed, server.address, arguments);
    let queued = wait_filled(&server, arguments.queued)?;

    let begun = Instant::now();
    let stopping = std::thread::spawn(move || server.stop().map(|()| begun.elapsed()));
    let acked =
        sending.join().map_err(|_| Error::other("a client panicked"))?.map_err(Error::other)?;
    for listening in listening {
        listening.join().map_err(|_| Error::other("a client panicked"))??;
    }
    let told_s = begun.elapsed().as_secs_f64();
    let stopped = stopping.join().map_err(|_| Error::other("nobody waited"))??;

    let begun = Instant::now();
    let server = testbed.serve_again(&place, &settings)?;
    let ready_again_s = begun.elapsed().as_secs_f64();
    let rows = server.rows_of(SPACE)?;
    if rows < acked {
        return Err(Error::other(format!("{acked} acked, but {rows} rows are there")));
    }
    server.stop()?;
    let stopped_s = stopped.as_secs_f64();
    Ok(Round { queued, acked, told_s, stopped_s, rows, ready_again_s })
}

/// Waits until so many observations wait; how many did.
fn wait_filled(server: &Server, queued: u32) -> Result<u64> {
    let begun = Instant::now();
    while begun.elapsed() < FILLED_WITHIN {
        let depth = server.metric("queue_depth")?;
        if depth >= f64::from(queued) {
            return Ok(depth as u64);
        }
        sleep(BETWEEN);
    }
    Err(Error::other("the queue did not fill in time"))
}

/// Begins to send until the server closes the sessions; how much was acked of all of them.
fn send(
    testbed: &Testbed<'_>,
    address: SocketAddr,
    arguments: &DrainArguments,
) -> JoinHandle<std::result::Result<u64, String>> {
    let (core, data) = (testbed.client_core(), testbed.data.clone());
    let (sessions, window) = (u64::from(arguments.sessions), arguments.window);
    std::thread::spawn(move || {
        executor::run(Some(core), async {
            let sessions: Vec<_> = (0..sessions)
                .map(|session| {
                    let data = data.clone();
                    let rows = (session, sessions);
                    glommio::spawn_local(send_until_closed(address, data, rows, window))
                })
                .collect();
            let mut acked = 0;
            for session in sessions {
                acked += session.await?;
            }
            Ok(acked)
        })?
    })
}

/// What one session had acked when it was told that the server stops.
async fn send_until_closed(
    address: SocketAddr,
    data: Arc<Dataset>,
    (session, sessions): (u64, u64),
    window: u64,
) -> std::result::Result<u64, String> {
    let mut observing = open(address, SPACE).await?;
    let mut window = Window::new(Plan { count: u64::MAX, window, schedule: None });
    let episode = |sequence: u64| episode_of(&data, session + (sequence - 1) * sessions);
    let sent = stream::run(&mut observing, &mut window, Instant::now(), episode, |_| ()).await;
    match sent {
        // Behind all acks: what is not acked by then is to be sent again.
        Err(StreamError::Transport(CallError::Refused(told))) if told.code == Code::Unavailable => {
            Ok(window.acked())
        }
        other => Err(format!("session {session} was not told: {other:?}")),
    }
}

/// Begins to listen until the session is closed, and then the connection.
fn listen(address: SocketAddr) -> Result<JoinHandle<Result<()>>> {
    let mut socket = Socket::open(address, Form::Binary, SPACE)?;
    Ok(std::thread::spawn(move || {
        let mut is_closed = false;
        loop {
            match socket.hear()? {
                Told::Closed { last: 0 } if !is_closed => is_closed = true,
                Told::End { code: GOING_AWAY } if is_closed => return Ok(()),
                Told::Other => {}
                other => return Err(unexpected(&other)),
            }
        }
    }))
}

fn print_table(report: &Report) {
    let Report { sessions, websockets, stopped_s, told_s, rounds } = report;
    println!("{sessions} sessions send, {websockets} WebSockets listen; {} rounds\n", rounds.len());
    for round in rounds {
        let Round { queued, acked, told_s, stopped_s, rows, ready_again_s } = round;
        println!(
            "{queued} waited: all told after {told_s:.2} s, ended after {stopped_s:.2} s; {acked} acked, {rows} there {ready_again_s:.2} s after a start"
        );
    }
    println!("\nmedians: told after {told_s:.2} s, ended after {stopped_s:.2} s");
}
