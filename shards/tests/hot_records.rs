//! Promise: a record that a recall has read is at hand for the next ones, as far as there is room; and what is replaced,
//! forgotten or damaged is no less so for being at hand.

mod world;

use engram_shards::ids::StripeKey;
use engram_shards::message::{Forget, ForgetMode, Isolation, Recalled, Request};
use engram_shards::record_cache::RecordCacheStatus;
use world::{CLIENT, SECRET, World, id_of, unary, vector};

/// Memories of a space.
const COUNT: u64 = 20;

/// A space whose records are read back, with room for so many bytes of them.
fn world(record_cache_bytes: u64) -> (World, StripeKey) {
    let mut world = World::new(1);
    world.record_cache_bytes = record_cache_bytes;
    world.start(1).expect("an empty disk is sound");
    let stripe = world.space("diary");
    for number in 1..=COUNT {
        world.observe(stripe, unary(number, &format!("m{number}"), vector(number)));
    }
    world.settle();
    world.take();
    (world, stripe)
}

fn recall(world: &mut World, stripe: StripeKey) -> Recalled {
    world.recall(stripe, &vector(3), 2 * COUNT as u32, Isolation::Durable)
}

fn told(recalled: &Recalled) -> Vec<(String, u32)> {
    recalled.hits.iter().map(|hit| (id_of(hit), hit.similarity.to_bits())).collect()
}

/// Whatever is read from now on is damaged.
fn lose_all(world: &mut World) {
    world.disk.files.values_mut().for_each(|file| file.fill(0));
}

fn status(world: &mut World) -> RecordCacheStatus {
    *world.status()[0].record_cache
}

#[test]
fn what_was_recalled_is_at_hand() {
    let (mut world, stripe) = world(1 << 20);
    let first = recall(&mut world, stripe);
    assert_eq!(first.hits.len(), COUNT as usize);
    lose_all(&mut world);
    let again = recall(&mut world, stripe);
    assert_eq!((told(&again), again.unreadable), (told(&first), 0));
    let RecordCacheStatus { hits, misses, bytes } = status(&mut world);
    assert_eq!((hits, misses), (COUNT, COUNT));
    assert!((1_000..1 << 20).contains(&bytes), "{bytes}");
}

#[test]
fn without_room_each_recall_reads() {
    let (mut world, stripe) = world(0);
    assert_eq!(recall(&mut world, stripe).unreadable, 0);
    lose_all(&mut world);
    assert_eq!(recall(&mut world, stripe).unreadable, COUNT as u32);
    let misses = 2 * COUNT;
    assert_eq!(status(&mut world), RecordCacheStatus { hits: 0, misses, bytes: 0 });
}

#[test]
fn some_are_at_hand_and_the_others_are_read() {
    let (mut world, stripe) = world(1 << 20);
    let few = world.recall(stripe, &vector(3), 1, Isolation::Durable);
    assert_eq!(id_of(&few.hits[0]), "m3");
    let RecordCacheStatus { misses, .. } = status(&mut world);
    assert!(misses < COUNT, "{misses}");
    let all = recall(&mut world, stripe);
    assert_eq!((all.hits.len() as u64, all.unreadable), (COUNT, 0));
    let of_both = RecordCacheStatus { hits: misses, misses: COUNT, ..status(&mut world) };
    assert_eq!(status(&mut world), of_both);
}

#[test]
fn a_damaged_record_is_not_kept() {
    let (mut world, stripe) = world(1 << 20);
    let whole = world.disk.files.clone();
    lose_all(&mut world);
    assert_eq!(recall(&mut world, stripe).unreadable, COUNT as u32);
    assert_eq!(status(&mut world).bytes, 0);
    world.disk.files = whole;
    assert_eq!(recall(&mut world, stripe).hits.len() as u64, COUNT, "read again, and sound");
}

#[test]
fn what_is_replaced_or_forgotten_is_not_recalled_though_it_is_at_hand() {
    let (mut world, stripe) = world(1 << 20);
    recall(&mut world, stripe);
    world.observe(stripe, unary(100, "m3", vector(77)));
    let id: Box<str> = "m5".into();
    let (memory_hash, mode) = (SECRET.memory_hash(&id), ForgetMode::Delete);
    let forget = Forget { stripe, memory_hash, id, mode };
    world.ask(stripe, CLIENT, Request::Forget(forget));
    world.settle();
    world.take();
    let recalled = recall(&mut world, stripe);
    let ids: Vec<String> = recalled.hits.iter().map(id_of).collect();
    assert_eq!(ids.iter().filter(|id| *id == "m3").count(), 1);
    assert!(!ids.contains(&"m5".to_owned()), "{ids:?}");
    let newest = recalled.hits.iter().find(|hit| id_of(hit) == "m3").expect("it was stored anew");
    assert_eq!(newest.generation.0, COUNT + 1);
}
