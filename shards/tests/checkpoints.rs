//! Promise: what a checkpoint is read back to is the stripe that it was written of, as of the moment when it was begun,
//! whatever happened while it was written; and of a file with any bit changed nothing is taken.

use engram_shards::attributes::{ATTRIBUTES_BYTES, Attributes};
use engram_shards::checkpoint::head::{HEAD_BYTES, Head, HeadFault, LogPosition};
use engram_shards::checkpoint::layout::{BLOCK_HEAD_BYTES, Blocks, Kind, pieces};
use engram_shards::checkpoint::reading::{CheckedHead, Mark, Reading, Restored};
use engram_shards::checkpoint::writing::Writing;
use engram_shards::graph::{Scored, Scratch};
use engram_shards::ids::{
    Generation, Location, LogId, Row, SegmentId, SessionId, SpaceKey, StripeKey, Time,
};
use engram_shards::log::field::crc32c;
use engram_shards::log::ranges::Ranges;
use engram_shards::quality::RecallTarget;
use engram_shards::session::{SessionKey, Sessions};
use engram_shards::settings::{Metric, SpaceSettings};
use engram_shards::space::{Arrival, Pair, Place, RowForm, Rows, Stripe, TailLimits};
use engram_shards::vector::codes::{Codes, encode, normalise};
use proptest::prelude::*;

const KEY: StripeKey = StripeKey { space: SpaceKey(7), stripe: 0 };
const SEED: u64 = 11;
const DIMENSION: u16 = 70;
const TAIL: TailLimits = TailLimits { rows_max: 50, graph_rows_min: 0 };

fn codes(number: u64) -> Codes {
    let number = number as f32;
    let mut vector: Vec<f32> =
        (0..DIMENSION).map(|at| ((number + 1.0) * (f32::from(at) + 3.0)).sin()).collect();
    normalise(&mut vector).expect("not zero");
    encode(&vector)
}

/// A stripe, and what it was told.
struct Told {
    stripe: Stripe,
    scratch: Scratch,
    generation: u64,
}

impl Told {
    fn new() -> Told {
        let settings = SpaceSettings {
            name: "things".to_owned(),
            dimension: DIMENSION,
            metric: Metric::Cosine,
            stripes: 1,
        };
        let rows = Rows::new(DIMENSION, Metric::Cosine, SEED);
        let stripe = Stripe::new(KEY, settings, Some(RecallTarget::default()), TAIL, rows);
        Told { stripe, scratch: Scratch::default(), generation: 0 }
    }

    /// A durable row arrives; one of the same hash is replaced by it.
    fn store(&mut self, hash: u64) {
        self.generation += 1;
        let (generation, received_at) = (Generation(self.generation), Time(self.generation * 10));
        let codes = codes(self.generation);
        let attributes = attributes(generation);
        let arrival =
            Arrival { codes: &codes, memory_hash: hash, generation, received_at, attributes };
        let ordinal = engram_shards::log::log::Ordinal(self.generation);
        let row = self.stripe.push(&arrival, engram_shards::message::Lane::Normal, ordinal);
        let late = if self.generation.is_multiple_of(50) { 1 << 40 } else { 3 };
        let place = location(self.generation);
        if let Some(pair) = self.stripe.commit(row, place, Time(received_at.0 + late)) {
            self.stripe.replace(pair);
        }
        while self.stripe.next_placed().is_some() {}
    }

    /// The row of this hash, if there is one, is kept and not seen any more, or is gone.
    fn forget(&mut self, hash: u64, is_kept: bool) {
        let rows = self.stripe.rows();
        let Some(row) = rows.of_hash(hash, Generation(self.generation)).next() else { return };
        match is_kept {
            true if rows.is_alive(row) => {
                self.stripe.hide(row, SegmentId { log: LogId(9), number: 77 });
            }
            true => {}
            false => self.stripe.forget(row),
        }
    }

    fn insert(&mut self, count: usize) {
        for _ in 0..count {
            if self.stripe.rows().inserted() < self.stripe.rows().durable() {
                self.stripe.insert_next(64, &mut self.scratch);
            }
        }
    }

    /// One step of upkeep.
    fn keep_up(&mut self) {
        self.stripe.keep_up(64, &mut self.scratch);
    }

    fn begin(&self) -> Writing {
        let mut sessions = Sessions::default();
        let key = |session| SessionKey { session: SessionId(session), stripe: KEY };
        sessions.replayed(key(3)).replay(17, Time(900));
        sessions
            .replayed(SessionKey { stripe: StripeKey { stripe: 1, ..KEY }, session: SessionId(3) });
        let covered = vec![position(0, 4, 8_192), position(3, 2, 4_096)];
        Writing::new(&self.stripe, sessions.of_stripe(KEY), covered, Time(77))
    }
}

