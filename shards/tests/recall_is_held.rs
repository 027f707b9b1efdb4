//! The promise: a space's recall is held. Idle time raises a graph that was built in haste to the
//! target, at the smallest width that holds it; what the space says of its recall is so; and when
//! nothing more is to be gained, nothing more is done. Without a target nothing is done at all.
//!
//! Real vectors throughout; truth is the exact scan.

use std::path::Path;

use engram_shards::graph::{Index, Scored, Scratch};
use engram_shards::ids::Row;
use engram_shards::limits::{
    GRAPH_WIDTH_INSERT, GRAPH_WIDTH_RECALL, GRAPH_WIDTH_REFINE, QUALITY_SAMPLES, RECALL_WIDTHS,
    SEARCH_DISTANCES_MAX,
};
use engram_shards::message::{Isolation, Request};
use engram_shards::quality::{RecallTarget, Upkeep};
use engram_shards::settings::Metric;
use engram_shards::vector::codes::{Codes, encode};

mod pairs;
mod world;
use pairs::{DIMENSION, Pairs};
use world::{CLIENT, World};

/// Rows of the graphs: all that the small set has, and as many again in another context.
const ROWS: u32 = 6_000;
/// Queries that no row equals.
const QUERIES: usize = 500;
/// Distances of one step, at most: a part of a search, behind the way to where it starts.
const STEP_MOST: u32 = SEARCH_DISTANCES_MAX + 500;
/// Width of a hasty insertion.
const HASTE: u32 = 16;

fn pairs() -> Pairs {
    Pairs::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data"))
}

/// A graph of `rows` real rows, built with searches of this width.
fn built(pairs: &Pairs, rows: u32, width: u32) -> Index {
    let mut index = Index::new(DIMENSION, Metric::Cosine, 1);
    let mut scratch = Scratch::default();
    for row in 0..rows {
        index.push(&encode(&pairs.base(row as usize)));
        index.insert_next(width, &mut scratch);
    }
    index
}

fn all(_: Row) -> bool {
    true
}

/// Queries with the similarity of their tenth nearest row.
fn exact(index: &Index, queries: impl Iterator<Item = Vec<f32>>) -> Vec<(Codes, f32)> {
    let (mut scratch, mut best) = (Scratch::default(), Vec::new());
    let with_truth = |query: Vec<f32>| {
        let codes = encode(&query);
        best.clear();
        // Few rows at a time: each scan compares the int8 codes only of the best by 1-bit codes.
        for from in (0..index.indexed()).step_by(200) {
            let range = from..index.indexed().min(from + 200);
            index.scan(&codes, range, 10, all, &mut scratch, &mut best);
        }
        (codes, best[9].similarity)
    };
    queries.map(with_truth).collect()
}

/// Recall@10 at a width.
fn recall(index: &Index, queries: &[(Codes, f32)], width: u32) -> f32 {
    let mut scratch = Scratch::default();
    let mut found: Vec<Scored> = Vec::new();
    let mut hits = 0;
    for (codes, tenth) in queries {
        index.search(codes, width, 10, all, &mut scratch, &mut found);
        hits += found.iter().filter(|scored| scored.similarity >= *tenth).count();
    }
    hits as f32 / (10 * queries.len()) as f32
}

/// Lets the upkeep run until it is settled. Returns its distances.
fn settle(upkeep: &mut Upkeep, index: &mut Index) -> u64 {
    let mut scratch = Scratch::default();
    let mut distances = 0;
    while !upkeep.is_settled(index) {
        let step = upkeep.step(index, all, &mut scratch);
        assert!(step > 0, "what is not settled has something to do");
        assert!(step <= STEP_MOST, "{step} in one step");
        distances += u64::from(step);
    }
    assert_eq!(upkeep.step(index, all, &mut scratch), 0, "what is settled has nothing to do");
    distances
}

