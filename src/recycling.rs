//! Files of emptied segments become the place of the log's next one.
//!
//! The blocks of a file that is new are noted as unwritten, however well its place was reserved: the first sync behind each
//! write commits the file system's journal too, to say that they are written now. Those of a file that was a segment before
//! are written, and a sync of them has nothing to do but that.
//!
//! ```text
//!  NNN.seg ⇄ HEAD (its head alone)      the folder is synced: no crash gives the file its name back
//!            HEAD ─► NEXT               for the one that was kept, unless somebody linked to it, or holds it: he would see
//!                    NEXT ─► MMM.seg    it overwritten; once the new head is written and synced
//! ```
//! What an earlier life left behind the end is no part of the new one: a batch names its segment and that life of its file.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use engram_shards::limits::LOG_SEGMENT_BYTES;
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::Errno;

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
        // One that cannot.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            fs::rename(draft, path).map(|()| Replaced::Gone)
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether a file has the length of a segment, and nobody else has it: no other name, as a backup gives it, and no program
/// that [holds](crate::folder::hold_segment) it.
pub fn is_nobodys(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    let is_held = flock(&file, FlockOperation::NonBlockingLockExclusive).is_err();
    let known = file.metadata()?;
    Ok(!is_held && known.nlink() == 1 && known.len() == u64::from(LOG_SEGMENT_BYTES))
}
