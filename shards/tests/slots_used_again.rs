//! The promise: memory follows what is alive, not what ever was. A row that has left the graph leaves its slot to a later
//! one, and no one can tell: recalls see what was there when they began, whatever took its place meanwhile, and a
//! restart finds the same.

mod world;

use std::collections::BTreeMap;

use engram_shards::attributes::Attributes;
use engram_shards::graph::{Scored, Scratch};
use engram_shards::ids::{Generation, Location, LogId, Row, SegmentId, StripeKey, Time};
use engram_shards::limits::{MEND_ROWS_MIN, MEND_ROWS_SHARE_MAX};
use engram_shards::log::log::{IoFault, Ordinal};
use engram_shards::message::{Isolation, Origin, Reply, Request};
use engram_shards::quality::{RecallTarget, Upkeep};
use engram_shards::settings::Metric;
use engram_shards::shard::Io;
use engram_shards::space::{Arrival, Pair, Place, Rows, TailLimits};
use engram_shards::vector::codes::{Codes, encode, normalise};
use proptest::prelude::*;
use world::{Fate, World, id_of, recall, unary, vector};

/// Ids of a random course.
const IDS: usize = 100;
/// Rows that are not durable: until they are, all versions of an id may be found.
const IN_FLIGHT_MAX: usize = 300;
/// Results of a recall: more than there are rows to be found.
const COUNT: u32 = 400;
const _: () = assert!(IDS + IN_FLIGHT_MAX <= COUNT as usize);

#[derive(Clone, Debug)]
enum Step {
    /// So many observations, of these ids and the next ones.
    Observe {
        id: u8,
        count: u8,
    },
    Pass,
    EndIo {
        which: usize,
    },
    EndAll,
    Work {
        distances: u32,
    },
    Settle,
    Fault {
        fault: Option<IoFault>,
    },
    Recall {
        isolation: Isolation,
    },
    Crash {
        fate: Fate,
        shards: u16,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let faults = [None, None, None, Some(IoFault::Full), Some(IoFault::Failed)];
    let isolations = [Isolation::Durable, Isolation::Durable, Isolation::InFlight];
    let fates = [Fate::Lost, Fate::Whole, Fate::Torn];
    prop_oneof![
        12 => (0..100_u8, 1..60_u8).prop_map(|(id, count)| Step::Observe { id, count }),
        4 => Just(Step::Pass),
        4 => (0..4_usize).prop_map(|which| Step::EndIo { which }),
        6 => Just(Step::EndAll),
        8 => (1..6_000_u32).prop_map(|distances| Step::Work { distances }),
        3 => Just(Step::Settle),
        1 => prop::sample::select(faults.to_vec()).prop_map(|fault| Step::Fault { fault }),
        6 => prop::sample::select(isolations.to_vec())
            .prop_map(|isolation| Step::Recall { isolation }),
        1 => (prop::sample::select(fates.to_vec()), 1..3_u16)
            .prop_map(|(fate, shards)| Step::Crash { fate, shards }),
    ]
}

/// What was sent and not dropped; its place in the list is its generation.
#[derive(Clone, Debug)]
struct Stored {
    sequence: u64,
    id: String,
    durable: bool,
}

#[derive(Debug)]
struct Model {
    world: World,
    stripe: StripeKey,
    stored: Vec<Stored>,
    sent: u64,
    /// What recalls that have begun are to see: generations and ids.
    asked: BTreeMap<Origin, Vec<(u64, String)>>,
    recalls: u64,
}

impl Model {
    fn new(tail: TailLimits, recall_target: Option<RecallTarget>) -> Model {
        let mut world = World::new(1);
        (world.tail, world.recall_target) = (tail, recall_target);
        world.start(1).expect("an empty disk is sound");
        let stripe = world.space("diary");
        let asked = BTreeMap::new();
        Model { world, stripe, stored: Vec::new(), sent: 0, asked, recalls: 0 }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Observe { id, count } => {
                let in_flight = self.stored.iter().filter(|stored| !stored.durable).count();
                let count = usize::from(count).min(IN_FLIGHT_MAX.saturating_sub(in_flight));
                let ids = (usize::from(id)..).take(count);
                ids.for_each(|id| self.observe(&format!("m{}", id % IDS)));
            }
            Step::Pass => self.world.pass(500),
            Step::EndIo { which } => {
                self.world.collect();
                if which < self.world.waiting.len() {
                    self.world.end_io(which);
                }
            }
            Step::EndAll => {
                self.world.pass(500);
                self.world.end_all(|_| true);
            }
            Step::Work { distances } => self.work(distances),
            Step::Settle => {
                let fault = self.world.disk.fault.take();
                self.world.settle();
                self.world.disk.fault = fault;
            }
            Step::Fault { fault } => self.world.disk.fault = fault,
            Step::Recall { isolation } => self.recall(isolation),
            Step::Crash { fate, shards } => self.crash(fate, shards),
        }
        self.hear();
        for shard in &self.world.shards {
            assert_eq!(shard.check(), Ok(()));
        }
    }

