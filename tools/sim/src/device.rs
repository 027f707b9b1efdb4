//! What answers a shard's I/O: the disk, with the weather it is exposed to.

use std::collections::BTreeMap;

use engram_shards::checkpoint::layout::Piece;
use engram_shards::ids::{SegmentId, StripeKey, Time};
use engram_shards::log::log::IoFault;
use engram_shards::shard::{Io, IoOutput, Share};

use crate::disk::{Disk, Reached};
use crate::fault::{Bug, Weather};
use crate::random::Random;

/// A disk that may fail, or be full for a while.
#[derive(Debug, Default)]
pub struct Device {
    /// What it holds.
    pub disk: Disk,
    /// Until then no segment can be made.
    pub full_until: Time,
    /// For how many segments there is room; none: for any.
    pub places_max: Option<usize>,
    /// How many shards there are, and what they have told to count of segments for them.
    shards: usize,
    shares: BTreeMap<(SegmentId, usize), Share>,
}

impl Device {
    /// So many shards are built: none has told anything.
    pub fn begin(&mut self, shards: u16) {
        self.shards = usize::from(shards);
        self.shares.clear();
    }

    /// What counts of a segment for all shards.
    fn total(&self, segment: SegmentId) -> Share {
        let told = |shard| self.shares.get(&(segment, shard)).copied().unwrap_or(Share::Unknown);
        (0..self.shards).map(told).fold(Share::Left, Share::with)
    }

    /// Does what this shard asked for, if the weather lets it.
    pub fn perform(
        &mut self,
        shard: usize,
        io: Io,
        weather: &Weather,
        bug: Option<Bug>,
        random: &mut Random,
        now: Time,
    ) -> Result<IoOutput, IoFault> {
        match io {
            Io::KeepSegment { log, .. } => {
                if !self.disk.keeps(log) && self.is_full(weather, random, now) {
                    return Err(IoFault::Full);
                }
                if random.chance(weather.create_fails) {
                    return Err(IoFault::Failed);
                }
                self.disk.keep(log);
                Ok(IoOutput::Done)
            }
            Io::CreateSegment { segment, head, .. } => {
                self.create(segment, &head, weather, random, now)
            }
            Io::Commit { segment, offset, bytes, sync } => {
                if random.chance(weather.commit_fails) {
                    let reached = Reached::draw(random);
                    self.disk.write_in_vain(segment, offset as usize, &bytes, reached, random);
                    if sync {
                        self.disk.sync_in_vain(segment, random);
                    }
                    return Err([IoFault::Failed, IoFault::Full][random.index(2)]);
                }
                self.disk.write(segment, offset as usize, &bytes);
                if sync && bug != Some(Bug::SyncLies) {
                    self.disk.sync(segment);
                }
                Ok(IoOutput::Done)
            }
            Io::Sync { segment } => {
                if random.chance(weather.commit_fails) {
                    self.disk.sync_in_vain(segment, random);
                    return Err(IoFault::Failed);
                }
                if bug != Some(Bug::SyncLies) {
                    self.disk.sync(segment);
                }
                Ok(IoOutput::Done)
            }
            Io::Share { shares } => {
                let told = shares.iter().map(|(segment, share)| ((*segment, shard), *share));
                self.shares.extend(told);
                let total = |(segment, _): &(SegmentId, Share)| self.total(*segment);
                Ok(IoOutput::Shares(shares.iter().map(total).collect()))
            }
            Io::EmptySegment { segment, bytes } => {
                let mut told = self.shares.range((segment, 0)..=(segment, usize::MAX));
                if told.next().is_some() && self.total(segment) != Share::Left {
                    return Err(IoFault::Failed);
                }
                let fails = random.chance(weather.create_fails);
                // The folder's sync may fail when the name is there already.
                if !fails || random.chance(300) {
                    self.disk.replace(segment, &bytes);
                }
                if fails { Err(IoFault::Failed) } else { Ok(IoOutput::Done) }
            }
            Io::RemoveSegment { segment } => {
                if random.chance(weather.create_fails) {
                    return Err(IoFault::Failed);
                }
                self.disk.remove(segment);
                Ok(IoOutput::Done)
            }
            Io::CreateCheckpoint { .. }
            | Io::WriteCheckpoint { .. }
            | Io::SyncCheckpoint { .. }
            | Io::KeepCheckpoint { .. } => self.draft(io, weather, random),
            Io::WriteSummary { segment, bytes } => {
                self.disk.write_summary(segment, &bytes);
                Ok(IoOutput::Done)
            }
            Io::Read { mut places } => {
                if random.chance(weather.read_fails) {
                    return Err(IoFault::Failed);
                }
                if bug == Some(Bug::ReadsElsewhere) {
                    let elsewhere = |offset: u32| offset.saturating_sub(8);
                    places.iter_mut().for_each(|place| place.offset = elsewhere(place.offset));
                }
                let mut records: Vec<Vec<u8>> =
                    places.into_iter().map(|place| self.disk.read(place)).collect();
                if random.chance(weather.read_flips) {
                    let record = random.index(records.len());
                    let at = random.index(records[record].len());
                    records[record][at] ^= 1 << random.index(8);
                }
                Ok(IoOutput::Read(records))
            }
        }
    }

