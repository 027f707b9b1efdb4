//! Promise: what is true of angles is true of dot products and distances of vectors of any length: the graph is sound, a
//! beam as wide as the graph misses nothing, every processor builds the same graph, recall on real data is high, a recall
//! gives exact similarities, and a restart forgets no metric.

mod pairs;
mod world;

use std::path::Path;

use engram_shards::graph::{Index, Scored, Scratch};
use engram_shards::ids::{Row, StripeKey};
use engram_shards::limits::{GRAPH_WIDTH_INSERT, GRAPH_WIDTH_REFINE, LENGTH_MAX, LENGTH_MIN};
use engram_shards::message::{IfExists, Isolation, Reply, Request};
use engram_shards::settings::{Metric, SpaceSettings};
use engram_shards::vector::codes::{Codes, Encoded};
use engram_shards::vector::kernel::{Kernel, dot_f32, square_distance_f32};
use pairs::Pairs;
use proptest::prelude::*;
use world::{CLIENT, Fate, World, id_of, owner, recall_by, stripe, unary};

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Dot, Metric::Euclidean];

/// How far lengths differ from 1, as factors: not at all, as much as data does, or as much as may be.
const SPREADS: [f32; 3] = [1.0, 8.0, 0.99 * LENGTH_MAX];

/// Numbers from a seed (SplitMix64).
struct Numbers(u64);

impl Numbers {
    /// From -1 to 1.
    fn float(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let hash = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (hash >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// A vector of a length from 1 / `spread` to `spread`.
    fn vector(&mut self, dimension: u16, spread: f32) -> Vec<f32> {
        let mut vector: Vec<f32> = (0..dimension).map(|_| self.float()).collect();
        let wanted = spread.powf(self.float()).clamp(LENGTH_MIN, LENGTH_MAX);
        let factor = wanted / dot_f32(&vector, &vector).sqrt();
        vector.iter_mut().for_each(|value| *value *= factor);
        vector
    }
}

fn encoded(vector: &[f32], metric: Metric) -> Codes {
    let encoded = Encoded::new(&mut vector.to_vec()).expect("not zero");
    encoded.codes(metric).expect("of a usual length")
}

fn drawn(count: usize, dimension: u16, metric: Metric, spread: f32, seed: u64) -> Vec<Codes> {
    let mut numbers = Numbers(seed);
    (0..count).map(|_| encoded(&numbers.vector(dimension, spread), metric)).collect()
}

fn all(_: Row) -> bool {
    true
}

/// The similarity of two vectors by their codes, the obvious way.
fn similarity(metric: Metric, one: &Codes, other: &Codes) -> f32 {
    let dot = |one: &Codes, other: &Codes| {
        let products = one.codes8.iter().zip(&other.codes8);
        let sum: i32 = products.map(|(a, b)| i32::from(*a) * i32::from(*b)).sum();
        sum as f32 * (one.scale * other.scale)
    };
    match metric {
        Metric::Cosine | Metric::Dot => dot(one, other),
        Metric::Euclidean => 2.0 * dot(one, other) - (dot(one, one) + dot(other, other)),
    }
}

fn obvious(metric: Metric, vectors: &[Codes], query: &Codes, count: usize) -> Vec<Scored> {
    let scored = |(row, codes): (usize, &Codes)| Scored {
        row: Row(row as u32),
        similarity: similarity(metric, query, codes),
    };
    let mut best: Vec<Scored> = vectors.iter().enumerate().map(scored).collect();
    best.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.row.cmp(&b.row)));
    best.truncate(count);
    best
}

fn metrics() -> impl Strategy<Value = Metric> {
    prop::sample::select(&METRICS[..])
}

fn spreads() -> impl Strategy<Value = f32> {
    prop::sample::select(&SPREADS[..])
}

