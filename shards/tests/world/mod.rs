//! A world for shards: a disk in memory whose operations end when a test says so, time that a test sets, clients that
//! are no more than replies in a list.

#![allow(dead_code)] // each test file uses the part that it needs

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use engram_shards::attributes::Attributes;
use engram_shards::checkpoint::due::CheckpointLimits;
use engram_shards::checkpoint::reading::CheckedHead;
use engram_shards::ids::{
    FolderSecret, Location, LogId, SegmentId, SessionEpoch, SessionId, StripeKey, Time,
};
use engram_shards::log::log::IoFault;
use engram_shards::log::record::{Embedding, Observation, decode_body, encode_body};
use engram_shards::log::replay::{HEAD_BYTES, LogFault};
use engram_shards::message::{
    Append, Cue, Hit, IfExists, Isolation, Lane, OpenIntent, Origin, Recall, Recalled, Refusal,
    Reply, Request, SessionOpened, ShardStatus,
};
use engram_shards::quality::RecallTarget;
use engram_shards::settings::{AckPolicy, Metric, SpaceSettings};
use engram_shards::shard::{
    Io, IoOutput, IoTicket, Loading, Output, Recovering, Remains, Shard, ShardConfig, Share,
};
use engram_shards::space::TailLimits;
use engram_shards::vector::codes::{Encoded, normalise};

/// Numbers a vector in these tests.
pub(crate) const DIMENSION: usize = 16;
/// Where replies go that a test does not tell apart.
pub(crate) const CLIENT: Origin = Origin(1);
/// When the world begins.
const BEGIN: Time = Time(1_700_000_000_000_000);

/// Files by segment, and what is wrong with them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) files: BTreeMap<SegmentId, Vec<u8>>,
    pub(crate) checkpoints: BTreeMap<StripeKey, Vec<u8>>,
    pub(crate) drafts: BTreeMap<StripeKey, Vec<u8>>,
    pub(crate) summaries: BTreeMap<SegmentId, Vec<u8>>,
    /// Segments that were read whole since a test emptied it.
    pub(crate) read: BTreeSet<SegmentId>,
    /// Logs that have a place for their next segment.
    pub(crate) kept: BTreeSet<LogId>,
    /// There is room for no further segment.
    pub(crate) is_full: bool,
    /// What shards have told to count of segments for them, in this life.
    shares: BTreeMap<(SegmentId, usize), Share>,
    /// Some shard never tells what counts for it.
    pub(crate) is_untold: bool,
    /// Writes end with this.
    pub(crate) fault: Option<IoFault>,
    /// Reads of these places fail.
    pub(crate) unreadable: BTreeSet<Location>,
}

impl Disk {
    fn perform(&mut self, io: &Io) -> Result<IoOutput, IoFault> {
        match (io, self.fault) {
            (Io::Read { places }, _) => {
                let read = |place: &Location| match self.unreadable.contains(place) {
                    true => Err(IoFault::Failed),
                    false => {
                        let from = place.offset as usize;
                        let bytes = &self.files[&place.segment][from..from + place.bytes as usize];
                        Ok(bytes.to_vec())
                    }
                };
                places.iter().map(read).collect::<Result<_, _>>().map(IoOutput::Read)
            }
            (_, Some(fault)) => Err(fault),
            (Io::KeepSegment { .. }, None) if self.is_full => Err(IoFault::Full),
            (Io::KeepSegment { log, .. }, None) => {
                self.kept.insert(*log);
                Ok(IoOutput::Done)
            }
            (Io::CreateSegment { segment, head, .. }, None) => {
                if !self.kept.remove(&segment.log) && self.is_full {
                    return Err(IoFault::Full);
                }
                let earlier = self.files.insert(*segment, head.clone());
                assert!(earlier.is_none(), "a segment's number is used once");
                Ok(IoOutput::Done)
            }
            (Io::Commit { segment, offset, bytes, .. }, None) => {
                self.write(*segment, *offset as usize, bytes);
                Ok(IoOutput::Done)
            }
            (Io::Sync { .. } | Io::SyncCheckpoint { .. }, None) => Ok(IoOutput::Done),
            (Io::CreateCheckpoint { stripe, .. }, None) => {
                self.drafts.insert(*stripe, Vec::new());
                Ok(IoOutput::Done)
            }
            (Io::WriteCheckpoint { stripe, offset, bytes, .. }, None) => {
                let draft = self.drafts.get_mut(stripe).expect("a draft is made first");
                assert_eq!(draft.len() as u64, *offset, "parts come in order");
                draft.extend_from_slice(bytes);
                Ok(IoOutput::Done)
            }
            (Io::KeepCheckpoint { stripe }, None) => {
                let draft = self.drafts.remove(stripe).expect("a draft is written first");
                self.checkpoints.insert(*stripe, draft);
                Ok(IoOutput::Done)
            }
            (Io::WriteSummary { segment, bytes }, None) => {
                self.summaries.insert(*segment, bytes.clone());
                Ok(IoOutput::Done)
            }
            (Io::Share { .. }, _) => unreachable!("it never waits"),
            (Io::EmptySegment { segment, bytes }, None) => {
                let shares = self.shares.range((*segment, 0)..=(*segment, usize::MAX));
                assert!(shares.into_iter().all(|(_, share)| *share == Share::Left));
                let whole = self.files.insert(*segment, bytes.clone());
                assert!(whole.is_some(), "what is emptied was there");
                Ok(IoOutput::Done)
            }
            (Io::RemoveSegment { segment }, None) => {
                self.files.remove(segment).expect("what is removed was there");
                Ok(IoOutput::Done)
            }
        }
    }

