//! What a damaged folder still holds is found, told and saved.
//!
//! A folder of two logs is written by the engine's own log: three spaces, several segments, a dead one. Then one bit at a
//! time is turned, or a file goes. `check` must find damage exactly where a server would refuse to open the folder, and a
//! salvage must give a folder that one opens, with every observation whose own bytes were left alone.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use engram::folder::{
    Identity, NewFolder, list_segments, log_path, read_identity, read_segment_start, segment_path,
};
use engram::maintenance::{Checked, Contents, Finding, check, salvage};
use engram_shards::checkpoint::due::CheckpointLimits;
use engram_shards::ids::{
    FolderSecret, Generation, Location, LogId, SegmentId, SessionId, StripeKey, Time,
};
use engram_shards::log::log::{IoFault, Log, LogIo, LogStart, Outcome, Purpose};
use engram_shards::log::record::{
    Body, Embedding, Observation, RecordHead, RecordKind, decode_body, encode_body, encode_space,
};
use engram_shards::log::replay::{HEAD_BYTES, LogFault, Replay};
use engram_shards::settings::{AckPolicy, Metric, SpaceSettings};
use engram_shards::shard::{Recovering, Remains, ShardConfig};
use engram_shards::space::TailLimits;

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Dot, Metric::Euclidean];

/// A folder, and where each of its observations lies.
struct Written {
    parent: tempfile::TempDir,
    secret: FolderSecret,
    /// By id.
    observations: BTreeMap<String, Location>,
    /// Records that say what a space is.
    spaces: Vec<Location>,
}

/// One log that is being written.
struct Writer<'a> {
    log: Log,
    logs: &'a Path,
    now: Time,
    /// What was appended and is not durable, by id; none for what is no observation.
    waiting: Vec<Option<String>>,
}

impl Writer<'_> {
    fn append(&mut self, head: RecordHead, body: Body, id: Option<String>) {
        self.log.append(head, body, Purpose::Keeping, self.now);
        self.waiting.push(id);
    }

    /// Writes what waits as one batch; where it lies.
    fn commit(&mut self) -> Vec<(Option<String>, Location)> {
        self.now = self.now.after_micros(1_000);
        while let Some(io) = self.log.poll(self.now) {
            self.write(&io);
            if let Outcome::Durable { locations, .. } = self.log.handle_done(Ok(())) {
                return self.waiting.drain(..).zip(locations).collect();
            }
        }
        panic!("something waits");
    }

    /// A write fails: its segment takes no more.
    fn fail(&mut self) {
        self.now = self.now.after_micros(1_000);
        let io = self.log.poll(self.now).expect("something waits");
        assert!(matches!(io, LogIo::Commit { .. }), "{io:?}");
        self.write(&io);
        self.log.handle_done(Err(IoFault::Failed));
    }

    fn write(&self, io: &LogIo) {
        let (segment, offset, bytes) = match io {
            LogIo::Create { segment, head, .. } => (*segment, 0, head),
            LogIo::Keep { .. } | LogIo::Sync { .. } => return,
            LogIo::Commit { segment, offset, bytes, .. } => (*segment, *offset as usize, bytes),
        };
        fs::create_dir_all(log_path(self.logs, segment.log)).expect("it can be made");
        let path = segment_path(self.logs, segment);
        let mut file = fs::read(&path).unwrap_or_default();
        file.resize(file.len().max(offset + bytes.len()), 0);
        file[offset..offset + bytes.len()].copy_from_slice(bytes);
        fs::write(path, file).expect("it can be written");
    }
}

fn head(stripe: StripeKey, generation: u64, kind: RecordKind) -> RecordHead {
    RecordHead {
        stripe,
        generation: Generation(generation),
        session: SessionId(77),
        sequence: generation,
        memory_hash: 0,
        received_at: Time(5),
        kind,
    }
}

fn space(number: usize) -> SpaceSettings {
    let (name, metric) = (format!("space-{number}"), METRICS[number]);
    SpaceSettings { name, dimension: 8, metric, stripes: 1 }
}

/// Spaces 0 and 1 lie in log 0, space 2 in log 1; 24 observations each, in batches of four.
fn written() -> Written {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let new = NewFolder::make(&parent.path().join("data")).expect("it is empty");
    let identity = Identity::draw().expect("there is randomness");
    let mut written = Written {
        parent,
        secret: identity.secret,
        observations: BTreeMap::new(),
        spaces: Vec::new(),
    };
    for (log, numbers) in [(0, 0..2), (1, 2..3)] {
        write_log(&mut written, &new.logs(), LogId(log), numbers);
    }
    new.finish(&identity).expect("it can be written");
    written
}