    fn work(&mut self, distances: u32) {
        let now = self.world.now;
        for shard in &mut self.world.shards {
            shard.work(distances, now);
        }
    }

    fn observe(&mut self, id: &str) {
        self.sent += 1;
        let sequence = self.sent;
        self.stored.push(Stored { sequence, id: id.to_owned(), durable: false });
        self.world.observe(self.stripe, unary(sequence, id, vector(sequence)));
    }

    /// Takes in what was answered.
    fn hear(&mut self) {
        for (origin, reply) in self.world.take() {
            match reply {
                Reply::Durable { first, last, .. } => {
                    for stored in &mut self.stored {
                        stored.durable |= (first..=last).contains(&stored.sequence);
                    }
                }
                Reply::Dropped { first, last, .. } => {
                    // What was sent after them may be stored by now, from the first one's generation on.
                    let before = self.stored.iter().filter(|stored| stored.sequence < first);
                    let kept = before.count() as u64;
                    self.stored.retain(|stored| !(first..=last).contains(&stored.sequence));
                    for seen in self.asked.values_mut() {
                        seen.retain(|(generation, _)| *generation <= kept);
                    }
                }
                Reply::Recalled(Ok(recalled)) => {
                    let seen = self.asked.remove(&origin).expect("it was asked");
                    let expected: BTreeMap<String, u64> =
                        seen.into_iter().map(|(generation, id)| (id, generation)).collect();
                    let found: BTreeMap<String, u64> =
                        recalled.hits.iter().map(|hit| (id_of(hit), hit.generation.0)).collect();
                    assert_eq!(found.len(), recalled.hits.len(), "an id twice");
                    assert_eq!(found, expected);
                }
                reply => panic!("{reply:?}"),
            }
        }
    }

    /// Begins one, which sees what is there now.
    fn recall(&mut self, isolation: Isolation) {
        self.world.collect();
        self.hear();
        self.recalls += 1;
        let origin = Origin(1_000 + self.recalls);
        let seen = (1..).zip(&self.stored);
        let seen = seen.filter(|(_, one)| one.durable || isolation == Isolation::InFlight);
        self.asked.insert(origin, seen.map(|(at, one)| (at, one.id.clone())).collect());
        let query = recall(self.stripe, &vector(1), COUNT, isolation);
        self.world.ask(self.stripe, origin, Request::Recall(query));
    }

