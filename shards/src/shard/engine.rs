//! The shard's parts, its inputs and its outputs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use crate::admission::{Admission, Wish};
use crate::graph::{Scratch, Seeking};
use crate::histogram::{BATCH_ROWS, Histogram};
use crate::ids::{SessionId, Slot, StripeKey, Time};
use crate::limits::{
    GRAPH_WIDTH_INSERT, PRESSURE_ROWS_MAX, SLICE_DISTANCES_MIN, WORK_DISTANCES_MAX,
};
use crate::log::log::{IoFault, Log, LogIo, Ordinal};
use crate::log::record::{Body, RecordHead, record_bytes};
use crate::message::{Lane, Level, Origin, Reply, Request};
use crate::recall::Progress;
use crate::record_cache::RecordCache;
use crate::session::{SessionKey, Sessions};
use crate::shard::awaited::Awaited;
use crate::shard::checkpoints::Checkpoints;
use crate::shard::compaction::Compacting;
use crate::shard::forgotten::Forgetting;
use crate::shard::io::{Io, IoOutput, IoTicket, Output, ShardConfig};
use crate::shard::making::Making;
use crate::shard::pending::Pending;
use crate::shard::subscribers::Subscribers;
use crate::shard::turns::{Asked, Recalls, Restless, Rotation};
use crate::shard::unproven::Unproven;
use crate::shard::wanted::{Replacing, Wanted};
use crate::space::{LiveBytes, Placed, Rows, Stripe};

/// How often sessions that can no longer be resumed are forgotten.
const EXPIRE_MICROS: u64 = 600 * 1_000_000;

/// How long a count of the sessions that are attached is good enough to share by.
const SHARING_MICROS: u64 = 100_000;

/// Which stripes a shard owns.
pub(super) type Owns = Box<dyn Fn(StripeKey) -> bool>;

/// The engine of one core.
pub struct Shard {
    pub(super) config: ShardConfig,
    pub(super) owns: Owns,
    /// The latest time that was told; never falls.
    pub(super) now: Time,
    pub(super) log: Log,
    /// The log's I/O in flight.
    log_ticket: Option<IoTicket>,
    /// What the log has not answered yet; the first is `pending_first`.
    pub(super) pending: VecDeque<Pending>,
    pub(super) pending_first: Ordinal,
    /// Before this, senders were told although it is not durable yet.
    pub(super) told: Ordinal,
    pub(super) unproven: Unproven,
    pub(super) stripes: Vec<Stripe>,
    pub(super) slots: BTreeMap<StripeKey, Slot>,
    pub(super) making: Vec<Making>,
    pub(super) sessions: Sessions,
    /// Sessions that are durable and wait until they are indexed too.
    pub(super) waiting_for_index: Vec<SessionKey>,
    expire_at: Time,
    pub(super) admission: Admission,
    sharing: Sharing,
    pub(super) awaited: Awaited,
    pub(super) subscribers: Subscribers,
    pub(super) recalls: Recalls,
    pub(super) rotation: Rotation,
    pub(super) restless: Restless,
    pub(super) checkpoints: Checkpoints,
    /// Stripes that are not loaded yet.
    pub(super) loading: BTreeSet<StripeKey>,
    pub(super) replacing: Replacing,
    pub(super) forgetting: Forgetting,
    pub(super) compacting: Compacting,
    pub(super) reads: BTreeMap<IoTicket, Wanted>,
    /// Records that recalls read.
    pub(super) record_cache: RecordCache,
    pub(super) next_ticket: u64,
    pub(super) outputs: VecDeque<Output>,
    scratch: Scratch,
    /// The search of the recall whose turn it is.
    seeking: Seeking,
    pub(super) tally: Tally,
}

/// How many sessions share what the shard takes, as of a moment ago.
#[derive(Debug, Default)]
struct Sharing {
    sessions: u32,
    until: Time,
}

/// What the shard counts.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) commits: u64,
    pub(super) commit_failures_full: u64,
    pub(super) commit_failures_other: u64,
    pub(super) unreadable: u64,
    pub(super) recalls_abandoned: u64,
    pub(super) checkpoints: u64,
    pub(super) checkpoint_bytes: u64,
    pub(super) checkpoint_failures: u64,
    pub(super) compacted_segments: u64,
    pub(super) compaction_bytes: u64,
    pub(super) insert_batches: u64,
    pub(super) insert_batch_rows: Histogram,
    pub(super) queue_wait_micros: [Histogram; 3],
    pub(super) distances: u64,
}

