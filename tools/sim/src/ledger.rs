//! What was promised to whom. It knows what clients sent and were told, and nothing of the engine.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Range, RangeInclusive};

use engram_shards::ids::{SessionId, Time};
use engram_shards::message::{ForgetMode, Made};

/// Which promise was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Checker {
    /// What was acked is recovered, and what is recovered was sent.
    Kept,
    /// Generations of a space begin at one and have no gap.
    Generations,
    /// A session's observations are there in the order in which it sent them.
    Order,
    /// Each is there once.
    Once,
    /// What a session is told when it is opened or closed.
    Session,
    /// A recall sees what was acked, what replaced another instead of that, and all of it right.
    Recall,
    /// A memory that is forgotten is not recalled any more, and no other is forgotten with it.
    Forgotten,
    /// A stripe counts what it holds.
    Rows,
    /// What must hold of the graph.
    Graph,
    /// Queues stay within their bounds, and are empty in the end.
    Queue,
    /// Commit times of a space do not fall.
    Time,
    /// The disk holds little more than what counts.
    Disk,
    /// The logs can be read after whatever a disk may do.
    Log,
    /// Damage of what was synced is told, not taken for data.
    Damage,
    /// A crash leaves each checkpoint whole: the last one that was kept.
    Checkpoint,
    /// Everyone gets an answer.
    Answer,
    /// The engine's own assertions.
    Engine,
}

impl Checker {
    /// All of them.
    pub const ALL: [Checker; 17] = [
        Checker::Kept,
        Checker::Generations,
        Checker::Order,
        Checker::Once,
        Checker::Session,
        Checker::Recall,
        Checker::Forgotten,
        Checker::Rows,
        Checker::Graph,
        Checker::Queue,
        Checker::Time,
        Checker::Disk,
        Checker::Log,
        Checker::Damage,
        Checker::Checkpoint,
        Checker::Answer,
        Checker::Engine,
    ];
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Who found it.
    pub checker: Checker,
    /// What it is.
    pub text: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.checker, self.text)
    }
}

/// Fails with a sentence.
macro_rules! wrong {
    ($checker:ident, $($text:tt)*) => {
        return Err($crate::ledger::Wrong {
            checker: $crate::ledger::Checker::$checker,
            text: format!($($text)*),
        })
    };
}
pub(crate) use wrong;

/// One observation as it was sent once; its text is this number, so that it is known wherever it turns up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub usize);

/// What was sent.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Into which space.
    pub space: usize,
    /// By which session; none for single observations.
    pub session: SessionId,
    /// Its number there; its token where there is no session.
    pub sequence: u64,
    /// By which connection.
    pub connection: u64,
    /// The memory's id.
    pub id: String,
    /// Its vector.
    pub vector: Vec<f32>,
    /// Whether it was acked.
    pub acked: bool,
    /// So many were acked before it.
    pub acks_before: u64,
}

/// What is known of a session.
#[derive(Clone, Debug, Default)]
struct SessionLedger {
    space: usize,
    /// What was sent under each sequence.
    attempts: BTreeMap<u64, Vec<Token>>,
    /// Up to here all was acked, or found durable by a resume.
    mark: u64,
    opened: bool,
}

/// What is known of a space.
#[derive(Clone, Debug, Default)]
pub struct SpaceLedger {
    /// The latest commit time told.
    committed_at: Time,
    /// The highest snapshot told.
    snapshot: u64,
    /// Observations acked.
    pub acked: u64,
    /// It was told that it is there.
    pub made: bool,
    /// No one may be told any more that it was made just now.
    made_for_good: bool,
}

/// A memory that someone asked to forget.
#[derive(Clone, Debug)]
struct Forget {
    space: usize,
    id: String,
    mode: ForgetMode,
    /// So many were acked before it was asked for.
    acks_before: u64,
    answered: Option<Answered>,
}

/// When it was told to be forgotten.
#[derive(Clone, Copy, Debug)]
struct Answered {
    /// Behind so many others.
    answers: u64,
    /// What is sent from this token on is another memory.
    end: Token,
}

/// All that was sent and told.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    attempts: Vec<Attempt>,
    sessions: BTreeMap<SessionId, SessionLedger>,
    acks: u64,
    forgets: Vec<Forget>,
    answers: u64,
    /// By number of the space.
    pub spaces: Vec<SpaceLedger>,
}

