//! A copy of a folder that is whole at some moment, taken while a server writes to it or while none does.
//!
//! What another segment follows is never written again, so it is linked where the file system can, else copied; the last
//! segment of each log is copied up to its last whole batch. All that was acked before the copying began is in it. It
//! grows under another name, is checked, and gets its own name last, so that what a crash leaves is no backup.
//!
//! Checkpoints are never written again, either, only replaced: those that cover no more than the copied logs come along,
//! so that what is restored is served as soon as the folder is. Whatever is wrong with one, it is left out, for the logs
//! have all of it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use engram_shards::checkpoint::head::LogPosition;
use engram_shards::ids::{SegmentId, Time};
use engram_shards::limits::LOG_BLOCK_BYTES;
use engram_shards::log::chain::Link;
use serde::Serialize;

use super::backup_file::BackupFile;
use super::check::{Checked, Finding, check};
use super::checkpoint_file::read_whole;
use super::contents::{Checkpoint, Contents};
use crate::checkpoint_files::{checkpoint_path, checkpoints_beside};
use crate::folder::{FolderError, log_path, read_summary, segment_path, summary_path, sync_folder};

/// What a backup took.
#[derive(Clone, Debug, Default, Serialize)]
pub struct BackedUp {
    /// Segments that share their bytes with the folder.
    pub linked: u64,
    /// Segments that were copied …
    pub copied: u64,
    /// … and their bytes.
    pub copied_bytes: u64,
    /// Checkpoints that came along.
    pub checkpoints: u64,
}

/// Copies a folder to `path`, which must not be there yet, or be empty. The inner result is the check of the copy.
pub fn backup(
    contents: &Contents,
    path: &Path,
    tell: &mut dyn FnMut(&Finding),
) -> Result<(BackedUp, Checked), FolderError> {
    let fault = |error| FolderError::Io { path: path.to_owned(), doing: "fill", error };
    let (is_whole, identity) = (contents.chain().faults.is_empty(), contents.identity());
    let (true, Ok(identity)) = (is_whole, identity) else {
        // Nothing is copied of which the heads already tell that it is not whole.
        let checked = check(contents, tell)?;
        return Ok((BackedUp::default(), checked));
    };
    let draft = Draft::make(path)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let taken_at = Time(now.as_micros().try_into().unwrap_or(u64::MAX));
    let mut copy = Copy { contents, path: draft.path.clone(), done: BackedUp::default() };
    let mut segments = Vec::new();
    for head in &contents.chain().emptied {
        copy.take_head(head.segment)?;
    }
    for link in &contents.chain().links {
        segments.extend(copy.take(link)?.map(|end| (link.segment, end)));
    }
    copy.take_checkpoints(&segments)?;
    BackupFile { identity, taken_at, segments }.write(&draft.path).map_err(fault)?;
    sync_folder(&copy.logs()).and_then(|()| sync_folder(&draft.path)).map_err(fault)?;
    let checked = check(&Contents::of(&draft.path)?, tell)?;
    if checked.damage == 0 {
        draft.finish(path).map_err(fault)?;
    }
    Ok((copy.done, checked))
}

/// The backup while it grows; removed unless it is finished.
struct Draft {
    path: PathBuf,
    is_finished: bool,
}

impl Draft {
    fn make(path: &Path) -> Result<Draft, FolderError> {
        let fault = |doing| move |error| FolderError::Io { path: path.to_owned(), doing, error };
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries.count(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(fault("list")(error)),
        };
        if entries > 0 {
            return Err(FolderError::NotEmpty { path: path.to_owned() });
        }
        let name = path.file_name().ok_or_else(|| {
            fault("make")(io::Error::new(io::ErrorKind::InvalidInput, "it has no name"))
        })?;
        let parent = parent_of(path);
        fs::create_dir_all(&parent).map_err(fault("make"))?;
        let mut draft_name = name.to_owned();
        draft_name.push(format!(".partial-{}", std::process::id()));
        let draft = Draft { path: parent.join(draft_name), is_finished: false };
        fs::create_dir(&draft.path)
            .and_then(|()| fs::create_dir(draft.path.join("logs")))
            .map_err(fault("make"))?;
        Ok(draft)
    }

    fn finish(mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.is_finished = true;
        sync_folder(&parent_of(path))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_finished
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "what was copied cannot be removed");
        }
    }
}

fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

struct Copy<'a> {
    contents: &'a Contents,
    /// The backup.
    path: PathBuf,
    done: BackedUp,
}

