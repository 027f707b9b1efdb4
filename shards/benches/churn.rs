//! Memory and recall of a space that half is removed from and half as much again is stored in.
//!
//! `cargo bench -p engram-shards --bench churn -- --data DIR [--rows N] [--fresh]` (without `--data`:
//! the small set of `tests/data`; with `--fresh` a space of the rows that live at the end is measured
//! too). Memory is what the space counts of itself, with all that it keeps of a row,
//! and what the process has; recall is of the nearest ten of the living rows by an exact scan of
//! int8 codes, for held-out queries, at the width that the space chose. Times are those that the
//! thread was on a CPU.

use std::path::PathBuf;
use std::time::Duration;

use engram_shards::attributes::Attributes;
use engram_shards::graph::{Scored, Scratch};
use engram_shards::ids::{Generation, Location, LogId, Row, SegmentId, Time};
use engram_shards::limits::GRAPH_WIDTH_INSERT;
use engram_shards::log::log::Ordinal;
use engram_shards::quality::{RecallTarget, Upkeep};
use engram_shards::settings::Metric;
use engram_shards::space::{Arrival, Pair, Place, Rows};
use engram_shards::vector::codes::encode;

#[path = "../tests/pairs/mod.rs"]
mod pairs;
use pairs::{DIMENSION, Pairs};

/// Queries asked.
const QUERIES: usize = 500;
/// Rows that one scan compares.
const SCANNED: u32 = 256;
/// Rows that arrive at a time.
const BURST: usize = 1_000;

fn main() {
    let mut data = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data"));
    let (mut rows, mut with_fresh) = (4_000, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--data" => data = arguments.next().expect("--data DIR").into(),
            "--rows" => {
                rows = arguments.next().and_then(|rows| rows.parse().ok()).expect("--rows N")
            }
            "--fresh" => with_fresh = true,
            // `cargo bench` adds this of its own accord.
            "--bench" => {}
            other => panic!("unknown argument {other}"),
        }
    }
    let mut churn = Churn::new(Pairs::read(&data));
    churn.store(0..rows);
    churn.settle();
    churn.report("stored");
    churn.remove_half(rows);
    churn.report("half removed");
    churn.settle();
    churn.report("and left the graph");
    churn.store(rows..rows + rows / 2);
    churn.report("half as many stored");
    churn.settle();
    churn.report("and settled");
    assert_eq!(churn.rows.check(), Ok(()));
    if with_fresh {
        let mut fresh = Churn::new(churn.pairs);
        let living = |row: &u64| *row + 1 >= rows || !is_removed(*row as u32);
        fresh.store((0..rows + rows / 2).filter(living));
        fresh.settle();
        fresh.report("the living alone");
    }
}

/// Of every two rows one, in no order.
fn is_removed(row: u32) -> bool {
    row.wrapping_mul(0x9e37_79b9) >> 31 == 0
}

struct Churn {
    pairs: Pairs,
    rows: Rows,
    upkeep: Upkeep,
    scratch: Scratch,
}

impl Churn {
    fn new(pairs: Pairs) -> Churn {
        Churn {
            pairs,
            rows: Rows::new(DIMENSION, Metric::Cosine, 1),
            upkeep: Upkeep::new(Some(RecallTarget::default())),
            scratch: Scratch::default(),
        }
    }