impl Tally {
    fn new() -> Tally {
        Tally {
            commits: 0,
            commit_failures_full: 0,
            commit_failures_other: 0,
            unreadable: 0,
            recalls_abandoned: 0,
            checkpoints: 0,
            checkpoint_bytes: 0,
            checkpoint_failures: 0,
            compacted_segments: 0,
            compaction_bytes: 0,
            insert_batches: 0,
            insert_batch_rows: Histogram::new(BATCH_ROWS),
            queue_wait_micros: Default::default(),
            distances: 0,
        }
    }
}

impl Shard {
    /// A shard without stripes, at the open end of its log.
    pub(super) fn new(config: ShardConfig, owns: Owns, log: Log, now: Time) -> Shard {
        Shard {
            admission: Admission::new(config.capacity),
            record_cache: RecordCache::new(config.record_cache_bytes),
            config,
            owns,
            now,
            log,
            log_ticket: None,
            pending: VecDeque::new(),
            pending_first: Ordinal(0),
            told: Ordinal(0),
            unproven: Unproven::default(),
            stripes: Vec::new(),
            slots: BTreeMap::new(),
            making: Vec::new(),
            sessions: Sessions::default(),
            waiting_for_index: Vec::new(),
            expire_at: now.after_micros(EXPIRE_MICROS),
            sharing: Sharing::default(),
            awaited: Awaited::default(),
            subscribers: Subscribers::default(),
            recalls: Recalls::default(),
            rotation: Rotation::default(),
            restless: Restless::default(),
            checkpoints: Checkpoints::default(),
            loading: BTreeSet::new(),
            replacing: Replacing::default(),
            forgetting: Forgetting::default(),
            compacting: Compacting::default(),
            reads: BTreeMap::new(),
            next_ticket: 0,
            outputs: VecDeque::new(),
            scratch: Scratch::default(),
            seeking: Seeking::default(),
            tally: Tally::new(),
        }
    }

    /// A request arrived.
    pub fn handle_request(&mut self, origin: Origin, request: Request, now: Time) {
        self.advance(now);
        match request {
            Request::CreateSpace { settings, if_exists } => {
                self.create_space(origin, settings, if_exists)
            }
            Request::DescribeSpace(space) => self.describe_space(origin, space),
            Request::Status => self.reply(origin, Reply::Status(self.status())),
            Request::OpenSession { stripe, session, intent } => {
                self.open_session(origin, SessionKey { session, stripe }, intent)
            }
            Request::FindSession(session) => self.find_session(origin, session),
            Request::Append(append) => self.append(origin, append),
            Request::CloseSession { stripe, session, epoch, drain } => {
                self.close_session(origin, SessionKey { session, stripe }, epoch, drain)
            }
            Request::DetachSession { stripe, session, epoch } => {
                self.detach_session(SessionKey { session, stripe }, epoch)
            }
            Request::AwaitPlaced(stripe) => self.await_placed(origin, stripe),
            Request::Recall(recall) => self.recall(origin, recall),
            Request::AbandonRecalls => self.abandon_recalls(origin),
            Request::Forget(forget) => self.forget(origin, forget),
            Request::Subscribe { stripe, interest, room } => {
                self.subscribe(origin, stripe, interest, room)
            }
            Request::MakeRoom { stripe, events } => self.make_room(origin, stripe, events),
            Request::Unsubscribe(stripe) => self.unsubscribe(origin, stripe),
            Request::Credit { stripe, lane, wanted } => self.credit(origin, stripe, lane, wanted),
            Request::ReturnCredit { stripe, count } => {
                let slot = self.slots.get(&stripe).expect("credits were granted where it was");
                self.admission.take_back(*slot, count);
            }
            Request::Load => {
                let sessions = self.sharing_sessions();
                self.reply(origin, Reply::Load(self.admission.pressure(sessions)));
            }
        }
    }

