//! Whether what shards answer is right in itself and keeps what the ledger knows to be promised.

use std::collections::BTreeSet;

use engram_shards::message::{Durability, Hit, Isolation, Recalled, Refusal, ShardStatus};
use engram_shards::settings::Metric;

use crate::audit::{check_body, token_of};
use crate::client::prepared;
use crate::ledger::{Ledger, Token, Wrong, wrong};

/// How far a similarity may be from ours, which sums in another order.
const SIMILARITY_TOLERANCE: f32 = 1e-4;

/// A recall that was asked for.
#[derive(Debug)]
pub struct Asked {
    /// In which space.
    pub space: usize,
    /// How that space compares.
    pub metric: Metric,
    /// By what.
    pub vector: Vec<f32>,
    /// Whether it may see what is not durable.
    pub isolation: Isolation,
    /// Its snapshot is to be this at least.
    pub snapshot_min: u64,
    /// What was replaced by one of so many acked is not to be found.
    pub acks: u64,
    /// What was forgotten by one of so many answers is not to be found.
    pub answers: u64,
    /// How many memories were asked to be forgotten before the process that answers it started.
    pub forgets: usize,
    /// Its stripe was not loaded yet when it arrived.
    pub is_early: bool,
    /// What it must find.
    pub expected: Expected,
}

/// What a recall must find.
#[derive(Debug)]
pub enum Expected {
    /// Anything that is right in itself.
    Any,
    /// This one first, unless it was replaced or forgotten meanwhile; where products are compared, a longer one may come before it.
    First(Token),
    /// All of these and no other, but for those that somebody wants to be forgotten meanwhile.
    Exactly(BTreeSet<Token>),
}

impl Asked {
    /// Checks the results.
    pub fn check(
        &self,
        recalled: &Recalled,
        ledger: &mut Ledger,
        reads_fail: bool,
    ) -> Result<(), Wrong> {
        if self.is_early {
            wrong!(Recall, "space {} was recalled from before it was loaded", self.space);
        }
        ledger.snapshot(self.space, recalled.snapshot.0, self.snapshot_min)?;
        let mut ids = BTreeSet::new();
        let mut tokens = Vec::new();
        let mut similarity_last = f32::INFINITY;
        for hit in &recalled.hits {
            let (token, id) = self.check_hit(hit, recalled, ledger)?;
            if !ids.insert(id) {
                wrong!(Recall, "{id} was recalled twice at once");
            }
            if hit.similarity > similarity_last {
                wrong!(Recall, "{token:?} was recalled behind one that is less like the cue");
            }
            similarity_last = hit.similarity;
            tokens.push(token);
        }
        // What cannot be read back cannot be recalled; only a disk that fails may do that.
        match (recalled.unreadable, reads_fail) {
            (0, _) => self.check_found(tokens, ledger),
            (_, true) => Ok(()),
            (count, false) => wrong!(Recall, "{count} records could not be read back"),
        }
    }

    fn check_hit<'a>(
        &self,
        hit: &Hit,
        recalled: &Recalled,
        ledger: &'a Ledger,
    ) -> Result<(Token, &'a str), Wrong> {
        let token = token_of(&hit.body)?;
        let Some(sent) = ledger.attempt(token).filter(|sent| sent.space == self.space) else {
            wrong!(Recall, "{token:?} was recalled in space {}, and never sent there", self.space);
        };
        check_body(&hit.body, &sent.id, &sent.vector)?;
        if let Some(newer) = ledger.replacement(token, self.acks) {
            wrong!(Recall, "{token:?} was recalled, which {newer:?} had replaced");
        }
        if ledger.is_forgotten(token, self.answers).is_some() {
            wrong!(Forgotten, "{token:?} was recalled, and {} is forgotten", sent.id);
        }
        let similarity = self.similarity(&sent.vector);
        if (similarity - hit.similarity).abs() > SIMILARITY_TOLERANCE {
            wrong!(
                Recall,
                "{token:?} is {similarity} like the cue, and was told to be {}",
                hit.similarity
            );
        }
        let is_durable = hit.generation <= recalled.snapshot;
        if is_durable != (hit.durability == Durability::Durable) {
            let (generation, snapshot) = (hit.generation, recalled.snapshot);
            wrong!(Recall, "{token:?} of {generation:?} at {snapshot:?} is {:?}", hit.durability);
        }
        if self.isolation == Isolation::Durable && !is_durable {
            wrong!(Recall, "{token:?} was recalled before it was durable");
        }
        Ok((token, &sent.id))
    }

    /// How like the cue `vector` is.
    fn similarity(&self, vector: &[f32]) -> f32 {
        let ((cue, _), (vector, _)) =
            (prepared(&self.vector, self.metric), prepared(vector, self.metric));
        let pairs = cue.iter().zip(vector);
        match self.metric {
            Metric::Cosine | Metric::Dot => pairs.map(|(a, b)| a * b).sum(),
            Metric::Euclidean => -pairs.map(|(a, b)| (a - b) * (a - b)).sum::<f32>(),
        }
    }

    fn check_found(&self, tokens: Vec<Token>, ledger: &Ledger) -> Result<(), Wrong> {
        match &self.expected {
            Expected::Any => {}
            Expected::First(_) if self.metric == Metric::Dot => {}
            Expected::First(token) => {
                let may_be_gone =
                    ledger.may_be_replaced(*token) || ledger.may_be_forgotten(*token).is_some();
                if tokens.first() != Some(token) && !may_be_gone {
                    wrong!(Recall, "{token:?} is durable, and its own vector recalls {tokens:?}");
                }
            }
            Expected::Exactly(expected) => {
                let found: BTreeSet<Token> = tokens.into_iter().collect();
                if found != *expected {
                    let is_there =
                        |token: &&Token| !ledger.is_forgotten_since(**token, self.forgets);
                    let missing: Vec<_> = expected.difference(&found).filter(is_there).collect();
                    let other: Vec<_> = found.difference(expected).collect();
                    if !missing.is_empty() || !other.is_empty() {
                        wrong!(
                            Recall,
                            "after a restart {missing:?} are not recalled, but {other:?} are"
                        );
                    }
                }
            }
        }
        Ok(())
    }

    /// Checks a refusal.
    pub fn check_refused(&self, refusal: &Refusal, ledger: &Ledger) -> Result<(), Wrong> {
        // A space of which no one was told need not be there.
        match ledger.spaces[self.space].made {
            true if self.is_early && *refusal == Refusal::Unavailable => Ok(()),
            true => wrong!(Recall, "a recall in space {} was refused: {refusal:?}", self.space),
            false => Ok(()),
        }
    }
}

/// Checks a shard's account of itself. What it found at its start comes beside what may be admitted: a space may be served, and
/// written, before another one is loaded whose rows wait.
pub fn check_status(
    shard: usize,
    status: &ShardStatus,
    capacity: u32,
    recovered_rows: u32,
) -> Result<(), Wrong> {
    let ShardStatus { depth, credits, .. } = *status;
    if status.capacity != capacity || depth + credits > capacity + recovered_rows {
        wrong!(
            Queue,
            "shard {shard}: depth {depth}, credits {credits}, of {capacity} beside {recovered_rows}"
        );
    }
    let held: u32 = status.stripes.iter().map(|stripe| stripe.held).sum();
    if held != depth + credits {
        wrong!(Queue, "shard {shard}: depth {depth}, credits {credits}, and stripes hold {held}");
    }
    Ok(())
}
