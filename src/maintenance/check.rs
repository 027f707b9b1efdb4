//! Everything that is wrong with a folder, told as it is found.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use engram_shards::checkpoint::head::{Head, LogPosition};
use engram_shards::ids::{LogId, SegmentId, StripeKey};
use engram_shards::log::audit::{Audit, StripeFault};
use engram_shards::log::chain::{Link, LogFault};
use engram_shards::log::walk::Found;
use indicatif::ProgressBar;
use serde::Serialize;

use super::checkpoint_file::{Fault, read_whole};
use super::contents::{Checkpoint, Contents, Walked, walk};
use super::segment_file::SegmentFile;
use crate::down::DownNote;
use crate::folder::{FolderError, last_path, segment_path};

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Finding {
    /// A head, batch or record that is not as it was written.
    Damaged {
        /// The segment's file.
        file: PathBuf,
        /// Offset in it, in bytes.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// A block that the disk does not give.
    Unreadable {
        /// The segment's file.
        file: PathBuf,
        /// Offset in it, in bytes.
        offset: u64,
        /// What the disk says.
        error: String,
    },
    /// A segment that was there is not.
    MissingSegment {
        /// The file that it was.
        file: PathBuf,
    },
    /// Observations are missing between others of their space, or before them.
    MissingObservations {
        /// The space's name, or its key where no record tells the name.
        space: String,
        /// The stripe.
        stripe: u16,
        /// Number of the first one in the stripe.
        first: u64,
        /// Number of the last one.
        last: u64,
    },
    /// No record says what a space is.
    NamelessSpace {
        /// The space's key.
        space: String,
        /// The stripe.
        stripe: u16,
    },
    /// The file that says what the folder is cannot be used.
    Folder {
        /// What is wrong.
        what: String,
    },
    /// A checkpoint that is not as it was written. Nothing is lost: a server leaves it aside, for the log has all of it.
    DamagedCheckpoint {
        /// Its file.
        file: PathBuf,
        /// Offset in it, in bytes.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// A log ended later when a checkpoint was made than it does now.
    MissingEnd {
        /// The last segment's file; the log's folder where it has none.
        file: PathBuf,
        /// Offset in it at which it ends, in bytes.
        offset: u64,
        /// The checkpoint's file.
        checkpoint: PathBuf,
        /// The segment, and the offset in it, up to which it covers the log.
        covered: (u32, u32),
    },
    /// No damage of the folder: a shard of the server that uses it, or used it last, failed too often and stays down.
    ShardDown {
        /// Its core.
        core: u16,
        /// Since when; RFC 3339.
        at: String,
        /// What it said as it failed last.
        cause: String,
    },
    /// No damage: the rest of a write that no one was told of, which a replay cuts.
    Torn {
        /// The segment's file.
        file: PathBuf,
        /// Offset from which on nothing counts, in bytes.
        offset: u64,
    },
    /// No damage: a segment that counts for nothing, which a server removes when it starts.
    Empty {
        /// The segment's file.
        file: PathBuf,
    },
}

impl Finding {
    /// Whether it means that something is lost, or that a server would not open the folder.
    pub fn is_damage(&self) -> bool {
        !matches!(self, Finding::ShardDown { .. } | Finding::Torn { .. } | Finding::Empty { .. })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Damaged { file, offset, what } => {
                write!(f, "damaged: {} at offset {offset}: {what}", file.display())
            }
            Finding::Unreadable { file, offset, error } => {
                write!(f, "unreadable: {} at offset {offset}: {error}", file.display())
            }
            Finding::MissingSegment { file } => {
                write!(f, "missing: {}, between others of its log", file.display())
            }
            Finding::MissingObservations { space, stripe, first, last } => write!(
                f,
                "missing: {} observations of space {space}, numbers {first} to {last} of its stripe {stripe}",
                last - first + 1
            ),
            Finding::NamelessSpace { space, stripe } => {
                write!(f, "missing: what the space of key {space} is (stripe {stripe})")
            }
            Finding::Folder { what } => write!(f, "damaged: {what}"),
            Finding::DamagedCheckpoint { file, offset, what } => write!(
                f,
                "damaged: the checkpoint {} at offset {offset}: {what}; the log has all that is in it",
                file.display()
            ),
            Finding::MissingEnd { file, offset, checkpoint, covered: (segment, end) } => write!(
                f,
                "missing: the end of a log: {} ends at offset {offset}, but the log went on to offset {end} of segment \
                 {segment} when {} was made",
                file.display(),
                checkpoint.display()
            ),
            Finding::ShardDown { core, at, cause } => write!(
                f,
                "note: the shard of core {core} failed too often and stays down since {at}: {cause}"
            ),
            Finding::Torn { file, offset } => write!(
                f,
                "note: {} ends at offset {offset} with a write that no one was told of",
                file.display()
            ),
            Finding::Empty { file } => write!(f, "note: {} counts for nothing", file.display()),
        }
    }
}

/// What a check counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Segments that count.
    pub segments: u64,
    /// Bytes of them that count.
    pub bytes: u64,
    /// Whole batches.
    pub batches: u64,
    /// Sound records.
    pub records: u64,
    /// Spaces of which there are records.
    pub spaces: u64,
    /// Sound checkpoints.
    pub checkpoints: u64,
    /// Observations, each counted once.
    pub observations: u64,
    /// Those of them that only a batch holds of which no one knows whether it was synced; a server appends them anew.
    pub unproven: u64,
    /// Findings that are damage.
    pub damage: u64,
    /// Those of them by which nothing is lost: checkpoints.
    pub damaged_checkpoints: u64,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Checked {
            segments, bytes, batches, records, spaces, observations, checkpoints, ..
        } = self;
        write!(
            f,
            "{segments} segments ({bytes} bytes), {batches} batches, {records} records; \
             {observations} observations in {spaces} spaces; {checkpoints} checkpoints: "
        )?;
        match self.damage {
            0 => f.write_str("sound"),
            1 => f.write_str("1 damage"),
            count => write!(f, "{count} damages"),
        }
    }
}