fn dimensions() -> impl Strategy<Value = u16> {
    prop::sample::select(&[8u16, 9, 63, 100, 256, 768, 1_000, 4_096][..])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_beam_as_wide_as_the_graph_finds_exactly_the_best(
        metric in metrics(), dimension in dimensions(), spread in spreads(), count in 1usize..80,
        asked in 1usize..20, seed in any::<u64>()
    ) {
        let vectors = drawn(count, dimension, metric, spread, seed);
        let mut index = Index::new(dimension, metric, seed);
        let (mut scratch, mut found) = (Scratch::default(), Vec::new());
        for codes in &vectors {
            index.push(codes);
            index.insert_next(GRAPH_WIDTH_INSERT, &mut scratch);
            prop_assert_eq!(index.check(), Ok(()));
        }
        let query = &drawn(1, dimension, metric, spread, !seed)[0];
        index.search(query, count as u32, asked as u32, all, &mut scratch, &mut found);
        prop_assert_eq!(&found, &obvious(metric, &vectors, query, asked));
        for row in 0..count {
            index.refine(Row(row as u32), GRAPH_WIDTH_REFINE, &mut scratch);
        }
        prop_assert_eq!(index.check(), Ok(()));
        index.search(query, count as u32, asked as u32, all, &mut scratch, &mut found);
        prop_assert_eq!(&found, &obvious(metric, &vectors, query, asked));
    }

    #[test]
    fn a_scan_of_a_few_rows_finds_exactly_the_best(
        metric in metrics(), dimension in dimensions(), spread in spreads(), count in 1usize..=32,
        asked in 1usize..20, seed in any::<u64>()
    ) {
        let vectors = drawn(count, dimension, metric, spread, seed);
        let mut index = Index::new(dimension, metric, seed);
        vectors.iter().for_each(|codes| { index.push(codes); });
        let query = &drawn(1, dimension, metric, spread, !seed)[0];
        let (mut scratch, mut found) = (Scratch::default(), Vec::new());
        index.scan(query, 0..count as u32, asked as u32, all, &mut scratch, &mut found);
        prop_assert_eq!(found, obvious(metric, &vectors, query, asked));
    }

    #[test]
    fn every_kernel_builds_the_same_graph(
        metric in metrics(), dimension in dimensions(), spread in spreads(), seed in any::<u64>()
    ) {
        let vectors = drawn(90, dimension, metric, spread, seed);
        let story = |kernel: Kernel| {
            let mut index = Index::with_kernel(dimension, metric, seed, kernel);
            let (mut scratch, mut found) = (Scratch::default(), Vec::new());
            let mut story = Vec::new();
            for codes in &vectors {
                index.push(codes);
                let inserted = index.insert_next(GRAPH_WIDTH_INSERT, &mut scratch);
                let searched = index.search(codes, 10, 5, all, &mut scratch, &mut found);
                story.push((inserted, searched, found.clone()));
            }
            story
        };
        let stories: Vec<_> = Kernel::all().into_iter().map(story).collect();
        for story in &stories[1..] {
            prop_assert_eq!(story, &stories[0]);
        }
    }

    #[test]
    fn a_recall_gives_what_an_exact_search_would(
        metric in metrics(), rows in 1..100u64, count in 1..40u32,
        cue in any::<u64>()
    ) {
        let mut world = World::new(1);
        let stripe = world.space_by(metric, "diary");
        observe(&mut world, stripe, 1..=rows);
        check_recall(&mut world, stripe, metric, rows, (cue, count));
    }
}

#[test]
fn recall_of_real_vectors_of_other_lengths_is_high() {
    let pairs = Pairs::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data"));
    let (count, queries, asked) = (3_000, 100, 10);
    let mut numbers = Numbers(1);
    let mut resized = |mut vector: Vec<f32>| {
        let length = 2f32.powf(numbers.float());
        vector.iter_mut().for_each(|value| *value *= length);
        vector
    };
    let base: Vec<Vec<f32>> = (0..count).map(|row| resized(pairs.base(row))).collect();
    for (metric, least) in [(Metric::Euclidean, 0.95), (Metric::Dot, 0.95)] {
        let mut index = Index::new(pairs::DIMENSION, metric, 1);
        let (mut scratch, mut found, mut hits) = (Scratch::default(), Vec::new(), 0);
        for vector in &base {
            index.push(&encoded(vector, metric));
            index.insert_next(GRAPH_WIDTH_INSERT, &mut scratch);
        }
        assert_eq!(index.check(), Ok(()));
        for query in (0..queries).map(|query| resized(pairs.query(query))) {
            let mut exact: Vec<(f32, u32)> =
                base.iter().zip(0..).map(|(row, at)| (compared(metric, row, &query), at)).collect();
            exact.sort_by(|a, b| b.0.total_cmp(&a.0));
            let wanted = asked as u32;
            index.search(&encoded(&query, metric), 128, wanted, all, &mut scratch, &mut found);
            let is_found = |at: u32| found.iter().any(|scored| scored.row.0 == at);
            hits += exact[..asked].iter().filter(|(_, at)| is_found(*at)).count();
        }
        let recall = hits as f64 / (asked * queries) as f64;
        assert!(recall >= least, "{metric:?}: recall@10 is {recall} at width 128");
    }
}

/// The exact similarity.
fn compared(metric: Metric, one: &[f32], other: &[f32]) -> f32 {
    match metric {
        Metric::Cosine => {
            let lengths = dot_f32(one, one) * dot_f32(other, other);
            dot_f32(one, other) / lengths.sqrt()
        }
        Metric::Dot => dot_f32(one, other),
        Metric::Euclidean => -square_distance_f32(one, other),
    }
}

