//! What answers a shard's I/O: the disk, with the weather it is exposed to.

use std::collections::BTreeMap;

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
            Io::CreateCheckpoint { stripe, .. } => self.draft(stripe, weather, random, |disk| {
                disk.create_draft(stripe);
            }),
            Io::WriteCheckpoint { stripe, offset, bytes, sync } => {
                self.draft(stripe, weather, random, |disk| {
                    disk.write_draft(stripe, offset, &bytes);
                    if sync {
                        disk.sync_draft(stripe);
                    }
                })
            }
            Io::SyncCheckpoint { stripe } => self.draft(stripe, weather, random, |disk| {
                disk.sync_draft(stripe);
            }),
            Io::KeepCheckpoint { stripe } => self.draft(stripe, weather, random, |disk| {
                disk.keep_draft(stripe);
            }),
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

    /// A step of a checkpoint; where it fails, nothing is left of the draft.
    fn draft(
        &mut self,
        stripe: StripeKey,
        weather: &Weather,
        random: &mut Random,
        step: impl FnOnce(&mut Disk),
    ) -> Result<IoOutput, IoFault> {
        if random.chance(weather.checkpoint_fails) {
            self.disk.remove_draft(stripe);
            return Err([IoFault::Failed, IoFault::Full][random.index(2)]);
        }
        step(&mut self.disk);
        Ok(IoOutput::Done)
    }

    /// Whether there is no room for a further segment.
    fn is_full(&mut self, weather: &Weather, random: &mut Random, now: Time) -> bool {
        if random.chance(weather.disk_fills) {
            self.full_until = now.after_micros(random.within(1..20_000));
        }
        now < self.full_until || self.places_max.is_some_and(|max| self.disk.places() >= max)
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
            self.disk.write_in_vain(segment, 0, head, reached, random);
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
