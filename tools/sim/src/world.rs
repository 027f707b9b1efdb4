//! The loop of events: what a seed makes of shards, disk, clients and time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use engram_shards::ids::{LogId, SegmentId, SessionId, Time};
use engram_shards::limits::{COMPACTION_LOOK_MICROS, LOG_COMMIT_WAIT_MICROS};
use engram_shards::log::chain::Chain;
use engram_shards::message::{
    Append, Cue, Forget, ForgetMode, Isolation, Origin, Recall, Reply, Request, ShardStatus,
};
use engram_shards::shard::{Io, IoTicket, Output, Shard};

use crate::audit::{
    Recovered, RecoveredSpace, audit, audit_checkpoints, audit_rotten, without_end,
};
use crate::client::{Client, Space, prepared};
use crate::device::Device;
use crate::fault::{Bug, Weather};
use crate::ledger::{Checker, Ledger, Token, Wrong, wrong};
use crate::process::{Process, SECRET, Step};
use crate::random::Random;
use crate::trace::{Story, Trace};
use crate::verify::{Asked, Expected, check_status};

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The hash of all that happened.
    pub hash: u64,
    /// Observations sent.
    pub sent: usize,
    /// Observations acked.
    pub acked: usize,
    /// Recalls whose results were checked.
    pub recalls: usize,
    /// Processes that ended in the midst of it.
    pub crashes: u32,
    /// Commits and segments that failed.
    pub failures: usize,
    /// Rows that took the slot of an earlier one.
    pub used_again: u64,
    /// Checkpoints that a start found.
    pub checkpoints: usize,
    /// Stripes that were loaded from one, or instead of one, while others were served.
    pub loaded: usize,
    /// Checkpoints that were left aside while they were read.
    pub left_aside: usize,
    /// Memories that were forgotten.
    pub forgotten: usize,
    /// Segments of which a compaction left the head alone.
    pub emptied: usize,
}

/// Runs the world of `seed`, with a bug planted or without.
pub fn run(seed: u64, bug: Option<Bug>, story: Story) -> Result<Summary, Wrong> {
    let mut world = World::new(seed, bug, story);
    world.live()?;
    Ok(Summary { hash: world.trace.hash(), ..world.summary })
}

/// Shards that a world has at most.
const SHARDS_MAX: u16 = 3;
/// Origins that belong to no client: recalls …
const RECALL_ORIGINS: u64 = 1 << 63;
/// … memories to be forgotten …
const FORGET_ORIGINS: u64 = 1 << 61;
/// … and questions about a shard.
const STATUS_ORIGIN: u64 = 1 << 62;
/// So long nothing happens in a world that has settled: only the rare housekeeping is further off.
const SETTLED_MICROS: u64 = 5_000_000;
/// After so long a world is at odds with itself: the longest ones take some seconds.
const NEVER_MICROS: u64 = 60_000_000;

#[derive(Debug)]
enum Event {
    Request { shard: usize, origin: u64, request: Request },
    Reply { shard: usize, origin: u64, reply: Reply },
    IoEnds { shard: usize, ticket: IoTicket },
    Act { client: usize },
    Work { shard: usize },
    Load { shard: usize },
    Ask { shard: usize },
    Leap,
    Crash,
    Start,
}

/// Where a message comes from or goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Core(u64);

impl Core {
    /// That of a connection: those of one client may be on several. All else has one for each.
    fn of_sender(origin: u64, weather: &Weather) -> Core {
        match origin & (RECALL_ORIGINS | FORGET_ORIGINS | STATUS_ORIGIN) {
            0 => Core(((origin >> 32) + (origin & 0xffff_ffff)) % weather.connection_cores),
            _ => Core(origin),
        }
    }
}

struct World {
    random: Random,
    weather: Weather,
    bug: Option<Bug>,
    trace: Trace,
    now: Time,
    /// By time, and in the order they were planned.
    events: BTreeMap<(Time, u64), Event>,
    events_planned: u64,
    device: Device,
    process: Option<Process>,
    /// What the last start found on the disk.
    recovered: Recovered,
    /// Segments that hold nothing, until they are removed.
    empty: Vec<SegmentId>,
    /// How many memories were asked to be forgotten before it.
    forgets_before: usize,
    /// Depth that a shard may have beyond its capacity: what it found at its start.
    recovered_rows: u32,
    shards: u16,
    spaces: Vec<Space>,
    clients: Vec<Client>,
    /// When the messages in each ring arrive: those of one do not overtake each other.
    rings: BTreeMap<(Core, usize), VecDeque<Time>>,
    ledger: Ledger,
    asked: BTreeMap<u64, Asked>,
    recalls_asked: u64,
    /// Who waits for a memory to be forgotten: the ledger's number of it.
    forgetting: BTreeSet<usize>,
    /// What each shard said of itself last.
    statuses: BTreeMap<usize, ShardStatus>,
    held_reply: Option<(u64, Reply)>,
    crashes_left: u32,
    /// A checkpoint was damaged, and may not have been written anew since.
    has_rotten_checkpoint: bool,
    /// This run ends while there is still something to lose.
    crashes_busy: bool,
    is_stopping: bool,
    summary: Summary,
}