fn position(log: u16, number: u32, offset: u32) -> LogPosition {
    LogPosition { segment: SegmentId { log: LogId(log), number }, offset }
}

fn location(generation: u64) -> Location {
    let segment = SegmentId { log: LogId(3), number: 1 + generation as u32 / 1_000 };
    Location { segment, offset: generation as u32 % 1_000 * 64, bytes: 64 }
}

/// Different ones for each generation.
fn attributes(generation: Generation) -> Attributes {
    let number = u128::from(generation.0).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    Attributes::from_bytes(number.to_le_bytes())
}

/// All parts of a checkpoint that no one disturbs.
fn whole(told: &Told) -> Vec<u8> {
    let (mut writing, mut file) = (told.begin(), Vec::new());
    while let Some(part) = writing.next(&told.stripe) {
        assert_eq!(part.offset, file.len() as u64);
        file.extend(part.bytes);
    }
    assert_eq!(file.len() as u64, writing.file_bytes());
    file
}

fn read(file: &[u8]) -> Option<Restored> {
    read_without(file, Ranges::default())
}

/// The same of all rows but those of some generations.
fn read_without(file: &[u8], gone: Ranges) -> Option<Restored> {
    let found = CheckedHead::new(file, KEY, file.len() as u64).ok()?;
    let mut reading = Reading::new(&found, SEED, Some(RecallTarget::default()), gone);
    for piece in pieces(found.head()) {
        let (from, end) = (piece.offset as usize, (piece.offset + piece.bytes) as usize);
        reading.handle_piece(&file[from..end]).ok()?;
    }
    reading.finish().ok()
}

fn restored(file: &[u8]) -> (Stripe, Vec<Pair>, Vec<Mark>) {
    let Restored { mut loaded, marks } = read(file).expect("it is whole");
    let pairs = std::mem::take(&mut loaded.pairs);
    let (settings, rows) = (loaded.settings.clone(), loaded.take_rows());
    let stripe = Stripe::new(KEY, settings, Some(RecallTarget::default()), TAIL, rows);
    (loaded.completed(stripe), pairs, marks)
}

/// A row's generation, whether it is seen, its hash, its times, where its record is, its attributes.
type Known = (Generation, bool, u64, (Time, Time), Place, Attributes);

/// Each row that is neither replaced nor deleted by its generation, with all that is known of it.
fn living(stripe: &Stripe) -> Vec<Known> {
    let rows = stripe.rows();
    let kept = (0..rows.slots()).map(Row).filter(|&row| rows.is_kept(row));
    let known = |row| {
        let times = (rows.received_at(row), rows.committed_at(row));
        let hash = rows.memory_hash(row);
        let (generation, attributes) = (rows.generation(row), rows.attributes(row));
        (generation, rows.is_alive(row), hash, times, rows.place(row), attributes)
    };
    let mut living: Vec<_> = kept.map(known).collect();
    living.sort_unstable_by_key(|row| row.0);
    living
}

fn found(stripe: &Stripe, number: u64) -> Vec<(Generation, f32)> {
    let (mut scratch, mut found) = (Scratch::default(), Vec::new());
    let rows = stripe.rows();
    let visible = |row| rows.is_alive(row);
    rows.index().search(&codes(number), 64, 10, visible, &mut scratch, &mut found);
    let generation = |scored: &Scored| (rows.generation(scored.row), scored.similarity);
    found.iter().map(generation).collect()
}

/// A stripe with rows in every state that there is.
fn busy() -> Told {
    let mut told = Told::new();
    for number in 0..1_500 {
        told.store(if number < 1_200 { number } else { number % 400 });
        told.insert(1);
    }
    for _ in 0..40 {
        told.keep_up();
    }
    for number in 0..30 {
        told.store(2_000 + number % 20);
    }
    told
}

#[test]
fn rows_that_a_later_list_names_are_dead() {
    let told = busy();
    let before = living(&told.stripe);
    let mut gone = Ranges::default();
    before.iter().step_by(3).for_each(|row| {
        gone.insert(row.0.0);
    });
    let Restored { loaded, .. } = read_without(&whole(&told), gone.clone()).expect("it is whole");
    let left: Vec<Known> = before.into_iter().filter(|row| !gone.contains(row.0.0)).collect();
    let bytes: u64 = 64 * left.len() as u64;
    assert_eq!(loaded.live.total(), bytes, "each record has 64 bytes");
    let mut loaded = loaded;
    let (settings, rows) = (loaded.settings.clone(), loaded.take_rows());
    let stripe = loaded.completed(Stripe::new(KEY, settings, None, TAIL, rows));
    stripe.check().expect("its graph is sound");
    assert_eq!(living(&stripe), left);
    for (generation, _) in (0..60).flat_map(|number| found(&stripe, number)) {
        assert!(!gone.contains(generation.0), "{generation:?} is found");
    }
}

