//! What the log was given, until it answers.

use crate::ids::{Generation, Location, Row, SessionId, Slot, StripeKey};
use crate::log::log::Purpose;
use crate::message::{Lane, Origin};
use crate::session::SessionKey;
use crate::shard::forgotten::ForgetNumber;

/// A record that the log was given and has not answered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pending {
    /// An observation and who sent it.
    Observation(Observed, Sender),
    /// A stripe that is being made.
    Space(StripeKey),
    /// A session that is being begun.
    Session(SessionKey),
    /// What a compaction carries on.
    Carried(JobNumber, Carried),
    /// That a memory is forgotten: the next one that waits for it.
    Forget,
    /// A replayed record on its way to the log again.
    Replayed(Replayed),
}

impl Pending {
    /// What its record is for.
    pub(super) fn purpose(&self) -> Purpose {
        match self {
            Pending::Observation(..) | Pending::Space(_) | Pending::Session(_) => Purpose::Storing,
            Pending::Carried(..) | Pending::Forget | Pending::Replayed(_) => Purpose::Keeping,
        }
    }
}

/// What a replayed record is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Replayed {
    /// An observation; its sender is gone.
    Observation(Observed),
    /// A stripe.
    Space(StripeKey),
    /// A session.
    Session(SessionKey),
    /// That a memory is forgotten.
    Forget(ForgetNumber),
    /// The copy of a row's record, and where that lies.
    Copy(Carrying, Location),
}

/// Names one compaction among those of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JobNumber(pub(super) u64);

/// What a compaction writes anew before it empties a segment.
#[derive(Clone, Copy, Debug)]
pub(super) enum Carried {
    /// The copy of a row's record, and where that lay.
    Copy(Carrying, Location),
    /// That a row is suppressed.
    Suppression(Carrying),
    /// The durable mark of a session.
    Mark(SessionKey, u64),
    /// What a space is made with.
    Space(Slot),
    /// A part of the list of what is gone.
    Gone(Slot),
}

/// A row, as long as it has this generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Carrying {
    pub(super) slot: Slot,
    pub(super) row: Row,
    pub(super) generation: Generation,
}

/// An observation in its stripe and its session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Observed {
    pub(super) slot: Slot,
    pub(super) row: Row,
    pub(super) session: SessionId,
    pub(super) sequence: u64,
}

/// Who sent an observation, and by which lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender {
    pub(super) origin: Origin,
    pub(super) lane: Lane,
}