fn write_log(written: &mut Written, logs: &Path, id: LogId, spaces: Range<usize>) {
    let log = Log::new(id, 2, 9, LogStart::NEW);
    let mut writer = Writer { log, logs, now: Time(1_000_000), waiting: Vec::new() };
    let key =
        |number| StripeKey { space: written.secret.space_key(&space(number).name), stripe: 0 };
    for number in spaces.clone() {
        let head =
            RecordHead { session: SessionId::NONE, ..head(key(number), 0, RecordKind::Space) };
        writer.append(head, encode_space(&space(number)), None);
    }
    written.spaces.extend(writer.commit().into_iter().map(|(_, place)| place));
    for first in (1..=24).step_by(4) {
        for number in spaces.clone() {
            for generation in first..first + 4 {
                let id = format!("memory-{number}-{generation}");
                let mut head = head(key(number), generation, RecordKind::Observation);
                head.memory_hash = written.secret.memory_hash(&id);
                writer.append(head, body(&id), Some(id));
            }
        }
        if first == 9 || first == 17 {
            writer.fail();
        }
        for (id, place) in writer.commit() {
            written.observations.insert(id.expect("of an observation"), place);
        }
    }
}

fn body(id: &str) -> Body {
    let what = format!("what {id} is about, at some length: {}", "words ".repeat(id.len() * 4));
    encode_body(&Observation::new(
        id,
        &what,
        Embedding::F32(&[0.5, 1.0, -2.0, 0.25, 0.5, 1.0, 2.0, -0.25]),
    ))
}

impl Written {
    fn path(&self) -> PathBuf {
        self.parent.path().join("data")
    }

    fn file(&self, log: u16, number: u32) -> PathBuf {
        segment_path(&self.path().join("logs"), SegmentId { log: LogId(log), number })
    }

    fn check(&self) -> (Checked, Vec<Finding>) {
        let mut findings = Vec::new();
        let contents = Contents::of(&self.path()).expect("it can be listed");
        let checked = check(&contents, &mut |finding| findings.push(finding.clone()));
        (checked.expect("it can be read"), findings)
    }

    /// Salvages, opens what comes of it as a server does, and gives its observations.
    fn salvage(&self) -> Vec<String> {
        let new = self.parent.path().join("salvaged");
        let contents = Contents::of(&self.path()).expect("it can be listed");
        let (_, salvaged) = salvage(&contents, &new, &mut |_| {}).expect("it can be salvaged");
        let ids = open(&new).expect("a server opens it");
        assert_eq!(salvaged.observations, ids.len() as u64);
        fs::remove_dir_all(new).expect("it is ours");
        ids
    }

    /// Ids of the observations whose own bytes are not at `offset` of the segment.
    fn untouched(&self, segment: SegmentId, offset: u32) -> Vec<&String> {
        let is_hit = |place: &Location| {
            place.segment == segment && (place.offset..place.offset + place.bytes).contains(&offset)
        };
        let untouched = self.observations.iter().filter(|(_, place)| !is_hit(place));
        untouched.map(|(id, _)| id).collect()
    }
}

