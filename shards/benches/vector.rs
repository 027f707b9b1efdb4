//! The kernels one by one: `cargo bench -p engram-shards --bench vector`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use engram_shards::vector::block::Block;
use engram_shards::vector::codes::{encode, normalise};
use engram_shards::vector::kernel::{Kernel, dot_f32};

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

/// The beam's passes over its 64 and 128 places.
fn extremes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("extremes");
    for width in [64, 128] {
        let values: Vec<f32> = (0..width).map(|at| (at as f32 * 7.3).sin()).collect();
        for kernel in Kernel::all() {
            group.bench_function(
                BenchmarkId::new(format!("{} largest", kernel.name), width),
                |bencher| {
                    bencher.iter(|| kernel.largest(black_box(&values)));
                },
            );
        }
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

criterion_group!(benches, dots, extremes, vectors);
criterion_main!(benches);
