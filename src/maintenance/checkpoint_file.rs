//! A checkpoint's file, read from front to back as a server reads it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use engram_shards::checkpoint::head::{HEAD_BYTES, HeadFault};
use engram_shards::checkpoint::layout::pieces;
use engram_shards::checkpoint::reading::{CheckedHead, Checking};
use engram_shards::ids::StripeKey;

use crate::folder::FolderError;

/// What is wrong with one. Nothing is lost by it: the log has all that a checkpoint holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Offset in the file, in bytes.
    pub(super) offset: u64,
    /// What is wrong there.
    pub(super) what: String,
}

/// The head of the checkpoint at `path`, if it can be read and is sound. The outer error is that of another version.
pub(super) fn read_head(
    path: &Path,
    stripe: StripeKey,
) -> Result<Result<CheckedHead, Fault>, FolderError> {
    match File::open(path) {
        Ok(file) => head_of(&file, path, stripe),
        Err(error) => Ok(Err(Fault { offset: 0, what: error.to_string() })),
    }
}

/// The same, once all of its blocks were found sound.
pub(super) fn read_whole(
    path: &Path,
    stripe: StripeKey,
) -> Result<Result<CheckedHead, Fault>, FolderError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => return Ok(Err(Fault { offset: 0, what: error.to_string() })),
    };
    let head = match head_of(&file, path, stripe)? {
        Ok(head) => head,
        fault => return Ok(fault),
    };
    let mut checking = Checking::new(&head);
    let mut bytes = Vec::new();
    for piece in pieces(head.head()) {
        bytes.resize(usize::try_from(piece.bytes).expect("a piece fits memory"), 0);
        if let Err(error) = file.read_exact_at(&mut bytes, piece.offset) {
            return Ok(Err(Fault { offset: piece.offset, what: error.to_string() }));
        }
        if let Err(fault) = checking.handle_piece(&bytes, &mut |_, _| Ok(())) {
            return Ok(Err(Fault { offset: fault.offset, what: fault.what.to_owned() }));
        }
    }
    Ok(Ok(head))
}

fn head_of(
    file: &File,
    path: &Path,
    stripe: StripeKey,
) -> Result<Result<CheckedHead, Fault>, FolderError> {
    let read = || -> io::Result<_> {
        let mut head = vec![0; HEAD_BYTES];
        let length = file.metadata()?.len();
        head.truncate(HEAD_BYTES.min(usize::try_from(length).unwrap_or(HEAD_BYTES)));
        file.read_exact_at(&mut head, 0)?;
        Ok((head, length))
    };
    let (head, length) = match read() {
        Ok(read) => read,
        Err(error) => return Ok(Err(Fault { offset: 0, what: error.to_string() })),
    };
    match CheckedHead::new(&head, stripe, length) {
        Ok(head) => Ok(Ok(head)),
        Err(HeadFault::Damaged) => {
            Ok(Err(Fault { offset: 0, what: "head of a checkpoint, or length".to_owned() }))
        }
        Err(HeadFault::UnknownVersion(version)) => {
            Err(FolderError::UnknownVersion { path: path.to_owned(), version })
        }
    }
}