    /// An I/O ended.
    pub fn handle_io(&mut self, ticket: IoTicket, result: Result<IoOutput, IoFault>, now: Time) {
        self.advance(now);
        #[cfg(feature = "planted")]
        if self.mistakes_io(ticket, &result) {
            return;
        }
        if self.log_ticket == Some(ticket) {
            self.log_ticket = None;
            let outcome = self.log.handle_done(result.map(|_| ()));
            self.settle_commit(outcome);
            while let Some(outcome) = self.log.more() {
                self.settle_commit(outcome);
            }
            return self.compact();
        }
        if self.settle_shares(ticket, &result) || self.settle_emptying(ticket, &result) {
            return self.compact();
        }
        if self.settle_checkpoint_io(ticket, result.as_ref().map(|_| ()).map_err(|fault| *fault)) {
            return;
        }
        let wanted = self.reads.remove(&ticket).expect("an I/O ends once");
        let records = match result {
            Ok(IoOutput::Read(records)) => Ok(records),
            Ok(IoOutput::Done | IoOutput::Shares(_)) => panic!("a read gives records"),
            Err(fault) => Err(fault),
        };
        self.settle_read(wanted, records);
        self.compact();
    }

    /// The time has come that [`Shard::deadline`] named (earlier or later calls do no harm).
    pub fn handle_tick(&mut self, now: Time) {
        self.advance(now);
        if self.unproven.retry_at().is_some_and(|at| at <= self.now) {
            self.append_unproven();
        }
        if self.expire_at <= self.now {
            self.sessions.expire(self.now);
            self.expire_at = self.now.after_micros(EXPIRE_MICROS);
        }
        self.compact();
    }

    /// The server stops: what comes from now on is made durable without waiting for more, and stripes that a restart would
    /// replay much of get a checkpoint.
    pub fn drain(&mut self) {
        self.log.drain();
        self.compacting.drain();
        self.drain_checkpoints();
    }

    /// Whether no checkpoint is being written or due. Changes with `poll`, `handle_io`, `handle_tick` and `drain`.
    pub fn is_checkpointed(&self) -> bool {
        self.checkpoints.is_idle()
    }

    /// Whether all stripes were taken in that have a checkpoint. Until then, requests for the others are refused, and no
    /// segment may be removed.
    pub fn is_loaded(&self) -> bool {
        self.loading.is_empty()
    }

    /// Does about `distances` distances of waiting work: recalls and insertions in turn, so that neither starves the
    /// other; a step of a recall is the larger one. Where neither waits, it is the stripes' upkeep that goes on, with what is
    /// left of their tails first. Returns
    /// those spent; zero means that nothing is waiting.
    pub fn work(&mut self, distances: u32, now: Time) -> u32 {
        self.advance(now);
        let mut spent: u32 = 0;
        let mut inserted: u64 = 0;
        while spent < distances && self.has_work() {
            if !self.is_asked() {
                spent = spent.saturating_add(self.keep_up());
                continue;
            }
            spent = spent.saturating_add(self.step_recall());
            if let Some(cost) = self.insert_row() {
                spent = spent.saturating_add(cost);
                inserted += 1;
            }
        }
        if inserted > 0 {
            self.tally.insert_batches += 1;
            self.tally.insert_batch_rows.record(inserted);
            self.settle_indexed();
        }
        if self.awaits_readers() {
            self.compact();
        }
        self.tally.distances += u64::from(spent);
        spent
    }

    /// Whether what was replayed has become durable, or the disk would not take it yet (it is tried again, and the rest
    /// is served meanwhile). Until then recalls may miss what was acked. Changes with `handle_io`.
    pub fn is_settled(&self) -> bool {
        self.unproven.is_settled() && self.is_loaded()
    }

    /// Whether `work` would find something to do. Changes with any input and with `work` itself.
    pub fn has_work(&self) -> bool {
        self.is_asked() || !self.restless.is_empty()
    }

    /// Whether someone waits for what `work` would do: a recall, or rows behind a tail that is overlong. Changes as
    /// [`Shard::has_work`] does.
    pub fn is_asked(&self) -> bool {
        self.recalls.is_runnable() || !self.rotation.is_empty()
    }

    /// How much [`Shard::work`] is to do at once: less while few rows or none wait, so that whoever comes waits less; more under
    /// pressure, where what lies between two slices counts.
    pub fn slice_distances(&self) -> u32 {
        match self.admission.depth() {
            ..PRESSURE_ROWS_MAX => SLICE_DISTANCES_MIN,
            _ => WORK_DISTANCES_MAX,
        }
    }

