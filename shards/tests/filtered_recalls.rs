//! Promise: a recall with a filter gives memories that pass it, all that are wanted of them, the nearest first; or without a
//! vector the newest first. So it is wherever they lie: in the tail, in the graph, after a restart. The obvious way is tried
//! beside it: every memory is looked at.

mod world;

use std::collections::BTreeMap;

use engram_shards::attributes::{Attributes, Criteria, Filter, Moment, when_of};
use engram_shards::ids::{StripeKey, Time};
use engram_shards::log::record::{Embedding, Observation, encode_body};
use engram_shards::message::{Append, Cue, Isolation, Lane, Recall, Reply, Request};
use proptest::prelude::*;
use world::{CLIENT, DIMENSION, Fate, SECRET, World, id_of, recall, unary, vector};

/// A memory as its observer told it.
#[derive(Clone, Debug, Default)]
struct Memory {
    vector: Vec<f32>,
    when: Option<Moment>,
    place: String,
    who: Vec<String>,
    tags: Vec<String>,
}

impl Memory {
    fn observation<'a>(&'a self, id: &'a str) -> Observation<'a> {
        Observation {
            when: self.when,
            place: &self.place,
            who: self.who.iter().map(String::as_str).collect(),
            tags: self.tags.iter().map(String::as_str).collect(),
            ..Observation::new(id, "a test", Embedding::F32(&self.vector))
        }
    }

    fn similarity(&self, cue: &[f32]) -> f32 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        dot(&self.vector, cue) / (dot(&self.vector, &self.vector) * dot(cue, cue)).sqrt()
    }
}

/// A stripe, and every memory in it by its id.
struct Model {
    world: World,
    stripe: StripeKey,
    memories: BTreeMap<String, Memory>,
    stored: u64,
}

impl Model {
    fn new() -> Model {
        let mut world = World::new(1);
        let stripe = world.space("diary");
        Model { world, stripe, memories: BTreeMap::new(), stored: 0 }
    }

    fn store(&mut self, id: String, memory: Memory) {
        self.stored += 1;
        let sent = unary(self.stored, &id, memory.vector.clone()).append(self.stripe);
        let observation = memory.observation(&id);
        let append = Append {
            body: encode_body(&observation),
            attributes: Attributes::of(&observation, sent.received_at, &SECRET),
            ..sent
        };
        self.world.credit(self.stripe, Lane::Normal);
        self.world.ask(self.stripe, CLIENT, Request::Append(append));
        self.memories.insert(id, memory);
    }

    /// Ids that a recall gives.
    fn recalled(&mut self, cue: Option<&[f32]>, criteria: &Criteria, count: u32) -> Vec<String> {
        let zeros = [1.0; DIMENSION];
        let query = recall(self.stripe, cue.unwrap_or(&zeros), count, Isolation::InFlight);
        let filter = Some(Box::new(Filter::new(criteria.clone(), &SECRET)));
        let query = match cue {
            Some(_) => Recall { filter, ..query },
            None => Recall { filter, cue: Cue::Newest, ..query },
        };
        self.world.take();
        self.world.ask(self.stripe, CLIENT, Request::Recall(query));
        loop {
            self.world.work();
            self.world.end_all(|io| matches!(io, engram_shards::shard::Io::Read { .. }));
            for (_, reply) in self.world.take() {
                if let Reply::Recalled(recalled) = reply {
                    let hits = recalled.expect("a recall of a known space succeeds").hits;
                    return hits.iter().map(id_of).collect();
                }
            }
        }
    }

    /// When all of them were received.
    fn received(&self) -> Time {
        unary(0, "m", vec![1.0; DIMENSION]).append(self.stripe).received_at
    }

    /// All that passes, in the order that a recall is to have.
    fn expected(&self, cue: Option<&[f32]>, criteria: &Criteria) -> Vec<String> {
        let filter = Filter::new(criteria.clone(), &SECRET);
        let received = self.received();
        let passes =
            |(id, memory): &(&String, &Memory)| filter.passes(&memory.observation(id), received);
        let mut passing: Vec<_> = self.memories.iter().filter(passes).collect();
        match cue {
            Some(cue) => passing.sort_by(|(_, one), (_, other)| {
                other.similarity(cue).total_cmp(&one.similarity(cue))
            }),
            None => passing.sort_by_key(|(id, memory)| {
                std::cmp::Reverse(when_of(&memory.observation(id), received))
            }),
        }
        passing.into_iter().map(|(id, _)| id.clone()).collect()
    }

