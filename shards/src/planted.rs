//! Bugs planted on purpose, one at a time, so that it can be seen that the simulator's checkers find each.
//!
//! They are there only in a build with the feature `planted`, which nothing but that test asks for. In any other,
//! `planted!` is the literal `false`.

/// Whether this bug is planted.
#[cfg(feature = "planted")]
macro_rules! planted {
    ($bug:ident) => {
        $crate::planted::is_on($crate::planted::Planted::$bug)
    };
}
#[cfg(not(feature = "planted"))]
macro_rules! planted {
    ($bug:ident) => {
        false
    };
}

#[cfg(feature = "planted")]
pub(crate) use switch::is_on;
#[cfg(feature = "planted")]
pub use switch::{Planted, plant};

#[cfg(feature = "planted")]
mod switch {
    use std::cell::Cell;

    /// Each bug and, as its documentation and as text, what it does.
    macro_rules! bugs {
        ($($bug:ident: $what:literal,)+) => {
            /// A bug in the engine.
            #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
            pub enum Planted {
                $(#[doc = $what] $bug,)+
            }

            impl Planted {
                /// All of them.
                pub const ALL: &[Planted] = &[$(Planted::$bug,)+];

                /// What it does.
                pub fn what(self) -> &'static str {
                    match self {
                        $(Planted::$bug => $what,)+
                    }
                }
            }
        };
    }

    bugs! {
        AckBeforeSync: "a commit counts as durable when it is handed to the disk",
        SyncFailureIgnored: "a commit that failed counts as durable",
        SyncRetriedInPlace: "a failed sync is called again on the same segment, and what that says is believed",
        SectorShared: "a commit rewrites the last sector of the acked one before it",
        RecordsSwapped: "two records of a session that follow each other are written in each other's place",
        GenerationSkipped: "a generation is left out where a batch ends",
        BodyCrcSkipped: "the checksum of a record's body is not compared",
        TailCutTooEarly: "with a torn batch, the whole one before it is cut",
        OtherLifeTaken: "a batch of another life of the segment's file is taken for one of this life",
        EndUnstated: "a new segment states that there was none before it",
        CommitTimesRestart: "commit times of a restarted log begin with its clock",
        DamageCut: "what is damaged is cut like a torn batch, synced or not",
        MarkForgotten: "a replay takes rows in and leaves out their sessions' marks",
        FenceForgotten: "an attachment that was taken over may go on handing over",
        OpenedBeforeDurable: "a session is told to be open before its record is durable",
        CloseUntold: "whoever closes a session is not told that it is closed",
        UnprovenLost: "rows that nobody vouches for are left out at a replay",
        TailForgotten: "a recall that searched the graph leaves out the rows that are not in it",
        InFlightRecalled: "a recall of durable rows sees those in flight",
        ReplacedRecalled: "a recall gives every row of an id",
        ReplacementForgotten: "a replay does not look for rows that replace others",
        HashTrusted: "rows of one memory hash replace each other without a look at their ids",
        ForgottenByHash: "what has the hash of a forgotten memory is forgotten without a look at its id",
        ForgetForgotten: "a replay does not look for what was forgotten",
        EmptiedBeforeCopied: "a segment is emptied before what counts in it is durable elsewhere",
        GoneForgotten: "a compaction gives up tombstones and replacements, and lists nothing that is gone",
        MarkNotCarried: "a compaction gives up the records that tell marks, and writes none",
        SuppressionNotCarried: "a compaction gives up suppressions, and carries none",
        CompactionForgotten: "no segment is worth a compaction",
        SharesForgotten: "no segment that was made beside another number of shards is worth a compaction",
        RoomAwaited: "on a full disk, what would give room back is not written either",
        CapacityExceeded: "twice as many credits are granted as there is room",
        CreditLost: "the credit of a refused observation is not given back",
        HoldingForgotten: "credits that come back stay counted to their stripe",
        BackLinksDropped: "no link leads back to a new row",
        CheckpointUnsynced: "a checkpoint takes its place before it is synced",
        CoveredTooFar: "a checkpoint says that it covers the rest of its segment",
        BlockCrcSkipped: "the checksum of a checkpoint's block is not compared",
        GoneRowLinked: "rows that link to a removed one keep that link when it goes",
        CheckpointFailureIgnored: "a step of a checkpoint that failed counts as done",
        LoadingUnnoticed: "a space is made anew while its checkpoint is being read",
        RecordMistaken: "a record that is kept is known by its segment, not by its place in it",
        EndUnchecked: "a start does not look whether its logs go as far as checkpoints cover them",
    }

    thread_local! {
        static PLANTED: Cell<Option<Planted>> = const { Cell::new(None) };
    }

    /// Plants this bug, or none, in all shards that this thread runs from now on.
    pub fn plant(bug: Option<Planted>) {
        PLANTED.set(bug);
    }

    /// Whether this bug is planted.
    pub(crate) fn is_on(bug: Planted) -> bool {
        PLANTED.get() == Some(bug)
    }
}
