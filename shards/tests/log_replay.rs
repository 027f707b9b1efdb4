//! What a log acked is replayed whatever became of the rest: failed writes, torn writes, changed bits, restarts.

use std::collections::BTreeMap;
use std::ops::Range;

use engram_shards::ids::{
    Generation, Location, LogId, SegmentId, SessionId, SpaceKey, StripeKey, Time,
};
use engram_shards::limits;
use engram_shards::log::log::{IoFault, Log, LogIo, LogStart, Outcome, Purpose};
use engram_shards::log::record::{
    Body, Embedding, Observation, RecordHead, RecordKind, encode_body, read_body,
};
use engram_shards::log::replay::{HEAD_BYTES, LogFault, Replay, ReplayEnd};
use engram_shards::log::walk::is_torn;
use engram_shards::settings::AckPolicy;
use proptest::prelude::*;

const LOG: LogId = LogId(3);
const BLOCK: usize = limits::LOG_BLOCK_BYTES as usize;

/// The files of a folder, without the reserved zeros at their ends.
#[derive(Clone, Debug, Default)]
struct Files(BTreeMap<SegmentId, Vec<u8>>);

impl Files {
    fn write(&mut self, segment: SegmentId, offset: usize, bytes: &[u8]) {
        let file = self.0.entry(segment).or_default();
        if file.len() < offset + bytes.len() {
            file.resize(offset + bytes.len(), 0);
        }
        file[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    fn replay(&self) -> Result<(Vec<Seen>, ReplayEnd), LogFault> {
        let heads: Vec<_> = self
            .0
            .iter()
            .map(|(&segment, file)| (segment, file[..file.len().min(HEAD_BYTES)].to_vec()))
            .collect();
        let mut replay = Replay::new(&heads)?;
        let mut seen = Vec::new();
        while let Some(segment) = replay.next() {
            replay.handle_segment(&self.0[&segment], &mut |record| {
                seen.push(Seen {
                    sequence: record.head.sequence,
                    body: Body { bytes: record.body.to_vec(), crc: record.body_crc },
                    location: record.location,
                    committed_at: record.committed_at,
                    proven: record.proven,
                });
            })?;
        }
        Ok((seen, replay.finish()))
    }

    fn segment(&self, number: u32) -> SegmentId {
        let segment = SegmentId { log: LOG, number };
        assert!(self.0.contains_key(&segment), "{segment:?} was made");
        segment
    }
}

/// A record as a replay gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    sequence: u64,
    body: Body,
    location: Location,
    committed_at: Time,
    proven: bool,
}

fn sequences(seen: &[Seen]) -> Vec<u64> {
    seen.iter().map(|seen| seen.sequence).collect()
}

/// A log and the disk below it.
struct Bench {
    log: Log,
    files: Files,
    now: Time,
    durable: Vec<(u64, Location, Time)>,
    /// Sequences by ordinal.
    appended: Vec<u64>,
}

fn head(sequence: u64) -> RecordHead {
    RecordHead {
        stripe: StripeKey { space: SpaceKey(7), stripe: 2 },
        generation: Generation(sequence),
        session: SessionId(5 << 100 | 9),
        sequence,
        memory_hash: !sequence,
        received_at: Time(sequence * 10),
        kind: RecordKind::Observation,
    }
}

fn body(sequence: u64, what_bytes: usize) -> Body {
    let what: String =
        (0..what_bytes).map(|i| char::from(b'a' + ((sequence as usize + i) % 26) as u8)).collect();
    encode_body(&Observation::new(&format!("memory-{sequence}"), &what, Embedding::F32(&[0.5; 8])))
}

impl Bench {
    fn new(files: Files, seed: u64, start: LogStart) -> Bench {
        let now = Time(start.committed_at.0 / 2 + 1_000);
        Bench {
            log: Log::new(LOG, 4, seed, start),
            files,
            now,
            durable: Vec::new(),
            appended: Vec::new(),
        }
    }

    /// The same, with other promises.
    fn with(self, acks: AckPolicy) -> Bench {
        Bench { log: self.log.with(acks), ..self }
    }