#[test]
fn a_stripe_comes_back_as_it_was() {
    let told = busy();
    let (stripe, pairs, marks) = restored(&whole(&told));
    stripe.check().expect("its graph is sound");
    assert_eq!(living(&stripe), living(&told.stripe));
    assert_eq!(stripe.generation(), told.stripe.generation());
    assert_eq!(pairs, [], "all pairs were verified before");
    let mark = Mark { session: SessionId(3), durable_sequence: 17, last_record_at: Time(900) };
    assert_eq!(marks, [mark]);
    assert_eq!(stripe.recall_width(), told.stripe.recall_width());
    assert_eq!(stripe.space(), told.stripe.space());
    assert_eq!(stripe.status(0).linked, told.stripe.status(0).linked);
    for number in 0..100 {
        assert_eq!(found(&stripe, number), found(&told.stripe, number), "cue {number}");
    }
}

/// The file as the first format had it: rows without attributes.
fn bare(file: &[u8]) -> Vec<u8> {
    let number =
        |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let found = CheckedHead::new(file, KEY, file.len() as u64).expect("it is whole");
    let whole_form = found.head();
    let bare_form = Head { form: RowForm::Bare, ..whole_form.clone() };
    let record_bytes = 5 * 8 + 4 * 4;
    // Kinds stand behind one another in a file, each in rising order of its items.
    let mut items: Vec<(Kind, Vec<u8>)> = Vec::new();
    for block in Blocks::of(whole_form) {
        let from = block.offset as usize + BLOCK_HEAD_BYTES;
        for item in file[from..block.end() as usize].chunks(block.item_bytes as usize) {
            let mut item = item.to_vec();
            if matches!(block.kind, Kind::Rows | Kind::Waiting) {
                item.drain(record_bytes..record_bytes + ATTRIBUTES_BYTES);
            }
            items.push((block.kind, item));
        }
    }
    let mut items = items.into_iter();
    let mut out = bare_form.encode();
    let head_crc = number(&out, HEAD_BYTES - 4);
    for block in Blocks::of(&bare_form) {
        let like = Blocks::of(whole_form).find(|other| other.kind == block.kind);
        let kind = number(file, like.expect("kinds are the same").offset as usize + 8);
        let mut bytes: Vec<u8> = [head_crc, kind, block.first, block.count]
            .iter()
            .flat_map(|n| n.to_le_bytes())
            .collect();
        for _ in 0..block.count {
            let (kind, item) = items.next().expect("items are the same");
            assert_eq!(kind, block.kind);
            bytes.extend(item);
        }
        out.extend(crc32c(&bytes).to_le_bytes());
        out.extend(bytes);
    }
    out
}

#[test]
fn a_file_of_the_first_format_comes_back_with_rows_that_any_filter_may_let_through() {
    let told = busy();
    let (stripe, ..) = restored(&bare(&whole(&told)));
    stripe.check().expect("its graph is sound");
    let mut expected = living(&told.stripe);
    expected.iter_mut().for_each(|known| known.5 = Attributes::UNKNOWN);
    assert_eq!(living(&stripe), expected);
    // The next one is of the present format.
    let again = Told { stripe, ..Told::new() };
    let (stripe, ..) = restored(&whole(&again));
    assert_eq!(living(&stripe), expected);
}

#[test]
fn an_empty_stripe_and_one_without_a_graph_come_back() {
    let mut told = Told::new();
    let (stripe, ..) = restored(&whole(&told));
    assert_eq!((stripe.check(), stripe.rows().slots()), (Ok(()), 0));
    (0..30).for_each(|number| told.store(number % 25));
    let (stripe, ..) = restored(&whole(&told));
    stripe.check().expect("there is no graph");
    assert_eq!(living(&stripe), living(&told.stripe));
    assert_eq!(stripe.rows().index().nodes(), 0);
}

#[test]
fn rows_of_one_hash_that_no_one_compared_are_told_as_pairs() {
    let mut told = Told::new();
    (0..40).for_each(|number| told.store(number));
    told.insert(20);
    // Of a replay, whose pairs are verified later.
    for (generation, hash) in [(41, 5), (42, 5), (43, 30), (44, 99)] {
        let (codes, generation) = (codes(generation), Generation(generation));
        let arrival = Arrival {
            codes: &codes,
            memory_hash: hash,
            generation,
            received_at: Time(1),
            attributes: attributes(generation),
        };
        let ordinal = engram_shards::log::log::Ordinal(generation.0);
        let row = told.stripe.push(&arrival, engram_shards::message::Lane::Low, ordinal);
        told.stripe.commit(row, location(generation.0), Time(2));
    }
    let (stripe, pairs, _) = restored(&whole(&told));
    let rows = stripe.rows();
    let of = |pair: &Pair| (rows.generation(pair.older).0, rows.generation(pair.newer).0);
    let mut pairs: Vec<_> = pairs.iter().map(of).collect();
    pairs.sort_unstable();
    assert_eq!(pairs, [(6, 41), (31, 43), (41, 42)]);
}

