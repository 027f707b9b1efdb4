//! Inserts/s, recall@10 and queries/s on real vectors, by search width.
//!
//! `cargo bench -p engram-shards --bench recall -- --data DIR [--rows N]…` (without `--data`: the
//! small set of `tests/data`). Times are those that the thread was on a CPU, so that neighbours
//! disturb less. Truth is exact in f32; recall counts the rows of the true ten that are among the
//! ten returned.

use std::path::PathBuf;
use std::time::Duration;

use engram_shards::graph::{Index, Scored, Scratch};
use engram_shards::ids::Row;
use engram_shards::limits::GRAPH_WIDTH_INSERT;
use engram_shards::settings::Metric;
use engram_shards::vector::codes::{Codes, encode};
use engram_shards::vector::kernel::dot_f32;

#[path = "../tests/pairs/mod.rs"]
mod pairs;
use pairs::{DIMENSION, Pairs};

/// Widths reported.
const WIDTHS: [u32; 4] = [64, 100, 128, 200];
/// Results asked for.
const COUNT: usize = 10;
/// Queries asked.
const QUERIES: usize = 500;
/// Scans of all rows.
const SCANS: usize = 50;

fn main() {
    let mut data = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data"));
    let mut sizes = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--data" => data = arguments.next().expect("--data DIR").into(),
            "--rows" => {
                sizes.push(arguments.next().and_then(|rows| rows.parse().ok()).expect("--rows N"))
            }
            // `cargo bench` adds this of its own accord.
            "--bench" => {}
            other => panic!("unknown argument {other}"),
        }
    }
    let pairs = Pairs::read(&data);
    for rows in if sizes.is_empty() { vec![4_000] } else { sizes } {
        measure(&pairs, rows);
    }
}

/// Builds an index of `rows` rows and prints its figures.
fn measure(pairs: &Pairs, rows: usize) {
    let base: Vec<Codes> = (0..rows).map(|row| encode(&pairs.base(row))).collect();
    let mut index = Index::new(DIMENSION, Metric::Cosine, 1);
    for codes in &base {
        index.push(codes);
    }
    let mut scratch = Scratch::default();
    let mut distances = 0u64;
    let start = on_cpu();
    while index.indexed() < index.len() {
        distances += u64::from(index.insert_next(GRAPH_WIDTH_INSERT, &mut scratch));
    }
    let seconds = (on_cpu() - start).as_secs_f64();
    println!(
        "{rows} rows: {:.0} inserts/s, {:.0} distances an insert",
        rows as f64 / seconds,
        distances as f64 / rows as f64
    );
    let truth = exact(pairs, rows);
    let queries: Vec<Codes> = (0..QUERIES).map(|query| encode(&pairs.query(query))).collect();
    for width in WIDTHS {
        let mut answers = vec![Vec::new(); QUERIES];
        let start = on_cpu();
        for (query, found) in queries.iter().zip(&mut answers) {
            index.search(query, width, COUNT as u32, |_| true, &mut scratch, found);
        }
        let seconds = (on_cpu() - start).as_secs_f64();
        let hits = |(found, best): (&Vec<Scored>, &Vec<Row>)| {
            found.iter().filter(|scored| best.contains(&scored.row)).count()
        };
        println!(
            "  width {width}: recall@{COUNT} {:.4}, {:.0} queries/s",
            answers.iter().zip(&truth).map(hits).sum::<usize>() as f64 / (QUERIES * COUNT) as f64,
            QUERIES as f64 / seconds
        );
    }
    let start = on_cpu();
    for query in &queries[..SCANS] {
        index.scan(query, 0..rows as u32, 128, |_| true, &mut scratch, &mut Vec::new());
    }
    let nanos = (on_cpu() - start).as_nanos() as f64;
    println!("  scan: {:.1} ns a row", nanos / (SCANS * rows) as f64);
}

/// The best rows of each query, compared one by one in f32.
fn exact(pairs: &Pairs, rows: usize) -> Vec<Vec<Row>> {
    let queries: Vec<Vec<f32>> = (0..QUERIES).map(|query| pairs.query(query)).collect();
    let mut best: Vec<Vec<Scored>> = vec![Vec::new(); QUERIES];
    for row in 0..rows {
        let vector = pairs.base(row);
        for (query, best) in queries.iter().zip(&mut best) {
            let similarity = dot_f32(query, &vector);
            if best.len() < COUNT || similarity > best[COUNT - 1].similarity {
                let at = best.partition_point(|scored| scored.similarity >= similarity);
                best.insert(at, Scored { row: Row(row as u32), similarity });
                best.truncate(COUNT);
            }
        }
    }
    best.into_iter().map(|best| best.into_iter().map(|scored| scored.row).collect()).collect()
}

/// How long this thread has run on a CPU.
fn on_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells");
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("its first number"))
}