/// Reads a folder from front to back and tells all that is found, as it is found.
pub fn check(contents: &Contents, tell: &mut dyn FnMut(&Finding)) -> Result<Checked, FolderError> {
    let fault = |error| FolderError::Io { path: contents.path().to_owned(), doing: "list", error };
    for DownNote { core, at, cause } in DownNote::read_all(contents.path()).map_err(fault)? {
        tell(&Finding::ShardDown { core: core.0, at, cause });
    }
    audit(contents, tell).map(|(checked, _)| checked)
}

/// A check, and what was counted of each stripe.
pub(super) fn audit(
    contents: &Contents,
    tell: &mut dyn FnMut(&Finding),
) -> Result<(Checked, Audit), FolderError> {
    let mut checking = Checking::new(contents, None, tell);
    checking.check_folder();
    let progress = ProgressBar::new(contents.chain().links.len() as u64);
    for link in progress.wrap_iter(contents.chain().links.iter()) {
        checking.check_segment(link)?;
    }
    progress.finish_and_clear();
    checking.check_checkpoints()?;
    Ok(checking.finish())
}

/// A check under way.
pub(super) struct Checking<'a> {
    contents: &'a Contents,
    /// Where the segments lie …
    logs: PathBuf,
    /// … and whether that is a copy that was made of them.
    is_copy: bool,
    tell: &'a mut dyn FnMut(&Finding),
    counted: Checked,
    /// Where what counts of each log ends, as far as it was read.
    ends: BTreeMap<LogId, LogPosition>,
    audit: Audit,
}

