//! What `overload` measures with.

use crate::testbed::TestbedArguments;

/// What the figures of the JSON mean; `--help` shows it.
const FIGURES: &str = "\
The figures:
  saturation_per_s: rows a second that the server takes in when they are sent as fast as it takes them,
    until none waits for the graph
  due_per_s: what is due on the sessions, --times that; sent_per_s: what was sent, again or for the
    first time, beyond which the server's windows let nothing through; taken_per_s: what was acked of
    it; refused: what was told to come back
  depth_max, capacity: of the queue, looked at every few milliseconds
  recalls: beside it, 10 memories each, from when each was due
  active_after_s: from the last moment in which anything was sent for the first time until the queue is
    so empty that sessions are told ACTIVE (below 70 %)
  sent_again, stored: what was still refused then and was sent again, and what the space holds at the end:
    as much as was acked, or the command fails
  resident_bytes_max: of the process; bound_bytes: what the server says that it takes at most beside its
    memories; memories_bytes: 1,300 for each of them
  alone, beside, p99_ratio (--noisy): acks of one session of another space, from when each was due, without
    and with that load
  calibration_ns_per_step: a fixed chain of multiplications, how fast the machine is just now";

/// The flags of `overload`.
#[derive(clap::Args, Debug)]
#[command(after_long_help = FIGURES)]
pub(crate) struct OverloadArguments {
    #[command(flatten)]
    pub(super) testbed: TestbedArguments,
    /// Rows that the space holds before anything is measured.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) rows: u64,
    /// Rows by which it is measured what the server takes.
    #[arg(long, default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(4..))]
    pub(super) load_rows: u64,
    /// How many times that is due.
    #[arg(long, default_value_t = 10.0)]
    pub(super) times: f64,
    /// For so many seconds.
    #[arg(long, default_value_t = 60.0)]
    pub(super) seconds: f64,
    /// Sessions that send it, each on a connection of its own.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) sessions: u32,
    /// Observations of each session under way at most.
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) window: u64,
    /// The server's queue.
    #[arg(long, default_value_t = 100_000)]
    pub(super) capacity: u32,
    /// Recalls in a second.
    #[arg(long, default_value_t = 50.0)]
    pub(super) recalls: f64,
    /// How a neighbour fares: acks of another space on the same core, beside such a load and alone.
    #[arg(long)]
    pub(super) noisy: bool,
    /// Observations that the neighbour sends in a second.
    #[arg(long, default_value_t = 1_000.0)]
    pub(super) neighbour: f64,
    /// Rounds; medians are told.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) rounds: u32,
}
