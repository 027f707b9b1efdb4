//! What the disk holds at a restart, read without the engine's shards, sessions and rows: only the log's own replay.

use std::collections::BTreeMap;

use engram_shards::ids::{SpaceKey, Time};
use engram_shards::log::record::{Embedding, RecordKind, decode_body};
use engram_shards::log::replay::{Replay, Replayed};

use crate::disk::Disk;
use crate::ledger::{Ledger, Token, Wrong, wrong};

/// Observations by space (its number) in order of their generations.
pub type Recovered = Vec<Vec<Token>>;

/// Reads all logs and checks them against what was promised.
pub fn audit(disk: &Disk, spaces: &[SpaceKey], ledger: &Ledger) -> Result<Recovered, Wrong> {
    let fault = |fault| Wrong(format!("the logs cannot be read: {fault:?}"));
    let mut replay = Replay::new(&disk.heads()).map_err(fault)?;
    let mut found =
        Found { spaces, ledger, observations: vec![BTreeMap::new(); spaces.len()], wrong: None };
    while let Some(segment) = replay.next() {
        replay
            .handle_segment(disk.segment(segment), &mut |record| found.take(&record))
            .map_err(fault)?;
    }
    let Found { observations, wrong, .. } = found;
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    let mut recovered = Recovered::new();
    for (space, observations) in observations.into_iter().enumerate() {
        if let Some(gap) =
            observations.keys().zip(1..).find(|&(&generation, expected)| generation != expected)
        {
            wrong!("space {space} has generation {} where {} is to be", gap.0, gap.1);
        }
        let tokens: Vec<Token> = observations.into_values().map(|(_, token)| token).collect();
        ledger.recovered(space, &tokens)?;
        recovered.push(tokens);
    }
    Ok(recovered)
}

struct Found<'a> {
    spaces: &'a [SpaceKey],
    ledger: &'a Ledger,
    /// Of each space: by generation, when it was committed and what it is.
    observations: Vec<BTreeMap<u64, (Time, Token)>>,
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
            wrong!("a record of a space that there is not");
        };
        let token = token_of(record.body)?;
        let Some(sent) = self.ledger.attempt(token) else {
            wrong!("{token:?} is on the disk and was never sent");
        };
        if (sent.space, sent.session, sent.sequence) != (space, head.session, head.sequence) {
            wrong!("{token:?} is on the disk as {head:?}");
        }
        // The same generation twice: the one committed later counts.
        let generation = self.observations[space].entry(head.generation.0);
        let entry = generation.or_insert((record.committed_at, token));
        if entry.0 < record.committed_at {
            *entry = (record.committed_at, token);
        }
        check_body(record.body, &sent.id, &sent.vector)
    }
}

/// The token in a body.
pub fn token_of(body: &[u8]) -> Result<Token, Wrong> {
    let what = decode_body(body).map(|observation| observation.what.parse());
    match what {
        Ok(Ok(token)) => Ok(Token(token)),
        _ => wrong!("a body that no one sent"),
    }
}

/// Whether a body is what was sent.
pub fn check_body(body: &[u8], id: &str, vector: &[f32]) -> Result<(), Wrong> {
    let Ok(observation) = decode_body(body) else { wrong!("a body that cannot be read") };
    let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
    if observation.id != id || observation.embedding != Embedding::F32Bytes(&bytes) {
        wrong!("{} came back as {}, or with another vector", id, observation.id);
    }
    Ok(())
}
