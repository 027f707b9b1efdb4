//! What goes into a session and what comes out of it.

use std::rc::Rc;

use engram_shards::ids::Time;
use engram_shards::message::{Lane, Level, Pressure, StripeEvent};

use crate::content::ContentFault;
use crate::failure::Failure;
use crate::recall::{Page, Query, Summary};

/// How acks are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AckMode {
    /// One for each observation.
    #[default]
    Each,
    /// One for a run of them.
    Cumulative,
}

/// What `init` asks for.
#[derive(Clone, Debug)]
pub struct Init {
    /// The space; made if it is not there. May be empty with `resume`.
    pub space: String,
    /// The id of an earlier session, as text; empty for a new one.
    pub resume: String,
    /// The lane of its observations.
    pub lane: Lane,
    /// How acks are told.
    pub ack_mode: AckMode,
    /// How many observations one ack stands for at most; 0: as many as there are. In [`AckMode::Each`] it is one.
    pub batch_max: u32,
    /// How many results a page has, and how many events may wait, at most; 0: as many as the server chooses.
    pub buffer_max: u32,
    /// Whether a second ack is told once an observation waits for nothing.
    pub indexed_acks: bool,
    /// Whether the owners' load is told when it changes.
    pub load_statuses: bool,
}

/// How loaded the owners of a session's space are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Load {
    /// Observations may come as they do.
    #[default]
    Active,
    /// They should come more slowly.
    Backpressure,
    /// Most will be refused.
    Overloaded,
}

impl From<Level> for Load {
    fn from(level: Level) -> Load {
        match level {
            Level::Normal | Level::Warning => Load::Active,
            Level::Critical => Load::Backpressure,
            Level::Overloaded => Load::Overloaded,
        }
    }
}

/// A recall on a session's stream.
#[derive(Clone, Debug)]
pub struct Recall<'a> {
    /// Comes back with each answer.
    pub head: RecallHead,
    /// What is asked.
    pub query: Query<'a>,
    /// Results in a page; 0: the server chooses.
    pub page_results: u32,
}

/// What comes back with each answer to a recall, as the client sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecallHead {
    /// What the client knows it by.
    pub request_id: Rc<str>,
    /// Whether results are to carry their vectors.
    pub include_embeddings: bool,
}

/// What a session has to tell its client, in the order in which it must be told.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// `first..=last` are durable (`first == last` in `AckMode::Each`).
    Accepted {
        /// First sequence.
        first: u64,
        /// Last sequence.
        last: u64,
        /// Id of the last one's memory.
        memory_id: String,
        /// When they were committed; for a repeat, a time by which it had been. None where an ack means that they were
        /// written.
        committed_at: Option<Time>,
    },
    /// `first..=last`, which were accepted, wait for nothing: they are in the graph, or in a tail that is short enough to be
    /// scanned.
    Indexed {
        /// First sequence.
        first: u64,
        /// Last sequence.
        last: u64,
        /// Id of the last one's memory.
        memory_id: String,
    },
    /// The load of the space's owners has changed; that of the most loaded one.
    Load {
        /// What it is now.
        load: Load,
        /// And exactly.
        pressure: Pressure,
    },
    /// This observation is refused; its number is not consumed.
    Refused {
        /// Its sequence.
        sequence: u64,
        /// Its memory id, as the client gave it (perhaps empty).
        memory_id: String,
        /// Why: status and text.
        why: Refused,
    },
    /// Some results of a recall.
    Page {
        /// Which.
        head: RecallHead,
        /// The results.
        page: Page,
        /// What is told of all of them.
        summary: Summary,
    },
    /// All results of a recall were told, if there were any.
    Recalled {
        /// Which.
        head: RecallHead,
        /// What is told of all of them.
        summary: Summary,
    },
    /// A recall found nothing out.
    RecallFailed {
        /// What the client knows it by.
        request_id: Rc<str>,
        /// Why.
        failure: Failure,
    },
    /// What happens in the space is told from now on.
    Subscribed {
        /// The number of the message that asked for it.
        number: u64,
        /// Whether it is withheld, because the client has paused.
        is_paused: bool,
    },
    /// Something happened in the space.
    Happened(StripeEvent),
    /// The client was too slow for so many events.
    EventsMissed(u64),
    /// No further events come, for this reason.
    SubscriptionEnded {
        /// The number of the message that asked for them.
        number: u64,
        /// Why.
        failure: Failure,
    },
    /// The session is over: taken over by another connection, or its shard failed. No further event comes.
    Ended(Failure),
    /// `close` is done: all is durable; the last sequence. No further event comes.
    Closed {
        /// The final sequence.
        last_sequence: u64,
    },
}

/// Why an observation was refused while its stream lives on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Bad content: the text of wire.md 2.3 and the field.
    Content {
        /// What is wrong.
        message: String,
        /// Which field.
        field: &'static str,
    },
    /// Its client has paused the session.
    Paused,
    /// A gap.
    Sequence {
        /// What a client reads.
        message: String,
    },
    /// The owner gives no credit now.
    Overloaded {
        /// What a client reads.
        message: String,
        /// When to come back.
        retry_after_ms: u32,
        /// The shard's load.
        depth: u32,
        /// Its capacity.
        capacity: u32,
    },
}

impl From<ContentFault> for Refused {
    fn from(fault: ContentFault) -> Refused {
        let ContentFault { message, field } = fault;
        Refused::Content { message, field }
    }
}
