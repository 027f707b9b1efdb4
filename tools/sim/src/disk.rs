//! Files as a disk and its cache keep them: what is written is in the cache, what is synced is on the disk, and what a
//! power cut leaves of the rest is a matter of luck, sector by sector.

use std::collections::BTreeMap;

use engram_shards::ids::{Location, LogId, SegmentId, StripeKey};
use engram_shards::limits::LOG_BLOCK_BYTES;
use engram_shards::log::replay::HEAD_BYTES;

use crate::random::Random;

/// What a disk writes whole or not at all, in bytes.
const SECTOR_BYTES: usize = 512;

/// Where a segment's head says how long its file is.
const HEAD_BYTES_TOTAL: std::ops::Range<usize> = 20..24;

/// All files.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    files: BTreeMap<SegmentId, File>,
    checkpoints: BTreeMap<StripeKey, File>,
    /// What was there before a draft took its place, where the folder was not synced since: a power cut may bring it back.
    replaced: BTreeMap<StripeKey, Option<File>>,
    /// Checkpoints that are being written. A new process finds them and removes them.
    drafts: BTreeMap<StripeKey, File>,
    summaries: BTreeMap<SegmentId, File>,
    /// The place of each log's next segment: what was a segment before holds what that held.
    kept: BTreeMap<LogId, File>,
    /// How many logs are written.
    logs: u16,
}

#[derive(Clone, Debug, Default)]
struct File {
    /// As readers see it.
    cached: Vec<u8>,
    /// As it will be after a power cut, but for what is dirty.
    stored: Vec<u8>,
    /// Written and not synced: offset and length.
    dirty: Vec<(usize, usize)>,
    /// The folder knows its name for good.
    named: bool,
}

impl File {
    /// Whether it is more than the head that a compaction left.
    fn is_whole(&self) -> bool {
        self.cached.get(HEAD_BYTES_TOTAL) != Some(&LOG_BLOCK_BYTES.to_le_bytes()[..])
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        put(&mut self.cached, offset, bytes);
        self.dirty.push((offset, bytes.len()));
    }

    fn sync(&mut self) {
        // Only what the cache knows to be dirty: what it gave up once is never written.
        for (offset, length) in std::mem::take(&mut self.dirty) {
            put(&mut self.stored, offset, &self.cached[offset..offset + length]);
        }
    }

    /// The cache gives up what is dirty: some sectors were stored, in any order.
    fn lose_dirty(&mut self, random: &mut Random) {
        let kept = random.within(0..5);
        for (offset, length) in std::mem::take(&mut self.dirty) {
            let end = offset + length;
            let prefix = offset + random.index(length + 1);
            for sector in (offset..end).step_by(SECTOR_BYTES) {
                let is_stored = match kept {
                    0 => false,
                    1 => true,
                    2 => sector < prefix,
                    _ => random.chance(500),
                };
                let sector_end = end.min(sector + SECTOR_BYTES);
                if is_stored {
                    let bytes = self.cached[sector..sector_end].to_vec();
                    put(&mut self.stored, sector, &bytes);
                } else if kept == 4 {
                    // Neither the old nor the new: the sector was being written.
                    let byte = random.number() as u8;
                    put(&mut self.stored, sector, &vec![byte; sector_end - sector]);
                }
            }
        }
    }
}

fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if file.len() < offset + bytes.len() {
        file.resize(offset + bytes.len(), 0);
    }
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
}

/// How much of a write that did not succeed came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// Nothing.
    Nothing,
    /// Some of it.
    Part,
    /// All of it, but it was not synced.
    Cache,
}

impl Reached {
    /// Draws one.
    pub fn draw(random: &mut Random) -> Reached {
        [Reached::Nothing, Reached::Part, Reached::Cache][random.index(3)]
    }
}

impl Disk {
    /// There is a place for the next segment of a log.
    pub fn keep(&mut self, log: LogId) {
        self.kept.entry(log).or_default();
    }

    /// Only these many logs are written any more.
    pub fn keep_below(&mut self, logs: u16) {
        self.kept.retain(|log, _| log.0 < logs);
        self.logs = logs;
    }

    /// Whether there is a place at hand.
    pub fn keeps(&self, log: LogId) -> bool {
        self.kept.contains_key(&log)
    }

    /// How many places of segments are taken or kept: where a compaction left a head, none is.
    pub fn places(&self) -> usize {
        self.files.values().filter(|file| file.is_whole()).count() + self.kept.len()
    }

    /// A file is made, of what is kept where something is, with its head, and synced as its name is.
    pub fn create(&mut self, segment: SegmentId, head: &[u8]) {
        self.begin(segment);
        self.write_head(segment, head);
    }

    /// A file is made in vain: as far as it came about, it has the name, and what a file of before held behind the head.
    pub fn create_in_vain(
        &mut self,
        segment: SegmentId,
        head: &[u8],
        reached: Reached,
        random: &mut Random,
    ) {
        if reached != Reached::Nothing {
            self.begin(segment);
        }
        self.write_in_vain(segment, 0, head, reached, random);
    }