    /// What counts of segments for all of so many shards, now that this one has told its shares.
    fn share(&mut self, shard: usize, shares: &[(SegmentId, Share)], shards: usize) -> IoOutput {
        self.shares.extend(shares.iter().map(|(segment, share)| ((*segment, shard), *share)));
        let told = |segment, shard| self.shares.get(&(segment, shard)).copied();
        let total = |(segment, _): &(SegmentId, Share)| {
            if self.is_untold {
                return Share::Unknown;
            }
            let all = (0..shards).map(|shard| told(*segment, shard).unwrap_or(Share::Unknown));
            all.fold(Share::Left, Share::with)
        };
        IoOutput::Shares(shares.iter().map(total).collect())
    }

    /// What a recovery wants to know first.
    pub(crate) fn remains(&self) -> Remains {
        let head = |bytes: &Vec<u8>| bytes[..bytes.len().min(HEAD_BYTES)].to_vec();
        let checked = |(key, bytes): (&StripeKey, &Vec<u8>)| {
            Some((*key, CheckedHead::new(bytes, *key, bytes.len() as u64).ok()?))
        };
        Remains {
            heads: self.files.iter().map(|(&id, bytes)| (id, head(bytes))).collect(),
            summaries: self.summaries.clone().into_iter().collect(),
            checkpoints: self.checkpoints.iter().filter_map(checked).collect(),
        }
    }

    fn write(&mut self, segment: SegmentId, offset: usize, bytes: &[u8]) {
        let file = self.files.get_mut(&segment).expect("commits go to a segment that was created");
        assert_eq!(offset % 4096, 0);
        file.resize(file.len().max(offset + bytes.len()), 0);
        file[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
}

/// What a crash leaves of the write in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nothing.
    Lost,
    /// All of it, though no one was told.
    Whole,
    /// Its first half.
    Torn,
}

/// Some shards over one disk.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) disk: Disk,
    pub(crate) shards: Vec<Shard>,
    /// I/O that has not ended yet.
    pub(crate) waiting: VecDeque<(usize, IoTicket, Io)>,
    pub(crate) replies: Vec<(Origin, Reply)>,
    pub(crate) capacity: u32,
    pub(crate) recall_target: Option<RecallTarget>,
    /// Where a test says nothing else, each row waits for its place in the graph.
    pub(crate) tail: TailLimits,
    /// Where a test says nothing else, an ack means that it was synced.
    pub(crate) acks: AckPolicy,
    /// Where a test says nothing else, there are none.
    pub(crate) checkpoints: CheckpointLimits,
    /// Where a test says nothing else, none is kept.
    pub(crate) record_cache_bytes: u64,
    /// Whether checkpoints stay unread after a start, until [`World::load`].
    pub(crate) loads_later: bool,
    /// What is not loaded yet, by shard.
    loading: Vec<(ShardConfig, Loading)>,
    /// Of the stripes that compare by another than the usual one.
    metrics: BTreeMap<StripeKey, Metric>,
    starts: u64,
}