    fn check(&mut self, cue: &[f32], criteria: &Criteria, count: u32) {
        for cue in [Some(cue), None] {
            let expected = self.expected(cue, criteria);
            let found = self.recalled(cue, criteria, count);
            let first = &expected[..expected.len().min(count as usize)];
            assert_eq!(found.len(), first.len(), "{criteria:?}: {found:?} instead of {first:?}");
            // The rows are few, and compared one by one: none is missed. Of the same time, any may come first.
            if cue.is_some() {
                assert_eq!(found, first, "{criteria:?}");
            }
            let received = self.received();
            let when = |id: &String| when_of(&self.memories[id].observation(id), received);
            let times = |ids: &[String]| -> Vec<Moment> { ids.iter().map(when).collect() };
            assert_eq!(times(&found), times(first), "{criteria:?}");
            assert!(found.iter().all(|id| expected.contains(id)), "{criteria:?}");
        }
    }
}

fn names(most: usize) -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[a-e]", 0..most)
}

fn memory() -> impl Strategy<Value = (u64, Memory)> {
    // Many names set nearly all bits: then any name seems to be there.
    let crowd = prop::collection::vec("[f-z]{3}", 40);
    let who = prop_oneof![3 => names(3), 1 => crowd];
    // Of those of one millisecond, any may be looked at.
    let nanos = (0..3u32).prop_map(|millis| millis * 1_000_000);
    let when = prop::option::of((1_699_999_990..1_700_000_010i64, nanos));
    (0..80u64, when, "[x-z]?", who, names(3), any::<u32>()).prop_map(
        |(id, when, place, who, tags, number)| {
            (id, Memory { vector: vector(number.into()), when, place, who, tags })
        },
    )
}

fn criteria() -> impl Strategy<Value = Criteria> {
    let time = || prop::option::of((1_699_999_990..1_700_000_010i64, 0..3u32));
    (time(), time(), "[x-z]?", names(3), names(2)).prop_map(|(from, to, place, who, tags)| {
        let boxed = |names: Vec<String>| names.into_iter().map(String::into_boxed_str).collect();
        Criteria { from, to, place: place.into(), who: boxed(who), tags: boxed(tags) }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn it_gives_what_looking_at_every_memory_gives(
        memories in prop::collection::vec(memory(), 1..120),
        linked in 0..120usize,
        queries in prop::collection::vec((any::<u32>(), criteria(), 1..12u32), 1..8),
    ) {
        let mut model = Model::new();
        for (stored, (id, memory)) in memories.into_iter().enumerate() {
            if stored == linked {
                model.world.settle();
            }
            model.store(format!("m{id}"), memory);
        }
        for restart in [false, true] {
            if restart {
                model.world.crash(Fate::Whole, 1);
            }
            // Until it is durable, a memory may not take the place of one that is; also after a restart, where it has to be
            // proven again.
            model.world.commit();
            for (number, criteria, count) in &queries {
                model.check(&vector(u64::from(*number)), criteria, *count);
            }
        }
    }
}

#[test]
fn among_thousands_where_one_in_a_hundred_passes_the_nearest_are_found() {
    const ROWS: u64 = 6_000;
    const QUERIES: u64 = 30;
    let mut model = Model::new();
    for number in 0..ROWS {
        let who = vec![format!("name {}", number % 100), "everyone".to_owned()];
        let memory = Memory { vector: vector(number), who, ..Memory::default() };
        model.store(format!("m{number}"), memory);
        if number.is_multiple_of(200) {
            model.world.settle();
        }
    }
    model.world.settle();
    let mut hits = 0;
    for query in 0..QUERIES {
        let who = vec![format!("name {query}").into_boxed_str()];
        let criteria = Criteria { who, ..Criteria::default() };
        let cue = vector(ROWS + query);
        let expected = model.expected(Some(&cue), &criteria);
        let found = model.recalled(Some(&cue), &criteria, 10);
        assert_eq!(found.len(), 10);
        hits += found.iter().filter(|id| expected[..10].contains(id)).count();
    }
    let share = hits as f64 / (10 * QUERIES) as f64;
    println!("recall@10 at 1 %: {share:.3}");
    assert!(share >= 0.95, "{share}");
}