/// Opens a folder as a server does. Its observations, each once.
fn open(path: &Path) -> Result<Vec<String>, LogFault> {
    let identity = read_identity(path).expect("it can be read").expect("it is a folder");
    let logs = path.join("logs");
    let segments = list_segments(&logs).expect("it can be listed");
    let read = |segment, bytes| read_segment_start(&logs, segment, bytes).expect("it can be read");
    let heads: Vec<_> =
        segments.iter().map(|segment| (*segment, read(*segment, HEAD_BYTES))).collect();
    let config = ShardConfig {
        log: LogId(0),
        shards: 1,
        secret: identity.secret,
        incarnation_seed: 3,
        capacity: 1_000,
        recall_target: None,
        tail: TailLimits::NONE,
        acks: AckPolicy::Sync,
        checkpoints: CheckpointLimits::NONE,
        record_cache_bytes: 0,
    };
    let remains = Remains { heads, ..Remains::default() };
    let mut recovering = Recovering::new(config, &remains, Box::new(|_| true))?;
    while let Some(segment) = recovering.next() {
        recovering.handle_segment(&read(segment, usize::MAX))?;
    }
    recovering.finish(Time(1))?;
    let mut ids = Vec::new();
    let mut replay = Replay::new(&remains.heads)?;
    while let Some(segment) = replay.next() {
        replay.handle_segment(&read(segment, usize::MAX), &mut |record| {
            if record.head.kind == RecordKind::Observation {
                let observation = decode_body(record.body).expect("it was whole");
                assert_eq!(record.head.memory_hash, identity.secret.memory_hash(observation.id));
                ids.push(observation.id.to_owned());
            }
        })?;
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

#[test]
fn a_whole_folder_is_sound_and_all_of_it_is_counted() {
    let written = written();
    let (checked, findings) = written.check();
    assert_eq!(checked.damage, 0, "{findings:?}");
    assert_eq!((checked.segments, checked.spaces, checked.observations), (6, 3, 72));
    assert_eq!(checked.records, 72 + 3);
    assert_eq!(written.salvage(), written.observations.keys().cloned().collect::<Vec<_>>());
}

#[test]
fn what_a_server_refuses_is_found_and_the_rest_is_saved() {
    let written = written();
    let (mut refused, mut passed) = (0, 0);
    for log in 0..2 {
        for number in 1..=3 {
            let (file, segment) =
                (written.file(log, number), SegmentId { log: LogId(log), number });
            let whole = fs::read(&file).expect("it is there");
            // Over all kinds of bytes, as each step falls on other ones.
            for at in (0..whole.len()).step_by(if number == 2 { 331 } else { 1_087 }) {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << (at % 8);
                fs::write(&file, &bytes).expect("it can be written");
                let opened = open(&written.path());
                let (checked, findings) = written.check();
                let is_damaged = checked.damage > 0;
                assert_eq!(
                    is_damaged,
                    opened.is_err(),
                    "{at} of {file:?}: {opened:?} {findings:?}"
                );
                match opened {
                    Ok(_) => passed += 1,
                    Err(_) => {
                        refused += 1;
                        let is_own = |finding: &Finding| {
                            matches!(finding,
                            Finding::Damaged { file: told, offset, .. } if *told == file && *offset <= at as u64)
                        };
                        assert!(findings.iter().any(is_own), "{at} of {file:?}: {findings:?}");
                        let saved = written.salvage();
                        let expected = written.untouched(segment, at as u32);
                        assert!(
                            expected.iter().all(|id| saved.contains(id)),
                            "{at} of {file:?}: {findings:?}"
                        );
                    }
                }
            }
            fs::write(&file, whole).expect("it can be written");
        }
    }
    assert!(refused > 50 && passed > 5, "{refused} refused, {passed} passed");
}

#[test]
fn a_record_is_told_by_its_file_and_offset_and_its_number_is_missed() {
    let written = written();
    let place = written.observations["memory-1-7"];
    let file = written.file(0, 1);
    let mut bytes = fs::read(&file).expect("it is there");
    bytes[place.offset as usize + 100] ^= 1;
    fs::write(&file, bytes).expect("it can be written");
    let (_, findings) = written.check();
    let (offset, what) = (u64::from(place.offset), "record body checksum".to_owned());
    assert_eq!(
        findings,
        [
            Finding::Damaged { file, offset, what },
            Finding::MissingObservations { space: "space-1".into(), stripe: 0, first: 7, last: 7 },
        ]
    );
}

#[test]
fn a_segment_that_is_gone_is_missed_and_the_others_are_saved() {
    let written = written();
    let gone = SegmentId { log: LogId(0), number: 2 };
    fs::remove_file(written.file(0, 2)).expect("it was there");
    let (checked, findings) = written.check();
    let file = written.file(0, 2);
    assert!(findings.contains(&Finding::MissingSegment { file }), "{findings:?}");
    assert!(checked.observations < 72);
    let saved = written.salvage();
    let kept = written.observations.iter().filter(|(_, place)| place.segment != gone);
    assert!(kept.map(|(id, _)| id).all(|id| saved.contains(id)));
}

#[test]
fn a_space_whose_record_is_lost_keeps_its_observations_under_another_name() {
    let written = written();
    let place = written.spaces[1];
    let file = written.file(0, 1);
    let mut bytes = fs::read(&file).expect("it is there");
    bytes[place.offset as usize + 80] ^= 1;
    fs::write(&file, bytes).expect("it can be written");
    let (_, findings) = written.check();
    let is_nameless = |finding: &Finding| matches!(finding, Finding::NamelessSpace { .. });
    assert!(findings.iter().any(is_nameless), "{findings:?}");
    let new = written.parent.path().join("new");
    let contents = Contents::of(&written.path()).expect("it can be listed");
    let (_, salvaged) = salvage(&contents, &new, &mut |_| {}).expect("it can be salvaged");
    assert_eq!((salvaged.observations, salvaged.renamed.len()), (72, 1));
    assert_eq!(open(&new).expect("a server opens it").len(), 72);
}

#[test]
fn without_its_secret_a_folder_is_damaged_and_all_of_it_is_saved() {
    let written = written();
    fs::remove_file(written.path().join("FOLDER")).expect("it was there");
    let (checked, findings) = written.check();
    assert!(matches!(findings[..], [Finding::Folder { .. }]), "{findings:?}");
    assert_eq!(checked.observations, 72);
    assert_eq!(written.salvage().len(), 72);
}

#[test]
fn another_folders_secret_is_noticed() {
    let written = written();
    fs::remove_file(written.path().join("FOLDER")).expect("it was there");
    let other = written.parent.path().join("other");
    let new = NewFolder::make(&other).expect("it is empty");
    new.finish(&Identity::draw().expect("there is randomness")).expect("it can be written");
    fs::copy(other.join("FOLDER"), written.path().join("FOLDER")).expect("it can be copied");
    let (checked, _) = written.check();
    assert!(checked.damage >= 75, "{checked:?}");
}

#[test]
fn nothing_is_salvaged_into_a_folder_that_has_something() {
    let written = written();
    let contents = Contents::of(&written.path()).expect("it can be listed");
    let refused = salvage(&contents, &written.path(), &mut |_| {}).expect_err("it is not empty");
    assert!(refused.to_string().contains("is not empty"), "{refused}");
    assert_eq!(written.check().0.damage, 0, "it is as it was");
}
