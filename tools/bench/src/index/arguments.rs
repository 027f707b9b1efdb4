//! What `index` measures with.

use std::path::PathBuf;

use super::load::BLOCK_ROWS;

/// What the figures of the JSON mean; `--help` shows it.
const FIGURES: &str = "\
The figures (medians where there are several runs):
  inserts_per_s: rows a second of wall time on one thread, from f32 as a client sends them: scaled,
    encoded, taken in with their ids, findable. Up to 10,240 rows stay out of the graph and are
    compared one by one, as in a space of the server; a load of more rows ends when all of them are
    in the graph. _min and _max over the runs; _first_10000 until the first 10,000 rows were found;
    _by_100000 over each 100,000 rows in the graph
  rows_linked, rows_scanned: rows in the graph, and those compared one by one by each search
  encode_us, insert_us: its split, µs a row; the latter with the samples of recall taken beside
  cpu_share: CPU time over wall time of the load; far below 1, others disturbed it
  distances_per_insert: rows compared for one inserted
  recall_at_10, recall_at_100, harder_recall_at_10, queries_per_s: at the width of --width, right
    after the load; the share of the exact answers found. The harder set asks with base texts in a
    context that the base lacks: many of their neighbours are near ties
  widths: the same at several widths. What is timed is one query at a time, for 10 rows: encoded,
    searched. recall_at_100 asks for 100 and is told from width 100 on
  by_default: the same at the width that the space has chosen by then, of itself; recall_estimate:
    what it believes its recall there to be
  width_at_95, queries_per_s_at_95: the smallest width at which recall@10 is 0.95, null where none
    is, and the speed there
  settled: the answers once the space has nothing left to do (4,096 rows and more have a graph
    then), the seconds until then, and
    inserts_per_s of load and settling together
  bytes_per_row: RAM as the engine counts it, all in (codes, links, similarities, ids' hashes,
    generations, times, places in the log); resident_bytes_per_row: by how much the process grew
    over the first load, with some 20 MB of the allocator's that do not grow with the rows
  scan_ns_per_row: all rows compared one by one
  batches: loads of the first rows, at most 50,000, by rows handed over at a time
  calibration_ns_per_step: a fixed chain of multiplications, how fast the machine is just now";

/// The flags of `index`.
#[derive(clap::Args, Debug)]
#[command(after_long_help = FIGURES)]
pub(crate) struct IndexArguments {
    /// Data folder (gloss.f16, words.f16, text.jsonl); its last 1,000 rows are the queries.
    #[arg(long, default_value = "tests/data")]
    pub(super) data: PathBuf,
    /// Rows of the base.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(100..))]
    pub(super) rows: u32,
    /// Rows handed over at a time, a divisor of 1,000.
    #[arg(long, default_value_t = 1_000, value_parser = batch)]
    pub(super) batch: usize,
    /// Also load with 1, 10, 100, 500 and 1,000 rows handed over at a time.
    #[arg(long)]
    pub(super) batches: bool,
    /// Then let the space settle (refine its rows, choose its width), and ask again.
    #[arg(long)]
    pub(super) settle: bool,
    /// Queries asked, of either set.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(super) queries: u32,
    /// The width of the search that the first figures are told of.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(10..))]
    pub(super) width: u32,
    /// Runs; medians are told.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) runs: u32,
    /// Write the exact answers to this file (JSON), to measure other programs against.
    #[arg(long)]
    pub(super) truth: Option<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub(super) json: bool,
}

fn batch(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(batch) if BLOCK_ROWS.is_multiple_of(batch) => Ok(batch),
        _ => Err(format!("not a divisor of {BLOCK_ROWS}")),
    }
}
