//! What is said and what is told, whatever the wire.

use engram_proto::engram::v1::Episode;
use tonic::Code;

/// What a client says.
#[derive(Clone, Debug)]
pub(super) enum Said {
    /// Begins a session, or resumes the one that is named.
    Init { space: String, session: String },
    /// Observes; of the session that was opened, unless another is named.
    Observe { session: Option<String>, sequence: u64, episode: Box<Episode> },
    /// Flow control by the action's name.
    Flow(&'static str),
    /// Recalls up to ten memories.
    Recall(Vec<f32>),
    /// Recalls what was at this place: what is most like the vector or, without one, the newest.
    RecallAt { place: &'static str, vector: Option<Vec<f32>> },
    /// Wants to hear of events of these types.
    Subscribe(&'static [&'static str]),
    /// Ends the session.
    Close { drain: bool },
}

/// What it is told.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Told {
    /// A session is open.
    Opened { session: String, initial: u64 },
    /// An observation is durable.
    Accepted { sequence: u64, id: String },
    /// This was refused (0: no observation), and the line lives.
    Refused { sequence: u64, words: String },
    /// Flow control was done.
    Flow { paused: bool },
    /// Events are told from now on.
    Subscribed,
    /// Something happened to a memory.
    Event { kind: &'static str, id: String },
    /// All results of a recall, by their ids.
    Found(Vec<String>),
    /// The session is over; its final sequence.
    Closed(u64),
    /// The line has ended. WebSocket's close codes are told as the codes of gRPC that mean the same.
    Ended { code: Code, words: String },
}