    fn fresh() -> Bench {
        Bench::new(Files::default(), 1, LogStart::NEW)
    }

    fn append(&mut self, sequence: u64, what_bytes: usize) {
        self.append_for(Purpose::Keeping, sequence, what_bytes);
    }

    fn append_for(&mut self, purpose: Purpose, sequence: u64, what_bytes: usize) {
        let body = body(sequence, what_bytes);
        let ordinal = self.log.append(head(sequence), body, purpose, self.now);
        assert_eq!(ordinal.0, self.appended.len() as u64, "ordinals count records");
        self.appended.push(sequence);
    }

    /// What is due once the wait of the first record is over.
    fn poll_late(&mut self) -> Option<LogIo> {
        self.now = self.now.after_micros(limits::LOG_COMMIT_WAIT_MICROS);
        self.log.poll(self.now)
    }

    fn done(&mut self, result: Result<(), IoFault>) -> Outcome {
        let outcome = self.log.handle_done(result);
        self.note(&outcome);
        while let Some(more) = self.log.more() {
            assert!(matches!(more, Outcome::Durable { .. }), "{more:?}");
            self.note(&more);
        }
        outcome
    }

    fn note(&mut self, outcome: &Outcome) {
        if let Outcome::Durable { first, locations, committed_at } = outcome {
            for (i, &location) in locations.iter().enumerate() {
                let sequence = self.appended[first.0 as usize + i];
                self.durable.push((sequence, location, *committed_at));
            }
        }
    }

    fn write(&mut self, io: &LogIo) {
        match io {
            LogIo::Create { segment, head, .. } => self.files.write(*segment, 0, head),
            LogIo::Keep { .. } | LogIo::Sync { .. } => {}
            LogIo::Commit { segment, offset, bytes, .. } => {
                self.files.write(*segment, *offset as usize, bytes);
            }
        }
    }

    /// Writes all that waits.
    fn flush(&mut self) {
        while let Some(io) = self.poll_late() {
            self.write(&io);
            let outcome = self.done(Ok(()));
            assert!(!matches!(outcome, Outcome::Dropped { .. }));
        }
    }

    /// One commit of these records.
    fn commit(&mut self, sequences: Range<u64>) {
        for sequence in sequences {
            self.append(sequence, 30);
        }
        self.flush();
    }
}

#[test]
fn what_is_durable_is_replayed_and_read_back() {
    let mut bench = Bench::fresh();
    bench.commit(1..4);
    bench.commit(4..5);
    bench.commit(5..9);
    let (seen, end) = bench.files.replay().expect("a log as it was written");
    assert_eq!(sequences(&seen), (1..9).collect::<Vec<_>>());
    for (record, durable) in seen.iter().zip(&bench.durable) {
        assert_eq!((record.sequence, record.location, record.committed_at), *durable);
        assert_eq!(record.body, body(record.sequence, 30));
        assert_eq!(record.proven, record.sequence < 5, "the last batch has none behind it");
        let Location { segment, offset, bytes } = record.location;
        let whole = &bench.files.0[&segment][offset as usize..(offset + bytes) as usize];
        assert_eq!(read_body(whole), Ok(&record.body.bytes[..]));
    }
    assert_eq!(end.start_of(LOG).next_segment, 2);
    assert_eq!(end.start_of(LOG).committed_at, seen[7].committed_at);
    assert_eq!(end.start_of(LogId(9)).next_segment, 1);
    assert_eq!(end.start_of(LogId(9)).committed_at, seen[7].committed_at);
}

#[test]
fn a_record_that_is_read_back_damaged_is_refused() {
    let mut bench = Bench::fresh();
    bench.commit(1..2);
    let Location { segment, offset, bytes } = bench.durable[0].1;
    let whole = bench.files.0[&segment][offset as usize..(offset + bytes) as usize].to_vec();
    let body_bytes = body(1, 30).bytes.len();
    let body_at = whole.len() - body_bytes - (whole.len() - body_bytes) % 8;
    for at in body_at..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        assert!(read_body(&damaged).is_err(), "byte {at} of {}", whole.len());
    }
    assert!(read_body(&whole[..whole.len() - 1]).is_err());
}

