//! The files of checkpoints: written as drafts that take the place of the one before, read in large pieces. Knows
//! offsets and lengths, no contents.
//!
//! ```text
//! checkpoints/KKKKKKKKKKKKKKKK-SSSSS.ckp        of stripe S of the space of key K
//! checkpoints/KKKKKKKKKKKKKKKK-SSSSS.ckp.new    its draft
//! ```

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use engram_shards::checkpoint::head::HEAD_BYTES;
use engram_shards::checkpoint::layout::Piece;
use engram_shards::ids::{SpaceKey, StripeKey};
use glommio::Task;
use glommio::io::{BufferedFile, Directory, OpenOptions, ReadResult};
use rustix::fs::OFlags;
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use crate::aside::aside;
use crate::folder::FolderError;
use crate::limits::{
    CACHE_PROBES, CHECKPOINT_READS_AHEAD, CHECKPOINT_START_BYTES, DIRECT_READ_ALIGNMENT,
};

/// Where the checkpoints of a folder are, beside its logs.
pub fn checkpoints_beside(logs: &Path) -> PathBuf {
    logs.with_file_name("checkpoints")
}

/// Where a stripe's checkpoint lies below the folder of checkpoints.
pub fn checkpoint_path(checkpoints: &Path, stripe: StripeKey) -> PathBuf {
    checkpoints.join(format!("{:016x}-{:05}.ckp", stripe.space.0, stripe.stripe))
}

fn draft_path(checkpoints: &Path, stripe: StripeKey) -> PathBuf {
    checkpoint_path(checkpoints, stripe).with_extension("ckp.new")
}

/// All checkpoints of a folder, in order. What is named otherwise is none of ours and left alone.
pub fn list_checkpoints(checkpoints: &Path) -> Result<Vec<StripeKey>, FolderError> {
    let names = names(checkpoints)?;
    let mut stripes: Vec<_> = names.iter().filter_map(|name| stripe_of(name, ".ckp")).collect();
    stripes.sort_unstable();
    Ok(stripes)
}

/// Removes what a process left unfinished. No shard may run.
pub fn remove_drafts(checkpoints: &Path) -> Result<(), FolderError> {
    for name in names(checkpoints)? {
        if stripe_of(&name, ".ckp.new").is_some() {
            let path = checkpoints.join(name);
            let removed = fs::remove_file(&path);
            removed.map_err(|error| FolderError::Io { path, doing: "remove", error })?;
        }
    }
    Ok(())
}