    fn begin(&mut self, segment: SegmentId) {
        self.keep(segment.log);
        let kept = self.kept.remove(&segment.log).expect("it was just kept");
        self.files.insert(segment, File { named: false, ..kept });
    }

    /// Another file has taken this one's place for good. It is kept for the next segment then, with all that it holds.
    pub fn replace(&mut self, segment: SegmentId, bytes: &[u8]) {
        self.summaries.remove(&segment);
        let replaced = self.files.remove(&segment);
        if let Some(file) = replaced.filter(|file| file.is_whole() && segment.log.0 < self.logs) {
            self.kept.insert(segment.log, file);
        }
        self.write_head(segment, bytes);
    }

    /// A segment's head is written, and synced as the segment's name is.
    pub fn write_head(&mut self, segment: SegmentId, head: &[u8]) {
        self.write(segment, 0, head);
        self.sync(segment);
        self.file(segment).named = true;
    }

    /// The file is gone for good.
    pub fn remove(&mut self, segment: SegmentId) {
        self.summaries.remove(&segment);
        self.files.remove(&segment);
    }

    /// Bytes go to the cache.
    pub fn write(&mut self, segment: SegmentId, offset: usize, bytes: &[u8]) {
        self.file(segment).write(offset, bytes);
    }

    /// What is in the cache goes to the disk.
    pub fn sync(&mut self, segment: SegmentId) {
        self.file(segment).sync();
    }

    /// A write that fails, or during which the process ends.
    pub fn write_in_vain(
        &mut self,
        segment: SegmentId,
        offset: usize,
        bytes: &[u8],
        reached: Reached,
        random: &mut Random,
    ) {
        let length = match reached {
            Reached::Nothing => return,
            Reached::Part => random.index(bytes.len() + 1),
            Reached::Cache => bytes.len(),
        };
        self.file(segment).write(offset, &bytes[..length]);
    }

    /// A sync fails: the cache forgets that it has something to write, and shows it as written.
    pub fn sync_in_vain(&mut self, segment: SegmentId, random: &mut Random) {
        if let Some(file) = self.files.get_mut(&segment) {
            file.lose_dirty(random);
        }
    }

    /// A draft is made anew.
    pub fn create_draft(&mut self, stripe: StripeKey) {
        self.drafts.insert(stripe, File { named: true, ..File::default() });
    }

    /// A part of a draft goes to the cache, if there is a draft.
    pub fn write_draft(&mut self, stripe: StripeKey, offset: u64, bytes: &[u8]) {
        if let Some(draft) = self.drafts.get_mut(&stripe) {
            draft.write(offset as usize, bytes);
        }
    }

    /// What the cache has of a draft goes to the disk.
    pub fn sync_draft(&mut self, stripe: StripeKey) {
        if let Some(draft) = self.drafts.get_mut(&stripe) {
            draft.sync();
        }
    }

    /// A sync of a draft fails: the cache forgets that it has something to write.
    pub fn sync_draft_in_vain(&mut self, stripe: StripeKey, random: &mut Random) {
        if let Some(draft) = self.drafts.get_mut(&stripe) {
            draft.lose_dirty(random);
        }
    }

    /// Whether there is a draft.
    pub fn has_draft(&self, stripe: StripeKey) -> bool {
        self.drafts.contains_key(&stripe)
    }

    /// A draft takes the place of a checkpoint, synced or not; their folder does not know it for good yet.
    pub fn keep_draft(&mut self, stripe: StripeKey) {
        if let Some(draft) = self.drafts.remove(&stripe) {
            let before = self.checkpoints.insert(stripe, draft);
            self.replaced.entry(stripe).or_insert(before);
        }
    }

    /// The folder of checkpoints is synced.
    pub fn sync_checkpoints(&mut self) {
        self.replaced.clear();
    }

    /// A draft is gone.
    pub fn remove_draft(&mut self, stripe: StripeKey) {
        self.drafts.remove(&stripe);
    }

    /// No draft is left.
    pub fn remove_drafts(&mut self) {
        self.drafts.clear();
    }

    /// A summary is written, and never synced.
    pub fn write_summary(&mut self, segment: SegmentId, bytes: &[u8]) {
        let mut file = File { named: true, ..File::default() };
        file.write(0, bytes);
        self.summaries.insert(segment, file);
    }

    /// All checkpoints.
    pub fn checkpoints(&self) -> impl Iterator<Item = (StripeKey, &[u8])> {
        self.checkpoints.iter().map(|(stripe, file)| (*stripe, &file.cached[..]))
    }

    /// A stripe's checkpoint.
    pub fn checkpoint(&self, stripe: StripeKey) -> &[u8] {
        &self.checkpoints[&stripe].cached
    }

