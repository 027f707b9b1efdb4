//! What the disk holds at a restart, read without the engine's shards, sessions and rows: only the log's own replay.

use std::collections::BTreeMap;

use engram_shards::checkpoint::layout::{Piece, pieces};
use engram_shards::checkpoint::reading::{CheckedHead, Checking};
use engram_shards::ids::{SpaceKey, Time};
use engram_shards::log::record::{Embedding, RecordKind, decode_body};
use engram_shards::log::replay::{LogFault, Replay, Replayed};

use crate::disk::Disk;
use crate::ledger::{Checker, Ledger, Token, Wrong, wrong};
use crate::random::Random;

/// Observations by space (its number) in order of their generations.
pub type Recovered = Vec<Vec<Token>>;

/// Reads all logs and checks them against what was promised.
pub fn audit(disk: &Disk, spaces: &[SpaceKey], ledger: &Ledger) -> Result<Recovered, Wrong> {
    let observations = read(disk, spaces, ledger)?.map_err(|fault| Wrong {
        checker: Checker::Log,
        text: format!("the logs cannot be read: {fault:?}"),
    })?;
    let mut recovered = Recovered::new();
    for (space, observations) in observations.into_iter().enumerate() {
        if let Some(gap) =
            observations.keys().zip(1..).find(|&(&generation, expected)| generation != expected)
        {
            wrong!(Generations, "space {space} has generation {} where {} is to be", gap.0, gap.1);
        }
        let tokens: Vec<Token> = observations.into_values().map(|found| found.token).collect();
        ledger.recovered(space, &tokens)?;
        recovered.push(tokens);
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
) -> Result<Result<Vec<Observations>, LogFault>, Wrong> {
    let observations = vec![BTreeMap::new(); spaces.len()];
    let mut found = Found { spaces, ledger, observations, wrong: None };
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
        None => Ok(Ok(found.observations)),
    }
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
    observations: Vec<Observations>,
    wrong: Option<Wrong>,
}

impl Found<'_> {
    fn take(&mut self, record: &Replayed<'_>) {
        if record.head.kind == RecordKind::Observation
            && let Err(wrong) = self.take_observation(record)
        {
            self.wrong.get_or_insert(wrong);
        }
    }

    fn take_observation(&mut self, record: &Replayed<'_>) -> Result<(), Wrong> {
        let head = &record.head;
        let Some(space) = self.spaces.iter().position(|space| *space == head.stripe.space) else {
            wrong!(Kept, "a record of a space that there is not");
        };
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
        let entry = self.observations[space].entry(head.generation.0).or_insert(stored);
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