fn names(checkpoints: &Path) -> Result<Vec<String>, FolderError> {
    let fault = |error| FolderError::Io { path: checkpoints.to_owned(), doing: "list", error };
    match fs::read_dir(checkpoints) {
        Ok(entries) => {
            let name = |entry: io::Result<fs::DirEntry>| {
                Ok(entry?.file_name().to_string_lossy().into_owned())
            };
            entries.map(name).collect::<io::Result<_>>().map_err(fault)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(fault(error)),
    }
}

fn stripe_of(name: &str, ending: &str) -> Option<StripeKey> {
    let (space, stripe) = name.strip_suffix(ending)?.split_once('-')?;
    let is_one = space.len() == 16 && stripe.len() == 5;
    let space = SpaceKey(u64::from_str_radix(space, 16).ok()?);
    is_one.then_some(StripeKey { space, stripe: stripe.parse().ok()? })
}

/// The first block of a stripe's checkpoint, fewer bytes where the file is shorter, and the file's length.
pub fn read_head(checkpoints: &Path, stripe: StripeKey) -> Result<(Vec<u8>, u64), FolderError> {
    let path = checkpoint_path(checkpoints, stripe);
    let read = || {
        let file = File::open(&path)?;
        let length = file.metadata()?.len();
        let mut head = Vec::with_capacity(HEAD_BYTES);
        file.take(HEAD_BYTES as u64).read_to_end(&mut head)?;
        Ok((head, length))
    };
    read().map_err(|error| FolderError::Io { path: path.clone(), doing: "read", error })
}

/// Reads pieces of one checkpoint in order, several ahead: the first bytes through the page cache, what follows past it. The
/// disk then writes to where it is read from, and what is read but once does not take the place of what is used again.
#[derive(Debug)]
pub struct PieceReader {
    file: Rc<BufferedFile>,
    /// For pieces that begin behind those bytes.
    direct: Option<Rc<BufferedFile>>,
    cached_bytes: u64,
    reads: VecDeque<Task<io::Result<PieceRead>>>,
}

/// A piece that was read.
#[derive(Debug)]
pub struct PieceRead {
    read: ReadResult,
    /// Where the piece lies in it.
    range: Range<usize>,
}

impl Deref for PieceRead {
    type Target = [u8];

    /// The piece; less of it where the file ends before.
    fn deref(&self) -> &[u8] {
        let end = self.range.end.min(self.read.len());
        &self.read[self.range.start.min(end)..end]
    }
}

impl PieceReader {
    /// Opens it, so many bytes of which come [through the page cache](bytes_through_cache).
    pub async fn open(
        checkpoints: &Path,
        stripe: StripeKey,
        cached_bytes: u64,
    ) -> io::Result<PieceReader> {
        let path = checkpoint_path(checkpoints, stripe);
        let mut options = OpenOptions::new();
        let options = options.read(true);
        let file = options.buffered_open(&path).await?;
        let mut direct = None;
        if file.file_size().await? > cached_bytes {
            let flag = i32::try_from(OFlags::DIRECT.bits()).expect("flags are ints to C");
            match options.clone().custom_flags(flag).buffered_open(&path).await {
                Ok(file) => direct = Some(Rc::new(file)),
                Err(error) => tracing::debug!(%error, "a checkpoint cannot be read directly"),
            }
        }
        Ok(PieceReader { file: Rc::new(file), direct, cached_bytes, reads: VecDeque::new() })
    }

    /// What a piece is read from, and what offsets and lengths of such reads are multiples of.
    fn source(&self, piece: Piece) -> (Rc<BufferedFile>, u64) {
        match &self.direct {
            Some(direct) if piece.offset >= self.cached_bytes => {
                (direct.clone(), DIRECT_READ_ALIGNMENT)
            }
            _ => (self.file.clone(), 1),
        }
    }

    /// The first of the pieces `ahead`; as many of those that follow as may be are asked for, too. The next call has the
    /// same ones but the first.
    pub async fn next(&mut self, ahead: impl Iterator<Item = Piece>) -> io::Result<PieceRead> {
        let asked = self.reads.len();
        for piece in ahead.take(CHECKPOINT_READS_AHEAD).skip(asked) {
            let (file, alignment) = self.source(piece);
            let offset = piece.offset - piece.offset % alignment;
            let (start, end) = (piece.offset - offset, piece.offset + piece.bytes - offset);
            let fits = |bytes: u64| usize::try_from(bytes).expect("a piece fits memory");
            let (range, bytes) = (fits(start)..fits(end), fits(end.next_multiple_of(alignment)));
            let read = async move {
                let read = file.read_at(offset, bytes).await?;
                Ok(PieceRead { read, range })
            };
            self.reads.push_back(glommio::spawn_local(read));
        }
        self.reads.pop_front().expect("a piece is asked for").await
    }
}

/// How many bytes of a checkpoint are to come through the page cache: all, where that has them; else its start, which a
/// start of the server has it read to while the logs are replayed. To be asked once for each file: the kernel may answer by
/// reading where it was asked, so that whoever asks again finds it there.
pub fn bytes_through_cache(path: &Path) -> io::Result<u64> {
    let is_cached = is_cached(&File::open(path)?, CHECKPOINT_START_BYTES)?;
    Ok(if is_cached { u64::MAX } else { CHECKPOINT_START_BYTES })
}

/// Whether the page cache has most of a file, as far as a few places behind its start tell.
fn is_cached(file: &File, start_bytes: u64) -> io::Result<bool> {
    let rest = file.metadata()?.len().saturating_sub(start_bytes);
    if rest == 0 {
        return Ok(true);
    }
    let mut cached = 0;
    for probe in 0..CACHE_PROBES {
        let mut byte = [0];
        let mut buffer = [io::IoSliceMut::new(&mut byte)];
        let offset = start_bytes + rest / CACHE_PROBES * probe;
        match preadv2(file, &mut buffer, offset, ReadWriteFlags::NOWAIT) {
            Ok(_) => cached += 1,
            Err(Errno::AGAIN) => {}
            // A file system that cannot tell.
            Err(_) => return Ok(true),
        }
    }
    Ok(cached > CACHE_PROBES / 2)
}

/// The drafts of one core's shard. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Drafts {
    checkpoints: PathBuf,
    /// The one that is being written.
    open: Rc<RefCell<Option<Draft>>>,
}

#[derive(Debug)]
struct Draft {
    stripe: StripeKey,
    file: Rc<BufferedFile>,
}

impl Drafts {
    /// Drafts below this folder, which is made with the first one.
    pub fn new(checkpoints: PathBuf) -> Drafts {
        Drafts { checkpoints, open: Rc::default() }
    }

