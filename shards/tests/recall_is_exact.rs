//! Promise: on a set small enough to check, a recall gives what an exact search over the stored vectors gives, with the
//! exact similarities, whether the rows are in the tail, in the graph or in both. It may miss a few: candidates are found
//! by codes, which tell little of vectors as short as these.

mod world;

use std::collections::BTreeSet;

use engram_shards::message::{Hit, Isolation, Reply, Request};
use proptest::prelude::*;
use world::{CLIENT, World, id_of, recall, unary, vector};

/// Each set is asked for the nearest of so many.
const CUES: u64 = 10;

/// The cosine of two vectors, in double precision.
fn cosine(one: &[f32], other: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    dot(one, other) / (dot(one, one) * dot(other, other)).sqrt()
}

/// Numbers of the nearest vectors of `1..=rows`, best first, with their similarities.
fn exact(cue: &[f32], rows: u64, count: usize) -> Vec<(u64, f64)> {
    let mut all: Vec<_> = (1..=rows).map(|row| (row, cosine(cue, &vector(row)))).collect();
    all.sort_by(|one, other| other.1.total_cmp(&one.1));
    all.truncate(count);
    all
}

fn filled(rows: u64, indexed: u64) -> (World, engram_shards::ids::StripeKey) {
    let mut world = World::new(1);
    let stripe = world.space("diary");
    for row in 1..=rows {
        world.observe(stripe, unary(row, &row.to_string(), vector(row)));
        if row == indexed {
            world.settle();
        }
    }
    world.take();
    (world, stripe)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn as_an_exact_search_would(rows in 1..300_u64, part in 0..=100_u64, count in 1..40_u32, cue in any::<u64>()) {
        let (mut world, stripe) = filled(rows, rows * part / 100);
        let (mut given, mut missed) = (0, 0);
        for cue in (0..CUES).map(|later| vector(cue.wrapping_add(later))) {
            let recalled = world.recall(stripe, &cue, count, Isolation::InFlight);
            let nearest = exact(&cue, rows, rows as usize);
            prop_assert_eq!(recalled.hits.len(), nearest.len().min(count as usize));
            let exact_of = |hit: &Hit| {
                let known = nearest.iter().find(|(row, _)| id_of(hit) == row.to_string());
                known.expect("only what was stored is recalled").1
            };
            prop_assert!(recalled.hits.is_sorted_by(|one, next| one.similarity >= next.similarity));
            let ids: BTreeSet<_> = recalled.hits.iter().map(id_of).collect();
            prop_assert_eq!(ids.len(), recalled.hits.len());
            for hit in &recalled.hits {
                prop_assert!((f64::from(hit.similarity) - exact_of(hit)).abs() < 1e-5);
            }
            let farthest = nearest[recalled.hits.len() - 1].1;
            given += recalled.hits.len();
            missed += recalled.hits.iter().filter(|hit| exact_of(hit) < farthest - 1e-5).count();
        }
        prop_assert!(missed <= 1 + given / 50, "{missed} of {given} are not of the nearest");
    }
}

#[test]
fn what_is_less_similar_than_asked_for_is_left_out() {
    let (mut world, stripe) = filled(100, 50);
    let cue = vector(7);
    let expected = exact(&cue, 100, 100);
    let kept = expected.iter().filter(|(_, similarity)| *similarity >= 0.2).count();
    assert!(kept > 1 && kept < 100);
    let mut query = recall(stripe, &cue, 100, Isolation::InFlight);
    query.similarity_min = 0.2;
    world.ask(stripe, CLIENT, Request::Recall(query));
    world.settle();
    let replies = world.take();
    let Some((_, Reply::Recalled(Ok(recalled)))) =
        replies.iter().find(|(_, reply)| matches!(reply, Reply::Recalled(_)))
    else {
        panic!("no results")
    };
    assert_eq!(recalled.hits.len(), kept);
}
