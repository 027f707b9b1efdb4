//! What crosses between a connection's core and a shard: a closed set of requests and replies.
//!
//! The connection's core has done all work that needs no ownership (validated, quantised, encoded, checksummed);
//! the shard only appends, inserts and searches. Each variant says what its loss would mean.

use crate::attributes::{Attributes, Filter};
use crate::histogram::Histogram;
use crate::ids::{Generation, SessionEpoch, SessionId, SpaceKey, StripeKey, Time};
use crate::log::record::Body;
use crate::quality::UpkeepStatus;
use crate::record_cache::RecordCacheStatus;
use crate::settings::SpaceSettings;
use crate::vector::codes::Codes;

/// Where replies go. The engine only hands it back; the runtime packs core and port into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(pub u64);

/// What a connection's core knows of a space, so as to validate and encode for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceDescription {
    /// The space's key.
    pub key: SpaceKey,
    /// Its settings.
    pub settings: SpaceSettings,
}

/// What to do where the space to be made is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfExists {
    /// Take it as it is (a first init or Remember).
    Take,
    /// Refuse unless its settings are the same (an explicit creation).
    MustBeSame,
}

/// Priority lane of an observation. Order holds within a session, whatever its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Refused only when the shard is full.
    High,
    /// Refused from 90 % of the shard's capacity.
    Normal,
    /// Refused from 80 %.
    Low,
}

impl Lane {
    /// All lanes, by [`Lane::index`].
    pub const ALL: [Lane; 3] = [Lane::High, Lane::Normal, Lane::Low];

    /// Where an array by lane holds this one's entry.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// How full a shard is. A state is entered at its threshold and left ten points below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Below 50 % of the capacity.
    #[default]
    Normal,
    /// From 50 %.
    Warning,
    /// From 80 %: clients are asked to slow down.
    Critical,
    /// From 90 %.
    Overloaded,
}

impl Level {
    /// Where an array by level holds this one's entry.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// One observation on its way into a stripe. Takes one credit of that and of its lane.
#[derive(Clone, Debug)]
pub struct Append {
    /// The stripe that owns it.
    pub stripe: StripeKey,
    /// The session, or `SessionId::NONE` (then `sequence` is a number the caller knows it by, no session's).
    pub session: SessionId,
    /// The attachment of the session that sends it; an older one is refused with `Refusal::Fenced`.
    pub epoch: SessionEpoch,
    /// Its number in the session, rising within a stripe (without gaps over all stripes).
    pub sequence: u64,
    /// `FolderSecret::memory_hash` of its id.
    pub memory_hash: u64,
    /// When its last byte was received.
    pub received_at: Time,
    /// The lane whose credit it uses.
    pub lane: Lane,
    /// Its record's body.
    pub body: Body,
    /// Its quantised vector.
    pub codes: Codes,
    /// What recalls can filter it by.
    pub attributes: Attributes,
}

/// What results are to be near to.
#[derive(Clone, Debug)]
pub enum Cue {
    /// A vector; what is most like it comes first.
    Like {
        /// As received, for cosine scaled to unit length; for exact re-ranking.
        vector: Box<[f32]>,
        /// The same, quantised.
        codes: Codes,
    },
    /// The present; the newest comes first, by when it happened. All have the same similarity, 1.
    Newest,
}

/// A query. Loss: the caller waits for its deadline.
#[derive(Clone, Debug)]
pub struct Recall {
    /// The stripe asked.
    pub stripe: StripeKey,
    /// What it begins with.
    pub cue: Cue,
    /// How many results at most, ≤ `limits::RECALL_RESULTS_MAX`.
    pub count: u32,
    /// Search width; 0 means the one that holds the stripe's recall.
    pub width: u32,
    /// Leave out what is not yet durable.
    pub isolation: Isolation,
    /// Leave out what was not yet durable at this time; none: what is not now.
    pub as_of: Option<Time>,
    /// Results below this similarity are left out; it is measured as [`Hit::similarity`] is.
    pub similarity_min: f32,
    /// What else results must be; none: anything.
    pub filter: Option<Box<Filter>>,
}

/// A memory is to be forgotten: all observations of its id that the shard was given before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forget {
    /// The stripe that owns it.
    pub stripe: StripeKey,
    /// `FolderSecret::memory_hash` of its id.
    pub memory_hash: u64,
    /// Its id.
    pub id: Box<str>,
    /// For good, or so that it is kept.
    pub mode: ForgetMode,
}