/// The folder's secret.
pub(crate) const SECRET: FolderSecret = FolderSecret([7; 16]);

impl World {
    /// An empty disk and so many shards.
    pub(crate) fn new(shards: u16) -> World {
        World::with_capacity(shards, 10_000)
    }

    /// The same, of another capacity.
    pub(crate) fn with_capacity(shards: u16, capacity: u32) -> World {
        let mut world = World {
            now: BEGIN,
            disk: Disk::default(),
            shards: Vec::new(),
            waiting: VecDeque::new(),
            replies: Vec::new(),
            capacity,
            recall_target: None,
            tail: TailLimits::NONE,
            acks: AckPolicy::Sync,
            checkpoints: CheckpointLimits::NONE,
            record_cache_bytes: 0,
            loads_later: false,
            loading: Vec::new(),
            metrics: BTreeMap::new(),
            starts: 0,
        };
        world.start(shards).expect("an empty disk is sound");
        world
    }

    /// Rebuilds the shards from the disk.
    pub(crate) fn start(&mut self, shards: u16) -> Result<(), LogFault> {
        self.starts += 1;
        self.replies.clear();
        self.waiting.clear();
        self.disk.shares.clear();
        self.shards.clear();
        self.loading.clear();
        self.disk.drafts.clear();
        let remains = self.disk.remains();
        for shard in 0..shards {
            let config = ShardConfig {
                log: LogId(shard),
                shards,
                secret: SECRET,
                incarnation_seed: self.starts,
                capacity: self.capacity,
                recall_target: self.recall_target,
                tail: self.tail,
                acks: self.acks,
                checkpoints: self.checkpoints,
                record_cache_bytes: self.record_cache_bytes,
            };
            let owns = Box::new(move |stripe| owner(stripe, shards) == usize::from(shard));
            let mut recovering = Recovering::new(config.clone(), &remains, owns)?;
            while let Some(segment) = recovering.next() {
                self.disk.read.insert(segment);
                recovering.handle_segment(&self.disk.files[&segment])?;
            }
            let (shard, loading, _) = recovering.finish(self.now)?;
            self.shards.push(shard);
            self.loading.push((config, loading));
        }
        if self.loads_later { Ok(()) } else { self.load() }
    }

    /// Reads all checkpoints, and replays the stripes of those that are damaged.
    pub(crate) fn load(&mut self) -> Result<(), LogFault> {
        while self.load_next()?.is_some() {}
        Ok(())
    }

    /// Reads one checkpoint; says whose.
    pub(crate) fn load_next(&mut self) -> Result<Option<StripeKey>, LogFault> {
        let World { disk, loading, shards, now, .. } = self;
        for (shard, (config, loading)) in shards.iter_mut().zip(loading) {
            while let Some((key, piece)) = loading.next_piece() {
                let (from, end) = (piece.offset as usize, (piece.offset + piece.bytes) as usize);
                match loading.handle_piece(&disk.checkpoints[&key][from..end]) {
                    Ok(None) => {}
                    Ok(Some(ready)) => {
                        shard.restore(ready, *now);
                        return Ok(Some(key));
                    }
                    Err(_) => {
                        let remains = disk.remains();
                        let mut recovering =
                            Recovering::without_checkpoint(config.clone(), &remains, key)?;
                        while let Some(segment) = recovering.next() {
                            recovering.handle_segment(&disk.files[&segment])?;
                        }
                        for ready in recovering.finish_stripes()? {
                            shard.restore(ready, *now);
                        }
                        return Ok(Some(key));
                    }
                }
            }
        }
        Ok(None)
    }

    /// The machine fails, with this fate of what was being written, and starts again with so many shards.
    pub(crate) fn crash(&mut self, fate: Fate, shards: u16) {
        self.collect();
        self.fail(fate);
        self.start(shards).expect("a crash is no corruption");
    }