    /// Makes a draft, its place reserved.
    pub async fn create(&self, stripe: StripeKey, bytes_total: u64) -> io::Result<()> {
        if !self.checkpoints.exists() {
            fs::create_dir_all(&self.checkpoints)?;
            let parent = self.checkpoints.parent().expect("it lies in the data folder");
            Directory::open(parent).await?.sync().await?;
        }
        let path = draft_path(&self.checkpoints, stripe);
        let file =
            OpenOptions::new().write(true).create(true).truncate(true).buffered_open(&path).await?;
        file.pre_allocate(bytes_total, false).await?;
        self.open.replace(Some(Draft { stripe, file: Rc::new(file) }));
        Ok(())
    }

    /// Writes a part of it.
    pub async fn write(
        &self,
        stripe: StripeKey,
        offset: u64,
        bytes: Vec<u8>,
        sync: bool,
    ) -> io::Result<()> {
        let file = self.file(stripe);
        let length = bytes.len();
        if file.write_at(bytes, offset).await? < length {
            // A short write means that there was room for no more.
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        if sync { Ok(file.fdatasync().await?) } else { Ok(()) }
    }

    /// Syncs it.
    pub async fn sync(&self, stripe: StripeKey) -> io::Result<()> {
        Ok(self.file(stripe).fdatasync().await?)
    }

    /// Puts it in the place of the stripe's checkpoint.
    pub async fn keep(&self, stripe: StripeKey) -> io::Result<()> {
        self.open.replace(None);
        let (draft, kept) =
            (draft_path(&self.checkpoints, stripe), checkpoint_path(&self.checkpoints, stripe));
        aside(move || fs::rename(draft, kept)).await?;
        Ok(Directory::open(&self.checkpoints).await?.sync().await?)
    }

    /// Removes what was written of it: there is no room, or the disk fails.
    pub fn remove(&self, stripe: StripeKey) {
        self.open.replace(None);
        let path = draft_path(&self.checkpoints, stripe);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "a draft cannot be removed");
            }
            _ => {}
        }
    }

    fn file(&self, stripe: StripeKey) -> Rc<BufferedFile> {
        let open = self.open.borrow();
        let draft = open.as_ref().expect("a draft is made before it is written");
        assert_eq!(draft.stripe, stripe, "one draft is written at a time");
        draft.file.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Advice, fadvise};
    use std::os::unix::fs::OpenOptionsExt;

    const STRIPE: StripeKey = StripeKey { space: SpaceKey(7), stripe: 0 };
    const LENGTH: u64 = 40_000;
    /// Not where a block begins.
    const START: u64 = 9_000;

    /// What the pieces of a file are read as, and whether what follows its start came past the page cache.
    async fn read_all(folder: &Path, pieces: &[Piece], cached_bytes: u64) -> (Vec<Vec<u8>>, bool) {
        let reader = PieceReader::open(folder, STRIPE, cached_bytes).await;
        let mut reader = reader.expect("it is there");
        let mut found = Vec::new();
        for first in 0..pieces.len() {
            let read = reader.next(pieces[first..].iter().copied()).await.expect("it can be read");
            found.push(read.to_vec());
        }
        (found, reader.direct.is_some())
    }

    #[test]
    fn pieces_are_the_same_from_the_page_cache_and_past_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let bytes: Vec<u8> = (0..LENGTH).map(|at| (at * at % 251) as u8).collect();
        let path = checkpoint_path(folder.path(), STRIPE);
        fs::write(&path, &bytes).expect("it can be written");
        // The last one begins within the file, and ends behind it.
        let ends = [4_096, 4_097, 8_192, 10_000, 30_000, LENGTH + 5_000];
        let starts = [0].into_iter().chain(ends);
        let pieces: Vec<Piece> =
            starts.zip(ends).map(|(offset, end)| Piece { offset, bytes: end - offset }).collect();
        let expected: Vec<Vec<u8>> = pieces
            .iter()
            .map(|piece| {
                let end = (piece.offset + piece.bytes).min(LENGTH);
                bytes[piece.offset as usize..end as usize].to_vec()
            })
            .collect();
        let executor = glommio::LocalExecutorBuilder::default().io_memory(1 << 20);
        let executor = executor.make().expect("an executor can be made");
        executor.run(async {
            assert!(
                is_cached(&File::open(&path).expect("it is there"), START).expect("it is read")
            );
            let read = read_all(folder.path(), &pieces, u64::MAX).await;
            assert_eq!(read, (expected.clone(), false));
            let file = File::open(&path).expect("it is there");
            file.sync_all().expect("it can be synced");
            fadvise(&file, 0, None, Advice::DontNeed).expect("the kernel takes advice");
            let read = read_all(folder.path(), &pieces, START).await;
            // A file system in memory may not have such reads.
            let direct = fs::OpenOptions::new()
                .read(true)
                .custom_flags(OFlags::DIRECT.bits().cast_signed())
                .open(&path);
            assert_eq!(read, (expected, direct.is_ok()));
        });
    }
}
