//! However memories are replaced, and however long a compaction's reads take, the log's files are never longer than twice what
//! counts in them and a few segments; and what dies by itself in time is not copied.

mod world;

use engram_shards::limits::{COMPACTION_SHARE, LOG_COMMIT_WAIT_MICROS, LOG_SEGMENT_BYTES};
use engram_shards::log::record::{Body, Embedding, Observation, encode_body};
use engram_shards::message::{Append, Lane, LogStatus, Request};
use engram_shards::shard::Io;
use engram_shards::space::TailLimits;
use world::{CLIENT, World, unary, vector};

/// Some 60 KB each, so that a test takes few of them.
const WHAT_BYTES: usize = 60 << 10;
/// Four segments.
const ROWS: u64 = 4 * LOG_SEGMENT_BYTES as u64 / WHAT_BYTES as u64;
/// Times that as many are stored.
const ROUNDS: u64 = 6;
/// Observations of one commit, at most.
const BURST_MAX: u64 = 40;
/// Beside twice what counts: the compaction under way takes one before it gives one up, and the copies that are due come a few
/// commits late.
const SEGMENTS_MORE: u64 = 2;

/// Numbers in no order, always the same.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) % end
    }
}

/// What a course does.
#[derive(Debug, Default)]
struct Course {
    stored: u64,
    copied: u64,
    segments_over: f64,
}

/// Stores the rows once, and then those of these numbers. A read ends so many commits late.
fn run(lateness: usize, numbers: impl Iterator<Item = u64>) -> Course {
    let what = "x".repeat(WHAT_BYTES);
    let mut world = World::new(1);
    world.tail = TailLimits::default();
    world.start(1).expect("an empty disk is sound");
    let stripe = world.space("course");
    let mut bursts = Random(1);
    let mut numbers = (0..ROWS).chain(numbers).peekable();
    let mut course = Course::default();
    let mut late = 0;
    while numbers.peek().is_some() {
        for number in numbers.by_ref().take(1 + bursts.below(BURST_MAX) as usize) {
            course.stored += 1;
            world.credit(stripe, Lane::Normal);
            let id = format!("m{number}");
            let append = unary(course.stored, &id, vector(number)).append(stripe);
            let body = body(&id, &what, &vector(number));
            world.ask(stripe, CLIENT, Request::Append(Append { body, ..append }));
        }
        world.pass(LOG_COMMIT_WAIT_MICROS);
        world.end_all(|io| !matches!(io, Io::Read { .. }));
        // Rows wait for nothing then.
        world.work();
        late += 1;
        if late > lateness {
            world.end_all(|io| matches!(io, Io::Read { .. }));
            late = 0;
        }
        world.take();
        let LogStatus { file_bytes, live_bytes, compaction_bytes, .. } = *world.status()[0].log;
        course.copied = compaction_bytes;
        let over = file_bytes as f64 - (COMPACTION_SHARE * live_bytes) as f64;
        let over = over / f64::from(LOG_SEGMENT_BYTES);
        // As long as there is little, the open segment and the place of the next one are longer than it.
        if course.stored > ROWS {
            course.segments_over = course.segments_over.max(over);
        }
    }
    println!("{course:?}");
    assert!(course.segments_over <= SEGMENTS_MORE as f64, "{course:?}");
    course
}

fn body(id: &str, what: &str, vector: &[f32]) -> Body {
    encode_body(&Observation::new(id, what, Embedding::F32(vector)))
}

fn any_of(rows: u64) -> impl Iterator<Item = u64> {
    let mut random = Random(2);
    (0..ROUNDS * ROWS).map(move |_| random.below(rows))
}

#[test]
fn rows_are_replaced_in_no_order() {
    let course = run(3, any_of(ROWS));
    assert!(course.copied < course.stored * WHAT_BYTES as u64, "less is copied than stored");
}

#[test]
fn rows_are_replaced_in_the_order_in_which_they_were_stored() {
    let course = run(0, (0..ROUNDS * ROWS).map(|number| number % ROWS));
    assert!(course.copied < u64::from(LOG_SEGMENT_BYTES), "they died by themselves: {course:?}");
}

#[test]
fn a_few_rows_are_replaced_again_and_again() {
    run(3, any_of(ROWS / 8));
}