    /// Stores these rows of the data and puts them into the graph, without idle time.
    fn store(&mut self, stored: impl Iterator<Item = u64>) {
        let Churn { pairs, rows, upkeep, scratch } = self;
        let mut took = Duration::ZERO;
        let mut stored = stored.peekable();
        let before = rows.arrived();
        while stored.peek().is_some() {
            for base in stored.by_ref().take(BURST) {
                let number = rows.arrived();
                let codes = encode(&pairs.base(base as usize));
                let start = on_cpu();
                let arrival = Arrival {
                    codes: &codes,
                    memory_hash: number.wrapping_mul(0x9e37_79b9_7f4a_7c15),
                    generation: Generation(number + 1),
                    received_at: Time(number),
                    attributes: Attributes::default(),
                };
                let row = rows.push(&arrival, Place::Pending(Ordinal(number)));
                rows.commit(row, location(number), Time(number));
                assert!(rows.enter(row).is_none(), "each row has an id of its own");
                took += on_cpu() - start;
            }
            let start = on_cpu();
            while rows.inserted() < rows.arrived() {
                let (_, inserted) = rows.insert_next(GRAPH_WIDTH_INSERT, scratch);
                rows.keep_up_beside(inserted, upkeep, scratch);
            }
            took += on_cpu() - start;
        }
        let count = rows.arrived() - before;
        println!("{count} rows stored, {:.0}/s", count as f64 / took.as_secs_f64());
    }

    /// Removes every second row of the first `count`, in no order: they are replaced by the newest.
    fn remove_half(&mut self, count: u64) {
        let newest = Row(self.rows.slots() - 1);
        let half = (0..count as u32 - 1).filter(|row| is_removed(*row));
        half.for_each(|row| self.rows.replace(Pair { older: Row(row), newer: newest }));
    }

    fn settle(&mut self) {
        let start = on_cpu();
        let mut longest = 0;
        loop {
            match self.rows.keep_up(&mut self.upkeep, &mut self.scratch) {
                0 => break,
                step => longest = longest.max(step),
            }
        }
        let took = (on_cpu() - start).as_secs_f64();
        println!("settled in {took:.1} s; longest step {longest} distances");
    }

    fn report(&mut self, what: &str) {
        let Churn { pairs, rows, upkeep, scratch } = self;
        let now = rows.newest();
        let (mut found, mut exact) = (Vec::<Scored>::new(), Vec::<Scored>::new());
        let (mut hits, mut distances, mut took) = (0, 0, Duration::ZERO);
        for query in 0..QUERIES {
            let cue = encode(&pairs.query(query));
            exact.clear();
            for first in (0..rows.slots()).step_by(SCANNED as usize) {
                let some = first..rows.slots().min(first + SCANNED);
                let visible = |row| rows.is_visible(row, now);
                rows.index().scan(&cue, some, 10, visible, scratch, &mut exact);
            }
            let start = on_cpu();
            let visible = |row| rows.is_visible(row, now);
            let width = upkeep.width();
            let sought = rows.index().search_graph(&cue, width, 10, visible, scratch, &mut found);
            took += on_cpu() - start;
            distances += sought.distances;
            if sought.complete {
                hits += found.iter().filter(|one| one.similarity >= exact[9].similarity).count();
            } else {
                // A recall scans then.
                hits += exact.len();
            }
        }
        let bytes = rows.bytes();
        println!(
            "{what}: {} living, {} in the graph, {} slots, {} of them free; {:.1} MB, {} B a slot, \
             {:.1} MB of the process; width {}, recall@10 {:.4}, {} distances, {:.0} µs",
            rows.living(),
            rows.indexed(),
            rows.slots(),
            rows.index().gone(),
            bytes as f64 / 1e6,
            bytes / u64::from(rows.slots()),
            resident_bytes() as f64 / 1e6,
            upkeep.width(),
            hits as f64 / (10 * QUERIES) as f64,
            distances / QUERIES as u32,
            took.as_secs_f64() * 1e6 / QUERIES as f64,
        );
    }
}

/// Where the log would hold the record of this number.
fn location(number: u64) -> Location {
    let segment = SegmentId { log: LogId(0), number: number as u32 / 4_096 + 1 };
    Location { segment, offset: number as u32 % 4_096 * 4_096, bytes: 4_096 }
}

/// What the process has in RAM.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux tells");
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("its second number") * 4_096
}

/// How long this thread has run on a CPU.
fn on_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells");
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("its first number"))
}
