//! A data folder out of a backup. Each segment, and each checkpoint, is checked as it lies in the new folder, right after
//! it was copied; the folder is one only once all of it is on the disk.

use std::fs;
use std::path::Path;

use engram_shards::limits::LOG_BLOCK_BYTES;

use super::backup::{copy_start, copy_whole, take_summary};
use super::check::{Checked, Checking, Finding};
use super::checkpoint_file::{Fault, read_whole};
use super::contents::{Checkpoint, Contents};
use crate::checkpoint_files::{checkpoint_path, checkpoints_beside};
use crate::folder::{FolderError, NewFolder, log_path, segment_path, sync_folder};

/// Brings a backup back as the new folder at `path`. Where the check finds damage, it is left unfinished: no server opens
/// it.
pub fn restore(
    backup: &Contents,
    path: &Path,
    tell: &mut dyn FnMut(&Finding),
) -> Result<Checked, FolderError> {
    let not_one = || {
        let (path, what) = (backup.path().to_owned(), "it is no backup: it has no BACKUP file");
        FolderError::Damaged { path, what }
    };
    let identity = backup.backup().ok_or_else(not_one)?.identity;
    let new = NewFolder::make(path)?;
    let logs = new.logs();
    let mut checking = Checking::new(backup, Some(&logs), tell);
    checking.check_folder();
    for link in &backup.chain().links {
        let to = segment_path(&logs, link.segment);
        let fault = |error| FolderError::Io { path: to.clone(), doing: "write", error };
        let log = log_path(&logs, link.segment.log);
        if !log.exists() {
            fs::create_dir(&log).map_err(fault)?;
        }
        let listed = backup.backup().and_then(|listed| listed.end_of(link.segment));
        let from = backup.open(link.segment).map_err(fault)?;
        copy_start(from, &to, listed.unwrap_or(0)).map_err(fault)?;
        take_summary(&backup.logs(), &logs, link.segment).map_err(fault)?;
        sync_folder(&log).map_err(fault)?;
        checking.check_segment(link)?;
    }
    for head in &backup.chain().emptied {
        let to = segment_path(&logs, head.segment);
        let fault = |error| FolderError::Io { path: to.clone(), doing: "write", error };
        let log = log_path(&logs, head.segment.log);
        if !log.exists() {
            fs::create_dir(&log).map_err(fault)?;
        }
        let from = backup.open(head.segment).map_err(fault)?;
        copy_start(from, &to, LOG_BLOCK_BYTES).map_err(fault)?;
        sync_folder(&log).map_err(fault)?;
    }
    let (mut checked, _) = checking.finish();
    checked.checkpoints = restore_checkpoints(backup, &logs, tell)?;
    if checked.damage == 0 {
        new.finish(&identity)?;
    }
    Ok(checked)
}

/// Brings the checkpoints of a backup back; how many there are. One that is damaged is told and left out: nothing is lost by
/// it.
fn restore_checkpoints(
    backup: &Contents,
    logs: &Path,
    tell: &mut dyn FnMut(&Finding),
) -> Result<u64, FolderError> {
    let checkpoints = checkpoints_beside(logs);
    let fault = |error| FolderError::Io { path: checkpoints.clone(), doing: "fill", error };
    fs::create_dir(&checkpoints).map_err(fault)?;
    let mut restored = 0;
    for Checkpoint { stripe, .. } in backup.checkpoints() {
        let to = checkpoint_path(&checkpoints, *stripe);
        copy_whole(&backup.checkpoint_file(*stripe), &to).map_err(fault)?;
        match read_whole(&to, *stripe)? {
            Ok(_) => restored += 1,
            Err(Fault { offset, what }) => {
                fs::remove_file(&to).map_err(fault)?;
                let file = backup.checkpoint_file(*stripe);
                tell(&Finding::DamagedCheckpoint { file, offset, what });
            }
        }
    }
    sync_folder(&checkpoints).map_err(fault)?;
    Ok(restored)
}