    /// What the writes in flight leave behind.
    pub(crate) fn fail(&mut self, fate: Fate) {
        for (_, _, io) in std::mem::take(&mut self.waiting) {
            match (fate, io) {
                (Fate::Lost, _) | (_, Io::Read { .. } | Io::Sync { .. }) => {}
                (_, Io::KeepSegment { .. } | Io::Share { .. }) => unreachable!("it never waits"),
                (Fate::Torn, Io::EmptySegment { .. } | Io::RemoveSegment { .. }) => {}
                (Fate::Torn, Io::SyncCheckpoint { .. } | Io::KeepCheckpoint { .. }) => {}
                (Fate::Whole, io) => {
                    let fault = self.disk.fault.take();
                    self.disk.perform(&io).expect("nothing is wrong with the disk");
                    self.disk.fault = fault;
                }
                (Fate::Torn, Io::CreateSegment { segment, head, .. }) => {
                    self.disk.files.insert(segment, head[..head.len() / 2].to_vec());
                }
                (Fate::Torn, Io::CreateCheckpoint { .. } | Io::WriteCheckpoint { .. }) => {}
                (Fate::Torn, Io::WriteSummary { segment, bytes }) => {
                    self.disk.summaries.insert(segment, bytes[..bytes.len() / 2].to_vec());
                }
                (Fate::Torn, Io::Commit { segment, offset, bytes, .. }) => {
                    self.disk.write(segment, offset as usize, &bytes[..bytes.len() / 2]);
                }
            }
        }
    }

    /// Hands a request to the shard that owns `stripe`.
    pub(crate) fn ask(&mut self, stripe: StripeKey, origin: Origin, request: Request) {
        let owner = owner(stripe, self.shards.len() as u16);
        self.shards[owner].handle_request(origin, request, self.now);
    }

    /// Takes all outputs: replies to the list, I/O to what waits.
    pub(crate) fn collect(&mut self) {
        let shards = self.shards.len();
        for (index, shard) in self.shards.iter_mut().enumerate() {
            while let Some(output) = shard.poll() {
                match output {
                    // Nobody waits for these but what follows.
                    Output::Io(ticket, io @ Io::KeepSegment { .. }) => {
                        let result = self.disk.perform(&io);
                        shard.handle_io(ticket, result, self.now);
                    }
                    Output::Io(ticket, Io::Share { shares }) => {
                        let result = Ok(self.disk.share(index, &shares, shards));
                        shard.handle_io(ticket, result, self.now);
                    }
                    Output::Io(ticket, io) => self.waiting.push_back((index, ticket, io)),
                    Output::Reply(origin, reply) => self.replies.push((origin, reply)),
                }
            }
        }
    }

    /// Lets time pass, so that what waits for it is due.
    pub(crate) fn pass(&mut self, micros: u64) {
        self.now = self.now.after_micros(micros);
        self.shards.iter_mut().for_each(|shard| shard.handle_tick(self.now));
        self.collect();
    }

    /// Ends the I/O that waits at `index`.
    pub(crate) fn end_io(&mut self, index: usize) {
        let (shard, ticket, io) = self.waiting.remove(index).expect("an I/O waits");
        let result = self.disk.perform(&io);
        self.shards[shard].handle_io(ticket, result, self.now);
        self.collect();
    }

    /// Ends what waits and is of this kind, until nothing of it waits.
    pub(crate) fn end_all(&mut self, is_kind: impl Fn(&Io) -> bool) {
        self.collect();
        while let Some(index) = self.waiting.iter().position(|(_, _, io)| is_kind(io)) {
            self.end_io(index);
        }
    }

    /// Grants work until none is left that could be done now.
    pub(crate) fn work(&mut self) {
        for shard in &mut self.shards {
            while shard.has_work() {
                assert!(shard.work(1_000, self.now) > 0, "has_work says that there is some");
            }
            assert_eq!(shard.work(1_000, self.now), 0, "has_work says that there is none");
        }
        self.collect();
    }

    /// Lets everything become durable, but grants no work.
    pub(crate) fn commit(&mut self) {
        self.collect();
        self.end_all(|_| true);
        while self.status().iter().any(|status| status.pending_bytes > 0) {
            let due = self.shards.iter().filter_map(Shard::deadline).min();
            self.now = self.now.max(due.expect("a record waits, so a commit is due"));
            self.pass(0);
            self.end_all(|_| true);
        }
    }

    /// Lets everything happen that would, but for what waits long.
    pub(crate) fn settle(&mut self) {
        self.commit();
        loop {
            self.work();
            if self.waiting.is_empty() {
                break;
            }
            self.end_all(|_| true);
        }
    }