    /// Whether a recall can go on. Changes as [`Shard::has_work`] does.
    pub fn is_recalled(&self) -> bool {
        self.recalls.is_runnable()
    }

    /// When `handle_tick` is to be called at the latest. Changes with any input and with `poll`.
    pub fn deadline(&self) -> Option<Time> {
        let log = match self.log_ticket {
            Some(_) => None,
            None => self.log.deadline(),
        };
        let expire = (!self.sessions.is_empty()).then_some(self.expire_at);
        let (checkpoint, compaction) = (self.checkpoints.deadline(), self.compaction_at());
        let all = [log, self.unproven.retry_at(), expire, checkpoint, compaction];
        all.into_iter().flatten().min()
    }

    /// The next output, to be called until there is none.
    pub fn poll(&mut self) -> Option<Output> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        // Asked for last, so that a commit takes all that came in one go; and then what no one waits for.
        self.poll_log().or_else(|| self.poll_checkpoint())
    }

    fn poll_log(&mut self) -> Option<Output> {
        if self.log_ticket.is_some() {
            return None;
        }
        if self.log.is_commit_due(self.now) {
            self.release_carried();
        }
        let io = match self.log.poll(self.now)? {
            LogIo::Keep { log, bytes_total } => Io::KeepSegment { log, bytes_total },
            LogIo::Create { segment, bytes_total, head } => {
                // The one before is written no more.
                self.compacting.consider(self.now);
                Io::CreateSegment { segment, bytes_total, head }
            }
            LogIo::Commit { segment, offset, bytes, sync } => {
                Io::Commit { segment, offset, bytes, sync }
            }
            LogIo::Sync { segment } => Io::Sync { segment },
        };
        let ticket = self.ticket();
        self.log_ticket = Some(ticket);
        if planted!(AckBeforeSync) && matches!(io, Io::Commit { .. }) {
            self.log_ticket = None;
            let outcome = self.log.handle_done(Ok(()));
            self.settle_commit(outcome);
        }
        Some(Output::Io(ticket, io))
    }

    /// Whether replayed records are not durable again yet, even if the disk is to blame: the strict form of
    /// [`Shard::is_settled`]. As long as it is so, recalls and marks may lack what was acked before the restart.
    pub fn has_unproven(&self) -> bool {
        !self.unproven.is_empty()
    }

    /// Checks what must hold of every stripe's graph, and which segments count how much; the text says what does not. Costs
    /// time: for tests and tools.
    pub fn check(&self) -> Result<(), String> {
        self.stripes.iter().try_for_each(Stripe::check)?;
        let mut live = LiveBytes::default();
        let rows = self.stripes.iter().map(Stripe::rows);
        rows.flat_map(Rows::all_stored).for_each(|location| live.keep(location));
        match live == *self.compacting.live() {
            true => Ok(()),
            false => {
                let counted = self.compacting.live();
                Err(format!("segments hold {live:?}, and {counted:?} is counted"))
            }
        }
    }

    /// Whether a planted bug takes the end of this I/O for something else.
    #[cfg(feature = "planted")]
    fn mistakes_io(&mut self, ticket: IoTicket, result: &Result<IoOutput, IoFault>) -> bool {
        if planted!(AckBeforeSync) {
            let is_other = self.reads.contains_key(&ticket) || self.compacting.awaits(ticket);
            return self.log_ticket != Some(ticket) && !is_other;
        }
        if planted!(SyncRetriedInPlace) && self.log_ticket == Some(ticket) && result.is_err() {
            let again = self.log.sync_again();
            let commit = again.map(|segment| Io::Commit {
                segment,
                offset: 0,
                bytes: Vec::new(),
                sync: true,
            });
            let is_again = commit.is_some();
            self.outputs.extend(commit.map(|io| Output::Io(ticket, io)));
            return is_again;
        }
        false
    }

    /// How many rows have the slot of an earlier one, all in all. For tests and tools.
    pub fn used_again(&self) -> u64 {
        let rows = self.stripes.iter().map(Stripe::rows);
        rows.map(|rows| rows.arrived() - u64::from(rows.slots())).sum()
    }

    fn advance(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    /// One step of the recall whose turn it is. Returns the distances that it took.
    fn step_recall(&mut self) -> u32 {
        let room = self.recalls.room();
        let Some((number, asked)) = self.recalls.current() else {
            return 0;
        };
        let stripe = &mut self.stripes[asked.slot.0];
        let log = &self.log;
        let scratch = (&mut self.seeking, &mut self.scratch);
        let pending = |ordinal| log.pending_body(ordinal).expect("the log has what is not durable");
        let (distances, progress) = asked.job.step(stripe.rows(), scratch, pending, room);
        match progress {
            Progress::More => self.recalls.settle(),
            Progress::Crowded(bytes) => {
                self.recalls.settle();
                self.recalls.crowd(bytes);
            }
            Progress::Refused(refusal) => {
                let Asked { origin, slot, job, .. } = self.recalls.end();
                self.stripes[slot.0].end_reading(job.into_reading());
                self.reply(origin, Reply::Recalled(Err(refusal)));
            }
            Progress::Read(mut records) => {
                let cache = &mut self.record_cache;
                records.retain(|&(candidate, place)| {
                    let kept = cache.get(place);
                    let is_missing = kept.is_none();
                    if !is_missing {
                        asked.job.handle_body(candidate, kept);
                    }
                    is_missing
                });
                self.recalls.settle();
                if !records.is_empty() {
                    self.recalls.wait();
                    self.read_for_recall(number, records);
                }
            }
            Progress::Ranked(recalled) => {
                stripe.count_recall();
                self.tally.unreadable += u64::from(recalled.unreadable);
                let Asked { origin, slot, job, .. } = self.recalls.end();
                stripe.end_reading(job.into_reading());
                let event = self.recalled(slot, &recalled);
                self.reply(origin, Reply::Recalled(Ok(recalled)));
                event.into_iter().for_each(|event| self.tell_recalled(slot, &event));
            }
        }
        distances
    }

    /// Inserts a row of the stripe whose turn it is: one that another waits behind. Returns the distances that it took.
    fn insert_row(&mut self) -> Option<u32> {
        let slot = self.rotation.current()?;
        let width = self.insertion_width();
        let stripe = &mut self.stripes[slot.0];
        let distances = stripe.insert_next(width, &mut self.scratch);
        match stripe.is_overlong() {
            true => self.rotation.spend(distances),
            false => self.rotation.leave(),
        }
        self.settle_placed(slot);
        self.keep_up_with(slot);
        Some(distances)
    }

    /// Search width for the next row on its way into a graph.
    fn insertion_width(&self) -> u32 {
        match self.config.recall_target {
            Some(_) => self.admission.insertion_width(),
            None => GRAPH_WIDTH_INSERT,
        }
    }

    /// Rows of a stripe may have become durable or reached the graph: counts those that wait no longer.
    pub(super) fn settle_placed(&mut self, slot: Slot) {
        while let Some(Placed { lane, received_at }) = self.stripes[slot.0].next_placed() {
            self.admission.placed(slot, lane, self.now);
            if let Some(lane) = lane {
                let waited = self.now.micros_since(received_at);
                self.tally.queue_wait_micros[lane.index()].record(waited);
            }
        }
        self.tell_placed(slot);
    }

    /// Grants credits of a stripe; none where it is not here.
    fn credit(&mut self, origin: Origin, stripe: StripeKey, lane: Lane, wanted: u32) {
        let sessions = self.sharing_sessions();
        let (granted, pressure) = match self.slots.get(&stripe) {
            Some(&slot) => {
                let wish = Wish { slot, lane, wanted };
                self.admission.grant(wish, sessions, self.now)
            }
            None => (0, self.admission.pressure(sessions)),
        };
        self.reply(origin, Reply::Credit { stripe, lane, granted, pressure });
    }

    /// How many sessions share what the shard takes, where it is asked of them to hold back.
    fn sharing_sessions(&mut self) -> u32 {
        if self.admission.level() >= Level::Critical && self.sharing.until <= self.now {
            let sessions = self.sessions.attached() as u32;
            self.sharing = Sharing { sessions, until: self.now.after_micros(SHARING_MICROS) };
        }
        self.sharing.sessions
    }

    fn await_placed(&mut self, origin: Origin, key: StripeKey) {
        let (slot, stripe) =
            self.stripe(key).expect("who waits for its rows knows that it is here");
        let arrived = stripe.rows().arrived();
        self.awaited.wait(slot, arrived, origin);
        self.tell_placed(slot);
    }

    /// Tells whoever waited for the rows of a stripe that wait for nothing.
    pub(super) fn tell_placed(&mut self, slot: Slot) {
        let stripe = &self.stripes[slot.0];
        let (key, placed) = (stripe.key(), stripe.placed());
        for origin in self.awaited.placed(slot, placed) {
            self.reply(origin, Reply::Placed(key));
        }
    }

    /// One step of the upkeep of the stripe whose turn it is. Returns the distances that it took.
    fn keep_up(&mut self) -> u32 {
        let slot = self.restless.current().expect("there is work, and no one asks for it");
        let width = self.insertion_width();
        let stripe = &mut self.stripes[slot.0];
        assert!(!stripe.is_overlong(), "no row waits for the graph");
        // What rows behind the tail have driven into the graph meanwhile may have settled it: to see that counts as well.
        let distances = stripe.keep_up(width, &mut self.scratch).max(1);
        match stripe.is_settled() {
            true => self.restless.leave(),
            false => self.restless.pass(),
        }
        distances
    }

    /// Rows or cues have come to a stripe: its upkeep may have to go on.
    pub(super) fn keep_up_with(&mut self, slot: Slot) {
        let is_still = self.checkpoints.still() == Some(slot);
        if !is_still && !self.restless.has(slot) && !self.stripes[slot.0].is_settled() {
            self.restless.enter(slot);
        }
    }

    /// Hands a record to the log, behind all that was replayed and is not proven yet.
    pub(super) fn log_append(&mut self, head: RecordHead, body: Body, pending: Pending) -> Ordinal {
        self.append_unproven();
        self.note_uncovered(head.stripe, record_bytes(body.bytes.len()) as u64);
        self.append_pending(head, body, pending)
    }

    /// The same of one that was counted before.
    pub(super) fn append_pending(
        &mut self,
        head: RecordHead,
        body: Body,
        pending: Pending,
    ) -> Ordinal {
        if !matches!(pending, Pending::Carried(..)) {
            self.compacting.others_came(self.now);
        }
        let ordinal = self.log.append(head, body, pending.purpose(), self.now);
        if self.pending.is_empty() {
            self.pending_first = ordinal;
        }
        let expected = self.pending_first.0 + self.pending.len() as u64;
        assert_eq!(ordinal.0, expected, "the log counts its records one by one");
        self.pending.push_back(pending);
        ordinal
    }

    pub(super) fn reply(&mut self, origin: Origin, reply: Reply) {
        self.outputs.push_back(Output::Reply(origin, reply));
    }

    pub(super) fn read(&mut self, io: Io, wanted: Wanted) {
        let ticket = self.ticket();
        self.reads.insert(ticket, wanted);
        self.outputs.push_back(Output::Io(ticket, io));
    }

    pub(super) fn stripe(&mut self, key: StripeKey) -> Option<(Slot, &mut Stripe)> {
        let slot = *self.slots.get(&key)?;
        Some((slot, &mut self.stripes[slot.0]))
    }

    /// Where the next stripe will be.
    pub(super) fn next_slot(&self) -> Slot {
        Slot(self.stripes.len())
    }

    pub(super) fn add_stripe(&mut self, mut stripe: Stripe) -> Slot {
        let slot = self.next_slot();
        let earlier = self.slots.insert(stripe.key(), slot);
        assert!(earlier.is_none(), "a stripe is made once");
        stripe.begin(self.now);
        self.stripes.push(stripe);
        slot
    }

    /// The session's key, unless the record belongs to none.
    pub(super) fn session_key(session: SessionId, stripe: StripeKey) -> Option<SessionKey> {
        (session != SessionId::NONE).then_some(SessionKey { session, stripe })
    }

    pub(super) fn ticket(&mut self) -> IoTicket {
        self.next_ticket += 1;
        IoTicket(self.next_ticket)
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard")
            .field("log", &self.config.log)
            .field("stripes", &self.stripes.len())
            .field("pending", &self.pending.len())
            .finish_non_exhaustive()
    }
}