impl World {
    fn new(seed: u64, bug: Option<Bug>, story: Story) -> World {
        let mut random = Random::new(seed);
        let weather = Weather::draw(&mut random);
        let spaces: Vec<Space> = (0..weather.spaces)
            .map(|number| Space::new(number, random.within(8..33) as u16))
            .collect();
        let clients = (0..weather.streams + weather.singles)
            .map(|number| {
                let session = match number < weather.streams {
                    true => SessionId(1 + number as u128),
                    false => SessionId::NONE,
                };
                let space = spaces[random.index(spaces.len())].clone();
                Client::new(number as u64, space, session, &mut random)
            })
            .collect();
        let mut trace = Trace::new(story);
        trace.note(Time(0), format_args!("{weather:?}"));
        World {
            bug,
            trace,
            now: Time(1_000_000),
            events: BTreeMap::new(),
            events_planned: 0,
            device: Device::default(),
            process: None,
            recovered: Recovered::new(),
            empty: Vec::new(),
            forgets_before: 0,
            recovered_rows: 0,
            shards: weather.shards,
            ledger: Ledger::new(spaces.len()),
            spaces,
            clients,
            rings: BTreeMap::new(),
            asked: BTreeMap::new(),
            recalls_asked: 0,
            forgetting: BTreeSet::new(),
            statuses: BTreeMap::new(),
            held_reply: None,
            crashes_left: weather.crashes,
            has_rotten_checkpoint: false,
            crashes_busy: false,
            is_stopping: false,
            summary: Summary::default(),
            weather,
            random,
        }
    }

    fn live(&mut self) -> Result<(), Wrong> {
        self.plan(0, Event::Start);
        self.settle()?;
        // The last process has all the time it wants: nothing may be left unanswered.
        self.is_stopping = true;
        self.settle()?;
        for client in &self.clients {
            if client.is_waiting() {
                wrong!(Answer, "a client waits for ever: {client:?}");
            }
        }
        self.recall_all_acked()?;
        if let Some(asked) = self.asked.values().next() {
            wrong!(Answer, "a recall was never answered: {asked:?}");
        }
        if let Some(number) = self.forgetting.first() {
            wrong!(Answer, "no one was told of what was to be forgotten: {number}");
        }
        let process = self.process.as_ref().expect("the last process lives on");
        check_graphs(process)?;
        self.summary.used_again += process.shards.iter().map(Shard::used_again).sum::<u64>();
        let recovered = audit(&self.device.disk, &self.keys(), &self.ledger)?;
        self.ask_all()?;
        self.check_rows(&recovered)?;
        self.look_at_shares()?;
        self.check_disk()?;
        self.summary.sent = self.ledger.next_token().0;
        self.summary.acked = self.ledger.attempts().filter(|(_, sent)| sent.acked).count();
        Ok(())
    }

    /// Asks each shard, in the end, for its account of itself.
    fn ask_all(&mut self) -> Result<(), Wrong> {
        for shard in 0..usize::from(self.shards) {
            self.send(STATUS_ORIGIN, shard, Request::Status);
        }
        self.settle()
    }

    /// What the shards count at the end: nothing waits, credits are where the clients know of them, and of each id there is
    /// one row, unless it is forgotten.
    fn check_rows(&self, recovered: &Recovered) -> Result<(), Wrong> {
        let statuses = &self.statuses;
        let held: u32 = self.clients.iter().map(Client::credits).sum();
        let granted: u32 = statuses.values().map(|status| status.credits).sum();
        if granted != held {
            wrong!(Queue, "shards gave {granted} credits, and clients hold {held}");
        }
        if let Some((shard, status)) = statuses.iter().find(|(_, status)| status.depth > 0) {
            wrong!(Queue, "shard {shard} has nothing to do, and depth {}", status.depth);
        }
        for stripe in statuses.values().flat_map(|status| &status.stripes) {
            let space = self.spaces.iter().position(|space| space.key() == stripe.space.key);
            let left = recovered[space.expect("no other space was made")].left.len();
            if stripe.rows != left as u64 {
                wrong!(Rows, "a space counts {} rows, and has {left} ids", stripe.rows);
            }
        }
        Ok(())
    }

