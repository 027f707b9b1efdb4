//! The stages of the index on real vectors: `cargo bench -p engram-shards --bench index`.
//!
//! Vectors are those of `tests/data`; beyond 4,000 rows its contents come in other contexts. Recall
//! beside speed, and larger sets, are the `recall` bench's.

use std::path::Path;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use engram_shards::graph::{Index, Scratch};
use engram_shards::limits::{GRAPH_WIDTH_INSERT, RECALL_SCAN_ROWS_MAX};
use engram_shards::settings::Metric;
use engram_shards::vector::codes::{Codes, encode};

#[path = "../tests/pairs/mod.rs"]
mod pairs;
use pairs::{DIMENSION, Pairs};

/// Rows in the graph.
const SIZES: [usize; 3] = [1_000, 4_000, 10_000];
/// Candidates of a recall that asks for ten.
const CANDIDATES: u32 = 18;
/// Insertions of one sample, so that a graph of a size stays of about that size.
const INSERTIONS: usize = 100;

fn data() -> Pairs {
    Pairs::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data"))
}

fn built(base: &[Codes], rows: usize) -> Index {
    let mut index = Index::new(DIMENSION, Metric::Cosine, 1);
    let mut scratch = Scratch::default();
    for codes in &base[..rows + INSERTIONS] {
        index.push(codes);
    }
    for _ in 0..rows {
        index.insert_next(GRAPH_WIDTH_INSERT, &mut scratch);
    }
    index
}

fn insert(criterion: &mut Criterion) {
    let pairs = data();
    let base: Vec<Codes> = (0..SIZES[2] + INSERTIONS).map(|row| encode(&pairs.base(row))).collect();
    let mut group = criterion.benchmark_group("insert");
    group.throughput(Throughput::Elements(INSERTIONS as u64)).sample_size(10);
    for rows in SIZES {
        let index = built(&base, rows);
        group.bench_function(BenchmarkId::from_parameter(rows), |bencher| {
            let mut scratch = Scratch::default();
            let insertions = |mut index: Index| {
                for _ in 0..INSERTIONS {
                    index.insert_next(GRAPH_WIDTH_INSERT, &mut scratch);
                }
                index
            };
            bencher.iter_batched(|| index.clone(), insertions, BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn find(criterion: &mut Criterion) {
    let pairs = data();
    let base: Vec<Codes> = (0..SIZES[2] + INSERTIONS).map(|row| encode(&pairs.base(row))).collect();
    let queries: Vec<Codes> = (0..500).map(|query| encode(&pairs.query(query))).collect();
    for rows in SIZES {
        let index = built(&base, rows);
        let (mut scratch, mut found) = (Scratch::default(), Vec::new());
        let mut turn = queries.iter().cycle();
        for width in [32, 64, 128] {
            let name = format!("search {rows} rows, width {width}");
            criterion.bench_function(&name, |bencher| {
                bencher.iter(|| {
                    let query = turn.next().expect("a cycle");
                    index.search(query, width, CANDIDATES, |_| true, &mut scratch, &mut found)
                });
            });
        }
        criterion.bench_function(&format!("scan {rows} rows"), |bencher| {
            bencher.iter(|| {
                found.clear();
                let query = turn.next().expect("a cycle");
                for from in (0..rows as u32).step_by(RECALL_SCAN_ROWS_MAX as usize) {
                    let range = from..(rows as u32).min(from + RECALL_SCAN_ROWS_MAX);
                    index.scan(query, range, CANDIDATES, |_| true, &mut scratch, &mut found);
                }
            });
        });
    }
}

criterion_group!(benches, insert, find);
criterion_main!(benches);