#[test]
fn idle_time_raises_a_hasty_graph_to_its_target_at_a_smaller_width() {
    let pairs = pairs();
    let mut index = built(&pairs, ROWS, HASTE);
    let queries = exact(&index, (0..QUERIES).map(|query| pairs.query(query)));
    let before: Vec<f32> =
        RECALL_WIDTHS.iter().map(|width| recall(&index, &queries, *width)).collect();
    let target = RecallTarget::new(0.98).expect("in range");
    let mut upkeep = Upkeep::new(Some(target));
    assert_eq!(upkeep.width(), GRAPH_WIDTH_RECALL);
    for (codes, _) in &queries {
        upkeep.note_cue(codes, &index);
    }
    settle(&mut upkeep, &mut index);
    assert_eq!(index.check(), Ok(()));
    let status = upkeep.status(&index);
    assert_eq!(status.refined, ROWS);
    let held = recall(&index, &queries, status.width);
    assert!(held >= target.share(), "recall {held} at width {}", status.width);
    let needed = before.iter().position(|recall| *recall >= target.share());
    let needed = needed.map_or(u32::MAX, |place| RECALL_WIDTHS[place]);
    assert!(status.width < needed, "width {} now, {needed} before", status.width);
}

#[test]
fn the_estimate_is_near_the_truth_for_cues_and_not_above_it_for_rows_as_they_come() {
    let pairs = pairs();
    let target = RecallTarget::new(0.9).expect("in range");
    // What comes next, as far as it is like what is there: rows of contexts that the graph has.
    let (ahead, rows) = (ROWS as usize, ROWS - 500);
    for with_cues in [true, false] {
        let mut index = built(&pairs, rows, HASTE);
        let queries = match with_cues {
            true => exact(&index, (0..QUERIES).map(|query| pairs.query(query))),
            false => exact(&index, (ahead - 500..ahead).map(|row| pairs.base(row))),
        };
        let mut upkeep = Upkeep::new(Some(target));
        if with_cues {
            // Not those that recall is measured with below.
            (QUERIES..2 * QUERIES)
                .for_each(|query| upkeep.note_cue(&encode(&pairs.query(query)), &index));
        }
        settle(&mut upkeep, &mut index);
        let status = upkeep.status(&index);
        let estimate = status.recall_estimate.expect("there were samples");
        let truth = recall(&index, &queries, status.width);
        let least = if with_cues { 0.025 } else { 0.06 };
        assert!(
            (-0.025..=least).contains(&(truth - estimate)),
            "cues {with_cues}: {estimate} is told of {truth} at width {}",
            status.width
        );
    }
}

#[test]
fn the_width_rises_with_the_rows_of_a_load_that_leaves_no_idle_time() {
    let pairs = pairs();
    let mut index = Index::new(DIMENSION, Metric::Cosine, 1);
    let mut upkeep = Upkeep::new(Some(RecallTarget::default()));
    let mut scratch = Scratch::default();
    let (mut inserted, mut sampled, mut most) = (0u64, 0u64, 0);
    let mut widths = Vec::new();
    for row in 0..3 * ROWS {
        index.push(&encode(&pairs.base(row as usize)));
        let distances = index.insert_next(GRAPH_WIDTH_INSERT, &mut scratch);
        inserted += u64::from(distances);
        let beside = upkeep.step_beside(distances, &index, all, &mut scratch);
        sampled += u64::from(beside);
        most = most.max(beside);
        if row % ROWS == ROWS - 1 {
            println!("{:?} {sampled} {inserted}", upkeep.status(&index));
            widths.push(upkeep.width());
        }
    }
    assert!(sampled > 0 && sampled * 45 < inserted, "{sampled} beside {inserted}");
    assert!(most <= STEP_MOST, "{most} in one step");
    assert!(widths[0] < widths[2], "{widths:?}");
    let queries = exact(&index, (0..QUERIES).map(|query| pairs.query(query)));
    let held = recall(&index, &queries, upkeep.width());
    assert!(held >= 0.92, "recall {held} at width {}", upkeep.width());
}