    /// A piece of a stripe's checkpoint, as the disk gives it.
    pub fn read_checkpoint(
        &self,
        (stripe, piece): (StripeKey, Piece),
        weather: &Weather,
        random: &mut Random,
    ) -> Result<Vec<u8>, IoFault> {
        let (from, end) = (piece.offset as usize, (piece.offset + piece.bytes) as usize);
        let mut bytes = self.disk.checkpoint(stripe)[from..end].to_vec();
        if random.chance(weather.checkpoint_read_fails) {
            match random.index(3) {
                0 => return Err(IoFault::Failed),
                1 => bytes.truncate(random.index(bytes.len())),
                _ => {
                    let at = random.index(bytes.len());
                    bytes[at] ^= 1 << random.index(8);
                }
            }
        }
        Ok(bytes)
    }

    /// A step of a checkpoint. Of one that fails some may have come about; whoever made the draft removes it, where that
    /// succeeds.
    fn draft(
        &mut self,
        io: Io,
        weather: &Weather,
        random: &mut Random,
    ) -> Result<IoOutput, IoFault> {
        let Device { disk, .. } = self;
        let fails = random.chance(weather.checkpoint_fails);
        let stripe = match io {
            Io::CreateCheckpoint { stripe, .. } => {
                if !fails || random.chance(500) {
                    disk.create_draft(stripe);
                }
                stripe
            }
            Io::WriteCheckpoint { stripe, offset, bytes, sync } => {
                let reached = if fails { random.index(bytes.len() + 1) } else { bytes.len() };
                disk.write_draft(stripe, offset, &bytes[..reached]);
                match (sync, fails) {
                    (true, true) => disk.sync_draft_in_vain(stripe, random),
                    (true, false) => disk.sync_draft(stripe),
                    (false, _) => {}
                }
                stripe
            }
            Io::SyncCheckpoint { stripe } => {
                match fails {
                    true => disk.sync_draft_in_vain(stripe, random),
                    false => disk.sync_draft(stripe),
                }
                stripe
            }
            Io::KeepCheckpoint { stripe } => {
                if !disk.has_draft(stripe) {
                    return Err(IoFault::Failed);
                }
                // The folder's sync may fail when the name is another's already.
                if !fails || random.chance(500) {
                    disk.keep_draft(stripe);
                }
                if !fails {
                    disk.sync_checkpoints();
                }
                stripe
            }
            io => unreachable!("no step of a checkpoint: {io:?}"),
        };
        if !fails {
            return Ok(IoOutput::Done);
        }
        if random.chance(700) {
            disk.remove_draft(stripe);
        }
        Err([IoFault::Failed, IoFault::Full][random.index(2)])
    }

    /// Whether there is no room for a further segment.
    fn is_full(&mut self, weather: &Weather, random: &mut Random, now: Time) -> bool {
        if random.chance(weather.disk_fills) {
            self.full_until = now.after_micros(random.within(1..20_000));
        }
        let is_full = self.places_max.is_some_and(|max| self.disk.places() >= max);
        now < self.full_until || is_full
    }

    fn create(
        &mut self,
        segment: SegmentId,
        head: &[u8],
        weather: &Weather,
        random: &mut Random,
        now: Time,
    ) -> Result<IoOutput, IoFault> {
        if !self.disk.keeps(segment.log) && self.is_full(weather, random, now) {
            return Err(IoFault::Full);
        }
        if random.chance(weather.create_fails) {
            let reached = Reached::draw(random);
            self.disk.create_in_vain(segment, head, reached, random);
            // Whoever made it in vain removes it, where that succeeds.
            if random.chance(700) {
                self.disk.remove(segment);
            }
            return Err(IoFault::Failed);
        }
        self.disk.create(segment, head);
        Ok(IoOutput::Done)
    }
}
