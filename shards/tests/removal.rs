//! The promise: removed rows do not stand in the way. All that are alive are found before, while
//! and after the graph is linked around the others; after that, a search costs what it would cost
//! had they never been there. Then their slots are used again, and nothing tells that they were.

use std::path::Path;

use engram_shards::graph::{Index, Scored, Scratch};
use engram_shards::ids::Row;
use engram_shards::limits::{GRAPH_WIDTH_INSERT, GRAPH_WIDTH_RECALL, GRAPH_WIDTH_REFINE};
use engram_shards::settings::Metric;
use engram_shards::vector::codes::{Codes, encode, normalise};
use proptest::prelude::*;

mod pairs;
use pairs::{DIMENSION, Pairs};

/// Rows of real data; the first half of them is removed.
const ROWS: u32 = 8_000;
const QUERIES: usize = 60;
/// The recall that a space is held to.
const RECALL_MIN: f64 = 0.95;

fn all(_: Row) -> bool {
    true
}

fn push_all(index: &mut Index, codes: &[Codes]) {
    for codes in codes {
        index.push(codes);
    }
}

fn insert_all(index: &mut Index, scratch: &mut Scratch) {
    while index.waiting().len() > 0 {
        index.insert_next(GRAPH_WIDTH_INSERT, scratch);
    }
}

fn mend_all(index: &mut Index, scratch: &mut Scratch) -> u64 {
    let mut distances = 0;
    loop {
        match index.mend(scratch) {
            0 => return distances,
            more => distances += u64::from(more),
        }
    }
}

/// Whether the row is one of those that are removed: of every two, one, in no order.
fn is_removed(row: Row) -> bool {
    row.0.wrapping_mul(0x9e37_79b9) >> 31 == 0
}

/// Recall of the nearest ten of those alive, and the distances of a search.
fn recall(index: &Index, queries: &[Codes], is_alive: impl Fn(Row) -> bool) -> (f64, u32) {
    let (mut scratch, mut found, mut exact) = (Scratch::default(), Vec::new(), Vec::new());
    let (mut hits, mut wanted, mut distances) = (0, 0, 0);
    for query in queries {
        exact.clear();
        for first in (0..index.len_slots()).step_by(32) {
            let some = first..index.len_slots().min(first + 32);
            index.scan(query, some, 10, &is_alive, &mut scratch, &mut exact);
        }
        let width = GRAPH_WIDTH_RECALL;
        distances += index.search(query, width, 10, &is_alive, &mut scratch, &mut found);
        wanted += exact.len();
        hits += exact.iter().filter(|scored| found.contains(scored)).count();
    }
    (f64::from(hits as u32) / f64::from(wanted as u32), distances / queries.len() as u32)
}

#[test]
fn half_of_real_rows_removed_cost_neither_recall_nor_time() {
    let pairs = Pairs::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data"));
    let codes: Vec<Codes> = (0..ROWS).map(|row| encode(&pairs.base(row as usize))).collect();
    let queries: Vec<Codes> = (0..QUERIES).map(|query| encode(&pairs.query(query))).collect();
    let mut scratch = Scratch::default();
    let mut index = Index::new(DIMENSION, Metric::Cosine, 1);
    push_all(&mut index, &codes);
    insert_all(&mut index, &mut scratch);
    let is_alive = |row: Row| !is_removed(row);
    let removed: Vec<Row> = (0..ROWS).map(Row).filter(|row| is_removed(*row)).collect();
    removed.iter().for_each(|row| index.remove(*row));
    assert_eq!(index.check(), Ok(()));
    let (before, passing) = recall(&index, &queries, is_alive);
    let mended = mend_all(&mut index, &mut scratch);
    assert_eq!(index.check(), Ok(()));
    assert!(index.removed() == 0 && index.gone() as usize + 8 >= removed.len());
    let (after, distances) = recall(&index, &queries, is_alive);

    let mut fresh = Index::new(DIMENSION, Metric::Cosine, 1);
    for (row, codes) in codes.iter().enumerate() {
        if is_alive(Row(row as u32)) {
            fresh.push(codes);
        }
    }
    insert_all(&mut fresh, &mut scratch);
    let (built, wanted) = recall(&fresh, &queries, |_| true);
    println!(
        "recall before {before:.4} ({passing} distances), after {after:.4} ({distances}), \
         of a graph of the living {built:.4} ({wanted}); {} distances a removed row",
        mended / removed.len() as u64
    );
    assert!(before >= RECALL_MIN && after >= RECALL_MIN, "{before} before, {after} after");
    assert!(distances * 10 <= wanted * 12, "{distances} distances, of a fresh graph {wanted}");

    // None that is gone is met, even by one who would see it.
    let mut found: Vec<Scored> = Vec::new();
    index.search(&codes[removed[9].0 as usize], ROWS, ROWS / 2, all, &mut scratch, &mut found);
    let dead = found.iter().filter(|scored| is_removed(scored.row)).count();
    assert_eq!(dead as u32 + index.gone(), removed.len() as u32);
}