    /// Afterwards all that was acked is there.
    fn crash(&mut self, fate: Fate, shards: u16) {
        self.hear();
        let acked = self.stored.iter().filter(|stored| stored.durable).count();
        self.asked.clear();
        let fault = self.world.disk.fault.take();
        self.world.crash(fate, shards);
        self.world.settle();
        let status = self.world.status();
        let stripe = status.iter().flat_map(|shard| &shard.stripes).next().expect("the space");
        let recovered = stripe.generation.0 as usize;
        assert!((acked..=self.stored.len()).contains(&recovered), "{acked} acked, {recovered}");
        self.stored.truncate(recovered);
        self.stored.iter_mut().for_each(|stored| stored.durable = true);
        self.world.take();
        self.recall(Isolation::Durable);
        self.world.settle();
        self.hear();
        self.world.disk.fault = fault;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn recalls_see_what_was_there_whatever_took_its_slot(
        steps in prop::collection::vec(step(), 1..80),
        tail in prop::sample::select(vec![
            TailLimits::NONE,
            TailLimits { rows_max: 40, graph_rows_min: 80 },
        ]),
        target in prop::sample::select(vec![None, Some(RecallTarget::default())])
    ) {
        let mut model = Model::new(tail, target);
        for step in &steps {
            model.take(step);
        }
        model.world.disk.fault = None;
        model.world.settle();
        model.hear();
        assert!(model.asked.is_empty(), "a recall without an answer");
        model.crash(Fate::Lost, 1);
    }
}

#[test]
fn recalls_that_wait_see_rows_that_left_the_graph_before_their_turn() {
    let mut model = Model::new(TailLimits::NONE, None);
    (0..300).for_each(|id| model.observe(&format!("m{id}")));
    model.world.settle();
    model.hear();
    (0..40).for_each(|_| model.recall(Isolation::Durable));
    for round in 0..4 {
        // Memories are replaced, and as many come anew.
        let ids = (0..100).map(|at| format!("m{}", at + 50 * round)).collect::<Vec<_>>();
        ids.iter().for_each(|id| model.observe(id));
        (0..100).for_each(|at| model.observe(&format!("{round} {at}")));
        model.world.commit();
        model.world.end_all(|io| matches!(io, Io::Read { .. }));
        (0..30).for_each(|_| model.work(300));
        assert_eq!(model.world.shards[0].check(), Ok(()));
    }
    model.hear();
    assert!(!model.asked.is_empty(), "some wait until the last slots were taken");
    model.world.settle();
    model.hear();
    assert!(model.asked.is_empty());
}

#[test]
fn a_tail_that_goes_into_the_graph_while_it_is_scanned_is_seen_whole() {
    const ROWS: u64 = 12_000;
    let mut world = World::with_capacity(1, 20_000);
    let stripe = world.space("diary");
    (1..=ROWS).for_each(|row| world.observe(stripe, unary(row, &format!("m{row}"), vector(row))));
    world.commit();
    let cue = vector(77);
    let similarity = |row: u64| {
        let of = |one: &[f32], other: &[f32]| -> f32 {
            one.iter().zip(other).map(|(one, other)| one * other).sum()
        };
        let vector = vector(row);
        of(&vector, &cue) / of(&vector, &vector).sqrt()
    };
    let mut best: Vec<u64> = (1..=ROWS).collect();
    best.sort_by(|one, other| similarity(*other).total_cmp(&similarity(*one)));
    world.take();
    for _ in 0..3 {
        world.ask(stripe, Origin(9), Request::Recall(recall(stripe, &cue, 30, Isolation::Durable)));
    }
    while world.shards[0].is_asked() {
        world.shards[0].work(1, world.now);
        world.end_all(|io| matches!(io, Io::Read { .. }));
        let indexed = world.status()[0].stripes[0].indexed;
        if world.replies.iter().any(|(origin, _)| *origin == Origin(9)) && indexed > 60 {
            break;
        }
    }
    world.settle();
    for (_, reply) in world.take() {
        let Reply::Recalled(Ok(recalled)) = reply else { panic!("{reply:?}") };
        let found: Vec<u64> = recalled.hits.iter().map(|hit| hit.generation.0).collect();
        assert_eq!(found, best[..30]);
    }
}

/// Rows of one stripe without a shard: each is durable at once, and replaces the living one of its id.
struct Bench {
    rows: Rows,
    upkeep: Upkeep,
    scratch: Scratch,
}

const LONG: usize = 64;

impl Bench {
    fn new() -> Bench {
        Bench {
            rows: Rows::new(LONG as u16, Metric::Cosine, 3),
            upkeep: Upkeep::new(Some(RecallTarget::default())),
            scratch: Scratch::default(),
        }
    }

    fn push(&mut self, id: u64) -> Option<Pair> {
        let generation = self.rows.newest().0 + 1;
        let arrival = Arrival {
            codes: &codes(generation),
            memory_hash: id,
            generation: Generation(generation),
            received_at: Time(generation),
            attributes: Attributes::default(),
        };
        let row = self.rows.push(&arrival, Place::Pending(Ordinal(generation)));
        let segment = SegmentId { log: LogId(0), number: 1 };
        let location = Location { segment, offset: generation as u32, bytes: 8 };
        self.rows.commit(row, location, Time(generation));
        self.rows.enter(row)
    }

    fn insert(&mut self) {
        let (_, distances) = self.rows.insert_next(16, &mut self.scratch);
        self.rows.keep_up_beside(distances, &mut self.upkeep, &mut self.scratch);
    }

    fn store(&mut self, id: u64) {
        if let Some(pair) = self.push(id) {
            self.rows.replace(pair);
        }
        self.insert();
    }

    fn settle(&mut self) {
        while self.rows.keep_up(&mut self.upkeep, &mut self.scratch) > 0 {}
    }