/// What is left of a memory that is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ForgetMode {
    /// Its records, which no recall gives.
    Suppress,
    /// Nothing, once a compaction has come by.
    Delete,
}

/// Which events of a stripe a subscriber wants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interest {
    /// That observations became durable.
    pub stored: bool,
    /// That recalls were answered.
    pub recalled: bool,
    /// Events of less importance are left out.
    pub importance_min: f32,
}

/// Something that happened in a stripe.
#[derive(Clone, Debug, PartialEq)]
pub struct StripeEvent {
    /// When.
    pub at: Time,
    /// How important its memory is, as its observer said; of a recall, the greatest of its results, and 0 without any.
    pub importance: f32,
    /// What.
    pub happened: Happened,
}

/// What happens in a stripe.
#[derive(Clone, Debug, PartialEq)]
pub enum Happened {
    /// An observation became durable.
    Stored {
        /// Its memory's id.
        id: Box<str>,
        /// Its generation.
        generation: Generation,
    },
    /// A recall was answered.
    Recalled {
        /// Results of this stripe.
        results: u32,
        /// Id of the best of them.
        best: Option<Box<str>>,
    },
}

/// Which rows a recall may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Only what was durable when the recall began.
    Durable,
    /// Also what was received but is not yet durable, marked.
    InFlight,
}

/// Whether a session is begun or taken up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenIntent {
    /// A new session, whose id the caller drew.
    Begin,
    /// An earlier one: fences its old connection, waits until all it handed over is durable or dropped.
    Resume,
}

/// How far a closing session is drained before the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// Until everything handed over is durable.
    Durable,
    /// Until it waits for nothing: it is in the graph, or in a tail that is short enough to be scanned.
    Indexed,
}