#[test]
fn a_commit_waits_for_enough_records_or_long_enough() {
    let mut bench = Bench::fresh();
    assert_eq!(bench.log.deadline(), None);
    bench.append(1, 30);
    let wait = limits::LOG_COMMIT_WAIT_MICROS;
    assert_eq!(bench.log.deadline(), Some(bench.now.after_micros(wait)));
    assert_eq!(bench.log.poll(bench.now.after_micros(wait - 1)), None);
    for sequence in 2..u64::from(limits::LOG_COMMIT_RECORDS_MIN) {
        bench.append(sequence, 30);
    }
    assert_eq!(bench.log.poll(bench.now), None, "one record is missing");
    bench.append(u64::from(limits::LOG_COMMIT_RECORDS_MIN), 30);
    assert!(bench.log.deadline().is_some_and(|deadline| deadline <= bench.now));
    assert!(matches!(bench.log.poll(bench.now), Some(LogIo::Create { .. })));
    assert_eq!(bench.log.poll(bench.now), None, "one I/O at a time");
    assert_eq!(bench.log.deadline(), None);
}

#[test]
fn many_bytes_make_a_commit_due() {
    let mut bench = Bench::fresh();
    bench.append(1, limits::LOG_COMMIT_BYTES_MIN as usize);
    assert!(bench.log.poll(bench.now).is_some());
}

#[test]
fn what_gathers_during_a_commit_goes_with_the_next_up_to_its_limits() {
    let mut bench = Bench::fresh();
    bench.commit(1..2);
    bench.append(2, 30);
    let first = bench.poll_late().expect("a commit is due");
    for sequence in 3..1_003 {
        bench.append(sequence, 30);
    }
    bench.write(&first);
    bench.done(Ok(()));
    assert_eq!(bench.durable.len(), 2);
    let most = limits::LOG_COMMIT_RECORDS_MAX as usize;
    for durable in [2 + most, 2 + 2 * most] {
        let io = bench.log.poll(bench.now).expect("more than enough waits");
        bench.write(&io);
        bench.done(Ok(()));
        assert_eq!(bench.durable.len(), durable);
    }
    let large = limits::LOG_COMMIT_BYTES_MAX as usize / 5;
    for sequence in 2_000..2_006 {
        bench.append(sequence, large);
    }
    let io = bench.log.poll(bench.now).expect("many bytes wait");
    let LogIo::Commit { bytes, .. } = &io else { panic!("the segment has room") };
    assert!(bytes.len() <= limits::LOG_COMMIT_BYTES_MAX as usize + BLOCK);
    bench.write(&io);
    bench.done(Ok(()));
    assert_eq!(bench.durable.last().map(|durable| durable.0), Some(2_003));
}

#[test]
fn what_is_not_durable_can_be_read() {
    let mut bench = Bench::fresh();
    bench.append(1, 30);
    bench.append(2, 40);
    let create = bench.poll_late().expect("a segment is due");
    bench.write(&create);
    bench.done(Ok(()));
    let commit = bench.poll_late().expect("a commit is due");
    bench.append(3, 50);
    let ordinal = engram_shards::log::log::Ordinal;
    for (number, bytes) in [(0, 30), (1, 40), (2, 50)] {
        assert_eq!(
            bench.log.pending_body(ordinal(number)),
            Some(&body(number + 1, bytes).bytes[..])
        );
    }
    assert_eq!(bench.log.pending_body(ordinal(3)), None);
    bench.write(&commit);
    bench.done(Ok(()));
    assert_eq!(bench.log.pending_body(ordinal(1)), None, "durable: it has a location");
    assert_eq!(bench.log.pending_body(ordinal(2)), Some(&body(3, 50).bytes[..]));
    bench.flush();
    assert_eq!(bench.log.pending_bytes(), 0);
}

