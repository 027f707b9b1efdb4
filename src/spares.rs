//! Files of emptied segments, kept for the segments to come.
//!
//! The blocks of a file that is new are noted as unwritten, however well its place was reserved: the first sync behind each
//! write commits the file system's journal too, to say that they are written now. Those of a file that was a segment before
//! are written, and a sync of them has nothing to do but that.
//!
//! ```text
//!  NNN.seg ⇄ HEAD (its head alone)      the folder is synced: no crash gives the file its name back
//!            HEAD ─► SPARE-N            unless somebody linked to it, or holds it: he would see it overwritten
//!                    SPARE-N ─► NEXT ─► MMM.seg, once the new head is written and synced
//! ```
//! What an earlier life left behind the end is no part of the new one: a batch names its segment and that life of its file.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use engram_shards::ids::LogId;
use engram_shards::limits::LOG_SEGMENT_BYTES;
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::Errno;

use crate::folder::{list_logs, spare_paths};

/// The spare files of one log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Spares {
    logs: PathBuf,
    log: LogId,
}

/// What became of a file in whose place another one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// It has the other one's name.
    Exchanged,
    /// It has no name any more.
    Gone,
}

/// Puts `draft` in the place of `path`, which is there at any moment, as one of the two.
pub fn replace(path: &Path, draft: &Path) -> io::Result<Replaced> {
    match renameat_with(CWD, draft, CWD, path, RenameFlags::EXCHANGE) {
        Ok(()) if draft.exists() => Ok(Replaced::Exchanged),
        // A file system that takes no notice of the flag.
        Ok(()) => Ok(Replaced::Gone),
        // A file system that cannot.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            fs::rename(draft, path).map(|()| Replaced::Gone)
        }
        Err(error) => Err(error.into()),
    }
}

impl Spares {
    /// Those of `log`, below the folder of all logs.
    pub fn new(logs: PathBuf, log: LogId) -> Spares {
        Spares { logs, log }
    }

    /// Takes a file that no segment's name leads to any more, for good: it is kept, or removed.
    pub fn keep(&self, log: LogId, file: &Path) -> io::Result<()> {
        let mut places = spare_paths(&self.logs, log).into_iter();
        // Other logs are not written any more.
        let free = places.find(|place| log == self.log && !place.exists());
        match free {
            Some(place) if is_nobodys(file)? => fs::rename(file, place),
            _ => fs::remove_file(file),
        }
    }

    /// Moves one to `place`, unless there is something already, or no spare one.
    pub fn take(&self, log: LogId, place: &Path) -> io::Result<()> {
        if log != self.log || place.exists() {
            return Ok(());
        }
        match spare_paths(&self.logs, log).into_iter().find(|spare| spare.exists()) {
            Some(spare) => match fs::rename(spare, place) {
                // Another core gave it up.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                moved => moved,
            },
            None => Ok(()),
        }
    }

    /// Removes those of all logs; whether there were any.
    pub fn give_up(&self) -> bool {
        let logs = list_logs(&self.logs).unwrap_or_default();
        let spares = logs.into_iter().flat_map(|log| spare_paths(&self.logs, log));
        spares.filter(|spare| fs::remove_file(spare).is_ok()).count() > 0
    }
}

/// Whether a file has the length of a segment, and nobody else has it: no other name, as a backup gives it, and no program
/// that [holds](crate::folder::hold_segment) it.
fn is_nobodys(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    let is_held = flock(&file, FlockOperation::NonBlockingLockExclusive).is_err();
    let known = file.metadata()?;
    Ok(!is_held && known.nlink() == 1 && known.len() == u64::from(LOG_SEGMENT_BYTES))
}