impl Ledger {
    /// A ledger of so many spaces.
    pub fn new(spaces: usize) -> Ledger {
        Ledger { spaces: vec![SpaceLedger::default(); spaces], ..Ledger::default() }
    }

    /// The token of what is sent next.
    pub fn next_token(&self) -> Token {
        Token(self.attempts.len())
    }

    /// Something is sent.
    pub fn send(&mut self, attempt: Attempt) {
        let token = self.next_token();
        if attempt.session != SessionId::NONE {
            let session = self.sessions.entry(attempt.session).or_default();
            session.space = attempt.space;
            session.attempts.entry(attempt.sequence).or_default().push(token);
        }
        self.attempts.push(attempt);
    }

    /// What was sent.
    pub fn attempt(&self, token: Token) -> Option<&Attempt> {
        self.attempts.get(token.0)
    }

    /// All that was sent.
    pub fn attempts(&self) -> impl Iterator<Item = (Token, &Attempt)> {
        self.attempts.iter().enumerate().map(|(index, attempt)| (Token(index), attempt))
    }

    /// Whether another observation of the same id may count instead: a later one, or one of another client, whose
    /// messages may have been overtaken.
    pub fn may_be_replaced(&self, token: Token) -> bool {
        let sent = &self.attempts[token.0];
        self.attempts().any(|(other, also)| {
            also.id == sent.id && (other > token || also.connection >> 32 != sent.connection >> 32)
        })
    }

    /// Someone asks to forget a memory. Gives the number of that.
    pub fn forget(&mut self, space: usize, id: &str, mode: ForgetMode) -> usize {
        let acks_before = self.acks;
        self.forgets.push(Forget { space, id: id.to_owned(), mode, acks_before, answered: None });
        self.forgets.len() - 1
    }

    /// They are told that so many memories are forgotten.
    pub fn forgotten(&mut self, number: usize, count: u32) -> Result<(), Wrong> {
        let end = self.next_token();
        let answers = self.answers;
        self.answers += 1;
        let Forget { space, id, .. } = self.forgets[number].clone();
        let of_id = |forget: &Forget| forget.space == space && forget.id == id;
        let is_only = self.forgets.iter().filter(|forget| of_id(forget)).count() == 1;
        let known = |sent: &Attempt| sent.space == space && sent.id == id;
        let sent = self.attempts.iter().filter(|sent| known(sent));
        // What comes meanwhile may have replaced it.
        let asked = &self.forgets[number];
        let mut sure = sent.clone().map(|sent| self.is_acked_before(sent, asked));
        let was_there = is_only && sent.clone().next().is_some() && sure.all(|is_sure| is_sure);
        if count > 1 || (count == 1 && sent.count() == 0) || (count == 0 && was_there) {
            wrong!(Forgotten, "{id} was there: {was_there}, and {count} memories were forgotten");
        }
        self.forgets[number].answered = Some(Answered { answers, end });
        Ok(())
    }

    fn is_acked_before(&self, sent: &Attempt, forget: &Forget) -> bool {
        sent.acked && sent.acks_before < forget.acks_before
    }

    /// How many were told so far that a memory is forgotten.
    pub fn answers(&self) -> u64 {
        self.answers
    }

    /// Whether `token` was forgotten for certain by the time that so many answers had been given; and whether for good.
    pub fn is_forgotten(&self, token: Token, answers: u64) -> Option<ForgetMode> {
        let sent = &self.attempts[token.0];
        let forgets = self.of_memory(token).filter(|forget| {
            let is_told = forget.answered.is_some_and(|answered| answered.answers < answers);
            is_told && self.is_acked_before(sent, forget)
        });
        forgets.map(|forget| forget.mode).max()
    }

    /// Whether `token` may have been forgotten, whoever was told; and whether that may be for good.
    pub fn may_be_forgotten(&self, token: Token) -> Option<ForgetMode> {
        let forgets = self.of_memory(token);
        let forgets =
            forgets.filter(|forget| forget.answered.is_none_or(|answered| token < answered.end));
        forgets.map(|forget| forget.mode).max()
    }

    /// How many were asked for.
    pub fn forgets(&self) -> usize {
        self.forgets.len()
    }

    /// Whether `token` is asked to be forgotten since so many were asked for.
    pub fn is_forgotten_since(&self, token: Token, forgets: usize) -> bool {
        let sent = &self.attempts[token.0];
        let mut since = self.forgets[forgets..].iter();
        since.any(|forget| forget.space == sent.space && forget.id == sent.id)
    }

