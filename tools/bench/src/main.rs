//! `engram-bench`: what an observation costs, station by station, beside other programs in the same run; the index alone;
//! how a server comes back; what compactions do to others; what a WebSocket takes in; when an observation is found; what an
//! overload does.

mod calibration;
mod rounds;
mod latencies;
mod echo;
mod index;
mod process;
mod watch;
mod testbed;
mod streams;
mod socket;
mod compaction;
mod connections;
mod drain;
mod first_page;
mod overload;
mod restart;
mod recalls;
mod stations;
mod visible;
mod websocket;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "engram-bench", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// CPU of the server's core for one observation, split by station, in turns with a tonic server that only decodes.
    Stations(StationsArguments),
    /// The index alone, on one thread: inserts/s, recall against exact search, queries/s, memory.
    Index(index::IndexArguments),
    /// A server's restart with one space: from the page cache, cold beside the disk alone, after SIGKILL; the first recall
    /// behind it; what it writes and what it takes on the disk.
    Restart(restart::RestartArguments),
    /// Acks and recalls while compactions are at work, beside those of the same run while none is.
    Compaction(compaction::CompactionArguments),
    /// What a recall takes where its memories are at hand, in the page cache, or on the disk alone.
    Recalls(recalls::RecallsArguments),
    /// Observations a second over one WebSocket into one core, as JSON and in the protocol's own form.
    Websocket(websocket::WebSocketArguments),
    /// How long it takes from sending an observation until a recall finds it, at half load and at full load.
    Visible(visible::VisibleArguments),
    /// A server that is sent more than it takes, and how its recalls or a neighbour fare meanwhile.
    Overload(overload::OverloadArguments),
    /// SIGTERM while the queue is full: how soon the server has ended, and what every client was told.
    Drain(drain::DrainArguments),
    /// How soon the first page of a recall is there, and all of it, while observations come in.
    FirstPage(first_page::FirstPageArguments),
    /// A thousand connections at once, and some that ask for much and read nothing.
    Connections(connections::ConnectionsArguments),
    /// Run that tonic server (what `stations` starts beside).
    #[command(hide = true)]
    TonicEcho {
        /// The core to run on.
        #[arg(long, default_value_t = 0)]
        core: usize,
    },
}

/// What `stations` measures with.
#[derive(clap::Args, Debug)]
pub(crate) struct StationsArguments {
    #[command(flatten)]
    testbed: testbed::TestbedArguments,
    /// Observations a run.
    #[arg(long, default_value_t = 30_000)]
    rows: u64,
    /// Spaces they are spread over.
    #[arg(long, default_value_t = 4)]
    spaces: u32,
    /// Streams that send them, on one connection each.
    #[arg(long, default_value_t = 4)]
    streams: u32,
    /// Runs of each server; medians are told.
    #[arg(long, default_value_t = 5)]
    runs: usize,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Stations(arguments) => stations::run(&arguments),
        Command::Index(arguments) => index::run(&arguments),
        Command::Restart(arguments) => restart::run(&arguments),
        Command::Compaction(arguments) => compaction::run(&arguments),
        Command::Recalls(arguments) => recalls::run(&arguments),
        Command::Websocket(arguments) => websocket::run(&arguments),
        Command::Visible(arguments) => visible::run(&arguments),
        Command::Overload(arguments) => overload::run(&arguments),
        Command::Drain(arguments) => drain::run(&arguments),
        Command::FirstPage(arguments) => first_page::run(&arguments),
        Command::Connections(arguments) => connections::run(&arguments),
        Command::TonicEcho { core } => echo::serve(core),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("engram-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
