//! Writes, syncs and reads segments. Knows offsets and lengths, no record.
//!
//! Files are buffered ones: their ring is not polled, so a write that allocates does not spin (a direct one does).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;
use std::rc::Rc;

use engram_shards::ids::{Location, SegmentId};
use engram_shards::log::log::IoFault;
use engram_shards::shard::{Io, IoOutput};
use glommio::GlommioError;
use glommio::io::{BufferedFile, Directory, OpenOptions};
use rustix::io::{Errno, ReadWriteFlags};

use crate::folder::{log_path, segment_path};
use crate::limits::OPEN_SEGMENTS_MAX;

/// One core's way to the logs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Disk {
    logs: PathBuf,
    /// Files that are open, the one used last at the back.
    open: Rc<RefCell<VecDeque<(SegmentId, Rc<BufferedFile>)>>>,
}

impl Disk {
    /// The logs below `logs`.
    pub fn new(logs: PathBuf) -> Disk {
        Disk { logs, open: Rc::default() }
    }

    /// Does what a shard wants, and says how it ended. A failure is logged here, where its cause is known.
    pub async fn run(&self, io: Io) -> Result<IoOutput, IoFault> {
        match io {
            Io::CreateSegment { segment, bytes_total, head } => {
                let created = self.create(segment, bytes_total, head).await;
                created.map(|()| IoOutput::Done).map_err(|error| fault_of("create", segment, &error))
            }
            Io::Commit { segment, offset, bytes } => {
                let committed = self.commit(segment, offset, bytes).await;
                committed.map(|()| IoOutput::Done).map_err(|error| fault_of("write", segment, &error))
            }
            Io::Read { places } => self.read(places).await.map(IoOutput::Read),
        }
    }

    /// Removes a segment that holds nothing.
    pub async fn remove(&self, segment: SegmentId) -> io::Result<()> {
        self.open.borrow_mut().retain(|(open, _)| *open != segment);
        std::fs::remove_file(segment_path(&self.logs, segment))?;
        Ok(Directory::open(log_path(&self.logs, segment.log)).await?.sync().await?)
    }

    /// Makes a segment's file: its place reserved, its head synced, its name synced in its folder.
    async fn create(&self, segment: SegmentId, bytes_total: u32, head: Vec<u8>) -> io::Result<()> {
        let log = log_path(&self.logs, segment.log);
        if !log.exists() {
            std::fs::create_dir_all(&log)?;
            Directory::open(&self.logs).await?.sync().await?;
        }
        let path = segment_path(&self.logs, segment);
        // A file of that name can only be what an earlier, failed attempt of this run left: numbers are never used again.
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).buffered_open(&path).await?;
        file.pre_allocate(u64::from(bytes_total), false).await?;
        write_whole(&file, head, 0).await?;
        file.fdatasync().await?;
        Directory::open(&log).await?.sync().await?;
        self.keep_open(segment, Rc::new(file));
        Ok(())
    }

    /// Writes `bytes` at `offset` and syncs them.
    async fn commit(&self, segment: SegmentId, offset: u32, bytes: Vec<u8>) -> io::Result<()> {
        let file = self.file(segment).await?;
        write_whole(&file, bytes, offset).await?;
        Ok(file.fdatasync().await?)
    }

    /// Reads each place: at once what the page cache holds, the rest side by side.
    async fn read(&self, places: Vec<Location>) -> Result<Vec<Vec<u8>>, IoFault> {
        let mut found = Vec::with_capacity(places.len());
        let mut missing = Vec::new();
        for (index, place) in places.into_iter().enumerate() {
            let fault = |error: io::Error| fault_of("read", place.segment, &error);
            let file = self.file(place.segment).await.map_err(fault)?;
            let cached = read_cached(&file, place).map_err(fault)?;
            if cached.is_none() {
                missing.push((index, glommio::spawn_local(read_whole(file, place))));
            }
            found.push(cached.unwrap_or_default());
        }
        for (index, reading) in missing {
            found[index] = reading.await.map_err(|(place, error)| fault_of("read", place.segment, &error))?;
        }
        Ok(found)
    }

    async fn file(&self, segment: SegmentId) -> io::Result<Rc<BufferedFile>> {
        if let Some(file) = self.already_open(segment) {
            return Ok(file);
        }
        let path = segment_path(&self.logs, segment);
        let file = Rc::new(OpenOptions::new().read(true).write(true).buffered_open(path).await?);
        self.keep_open(segment, file.clone());
        Ok(file)
    }

    fn already_open(&self, segment: SegmentId) -> Option<Rc<BufferedFile>> {
        let mut open = self.open.borrow_mut();
        let place = open.iter().rposition(|(open, _)| *open == segment)?;
        if place + 1 < open.len() {
            let used = open.remove(place).expect("it was just found there");
            open.push_back(used);
        }
        open.back().map(|(_, file)| file.clone())
    }

    fn keep_open(&self, segment: SegmentId, file: Rc<BufferedFile>) {
        let dropped = {
            let mut open = self.open.borrow_mut();
            open.retain(|(open, _)| *open != segment);
            open.push_back((segment, file));
            if open.len() > OPEN_SEGMENTS_MAX { open.pop_front() } else { None }
        };
        drop(dropped);
    }
}

async fn write_whole(file: &BufferedFile, bytes: Vec<u8>, offset: u32) -> io::Result<()> {
    let length = bytes.len();
    match file.write_at(bytes, u64::from(offset)).await? {
        written if written == length => Ok(()),
        // A short write means that there was room for no more.
        _ => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
    }
}

/// Reads a place if all of it is in the page cache.
fn read_cached(file: &BufferedFile, place: Location) -> io::Result<Option<Vec<u8>>> {
    // SAFETY: the descriptor is the file's own, which outlives this call.
    let fd = unsafe { BorrowedFd::borrow_raw(file.as_raw_fd()) };
    let mut bytes = vec![0; place.bytes as usize];
    let mut buffers = [io::IoSliceMut::new(&mut bytes)];
    match rustix::io::preadv2(fd, &mut buffers, u64::from(place.offset), ReadWriteFlags::NOWAIT) {
        Ok(read) if read == bytes.len() => Ok(Some(bytes)),
        // Part of it only, or a file system that cannot tell: the ring reads it.
        Ok(_) | Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn read_whole(file: Rc<BufferedFile>, place: Location) -> Result<Vec<u8>, (Location, io::Error)> {
    let read = file.read_at(u64::from(place.offset), place.bytes as usize).await;
    match read {
        Ok(bytes) if bytes.len() == place.bytes as usize => Ok(bytes.to_vec()),
        Ok(_) => Err((place, io::ErrorKind::UnexpectedEof.into())),
        Err(error) => Err((place, io_error(error))),
    }
}

fn io_error(error: GlommioError<()>) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => error.into(),
    }
}

fn fault_of(doing: &str, segment: SegmentId, error: &io::Error) -> IoFault {
    tracing::error!(log = segment.log.0, segment = segment.number, %error, "cannot {doing} a segment");
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => IoFault::Full,
        _ => IoFault::Failed,
    }
}