    fn of_memory(&self, token: Token) -> impl Iterator<Item = &Forget> {
        let sent = &self.attempts[token.0];
        self.forgets.iter().filter(|forget| forget.space == sent.space && forget.id == sent.id)
    }

    /// How many were acked so far.
    pub fn acks(&self) -> u64 {
        self.acks
    }

    /// One of the same session that replaced `token` for certain by the time that `acks` had been given.
    pub fn replacement(&self, token: Token, acks: u64) -> Option<Token> {
        let sent = &self.attempts[token.0];
        let replaces = |also: &Attempt| {
            also.id == sent.id
                && also.space == sent.space
                && also.session == sent.session
                && also.sequence > sent.sequence
                && also.acked
                && also.acks_before < acks
        };
        let has_order = sent.session != SessionId::NONE;
        self.attempts().find(|(_, also)| has_order && replaces(also)).map(|(other, _)| other)
    }

    /// `connection` was told that these are durable.
    pub fn ack(
        &mut self,
        connection: u64,
        session: SessionId,
        sequences: RangeInclusive<u64>,
    ) -> Result<Vec<Token>, Wrong> {
        let mut tokens = Vec::new();
        for sequence in sequences {
            tokens.push(self.ack_one(connection, session, sequence)?);
        }
        Ok(tokens)
    }

    fn ack_one(
        &mut self,
        connection: u64,
        session: SessionId,
        sequence: u64,
    ) -> Result<Token, Wrong> {
        let Some(token) = self.sent_by(connection, session, sequence) else {
            wrong!(
                Once,
                "connection {connection} was told of sequence {sequence}, which it never sent"
            );
        };
        let attempt = &mut self.attempts[token.0];
        if attempt.acked {
            wrong!(Once, "{token:?} (sequence {sequence}) was acked twice");
        }
        attempt.acked = true;
        attempt.acks_before = self.acks;
        self.acks += 1;
        self.spaces[attempt.space].acked += 1;
        if let Some(session) = self.sessions.get_mut(&session) {
            // What was taken over by another connection was told to that one first.
            if sequence > session.mark + 1 {
                wrong!(Order, "sequence {sequence} was acked after {}", session.mark);
            }
            session.mark = session.mark.max(sequence);
        }
        Ok(token)
    }

    fn sent_by(&self, connection: u64, session: SessionId, sequence: u64) -> Option<Token> {
        let by = |token: &Token| {
            let attempt = self.attempts.get(token.0);
            attempt.is_some_and(|sent| sent.connection == connection && sent.session == session)
        };
        if session == SessionId::NONE {
            return Some(Token(sequence as usize)).filter(by);
        }
        self.sessions.get(&session)?.attempts.get(&sequence)?.iter().copied().find(by)
    }

    /// A space has a commit of that time.
    pub fn committed(&mut self, space: usize, committed_at: Time) -> Result<(), Wrong> {
        let earlier = std::mem::replace(&mut self.spaces[space].committed_at, committed_at);
        if committed_at < earlier {
            wrong!(
                Time,
                "space {space} has a commit at {committed_at:?}, after one at {earlier:?}"
            );
        }
        Ok(())
    }

    /// `connection` was told that these will never be durable.
    pub fn dropped(
        &mut self,
        connection: u64,
        session: SessionId,
        sequences: RangeInclusive<u64>,
    ) -> Result<(), Wrong> {
        for sequence in sequences {
            let Some(token) = self.sent_by(connection, session, sequence) else {
                wrong!(Once, "connection {connection} was told of {sequence}, which it never sent");
            };
            if self.attempts[token.0].acked {
                wrong!(Kept, "{token:?} (sequence {sequence}) was acked and then dropped");
            }
        }
        Ok(())
    }

    /// A session was opened, or closed, with this as its last durable sequence.
    pub fn marked(&mut self, session: SessionId, mark: u64) -> Result<(), Wrong> {
        let known = self.sessions.entry(session).or_default();
        known.opened = true;
        if mark < known.mark {
            wrong!(Session, "a session was acked up to {}, and is told {mark}", known.mark);
        }
        let last_sent = known.attempts.last_key_value().map_or(0, |(&sequence, _)| sequence);
        if mark > last_sent {
            wrong!(Session, "a session is told {mark}, and sent no more than {last_sent}");
        }
        known.mark = mark;
        Ok(())
    }

