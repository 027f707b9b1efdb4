//! The promise: what a full comparison finds, the index finds, at any moment, whatever vectors
//! come.
//!
//! Random stories are told by seeds through proptest; a failure prints its input. The invariants of
//! the graph are those that `Index::check` verifies, after every insertion where the set is small.

use std::path::Path;

use engram_shards::graph::{Index, Scored, Scratch};
use engram_shards::ids::Row;
use engram_shards::limits::{GRAPH_WIDTH_INSERT, GRAPH_WIDTH_REFINE};
use engram_shards::settings::Metric;
use engram_shards::vector::codes::{Codes, encode, normalise};
use engram_shards::vector::kernel::{Kernel, dot_f32};
use proptest::prelude::*;

mod pairs;
use pairs::{DIMENSION, Pairs};

/// Numbers from a seed (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let hash = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb) >> 16
    }

    /// From -1 to 1.
    fn float(&mut self) -> f32 {
        (self.next() & 0xffff) as f32 / 32768.0 - 1.0
    }

    fn vector(&mut self, dimension: u16) -> Vec<f32> {
        (0..dimension).map(|_| self.float()).collect()
    }
}

/// Vectors around few centres: `spread` 0 makes them duplicates, small values near-duplicates, 1
/// and more noise.
fn clustered(count: usize, dimension: u16, centres: usize, spread: f32, seed: u64) -> Vec<Codes> {
    let mut numbers = Numbers(seed);
    let centres: Vec<Vec<f32>> = (0..centres).map(|_| numbers.vector(dimension)).collect();
    let mut vectors = Vec::new();
    for _ in 0..count {
        let mut vector = centres[numbers.next() as usize % centres.len()].clone();
        vector.iter_mut().for_each(|value| *value += spread * numbers.float());
        vector[0] += 0.01;
        normalise(&mut vector).expect("not zero");
        vectors.push(encode(&vector));
    }
    vectors
}

fn built(dimension: u16, seed: u64, vectors: &[Codes]) -> Index {
    let mut index = Index::new(dimension, Metric::Cosine, seed);
    let mut scratch = Scratch::default();
    for codes in vectors {
        index.push(codes);
        index.insert_next(GRAPH_WIDTH_INSERT, &mut scratch);
    }
    index
}

fn all(_: Row) -> bool {
    true
}

/// The best of `rows` by the obvious way.
fn obvious(
    vectors: &[Codes],
    rows: std::ops::Range<u32>,
    query: &Codes,
    count: usize,
) -> Vec<Scored> {
    let similarity = |row: u32| {
        let codes = &vectors[row as usize];
        let products =
            codes.codes8.iter().zip(&query.codes8).map(|(a, b)| i32::from(*a) * i32::from(*b));
        products.sum::<i32>() as f32 * (query.scale * codes.scale)
    };
    let mut best: Vec<Scored> =
        rows.map(|row| Scored { row: Row(row), similarity: similarity(row) }).collect();
    best.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.row.cmp(&b.row)));
    best.truncate(count);
    best
}