#[test]
fn a_full_segment_is_followed_by_another() {
    let mut bench = Bench::fresh();
    let large = limits::RECORD_BODY_BYTES_MAX as usize - 200;
    let count = u64::from(limits::LOG_SEGMENT_BYTES / limits::RECORD_BODY_BYTES_MAX) + 8;
    for sequence in 1..=count {
        bench.append(sequence, large);
        bench.flush();
    }
    assert_eq!(bench.files.0.len(), 2);
    assert!(bench.files.0.values().all(|file| file.len() <= limits::LOG_SEGMENT_BYTES as usize));
    let (seen, _) = bench.files.replay().expect("a log as it was written");
    assert_eq!(sequences(&seen), (1..=count).collect::<Vec<_>>());
}

#[test]
fn a_failed_commit_seals_its_segment_and_is_written_anew() {
    let mut bench = Bench::fresh();
    bench.commit(1..3);
    bench.append(3, 30);
    let failing = bench.poll_late().expect("a commit is due");
    // All of it reaches the disk, and yet the sync fails.
    bench.write(&failing);
    assert_eq!(bench.done(Err(IoFault::Failed)), Outcome::Nothing);
    bench.append(4, 30);
    assert!(bench.log.deadline().is_some_and(|deadline| deadline <= bench.now), "no more waiting");
    let create = bench.log.poll(bench.now).expect("a new segment is due");
    assert!(matches!(create, LogIo::Create { .. }));
    bench.write(&create);
    bench.done(Ok(()));
    bench.flush();
    bench.commit(5..6);
    assert_eq!(bench.durable.iter().map(|durable| durable.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let (seen, _) = bench.files.replay().expect("a log as it was written");
    assert_eq!(sequences(&seen), [1, 2, 3, 4, 5], "the failed batch is dead");
    assert_eq!(seen[2].location.segment.number, 2);
}

#[test]
fn what_fails_twice_is_dropped_and_the_log_goes_on() {
    let mut bench = Bench::fresh();
    bench.commit(1..3);
    for sequence in 3..5 {
        bench.append(sequence, 30);
    }
    for _ in 0..2 {
        while let Some(io) = bench.poll_late() {
            bench.write(&io);
            if matches!(io, LogIo::Commit { .. }) {
                break;
            }
            bench.done(Ok(()));
        }
        bench.append(bench.appended.len() as u64 + 1, 30);
        if let Outcome::Dropped { first, end, fault, .. } = bench.done(Err(IoFault::Full)) {
            assert_eq!((first.0, end.0, fault), (2, 6, IoFault::Full));
        }
    }
    assert_eq!(bench.log.pending_bytes(), 0);
    // A crash now finds the dropped ones: the last segment holds them whole, and nothing says that they are dead.
    let (seen, _) = bench.files.replay().expect("a log as it was written");
    assert_eq!(sequences(&seen), [1, 2, 3, 4, 5]);
    // Once others took their place they are dead.
    bench.commit(20..22);
    let (seen, end) = bench.files.replay().expect("a log as it was written");
    assert_eq!(sequences(&seen), [1, 2, 20, 21]);
    assert_eq!(end.empty, [bench.files.segment(2)]);
}

#[test]
fn what_is_new_is_written_only_while_a_further_segment_is_kept() {
    let mut bench = Bench::fresh();
    let is_keep = |io: &LogIo| matches!(io, LogIo::Keep { log: LOG, bytes_total } if *bytes_total == limits::LOG_SEGMENT_BYTES);
    bench.append_for(Purpose::Storing, 1, 30);
    let create = bench.poll_late().expect("a segment is due");
    assert!(matches!(create, LogIo::Create { .. }));
    bench.write(&create);
    bench.done(Ok(()));
    let keep = bench.poll_late().expect("it took what was kept, if anything was");
    assert!(is_keep(&keep), "{keep:?}");
    bench.append(2, 30);
    bench.append_for(Purpose::Storing, 3, 30);
    let Outcome::Dropped { first, end, fault, kept } = bench.done(Err(IoFault::Full)) else {
        panic!("there is no room")
    };
    assert_eq!((first.0, end.0, fault), (0, 3, IoFault::Full));
    let kept: Vec<u64> = kept.iter().map(|(head, _)| head.sequence).collect();
    assert_eq!(kept, [2], "there is room for what gives room back");
    assert!(bench.poll_late().is_none(), "whoever is told appends it anew");
    bench.append(2, 30);
    let commit = bench.poll_late().expect("the open segment has room");
    assert!(matches!(commit, LogIo::Commit { .. }));
    bench.write(&commit);
    bench.done(Ok(()));
    // There is room again.
    bench.append_for(Purpose::Storing, 4, 30);
    let keep = bench.poll_late().expect("it is tried again");
    assert!(is_keep(&keep), "{keep:?}");
    bench.done(Ok(()));
    bench.flush();
    bench.append_for(Purpose::Storing, 5, 30);
    bench.flush();
    let durable: Vec<u64> = bench.durable.iter().map(|durable| durable.0).collect();
    assert_eq!(durable, [2, 4, 5]);
}

#[test]
fn a_segment_that_cannot_be_made_drops_what_waits() {
    let mut bench = Bench::fresh();
    bench.append(1, 30);
    for number in 1..4 {
        let io = bench.poll_late().expect("a segment is due");
        let LogIo::Create { segment, .. } = io else { panic!("{io:?}") };
        assert_eq!(segment.number, number, "a number is never used again");
        let outcome = bench.done(Err(IoFault::Full));
        assert!(matches!(outcome, Outcome::Dropped { fault: IoFault::Full, .. }));
        assert_eq!(bench.poll_late(), None);
        bench.append(u64::from(number) + 1, 30);
    }
    bench.flush();
    let (seen, _) = bench.files.replay().expect("a log as it was written");
    assert_eq!(sequences(&seen), [4]);
}

/// Three batches, a restart, three more: two segments.
fn two_runs() -> Bench {
    let mut bench = Bench::fresh();
    for sequences in [1..3, 3..4, 4..7] {
        bench.commit(sequences);
    }
    let (_, end) = bench.files.replay().expect("a log as it was written");
    let mut bench =
        Bench { durable: bench.durable, ..Bench::new(bench.files, 2, end.start_of(LOG)) };
    for sequences in [4..7, 7..8, 8..11] {
        bench.commit(sequences);
    }
    bench
}

#[test]
fn the_unproven_batch_of_a_run_stays_and_its_copies_are_later() {
    let (seen, _) = two_runs().files.replay().expect("a log as it was written");
    assert_eq!(sequences(&seen), [1, 2, 3, 4, 5, 6, 4, 5, 6, 7, 8, 9, 10]);
    assert!(seen[3..6].iter().all(|seen| !seen.proven));
    assert!(seen[6..10].iter().all(|seen| seen.proven));
    assert!(seen.windows(2).all(|pair| pair[0].committed_at <= pair[1].committed_at));
    assert!(seen[5].committed_at < seen[6].committed_at);
}

#[test]
fn every_tear_and_flip_of_the_last_batch_is_cut() {
    let bench = two_runs();
    let last = bench.durable.last().expect("something is durable").1;
    let start =
        bench.durable.iter().find(|durable| durable.0 == 8).expect("it is durable").1.offset;
    let start = start as usize / BLOCK * BLOCK;
    let whole = &bench.files.0[&last.segment];
    let mut files = bench.files.clone();
    let mut check = |file: Vec<u8>, what: String| {
        files.0.insert(last.segment, file);
        let (seen, end) = files.replay().unwrap_or_else(|fault| panic!("{what}: {fault:?}"));
        assert_eq!(sequences(&seen), [1, 2, 3, 4, 5, 6, 4, 5, 6, 7], "{what}");
        assert_eq!(end.start_of(LOG).next_segment, 3);
    };
    for length in start..last.offset as usize + last.bytes as usize {
        let mut zeroed = whole.clone();
        zeroed[length..].fill(0);
        if zeroed != *whole {
            check(zeroed, format!("zeros from {length}"));
        }
        check(whole[..length].to_vec(), format!("cut at {length}"));
    }
    for at in start..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        check(flipped, format!("flip at {at}"));
    }
}

#[test]
fn every_flip_of_what_was_synced_is_told_with_its_place() {
    let bench = two_runs();
    let last = bench.durable.last().expect("something is durable").1.segment;
    for (&segment, file) in &bench.files.0 {
        let places: Vec<Location> = bench
            .durable
            .iter()
            .map(|durable| durable.1)
            .filter(|at| at.segment == segment)
            .collect();
        let unproven = places.iter().rev().find(|place| place.offset as usize % BLOCK < 100);
        let unproven = unproven.expect("a batch's first record").offset as usize / BLOCK * BLOCK;
        for at in 0..unproven {
            let expected = match places
                .iter()
                .find(|place| (place.offset..place.offset + place.bytes).contains(&(at as u32)))
            {
                Some(place) => place.offset as usize,
                None => at / BLOCK * BLOCK,
            };
            let mut files = bench.files.clone();
            let mut flipped = file.clone();
            flipped[at] ^= 1 << (at % 8);
            files.0.insert(segment, flipped);
            match files.replay() {
                Err(LogFault::Corrupt { segment: found, offset, .. }) => {
                    assert_eq!((found, offset as usize), (segment, expected), "flip at {at}");
                }
                other => panic!("flip at {at} of {segment:?} (last {last:?}): {other:?}"),
            }
        }
    }
}

#[test]
fn a_segment_gone_from_between_is_missing() {
    let mut bench = two_runs();
    let first = bench.files.segment(1);
    bench.files.0.remove(&first);
    assert_eq!(bench.files.replay().map(|_| ()), Err(LogFault::Missing(first)));
}

#[test]
fn a_segment_cut_short_below_what_was_synced_is_corrupt() {
    let mut bench = two_runs();
    let first = bench.files.segment(1);
    bench.files.0.get_mut(&first).expect("it is there").truncate(2 * BLOCK);
    let fault = bench.files.replay().map(|_| ());
    let offset = 2 * BLOCK as u32;
    assert_eq!(fault, Err(LogFault::Corrupt { segment: first, offset, what: "batch header" }));
}

/// Each record is whole, but they are not those that were written in that order.
#[test]
fn records_that_changed_places_are_corrupt() {
    let mut bench = two_runs();
    let place = |sequence| {
        let durable = bench.durable.iter().find(|durable| durable.0 == sequence);
        let at: Location = durable.expect("it is durable").1;
        at.offset as usize..(at.offset + at.bytes) as usize
    };
    let (one, other) = (place(1), place(2));
    assert_eq!((one.len(), one.end), (other.len(), other.start), "alike and side by side");
    let segment = bench.files.segment(1);
    let file = bench.files.0.get_mut(&segment).expect("it is there");
    file[one.start..other.end].rotate_left(one.len());
    let what = "order of the batch's records";
    let fault = bench.files.replay().map(|_| ());
    assert_eq!(fault, Err(LogFault::Corrupt { segment, offset: BLOCK as u32, what }));
}

#[test]
fn batches_of_a_files_earlier_life_are_not_there() {
    let old = two_runs();
    let mut new = Bench::new(Files::default(), 99, LogStart::NEW);
    new.commit(1..2);
    let first = new.files.segment(1);
    let mut file = new.files.0[&first].clone();
    file.extend_from_slice(&old.files.0[&first][file.len()..]);
    new.files.0.insert(first, file);
    let (seen, _) = new.files.replay().expect("old batches are no fault");
    assert_eq!(sequences(&seen), [1]);
    assert!(!seen[0].proven, "an old batch proves nothing");
}

#[test]
fn another_format_is_refused_by_name() {
    let mut bench = two_runs();
    let second = bench.files.segment(2);
    let file = bench.files.0.get_mut(&second).expect("it is there");
    file[8] = 77;
    let crc_at = engram_shards::log::segment::SEGMENT_HEAD_BYTES - 4;
    let crc = engram_shards::log::field::crc32c(&file[..crc_at]);
    file[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
    let fault = bench.files.replay().map(|_| ());
    assert_eq!(fault, Err(LogFault::UnknownVersion { segment: second, version: 77 }));
}

#[test]
fn a_head_that_was_never_whole_is_no_segment() {
    let mut bench = two_runs();
    let torn = SegmentId { log: LOG, number: 3 };
    for bytes in [0, 1, 100, BLOCK] {
        bench.files.0.insert(torn, vec![0; bytes]);
        let (seen, end) = bench.files.replay().expect("a torn head is no fault");
        assert_eq!(seen.len(), 13);
        assert_eq!(end.empty, [torn]);
        assert_eq!(end.start_of(LOG).next_segment, 4);
    }
}

#[test]
fn what_an_earlier_life_left_in_the_file_is_nothing() {
    let mut bench = Bench::fresh();
    bench.commit(1..4);
    bench.commit(4..5);
    bench.commit(5..9);
    let (first, second) = (bench.files.segment(1), SegmentId { log: LOG, number: 2 });
    let (_, end) = bench.files.replay().expect("a log as it was written");
    // The next segment's file is one that was the first's, and ends with two whole batches of that.
    let earlier = bench.files.0[&first].clone();
    let mut bench = Bench::new(bench.files, 2, end.start_of(LOG));
    bench.files.0.insert(second, earlier);
    bench.commit(9..10);
    let (seen, end) = bench.files.replay().expect("what is of no life that counts is no fault");
    assert_eq!(sequences(&seen), (1..10).collect::<Vec<_>>());
    let live = 2 * BLOCK as u32;
    assert_eq!(end.end_of(LOG), (second, live));
    let head = end.heads_of(LOG).find(|head| head.segment == second).expect("it counts");
    let is_torn = |files: &Files| is_torn(&mut &files.0[&second][..], &head, live);
    assert!(!is_torn(&bench.files));

    // Of a write that no one was told of, all is there but its first sector.
    bench.append(10, 3_000);
    let Some(LogIo::Commit { offset, bytes, .. }) = bench.poll_late() else {
        panic!("the segment has room")
    };
    assert_eq!(offset, live);
    bench.files.write(second, offset as usize + 512, &bytes[512..]);
    assert!(!is_torn(&bench.files), "the only head was in that sector");
    bench.files.write(second, offset as usize, &bytes[..512]);
    bench.files.write(second, offset as usize + 512, &[7; 512]);
    assert!(is_torn(&bench.files));
    bench.files.write(second, offset as usize, &[7; 56]);
    assert!(is_torn(&bench.files), "the head of its record is there");
    let (seen, end) = bench.files.replay().expect("a torn batch is no fault");
    assert_eq!((seen.len(), end.end_of(LOG)), (9, (second, live)));
}

#[derive(Clone, Debug)]
enum Step {
    Append {
        what_bytes: usize,
    },
    Poll {
        late: bool,
    },
    Done,
    /// The I/O fails; this many of its 512-byte sectors reached the disk.
    Fail {
        sectors: usize,
    },
    /// The process ends; of an I/O in flight, this many sectors reached the disk.
    Restart {
        sectors: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        20 => (0usize..3_000).prop_map(|what_bytes| Step::Append { what_bytes }),
        10 => any::<bool>().prop_map(|late| Step::Poll { late }),
        10 => Just(Step::Done),
        2 => (0usize..40).prop_map(|sectors| Step::Fail { sectors }),
        2 => (0usize..40).prop_map(|sectors| Step::Restart { sectors }),
    ];
    prop::collection::vec(step, 1..150)
}

/// A run of a log over restarts, and what is known of each record.
struct Model {
    bench: Bench,
    in_flight: Option<LogIo>,
    acks: AckPolicy,
    /// Written and not synced.
    unsynced: Vec<(SegmentId, usize, usize)>,
    sent: BTreeMap<u64, Body>,
    acked: Vec<u64>,
    run: u64,
}

impl Model {
    fn write_some(&mut self, io: &LogIo, sectors: usize) {
        let (segment, offset, bytes) = match io {
            LogIo::Create { segment, head, .. } => (*segment, 0, head),
            LogIo::Keep { .. } | LogIo::Sync { .. } => return,
            LogIo::Commit { segment, offset, bytes, .. } => (*segment, *offset as usize, bytes),
        };
        let length = bytes.len().min(sectors * 512);
        self.bench.files.write(segment, offset, &bytes[..length]);
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Append { what_bytes } => {
                let sequence = self.sent.len() as u64 + 1;
                self.sent.insert(sequence, body(sequence, what_bytes));
                self.bench.append(sequence, what_bytes);
            }
            Step::Poll { late } => {
                let io =
                    if late { self.bench.poll_late() } else { self.bench.log.poll(self.bench.now) };
                assert!(io.is_none() || self.in_flight.is_none(), "one I/O at a time");
                self.in_flight = self.in_flight.take().or(io);
            }
            Step::Done => {
                if let Some(io) = self.in_flight.take() {
                    self.bench.write(&io);
                    match &io {
                        LogIo::Commit { segment, offset, bytes, sync: false } => {
                            self.unsynced.push((*segment, *offset as usize, bytes.len()));
                        }
                        LogIo::Keep { .. } | LogIo::Create { .. } => {}
                        LogIo::Commit { .. } | LogIo::Sync { .. } => self.unsynced.clear(),
                    }
                    self.bench.done(Ok(()));
                    self.acked.extend(self.bench.durable.drain(..).map(|durable| durable.0));
                }
            }
            Step::Fail { sectors } => {
                if let Some(io) = self.in_flight.take() {
                    self.write_some(&io, sectors);
                    self.bench.done(Err(IoFault::Failed));
                }
            }
            Step::Restart { sectors } => {
                if let Some(io) = self.in_flight.take() {
                    self.write_some(&io, sectors);
                }
                // So much of each write that was not synced is there, and the rest is not.
                for (segment, offset, length) in self.unsynced.drain(..) {
                    let kept = length.min(sectors * 512);
                    let file = self.bench.files.0.get_mut(&segment).expect("it was written");
                    file[offset + kept..offset + length].fill(0);
                }
                self.restart();
            }
        }
    }

    fn restart(&mut self) {
        let end = self.check();
        self.run += 1;
        let files = std::mem::take(&mut self.bench.files);
        self.bench = Bench::new(files, self.run, end.start_of(LOG)).with(self.acks);
    }

    /// acked ⊆ replayed ⊆ sent, in order of their commits.
    fn check(&self) -> ReplayEnd {
        let (seen, end) = self.bench.files.replay().expect("no damage was done");
        for acked in &self.acked {
            assert!(
                seen.iter().any(|seen| seen.sequence == *acked),
                "{acked} was acked and is lost"
            );
        }
        for record in &seen {
            assert_eq!(self.sent.get(&record.sequence), Some(&record.body), "{}", record.sequence);
        }
        assert!(seen.windows(2).all(|pair| pair[0].committed_at <= pair[1].committed_at));
        assert!(seen.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
        end
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 200 } else { 2_000 }))]

    #[test]
    fn acked_is_replayed_and_replayed_was_sent(
        steps in steps(),
        acks in prop_oneof![
            Just(AckPolicy::Sync),
            (1u64..5_000).prop_map(|micros| AckPolicy::Interval { micros }),
        ],
    ) {
        let mut model = Model {
            bench: Bench::fresh().with(acks),
            in_flight: None,
            acks,
            unsynced: Vec::new(),
            sent: BTreeMap::new(),
            acked: Vec::new(),
            run: 1,
        };
        for step in &steps {
            model.step(step);
        }
        model.check();
    }

    /// Foreign bytes of any kind, where segments should be, are cut or told of.
    #[test]
    fn no_file_makes_a_replay_panic(
        changes in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut files = two_runs().files;
        for (second, place, value) in changes {
            let segment = files.segment(if second { 2 } else { 1 });
            let file = files.0.get_mut(&segment).expect("it is there");
            let place = place.index(file.len());
            file[place] = value;
        }
        if let Some(cut) = cut {
            let segment = files.segment(2);
            let file = files.0.get_mut(&segment).expect("it is there");
            file.truncate(cut.index(file.len()));
        }
        let _ = files.replay();
    }
}
