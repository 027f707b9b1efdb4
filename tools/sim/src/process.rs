//! The shards of one run, and their I/O in flight.

use std::collections::{BTreeMap, BTreeSet};

use engram_shards::checkpoint::reading::CheckedHead;
use engram_shards::ids::{FolderSecret, LogId, SegmentId, StripeKey, Time};
use engram_shards::log::replay::LogFault;
use engram_shards::shard::{Io, IoTicket, Loading, Ready, Recovering, Remains, Shard, ShardConfig};

use crate::device::Device;
use crate::disk::{Disk, Reached};
use crate::fault::Weather;
use crate::random::Random;

/// What names every hash in the simulated folder.
pub const SECRET: FolderSecret = FolderSecret(*b"simulated secret");

/// Three of them are far less than the time after which sessions expire.
const HOUR_MICROS: u64 = 3_600_000_000;

/// One life of the process.
#[derive(Debug)]
pub struct Process {
    /// Its shards.
    pub shards: Vec<Shard>,
    /// What the disk has not answered.
    pub in_flight: BTreeMap<(usize, IoTicket), Io>,
    /// What they still lack, by shard.
    rests: Vec<Rest>,
    /// The stripes that they lack.
    loading: BTreeSet<StripeKey>,
    /// What the disk held when it started.
    remains: Remains,
    /// How far its clock is ahead of the world's, in microseconds.
    clock_ahead: u64,
}

/// What a shard that serves already still lacks.
#[derive(Debug)]
struct Rest {
    config: ShardConfig,
    loading: Loading,
    /// Stripes whose checkpoint could not be read.
    replaying: Option<Recovering>,
}

/// What a step of loading came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is more to be read.
    Read,
    /// A checkpoint cannot be used, and its stripe is replayed instead.
    LeftAside,
    /// These stripes are served from now on.
    Served(Vec<StripeKey>),
}

impl Process {
    /// Starts so many shards from what the disk holds, without the stripes that have a checkpoint. Also says which
    /// segments hold nothing.
    pub fn start(
        disk: &Disk,
        shards: u16,
        weather: &Weather,
        random: &mut Random,
        now: Time,
    ) -> Result<(Process, Vec<SegmentId>), LogFault> {
        let remains = remains(disk, weather, random);
        let hours = random.chance(weather.clock_leaps);
        let clock_ahead = random.within(0..if hours { 3 * HOUR_MICROS } else { 2_000_000 });
        let mut process = Process {
            shards: Vec::new(),
            in_flight: BTreeMap::new(),
            rests: Vec::new(),
            loading: remains.checkpoints.keys().copied().collect(),
            remains: Remains::default(),
            clock_ahead,
        };
        let mut empty = Vec::new();
        for shard in 0..shards {
            let config = ShardConfig {
                log: LogId(shard),
                shards,
                secret: SECRET,
                incarnation_seed: random.number(),
                capacity: weather.capacity,
                recall_target: weather.recall_target,
                acks: weather.acks,
                tail: weather.tail,
                checkpoints: weather.checkpoints,
                record_cache_bytes: weather.record_cache_bytes,
            };
            let owns = Box::new(move |stripe| owner_of(stripe, shards) == usize::from(shard));
            let mut recovering = Recovering::new(config.clone(), &remains, owns)?;
            while let Some(segment) = recovering.next() {
                recovering.handle_segment(disk.segment(segment))?;
            }
            let now = process.time(now);
            let (shard, loading, found_empty) = recovering.finish(now)?;
            process.shards.push(shard);
            process.rests.push(Rest { config, loading, replaying: None });
            empty = found_empty;
        }
        process.remains = remains;
        Ok((process, empty))
    }

    /// Takes the next step of what a shard still lacks: reads a piece of a checkpoint, or a segment where that is damaged.
    /// None where it lacks nothing.
    pub fn load(
        &mut self,
        shard: usize,
        device: &Device,
        weather: &Weather,
        random: &mut Random,
        now: Time,
    ) -> Result<Option<Step>, LogFault> {
        let Rest { config, loading, replaying } = &mut self.rests[shard];
        let ready = if let Some(mut recovering) = replaying.take() {
            if let Some(segment) = recovering.next() {
                recovering.handle_segment(device.disk.segment(segment))?;
                *replaying = Some(recovering);
                return Ok(Some(Step::Read));
            }
            recovering.finish_stripes()?
        } else {
            let Some(piece) = loading.next_piece() else { return Ok(None) };
            let taken = match device.read_checkpoint(piece, weather, random) {
                Ok(bytes) => loading.handle_piece(&bytes).map_err(|_| ()),
                Err(_) => {
                    loading.give_up();
                    Err(())
                }
            };
            match taken {
                Ok(None) => return Ok(Some(Step::Read)),
                Ok(Some(ready)) => vec![ready],
                Err(()) => {
                    let (config, (stripe, _)) = (config.clone(), piece);
                    let begun = Recovering::without_checkpoint(config, &self.remains, stripe)?;
                    *replaying = Some(begun);
                    return Ok(Some(Step::LeftAside));
                }
            }
        };
        let served: Vec<StripeKey> = ready.iter().map(Ready::key).collect();
        let now = self.time(now);
        ready.into_iter().for_each(|ready| self.shards[shard].restore(ready, now));
        self.loading.retain(|stripe| !served.contains(stripe));
        Ok(Some(Step::Served(served)))
    }

