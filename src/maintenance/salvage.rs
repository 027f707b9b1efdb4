//! What is sound of a damaged folder, in a new one that a server opens.
//!
//! The folder is read twice: once to know what is there, once to take it over. Records keep their order, their batches
//! and their commit times; the new folder is one only once all of it is on the disk.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use engram_shards::ids::{LogId, SegmentId, Time};
use engram_shards::limits::LOG_COMMIT_WAIT_MICROS;
use engram_shards::log::log::{Log, LogIo, LogStart, Purpose};
use engram_shards::log::record::{Body, RecordHead};
use engram_shards::log::salvage::Salvage;
use engram_shards::log::walk::Found;
use serde::Serialize;

use super::check::{Checked, Finding, audit, check};
use super::contents::Contents;
use crate::folder::{
    FolderError, Identity, NewFolder, log_path, random_bytes, segment_path, sync_folder,
};

/// What was taken over.
#[derive(Clone, Debug, Serialize)]
pub struct Salvaged {
    /// The new folder.
    pub folder: PathBuf,
    /// Observations in it.
    pub observations: u64,
    /// Spaces of which no record said what they are: they got these names, and compare by the cosine.
    pub renamed: Vec<String>,
}

/// Tells what is wrong with a folder, and saves all that is sound into the new folder at `path`.
pub fn salvage(
    contents: &Contents,
    path: &Path,
    tell: &mut dyn FnMut(&Finding),
) -> Result<(Checked, Salvaged), FolderError> {
    let new = NewFolder::make(path)?;
    let io_fault = |error| FolderError::Io { path: path.to_owned(), doing: "fill", error };
    let (checked, audit) = audit(contents, tell)?;
    let drawn = Identity::draw().map_err(io_fault)?;
    // With the same secret all hashes stay, and names with them.
    let secret = contents.identity().map_or(drawn.secret, |identity| identity.secret);
    let identity = Identity { secret, ..drawn };
    let seed = u64::from_ne_bytes(random_bytes().map_err(io_fault)?);
    let (mut salvage, first) = Salvage::new(audit, secret);
    let mut writer = Writer { logs: new.logs(), seed, open: None };
    writer.begin(LogId(0));
    writer.write(first, Time(1)).map_err(io_fault)?;
    for link in &contents.chain().links {
        writer.begin(link.segment.log);
        let mut batch = Vec::new();
        let mut committed_at = Time(0);
        let mut written = Ok(());
        contents.walk(link, &mut |found| {
            let Found::Record(record) = found else { return ControlFlow::Continue(()) };
            if record.committed_at != committed_at {
                written = writer.write(std::mem::take(&mut batch), committed_at);
                committed_at = record.committed_at;
            }
            batch.extend(salvage.take(&record));
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        written.and_then(|()| writer.write(batch, committed_at)).map_err(io_fault)?;
    }
    writer.end().map_err(io_fault)?;
    new.finish(&identity)?;
    let renamed = salvage.nameless().iter().map(|space| space.name.clone()).collect();
    let observations = check_new(path)?;
    Ok((checked, Salvaged { folder: path.to_owned(), observations, renamed }))
}

/// What was written is read back before anyone relies on it.
fn check_new(path: &Path) -> Result<u64, FolderError> {
    let mut wrong = None;
    let found = check(&Contents::of(path)?, &mut |finding| {
        if finding.is_damage() {
            wrong.get_or_insert_with(|| finding.to_string());
        }
    })?;
    match wrong {
        None => Ok(found.observations),
        Some(wrong) => {
            let (path, doing) = (path.to_owned(), "fill");
            Err(FolderError::Io { path, doing, error: io::Error::other(wrong) })
        }
    }
}

/// Writes logs, one after the other.
struct Writer {
    logs: PathBuf,
    seed: u64,
    open: Option<OpenLog>,
}

struct OpenLog {
    id: LogId,
    log: Log,
    committed_at: Time,
    file: Option<File>,
}

impl Writer {
    /// What is written next goes to this log; they come in order.
    fn begin(&mut self, id: LogId) {
        if self.open.as_ref().is_none_or(|open| open.id != id) {
            // Files are synced when the next one is made, the last one of a log at the end.
            let log = Log::new(id, 1, self.seed, LogStart::NEW);
            let file = self.open.take().and_then(|open| open.file);
            self.open = Some(OpenLog { id, log, committed_at: Time(0), file });
        }
    }

    /// Writes records of one batch.
    fn write(&mut self, records: Vec<(RecordHead, Body)>, committed_at: Time) -> io::Result<()> {
        let open = self.open.as_mut().expect("a log was begun");
        if records.is_empty() {
            return Ok(());
        }
        // Times rise within a log, also where a lost header left a batch with that of the one before.
        let now = committed_at.max(open.committed_at.after_micros(1));
        let appended_at = Time(now.0.saturating_sub(LOG_COMMIT_WAIT_MICROS));
        for (head, body) in records {
            open.log.append(head, body, Purpose::Keeping, appended_at);
        }
        while let Some(io) = open.log.poll(now.max(Time(LOG_COMMIT_WAIT_MICROS))) {
            match io {
                LogIo::Create { segment, head, .. } => {
                    sync(open.file.take())?;
                    open.file = Some(create(&self.logs, segment, &head)?);
                }
                LogIo::Keep { .. } | LogIo::Sync { .. } => {}
                LogIo::Commit { offset, bytes, .. } => {
                    let file = open.file.as_ref().expect("a segment was made");
                    file.write_all_at(&bytes, offset.into())?;
                }
            }
            open.log.handle_done(Ok(()));
        }
        open.committed_at = now;
        Ok(())
    }

    fn end(self) -> io::Result<()> {
        sync(self.open.and_then(|open| open.file))
    }
}

/// Makes a segment's file, as long as what it holds: a server never goes on with one that it did not make itself.
fn create(logs: &Path, segment: SegmentId, head: &[u8]) -> io::Result<File> {
    let log = log_path(logs, segment.log);
    if !log.exists() {
        fs::create_dir(&log)?;
        sync_folder(logs)?;
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(segment_path(logs, segment))?;
    file.write_all_at(head, 0)?;
    sync_folder(&log)?;
    Ok(file)
}

fn sync(file: Option<File>) -> io::Result<()> {
    file.map_or(Ok(()), |file| file.sync_all())
}
