//! Recall by width before and after a space has settled, what settling costs, and how near a space's
//! estimate of its recall is to the truth.
//!
//! `cargo bench -p engram-shards --bench settle -- --data DIR [--rows N]… [--cues]` (without
//! `--data`: the small set of `tests/data`; with `--cues` a space has been asked queries like those
//! that recall is measured with). Times are those that the thread was on a CPU. Truth is the exact
//! scan of int8 codes; of three kinds of queries: held-out ones, base texts in a context that the
//! base lacks (`hard`), and rows taken for absent, which is what a space samples without cues.

use std::path::PathBuf;
use std::time::Duration;

use engram_shards::graph::{Index, Scored, Scratch};
use engram_shards::ids::Row;
use engram_shards::limits::{GRAPH_WIDTH_INSERT, RECALL_WIDTHS};
use engram_shards::quality::{RecallTarget, Upkeep};
use engram_shards::settings::Metric;
use engram_shards::vector::codes::{Codes, encode};

#[path = "../tests/pairs/mod.rs"]
mod pairs;
use pairs::{DIMENSION, Pairs};

/// Queries of each kind.
const QUERIES: usize = 500;
/// Rows that one scan compares.
const SCANNED: usize = 256;
/// Base rows without a query of the hard kind, between two with one.
const STRIDE: usize = 71;

/// What is asked, with its true neighbours.
struct Query {
    cue: Codes,
    /// The row to be taken for absent.
    row: Option<Row>,
    best: Vec<Scored>,
}

fn main() {
    let mut data = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data"));
    let (mut sizes, mut with_cues) = (Vec::new(), false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--data" => data = arguments.next().expect("--data DIR").into(),
            "--rows" => {
                sizes.push(arguments.next().and_then(|rows| rows.parse().ok()).expect("--rows N"))
            }
            "--cues" => with_cues = true,
            // `cargo bench` adds this of its own accord.
            "--bench" => {}
            other => panic!("unknown argument {other}"),
        }
    }
    let pairs = Pairs::read(&data);
    let words = std::fs::metadata(data.join("words.f16")).expect("it was read").len() as usize;
    // The last thousand rows of a folder are queries.
    let base_rows = words / usize::from(DIMENSION) - 1_000;
    for rows in if sizes.is_empty() { vec![4_000] } else { sizes } {
        measure(&pairs, rows, base_rows, with_cues);
    }
}

/// Loads `rows` rows at full speed, lets the space settle, and prints its figures.
fn measure(pairs: &Pairs, rows: usize, base_rows: usize, with_cues: bool) {
    let mut index = Index::new(DIMENSION, Metric::Cosine, 1);
    let mut upkeep = Upkeep::new(Some(RecallTarget::default()));
    let mut scratch = Scratch::default();
    for row in 0..rows {
        index.push(&encode(&pairs.base(row)));
    }
    let cues: Vec<Codes> =
        (0..QUERIES).map(|query| encode(&pairs.query(query + QUERIES))).collect();
    let (mut inserted, mut beside) = (Duration::ZERO, Duration::ZERO);
    while index.indexed() < rows as u32 {
        let start = on_cpu();
        let mut distances = 0;
        for _ in index.indexed()..(index.indexed() + 64).min(rows as u32) {
            distances += index.insert_next(GRAPH_WIDTH_INSERT, &mut scratch);
        }
        let between = on_cpu();
        upkeep.step_beside(distances, &index, |_| true, &mut scratch);
        while upkeep.step_beside(0, &index, |_| true, &mut scratch) > 0 {}
        inserted += between - start;
        beside += on_cpu() - between;
        if with_cues && index.indexed() == 64 * 100 {
            cues.iter().for_each(|cue| upkeep.note_cue(cue, &index));
        }
    }
    println!(
        "{rows} rows: {:.0} inserts/s, and {:.1} % of the time for samples beside them",
        rows as f64 / inserted.as_secs_f64(),
        100.0 * beside.as_secs_f64() / (inserted + beside).as_secs_f64()
    );
    let queries = kinds(&index, pairs, rows.next_multiple_of(base_rows));
    report(&index, &queries, &upkeep, &mut scratch);
    let start = on_cpu();
    let mut longest = 0;
    let mut refining = Duration::ZERO;
    while !upkeep.is_settled(&index) {
        longest = longest.max(upkeep.step(&mut index, |_| true, &mut scratch));
        if upkeep.status(&index).refined < rows as u32 {
            refining = on_cpu() - start;
        }
    }
    println!(
        "settled in {:.1} s; {:.0} rows refined/s; longest step {longest} distances",
        (on_cpu() - start).as_secs_f64(),
        rows as f64 / refining.as_secs_f64(),
    );
    report(&index, &queries, &upkeep, &mut scratch);
    assert_eq!(index.check(), Ok(()));
}

/// The three kinds of queries; from base row `unused` on, none is in the index.
fn kinds(index: &Index, pairs: &Pairs, unused: usize) -> [Vec<Query>; 3] {
    let rows = index.len();
    let query = |cue: Codes, row: Option<Row>| {
        let (mut scratch, mut best) = (Scratch::default(), Vec::new());
        let visible = |other| Some(other) != row;
        // Each scan compares the int8 codes of those alone whose 1-bit codes are the best of its rows: few rows each,
        // so that no true neighbour is left out.
        for from in (0..rows).step_by(SCANNED) {
            let range = from..rows.min(from + SCANNED as u32);
            index.scan(&cue, range, 10, visible, &mut scratch, &mut best);
        }
        Query { cue, row, best }
    };
    let held_out = (0..QUERIES).map(|number| query(encode(&pairs.query(number)), None));
    let hard =
        (0..QUERIES).map(|number| query(encode(&pairs.base(unused + number * STRIDE)), None));
    let drawn =
        (0..u64::from(rows)).map(|number| (number * 2_654_435_761 % u64::from(rows)) as u32);
    let drawn = drawn.map(Row).filter(|row| index.is_on_bottom_only(*row));
    let absent = drawn.map(|row| query(encode(&pairs.base(row.0 as usize)), Some(row)));
    [held_out.collect(), hard.collect(), absent.take(QUERIES).collect()]
}

/// Prints recall and distances by width, and what the space says of itself.
fn report(index: &Index, kinds: &[Vec<Query>; 3], upkeep: &Upkeep, scratch: &mut Scratch) {
    let mut found = Vec::new();
    for width in RECALL_WIDTHS {
        let mut distances = 0;
        let recalls = kinds.each_ref().map(|queries| {
            let mut hits = 0;
            distances = 0;
            for Query { cue, row, best } in queries {
                distances += match row {
                    Some(row) => {
                        let found = &mut found;
                        index.search_without(*row, width, 10, |_| true, scratch, found).distances
                    }
                    None => index.search(cue, width, 10, |_| true, scratch, &mut found),
                };
                let as_near = |scored: &&Scored| scored.similarity >= best[9].similarity;
                hits += found.iter().filter(as_near).count();
            }
            hits as f64 / (10 * QUERIES) as f64
        });
        let [held_out, hard, absent] = recalls;
        println!(
            "  width {width}: recall@10 {held_out:.4}, hard {hard:.4}, absent rows {absent:.4}; {} distances",
            distances / QUERIES as u32
        );
    }
    let status = upkeep.status(index);
    println!("  chosen: width {}, estimate {:?}", status.width, status.recall_estimate);
}

/// How long this thread has run on a CPU.
fn on_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells");
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("its first number"))
}