impl<'a> Checking<'a> {
    /// Nothing was looked at yet of the folder, or of the copy of its logs.
    pub(super) fn new(
        contents: &'a Contents,
        copy: Option<&Path>,
        tell: &'a mut dyn FnMut(&Finding),
    ) -> Checking<'a> {
        let secret = contents.identity().ok().map(|identity| identity.secret);
        let (counted, ends, audit) = (Checked::default(), BTreeMap::new(), Audit::new(secret));
        let logs = copy.map_or_else(|| contents.logs(), Path::to_owned);
        Checking { contents, logs, is_copy: copy.is_some(), tell, counted, ends, audit }
    }

    /// What was found, once all segments were checked.
    pub(super) fn finish(mut self) -> (Checked, Audit) {
        self.check_stripes();
        (self.counted, self.audit)
    }

    /// What the names and heads of its files tell.
    pub(super) fn check_folder(&mut self) {
        let contents = self.contents;
        if let Err(what) = contents.identity() {
            self.find(Finding::Folder { what: what.to_owned() });
        }
        for fault in &contents.chain().faults {
            match fault {
                LogFault::Missing(segment) => self.miss(*segment),
                LogFault::Corrupt { segment, offset, what } => self.damage(*segment, *offset, what),
                LogFault::UnknownVersion { .. } => {
                    unreachable!("a folder of another version is not listed")
                }
                LogFault::EndMissing { .. } => unreachable!("no head tells of a checkpoint"),
            }
        }
        for segment in &contents.chain().dead {
            let file = self.file(*segment);
            self.find(Finding::Empty { file });
        }
        let links = &contents.chain().links;
        let is_there =
            |segment: &SegmentId| links.binary_search_by_key(segment, |link| link.segment).is_ok();
        let listed = contents.backup().into_iter().flat_map(|backup| &backup.segments);
        let gone = listed.map(|(segment, _)| *segment).filter(|segment| !is_there(segment));
        for segment in gone {
            if !contents.chain().faults.contains(&LogFault::Missing(segment)) {
                self.miss(segment);
            }
        }
    }

    /// Reads a segment.
    pub(super) fn check_segment(&mut self, link: &Link) -> Result<(), FolderError> {
        let file = self.file(link.segment);
        let source = match self.is_copy {
            true => SegmentFile::open(&file),
            false => self.contents.open(link.segment).map(SegmentFile::of),
        };
        let fault = |error| FolderError::Io { path: file.clone(), doing: "read", error };
        let source = source.map_err(fault)?;
        let Checking { tell, counted, audit, .. } = self;
        let walked = walk(source, link, &mut |found| {
            let damage = match found {
                Found::Batch(_) => {
                    counted.batches += 1;
                    None
                }
                Found::Record(record) => {
                    counted.records += 1;
                    let fault = audit.handle(&record).err();
                    fault.map(|what| (record.location.offset, what))
                }
                Found::Damage { offset, what } => Some((offset, what)),
            };
            if let Some((offset, what)) = damage {
                counted.damage += 1;
                let (offset, what) = (offset.into(), what.to_owned());
                tell(&Finding::Damaged { file: file.clone(), offset, what });
            }
            ControlFlow::Continue(())
        });
        self.check_end(link, walked);
        Ok(())
    }

    /// Reads the folder's checkpoints, once all segments were checked.
    fn check_checkpoints(&mut self) -> Result<(), FolderError> {
        for Checkpoint { stripe, head: listed } in self.contents.checkpoints() {
            let file = self.contents.checkpoint_file(*stripe);
            match read_whole(&file, *stripe)? {
                Ok(head) => {
                    self.counted.checkpoints += 1;
                    // One that took its place meanwhile covers what was written meanwhile.
                    if listed.as_ref() == Ok(&head) {
                        self.check_covered(&file, head.head());
                    }
                }
                Err(Fault { offset, what }) => {
                    self.counted.damaged_checkpoints += 1;
                    self.find(Finding::DamagedCheckpoint { file, offset, what });
                }
            }
        }
        Ok(())
    }

    /// Whether each log is there as far as a checkpoint covers it.
    fn check_covered(&mut self, checkpoint: &Path, head: &Head) {
        for covered in &head.covered {
            let log = covered.segment.log;
            let emptied = self.contents.emptied_ends().filter(|end| end.segment.log == log).max();
            let nowhere = LogPosition { segment: SegmentId { log, number: 0 }, offset: 0 };
            let end = self.ends.get(&log).copied().max(emptied).unwrap_or(nowhere);
            if end < *covered {
                let (file, offset) = (last_path(&self.logs, end.segment), end.offset.into());
                let covered = (covered.segment.number, covered.offset);
                let checkpoint = checkpoint.to_owned();
                self.find(Finding::MissingEnd { file, offset, checkpoint, covered });
            }
        }
    }

    fn check_end(&mut self, link: &Link, walked: Walked) {
        let (segment, file) = (link.segment, self.file(link.segment));
        if walked.head.is_some() {
            self.ends.insert(segment.log, LogPosition { segment, offset: walked.end.live });
        }
        self.counted.segments += 1;
        self.counted.bytes += u64::from(walked.end.live);
        for (offset, error) in walked.unreadable {
            self.find(Finding::Unreadable { file: file.clone(), offset, error });
        }
        // Where another segment names it, its damaged head was told with the heads.
        if walked.lost_head && link.end.is_none() {
            self.damage(segment, 0, "segment head");
        }
        if walked.head.is_none() {
            self.find(Finding::Empty { file: file.clone() });
        }
        if walked.is_torn {
            let offset = walked.end.live.into();
            self.find(Finding::Torn { file, offset });
        }
        let listed = self.contents.backup().and_then(|backup| backup.end_of(segment));
        if listed.is_some_and(|end| end > walked.end.live) {
            self.damage(segment, walked.end.live, "the backup was made with more of it");
        }
    }

    fn check_stripes(&mut self) {
        let mut found = Vec::new();
        let mut spaces: Vec<_> = self.audit.stripes().keys().map(|key| key.space).collect();
        spaces.dedup();
        self.counted.spaces = spaces.len() as u64;
        for (key, stripe) in self.audit.stripes() {
            self.counted.observations += stripe.observations();
            self.counted.unproven += stripe.unproven();
            found.extend(stripe.faults().into_iter().map(|fault| self.finding_of(*key, fault)));
        }
        found.into_iter().for_each(|finding| self.find(finding));
    }

    fn finding_of(&self, key: StripeKey, fault: StripeFault) -> Finding {
        let hash = || format!("{:016x}", key.space.0);
        match fault {
            StripeFault::NoSettings => Finding::NamelessSpace { space: hash(), stripe: key.stripe },
            StripeFault::Missing(missing) => Finding::MissingObservations {
                space: self.audit.settings(key).map_or_else(hash, |space| space.name.clone()),
                stripe: key.stripe,
                first: *missing.start(),
                last: *missing.end(),
            },
            StripeFault::Vector(place, what) => Finding::Damaged {
                file: self.file(place.segment),
                offset: place.offset.into(),
                what: what.to_owned(),
            },
        }
    }

    fn file(&self, segment: SegmentId) -> PathBuf {
        segment_path(&self.logs, segment)
    }

    fn miss(&mut self, segment: SegmentId) {
        let file = self.file(segment);
        self.find(Finding::MissingSegment { file });
    }

    fn damage(&mut self, segment: SegmentId, offset: u32, what: &str) {
        let (file, offset, what) = (self.file(segment), offset.into(), what.to_owned());
        self.find(Finding::Damaged { file, offset, what });
    }

    fn find(&mut self, finding: Finding) {
        self.counted.damage += u64::from(finding.is_damage());
        (self.tell)(&finding);
    }
}