    /// Whether all stripes are served.
    pub fn is_loaded(&self) -> bool {
        self.loading.is_empty()
    }

    /// Whether a stripe is not served yet.
    pub fn is_loading(&self, stripe: StripeKey) -> bool {
        self.loading.contains(&stripe)
    }

    /// The time that the process believes it is.
    pub fn time(&self, now: Time) -> Time {
        now.after_micros(self.clock_ahead)
    }

    /// The clock leaps ahead: the machine was asleep.
    pub fn leap(&mut self, random: &mut Random) {
        self.clock_ahead += random.within(0..HOUR_MICROS);
    }

    /// When a shard wants to be woken, in the world's time.
    pub fn deadline(&self) -> Option<Time> {
        let deadlines = self.shards.iter().filter_map(Shard::deadline);
        deadlines.min().map(|at| Time(at.micros_since(Time(self.clock_ahead))))
    }

    /// The shard that owns a stripe.
    pub fn owner(&self, stripe: StripeKey) -> usize {
        owner_of(stripe, self.shards.len() as u16)
    }

    /// The process ends in the midst of its writes.
    pub fn abandon(self, disk: &mut Disk, random: &mut Random) {
        for io in self.in_flight.into_values() {
            // The kernel ends most writes that it was given before.
            let reached = match random.chance(500) {
                true => Reached::Cache,
                false => Reached::draw(random),
            };
            match io {
                Io::KeepSegment { log, .. } if reached == Reached::Cache => disk.keep(log),
                Io::CreateSegment { segment, head, .. } => {
                    disk.create_in_vain(segment, &head, reached, random);
                }
                Io::Commit { segment, offset, bytes, .. } => {
                    disk.write_in_vain(segment, offset as usize, &bytes, reached, random);
                }
                Io::EmptySegment { segment, bytes } if reached == Reached::Cache => {
                    disk.replace(segment, &bytes);
                }
                Io::RemoveSegment { segment } if reached == Reached::Cache => disk.remove(segment),
                Io::EmptySegment { .. } | Io::RemoveSegment { .. } => {}
                Io::CreateCheckpoint { stripe, .. } if reached == Reached::Cache => {
                    disk.create_draft(stripe);
                }
                Io::WriteCheckpoint { stripe, offset, bytes, .. }
                    if reached != Reached::Nothing =>
                {
                    disk.write_draft(stripe, offset, &bytes[..random.index(bytes.len() + 1)]);
                }
                Io::SyncCheckpoint { stripe } if reached == Reached::Cache => {
                    disk.sync_draft(stripe);
                }
                // The folder's sync is what it did not come to.
                Io::KeepCheckpoint { stripe } if reached == Reached::Cache => {
                    disk.keep_draft(stripe);
                }
                Io::WriteSummary { segment, bytes } if reached != Reached::Nothing => {
                    disk.write_summary(segment, &bytes[..random.index(bytes.len() + 1)]);
                }
                Io::Read { .. }
                | Io::Sync { .. }
                | Io::KeepSegment { .. }
                | Io::Share { .. }
                | Io::CreateCheckpoint { .. }
                | Io::WriteCheckpoint { .. }
                | Io::SyncCheckpoint { .. }
                | Io::KeepCheckpoint { .. }
                | Io::WriteSummary { .. } => {}
            }
        }
    }
}

/// What a recovery wants to know first. Heads of checkpoints that the disk does not give are not there.
fn remains(disk: &Disk, weather: &Weather, random: &mut Random) -> Remains {
    let mut checked = |(stripe, bytes): (StripeKey, &[u8])| {
        let is_read = !random.chance(weather.checkpoint_read_fails);
        let head = CheckedHead::new(bytes, stripe, bytes.len() as u64).ok();
        Some((stripe, head.filter(|_| is_read)?))
    };
    Remains {
        heads: disk.heads(),
        summaries: disk.summaries(),
        checkpoints: disk.checkpoints().filter_map(&mut checked).collect(),
    }
}

fn owner_of(stripe: StripeKey, shards: u16) -> usize {
    (stripe.space.0.wrapping_add(u64::from(stripe.stripe)) % u64::from(shards)) as usize
}
