//! A folder's files: how long they are, and what of them is in the page cache.

use std::fs::{self, File};
use std::io::{Error, Read, Result, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use engram::folder::data_end;
use rustix::fs::{Advice, fadvise};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Read at once.
const READ_BYTES: usize = 1 << 20;

/// All files below a folder.
pub(crate) fn below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => files.extend(below(&entry.path())?),
            false => files.push(entry.path()),
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// What they take on the disk, with what is reserved.
pub(super) fn disk_bytes(files: &[PathBuf]) -> Result<u64> {
    files.iter().map(|file| Ok(fs::metadata(file)?.blocks() * 512)).sum()
}

/// Takes them out of the page cache; returns how many bytes of them stayed.
pub(crate) fn drop_cached(files: &[PathBuf]) -> Result<u64> {
    for path in files {
        let file = File::open(path)?;
        // What is not on the disk yet would stay.
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    files.iter().map(|file| cached_bytes(file)).sum()
}

/// Bytes of a file that are in the page cache.
fn cached_bytes(path: &Path) -> Result<u64> {
    let file = File::open(path)?;
    let bytes = usize::try_from(file.metadata()?.len()).expect("a file fits the address space");
    if bytes == 0 {
        return Ok(0);
    }
    let page = rustix::param::page_size();
    let mut pages = vec![0u8; bytes.div_ceil(page)];
    // SAFETY: the kernel chooses where, the mapping is of a file that nobody cuts, and is never read.
    let mapped =
        unsafe { mmap(std::ptr::null_mut(), bytes, ProtFlags::READ, MapFlags::SHARED, &file, 0)? };
    // SAFETY: `mapped` are `bytes` bytes of a mapping, and `pages` has a byte for each page of them.
    let told = unsafe { libc::mincore(mapped, bytes, pages.as_mut_ptr()) };
    let failed = (told != 0).then(Error::last_os_error);
    // SAFETY: it was mapped above, and nothing refers to it.
    unsafe { munmap(mapped, bytes)? };
    match failed {
        Some(error) => Err(error),
        None => Ok((pages.iter().filter(|flags| **flags & 1 == 1).count() * page) as u64),
    }
}

/// What it took to read files one behind the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadThrough {
    pub(super) bytes: u64,
    pub(super) duration: Duration,
}

/// Reads them on this thread, each as far as it holds data.
pub(super) fn read_through(files: &[PathBuf]) -> Result<ReadThrough> {
    let mut buffer = vec![0; READ_BYTES];
    let mut bytes = 0;
    let start = Instant::now();
    for path in files {
        let mut file = File::open(path)?;
        let end = data_end(&file)?;
        file.rewind()?;
        fadvise(&file, 0, None, Advice::Sequential)?;
        let mut at = 0;
        while at < end {
            let most = READ_BYTES.min((end - at) as usize);
            match file.read(&mut buffer[..most])? {
                0 => return Err(Error::other(format!("{} is shorter now", path.display()))),
                read => at += read as u64,
            }
        }
        bytes += end;
    }
    Ok(ReadThrough { bytes, duration: start.elapsed() })
}