    /// A session is not known.
    pub fn unknown(&self, session: SessionId) -> Result<(), Wrong> {
        if self.sessions.get(&session).is_some_and(|session| session.opened) {
            wrong!(Session, "a session that was opened is unknown");
        }
        Ok(())
    }

    /// A space is there; `now` says that this request made it.
    pub fn space_made(&mut self, space: usize, made: Made) -> Result<(), Wrong> {
        let space_ledger = &mut self.spaces[space];
        if made == Made::Now && std::mem::replace(&mut space_ledger.made_for_good, true) {
            wrong!(Once, "space {space} was made a second time");
        }
        space_ledger.made = true;
        Ok(())
    }

    /// A process ends: what was told before cannot be overtaken by what is told after.
    pub fn end_run(&mut self) {
        for space in &mut self.spaces {
            space.made_for_good |= space.made;
        }
    }

    /// What is promised of a snapshot that is asked for now.
    pub fn snapshot_min(&self, space: usize) -> u64 {
        self.spaces[space].snapshot.max(self.spaces[space].acked)
    }

    /// A snapshot was told that was asked for when `min` was promised.
    pub fn snapshot(&mut self, space: usize, snapshot: u64, min: u64) -> Result<(), Wrong> {
        if snapshot < min {
            wrong!(
                Recall,
                "the snapshot of space {space} is {snapshot}, and was to be {min} at least"
            );
        }
        let sent = self.attempts.iter().filter(|sent| sent.space == space).count() as u64;
        if snapshot > sent {
            wrong!(Recall, "the snapshot of space {space} is {snapshot}, of {sent} sent");
        }
        self.spaces[space].snapshot = self.spaces[space].snapshot.max(snapshot);
        Ok(())
    }

    /// Whether `token` may be missing: a compaction gives up what was replaced or deleted.
    fn may_be_gone(&self, token: Token) -> bool {
        self.may_be_replaced(token) || self.may_be_forgotten(token) == Some(ForgetMode::Delete)
    }

    /// A restart finds these observations of a space, in order of their generations, of which there were so many; and these
    /// marks of sessions.
    pub fn recovered(
        &self,
        space: usize,
        tokens: &[Token],
        generations: u64,
        told: &BTreeMap<SessionId, u64>,
    ) -> Result<(), Wrong> {
        let mut marks: BTreeMap<SessionId, u64> = BTreeMap::new();
        let mut is_there = vec![false; self.attempts.len()];
        for &token in tokens {
            let Some(sent) = self.attempt(token).filter(|sent| sent.space == space) else {
                wrong!(Kept, "{token:?} was recovered in space {space}, and never sent there");
            };
            if std::mem::replace(&mut is_there[token.0], true) {
                wrong!(Once, "{token:?} was recovered twice");
            }
            if sent.session != SessionId::NONE {
                let mark = marks.entry(sent.session).or_default();
                if sent.sequence <= *mark {
                    wrong!(Once, "sequence {} was recovered again after {mark}", sent.sequence);
                }
                self.check_missing(sent.session, *mark + 1..sent.sequence)?;
                *mark = sent.sequence;
            }
        }
        for (token, sent) in self.attempts().filter(|(_, sent)| sent.space == space && sent.acked) {
            if !is_there[token.0] && !self.may_be_gone(token) {
                wrong!(Kept, "{token:?} (sequence {}) was acked and is lost", sent.sequence);
            }
        }
        for (id, known) in self.sessions.iter().filter(|(_, known)| known.space == space) {
            let recovered = told.get(id).copied().unwrap_or(0);
            if recovered < known.mark {
                wrong!(Kept, "a session was told {}, and {recovered} were recovered", known.mark);
            }
        }
        if generations < self.snapshot_min(space) {
            let snapshot = self.snapshot_min(space);
            wrong!(
                Kept,
                "{generations} were recovered in space {space}, after a snapshot of {snapshot}"
            );
        }
        Ok(())
    }

    /// These sequences of a session are missing between two that are there.
    fn check_missing(&self, session: SessionId, missing: Range<u64>) -> Result<(), Wrong> {
        for sequence in missing {
            let sent = self.sessions[&session].attempts.get(&sequence);
            let mut sent = sent.into_iter().flatten();
            if !sent.any(|token| self.may_be_gone(*token)) {
                wrong!(Order, "sequence {sequence} is missing before one that is there");
            }
        }
        Ok(())
    }
}