    /// Recall of the nearest ten of what is alive, at the width that is held to be enough.
    fn recall(&mut self) -> f64 {
        let Bench { rows, upkeep, scratch } = self;
        let (mut found, mut exact) = (Vec::<Scored>::new(), Vec::new());
        let (mut hits, mut wanted) = (0, 0);
        for query in 0..100 {
            let cue = codes(1 << 40 | query);
            let now = rows.newest();
            exact.clear();
            for first in (0..rows.slots()).step_by(32) {
                let some = first..rows.slots().min(first + 32);
                let visible = |row| rows.is_visible(row, now);
                rows.index().scan(&cue, some, 10, visible, scratch, &mut exact);
            }
            let visible = |row| rows.is_visible(row, now);
            rows.index().search(&cue, upkeep.width(), 10, visible, scratch, &mut found);
            wanted += exact.len();
            hits += exact.iter().filter(|scored| found.contains(scored)).count();
        }
        hits as f64 / wanted as f64
    }
}

/// One of some thousand vectors around a few centres.
fn codes(number: u64) -> Codes {
    let value = |number: u64, at: u64| ((number % 99_991 * 31 + at * at * 7 + 3) as f32).sin();
    let mut vector: Vec<f32> = (0..LONG as u64)
        .map(|at| value(number % 23, at) + value(number.wrapping_mul(0x9e37), at + 90))
        .collect();
    normalise(&mut vector).expect("not zero");
    encode(&vector)
}

/// Ids that live.
const LIVING: u64 = 3_000;

/// One of the living ids, in no order.
fn id_at(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % LIVING
}

/// Bytes of all but the generations that are gone, of which there is at most one run more than rows.
fn bytes_of_rows(rows: &Rows) -> u64 {
    assert!(rows.gone().ranges().len_runs() <= rows.living() as usize + 1);
    rows.bytes() - rows.gone().bytes()
}

#[test]
fn memory_is_flat_where_idle_time_follows_replacements() {
    let mut bench = Bench::new();
    (0..LIVING).for_each(|id| bench.store(id));
    bench.settle();
    let mut bytes = Vec::new();
    for round in 0..12 {
        (0..LIVING).for_each(|at| {
            bench.store(id_at(round * LIVING + at));
            if at % 64 == 0 {
                bench.settle();
            }
        });
        bench.settle();
        assert_eq!(bench.rows.check(), Ok(()));
        bytes.push(bytes_of_rows(&bench.rows));
        assert_eq!(u64::from(bench.rows.living()), LIVING);
    }
    let slots = u64::from(bench.rows.slots());
    assert!(slots <= LIVING + u64::from(3 * MEND_ROWS_MIN), "{slots} slots");
    assert!(bytes[1..].iter().all(|bytes_then| *bytes_then == bytes[1]), "{bytes:?}");
    let recall = bench.recall();
    assert!(recall >= 0.95, "{recall}");
}

#[test]
fn memory_is_bounded_where_there_is_no_idle_time() {
    let mut bench = Bench::new();
    (0..LIVING).for_each(|id| bench.store(id));
    let mut bytes = Vec::new();
    for round in 0..12 {
        (0..LIVING).for_each(|at| bench.store(id_at(round * LIVING + at)));
        assert_eq!(bench.rows.check(), Ok(()));
        bytes.push(bytes_of_rows(&bench.rows));
    }
    // Those that make it overdue, those removed during that round, and those in the next.
    let slots = u64::from(bench.rows.slots());
    let share = LIVING / u64::from(MEND_ROWS_SHARE_MAX);
    assert!(slots <= LIVING + 4 * share, "{slots} slots");
    assert!(bytes[3..].iter().all(|bytes_then| *bytes_then == bytes[3]), "{bytes:?}");
    bench.settle();
    let recall = bench.recall();
    assert!(recall >= 0.95, "{recall}");
}

#[test]
fn half_removed_and_as_many_stored_take_no_more_memory() {
    let mut bench = Bench::new();
    (0..LIVING).for_each(|id| bench.store(id));
    bench.settle();
    let full = bytes_of_rows(&bench.rows);
    let newest = (0..bench.rows.slots()).map(Row);
    let newer = newest.max_by_key(|row| bench.rows.generation(*row)).expect("some");
    for older in (0..LIVING as u32).map(Row).filter(|row| row.0 % 2 == 1 && *row != newer) {
        bench.rows.replace(Pair { older, newer });
    }
    bench.settle();
    let half = bench.rows.index().gone();
    assert!(half + 4 > LIVING as u32 / 2, "{half} have left");
    (0..u64::from(half)).for_each(|id| bench.store(LIVING + id));
    bench.settle();
    assert_eq!(bench.rows.check(), Ok(()));
    assert_eq!((bench.rows.slots(), bench.rows.index().gone()), (LIVING as u32, 0));
    // The list of slots that waited to be used again, and of those refined since.
    let (now, lists) = (bytes_of_rows(&bench.rows), 3 * 4 * LIVING.next_power_of_two());
    assert!(now <= full + lists, "{now} bytes, {full} before");
    let recall = bench.recall();
    assert!(recall >= 0.95, "{recall}");
}

#[test]
fn who_reads_keeps_slots_from_being_used_again() {
    let mut bench = Bench::new();
    (0..300).for_each(|id| bench.store(id));
    bench.settle();
    let reading = bench.rows.begin_reading();
    (0..100).for_each(|id| bench.store(id));
    bench.settle();
    assert!(bench.rows.index().gone() >= MEND_ROWS_MIN, "they have left the graph");
    let late = bench.rows.begin_reading();
    let slots = bench.rows.slots();
    assert_eq!(bench.rows.next_row(), Row(slots), "someone who began before may refer to them");
    bench.store(1_000);
    assert_eq!(bench.rows.slots(), slots + 1);
    bench.rows.end_reading(reading);
    bench.store(1_001);
    assert_eq!(bench.rows.slots(), slots + 1, "who began later does not matter");
    bench.rows.end_reading(late);
}
