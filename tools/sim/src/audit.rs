//! What the disk holds at a restart, read without the engine's shards, sessions and rows: only the log's own replay.

use std::collections::{BTreeMap, BTreeSet};

use engram_shards::checkpoint::head::LogPosition;
use engram_shards::checkpoint::layout::{Piece, pieces};
use engram_shards::checkpoint::reading::{CheckedHead, Checking};
use engram_shards::ids::{SessionId, SpaceKey, Time};
use engram_shards::log::ranges::Ranges;
use engram_shards::log::record::{
    Embedding, RecordKind, decode_body, decode_forgotten, decode_gone,
};
use engram_shards::log::replay::{HEAD_BYTES, LogFault, Replay, Replayed};

use crate::disk::Disk;
use crate::ledger::{Checker, Ledger, Token, Wrong, wrong};
use crate::random::Random;

/// What is there of each space, by its number.
pub type Recovered = Vec<RecoveredSpace>;

/// What is there of a space.
#[derive(Clone, Debug, Default)]
pub struct RecoveredSpace {
    /// How many records of observations there are.
    pub records: u32,
    /// Its observations that are not gone, in order of their generations.
    pub tokens: Vec<Token>,
    /// Those that a recall gives: the newest of each id, unless it is forgotten.
    pub left: BTreeSet<Token>,
}

/// Reads all logs and checks them against what was promised.
pub fn audit(disk: &Disk, spaces: &[SpaceKey], ledger: &Ledger) -> Result<Recovered, Wrong> {
    let found = read(disk, spaces, ledger)?.map_err(|fault| Wrong {
        checker: Checker::Log,
        text: format!("the logs cannot be read: {fault:?}"),
    })?;
    let mut recovered = Recovered::new();
    for (space, found) in found.into_iter().enumerate() {
        let SpaceFound { mut observations, forgotten, gone, mut marks } = found;
        let last = observations.last_key_value().map_or(0, |(generation, _)| *generation);
        let generations = last.max(gone.last().unwrap_or(0));
        let is_there =
            |generation: &u64| observations.contains_key(generation) || gone.contains(*generation);
        if let Some(gap) = (1..=generations).find(|generation| !is_there(generation)) {
            wrong!(Generations, "space {space} has no generation {gap}, of {generations}");
        }
        let records = observations.len() as u32;
        // A record tells the mark of its session also where its row is no more.
        for stored in observations.values() {
            let sent = ledger.attempt(stored.token).expect("it was looked at before");
            let mark = marks.entry(sent.session).or_default();
            *mark = sent.sequence.max(*mark);
        }
        observations.retain(|generation, _| !gone.contains(*generation));
        let left = left(&observations, &forgotten, ledger);
        let tokens: Vec<Token> = observations.into_values().map(|found| found.token).collect();
        ledger.recovered(space, &tokens, generations, &marks)?;
        if let Some(token) =
            left.iter().find(|token| ledger.is_forgotten(**token, u64::MAX).is_some())
        {
            wrong!(Forgotten, "{token:?} was forgotten, and the disk does not say so");
        }
        recovered.push(RecoveredSpace { records, tokens, left });
    }
    Ok(recovered)
}

/// Checks that what a crash left of checkpoints is whole: each was synced before it took the place of another.
pub fn audit_checkpoints(disk: &Disk) -> Result<(), Wrong> {
    for (stripe, bytes) in disk.checkpoints() {
        let whole = CheckedHead::new(bytes, stripe, bytes.len() as u64).is_ok_and(|head| {
            let mut checking = Checking::new(&head);
            pieces(head.head()).all(|Piece { offset, bytes: length }| {
                let piece = &bytes[offset as usize..(offset + length) as usize];
                checking.handle_piece(piece, &mut |_, _| Ok(())).is_ok()
            })
        });
        if !whole {
            wrong!(Checkpoint, "a crash left a checkpoint of {stripe:?} that is damaged");
        }
    }
    Ok(())
}

