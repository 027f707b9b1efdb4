//! Promise: a wide search holds nobody up. It stops every so many distances, and what comes of it is what one search
//! without a stop finds; rows that enter the graph between two steps neither break it nor are found twice.

mod pairs;
mod world;

use std::path::Path;

use engram_shards::graph::{Aim, Index, Scored, Scratch, Seeking};
use engram_shards::ids::Row;
use engram_shards::limits::SEARCH_DISTANCES_MAX;
use engram_shards::message::{Isolation, Reply, Request};
use engram_shards::settings::Metric;
use engram_shards::vector::codes::{Codes, encode, normalise};
use pairs::{DIMENSION, Pairs};
use world::{CLIENT, World, id_of, recall, unary, vector};

const ROWS: u32 = 6_000;
const COUNT: u32 = 10;
/// Of a step that begins a search: behind the way down to where it starts.
const STEP_MOST: u32 = SEARCH_DISTANCES_MAX + 500;

fn pairs() -> Pairs {
    Pairs::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data"))
}

/// All rows pushed, and the first `linked` in the graph.
fn index(pairs: &Pairs, linked: u32) -> Index {
    let mut index = Index::new(DIMENSION, Metric::Cosine, 1);
    for row in 0..ROWS {
        index.push(&encode(&pairs.base(row as usize)));
    }
    link(&mut index, linked);
    index
}

fn link(index: &mut Index, count: u32) {
    let mut scratch = Scratch::default();
    for _ in 0..count {
        index.insert_next(32, &mut scratch);
    }
}

/// Searches in steps, with `between` two of them. Returns what was found and how many steps it took.
fn in_steps(
    index: &mut Index,
    aim: Aim<'_>,
    width: u32,
    visible: impl Fn(Row) -> bool + Copy,
    mut between: impl FnMut(&mut Index),
) -> (Vec<Scored>, u32) {
    let (mut seeking, mut scratch, mut found) =
        (Seeking::default(), Scratch::default(), Vec::new());
    let begun = index.begin_search(aim, (width, COUNT), visible, &mut seeking);
    assert!(begun.expect("all are visible") <= STEP_MOST - SEARCH_DISTANCES_MAX);
    for step in 1.. {
        let (distances, ended) =
            index.go_on_searching(aim, visible, &mut seeking, &mut scratch, &mut found);
        assert!((1..=SEARCH_DISTANCES_MAX).contains(&distances), "{distances} in one step");
        match ended {
            Some(complete) => {
                assert!(complete);
                return (found, step);
            }
            None => between(index),
        }
    }
    unreachable!("a search ends")
}

#[test]
fn it_finds_what_one_search_finds() {
    let pairs = pairs();
    let mut index = index(&pairs, ROWS);
    let mut scratch = Scratch::default();
    for number in 0..20 {
        let cue = encode(&pairs.query(number));
        let row = (0..).map(|at| Row(number as u32 * 251 + at));
        let row = row.into_iter().find(|row| index.is_on_bottom_only(*row)).expect("most are");
        for width in [32, 200, 1_000, 4_000] {
            let all = |_: Row| true;
            let mut expected = Vec::new();
            let (count, scratch) = (COUNT, &mut scratch);
            index.search_graph(&cue, width, count, all, scratch, &mut expected);
            let (found, steps) = in_steps(&mut index, Aim::Cue(&cue), width, all, |_| {});
            assert_eq!(found, expected);
            assert_eq!(steps > 1, width > 300, "width {width} took {steps} steps");
            index.search_without(row, width, count, all, scratch, &mut expected);
            let (found, _) = in_steps(&mut index, Aim::Row(row), width, all, |_| {});
            assert_eq!(found, expected);
            assert!(found.iter().all(|scored| scored.row != row), "it is absent");
        }
    }
}

#[test]
fn the_graph_may_grow_between_its_steps() {
    const FIRST: u32 = 500;
    let pairs = pairs();
    let mut grown = index(&pairs, FIRST);
    let query: Codes = encode(&pairs.query(7));
    let mut expected = Vec::new();
    grown.search(&query, FIRST, COUNT, |_| true, &mut Scratch::default(), &mut expected);
    // Not those that came since.
    let seen = |row: Row| row.0 < FIRST;
    let (found, steps) = in_steps(&mut grown, Aim::Cue(&query), 1_500, seen, |index| {
        link(index, FIRST.min(3 * FIRST - index.indexed()));
    });
    assert!(steps > 2 && grown.indexed() == 3 * FIRST, "{steps} steps, {} rows", grown.indexed());
    assert_eq!(found, expected);
}

