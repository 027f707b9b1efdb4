//! What growing costs at worst: one million rows, one after the other, into the arrays of a stripe.
//!
//! `cargo bench -p engram-shards --bench arena`. A mean would hide what is looked for, so each step
//! is timed by itself: a row arrives, it becomes durable, it is known by its hash. Of several rounds
//! each step's shortest time counts: what growing costs comes again at the same row, an interruption
//! does not. Vectors are all the same; their graph is not built.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use engram_shards::attributes::Attributes;
use engram_shards::ids::{Generation, Location, LogId, SegmentId, Time};
use engram_shards::settings::Metric;
use engram_shards::space::{Arrival, Place, Rows};
use engram_shards::vector::codes::encode;

/// The server's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DIMENSION: u16 = 768;
const ROWS: u32 = 1_000_000;
const ROUNDS: u32 = 5;
const STEPS: [&str; 3] = ["arrive", "commit", "enter"];
/// The longest steps that are shown.
const SHOWN: usize = 12;

fn main() {
    let before = resident_bytes();
    let mut shortest = vec![[Duration::MAX; STEPS.len()]; ROWS as usize];
    let tables = resident_bytes();
    let mut took = Duration::MAX;
    let (mut resident, mut counted) = (0, 0);
    for round in 0..ROUNDS {
        let begun = Instant::now();
        // A thread of its own begins with a huge page of its own, so every round comes to a new one
        // at the same rows.
        let rows = thread::scope(|scope| scope.spawn(|| grow(&mut shortest)).join());
        let rows = black_box(rows.expect("a round does not panic"));
        took = took.min(begun.elapsed());
        if round == 0 {
            resident = resident_bytes() - tables;
        }
        counted = rows.bytes();
        drop(rows);
    }
    println!("{ROWS} rows of {DIMENSION} codes in {:.2} s", took.as_secs_f64());
    let per_row = |bytes: u64| bytes as f64 / f64::from(ROWS);
    println!("bytes a row: {:.1} resident, {:.1} counted", per_row(resident), per_row(counted));
    println!("resident afterwards: {} KiB", (resident_bytes() - before) / 1024);
    for (step, name) in STEPS.iter().enumerate() {
        let sum: Duration = shortest.iter().map(|times| times[step]).sum();
        println!(
            "{name}, mean with the clock's own time: {:.0} ns",
            sum.as_secs_f64() * 1e9 / f64::from(ROWS)
        );
    }
    let mut steps: Vec<(Duration, usize, &str)> = Vec::new();
    for (row, times) in shortest.iter().enumerate() {
        steps.extend(times.iter().zip(STEPS).map(|(&took, name)| (took, row, name)));
    }
    steps.sort_unstable_by(|a, b| b.cmp(a));
    println!("{:<10} {:>10} {:>10}", "step", "row", "µs");
    for (took, row, name) in &steps[..SHOWN] {
        println!("{name:<10} {row:>10} {:>10.1}", took.as_secs_f64() * 1e6);
    }
}

/// Fills a stripe, and lowers what a step took in `shortest` to what it takes now.
fn grow(shortest: &mut [[Duration; STEPS.len()]]) -> Rows {
    let vector = vec![f32::from(DIMENSION).sqrt().recip(); DIMENSION.into()];
    let codes = encode(&vector);
    let mut rows = Rows::new(DIMENSION, Metric::Cosine, 1);
    let segment = SegmentId { log: LogId(0), number: 1 };
    for (number, shortest) in (0..ROWS).zip(shortest) {
        let arrival = Arrival {
            codes: &codes,
            // The finaliser of SplitMix64 is a bijection: no hash comes twice.
            memory_hash: mixed(u64::from(number)),
            generation: Generation(u64::from(number) + 1),
            received_at: Time(u64::from(number)),
            attributes: Attributes::default(),
        };
        let location = Location { segment, offset: number, bytes: 1 };
        let begun = Instant::now();
        let row = rows.push(&arrival, Place::Stored(location));
        let arrived = Instant::now();
        rows.commit(row, location, Time(u64::from(number)));
        let durable = Instant::now();
        black_box(rows.enter(row));
        let times = [arrived - begun, durable - arrived, durable.elapsed()];
        for (shortest, time) in shortest.iter_mut().zip(times) {
            *shortest = time.min(*shortest);
        }
    }
    rows
}

fn mixed(number: u64) -> u64 {
    let hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

/// What the kernel counts as this process's memory; zero where it does not tell.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