/// The vector of this number, as long as no other.
fn vector(number: u64) -> Vec<f32> {
    let length = 1.5f32.powi((number % 11) as i32 - 5);
    world::vector(number).iter().map(|value| value * length).collect()
}

fn observe(world: &mut World, stripe: StripeKey, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        world.observe(stripe, unary(number, &number.to_string(), vector(number)));
    }
    world.settle();
    world.take();
}

/// Asserts that a recall by vector `cue` finds just what an exact search among vectors `1..=rows` would.
fn check_recall(
    world: &mut World,
    stripe: StripeKey,
    metric: Metric,
    rows: u64,
    (cue, count): (u64, u32),
) {
    let found = world.recall(stripe, &vector(cue), count, Isolation::InFlight).hits;
    let expected = exact(metric, rows, cue, count);
    let found_ids: Vec<String> = found.iter().map(id_of).collect();
    let ids: Vec<String> = expected.iter().map(|(row, _)| row.to_string()).collect();
    assert_eq!(found_ids, ids, "{metric:?}");
    for (hit, (row, similarity)) in found.iter().zip(expected) {
        let error = (hit.similarity - similarity).abs();
        assert!(error <= 1e-5 * similarity.abs().max(1.0), "{metric:?}: row {row} by {error}");
    }
}

/// The nearest vectors of `1..=rows`, best first, with their similarities.
fn exact(metric: Metric, rows: u64, cue: u64, count: u32) -> Vec<(u64, f32)> {
    let cue = vector(cue);
    let scored = |row: u64| (row, compared(metric, &vector(row), &cue));
    let mut all: Vec<(u64, f32)> = (1..=rows).map(scored).collect();
    all.sort_by(|one, other| other.1.total_cmp(&one.1));
    all.truncate(count as usize);
    all
}

#[test]
fn a_least_similarity_is_measured_as_the_metric_does() {
    for metric in METRICS {
        let mut world = World::new(1);
        let stripe = world.space_by(metric, "diary");
        observe(&mut world, stripe, 1..=60);
        let (_, least) = exact(metric, 60, 7, 60)[20];
        let mut query = recall_by(metric, stripe, &vector(7), 60, Isolation::InFlight);
        query.similarity_min = least - 1e-4 * least.abs();
        world.ask(stripe, CLIENT, Request::Recall(query));
        world.settle();
        let replies = world.take();
        let hits = replies.iter().find_map(|(_, reply)| match reply {
            Reply::Recalled(Ok(recalled)) => Some(recalled.hits.len()),
            _ => None,
        });
        assert_eq!(hits, Some(21), "{metric:?}");
    }
}

/// A space of each metric whose later rows lie in a log that is read before the one which says what the space is.
#[test]
fn a_restart_forgets_no_metric_whichever_log_is_read_first() {
    let mut world = World::new(3);
    let made_last = |name: &String| owner(stripe(name), 3) == 2;
    let names = METRICS.map(|metric| {
        let mut names = (0..).map(|number| format!("{metric:?}-{number}").to_lowercase());
        names.find(made_last).expect("one in three")
    });
    for (metric, name) in METRICS.into_iter().zip(&names) {
        world.space_by(metric, name);
    }
    for (round, shards) in [1, 2, 1, 3, 1].into_iter().enumerate() {
        world.crash(Fate::Lost, shards);
        let rows = 15 * round as u64;
        for (metric, name) in METRICS.into_iter().zip(&names) {
            check_recall(&mut world, stripe(name), metric, rows, (7, 12));
            observe(&mut world, stripe(name), rows + 1..=rows + 15);
            check_recall(&mut world, stripe(name), metric, rows + 15, (7, 12));
        }
    }
}

#[test]
fn a_space_that_only_an_unproven_record_tells_of_keeps_its_metric() {
    for metric in METRICS {
        let mut world = World::new(1);
        // Makes the segment that the record in question goes to.
        world.space("earlier");
        let stripe = stripe("diary");
        let settings = SpaceSettings { metric, ..world::settings("diary") };
        let if_exists = IfExists::Take;
        world.ask(stripe, CLIENT, Request::CreateSpace { settings, if_exists });
        world.pass(500);
        world.crash(Fate::Whole, 1);
        assert_eq!(world.status()[0].stripes.len(), 2, "its record is whole");
        world.settle();
        world.take();
        world.space_by(metric, "diary");
        observe(&mut world, stripe, 1..=60);
        check_recall(&mut world, stripe, metric, 60, (7, 12));
        world.crash(Fate::Whole, 1);
        check_recall(&mut world, stripe, metric, 60, (7, 12));
    }
}
