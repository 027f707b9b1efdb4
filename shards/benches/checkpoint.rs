//! How long a stripe's checkpoint takes to be built and to be read back, without a disk.
//!
//! `cargo bench -p engram-shards --bench checkpoint -- ROWS`; rows are random directions of 768 numbers.

use std::time::Instant;

use engram_shards::attributes::Attributes;
use engram_shards::checkpoint::layout::pieces;
use engram_shards::checkpoint::reading::{CheckedHead, Reading};
use engram_shards::checkpoint::writing::Writing;
use engram_shards::graph::Scratch;
use engram_shards::ids::{Generation, Location, LogId, Row, SegmentId, SpaceKey, StripeKey, Time};
use engram_shards::log::ranges::Ranges;
use engram_shards::message::Lane;
use engram_shards::session::Sessions;
use engram_shards::settings::{Metric, SpaceSettings};
use engram_shards::space::{Arrival, Rows, Stripe, TailLimits};
use engram_shards::vector::codes::Codes;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DIMENSION: u16 = 768;
const KEY: StripeKey = StripeKey { space: SpaceKey(7), stripe: 0 };

fn mixed(number: u64) -> u64 {
    let hash = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash ^ hash >> 31
}

fn codes(number: u64) -> Codes {
    let codes8 = (0..u64::from(DIMENSION)).map(|at| (mixed(number << 10 | at) % 255) as u8 as i8);
    let codes8 = codes8.map(|code| code.max(-127)).collect();
    Codes { dimension: DIMENSION, codes8, scale: 0.0005 }
}

fn main() {
    let rows = std::env::args().filter_map(|word| word.parse().ok()).next_back();
    let count: u64 = rows.unwrap_or(20_000);
    let settings = SpaceSettings {
        name: "bench".to_owned(),
        dimension: DIMENSION,
        metric: Metric::Cosine,
        stripes: 1,
    };
    let rows = Rows::new(DIMENSION, Metric::Cosine, 1);
    let mut stripe = Stripe::new(KEY, settings, None, TailLimits::default(), rows);
    let mut scratch = Scratch::default();
    for number in 1..=count {
        let codes = codes(number);
        let (generation, received_at) = (Generation(number), Time(number));
        let arrival = Arrival {
            codes: &codes,
            memory_hash: mixed(number),
            generation,
            received_at,
            attributes: Attributes::default(),
        };
        let ordinal = engram_shards::log::log::Ordinal(number);
        let row: Row = stripe.push(&arrival, Lane::Normal, ordinal);
        let segment = SegmentId { log: LogId(0), number: 1 + (number / 20_000) as u32 };
        let location = Location { segment, offset: 4_096, bytes: 3_200 };
        stripe.commit(row, location, Time(number + 1));
        stripe.insert_next(8, &mut scratch);
    }
    let begun = Instant::now();
    let mut writing =
        Writing::new(&stripe, Sessions::default().of_stripe(KEY), Vec::new(), Time(1));
    let (mut file, mut parts) = (Vec::with_capacity(writing.file_bytes() as usize), 0);
    let mut longest = begun.elapsed();
    loop {
        let begun = Instant::now();
        let Some(part) = writing.next(&stripe) else { break };
        longest = longest.max(begun.elapsed());
        file.extend_from_slice(&part.bytes);
        parts += 1;
    }
    let bytes = file.len() as f64;
    println!(
        "written: {:.0} bytes a row, {:.2} GB/s, {parts} parts, the longest {:?}",
        bytes / count as f64,
        bytes / begun.elapsed().as_secs_f64() / 1e9,
        longest
    );
    drop(stripe);
    for _ in 0..3 {
        let begun = Instant::now();
        let found = CheckedHead::new(&file, KEY, file.len() as u64).expect("it is whole");
        let mut reading = Reading::new(&found, 1, None, Ranges::default());
        let mut piece_copy = Vec::new();
        for piece in pieces(found.head()) {
            // As it comes from the page cache: copied once.
            piece_copy.clear();
            piece_copy.extend_from_slice(&file[piece.offset as usize..][..piece.bytes as usize]);
            reading.handle_piece(&piece_copy).expect("it is sound");
        }
        let read = begun.elapsed();
        let restored = reading.finish().expect("it is sound");
        println!(
            "read back: {:.3} s, of which {:.3} s at the end; {:.2} GB/s, {:.0} ns a row",
            begun.elapsed().as_secs_f64(),
            (begun.elapsed() - read).as_secs_f64(),
            bytes / begun.elapsed().as_secs_f64() / 1e9,
            begun.elapsed().as_secs_f64() * 1e9 / count as f64
        );
        drop(restored);
    }
}