/// What a shard can be asked.
#[derive(Clone, Debug)]
pub enum Request {
    /// Makes those stripes of a space that this shard owns, durably, or takes what is there. Reply: `Reply::Space`.
    CreateSpace {
        /// What to make.
        settings: SpaceSettings,
        /// What to do where it exists.
        if_exists: IfExists,
    },
    /// Asks what a space is. Reply: `Reply::Space`, `Refusal::UnknownSpace` where it is not here.
    DescribeSpace(SpaceKey),
    /// Lists the shard's spaces. Reply: `Reply::Status`.
    Status,
    /// Begins or resumes a session in a stripe that exists. Reply: `Reply::Session`, once its record is durable.
    /// Replies about its appends go to the origin of this request from then on.
    OpenSession {
        /// The stripe.
        stripe: StripeKey,
        /// The session.
        session: SessionId,
        /// New or again.
        intent: OpenIntent,
    },
    /// Asks which space a session belongs to. Reply: `Reply::Space`, `Refusal::UnknownSession` where not here.
    FindSession(SessionId),
    /// Stores an observation. Reply: `Reply::Durable` or `Reply::Dropped`, to the origin of the append.
    Append(Append),
    /// Waits for all that the session handed over and detaches it. Reply: `Reply::Closed`.
    CloseSession {
        /// The stripe.
        stripe: StripeKey,
        /// The session.
        session: SessionId,
        /// The attachment that closes; an older one gets `Refusal::Fenced`.
        epoch: SessionEpoch,
        /// How far to drain.
        drain: Drain,
    },
    /// The session's connection has gone; it stays resumable. No reply. Loss: fenced at the next resume anyway.
    DetachSession {
        /// The stripe.
        stripe: StripeKey,
        /// The session.
        session: SessionId,
        /// The attachment that ended.
        epoch: SessionEpoch,
    },
    /// Waits until all that arrived in a stripe, which is here, waits for nothing: it is in the graph, or in a tail that is
    /// short enough to be scanned. Reply: `Reply::Placed`. Loss: the caller never hears that its observations are indexed.
    AwaitPlaced(StripeKey),
    /// Searches. Reply: `Reply::Recalled`.
    Recall(Recall),
    /// Nobody waits any more for the recalls that this origin asked for: they end where they are. No reply. Loss: they are
    /// answered in vain.
    AbandonRecalls,
    /// Forgets a memory. Reply: `Reply::Forgotten`, once that is durable. Loss: the caller waits for its deadline.
    Forget(Forget),
    /// Wants to hear what happens in a stripe from now on; instead of what this origin wanted of it before. Reply:
    /// `Reply::Subscribed`, then `Reply::Event` for each, as long as there is room. Loss: the caller waits for its deadline.
    Subscribe {
        /// The stripe.
        stripe: StripeKey,
        /// Which events.
        interest: Interest,
        /// How many of them the subscriber has room for.
        room: u32,
    },
    /// A subscriber has room for more events. Where it missed some, the reply is `Reply::EventsMissed`. Loss: it hears less.
    MakeRoom {
        /// The stripe.
        stripe: StripeKey,
        /// For how many.
        events: u32,
    },
    /// The subscriber has gone. No reply. Loss: it is told until its room is used up.
    Unsubscribe(StripeKey),
    /// Asks for credits of a stripe and lane, for the asking core. Reply: `Reply::Credit`, at once.
    Credit {
        /// The stripe.
        stripe: StripeKey,
        /// The lane.
        lane: Lane,
        /// How many would be welcome.
        wanted: u32,
    },
    /// Gives unused credits back. No reply. Loss: the shard's capacity shrinks by as many, so the runtime never drops it.
    ReturnCredit {
        /// The stripe that they are of.
        stripe: StripeKey,
        /// How many.
        count: u32,
    },
    /// Asks how full the shard is. Reply: `Reply::Load`, at once. Loss: the asking core takes it to be as it was.
    Load,
}

/// What a shard answers. Each goes to one origin.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // statuses are rare, and replies are not kept
pub enum Reply {
    /// The space, and whether this request made it.
    Space(Result<(SpaceDescription, Made), Refusal>),
    /// The shard's spaces and its load.
    Status(ShardStatus),
    /// The session is open.
    Session(Result<SessionOpened, Refusal>),
    /// The observations `first..=last` of the session (of the append's own sequence, without a session) are durable.
    /// Consecutive ones of one origin and commit are told together.
    Durable {
        /// The session.
        session: SessionId,
        /// First sequence.
        first: u64,
        /// Last sequence.
        last: u64,
        /// When they were committed; never falls within a shard. None where acks mean that they were written, and a sync is
        /// still to come.
        committed_at: Option<Time>,
    },
    /// The observations `first..=last` will never be durable. Except for `Refusal::Fenced` their session is fenced with
    /// them and may be resumed at its durable mark.
    Dropped {
        /// The session.
        session: SessionId,
        /// First sequence.
        first: u64,
        /// Last sequence.
        last: u64,
        /// Why.
        refusal: Refusal,
    },
    /// Another connection took the session over. Sent to the origin that had opened it.
    Fenced {
        /// The session.
        session: SessionId,
    },
    /// The session is drained and detached; its last durable sequence in this stripe.
    Closed(Result<u64, Refusal>),
    /// All that had arrived in the stripe when it was asked for waits for nothing, or will never be durable.
    Placed(StripeKey),
    /// The recall's results.
    Recalled(Result<Recalled, Refusal>),
    /// How many memories are forgotten by this, one or none: from now on no recall gives it.
    Forgotten(Result<u32, Refusal>),
    /// From now on events of the stripe are told.
    Subscribed(Result<(), Refusal>),
    /// Something happened in the stripe; takes one of the subscriber's room.
    Event(StripeKey, StripeEvent),
    /// Between the events before and those after this, so many were not told for want of room.
    EventsMissed(u64),
    /// Credits granted, perhaps none.
    Credit {
        /// The stripe.
        stripe: StripeKey,
        /// The lane.
        lane: Lane,
        /// How many were granted.
        granted: u32,
        /// The shard's load at that moment; where nothing was granted, it says when to come back.
        pressure: Pressure,
    },
    /// The shard's load at that moment.
    Load(Pressure),
}