    /// The replies since last asked.
    pub(crate) fn take(&mut self) -> Vec<(Origin, Reply)> {
        self.collect();
        std::mem::take(&mut self.replies)
    }

    /// The one reply since last asked.
    pub(crate) fn take_one(&mut self) -> Reply {
        let mut replies = self.take();
        assert_eq!(replies.len(), 1, "{replies:?}");
        replies.remove(0).1
    }

    pub(crate) fn status(&mut self) -> Vec<ShardStatus> {
        let taken = self.take();
        for shard in &mut self.shards {
            shard.handle_request(CLIENT, Request::Status, self.now);
        }
        let statuses = self.take();
        self.replies = taken;
        let mut kept = Vec::new();
        let mut found = Vec::new();
        for (origin, reply) in statuses {
            match reply {
                Reply::Status(status) => found.push(status),
                reply => kept.push((origin, reply)),
            }
        }
        self.replies.extend(kept);
        found
    }

    /// Makes a space of one stripe and gives back its key.
    pub(crate) fn space(&mut self, name: &str) -> StripeKey {
        self.space_by(Metric::Cosine, name)
    }

    /// The same, compared by `metric`.
    pub(crate) fn space_by(&mut self, metric: Metric, name: &str) -> StripeKey {
        let stripe = stripe(name);
        self.metrics.insert(stripe, metric);
        let settings = SpaceSettings { metric, ..settings(name) };
        let request = Request::CreateSpace { settings, if_exists: IfExists::Take };
        self.ask(stripe, CLIENT, request);
        self.commit();
        assert!(matches!(self.take_one(), Reply::Space(Ok(_))));
        stripe
    }

    /// Opens a session and waits until it is.
    pub(crate) fn open(
        &mut self,
        stripe: StripeKey,
        session: u128,
        intent: OpenIntent,
    ) -> SessionOpened {
        let session = SessionId(session);
        self.ask(stripe, CLIENT, Request::OpenSession { stripe, session, intent });
        self.commit();
        match self.take_one() {
            Reply::Session(Ok(opened)) => opened,
            reply => panic!("{reply:?}"),
        }
    }

    /// Takes one credit.
    pub(crate) fn credit(&mut self, stripe: StripeKey, lane: Lane) {
        let taken = self.take();
        self.ask(stripe, CLIENT, Request::Credit { stripe, lane, wanted: 1 });
        let Reply::Credit { granted: 1, .. } = self.take_one() else { panic!("no credit") };
        self.replies = taken;
    }

    /// Sends an observation with a credit of its own.
    pub(crate) fn observe(&mut self, stripe: StripeKey, sent: Sent<'_>) {
        self.credit(stripe, Lane::Normal);
        let append = sent.append_by(self.metric(stripe), stripe);
        self.ask(stripe, sent.origin, Request::Append(append));
    }

    fn metric(&self, stripe: StripeKey) -> Metric {
        self.metrics.get(&stripe).copied().unwrap_or(Metric::Cosine)
    }

    /// Recalls and waits for the results, with nothing else becoming durable meanwhile.
    pub(crate) fn recall(
        &mut self,
        stripe: StripeKey,
        cue: &[f32],
        count: u32,
        isolation: Isolation,
    ) -> Recalled {
        let taken = self.take();
        let query = recall_by(self.metric(stripe), stripe, cue, count, isolation);
        self.ask(stripe, CLIENT, Request::Recall(query));
        let mut replies = Vec::new();
        while replies.is_empty() {
            self.work();
            self.end_all(|io| matches!(io, Io::Read { .. }));
            replies = self.take();
        }
        let (_, reply) = replies.remove(0);
        self.replies = taken;
        // Events, where someone wants to hear of recalls.
        self.replies.extend(replies);
        match reply {
            Reply::Recalled(Ok(recalled)) => recalled,
            reply => panic!("{reply:?}"),
        }
    }

    /// Ids of the results, best first.
    pub(crate) fn recall_ids(&mut self, stripe: StripeKey, cue: &[f32], count: u32) -> Vec<String> {
        self.recall(stripe, cue, count, Isolation::InFlight).hits.iter().map(id_of).collect()
    }
}