    /// In the end no segment is left that was worth a compaction: here, each that is written no more, by whomever it was.
    fn check_disk(&mut self) -> Result<(), Wrong> {
        let Chain { links, emptied, .. } = Chain::new(&self.device.disk.heads());
        self.summary.emptied += emptied.len();
        let mut whole = BTreeMap::new();
        for head in links.iter().filter_map(|link| link.head) {
            whole.entry(head.segment.log).or_insert_with(Vec::new).push(head.segment.number);
        }
        // The last one may hold nothing, and the one before it is the open one then, if the log has one.
        let most = |log: LogId| if log.0 < self.shards { 2 } else { 1 };
        match whole.iter().find(|(log, numbers)| numbers.len() > most(**log)) {
            Some((log, numbers)) => wrong!(Disk, "{log:?} still has the segments {numbers:?}"),
            None => Ok(()),
        }
    }

    /// Gives shards the time to look at what others say of their segments, as often as one waits for another.
    fn look_at_shares(&mut self) -> Result<(), Wrong> {
        for _ in 0..2 {
            self.now = self.now.after_micros(COMPACTION_LOOK_MICROS);
            self.settle()?;
        }
        Ok(())
    }

    fn recall_all_acked(&mut self) -> Result<(), Wrong> {
        let acked: Vec<Token> =
            self.ledger.attempts().filter(|(_, sent)| sent.acked).map(|(token, _)| token).collect();
        for token in acked {
            self.recall_own(token);
            self.settle()?;
        }
        Ok(())
    }

    /// Runs until nothing more happens by itself.
    fn settle(&mut self) -> Result<(), Wrong> {
        let end = self.now.after_micros(NEVER_MICROS);
        loop {
            let planned = self.events.first_key_value().map(|(&(at, _), _)| at);
            let deadline =
                self.process.as_ref().and_then(Process::deadline).map(|at| at.max(self.now));
            let Some(next) = planned.into_iter().chain(deadline).min() else {
                return Ok(());
            };
            if next.micros_since(self.now) > SETTLED_MICROS {
                return Ok(());
            }
            self.now = self.now.max(next);
            if self.now > end {
                wrong!(Answer, "there is always something left to do");
            }
            match planned {
                Some(at) if at <= next => {
                    let (_, event) = self.events.pop_first().expect("it was looked at");
                    self.happen(event)?;
                }
                _ => self.tick(),
            }
            self.drain_outputs()?;
        }
    }

    fn plan(&mut self, after_micros: u64, event: Event) {
        self.plan_at(self.now.after_micros(after_micros), event);
    }

    fn plan_at(&mut self, at: Time, event: Event) {
        self.events_planned += 1;
        self.events.insert((at, self.events_planned), event);
    }

