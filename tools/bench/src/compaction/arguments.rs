//! What `compaction` measures with.

use std::path::PathBuf;

use super::traffic::Order;

/// What the figures of the JSON mean; `--help` shows it.
const FIGURES: &str = "\
The figures:
  acks, recalls: of each, how many (count) and how long they took in ms, from when each was due
    (p50, p99, p999), of those that were under way while a compaction was at work (with: any moment
    of them, to 40 ms) and of the others (without), and p99_ratio: with over without
  active_share: how much of the time a compaction was at work; copied_bytes_per_s: in a second of that
  compacted_segments: that were given up meanwhile
  disk_bytes: what the logs take at the end, with places that are reserved; live_bytes: of the records
    that count; disk_over_live
  calibration_ns_per_step: a fixed chain of multiplications, how fast the machine is just now";

/// The flags of `compaction`.
#[derive(clap::Args, Debug)]
#[command(after_long_help = FIGURES)]
pub(crate) struct CompactionArguments {
    /// Data folder (gloss.f16, words.f16, text.jsonl); its last 1,000 rows are the queries.
    #[arg(long, default_value = "tests/data")]
    pub(super) data: PathBuf,
    /// Memories of the one space.
    #[arg(long, default_value_t = 60_000, value_parser = clap::value_parser!(u32).range(100..))]
    pub(super) rows: u32,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) seconds: u32,
    /// Memories replaced in a second.
    #[arg(long, default_value_t = 2_000.0)]
    pub(super) rate: f64,
    /// Which is replaced next.
    #[arg(long, value_enum, default_value = "none")]
    pub(super) order: Order,
    /// Recalls in a second.
    #[arg(long, default_value_t = 100.0)]
    pub(super) recalls: f64,
    /// The server's cores, as its own --cores takes them [default: its own default].
    #[arg(long)]
    pub(super) cores: Option<String>,
    /// Where the data folder is made, and removed again [default: beside this program].
    #[arg(long, value_name = "DIR")]
    pub(super) scratch: Option<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub(super) json: bool,
}