/// A copy of the disk on which a log ends before what a checkpoint covers of it; none where there is no checkpoint.
pub fn without_end(disk: &Disk, random: &mut Random) -> Option<Disk> {
    let head = |(stripe, bytes): (_, &[u8])| {
        CheckedHead::new(bytes, stripe, bytes.len() as u64).ok().map(|head| head.head().clone())
    };
    let covered = disk.checkpoints().filter_map(head).flat_map(|head| head.covered);
    // Of one that covers no more than a segment's head nothing can be missing, nor of a segment that was emptied.
    let is_there = |end: &LogPosition| {
        let offset = end.offset as usize;
        offset > HEAD_BYTES && disk.length(end.segment) >= offset
    };
    let covered: Vec<_> = covered.filter(is_there).collect();
    let end = covered.get(random.index(covered.len().max(1)))?;
    Some(disk.cut(end.segment, random.index(end.offset as usize)))
}

/// The newest of each id, unless it is forgotten.
fn left(
    observations: &Observations,
    forgotten: &BTreeMap<String, u64>,
    ledger: &Ledger,
) -> BTreeSet<Token> {
    let mut newest = BTreeMap::new();
    for (&generation, stored) in observations {
        let id = &ledger.attempt(stored.token).expect("it was looked at before").id;
        newest.insert(id, (generation, stored.token));
    }
    let is_left = |(id, (generation, _)): &(&String, (u64, Token))| {
        forgotten.get(*id).is_none_or(|until| generation > until)
    };
    newest.into_iter().filter(is_left).map(|(_, (_, token))| token).collect()
}

/// Changes one bit behind a head: that is told, or harmless, or cost what no one vouched for.
pub fn audit_rotten(
    disk: &Disk,
    spaces: &[SpaceKey],
    ledger: &Ledger,
    random: &mut Random,
) -> Result<(), Wrong> {
    let Some((segment, rotten)) = disk.rotten(random) else {
        return Ok(());
    };
    let told = match read(&rotten, spaces, ledger)? {
        Err(LogFault::Corrupt { segment: told, .. }) if told == segment => return Ok(()),
        Err(fault) => wrong!(Damage, "a bit of {segment:?} rotted, and that is told: {fault:?}"),
        Ok(told) => told,
    };
    let Ok(sound) = read(disk, spaces, ledger)? else {
        wrong!(Log, "the logs cannot be read");
    };
    for (sound, told) in sound.iter().zip(&told) {
        let (sound, told) = (&sound.observations, &told.observations);
        let is_lost = |(generation, stored): &(&u64, &Stored)| {
            stored.proven && !told.contains_key(generation)
        };
        if let Some((generation, lost)) = sound.iter().find(is_lost) {
            wrong!(Damage, "{:?} ({generation}) rotted away, and no one was told", lost.token);
        }
        let other = told.iter().find(|(generation, told)| {
            sound.get(generation).is_none_or(|sound| sound.token != told.token)
        });
        if let Some((generation, other)) = other {
            wrong!(Damage, "a bit rotted, and generation {generation} is {:?}", other.token);
        }
    }
    Ok(())
}

/// What the logs hold, or why they cannot be read.
fn read(
    disk: &Disk,
    spaces: &[SpaceKey],
    ledger: &Ledger,
) -> Result<Result<Vec<SpaceFound>, LogFault>, Wrong> {
    let found = vec![SpaceFound::default(); spaces.len()];
    let mut found = Found { spaces, ledger, found, wrong: None };
    let mut replay = match Replay::new(&disk.heads()) {
        Ok(replay) => replay,
        Err(fault) => return Ok(Err(fault)),
    };
    while let Some(segment) = replay.next() {
        let visit = &mut |record: Replayed<'_>| found.take(&record);
        if let Err(fault) = replay.handle_segment(disk.segment(segment), visit) {
            return Ok(Err(fault));
        }
    }
    match found.wrong {
        Some(wrong) => Err(wrong),
        None => Ok(Ok(found.found)),
    }
}

/// What the logs hold of a space.
#[derive(Clone, Debug, Default)]
struct SpaceFound {
    observations: Observations,
    /// Up to which generation an id is forgotten.
    forgotten: BTreeMap<String, u64>,
    /// Generations that are no more.
    gone: Ranges,
    /// Marks of sessions that were carried.
    marks: BTreeMap<SessionId, u64>,
}

