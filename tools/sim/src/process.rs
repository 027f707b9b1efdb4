//! The shards of one run, and their I/O in flight.

use std::collections::BTreeMap;

use engram_shards::checkpoint::layout::Piece;
use engram_shards::checkpoint::reading::CheckedHead;
use engram_shards::ids::{FolderSecret, LogId, SegmentId, StripeKey, Time};
use engram_shards::log::replay::LogFault;
use engram_shards::shard::{Io, IoTicket, Loading, Recovering, Remains, Shard, ShardConfig};

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
    /// How far its clock is ahead of the world's, in microseconds.
    clock_ahead: u64,
}

impl Process {
    /// Starts so many shards from what the disk holds. Also says which segments hold nothing.
    pub fn start(
        disk: &Disk,
        shards: u16,
        weather: &Weather,
        random: &mut Random,
        now: Time,
    ) -> Result<(Process, Vec<SegmentId>), LogFault> {
        let remains = remains(disk);
        let hours = random.chance(weather.clock_leaps);
        let clock_ahead = random.within(0..if hours { 3 * HOUR_MICROS } else { 2_000_000 });
        let mut process = Process { shards: Vec::new(), in_flight: BTreeMap::new(), clock_ahead };
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
            };
            let owns = Box::new(move |stripe| owner_of(stripe, shards) == usize::from(shard));
            let mut recovering = Recovering::new(config.clone(), &remains, owns)?;
            while let Some(segment) = recovering.next() {
                recovering.handle_segment(disk.segment(segment))?;
            }
            let now = process.time(now);
            let (mut shard, loading, found_empty) = recovering.finish(now)?;
            load(&mut shard, loading, (&config, &remains), disk, now)?;
            process.shards.push(shard);
            empty = found_empty;
        }
        Ok((process, empty))
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
                    disk.write_in_vain(segment, 0, &head, reached, random);
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
                // The folder's sync may be what it did not come to.
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

/// What a recovery wants to know first.
fn remains(disk: &Disk) -> Remains {
    let checked = |(stripe, bytes): (StripeKey, &[u8])| {
        Some((stripe, CheckedHead::new(bytes, stripe, bytes.len() as u64).ok()?))
    };
    Remains {
        heads: disk.heads(),
        summaries: disk.summaries(),
        checkpoints: disk.checkpoints().filter_map(checked).collect(),
    }
}

/// Reads the checkpoints of a shard's stripes, and replays those whose are damaged.
fn load(
    shard: &mut Shard,
    mut loading: Loading,
    (config, remains): (&ShardConfig, &Remains),
    disk: &Disk,
    now: Time,
) -> Result<(), LogFault> {
    while let Some((stripe, Piece { offset, bytes })) = loading.next_piece() {
        let piece = &disk.checkpoint(stripe)[offset as usize..(offset + bytes) as usize];
        match loading.handle_piece(piece) {
            Ok(ready) => ready.into_iter().for_each(|ready| shard.restore(ready, now)),
            Err(_) => {
                let config = config.clone();
                let mut recovering = Recovering::without_checkpoint(config, remains, stripe)?;
                while let Some(segment) = recovering.next() {
                    recovering.handle_segment(disk.segment(segment))?;
                }
                recovering.finish_stripes()?.into_iter().for_each(|one| shard.restore(one, now));
            }
        }
    }
    Ok(())
}

fn owner_of(stripe: StripeKey, shards: u16) -> usize {
    (stripe.space.0.wrapping_add(u64::from(stripe.stripe)) % u64::from(shards)) as usize
}