impl Copy<'_> {
    fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// The folder of a segment's log, made if it is not there.
    fn log(&self, segment: SegmentId) -> Result<PathBuf, FolderError> {
        let log = log_path(&self.logs(), segment.log);
        let fault = |error| FolderError::Io { path: log.clone(), doing: "make", error };
        if !log.exists() {
            fs::create_dir(&log).map_err(fault)?;
        }
        Ok(log)
    }

    /// Takes over what is left of a segment that was emptied.
    fn take_head(&mut self, segment: SegmentId) -> Result<(), FolderError> {
        let to = segment_path(&self.logs(), segment);
        let fault = |error| FolderError::Io { path: to.clone(), doing: "write", error };
        let log = self.log(segment)?;
        let from = self.contents.open(segment).map_err(fault)?;
        copy_start(from, &to, LOG_BLOCK_BYTES).and_then(|()| sync_folder(&log)).map_err(fault)
    }

    /// Takes a segment over; the offset up to which it counts. None where it counts for nothing.
    fn take(&mut self, link: &Link) -> Result<Option<u32>, FolderError> {
        let from = self.contents.file(link.segment);
        let to = segment_path(&self.logs(), link.segment);
        let fault = |error| FolderError::Io { path: to.clone(), doing: "write", error };
        let end = match link.end {
            Some(end) => end.live,
            None => {
                // Whole batches behind what is known to be synced may have been acked.
                let walked = self.contents.walk(link, &mut |_| ControlFlow::Continue(()))?;
                if walked.head.is_none() {
                    return Ok(None);
                }
                walked.end.live
            }
        };
        let log = self.log(link.segment)?;
        let file = self.contents.open(link.segment).map_err(fault)?;
        // Only what is never written again may be shared.
        if link.end.is_some() && share(&file, &from, &to).map_err(fault)? {
            self.done.linked += 1;
        } else {
            copy_start(file, &to, end).map_err(fault)?;
            self.done.copied += 1;
            self.done.copied_bytes += u64::from(end);
        }
        if link.end.is_some() {
            take_summary(&self.contents.logs(), &self.logs(), link.segment).map_err(fault)?;
        }
        sync_folder(&log).map_err(fault)?;
        Ok(Some(end))
    }

    /// Takes the checkpoints over that cover no more than these ends of segments.
    fn take_checkpoints(&mut self, segments: &[(SegmentId, u32)]) -> Result<(), FolderError> {
        let whole = segments.iter().map(|&(segment, offset)| LogPosition { segment, offset });
        let mut lasts = BTreeMap::new();
        for last in whole.chain(self.contents.emptied_ends()) {
            let known = lasts.entry(last.segment.log).or_insert(last);
            *known = last.max(*known);
        }
        let is_there = |covered: &LogPosition| {
            lasts.get(&covered.segment.log).is_some_and(|last| covered <= last)
        };
        let checkpoints = checkpoints_beside(&self.logs());
        for Checkpoint { stripe, .. } in self.contents.checkpoints() {
            let from = self.contents.checkpoint_file(*stripe);
            let to = checkpoint_path(&checkpoints, *stripe);
            let fault = |error| FolderError::Io { path: to.clone(), doing: "write", error };
            if !checkpoints.exists() {
                fs::create_dir(&checkpoints).map_err(fault)?;
            }
            // What was linked is looked at, not what takes its place meanwhile.
            if fs::hard_link(&from, &to).is_err() {
                copy_whole(&from, &to).map_err(fault)?;
            }
            let is_taken = read_whole(&to, *stripe)?
                .is_ok_and(|head| head.head().covered.iter().all(is_there));
            match is_taken {
                true => self.done.checkpoints += 1,
                false => fs::remove_file(&to).map_err(fault)?,
            }
        }
        match checkpoints.exists() {
            true => sync_folder(&checkpoints).map_err(|error| FolderError::Io {
                path: checkpoints.clone(),
                doing: "sync",
                error,
            }),
            false => Ok(()),
        }
    }
}

/// Copies the summary of a segment that is written no more, if there is one: it is derived.
pub(super) fn take_summary(from: &Path, to: &Path, segment: SegmentId) -> io::Result<()> {
    match read_summary(from, segment) {
        Some(summary) => fs::write(summary_path(to, segment), summary),
        None => Ok(()),
    }
}

/// Copies a file and syncs it.
pub(super) fn copy_whole(from: &Path, to: &Path) -> io::Result<()> {
    let mut target = File::create_new(to)?;
    io::copy(&mut File::open(from)?, &mut target)?;
    target.sync_all()
}

/// Links `to` to the file, where the file system can and the file still lies at `from`: a server may have put what is left
/// of an emptied segment in its place.
fn share(file: &File, from: &Path, to: &Path) -> io::Result<bool> {
    if fs::hard_link(from, to).is_err() {
        return Ok(false);
    }
    let (one, other) = (file.metadata()?, fs::metadata(to)?);
    let is_same = (one.dev(), one.ino()) == (other.dev(), other.ino());
    if !is_same {
        fs::remove_file(to)?;
    }
    Ok(is_same)
}

/// Copies the first `bytes` of a file and syncs them.
pub(super) fn copy_start(mut from: File, to: &Path, bytes: u32) -> io::Result<()> {
    // Its handle may have been read by before.
    from.rewind()?;
    let mut source = from.take(bytes.into());
    let mut target = File::create_new(to)?;
    let copied = io::copy(&mut source, &mut target)?;
    if copied < u64::from(bytes) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    target.sync_all()
}