fn dimensions() -> impl Strategy<Value = u16> {
    prop_oneof![8u16..=200, Just(64u16), Just(768), 4_000u16..=4_096]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_graph_is_sound_after_every_insertion(
        dimension in 8u16..40, count in 1usize..150, centres in 1usize..5,
        spread in prop_oneof![Just(0.0f32), Just(0.001), Just(0.1), Just(1.0)], seed in any::<u64>()
    ) {
        let vectors = clustered(count, dimension, centres, spread, seed);
        let mut index = Index::new(dimension, Metric::Cosine, seed);
        let mut scratch = Scratch::default();
        for (row, codes) in vectors.iter().enumerate() {
            prop_assert_eq!(index.push(codes), Row(row as u32));
        }
        for row in 0..count {
            index.insert_next(GRAPH_WIDTH_INSERT, &mut scratch);
            prop_assert_eq!(index.indexed(), row as u32 + 1);
            prop_assert_eq!(index.check(), Ok(()));
        }
    }

    #[test]
    fn a_beam_as_wide_as_the_graph_finds_exactly_the_best(
        dimension in dimensions(), count in 1usize..80, asked in 1u32..20,
        spread in prop_oneof![Just(0.0f32), Just(0.1), Just(1.0)], seed in any::<u64>()
    ) {
        let vectors = clustered(count, dimension, 3, spread, seed);
        let index = built(dimension, seed, &vectors);
        let query = &clustered(1, dimension, 1, 1.0, !seed)[0];
        let (mut scratch, mut found) = (Scratch::default(), Vec::new());
        index.search(query, count as u32, asked, all, &mut scratch, &mut found);
        prop_assert_eq!(&found, &obvious(&vectors, 0..count as u32, query, asked as usize));
    }

    #[test]
    fn a_scan_in_small_pieces_finds_exactly_the_best(
        dimension in dimensions(), count in 1u32..300, asked in 0u32..20,
        spread in prop_oneof![Just(0.0f32), Just(1.0)], hidden in 0u32..3, seed in any::<u64>()
    ) {
        let vectors = clustered(count as usize, dimension, 3, spread, seed);
        let mut index = Index::new(dimension, Metric::Cosine, seed);
        vectors.iter().for_each(|codes| { index.push(codes); });
        let query = &clustered(1, dimension, 1, 1.0, !seed)[0];
        let visible = |row: Row| hidden == 0 || row.0.is_multiple_of(hidden);
        let (mut scratch, mut found) = (Scratch::default(), Vec::new());
        // So few that the int8 codes of all are compared.
        for first in (0..count).step_by(32) {
            let piece = first..count.min(first + 32);
            index.scan(query, piece, asked, visible, &mut scratch, &mut found);
        }
        let mut wanted = obvious(&vectors, 0..count, query, count as usize);
        wanted.retain(|scored| visible(scored.row));
        wanted.truncate(asked as usize);
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn the_graph_is_sound_while_rows_are_linked_anew(
        dimension in 8u16..40, count in 1u32..120,
        centres in 1usize..5, spread in prop_oneof![Just(0.0f32), Just(0.1), Just(1.0)],
        refined in any::<u32>(), seed in any::<u64>()
    ) {
        let vectors = clustered(count as usize, dimension, centres, spread, seed);
        let mut index = Index::new(dimension, Metric::Cosine, seed);
        let (mut scratch, mut found) = (Scratch::default(), Vec::new());
        vectors.iter().for_each(|codes| { index.push(codes); });
        for _ in 0..count {
            index.insert_next(GRAPH_WIDTH_INSERT, &mut scratch);
            prop_assert_eq!(index.check(), Ok(()));
            index.refine(Row(refined % index.indexed()), GRAPH_WIDTH_REFINE, &mut scratch);
            prop_assert_eq!(index.check(), Ok(()));
        }
        let query = &clustered(1, dimension, 1, 1.0, !seed)[0];
        index.search(query, count, 10, all, &mut scratch, &mut found);
        prop_assert_eq!(found, obvious(&vectors, 0..count, query, 10));
    }

    #[test]
    fn every_kernel_builds_the_same_graph(dimension in dimensions(), seed in any::<u64>()) {
        let vectors = clustered(50, dimension, 4, 0.5, seed);
        let mut stories = Vec::new();
        for kernel in Kernel::all() {
            let mut index = Index::with_kernel(dimension, Metric::Cosine, seed, kernel);
            let (mut scratch, mut found) = (Scratch::default(), Vec::new());
            let mut story = Vec::new();
            for codes in &vectors {
                index.push(codes);
                story.push((index.insert_next(GRAPH_WIDTH_INSERT, &mut scratch), Vec::new()));
                let distances = index.search(codes, 10, 5, all, &mut scratch, &mut found);
                story.push((distances, found.clone()));
            }
            stories.push(story);
        }
        for story in &stories[1..] {
            prop_assert_eq!(story, &stories[0]);
        }
    }

    #[test]
    fn rows_dropped_from_the_tail_leave_no_trace(
        kept in 1u32..40, dropped in 1usize..100, seed in any::<u64>()
    ) {
        let dimension = 20;
        let vectors = clustered(200, dimension, 3, 1.0, seed);
        let mut index = Index::new(dimension, Metric::Cosine, seed);
        let mut scratch = Scratch::default();
        for codes in &vectors[..kept as usize] {
            index.push(codes);
        }
        index.insert_next(GRAPH_WIDTH_INSERT, &mut scratch);
        for codes in &vectors[100..100 + dropped] {
            index.push(codes);
        }
        (0..dropped).for_each(|_| { index.drop_last(); });
        prop_assert_eq!(index.len(), kept);
        let mut found = Vec::new();
        index.scan(&vectors[0], 0..kept, 50, all, &mut scratch, &mut found);
        prop_assert_eq!(&found, &obvious(&vectors, 0..kept, &vectors[0], 50));
        for codes in &vectors[kept as usize..100] {
            index.push(codes);
        }
        while index.indexed() < index.len() {
            index.insert_next(GRAPH_WIDTH_INSERT, &mut scratch);
        }
        prop_assert_eq!(index.check(), Ok(()));
        index.search(&vectors[7], 100, 100, all, &mut scratch, &mut found);
        prop_assert_eq!(found, obvious(&vectors, 0..100, &vectors[7], 100));
    }
}

/// The exact best ten of `queries` queries among `count` base rows, in f32, and what the index
/// finds at `width`.
fn recall_at_10(pairs: &Pairs, index: &Index, count: usize, queries: usize, width: u32) -> f64 {
    let base: Vec<Vec<f32>> = (0..count).map(|row| pairs.base(row)).collect();
    let (mut scratch, mut found, mut hits) = (Scratch::default(), Vec::new(), 0);
    for query in (0..queries).map(|query| pairs.query(query)) {
        let mut exact: Vec<(f32, u32)> =
            base.iter().zip(0..).map(|(vector, row)| (dot_f32(vector, &query), row)).collect();
        exact.sort_by(|a, b| b.0.total_cmp(&a.0));
        index.search(&encode(&query), width, 10, all, &mut scratch, &mut found);
        hits += exact[..10]
            .iter()
            .filter(|(_, row)| found.iter().any(|scored| scored.row.0 == *row))
            .count();
    }
    hits as f64 / (10 * queries) as f64
}

#[test]
fn recall_on_real_data_is_high_and_insertion_is_cheap() {
    let pairs = Pairs::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data"));
    let count = 3_000;
    let mut index = Index::new(DIMENSION, Metric::Cosine, 1);
    let mut scratch = Scratch::default();
    let mut distances = 0;
    for row in 0..count {
        index.push(&encode(&pairs.base(row)));
        distances += index.insert_next(GRAPH_WIDTH_INSERT, &mut scratch);
    }
    assert_eq!(index.check(), Ok(()));
    let recall = recall_at_10(&pairs, &index, count, 60, 128);
    assert!(recall >= 0.98, "recall@10 is {recall} at width 128");
    assert!(
        distances / count as u32 <= 1_500,
        "{} distances an insertion",
        distances / count as u32
    );
}

#[test]
fn rows_that_come_sorted_by_topic_are_found_as_well() {
    let pairs = Pairs::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data"));
    // From one end of the first row's direction to the other: what the mean is learned from is
    // unlike what comes later, so it is learned anew, and 1-bit codes are written anew, on the way.
    let mut base: Vec<Vec<f32>> = (0..3_000).map(|row| pairs.base(row)).collect();
    let topic = base[0].clone();
    base.sort_by(|a, b| dot_f32(&topic, b).total_cmp(&dot_f32(&topic, a)));
    let mut index = Index::new(DIMENSION, Metric::Cosine, 1);
    let mut scratch = Scratch::default();
    let (mut found, mut scanned, mut worst) = (Vec::new(), Vec::new(), 1.0f64);
    for (row, vector) in base.iter().enumerate() {
        index.push(&encode(vector));
        index.insert_next(GRAPH_WIDTH_INSERT, &mut scratch);
        // Also while some codes are relative to the older mean.
        if [70, 140, 1_030, 1_060, 2_060, 2_999].contains(&row) {
            let (mut hits, mut scan_hits) = (0, 0);
            for query in (0..60).map(|query| pairs.query(query)) {
                let mut exact: Vec<(f32, u32)> = base[..=row]
                    .iter()
                    .zip(0..)
                    .map(|(vector, row)| (dot_f32(vector, &query), row))
                    .collect();
                exact.sort_by(|a, b| b.0.total_cmp(&a.0));
                let codes = encode(&query);
                index.search(&codes, 128, 10, all, &mut scratch, &mut found);
                scanned.clear();
                index.scan(&codes, 0..row as u32 + 1, 10, all, &mut scratch, &mut scanned);
                let among = |best: &[Scored]| {
                    let is_found = |row: u32| best.iter().any(|scored| scored.row.0 == row);
                    exact[..10].iter().filter(|(_, row)| is_found(*row)).count()
                };
                hits += among(&found);
                scan_hits += among(&scanned);
            }
            worst = worst.min(hits.min(scan_hits) as f64 / 600.0);
        }
    }
    assert_eq!(index.check(), Ok(()));
    assert!(worst >= 0.96, "recall@10 is {worst}");
}

#[test]
fn thousands_of_duplicates_are_cheap_and_hide_no_one() {
    let mut vectors = clustered(5_000, 32, 1, 0.0, 1);
    let others = clustered(20, 32, 20, 1.0, 2);
    for (at, other) in others.iter().enumerate() {
        vectors.insert(at * 240, other.clone());
    }
    let mut index = Index::new(32, Metric::Cosine, 3);
    let mut scratch = Scratch::default();
    let mut most = 0;
    for codes in &vectors {
        index.push(codes);
        most = most.max(index.insert_next(GRAPH_WIDTH_INSERT, &mut scratch));
    }
    assert_eq!(index.check(), Ok(()));
    assert!(most <= 2_500, "an insertion took {most} distances");
    let mut found = Vec::new();
    for (at, other) in others.iter().enumerate() {
        index.search(other, 64, 1, all, &mut scratch, &mut found);
        assert_eq!(found[0].row, Row(at as u32 * 240), "other {at} is found among the duplicates");
    }
    index.search(&vectors[1], 64, 64, all, &mut scratch, &mut found);
    assert_eq!(found.len(), 64);
    assert!(
        found.iter().all(|scored| vectors[scored.row.0 as usize] == vectors[1]),
        "all are duplicates"
    );
}

#[test]
fn a_thousand_forgotten_versions_do_not_hide_the_living_one() {
    // One memory replaced over and over: all its versions are nearer to the query than anything
    // else.
    let mut vectors = clustered(1_000, 32, 1, 0.01, 5);
    let query = vectors[500].clone();
    vectors.extend(clustered(1_000, 32, 200, 1.0, 6));
    let index = built(32, 1, &vectors);
    let (mut scratch, mut found) = (Scratch::default(), Vec::new());
    for alive in [0, 333, 999] {
        let visible = |row: Row| row.0 == alive || row.0 >= 1_000;
        index.search(&query, 64, 3, visible, &mut scratch, &mut found);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].row, Row(alive));
        assert!(found.iter().all(|scored| visible(scored.row)));
    }
    index.search(&query, 64, 3, |_| false, &mut scratch, &mut found);
    assert!(found.is_empty());
}

#[test]
fn an_empty_index_finds_nothing() {
    let index = Index::new(8, Metric::Cosine, 0);
    let query = &clustered(1, 8, 1, 1.0, 1)[0];
    let mut found = vec![Scored { row: Row(3), similarity: 1.0 }];
    assert_eq!(index.search(query, 10, 10, all, &mut Scratch::default(), &mut found), 0);
    assert!(found.is_empty() && index.is_empty());
    assert_eq!(index.check(), Ok(()));
}