/// What is done to a graph.
#[derive(Clone, Debug)]
enum Step {
    Push(u64),
    PushAgain(u64),
    DropLast,
    Insert(u32),
    Remove(u32),
    RemoveAround(u32),
    Refine(u32),
    Mend,
    MendAll,
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any::<u64>().prop_map(Step::Push),
        8 => any::<u64>().prop_map(Step::PushAgain),
        1 => Just(Step::DropLast),
        4 => (1u32..=4).prop_map(Step::Insert),
        3 => any::<u32>().prop_map(Step::Remove),
        1 => any::<u32>().prop_map(Step::RemoveAround),
        1 => any::<u32>().prop_map(Step::Refine),
        2 => Just(Step::Mend),
        1 => Just(Step::MendAll),
    ]
}

/// A vector of one of `kinds` kinds; two of a kind are equal, or nearly so.
fn vector(number: u64, kinds: u64, spread: f32) -> Codes {
    let value = |number: u64, at: u64| ((number % 9_973 * 31 + at * at * 7 + 3) as f32).sin();
    let mut vector: Vec<f32> = (0..24)
        .map(|at| value(number % kinds, at) + spread * value(number / kinds, at + 50))
        .collect();
    normalise(&mut vector).expect("not zero");
    encode(&vector)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_graph_is_sound_after_every_step(
        first in 1u64..150, steps in prop::collection::vec(steps(), 1..120),
        kinds in prop_oneof![Just(1u64), Just(3), Just(1_000)],
        spread in prop_oneof![Just(0.0f32), Just(0.01), Just(1.0)], seed in any::<u64>()
    ) {
        let mut index = Index::new(24, Metric::Cosine, seed);
        let mut scratch = Scratch::default();
        let mut vectors: Vec<Codes> = Vec::new();
        let mut alive: Vec<bool> = Vec::new();
        for number in 0..first {
            vectors.push(vector(number, kinds, spread));
        }
        push_all(&mut index, &vectors);
        alive.resize(vectors.len(), true);
        insert_all(&mut index, &mut scratch);
        for step in steps {
            match step {
                Step::PushAgain(number) if index.gone() > 0 => {
                    let gone = index.first_gone().expect("one is gone").0;
                    let codes = vector(number, kinds, spread);
                    prop_assert_eq!(index.push_again(&codes), gone);
                    vectors[gone.0 as usize] = codes;
                    prop_assert!(!std::mem::replace(&mut alive[gone.0 as usize], true));
                }
                Step::Push(number) | Step::PushAgain(number) => {
                    vectors.push(vector(number, kinds, spread));
                    index.push(vectors.last().expect("just pushed"));
                    alive.push(true);
                }
                Step::DropLast => {
                    if index.waiting().len() > 0 {
                        alive[index.drop_last().0 as usize] = false;
                        vectors.truncate(index.len_slots() as usize);
                        alive.truncate(vectors.len());
                    }
                }
                Step::Insert(count) => {
                    let waiting = index.waiting().len() as u32;
                    for _ in 0..count.min(waiting) {
                        index.insert_next(8, &mut scratch);
                    }
                }
                Step::Remove(row) => {
                    let row = row % index.len_slots();
                    if std::mem::replace(&mut alive[row as usize], false) {
                        index.remove(Row(row));
                    }
                }
                Step::RemoveAround(row) => {
                    let row = row % index.len_slots();
                    for row in row..index.len_slots().min(row + 40) {
                        if std::mem::replace(&mut alive[row as usize], false) {
                            index.remove(Row(row));
                        }
                    }
                }
                Step::Refine(row) => {
                    index.refine(Row(row % index.nodes()), GRAPH_WIDTH_REFINE, &mut scratch);
                }
                Step::Mend => {
                    index.mend(&mut scratch);
                }
                Step::MendAll => {
                    mend_all(&mut index, &mut scratch);
                    prop_assert_eq!(index.removed(), 0);
                }
            }
            prop_assert_eq!(index.check(), Ok(()));
        }
        // All that are alive in the graph are found, at any number of removed ones.
        insert_all(&mut index, &mut scratch);
        prop_assert_eq!(index.check(), Ok(()));
        let mut found = Vec::new();
        let is_alive = |row: Row| alive[row.0 as usize];
        let (count, width) = (index.len_slots(), 2 * index.len_slots());
        index.search(&vectors[0], width, count, is_alive, &mut scratch, &mut found);
        prop_assert_eq!(found.len(), alive.iter().filter(|alive| **alive).count());
        for row in (0..count).filter(|row| alive[*row as usize]) {
            let similarity = |codes| {
                let mut found = Vec::new();
                index.scan(codes, row..row + 1, 1, all, &mut Scratch::default(), &mut found);
                found[0].similarity
            };
            let same = similarity(&vectors[row as usize]);
            prop_assert!((same - 1.0).abs() < 0.02, "row {} is {same} like its vector", row);
        }
    }
}