#[test]
fn a_recall_as_wide_as_can_be_lets_insertions_through() {
    // A good part of all, so that some that come while it goes on are among them.
    const NEAREST: usize = 1_000;
    let mut world = World::new(1);
    let stripe = world.space("diary");
    for sequence in 1..=4_000 {
        world.observe(stripe, unary(sequence, &format!("m{sequence}"), vector(sequence)));
    }
    world.settle();
    for sequence in 4_001..=4_100 {
        world.observe(stripe, unary(sequence, &format!("m{sequence}"), vector(sequence)));
    }
    world.commit();
    world.take();
    let cue = vector(4_050);
    let wide = engram_shards::message::Recall {
        width: u32::MAX,
        ..recall(stripe, &cue, NEAREST as u32, Isolation::Durable)
    };
    world.ask(stripe, CLIENT, Request::Recall(wide));
    let linked = |world: &mut World| world.status()[0].stripes[0].linked;
    let mut steps = 0;
    // Its search, until it goes on to what was not in the graph when it began.
    while world.waiting.is_empty() {
        let before = linked(&mut world);
        let spent = world.shards[0].work(1, world.now);
        // An insertion is beside each.
        assert!(spent <= STEP_MOST + 4_000, "{spent} in one step");
        assert_eq!(linked(&mut world), before + 1, "a row came on");
        steps += 1;
        world.collect();
    }
    assert!(steps > 10, "{steps} steps");
    world.settle();
    let replies = world.take();
    let recalled = replies.iter().find_map(|(_, reply)| match reply {
        Reply::Recalled(Ok(recalled)) => Some(recalled),
        _ => None,
    });
    let mut ids: Vec<String> = recalled.expect("results").hits.iter().map(id_of).collect();
    assert_eq!((ids[0].as_str(), ids.len()), ("m4050", NEAREST));
    let mut exact: Vec<String> = {
        let similar = |number: &u64| {
            let (one, other) = (vector(*number), vector(4_050));
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            dot(&one, &other) / (dot(&one, &one) * dot(&other, &other)).sqrt()
        };
        let mut all: Vec<u64> = (1..=4_100).collect();
        all.sort_by(|one, other| similar(other).total_cmp(&similar(one)));
        all.iter().take(NEAREST).map(|number| format!("m{number}")).collect()
    };
    ids.sort_unstable();
    exact.sort_unstable();
    assert_eq!(ids, exact, "each once");
}

#[test]
fn a_mean_that_is_learned_between_two_steps_misleads_none() {
    let all = |_: Row| true;
    // Two far centres, one after the other, so that the mean moves with the 4,096th row.
    let codes = |number: u32| {
        let centre = |at: u32| if (number < 2_048) == (at < 32) { 2.0 } else { -2.0 };
        let value = |at: u32| ((number % 977 * 31 + at * at * 7 + 3) as f32).sin();
        let mut vector: Vec<f32> = (0..64).map(|at| value(at) + centre(at)).collect();
        normalise(&mut vector).expect("not zero");
        encode(&vector)
    };
    let mut index = Index::new(64, Metric::Cosine, 1);
    for row in 0..4_090 {
        index.push(&codes(row));
        index.insert_next(64, &mut Scratch::default());
    }
    for query in (0..2_000).step_by(200) {
        let mut searched = index.clone();
        let (mut exact, mut scratch) = (Vec::new(), Scratch::default());
        for from in (0..4_090u32).step_by(32) {
            let some = from..4_090.min(from + 32);
            searched.scan(&codes(query), some, COUNT, all, &mut scratch, &mut exact);
        }
        let mut next = 4_090..;
        let (found, steps) =
            in_steps(&mut searched, Aim::Cue(&codes(query)), 700, all, |index: &mut Index| {
                next.by_ref().take(10).for_each(|row| {
                    index.push(&codes(row));
                });
            });
        assert!(steps > 1);
        let hits = found.iter().filter(|one| one.similarity >= exact[9].similarity).count();
        assert!(hits >= 8, "{hits} of ten, of query {query}");
    }
}