#[test]
fn where_the_target_takes_a_wide_search_all_rows_are_linked_with_more_effort() {
    let pairs = pairs();
    let queries = |index: &Index| exact(index, (0..QUERIES).map(|query| pairs.query(query)));
    let mut once = built(&pairs, ROWS, HASTE);
    let mut scratch = Scratch::default();
    let distances: u64 = (0..ROWS)
        .map(|row| u64::from(once.refine(Row(row), GRAPH_WIDTH_REFINE, &mut scratch)))
        .sum();
    let narrow = RECALL_WIDTHS[0];
    let of_once = recall(&once, &queries(&once), narrow);

    let mut index = built(&pairs, ROWS, HASTE);
    let mut upkeep = Upkeep::new(RecallTarget::new(0.995));
    let spent = settle(&mut upkeep, &mut index);
    assert!(spent > 2 * distances, "{spent} distances, {distances} for all rows once");
    let held = recall(&index, &queries(&index), narrow);
    assert!(held > of_once, "recall {held} at width {narrow}, {of_once} after one refinement");
    assert_eq!(upkeep.status(&index).refined, ROWS);
}

#[test]
fn rows_and_cues_take_up_what_was_settled() {
    let pairs = pairs();
    let mut index = built(&pairs, 1_000, HASTE);
    let mut upkeep = Upkeep::new(Some(RecallTarget::default()));
    let whole = settle(&mut upkeep, &mut index);
    let mut scratch = Scratch::default();
    index.push(&encode(&pairs.base(1_000)));
    index.insert_next(HASTE, &mut scratch);
    let one = settle(&mut upkeep, &mut index);
    assert!(one > 0 && one * 100 < whole, "one row took {one}, a thousand {whole}");
    assert_eq!(upkeep.status(&index).refined, 1_001);
    for query in 0..QUALITY_SAMPLES {
        assert!(upkeep.is_settled(&index), "{query} cues are too few");
        // Twice, which says no more than once.
        (0..2).for_each(|_| upkeep.note_cue(&encode(&pairs.query(query)), &index));
    }
    assert!(settle(&mut upkeep, &mut index) > QUALITY_SAMPLES as u64 * 1_001, "a round of samples");
}

#[test]
fn a_shard_keeps_up_when_no_one_asks_and_is_idle_when_all_is_settled() {
    let mut world = World::new(1);
    world.recall_target = Some(RecallTarget::default());
    world.start(1).expect("an empty disk is sound");
    let stripe = world.space("diary");
    for sequence in 1..=300 {
        let sent = world::unary(sequence, "", world::vector(sequence));
        let id = format!("m{sequence}");
        world.observe(stripe, world::Sent { id: &id, ..sent });
    }
    world.commit();
    while world.shards[0].is_asked() {
        world.shards[0].work(1_000, world.now);
    }
    assert!(world.shards[0].has_work(), "upkeep is left");
    // A recall goes first, whatever is left of it.
    world.take();
    let cue = world::recall(stripe, &world::vector(7), 5, Isolation::Durable);
    world.ask(stripe, CLIENT, Request::Recall(cue));
    world.shards[0].work(1, world.now);
    world.shards[0].work(1, world.now);
    assert!(!world.shards[0].is_asked(), "its records are being read");
    while world.shards[0].has_work() {
        let spent = world.shards[0].work(1_000, world.now);
        assert!(spent > 0 && spent < 1_000 + 8_000, "{spent}");
    }
    let upkeep = world.status()[0].stripes[0].upkeep;
    assert!(upkeep.settled);
    assert_eq!(upkeep.refined, 300);
    assert!(upkeep.recall_estimate.expect("sampled") > 0.95 && upkeep.width <= 64, "{upkeep:?}");
    assert_eq!(world.shards[0].check(), Ok(()));
}

#[test]
fn without_a_target_nothing_is_done() {
    let pairs = pairs();
    let mut index = built(&pairs, 1_000, HASTE);
    let mut upkeep = Upkeep::new(None);
    (0..300).for_each(|query| upkeep.note_cue(&encode(&pairs.query(query)), &index));
    let mut scratch = Scratch::default();
    assert_eq!(settle(&mut upkeep, &mut index), 0);
    assert_eq!(upkeep.step_beside(1_000_000, &index, all, &mut scratch), 0);
    assert_eq!((upkeep.width(), upkeep.status(&index).distances), (GRAPH_WIDTH_RECALL, 0));
    assert!(RecallTarget::new(0.0).is_none() && RecallTarget::new(1.0).is_none());
}
