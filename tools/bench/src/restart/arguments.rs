//! What `restart` measures with.

use std::path::PathBuf;

/// What the figures of the JSON mean; `--help` shows it.
const FIGURES: &str = "\
The figures (medians over the rounds; what one round has is told beside them):
  observations_per_s: of the load, until all of it was acked; linked_s: until all of it was in the
    graph, too
  record_bytes: of all records of 32-bit floats that were acked, heads and padding to 8 bytes in
  written_bytes: what the process had the kernel write until then (write_bytes of /proc/PID/io: log,
    checkpoints, summaries, with all that is filled up; 4 KiB pages), and write_amplification: that
    over record_bytes
  disk_bytes: what the folder takes on the disk once the server has stopped in order, with places
    that are reserved (st_blocks); disk_over_live: that over record_bytes; checkpoint_bytes: its
    checkpoints
  stop_s: from SIGTERM to the end of the process, what was due of checkpoints written
  page_cache: started again after that, all files in the page cache. ready_s: from the start of the
    process until it serves every space; first_recall_ms: the recall that is asked first, on a
    connection that was open, later_recall_ms: of those after it; disk_bytes_read: read_bytes of
    /proc/PID/io
  cold: the same with none of its files in the page cache (POSIX_FADV_DONTNEED for each, and
    resident_bytes tells how much of them was left there); the program itself is in the cache
  cold_read_s, cold_read_bytes: one thread reads the same files (checkpoints, and segments that they
    do not cover, as `engram inspect` tells) cold through the page cache, 1 MiB at a time, one behind
    the other; cold_over_read: cold ready_s over cold_read_s of the same round, the two in turns
  killed: SIGKILL in the middle of an ingest, started again with files in the page cache: rows that
    came since the last start in order, ready_s, first_recall_ms, rows_replayed: those that no
    checkpoint held
  calibration_ns_per_step: a fixed chain of multiplications, how fast the machine is just now";

/// The flags of `restart`.
#[derive(clap::Args, Debug)]
#[command(after_long_help = FIGURES)]
pub(crate) struct RestartArguments {
    /// Data folder (gloss.f16, words.f16, text.jsonl); its last 1,000 rows are the queries.
    #[arg(long, default_value = "tests/data")]
    pub(super) data: PathBuf,
    /// Rows of the one space.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(100..))]
    pub(super) rows: u32,
    /// Rounds of restarts: from the page cache, cold, and after a kill.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) rounds: u32,
    /// The server's cores, as its own --cores takes them [default: its own default].
    #[arg(long)]
    pub(super) cores: Option<String>,
    /// Where the data folder is made, and removed again; about 6 KB a row [default: beside this program].
    #[arg(long, value_name = "DIR")]
    pub(super) scratch: Option<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub(super) json: bool,
}
