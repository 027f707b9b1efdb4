//! What a folder holds: what it is, its checkpoints, which of its segments count, and a walk through each.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use engram_shards::checkpoint::head::LogPosition;
use engram_shards::checkpoint::reading::{CheckedHead, is_covered};
use engram_shards::ids::{SegmentId, StripeKey};
use engram_shards::log::chain::{Chain, Link, LogFault};
use engram_shards::log::replay::HEAD_BYTES;
use engram_shards::log::segment::{LogEnd, SegmentHead};
use engram_shards::log::summary::Summary;
use engram_shards::log::walk::{Found, Walk, end_of, is_torn, lost_head};

use super::backup_file::BackupFile;
use super::checkpoint_file::{Fault, read_head};
use super::segment_file::{SegmentFile, read_full};
use crate::checkpoint_files::{checkpoint_path, list_checkpoints};
use crate::folder::{
    BACKUP_FILE, FolderError, Identity, hold_segment, list_segments, read_identity, read_summary,
    segment_path,
};
use crate::preflight::raise_open_files;

/// A folder that is only read.
#[derive(Debug)]
pub struct Contents {
    path: PathBuf,
    /// Else what is wrong with its file of that name.
    identity: Result<Identity, &'static str>,
    /// What a backup says of itself; none for a folder that is served.
    backup: Option<BackupFile>,
    /// Listed before the segments, so that none covers more than those hold, also while a server writes.
    checkpoints: Vec<Checkpoint>,
    /// All segments, held: what a server empties or removes meanwhile can still be read.
    files: BTreeMap<SegmentId, File>,
    chain: Chain,
}

/// A checkpoint as its head told.
#[derive(Debug)]
pub(super) struct Checkpoint {
    /// Whose it is.
    pub(super) stripe: StripeKey,
    /// Its head.
    pub(super) head: Result<CheckedHead, Fault>,
}

/// What became of one segment's walk.
#[derive(Debug)]
pub(super) struct Walked {
    /// Its head; none where nothing was ever written behind a first block that is none.
    pub(super) head: Option<SegmentHead>,
    /// Whether the head is damaged, although something was written behind it.
    pub(super) lost_head: bool,
    /// Where what counts ends.
    pub(super) end: LogEnd,
    /// Whether something that does not count lies behind that: the rest of a write that no one was told of.
    pub(super) is_torn: bool,
    /// Blocks that the disk does not give.
    pub(super) unreadable: Vec<(u64, String)>,
}