/// What goes on while a checkpoint is written.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Store(u64),
    /// The newest row of this hash is suppressed, or deleted.
    Hide(u64),
    Forget(u64),
    Insert,
    KeepUp,
    Part,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        8 => (0..60u64).prop_map(Deed::Store),
        1 => (0..60u64).prop_map(Deed::Hide),
        1 => (0..60u64).prop_map(Deed::Forget),
        6 => Just(Deed::Insert),
        4 => Just(Deed::KeepUp),
        2 => Just(Deed::Part),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_happens_while_it_is_written_is_not_in_it(
        before in prop::collection::vec(deed(), 0..600),
        during in prop::collection::vec(deed(), 1..600),
    ) {
        let mut told = Told::new();
        for deed in before {
            match deed {
                Deed::Store(hash) => told.store(hash),
                Deed::Hide(hash) => told.forget(hash, true),
                Deed::Forget(hash) => told.forget(hash, false),
                Deed::Insert => told.insert(1),
                Deed::KeepUp | Deed::Part => told.keep_up(),
            }
        }
        let mut expected = living(&told.stripe);
        let generation = told.stripe.generation();
        let reading = told.stripe.begin_reading();
        let (mut writing, mut file) = (told.begin(), Vec::new());
        for deed in during {
            // What may not change stands still.
            match deed {
                Deed::Store(hash) => told.store(hash),
                Deed::Insert if !writing.stands_still() => told.insert(1),
                Deed::KeepUp if !writing.stands_still() => told.keep_up(),
                Deed::Part if file.len() as u64 + 1 < writing.file_bytes() => {
                    file.extend(writing.next(&told.stripe).expect("more is to come").bytes);
                }
                _ => {}
            }
        }
        while let Some(part) = writing.next(&told.stripe) {
            file.extend(part.bytes);
        }
        told.stripe.end_reading(reading);
        let (stripe, ..) = restored(&file);
        stripe.check().map_err(TestCaseError::fail)?;
        // One that was suppressed and is replaced meanwhile may be there or not: a replay replaces it.
        let (left, mut found) = (living(&told.stripe), living(&stripe));
        for rows in [&mut expected, &mut found] {
            rows.retain(|row| row.1 || left.iter().any(|other| other.0 == row.0));
        }
        prop_assert_eq!(found, expected);
        prop_assert_eq!(stripe.generation(), generation);
    }

    #[test]
    fn of_a_file_with_a_changed_bit_nothing_is_taken(bits in prop::collection::vec(any::<prop::sample::Index>(), 40)) {
        thread_local! {
            static FILE: Vec<u8> = whole(&busy());
        }
        let mut file = FILE.with(Clone::clone);
        for bit in bits {
            let bit = bit.index(8 * file.len());
            file[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(read(&file).is_none(), "bit {}", bit);
            file[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn a_cut_file_and_one_of_another_version_or_stripe_are_told_apart() {
    let file = whole(&busy());
    let length = file.len() as u64;
    assert!(CheckedHead::new(&file, KEY, length).is_ok());
    assert_eq!(CheckedHead::new(&file, KEY, length - 1), Err(HeadFault::Damaged));
    assert_eq!(CheckedHead::new(&file[..HEAD_BYTES - 1], KEY, length), Err(HeadFault::Damaged));
    let other = StripeKey { stripe: 1, ..KEY };
    assert_eq!(CheckedHead::new(&file, other, length), Err(HeadFault::Damaged));
    let mut later = file.clone();
    later[8] = 9;
    let crc = crc32c(&later[..HEAD_BYTES - 4]);
    later[HEAD_BYTES - 4..HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(CheckedHead::new(&later, KEY, length), Err(HeadFault::UnknownVersion(9)));
    let mut flipped = file;
    for at in 0..HEAD_BYTES {
        flipped[at] ^= 16;
        assert_eq!(CheckedHead::new(&flipped, KEY, length), Err(HeadFault::Damaged), "byte {at}");
        flipped[at] ^= 16;
    }
}

#[test]
fn a_head_covers_what_lies_before_its_positions() {
    let file = whole(&busy());
    let found = CheckedHead::new(&file, KEY, file.len() as u64).expect("it is whole");
    let covers = |log, number, offset| found.head().covers(position(log, number, offset));
    assert!(covers(0, 4, 8_192) && covers(0, 3, 1 << 25) && covers(3, 2, 4_096));
    assert!(!covers(0, 4, 8_193) && !covers(0, 5, 4_096) && !covers(3, 3, 0));
    assert!(!covers(1, 1, 0), "of a log that it does not know it covers nothing");
}