/// Whether a request made what it answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// By this request.
    Now,
    /// It was there before.
    Before,
}

/// A session as it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOpened {
    /// The session.
    pub session: SessionId,
    /// This attachment.
    pub epoch: SessionEpoch,
    /// The last sequence that is durable in this stripe; 0 for a new session.
    pub durable_sequence: u64,
    /// The space it belongs to.
    pub space: SpaceDescription,
}

/// A shard's load, as admission sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pressure {
    /// Admitted and still waiting: for the disk, or for the graph behind a tail that is as long as may be.
    pub depth: u32,
    /// The most that may be.
    pub capacity: u32,
    /// How full that makes it.
    pub level: Level,
    /// What each session should keep to from [`Level::Critical`] on, in observations a second: its share of those that
    /// cease to wait. 0 below.
    pub preferred_rate: u32,
    /// After how many microseconds a refused client should come back; 0 where nothing was refused.
    pub retry_after_micros: u64,
}

impl Pressure {
    /// After how many milliseconds a refused client should come back.
    pub fn retry_after_ms(&self) -> u32 {
        self.retry_after_micros.div_ceil(1_000).min(u64::from(u32::MAX)) as u32
    }
}

/// The results of one stripe, best first.
#[derive(Clone, Debug)]
pub struct Recalled {
    /// The results.
    pub hits: Vec<Hit>,
    /// The stripe's durable generation when the recall began.
    pub snapshot: Generation,
    /// Distances computed.
    pub distances: u32,
    /// Rows of the stripe that the recall could see.
    pub rows: u32,
    /// Candidates that were left out because their record could not be read back.
    pub unreadable: u32,
}

/// One result.
#[derive(Clone, Debug)]
pub struct Hit {
    /// Exact similarity to the cue, from the stored vector, by the space's metric: the cosine (−1…1), the dot product, or
    /// less the square of the distance. Larger is nearer.
    pub similarity: f32,
    /// Whether it was durable at the snapshot.
    pub durability: Durability,
    /// When it was received.
    pub received_at: Time,
    /// When it was committed; where in flight, when it was received.
    pub committed_at: Time,
    /// Its generation.
    pub generation: Generation,
    /// The body of its record, to be read with `log::record::decode_body`.
    pub body: Vec<u8>,
}

/// Whether a result would survive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On disk.
    Durable,
    /// Received, not yet on disk.
    InFlight,
}

