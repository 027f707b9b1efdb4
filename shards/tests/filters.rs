//! The promise: however few rows a filter leaves, the nearest of them are found, and the way there
//! costs no more than comparing those few.

use std::path::Path;

use engram_shards::graph::{Index, Scratch};
use engram_shards::ids::Row;
use engram_shards::limits::{GRAPH_WIDTH_INSERT, GRAPH_WIDTH_RECALL};
use engram_shards::settings::Metric;
use engram_shards::vector::codes::encode;

mod pairs;
use pairs::{DIMENSION, Pairs};

/// Base rows; each of the contents comes in more than two contexts.
const ROWS: u32 = 10_000;
const QUERIES: usize = 40;
/// The recall that a space is held to.
const RECALL_MIN: f64 = 0.95;

/// Whether the filter `divisor` leaves a row: one of `divisor`, in no order.
fn drawn(row: Row, divisor: u32) -> bool {
    (row.0.wrapping_mul(0x9e37_79b9) >> 7).is_multiple_of(divisor)
}

#[test]
fn the_nearest_of_few_are_found_at_the_cost_of_few() {
    let pairs = Pairs::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data"));
    let mut index = Index::new(DIMENSION, Metric::Cosine, 1);
    let (mut scratch, mut found) = (Scratch::default(), Vec::new());
    for row in 0..ROWS {
        index.push(&encode(&pairs.base(row as usize)));
        index.insert_next(GRAPH_WIDTH_INSERT, &mut scratch);
    }
    for divisor in [1, 2, 3, 5, 10, 30, 100, 1_000, ROWS] {
        let visible = |row: Row| drawn(row, divisor);
        let (mut hits, mut wanted, mut distances, mut scans) = (0, 0, 0, 0);
        let mut exact = Vec::new();
        for query in (0..QUERIES).map(|query| encode(&pairs.query(query))) {
            // So few at a time that the int8 codes of all are compared.
            exact.clear();
            for first in (0..ROWS).step_by(32) {
                let some = first..ROWS.min(first + 32);
                index.scan(&query, some, 10, visible, &mut scratch, &mut exact);
            }
            let sought = index.search_graph(
                &query,
                GRAPH_WIDTH_RECALL,
                10,
                visible,
                &mut scratch,
                &mut found,
            );
            scans += u32::from(!sought.complete);
            distances +=
                index.search(&query, GRAPH_WIDTH_RECALL, 10, visible, &mut scratch, &mut found);
            wanted += exact.len();
            hits += exact.iter().filter(|scored| found.contains(scored)).count();
            assert!(found.iter().all(|scored| visible(scored.row)));
        }
        let recall = hits as f64 / wanted as f64;
        let each = distances / QUERIES as u32;
        println!("1 of {divisor}: recall@10 {recall:.4}, {each} distances, {scans} scans");
        assert!(recall >= RECALL_MIN, "recall@10 of 1 of {divisor} is {recall}");
        // A scan of all of them, or the search of a graph of nothing else.
        let most = (ROWS / divisor + ROWS / 16 + 100).max(4_000);
        assert!(each <= most, "1 of {divisor} took {each} distances of {most}");
    }
}