/// An observation as a client sends it.
#[derive(Clone, Debug)]
pub(crate) struct Sent<'a> {
    pub(crate) origin: Origin,
    pub(crate) session: u128,
    pub(crate) epoch: SessionEpoch,
    pub(crate) sequence: u64,
    pub(crate) id: &'a str,
    pub(crate) vector: Vec<f32>,
}

impl Sent<'_> {
    /// What the connection's core makes of it.
    pub(crate) fn append(&self, stripe: StripeKey) -> Append {
        self.append_by(Metric::Cosine, stripe)
    }

    fn observation(&self) -> Observation<'_> {
        Observation::new(self.id, "a test", Embedding::F32(&self.vector))
    }

    fn append_by(&self, metric: Metric, stripe: StripeKey) -> Append {
        let encoded =
            Encoded::new(&mut self.vector.clone()).expect("vectors of tests have a length");
        let observation = self.observation();
        Append {
            stripe,
            session: SessionId(self.session),
            epoch: self.epoch,
            sequence: self.sequence,
            memory_hash: SECRET.memory_hash(self.id),
            received_at: BEGIN,
            lane: Lane::Normal,
            body: encode_body(&observation),
            attributes: Attributes::of(&observation, BEGIN, &SECRET),
            codes: encoded.codes(metric).expect("of a usual length"),
        }
    }
}

/// An observation of no session.
pub(crate) fn unary(sequence: u64, id: &str, vector: Vec<f32>) -> Sent<'_> {
    Sent { origin: CLIENT, session: 0, epoch: SessionEpoch(0), sequence, id, vector }
}

pub(crate) fn recall(stripe: StripeKey, cue: &[f32], count: u32, isolation: Isolation) -> Recall {
    recall_by(Metric::Cosine, stripe, cue, count, isolation)
}

pub(crate) fn recall_by(
    metric: Metric,
    stripe: StripeKey,
    cue: &[f32],
    count: u32,
    isolation: Isolation,
) -> Recall {
    let mut vector: Box<[f32]> = cue.into();
    let encoded = Encoded::new(&mut vector.clone()).expect("cues of tests have a length");
    if metric == Metric::Cosine {
        normalise(&mut vector).expect("cues of tests have a length");
    }
    let codes = encoded.codes(metric).expect("of a usual length");
    let similarity_min = f32::NEG_INFINITY;
    let cue = Cue::Like { vector, codes };
    Recall { stripe, cue, count, width: 0, isolation, as_of: None, similarity_min, filter: None }
}

pub(crate) fn settings(name: &str) -> SpaceSettings {
    let dimension = DIMENSION as u16;
    SpaceSettings { name: name.to_owned(), dimension, metric: Metric::Cosine, stripes: 1 }
}

pub(crate) fn stripe(name: &str) -> StripeKey {
    StripeKey { space: SECRET.space_key(name), stripe: 0 }
}

/// Which shard owns a stripe.
pub(crate) fn owner(stripe: StripeKey, shards: u16) -> usize {
    (stripe.space.0.wrapping_add(u64::from(stripe.stripe)) % u64::from(shards)) as usize
}

pub(crate) fn id_of(hit: &Hit) -> String {
    decode_body(&hit.body).expect("a hit has a body").id.to_owned()
}

/// The vector of this number: always the same, in no direction that another has.
pub(crate) fn vector(number: u64) -> Vec<f32> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bd1_e995;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed >> 40) as f32 / (1 << 23) as f32) - 1.0
    };
    (0..DIMENSION).map(|_| next()).collect()
}

/// The sequences that were told to be durable, in the order in which they were.
pub(crate) fn durable_sequences(replies: &[(Origin, Reply)]) -> Vec<u64> {
    let runs = replies.iter().filter_map(|(_, reply)| match reply {
        Reply::Durable { first, last, .. } => Some(*first..=*last),
        _ => None,
    });
    runs.flatten().collect()
}

/// The sequences that were dropped, and why.
pub(crate) fn dropped_sequences(replies: &[(Origin, Reply)]) -> Vec<(u64, Refusal)> {
    let runs = replies.iter().filter_map(|(_, reply)| match reply {
        Reply::Dropped { first, last, refusal, .. } => Some((*first..=*last, refusal)),
        _ => None,
    });
    runs.flat_map(|(run, refusal)| run.map(move |sequence| (sequence, refusal.clone()))).collect()
}