/// What a shard has and does, for lists and metrics. Counts begin at zero with each run.
#[derive(Clone, Debug, Default)]
pub struct ShardStatus {
    /// Its stripes.
    pub stripes: Vec<StripeStatus>,
    /// Admitted and still waiting, all stripes together: for the disk, or for the graph behind a tail that is as long as
    /// may be.
    pub depth: u32,
    /// The same by lane; rows replayed at the start belong to none.
    pub depth_by_lane: [u32; 3],
    /// The most that may be.
    pub capacity: u32,
    /// Credits that connection cores hold.
    pub credits: u32,
    /// How full it is.
    pub level: Level,
    /// How often each level was entered, by [`Level::index`].
    pub level_changes: [u64; 4],
    /// Sessions attached to a connection.
    pub sessions_attached: u32,
    /// Sessions known, attached or resumable.
    pub sessions: u32,
    /// Bytes of records that wait for the disk.
    pub pending_bytes: u64,
    /// Commits that reached the disk.
    pub commits: u64,
    /// Commits that were given up because the disk was full.
    pub commit_failures_full: u64,
    /// Commits that were given up for another fault.
    pub commit_failures_other: u64,
    /// Records that could not be read back.
    pub unreadable: u64,
    /// Bytes of records that recalls under way hold.
    pub recalls_bytes: u64,
    /// Recalls that were given up by who asked, and ended before they were answered.
    pub recalls_abandoned: u64,
    /// Records that recalls asked for, and those that are kept for them.
    pub record_cache: Box<RecordCacheStatus>,
    /// Checkpoints that were written.
    pub checkpoints: u64,
    /// Bytes of them.
    pub checkpoint_bytes: u64,
    /// Checkpoints that could not be written.
    pub checkpoint_failures: u64,
    /// How much of its log counts. Apart, for replies are moved about.
    pub log: Box<LogStatus>,
    /// Insertion batches, of rows that waited.
    pub insert_batches: u64,
    /// Rows in each insertion batch.
    pub insert_batch_rows: Histogram,
    /// Microseconds that rows waited, by lane.
    pub queue_wait_micros: [Histogram; 3],
    /// Distances computed, for recalls, insertions and upkeep.
    pub distances: u64,
}

/// How much of a shard's log counts, and what was done about the rest in this run.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogStatus {
    /// Bytes of the log's files, as they are reserved.
    pub file_bytes: u64,
    /// Bytes of the records of rows that there are, in whichever log.
    pub live_bytes: u64,
    /// Segments that were compacted.
    pub compacted_segments: u64,
    /// Bytes of records that were written for it.
    pub compaction_bytes: u64,
}

/// One stripe, for lists and metrics. Counts begin at zero with each run.
#[derive(Clone, Debug)]
pub struct StripeStatus {
    /// The space.
    pub space: SpaceDescription,
    /// Which stripe.
    pub stripe: u16,
    /// Its durable generation: observations durable since the space was made.
    pub generation: Generation,
    /// Rows that a recall can find.
    pub rows: u64,
    /// Durable rows that wait for nothing, replaced ones included: they are in the graph, or in a tail that is short enough
    /// to be scanned.
    pub indexed: u64,
    /// Those of them that are in the graph.
    pub linked: u64,
    /// Observations that became durable, by lane.
    pub durable_observations: [u64; 3],
    /// Microseconds from received to durable.
    pub durable_micros: Histogram,
    /// Recalls answered.
    pub recalls: u64,
    /// How good the recalls are, and what was done for it.
    pub upkeep: UpkeepStatus,
    /// What it holds of the shard's capacity: credits, and rows that wait.
    pub held: u32,
}

/// Why a shard will not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No such space on this shard.
    UnknownSpace,
    /// No such session on this shard, or it has expired.
    UnknownSession,
    /// The space exists with other settings.
    SpaceDiffers(SpaceDescription),
    /// A name whose key is another space's.
    KeyTaken,
    /// The session belongs to another space.
    WrongSpace,
    /// A later connection has taken the session over.
    Fenced,
    /// Vectors of this space have another length.
    WrongDimension {
        /// The space's dimension.
        expected: u16,
    },
    /// Nothing can be stored until the disk has room again.
    DiskFull,
    /// So many recalls wait that a further one would have no chance soon.
    TooManyRecalls,
    /// The results of a recall, or what had to be looked at for them, take more bytes than one may.
    RecallTooLarge,
    /// So many memories are being forgotten that a further one has to wait.
    TooManyForgets,
    /// So many sessions are kept that no further one can be.
    TooManySessions,
    /// So many subscribers hear what happens in the stripe that no further one can.
    TooManySubscribers,
    /// What could be found at that time is not known any more; it is from this time on.
    TooLongAgo {
        /// The oldest time that can be asked for.
        oldest: Time,
    },
    /// The shard failed; resume later.
    Unavailable,
}
