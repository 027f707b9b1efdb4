//! The kernels one by one: `cargo bench -p engram-shards --bench vector`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use engram_shards::vector::block::Block;
use engram_shards::vector::codes::{encode, normalise};
use engram_shards::vector::kernel::{Kernel, SignLayout, SignQuery, dot_f32};

/// Blocks of a row of 768 codes.
const BLOCKS: usize = 12;
/// Rows compared by one call, as one node's neighbours are.
const ROWS: usize = 16;

/// Rows that lie in the caches of the core (16), in its outer ones (10,000) and in memory
/// (200,000).
fn dots(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("dots of 768 codes");
    group.throughput(Throughput::Elements(ROWS as u64));
    for count in [ROWS, 10_000, 200_000] {
        let codes: Vec<Block> = (0..count * BLOCKS).map(|at| Block([at as i8 | 1; 64])).collect();
        let all: Vec<&[Block]> = codes.chunks_exact(BLOCKS).collect();
        for kernel in Kernel::all() {
            group.bench_function(BenchmarkId::new(kernel.name, count), |bencher| {
                let mut out = [0; ROWS];
                let mut at = 0usize;
                bencher.iter(|| {
                    let rows: [&[Block]; ROWS] = std::array::from_fn(|_| {
                        // A step without a common divisor visits the rows in no order that a
                        // prefetcher knows.
                        at = (at + 7_919_993) % count;
                        all[at]
                    });
                    kernel.dots(all[0], &rows, &mut out);
                    black_box(out[0])
                });
            });
        }
    }
    group.finish();
}

/// 1-bit codes: comparing them, and writing those of a row and of a query from its int8 codes.
fn signs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("1-bit codes of 768");
    let layout = SignLayout::new(BLOCKS);
    let row_blocks = layout.row_blocks();
    let mean: Vec<f32> = (0..768).map(|at| 0.01 * (at as f32 * 0.3).sin()).collect();
    let row = |at: usize| -> Vec<Block> {
        let code = |place: usize| ((place * 7_919 + at * 104_729) % 255) as i8;
        (0..BLOCKS)
            .map(|block| Block(std::array::from_fn(|lane| code(64 * block + lane))))
            .collect()
    };
    for kernel in Kernel::all() {
        let mut query = SignQuery::default();
        kernel.write_query(&row(0), 0.01, &mean, &mut query);
        for count in [ROWS, 10_000, 200_000] {
            let mut signs = vec![Block::default(); count * row_blocks];
            for (at, signs) in signs.chunks_exact_mut(row_blocks).enumerate() {
                kernel.write_row(&row(at), 0.01, &mean, signs);
            }
            let all: Vec<&[Block]> = signs.chunks_exact(row_blocks).collect();
            group.throughput(Throughput::Elements(ROWS as u64));
            group.bench_function(
                BenchmarkId::new(format!("{} compared", kernel.name), count),
                |bencher| {
                    let mut out = [0.0; ROWS];
                    let mut at = 0usize;
                    bencher.iter(|| {
                        let rows: [&[Block]; ROWS] = std::array::from_fn(|_| {
                            at = (at + 7_919_993) % count;
                            all[at]
                        });
                        kernel.estimates(layout, &query, &rows, &mut out);
                        black_box(out[0])
                    });
                },
            );
        }
        group.throughput(Throughput::Elements(1));
        let codes = row(1);
        let mut signs = vec![Block::default(); row_blocks];
        group.bench_function(format!("{} row", kernel.name), |bencher| {
            bencher.iter(|| kernel.write_row(black_box(&codes), 0.01, &mean, &mut signs));
        });
        group.bench_function(format!("{} query", kernel.name), |bencher| {
            bencher.iter(|| kernel.write_query(black_box(&codes), 0.01, &mean, &mut query));
        });
    }
    group.finish();
}

/// What a connection's core does to each vector, and the exact comparison of a recall's results.
fn vectors(criterion: &mut Criterion) {
    let vector: Vec<f32> = (0..768).map(|at| (at as f32 * 0.7).sin()).collect();
    criterion.bench_function("normalise 768", |bencher| {
        let mut vector = vector.clone();
        bencher.iter(|| normalise(black_box(&mut vector)));
    });
    let mut unit = vector.clone();
    normalise(&mut unit).expect("not zero");
    criterion.bench_function("encode 768", |bencher| bencher.iter(|| encode(black_box(&unit))));
    criterion.bench_function("dot of 768 f32", |bencher| {
        bencher.iter(|| dot_f32(black_box(&unit), black_box(&vector)));
    });
}

criterion_group!(benches, dots, signs, vectors);
criterion_main!(benches);
