//! The promise: a row can be linked anew at any time, and the graph is the better for it. It stays
//! sound after every single row, whatever vectors come, equal on every processor; nothing that was
//! found before is lost, and thousands of equal rows gain no further hold of their neighbours.

use engram_shards::graph::{Index, Scored, Scratch};
use engram_shards::ids::Row;
use engram_shards::limits::GRAPH_WIDTH_REFINE;
use engram_shards::settings::Metric;
use engram_shards::vector::codes::{Codes, encode, normalise};
use engram_shards::vector::kernel::Kernel;
use proptest::prelude::*;

/// Numbers of a vector.
const DIMENSION: u16 = 24;

/// Vectors around few centres: `spread` 0 makes them duplicates, 1 and more noise.
fn clustered(count: usize, centres: u64, spread: f32, seed: u64) -> Vec<Codes> {
    let float = |number: u64| {
        let mut hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed;
        hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (hash >> 48) as f32 / 32_768.0 - 1.0
    };
    let row = |row: u64| {
        let centre = (row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % centres;
        let value = |at: u64| float(centre << 32 | at) + spread * float(1 << 60 | row << 8 | at);
        let mut vector: Vec<f32> = (0..u64::from(DIMENSION)).map(value).collect();
        vector[0] += 0.01;
        normalise(&mut vector).expect("not zero");
        encode(&vector)
    };
    (0..count as u64).map(row).collect()
}

fn built(vectors: &[Codes], width: u32, kernel: Kernel) -> Index {
    let mut index = Index::with_kernel(DIMENSION, Metric::Cosine, 5, kernel);
    let mut scratch = Scratch::default();
    for codes in vectors {
        index.push(codes);
        index.insert_next(width, &mut scratch);
    }
    index
}

fn all(_: Row) -> bool {
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_graph_is_sound_after_every_row(
        count in 1usize..160, centres in 1u64..5, width in 1u32..40,
        spread in prop_oneof![Just(0.0f32), Just(0.001), Just(0.1), Just(1.0)], seed in any::<u64>(),
        rows in prop::collection::vec(any::<u32>(), 1..60)
    ) {
        let mut index = built(&clustered(count, centres, spread, seed), width, Kernel::fastest());
        let mut scratch = Scratch::default();
        for row in rows {
            prop_assert!(index.refine(Row(row % count as u32), GRAPH_WIDTH_REFINE, &mut scratch) > 0);
            prop_assert_eq!(index.check(), Ok(()));
        }
    }

    #[test]
    fn every_kernel_refines_alike(count in 1usize..80, seed in any::<u64>()) {
        let vectors = clustered(count, 4, 0.5, seed);
        let story = |kernel| {
            let mut index = built(&vectors, 4, kernel);
            let (mut scratch, mut found, mut story) = (Scratch::default(), Vec::new(), Vec::new());
            for row in 0..count as u32 {
                let distances = index.refine(Row(row), GRAPH_WIDTH_REFINE, &mut scratch);
                index.search(&vectors[row as usize], 5, 5, all, &mut scratch, &mut found);
                story.push((distances, found.clone()));
            }
            story
        };
        let stories: Vec<_> = Kernel::all().into_iter().map(story).collect();
        for other in &stories[1..] {
            prop_assert_eq!(other, &stories[0]);
        }
    }

    #[test]
    fn an_absent_row_is_neither_found_nor_followed(count in 40usize..120, seed in any::<u64>()) {
        let vectors = clustered(count, 3, 0.5, seed);
        let index = built(&vectors, 64, Kernel::fastest());
        let (mut scratch, mut found, mut best) = (Scratch::default(), Vec::new(), Vec::new());
        let (mut same, mut wanted) = (0, 0);
        for row in (0..count as u32).map(Row).filter(|row| index.is_on_bottom_only(*row)) {
            // So wide that all that can be reached is found.
            index.search_without(row, count as u32, 10, all, &mut scratch, &mut found);
            prop_assert!(found.iter().all(|scored| scored.row != row));
            best.clear();
            index.scan_for(row, 0..count as u32, 10, |other| other != row, &mut Scratch::default(), &mut best);
            same += found.iter().filter(|scored| best.contains(scored)).count();
            wanted += best.len();
            // The next search finds it again.
            index.search(&vectors[row.0 as usize], 64, 1, all, &mut scratch, &mut found);
            let bound = index_similarity(&index, row, &vectors);
            prop_assert_eq!(found[0].similarity.to_bits(), bound.to_bits());
        }
        // What lies behind a row is found another way round, but where the way from the entry leads
        // through it alone.
        prop_assert!(10 * same >= 9 * wanted, "{} of {}", same, wanted);
    }
}

/// How similar a row is to itself.
fn index_similarity(index: &Index, row: Row, vectors: &[Codes]) -> f32 {
    let mut found = Vec::new();
    index.scan(
        &vectors[row.0 as usize],
        row.0..row.0 + 1,
        1,
        all,
        &mut Scratch::default(),
        &mut found,
    );
    found[0].similarity
}

/// Of the best ten of each query, how many a search of this width finds.
fn hits(index: &Index, queries: &[Codes], width: u32) -> usize {
    let (mut scratch, mut found) = (Scratch::default(), Vec::<Scored>::new());
    let mut hits = 0;
    for query in queries {
        let mut best = Vec::new();
        index.scan(query, 0..index.len(), 10, all, &mut Scratch::default(), &mut best);
        index.search(query, width, 10, all, &mut scratch, &mut found);
        hits += found.iter().filter(|scored| best.contains(scored)).count();
    }
    hits
}

#[test]
fn a_graph_built_in_haste_finds_more_once_it_is_refined() {
    let vectors = clustered(3_200, 40, 0.8, 9);
    let (rows, queries) = vectors.split_at(3_000);
    let mut hasty = built(rows, 8, Kernel::fastest());
    let careful = built(rows, 128, Kernel::fastest());
    let before = hits(&hasty, queries, 32);
    let mut scratch = Scratch::default();
    for row in 0..hasty.indexed() {
        hasty.refine(Row(row), GRAPH_WIDTH_REFINE, &mut scratch);
    }
    let (after, wanted) = (hits(&hasty, queries, 32), hits(&careful, queries, 32));
    assert!(
        after > before && after * 100 >= wanted * 99,
        "{before} before, {after} after, {wanted} wanted"
    );
}

#[test]
fn equal_rows_are_left_alone_and_their_first_is_not_cut_off() {
    let mut vectors = clustered(1_000, 1, 0.0, 1);
    let others = clustered(20, 20, 1.0, 2);
    for (at, other) in others.iter().enumerate() {
        vectors.insert(at * 50, other.clone());
    }
    let mut index = built(&vectors, 64, Kernel::fastest());
    let mut scratch = Scratch::default();
    let distances: Vec<u32> = (0..index.indexed())
        .map(|row| index.refine(Row(row), GRAPH_WIDTH_REFINE, &mut scratch))
        .collect();
    assert_eq!(index.check(), Ok(()));
    let cheap = distances.iter().filter(|distances| **distances == 1).count();
    assert_eq!(cheap, 999, "all of the equal rows but their first");
    let mut found = Vec::new();
    for (at, other) in others.iter().enumerate() {
        index.search(other, 64, 1, all, &mut scratch, &mut found);
        assert_eq!(found[0].row, Row(at as u32 * 50), "other {at} is found among the equal ones");
    }
}