    /// All summaries.
    pub fn summaries(&self) -> Vec<(SegmentId, Vec<u8>)> {
        let summaries = self.summaries.iter();
        summaries.map(|(segment, file)| (*segment, file.cached.clone())).collect()
    }

    /// Changes one bit of a checkpoint, if there is one; of which.
    pub fn rot_checkpoint(&mut self, random: &mut Random) -> Option<StripeKey> {
        let count = self.checkpoints.len();
        let (stripe, file) = self.checkpoints.iter_mut().nth(random.index(count.max(1)))?;
        let at = random.index(file.cached.len().max(1));
        *file.cached.get_mut(at)? ^= 1 << random.index(8);
        file.stored = file.cached.clone();
        Some(*stripe)
    }

    /// The power goes.
    pub fn cut_power(&mut self, random: &mut Random) {
        self.files.retain(|_, file| file.named || random.chance(500));
        self.kept.retain(|_, _| random.chance(500));
        for (stripe, before) in std::mem::take(&mut self.replaced) {
            match (random.chance(500), before) {
                (false, _) => None,
                (true, Some(before)) => self.checkpoints.insert(stripe, before),
                (true, None) => self.checkpoints.remove(&stripe),
            };
        }
        let derived = self.checkpoints.values_mut().chain(self.drafts.values_mut());
        let files = self.files.values_mut().chain(self.kept.values_mut());
        for file in files.chain(derived).chain(self.summaries.values_mut()) {
            file.lose_dirty(random);
            file.cached = file.stored.clone();
            file.named = true;
        }
    }

    /// Sets one block of what is stored to zero (a fault that no disk should have).
    pub fn tear_stored(&mut self, random: &mut Random) {
        self.damage(random, |file, at| {
            let block = at / HEAD_BYTES * HEAD_BYTES;
            let end = file.len().min(block + HEAD_BYTES);
            file[block..end].fill(0);
        });
    }

    /// Changes one bit of what is stored.
    pub fn rot(&mut self, random: &mut Random) {
        self.damage(random, |file, at| file[at] ^= 4);
    }

    /// A copy in which one bit behind the head of one file is another; and which file that is.
    pub fn rotten(&self, random: &mut Random) -> Option<(SegmentId, Disk)> {
        let has_batches = |(_, file): &(&SegmentId, &File)| file.cached.len() > HEAD_BYTES;
        let count = self.files.iter().filter(has_batches).count();
        if count == 0 {
            return None;
        }
        let chosen = self.files.iter().filter(has_batches).nth(random.index(count));
        let (&segment, file) = chosen.expect("there are so many");
        let at = HEAD_BYTES + random.index(file.cached.len() - HEAD_BYTES);
        let bit = random.index(8);
        let mut copy = self.clone();
        copy.file(segment).cached[at] ^= 1 << bit;
        Some((segment, copy))
    }

    /// A copy in which a log ends at `offset` of this segment, where it went on.
    pub fn cut(&self, last: SegmentId, offset: usize) -> Disk {
        let mut copy = self.clone();
        copy.files.retain(|segment, _| segment.log != last.log || *segment <= last);
        copy.file(last).cached.truncate(offset);
        copy
    }

    fn damage(&mut self, random: &mut Random, change: impl Fn(&mut Vec<u8>, usize)) {
        let index = random.index(self.files.len().max(1));
        if let Some(file) =
            self.files.values_mut().nth(index).filter(|file| !file.stored.is_empty())
        {
            let at = random.index(file.stored.len());
            change(&mut file.stored, at);
            file.cached = file.stored.clone();
        }
    }

    /// The bytes there, as far as there are any.
    pub fn read(&self, place: Location) -> Vec<u8> {
        let file = self.files.get(&place.segment).map_or(&[][..], |file| &file.cached);
        let start = file.len().min(place.offset as usize);
        let mut bytes = file[start..file.len().min(start + place.bytes as usize)].to_vec();
        bytes.resize(place.bytes as usize, 0);
        bytes
    }

    /// What a recovery wants first of every file.
    pub fn heads(&self) -> Vec<(SegmentId, Vec<u8>)> {
        let head = |file: &File| file.cached[..file.cached.len().min(HEAD_BYTES)].to_vec();
        self.files.iter().map(|(&segment, file)| (segment, head(file))).collect()
    }

    /// A whole file.
    pub fn segment(&self, segment: SegmentId) -> &[u8] {
        &self.files[&segment].cached
    }

    /// How long a file is, in bytes; 0 where it is not there.
    pub fn length(&self, segment: SegmentId) -> usize {
        self.files.get(&segment).map_or(0, |file| file.cached.len())
    }

    /// All files there are.
    pub fn segments(&self) -> impl Iterator<Item = SegmentId> + '_ {
        self.files.keys().copied()
    }

    fn file(&mut self, segment: SegmentId) -> &mut File {
        self.files.entry(segment).or_default()
    }
}