/// Of a space, by generation.
type Observations = BTreeMap<u64, Stored>;

/// An observation on the disk.
#[derive(Clone, Copy, Debug)]
struct Stored {
    committed_at: Time,
    token: Token,
    /// It is known to have been synced.
    proven: bool,
}

struct Found<'a> {
    spaces: &'a [SpaceKey],
    ledger: &'a Ledger,
    found: Vec<SpaceFound>,
    wrong: Option<Wrong>,
}

impl Found<'_> {
    fn take(&mut self, record: &Replayed<'_>) {
        let taken = match record.head.kind {
            RecordKind::Observation => self.take_observation(record),
            RecordKind::Tombstone | RecordKind::Suppression => self.take_forgotten(record),
            RecordKind::Gone => self.take_gone(record),
            RecordKind::Mark => self.take_mark(record),
            _ => Ok(()),
        };
        if let Err(wrong) = taken {
            self.wrong.get_or_insert(wrong);
        }
    }

    fn space(&self, record: &Replayed<'_>) -> Result<usize, Wrong> {
        let key = record.head.stripe.space;
        match self.spaces.iter().position(|space| *space == key) {
            Some(space) => Ok(space),
            None => wrong!(Kept, "a record of a space that there is not"),
        }
    }

    fn take_forgotten(&mut self, record: &Replayed<'_>) -> Result<(), Wrong> {
        let space = self.space(record)?;
        let Ok(id) = decode_forgotten(record.body) else {
            wrong!(Kept, "a body that cannot be read")
        };
        let until = self.found[space].forgotten.entry(id.to_owned()).or_default();
        *until = record.head.generation.0.max(*until);
        Ok(())
    }

    fn take_gone(&mut self, record: &Replayed<'_>) -> Result<(), Wrong> {
        let space = self.space(record)?;
        match decode_gone(record.body, &mut self.found[space].gone) {
            Ok(()) => Ok(()),
            Err(_) => wrong!(Kept, "a body that cannot be read"),
        }
    }

    fn take_mark(&mut self, record: &Replayed<'_>) -> Result<(), Wrong> {
        let space = self.space(record)?;
        let mark = self.found[space].marks.entry(record.head.session).or_default();
        *mark = record.head.sequence.max(*mark);
        Ok(())
    }

    fn take_observation(&mut self, record: &Replayed<'_>) -> Result<(), Wrong> {
        let head = &record.head;
        let space = self.space(record)?;
        let token = token_of(record.body)?;
        let Some(sent) = self.ledger.attempt(token) else {
            wrong!(Kept, "{token:?} is on the disk and was never sent");
        };
        if (sent.space, sent.session, sent.sequence) != (space, head.session, head.sequence) {
            wrong!(Kept, "{token:?} is on the disk as {head:?}");
        }
        // The same generation twice: the one committed later counts.
        let Replayed { committed_at, proven, .. } = *record;
        let stored = Stored { committed_at, token, proven };
        let entry = self.found[space].observations.entry(head.generation.0).or_insert(stored);
        let proven = proven || entry.proven;
        if entry.committed_at < committed_at {
            *entry = stored;
        }
        entry.proven = proven;
        check_body(record.body, &sent.id, &sent.vector)
    }
}

/// The token in a body.
pub fn token_of(body: &[u8]) -> Result<Token, Wrong> {
    let what = decode_body(body).map(|observation| observation.what.parse());
    match what {
        Ok(Ok(token)) => Ok(Token(token)),
        _ => wrong!(Kept, "a body that no one sent"),
    }
}

/// Whether a body is what was sent.
pub fn check_body(body: &[u8], id: &str, vector: &[f32]) -> Result<(), Wrong> {
    let Ok(observation) = decode_body(body) else { wrong!(Kept, "a body that cannot be read") };
    let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
    if observation.id != id || observation.embedding != Embedding::F32Bytes(&bytes) {
        wrong!(Kept, "{} came back as {}, or with another vector", id, observation.id);
    }
    Ok(())
}