impl Contents {
    /// Lists the folder at `path`: one that is served, now or else, or a backup.
    pub fn of(path: &Path) -> Result<Contents, FolderError> {
        let path = path.canonicalize().map_err(|error| FolderError::Io {
            path: path.to_owned(),
            doing: "find",
            error,
        })?;
        let backup = BackupFile::read(&path)?;
        let identity = match &backup {
            Some(backup) => Ok(backup.identity),
            None => match read_identity(&path) {
                Ok(Some(identity)) => Ok(identity),
                Ok(None) if path.join("logs").is_dir() => Err("there are logs, but no FOLDER file"),
                Ok(None) => return Err(no_data_folder(&path)),
                Err(FolderError::Damaged { what, .. }) => Err(what),
                Err(error) => return Err(error),
            },
        };
        let (folder, mut checkpoints) = (path.join("checkpoints"), Vec::new());
        for stripe in list_checkpoints(&folder)? {
            let head = read_head(&checkpoint_path(&folder, stripe), stripe)?;
            checkpoints.push(Checkpoint { stripe, head });
        }
        let logs = path.join("logs");
        // Each segment takes one.
        raise_open_files();
        let (heads, files) = open_segments(&logs)?;
        let mut chain = Chain::new(&heads);
        // From the first log's first segment on.
        chain.links.reverse();
        let version = chain.faults.iter().find_map(|fault| match fault {
            LogFault::UnknownVersion { segment, version } => Some((*segment, *version)),
            _ => None,
        });
        match version {
            None => Ok(Contents { path, identity, backup, checkpoints, files, chain }),
            Some((segment, version)) => {
                let path = segment_path(&logs, segment);
                Err(FolderError::UnknownVersion { path, version })
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where its logs are.
    pub(super) fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// Its checkpoints, in order.
    pub(super) fn checkpoints(&self) -> &[Checkpoint] {
        &self.checkpoints
    }

    /// The file of a stripe's checkpoint.
    pub(super) fn checkpoint_file(&self, stripe: StripeKey) -> PathBuf {
        checkpoint_path(&self.path.join("checkpoints"), stripe)
    }

    /// Whether a server that starts reads a segment whole: it does unless checkpoints cover what its summary tells.
    pub(super) fn is_read_at_start(&self, link: &Link) -> bool {
        let summary = link
            .head
            .filter(|_| link.end.is_some())
            .and_then(|head| Summary::decode(&read_summary(&self.logs(), link.segment)?, &head));
        let head_of = |stripe| {
            let place = self.checkpoints.binary_search_by_key(&stripe, |one| one.stripe).ok()?;
            self.checkpoints[place].head.as_ref().ok().map(CheckedHead::head)
        };
        !summary.is_some_and(|summary| is_covered(&summary, |_| true, head_of))
    }

    /// The file of a segment.
    pub(super) fn file(&self, segment: SegmentId) -> PathBuf {
        segment_path(&self.logs(), segment)
    }

    /// What it is, where its file of that name can be read.
    pub(super) fn identity(&self) -> Result<Identity, &'static str> {
        self.identity
    }

    /// What it says of itself as a backup.
    pub(super) fn backup(&self) -> Option<&BackupFile> {
        self.backup.as_ref()
    }

    /// Its segments, in order.
    pub(super) fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Where logs went on to at least: in a segment of which a compaction left the head, nobody can tell how far.
    pub(super) fn emptied_ends(&self) -> impl Iterator<Item = LogPosition> + '_ {
        let emptied = self.chain.emptied.iter().map(|head| head.segment);
        emptied.map(|segment| LogPosition { segment, offset: u32::MAX })
    }

    /// Visits a segment that counts; see [`walk`].
    pub(super) fn walk(
        &self,
        link: &Link,
        visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> Result<Walked, FolderError> {
        let path = self.file(link.segment);
        let fault = |error| FolderError::Io { path, doing: "read", error };
        let file = self.open(link.segment).map_err(fault)?;
        Ok(walk(SegmentFile::of(file), link, visit))
    }

    /// The file of a segment, as it was when the folder was listed.
    pub(super) fn open(&self, segment: SegmentId) -> io::Result<File> {
        self.files[&segment].try_clone()
    }

    /// Where a segment ends, without looking at its records: what is known to be synced.
    pub(super) fn end_of(&self, link: &Link) -> Result<Option<LogEnd>, FolderError> {
        let path = self.file(link.segment);
        let fault = |error| FolderError::Io { path, doing: "read", error };
        let mut file = SegmentFile::of(self.open(link.segment).map_err(fault)?);
        Ok(link.head.map(|head| end_of(&mut file, &head, link.end)))
    }
}

/// The first block of each segment below a folder of logs, in order, and the segment's file. What counted in one that a
/// server emptied before it was opened lies in others, of which the last are listed after that.
#[allow(clippy::type_complexity)] // what a chain wants, and what is kept
fn open_segments(
    logs: &Path,
) -> Result<(Vec<(SegmentId, Vec<u8>)>, BTreeMap<SegmentId, File>), FolderError> {
    let (mut heads, mut files) = (BTreeMap::new(), BTreeMap::new());
    loop {
        let listed = list_segments(logs)?;
        let new: Vec<_> = listed.into_iter().filter(|one| !files.contains_key(one)).collect();
        if new.is_empty() {
            return Ok((heads.into_iter().collect(), files));
        }
        for segment in new {
            let path = segment_path(logs, segment);
            let fault = |error| FolderError::Io { path: path.clone(), doing: "read", error };
            // A server may remove those that hold nothing.
            let Some(file) = hold_segment(&path).map_err(fault)? else { continue };
            let mut head = vec![0; HEAD_BYTES];
            match read_full(&file, &mut head, 0) {
                Ok(length) => head.truncate(length),
                Err(error) if error.raw_os_error() == Some(libc::EIO) => head.clear(),
                Err(error) => return Err(fault(error)),
            }
            heads.insert(segment, head);
            files.insert(segment, file);
        }
    }
}

/// Visits what a segment holds, in order. A visitor that breaks ends it early; then the end says nothing.
pub(super) fn walk(
    mut file: SegmentFile,
    link: &Link,
    visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
) -> Walked {
    let head = link.head.or_else(|| lost_head(&mut file, link.segment));
    let lost_head = link.head.is_none() && head.is_some();
    let Some(head) = head else {
        let end = LogEnd { number: link.segment.number, synced: 0, live: 0 };
        let unreadable = unreadable(&file);
        return Walked { head, lost_head, end, is_torn: false, unreadable };
    };
    let known = end_of(&mut file, &head, link.end);
    // What lies below that does not change any more; what was read until now may have.
    file.forget();
    let end = Walk::new(&mut file, &head, known).run(visit).end;
    let is_torn = link.end.is_none() && is_torn(&mut file, &head, end.live);
    Walked { head: Some(head), lost_head, end, is_torn, unreadable: unreadable(&file) }
}

fn unreadable(file: &SegmentFile) -> Vec<(u64, String)> {
    file.unreadable().iter().map(|block| (block.offset, block.error.to_string())).collect()
}

fn no_data_folder(path: &Path) -> FolderError {
    let error = io::Error::new(
        io::ErrorKind::NotFound,
        format!("it has neither a FOLDER nor a {BACKUP_FILE} file nor logs"),
    );
    FolderError::Io { path: path.to_owned(), doing: "take as a data folder", error }
}