    fn happen(&mut self, event: Event) -> Result<(), Wrong> {
        self.note(&event);
        match event {
            Event::Start => return self.start(),
            Event::Crash => return self.crash(),
            Event::Leap => self.process.as_mut().expect("it lives").leap(&mut self.random),
            Event::Request { shard, origin, request } => self.deliver(shard, origin, request),
            Event::Reply { shard, origin, reply } => return self.receive(shard, origin, reply),
            Event::IoEnds { shard, ticket } => self.end_io(shard, ticket),
            Event::Act { client } => self.act(client),
            Event::Work { shard } => self.work(shard),
            Event::Load { shard } => return self.load(shard),
            Event::Ask { shard } => {
                self.send(STATUS_ORIGIN, shard, Request::Status);
                if !self.is_stopping {
                    let pause = self.random.within(500..5_000);
                    self.plan(pause, Event::Ask { shard });
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, event: &Event) {
        let now = self.now;
        match event {
            Event::Request { shard, origin, request: Request::Append(append) } => self.trace.note(
                now,
                format_args!(
                    "{origin:x} → shard {shard}: append {} of {:?}",
                    append.sequence, append.session
                ),
            ),
            Event::Request { request: Request::Recall(_), .. } => {
                self.trace.note(now, format_args!("recall"));
            }
            Event::Reply { reply: Reply::Recalled(Ok(recalled)), .. } => {
                let similarities: Vec<u32> =
                    recalled.hits.iter().map(|hit| hit.similarity.to_bits()).collect();
                self.trace.note(now, format_args!("recalled {similarities:?}"));
            }
            event => self.trace.note(now, format_args!("{event:?}")),
        }
    }

    fn start(&mut self) -> Result<(), Wrong> {
        if self.bug == Some(Bug::BitRots) {
            self.device.disk.rot(&mut self.random);
        }
        if self.bug == Some(Bug::SegmentForgotten)
            && let Some(last) = self.device.disk.segments().last()
        {
            self.device.disk.remove(last);
        }
        let recovered = audit(&self.device.disk, &self.keys(), &self.ledger)?;
        if self.random.chance(self.weather.rots) {
            let keys = self.keys();
            audit_rotten(&self.device.disk, &keys, &self.ledger, &mut self.random)?;
        }
        self.device.disk.remove_drafts();
        self.summary.checkpoints += self.device.disk.checkpoints().count();
        if !self.has_rotten_checkpoint {
            audit_checkpoints(&self.device.disk)?;
        }
        if self.random.chance(self.weather.checkpoint_rots) {
            let rotten = self.device.disk.rot_checkpoint(&mut self.random);
            self.has_rotten_checkpoint |= rotten.is_some();
        }
        let is_last = self.crashes_left == 0;
        if is_last {
            let weather = &mut self.weather;
            [
                &mut weather.commit_fails,
                &mut weather.create_fails,
                &mut weather.read_fails,
                &mut weather.read_flips,
                &mut weather.disk_fills,
                &mut weather.checkpoint_fails,
            ]
            .into_iter()
            .for_each(|chance| *chance = 0);
            self.device.full_until = Time(0);
        }
        if self.random.chance(self.weather.reshard) {
            let others = (1..=SHARDS_MAX).filter(|shards| *shards != self.shards);
            let others: Vec<u16> = others.collect();
            self.shards = others[self.random.index(others.len())];
        }
        if self.random.chance(self.weather.ends_lost) {
            self.start_without_end()?;
        }
        let heads = self.device.disk.heads();
        for segment in Chain::new(&heads).relied_on() {
            let head = heads.iter().find(|(other, _)| *other == segment);
            let (_, head) = head.expect("it is one of them");
            self.device.disk.write_head(segment, head);
        }
        self.device.begin(self.shards);
        self.device.disk.keep_below(self.shards);
        if self.weather.is_tight {
            self.leave_room();
        }
        let (disk, random) = (&self.device.disk, &mut self.random);
        let started = Process::start(disk, self.shards, &self.weather, random, self.now);
        let (process, empty) = started.map_err(|fault| Wrong {
            checker: Checker::Log,
            text: format!("no start: {fault:?}"),
        })?;
        check_graphs(&process)?;
        self.process = Some(process);
        let removes = self.weather.is_tight || self.random.chance(500);
        self.empty = if removes { empty } else { Vec::new() };
        self.remove_empty();
        self.recovered_rows = recovered.iter().map(|space| space.records).sum();
        (self.recovered, self.forgets_before) = (recovered, self.ledger.forgets());
        for space in 0..self.spaces.len() {
            if !self.is_loading(space) {
                self.recall_recovered(space, World::send);
            }
        }
        for client in 0..self.clients.len() {
            let pause = self.random.within(100..3_000);
            self.plan(pause, Event::Act { client });
        }
        for shard in 0..usize::from(self.shards) {
            self.plan(100, Event::Ask { shard });
            self.plan(50, Event::Work { shard });
            self.plan_load(shard);
        }
        let Weather { observations, crashes, crashes_busy, .. } = self.weather;
        let later = observations * self.crashes_left as usize / (crashes as usize + 1);
        self.weather.observations_by_now = observations - later;
        self.crashes_busy = !is_last && self.random.chance(crashes_busy);
        let life = self.random.within(1_000..self.weather.run_micros_max);
        if self.random.chance(self.weather.clock_leaps) {
            let at = self.random.within(0..life);
            self.plan(at, Event::Leap);
        }
        match is_last {
            false => self.plan(life, Event::Crash),
            true => self.plan(life, Event::Ask { shard: 0 }),
        }
        self.crashes_left = self.crashes_left.saturating_sub(1);
        self.is_stopping = is_last && self.ledger.next_token().0 >= self.weather.observations;
        Ok(())
    }

    /// Each log has the place of its next segment, if need be because somebody made room for it, and there is none for another
    /// until something has gone; but for two of each log in any case, for what counts has room in one, and for the last of
    /// each that there ever was: where it holds nothing, it goes with a later start.
    fn leave_room(&mut self) {
        let disk = &mut self.device.disk;
        (0..self.shards).for_each(|log| disk.keep(LogId(log)));
        let least = 2 * usize::from(self.shards) + usize::from(SHARDS_MAX);
        self.device.places_max = Some(disk.places().max(least));
    }

    /// A log that lost its end, which a checkpoint covers, is not gone on with.
    fn start_without_end(&mut self) -> Result<(), Wrong> {
        let Some(disk) = without_end(&self.device.disk, &mut self.random) else { return Ok(()) };
        let (weather, random) = (&self.weather, &mut self.random);
        let weather = Weather { checkpoint_read_fails: 0, ..weather.clone() };
        match Process::start(&disk, self.shards, &weather, random, self.now) {
            Err(_) => Ok(()),
            Ok(_) => {
                wrong!(Damage, "what a checkpoint covers of a log is lost, and that was not told")
            }
        }
    }

    /// Removes what holds nothing, once no one reads whole logs any more.
    fn remove_empty(&mut self) {
        if self.process.as_ref().is_some_and(Process::is_loaded) {
            let Device { disk, .. } = &mut self.device;
            std::mem::take(&mut self.empty).into_iter().for_each(|segment| disk.remove(segment));
        }
    }

    fn is_loading(&self, space: usize) -> bool {
        let process = self.process.as_ref().expect("it lives");
        process.is_loading(self.spaces[space].stripe())
    }

    fn plan_load(&mut self, shard: usize) {
        let takes = self.random.within(1..self.weather.io_micros_max);
        self.plan(takes, Event::Load { shard });
    }

    /// A shard takes the next step of loading what it lacks. Stripes that are there since have just what the disk held.
    fn load(&mut self, shard: usize) -> Result<(), Wrong> {
        let process = self.process.as_mut().expect("its events end with a process");
        let (device, weather, random) = (&self.device, &self.weather, &mut self.random);
        let step = process.load(shard, device, weather, random, self.now);
        let step = step.map_err(|fault| Wrong {
            checker: Checker::Log,
            text: format!("a stripe cannot be loaded: {fault:?}"),
        })?;
        let now = self.now;
        self.trace.note(now, format_args!("shard {shard}: {step:?}"));
        match step {
            None => return Ok(()),
            Some(Step::Read) => {}
            Some(Step::LeftAside) => self.summary.left_aside += 1,
            Some(Step::Served(stripes)) => {
                self.summary.loaded += stripes.len();
                check_graphs(process)?;
                let is_served = |space: &Space| stripes.contains(&space.stripe());
                let served: Vec<usize> = (0..self.spaces.len())
                    .filter(|&space| is_served(&self.spaces[space]))
                    .collect();
                for space in served {
                    self.recall_recovered(space, World::deliver_at_once);
                }
                self.remove_empty();
            }
        }
        self.plan_load(shard);
        Ok(())
    }

    /// Asks a space for all that it has: just that must be there which the disk held.
    fn recall_recovered(&mut self, space: usize, carry: fn(&mut World, u64, usize, Request)) {
        let RecoveredSpace { tokens, left, .. } = &self.recovered[space];
        if tokens.is_empty() {
            return;
        }
        let expected = Expected::Exactly(left.clone());
        let vector = vec![1.0; usize::from(self.spaces[space].settings.dimension)];
        let (origin, shard, request) = self.cue(space, vector, Isolation::InFlight, 800, expected);
        carry(self, origin, shard, request);
    }

    fn crash(&mut self) -> Result<(), Wrong> {
        let process = self.process.take().expect("a process crashes once");
        check_graphs(&process)?;
        self.summary.used_again += process.shards.iter().map(Shard::used_again).sum::<u64>();
        process.abandon(&mut self.device.disk, &mut self.random);
        if self.random.chance(self.weather.power_cut) {
            self.device.disk.cut_power(&mut self.random);
            if self.bug == Some(Bug::SyncedBlocksTear) {
                self.device.disk.tear_stored(&mut self.random);
            }
        }
        self.ledger.end_run();
        self.summary.crashes += 1;
        self.events.clear();
        self.rings.clear();
        self.asked.clear();
        self.forgetting.clear();
        self.held_reply = None;
        self.statuses.clear();
        self.clients.iter_mut().for_each(Client::lose_process);
        let pause = self.random.within(1..20_000);
        self.plan(pause, Event::Start);
        Ok(())
    }

    fn tick(&mut self) {
        let process = self.process.as_mut().expect("a deadline is some process's");
        let now = process.time(self.now);
        for shard in &mut process.shards {
            if shard.deadline().is_some_and(|at| at <= now) {
                shard.handle_tick(now);
            }
        }
    }

    fn work(&mut self, shard: usize) {
        let Some(process) = &mut self.process else {
            return;
        };
        let granted = self.random.within(1..self.weather.work_max) as u32;
        let now = process.time(self.now);
        process.shards[shard].work(granted, now);
        // Planned again when there is something to do; `drain_outputs` looks after that.
    }

    /// Takes what the shards have to say, and plans their work.
    fn drain_outputs(&mut self) -> Result<(), Wrong> {
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        let mut outputs = Vec::new();
        for (number, shard) in process.shards.iter_mut().enumerate() {
            while let Some(output) = shard.poll() {
                outputs.push((number, output));
            }
        }
        let busy: Vec<usize> =
            (0..process.shards.len()).filter(|&number| process.shards[number].has_work()).collect();
        for (shard, output) in outputs {
            match output {
                Output::Io(ticket, io) => {
                    let process = self.process.as_mut().expect("it is there");
                    let earlier = process.in_flight.insert((shard, ticket), io);
                    assert!(earlier.is_none(), "a ticket names one I/O");
                    let stalls = self.random.chance(self.weather.io_stalls);
                    let takes = self.random.within(5..self.weather.io_micros_max)
                        * if stalls { 100 } else { 1 };
                    self.plan(takes, Event::IoEnds { shard, ticket });
                }
                Output::Reply(Origin(origin), reply) => {
                    self.check_commit_time(origin, &reply)?;
                    self.carry_reply(shard, origin, reply);
                }
            }
        }
        for shard in busy {
            let is_planned = self
                .events
                .values()
                .any(|event| matches!(event, Event::Work { shard: planned } if *planned == shard));
            if !is_planned {
                let pause = self.random.within(1..300);
                self.plan(pause, Event::Work { shard });
            }
        }
        Ok(())
    }

    /// Where a shard says it, not where it arrives: replies to one overtake those to another.
    fn check_commit_time(&mut self, origin: u64, reply: &Reply) -> Result<(), Wrong> {
        let Reply::Durable { committed_at: Some(committed_at), .. } = reply else {
            return Ok(());
        };
        let falls = self.bug == Some(Bug::CommitTimesFall) && self.random.chance(100);
        let committed_at = Time(committed_at.0 - if falls { 1_000_000 } else { 0 });
        let space = self.clients[Client::of_connection(origin)].space().number;
        self.ledger.committed(space, committed_at)
    }

    fn end_io(&mut self, shard: usize, ticket: IoTicket) {
        let process = self.process.as_mut().expect("its events end with a process");
        let gives_up = |io: &Io| matches!(io, Io::EmptySegment { .. } | Io::RemoveSegment { .. });
        if !process.is_loaded() && gives_up(&process.in_flight[&(shard, ticket)]) {
            // Someone may be about to read it.
            return self.plan(self.weather.io_micros_max, Event::IoEnds { shard, ticket });
        }
        let io = process.in_flight.remove(&(shard, ticket)).expect("an I/O ends once");
        let result =
            self.device.perform(shard, io, &self.weather, self.bug, &mut self.random, self.now);
        if result.is_err() {
            self.summary.failures += 1;
        }
        let process = self.process.as_mut().expect("it is there");
        let now = process.time(self.now);
        process.shards[shard].handle_io(ticket, result, now);
    }

    fn act(&mut self, client: usize) {
        if self.process.is_none() {
            return;
        }
        let now = self.process.as_ref().expect("checked above").time(self.now);
        let acting = &mut self.clients[client];
        if !(self.is_stopping && acting.is_idle()) {
            let requests = acting.act(&mut self.ledger, &self.weather, &mut self.random, now);
            let hung = acting.take_hung();
            self.carry_requests(client, requests);
            self.carry_late(client, hung);
        }
        if self.random.chance(50) && self.ledger.next_token().0 > 0 {
            self.recall_any();
        }
        if self.random.chance(self.weather.forgets) && self.ledger.next_token().0 > 0 {
            self.forget_any();
        }
        let sent = self.ledger.next_token().0;
        if sent >= self.weather.observations_by_now && std::mem::take(&mut self.crashes_busy) {
            // As long as the last commit is under way, about.
            let pause = self.random.within(0..self.weather.io_micros_max + LOG_COMMIT_WAIT_MICROS);
            self.plan(pause, Event::Crash);
        }
        if sent >= self.weather.observations && self.crashes_left == 0 {
            self.is_stopping = true;
        }
        if !self.is_stopping {
            let pause = self.random.within(10..1_500);
            self.plan(pause, Event::Act { client });
        }
    }

    fn carry_requests(&mut self, client: usize, requests: Vec<Request>) {
        let origin = self.clients[client].connection();
        let stripe = self.clients[client].space().stripe();
        let shard = self.process.as_ref().expect("it lives").owner(stripe);
        for request in requests {
            self.send(origin, shard, request);
        }
    }

    /// What a connection that hangs has to deliver comes when it comes, in order, and behind what it sent before.
    fn carry_late(&mut self, client: usize, hung: Option<(u64, Vec<Request>)>) {
        let Some((origin, requests)) = hung else {
            return;
        };
        let stripe = self.clients[client].space().stripe();
        let shard = self.process.as_ref().expect("it lives").owner(stripe);
        let ring = (Core::of_sender(origin, &self.weather), shard);
        let at = self.arrival(ring).after_micros(self.random.within(0..3_000));
        for request in requests {
            self.plan_at(at, Event::Request { shard, origin, request });
        }
    }

    /// A request is on its way; those of one origin arrive in order.
    fn send(&mut self, origin: u64, shard: usize, request: Request) {
        let at = self.arrival((Core::of_sender(origin, &self.weather), shard));
        self.plan_at(at, Event::Request { shard, origin, request });
    }

    /// When a message arrives that goes into this ring now: behind those before it, and where the ring is full, not until
    /// there is room.
    fn arrival(&mut self, ring: (Core, usize)) -> Time {
        let takes = self.random.within(1..self.weather.message_micros_max);
        let (now, room) = (self.now, self.weather.ring_messages);
        let under_way = self.rings.entry(ring).or_default();
        under_way.retain(|at| *at > now);
        let leaves = match under_way.len().checked_sub(room) {
            Some(blocking) => under_way[blocking],
            None => now,
        };
        let last = under_way.back().copied().unwrap_or_default();
        let at = leaves.after_micros(takes).max(last);
        under_way.push_back(at);
        at
    }

    /// A request that was on no way.
    fn deliver_at_once(&mut self, origin: u64, shard: usize, request: Request) {
        self.note(&Event::Request { shard, origin, request: request.clone() });
        self.deliver(shard, origin, request);
    }

    fn deliver(&mut self, shard: usize, origin: u64, request: Request) {
        let process = self.process.as_mut().expect("its events end with a process");
        let now = process.time(self.now);
        if let (Request::Recall(recall), Some(asked)) = (&request, self.asked.get_mut(&origin)) {
            asked.is_early = process.is_loading(recall.stripe);
        }
        if let (Some(bug), Request::Append(append)) = (self.bug, &request) {
            let Append { stripe, session, sequence, lane, .. } = *append;
            if bug == Bug::AckInVain && self.random.chance(50) {
                let committed_at = now.after_micros(5_000_000);
                let reply = Reply::Durable {
                    session,
                    first: sequence,
                    last: sequence,
                    committed_at: Some(committed_at),
                };
                let fetched = Request::ReturnCredit { stripe, count: 1 };
                process.shards[shard].handle_request(Origin(origin), fetched, now);
                return self.carry_reply(shard, origin, reply);
            }
            if bug == Bug::HandedOverTwice && self.random.chance(50) {
                let credit = Request::Credit { stripe, lane, wanted: 1 };
                process.shards[shard].handle_request(Origin(STATUS_ORIGIN), credit, now);
                let mut again = append.clone();
                again.sequence += 1;
                process.shards[shard].handle_request(Origin(origin), request, now);
                return process.shards[shard].handle_request(
                    Origin(origin),
                    Request::Append(again),
                    now,
                );
            }
        }
        process.shards[shard].handle_request(Origin(origin), request, now);
    }

    fn carry_reply(&mut self, shard: usize, origin: u64, reply: Reply) {
        let core = Core::of_sender(origin, &self.weather);
        let at = self.arrival((Core(!core.0), shard));
        if self.bug == Some(Bug::AcksOvertake) && matches!(reply, Reply::Durable { .. }) {
            match self.held_reply.take() {
                None if self.random.chance(300) => {
                    self.held_reply = Some((origin, reply));
                    return;
                }
                Some((held_origin, held)) => {
                    self.plan_at(at, Event::Reply { shard, origin, reply });
                    return self
                        .plan_at(at, Event::Reply { shard, origin: held_origin, reply: held });
                }
                None => {}
            }
        }
        self.plan_at(at, Event::Reply { shard, origin, reply });
    }

    fn receive(&mut self, shard: usize, origin: u64, reply: Reply) -> Result<(), Wrong> {
        if origin & RECALL_ORIGINS != 0 {
            let asked = self.asked.remove(&origin).expect("a recall is answered once");
            self.summary.recalls += 1;
            let reads_fail = self.weather.read_fails > 0 || self.weather.read_flips > 0;
            return match reply {
                Reply::Recalled(Ok(recalled)) => {
                    asked.check(&recalled, &mut self.ledger, reads_fail)
                }
                Reply::Recalled(Err(refusal)) => asked.check_refused(&refusal, &self.ledger),
                reply => wrong!(Answer, "a recall was answered by {reply:?}"),
            };
        }
        if origin & FORGET_ORIGINS != 0 {
            let number = (origin & !FORGET_ORIGINS) as usize;
            let was_asked = self.forgetting.remove(&number);
            assert!(was_asked, "who asks to forget is answered once");
            return match reply {
                Reply::Forgotten(Ok(count)) => {
                    self.summary.forgotten += count as usize;
                    self.ledger.forgotten(number, count)
                }
                Reply::Forgotten(Err(_)) => Ok(()),
                reply => wrong!(Answer, "who asked to forget was answered by {reply:?}"),
            };
        }
        if origin == STATUS_ORIGIN {
            return match reply {
                Reply::Status(status) => {
                    let checked =
                        check_status(shard, &status, self.weather.capacity, self.recovered_rows);
                    self.statuses.insert(shard, status);
                    checked
                }
                Reply::Credit { .. } => Ok(()),
                reply => wrong!(Answer, "a question about a shard was answered by {reply:?}"),
            };
        }
        let client = Client::of_connection(origin);
        let handled = self.clients[client].handle(origin, reply, &mut self.ledger, self.bug)?;
        let (requests, acked) = handled;
        self.carry_requests(client, requests);
        for token in acked {
            if self.random.chance(300) {
                self.recall_own(token);
            }
        }
        Ok(())
    }

    fn recall_own(&mut self, token: Token) {
        let sent = self.ledger.attempt(token).expect("it was sent");
        let (space, vector) = (sent.space, sent.vector.clone());
        let count = self.random.within(1..12) as u32;
        self.recall(space, vector, Isolation::Durable, count, Expected::First(token));
    }

    /// Someone wants a memory to be forgotten: as often as not one that was sent just now.
    fn forget_any(&mut self) {
        let sent = self.ledger.next_token().0;
        let back = if self.random.chance(500) { sent.min(8) } else { sent };
        let token = Token(sent - 1 - self.random.index(back));
        let sent = self.ledger.attempt(token).expect("it was sent");
        let (space, id) = (sent.space, sent.id.clone());
        let mode = [ForgetMode::Delete, ForgetMode::Suppress][self.random.index(2)];
        let number = self.ledger.forget(space, &id, mode);
        self.forgetting.insert(number);
        let stripe = self.spaces[space].stripe();
        let memory_hash = SECRET.memory_hash(&id) % self.weather.hashes;
        let forget = Forget { stripe, memory_hash, id: id.into(), mode };
        let shard = self.process.as_ref().expect("it lives").owner(stripe);
        self.send(FORGET_ORIGINS | number as u64, shard, Request::Forget(forget));
    }

    fn recall_any(&mut self) {
        let token = Token(self.random.index(self.ledger.next_token().0));
        let sent = self.ledger.attempt(token).expect("it was sent");
        if !self.ledger.spaces[sent.space].made {
            return;
        }
        let (space, vector) = (sent.space, sent.vector.clone());
        let isolation = [Isolation::Durable, Isolation::InFlight][self.random.index(2)];
        let count = self.random.within(1..60) as u32;
        self.recall(space, vector, isolation, count, Expected::Any);
    }

    fn recall(
        &mut self,
        space: usize,
        vector: Vec<f32>,
        isolation: Isolation,
        count: u32,
        expected: Expected,
    ) {
        let (origin, shard, request) = self.cue(space, vector, isolation, count, expected);
        self.send(origin, shard, request);
    }

    /// A recall, noted with what it must find; who asks, and which shard is to answer.
    fn cue(
        &mut self,
        space: usize,
        vector: Vec<f32>,
        isolation: Isolation,
        count: u32,
        expected: Expected,
    ) -> (u64, usize, Request) {
        let metric = self.spaces[space].settings.metric;
        let (cue, codes) = prepared(&vector, metric);
        let stripe = self.spaces[space].stripe();
        let request = Request::Recall(Recall {
            stripe,
            cue: Cue::Like { vector: cue.into_boxed_slice(), codes },
            count,
            width: 0,
            isolation,
            as_of: None,
            similarity_min: f32::NEG_INFINITY,
            filter: None,
        });
        let process = self.process.as_ref().expect("it lives");
        let shard = process.owner(stripe);
        // What was acked before a restart is promised again once it is durable again.
        let is_ready = !process.shards[shard].has_unproven() && !process.is_loading(stripe);
        let (expected, snapshot_min) = match (is_ready, expected) {
            (false, Expected::First(_)) => (Expected::Any, 0),
            (false, expected) => (expected, 0),
            (true, expected) => (expected, self.ledger.snapshot_min(space)),
        };
        // Which of two replaces the other is known once both were read. Where reads fail, or two ids share a hash and take
        // longer, it may be told a while later.
        let Weather { read_fails, read_flips, hashes, .. } = self.weather;
        let is_plain = read_fails == 0 && read_flips == 0 && hashes == u64::MAX;
        let acks = if is_ready && is_plain { self.ledger.acks() } else { 0 };
        self.recalls_asked += 1;
        let origin = RECALL_ORIGINS | self.recalls_asked << 32;
        let (answers, forgets) = (self.ledger.answers(), self.forgets_before);
        let asked = Asked {
            space,
            metric,
            vector,
            isolation,
            snapshot_min,
            acks,
            answers,
            forgets,
            is_early: false,
            expected,
        };
        self.asked.insert(origin, asked);
        (origin, shard, request)
    }

    fn keys(&self) -> Vec<engram_shards::ids::SpaceKey> {
        self.spaces.iter().map(Space::key).collect()
    }
}

fn check_graphs(process: &Process) -> Result<(), Wrong> {
    let wrong = |text| Wrong { checker: Checker::Graph, text };
    process.shards.iter().try_for_each(|shard| shard.check().map_err(wrong))
}
