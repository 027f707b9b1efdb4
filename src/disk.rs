//! Writes, syncs and reads segments. Knows offsets and lengths, no record.
//!
//! Files are buffered ones: their ring is not polled, so a write that allocates does not spin (a
//! direct one does).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use engram_shards::ids::{Location, LogId, SegmentId, StripeKey};
use engram_shards::limits::LOG_BLOCK_BYTES;
use engram_shards::log::log::IoFault;
use engram_shards::shard::{Io, IoOutput, Share};
use glommio::GlommioError;
use glommio::io::{BufferedFile, Directory, OpenOptions};
use glommio::sync::Semaphore;
use rustix::io::{Errno, ReadWriteFlags};

use crate::aside::aside;
use crate::chaos::DiskFaults;
use crate::checkpoint_files::{Drafts, checkpoints_beside};
use crate::cores::CoreIndex;
use crate::folder::{draft_path, kept_path, log_path, segment_path, summary_path};
use crate::limits::OPEN_SEGMENTS_MAX;
use crate::log_readers::LogReaders;
use crate::recycling::{Replaced, is_nobodys, replace};
use crate::shares::Shares;

type OpenFiles = VecDeque<(SegmentId, Rc<BufferedFile>)>;

/// One core's way to the logs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Disk {
    logs: PathBuf,
    /// Files that are open, the one used last at the back.
    open: Rc<RefCell<OpenFiles>>,
    drafts: Drafts,
    readers: LogReaders,
    core: CoreIndex,
    shares: Shares,
    /// Whoever has its one permit works on the drafts of segments that are emptied …
    drafting: Rc<Semaphore>,
    /// … or makes a segment of the place that is kept.
    creating: Rc<Semaphore>,
    faults: DiskFaults,
}

impl Disk {
    /// The logs below `logs`, and the checkpoints beside it, for one core; `readers` and `shares` are those of all.
    pub fn new(logs: PathBuf, core: CoreIndex, readers: LogReaders, shares: Shares) -> Disk {
        let drafts = Drafts::new(checkpoints_beside(&logs));
        let (open, faults) = (Rc::default(), DiskFaults::default());
        let [drafting, creating] = [(); 2].map(|()| Rc::new(Semaphore::new(1)));
        Disk { logs, open, drafts, readers, core, shares, drafting, creating, faults }
    }

    /// What a test lets fail.
    pub fn faults(&self) -> &DiskFaults {
        &self.faults
    }

    /// Does what a shard wants, and says how it ended. A failure is logged here, where its cause is
    /// known.
    pub async fn run(&self, io: Io) -> Result<IoOutput, IoFault> {
        match io {
            Io::KeepSegment { log, bytes_total } => {
                let kept = self.keep(log, bytes_total).await;
                let next = SegmentId { log, number: 0 };
                kept.map(|_| IoOutput::Done).map_err(|error| fault_of("keep", next, &error))
            }
            Io::CreateSegment { segment, bytes_total, head } => {
                let created = self.create(segment, bytes_total, head).await;
                created
                    .map(|()| IoOutput::Done)
                    .map_err(|error| fault_of("create", segment, &error))
            }
            Io::Commit { segment, offset, bytes, sync } => {
                let committed = self.commit(segment, offset, bytes, sync).await;
                committed
                    .map(|()| IoOutput::Done)
                    .map_err(|error| fault_of("write", segment, &error))
            }
            Io::Sync { segment } => {
                let synced = self.sync(segment).await;
                synced.map(|()| IoOutput::Done).map_err(|error| fault_of("sync", segment, &error))
            }
            Io::Share { shares } => Ok(IoOutput::Shares(self.share(&shares))),
            Io::EmptySegment { segment, bytes } => {
                let _removal = self.readers.try_remove().ok_or(IoFault::Failed)?;
                // Whoever is built anew has begun to read, or has not said anything since.
                if !self.shares.is_left(segment) {
                    return Err(IoFault::Failed);
                }
                let emptied = self.empty(segment, bytes).await;
                emptied.map(|()| IoOutput::Done).map_err(|error| fault_of("empty", segment, &error))
            }
            Io::RemoveSegment { segment } => {
                let _removal = self.readers.try_remove().ok_or(IoFault::Failed)?;
                let removed = self.remove(segment).await;
                removed
                    .map(|()| IoOutput::Done)
                    .map_err(|error| fault_of("remove", segment, &error))
            }
            Io::Read { places } => self.read(places).await.map(IoOutput::Read),
            Io::CreateCheckpoint { stripe, bytes_total } => {
                self.drafted(stripe, self.drafts.create(stripe, bytes_total).await)
            }
            Io::WriteCheckpoint { stripe, offset, bytes, sync } => {
                self.drafted(stripe, self.drafts.write(stripe, offset, bytes, sync).await)
            }
            Io::SyncCheckpoint { stripe } => self.drafted(stripe, self.drafts.sync(stripe).await),
            Io::KeepCheckpoint { stripe } => self.drafted(stripe, self.drafts.keep(stripe).await),
            Io::WriteSummary { segment, bytes } => {
                let path = summary_path(&self.logs, segment);
                let written = aside(move || std::fs::write(path, bytes)).await;
                written
                    .map(|()| IoOutput::Done)
                    .map_err(|error| fault_of("sum up", segment, &error))
            }
        }
    }

    /// What became of a step of a checkpoint: of one that failed nothing is left.
    fn drafted(&self, stripe: StripeKey, done: io::Result<()>) -> Result<IoOutput, IoFault> {
        done.map(|()| IoOutput::Done).map_err(|error| {
            self.drafts.remove(stripe);
            let space = format_args!("{:016x}", stripe.space.0);
            tracing::error!(%space, stripe = stripe.stripe, %error, "cannot write a checkpoint");
            kind_of(&error)
        })
    }

    /// Tells what counts for this core, and what does for all. The files of segments that it has left are closed, for an open
    /// file keeps its place.
    fn share(&self, shares: &[(SegmentId, Share)]) -> Vec<Share> {
        let tell = |&(segment, share): &(SegmentId, Share)| {
            self.shares.tell(self.core, segment, share);
            if share == Share::Left {
                self.open.borrow_mut().retain(|(open, _)| *open != segment);
            }
        };
        shares.iter().for_each(tell);
        shares.iter().map(|(segment, _)| self.shares.total(*segment)).collect()
    }

    /// Removes a segment that holds nothing, if it is there: an attempt before may have ended in its middle.
    pub async fn remove(&self, segment: SegmentId) -> io::Result<()> {
        self.open.borrow_mut().retain(|(open, _)| *open != segment);
        let [file, summary] =
            [segment_path(&self.logs, segment), summary_path(&self.logs, segment)];
        aside(move || remove_if_there(&file).and_then(|()| remove_if_there(&summary))).await?;
        Ok(Directory::open(log_path(&self.logs, segment.log)).await?.sync().await?)
    }

    /// Puts a file of these bytes in the place of a segment's, which is kept for the next segment then unless somebody linked
    /// to it or holds it: whoever does keeps it. What said what it holds goes.
    async fn empty(&self, segment: SegmentId, bytes: Vec<u8>) -> io::Result<()> {
        let (path, draft, summary) = (
            segment_path(&self.logs, segment),
            draft_path(&self.logs, segment.log),
            summary_path(&self.logs, segment),
        );
        let _alone = self.drafting.acquire_permit(1).await?;
        let file = self.draft(segment.log).await?;
        write_whole(&file, bytes, 0).await?;
        file.fdatasync().await?;
        let replacing = draft.clone();
        let replaced = aside(move || {
            let replaced = replace(&path, &replacing)?;
            remove_if_there(&summary).map(|()| replaced)
        });
        let replaced = replaced.await?;
        self.open.borrow_mut().retain(|(open, _)| *open != segment);
        Directory::open(log_path(&self.logs, segment.log)).await?.sync().await?;
        match replaced {
            Replaced::Gone => Ok(()),
            // Only now: a crash before might have given it its name back.
            Replaced::Exchanged => self.recycle(segment.log, draft).await,
        }
    }

    /// Keeps a file for the next segment, in place of the one that was kept, or removes it.
    async fn recycle(&self, log: LogId, file: PathBuf) -> io::Result<()> {
        // Whoever makes a segment has opened what is kept. Other cores' logs are none of this one, or not written any more.
        let may_take = (log.0 == self.core.0).then(|| self.creating.try_acquire_permit(1));
        let place = matches!(may_take, Some(Ok(_))).then(|| kept_path(&self.logs, log));
        aside(move || match place {
            Some(place) if is_nobodys(&file)? => std::fs::rename(file, place),
            _ => std::fs::remove_file(file),
        })
        .await
    }

    /// The file that is to take the place of an emptied segment's.
    async fn draft(&self, log: LogId) -> io::Result<BufferedFile> {
        let path = draft_path(&self.logs, log);
        // An emptying may have ended in its middle, and left what it replaced.
        if std::fs::metadata(&path).is_ok_and(|draft| draft.len() > u64::from(LOG_BLOCK_BYTES)) {
            std::fs::remove_file(&path)?;
        }
        open_or_create(&path).await
    }

    /// Makes sure that there is a file for the next segment, its place reserved, and one for the head of a segment that is
    /// emptied.
    async fn keep(&self, log: LogId, bytes_total: u32) -> io::Result<BufferedFile> {
        let folder = log_path(&self.logs, log);
        if !folder.exists() {
            std::fs::create_dir_all(&folder)?;
            Directory::open(&self.logs).await?.sync().await?;
        }
        // Whoever empties a segment meanwhile has a draft already.
        if let Ok(_alone) = self.drafting.try_acquire_permit(1) {
            let draft = self.draft(log).await?;
            draft.pre_allocate(u64::from(LOG_BLOCK_BYTES), false).await?;
        }
        let file = open_or_create(&kept_path(&self.logs, log)).await?;
        file.pre_allocate(u64::from(bytes_total), false).await?;
        Ok(file)
    }

    /// Makes a segment's file: its place reserved, its head synced, its name synced in its folder. The head comes first: a file
    /// that was another segment's never has this one's name with that one's head.
    async fn create(&self, segment: SegmentId, bytes_total: u32, head: Vec<u8>) -> io::Result<()> {
        let _alone = self.creating.acquire_permit(1).await?;
        let file = self.keep(segment.log, bytes_total).await?;
        write_whole(&file, head, 0).await?;
        file.fdatasync().await?;
        let log = segment.log;
        let (kept, path) = (kept_path(&self.logs, log), segment_path(&self.logs, segment));
        aside(move || std::fs::rename(kept, path)).await?;
        Directory::open(log_path(&self.logs, log)).await?.sync().await?;
        self.keep_open(segment, Rc::new(file));
        Ok(())
    }

    /// Writes `bytes` at `offset`, and syncs them where that is asked for.
    async fn commit(
        &self,
        segment: SegmentId,
        offset: u32,
        bytes: Vec<u8>,
        sync: bool,
    ) -> io::Result<()> {
        let file = self.file(segment).await?;
        self.faults.at_write()?;
        write_whole(&file, bytes, offset).await?;
        if sync { self.sync_file(&file).await } else { Ok(()) }
    }

    async fn sync(&self, segment: SegmentId) -> io::Result<()> {
        let file = self.file(segment).await?;
        self.sync_file(&file).await
    }

    async fn sync_file(&self, file: &BufferedFile) -> io::Result<()> {
        self.faults.at_sync()?;
        Ok(file.fdatasync().await?)
    }

    /// Reads places if all of them are in the page cache, and their files are open: at once.
    pub fn read_now(&self, places: &[Location]) -> Option<Vec<Vec<u8>>> {
        let read = |place: &Location| {
            let file = self.already_open(place.segment)?;
            // What is wrong with it is told by whoever reads it in the end.
            read_cached(&file, *place).ok().flatten()
        };
        places.iter().map(read).collect()
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
            found[index] =
                reading.await.map_err(|(place, error)| fault_of("read", place.segment, &error))?;
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

async fn open_or_create(path: &Path) -> io::Result<BufferedFile> {
    let mut options = OpenOptions::new();
    Ok(options.read(true).write(true).create(true).buffered_open(path).await?)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
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

async fn read_whole(
    file: Rc<BufferedFile>,
    place: Location,
) -> Result<Vec<u8>, (Location, io::Error)> {
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
    kind_of(error)
}

fn kind_of(error: &io::Error) -> IoFault {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => IoFault::Full,
        _ => IoFault::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::hold_segment;
    use engram_shards::limits::LOG_SEGMENT_BYTES;
    use std::cell::Cell;
    use std::future::Future;
    use std::os::unix::fs::{FileExt, MetadataExt};

    const SEGMENT: SegmentId = SegmentId { log: LogId(3), number: 7 };
    const SHARED: SegmentId = SegmentId { log: LogId(3), number: 2 };

    fn place(offset: u32, bytes: u32) -> Location {
        Location { segment: SEGMENT, offset, bytes }
    }

    fn create(head: u8) -> Io {
        let head = vec![head; LOG_BLOCK_BYTES as usize];
        Io::CreateSegment { segment: SEGMENT, bytes_total: 4 * LOG_BLOCK_BYTES, head }
    }

    /// One for a core that is alone, and has another one's segment of which nothing was said yet.
    fn disk_of(logs: PathBuf) -> Disk {
        Disk::new(logs, CoreIndex(0), LogReaders::default(), Shares::new(1, [SHARED]))
    }

    /// Runs a test with a disk on an executor of its own.
    fn with_disk<F: Future<Output = ()>>(test: impl FnOnce(Disk) -> F + Send + 'static) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let logs = folder.path().to_owned();
        let executor = glommio::LocalExecutorBuilder::default()
            .io_memory(1 << 20)
            .spawn(move || async move { test(disk_of(logs)).await })
            .expect("an executor starts");
        executor.join().expect("its promises held");
    }

    #[test]
    fn what_was_committed_is_read_back() {
        with_disk(|disk| async move {
            assert_eq!(disk.run(create(1)).await, Ok(IoOutput::Done));
            let file = std::fs::metadata(segment_path(&disk.logs, SEGMENT)).expect("it is there");
            assert_eq!(file.len(), u64::from(4 * LOG_BLOCK_BYTES), "its place is reserved");
            let bytes: Vec<u8> = (0..LOG_BLOCK_BYTES).map(|byte| byte as u8).collect();
            let commit = Io::Commit {
                segment: SEGMENT,
                offset: LOG_BLOCK_BYTES,
                bytes: bytes.clone(),
                sync: false,
            };
            assert_eq!(disk.run(commit).await, Ok(IoOutput::Done));
            assert_eq!(disk.run(Io::Sync { segment: SEGMENT }).await, Ok(IoOutput::Done));
            // Another core's disk has no file open yet.
            let other = disk_of(disk.logs.clone());
            let places =
                vec![place(LOG_BLOCK_BYTES + 5, 300), place(0, 2), place(LOG_BLOCK_BYTES, 1)];
            let read = other.run(Io::Read { places }).await;
            assert_eq!(read, Ok(IoOutput::Read(vec![bytes[5..305].to_vec(), vec![1, 1], vec![0]])));
        });
    }

    #[test]
    fn what_is_not_in_the_page_cache_is_read_by_the_ring() {
        with_disk(|disk| async move {
            assert_eq!(disk.run(create(9)).await, Ok(IoOutput::Done));
            let file = disk.file(SEGMENT).await.expect("it is open");
            assert_eq!(read_whole(file, place(1, 3)).await.expect("it is read"), [9, 9, 9]);
        });
    }

    #[test]
    fn a_read_past_the_end_or_of_no_file_fails() {
        with_disk(|disk| async move {
            let nothing = Io::Read { places: vec![place(0, 1)] };
            assert_eq!(disk.run(nothing).await, Err(IoFault::Failed));
            assert_eq!(disk.run(create(1)).await, Ok(IoOutput::Done));
            let past = Io::Read { places: vec![place(0, 1), place(4 * LOG_BLOCK_BYTES - 1, 2)] };
            assert_eq!(disk.run(past).await, Err(IoFault::Failed));
        });
    }

    #[test]
    fn a_full_disk_is_told_from_a_broken_one() {
        for (code, fault) in [
            (libc::ENOSPC, IoFault::Full),
            (libc::EDQUOT, IoFault::Full),
            (libc::EIO, IoFault::Failed),
        ] {
            // As it comes from the ring: the code is lost on the way, its kind is not.
            let enhanced: GlommioError<()> = GlommioError::EnhancedIoError {
                source: io::Error::from_raw_os_error(code),
                op: "Writing",
                path: None,
                fd: None,
            };
            assert_eq!(fault_of("write", SEGMENT, &enhanced.into()), fault, "{code}");
        }
    }

    #[test]
    fn a_removed_segment_is_gone_also_for_readers() {
        with_disk(|disk| async move {
            assert_eq!(disk.run(create(1)).await, Ok(IoOutput::Done));
            let reading = disk.readers.begin();
            let remove = Io::RemoveSegment { segment: SEGMENT };
            assert_eq!(disk.run(remove.clone()).await, Err(IoFault::Failed), "somebody reads");
            assert!(disk.run(Io::Read { places: vec![place(0, 1)] }).await.is_ok());
            drop(reading);
            assert_eq!(disk.run(remove.clone()).await, Ok(IoOutput::Done));
            assert_eq!(disk.run(remove).await, Ok(IoOutput::Done), "it is gone already");
            let read = disk.run(Io::Read { places: vec![place(0, 1)] }).await;
            assert_eq!(read, Err(IoFault::Failed));
        });
    }

    #[test]
    fn an_emptied_segment_is_the_file_that_took_its_place() {
        with_disk(|disk| async move {
            assert_eq!(disk.run(create(1)).await, Ok(IoOutput::Done));
            let summary = summary_path(&disk.logs, SEGMENT);
            let sum_up = Io::WriteSummary { segment: SEGMENT, bytes: vec![5] };
            assert_eq!(disk.run(sum_up).await, Ok(IoOutput::Done));
            assert!(summary.exists());
            let link = disk.logs.join("linked");
            std::fs::hard_link(segment_path(&disk.logs, SEGMENT), &link).expect("it is linked");
            let empty = Io::EmptySegment { segment: SEGMENT, bytes: vec![7; 9] };
            let reading = disk.readers.begin();
            assert_eq!(disk.run(empty.clone()).await, Err(IoFault::Failed), "somebody reads");
            drop(reading);
            assert_eq!(disk.run(empty).await, Ok(IoOutput::Done));
            let read = disk.run(Io::Read { places: vec![place(0, 9)] }).await;
            assert_eq!(read, Ok(IoOutput::Read(vec![vec![7; 9]])));
            assert!(!summary.exists() && !draft_path(&disk.logs, SEGMENT.log).exists());
            let kept = std::fs::metadata(&link).expect("whoever linked to it keeps it");
            assert_eq!(kept.len(), u64::from(4 * LOG_BLOCK_BYTES));
        });
    }

    /// One of the log that the core itself writes, whole and with something in it.
    async fn make_own(disk: &Disk, number: u32) -> SegmentId {
        let segment = SegmentId { log: LogId(0), number };
        let head = vec![number as u8; LOG_BLOCK_BYTES as usize];
        let made = Io::CreateSegment { segment, bytes_total: LOG_SEGMENT_BYTES, head };
        assert_eq!(disk.run(made).await, Ok(IoOutput::Done));
        let bytes = vec![number as u8; LOG_BLOCK_BYTES as usize];
        let commit = Io::Commit { segment, offset: LOG_BLOCK_BYTES, bytes, sync: true };
        assert_eq!(disk.run(commit).await, Ok(IoOutput::Done));
        segment
    }

    async fn empty_own(disk: &Disk, segment: SegmentId) {
        let empty = Io::EmptySegment { segment, bytes: vec![0; LOG_BLOCK_BYTES as usize] };
        assert_eq!(disk.run(empty).await, Ok(IoOutput::Done));
        let left = std::fs::metadata(segment_path(&disk.logs, segment)).expect("it is there");
        assert_eq!(left.len(), u64::from(LOG_BLOCK_BYTES));
    }

    fn file_number(disk: &Disk, segment: SegmentId) -> u64 {
        file_number_at(&segment_path(&disk.logs, segment))
    }

    fn file_number_at(path: &Path) -> u64 {
        std::fs::metadata(path).expect("it is there").ino()
    }

    /// The number of the file that is kept for the next segment, if one is.
    fn kept_number(disk: &Disk) -> Option<u64> {
        let kept = kept_path(&disk.logs, LogId(0));
        kept.exists().then(|| file_number_at(&kept))
    }

    async fn keep_next(disk: &Disk) {
        let keep = Io::KeepSegment { log: LogId(0), bytes_total: LOG_SEGMENT_BYTES };
        assert_eq!(disk.run(keep).await, Ok(IoOutput::Done));
    }

    #[test]
    fn files_of_emptied_segments_are_used_again() {
        with_disk(|disk| async move {
            let made = [make_own(&disk, 1).await, make_own(&disk, 2).await];
            keep_next(&disk).await;
            for segment in made {
                let file = file_number(&disk, segment);
                empty_own(&disk, segment).await;
                assert_eq!(kept_number(&disk), Some(file), "in place of the one before");
            }
            let kept = kept_number(&disk);
            keep_next(&disk).await;
            assert_eq!(kept_number(&disk), kept);
            let next = make_own(&disk, 9).await;
            assert_eq!((Some(file_number(&disk, next)), kept_number(&disk)), (kept, None));
            // The new head and batch are its own, and what lies behind is what it was.
            let places =
                [0, LOG_BLOCK_BYTES].map(|offset| Location { segment: next, offset, bytes: 1 });
            let read = disk.run(Io::Read { places: places.to_vec() }).await;
            assert_eq!(read, Ok(IoOutput::Read(vec![vec![9], vec![9]])));
            let read =
                disk.run(Io::Read { places: vec![Location { segment: made[0], ..places[0] }] });
            assert_eq!(read.await, Ok(IoOutput::Read(vec![vec![0]])), "an emptied one is its head");
        });
    }

    #[test]
    fn segments_are_kept_and_made_while_others_are_emptied() {
        const SEGMENTS: u32 = 20;
        with_disk(|disk| async move {
            let mut made = Vec::new();
            for number in 1..=SEGMENTS {
                made.push(make_own(&disk, number).await);
            }
            let (emptying, is_done) = (disk.clone(), Rc::new(Cell::new(false)));
            let done = Rc::clone(&is_done);
            let emptied = glommio::spawn_local(async move {
                for segment in made {
                    empty_own(&emptying, segment).await;
                }
                done.set(true);
            });
            let mut others = Vec::new();
            while !is_done.get() {
                keep_next(&disk).await;
                others.push(make_own(&disk, 101 + others.len() as u32).await);
            }
            emptied.await;
            for other in others {
                let begin = Location { segment: other, offset: 0, bytes: 1 };
                let read = disk_of(disk.logs.clone()).run(Io::Read { places: vec![begin] }).await;
                let head = IoOutput::Read(vec![vec![other.number as u8]]);
                assert_eq!(read, Ok(head), "the head is in the file of that name");
            }
        });
    }

    #[test]
    fn a_file_that_somebody_has_is_not_used_again() {
        with_disk(|disk| async move {
            let [linked, held, shown] = [1, 2, 3];
            let [linked, held, shown] = [
                make_own(&disk, linked).await,
                make_own(&disk, held).await,
                make_own(&disk, shown).await,
            ];
            let link = disk.logs.join("linked");
            std::fs::hard_link(segment_path(&disk.logs, linked), &link).expect("it is linked");
            let path = segment_path(&disk.logs, held);
            let holding = hold_segment(&path).expect("it can be read").expect("it is there");
            for segment in [linked, held] {
                empty_own(&disk, segment).await;
                assert_eq!(kept_number(&disk), None, "{segment:?}");
            }
            make_own(&disk, 4).await;
            let mut block = [0; 1];
            for (file, was) in
                [(&std::fs::File::open(&link).expect("it is there"), 1), (&holding, 2)]
            {
                file.read_exact_at(&mut block, u64::from(LOG_BLOCK_BYTES)).expect("it is read");
                assert_eq!(block, [was]);
            }
            drop(holding);
            drop(hold_segment(&segment_path(&disk.logs, shown)).expect("it can be read"));
            let file = file_number(&disk, shown);
            empty_own(&disk, shown).await;
            assert_eq!(kept_number(&disk), Some(file), "it is held no more");
            let gone = SegmentId { number: 77, ..shown };
            assert!(hold_segment(&segment_path(&disk.logs, gone)).expect("no fault").is_none());
        });
    }

    #[test]
    fn what_an_emptying_left_in_its_middle_is_removed() {
        with_disk(|disk| async move {
            let first = make_own(&disk, 1).await;
            empty_own(&disk, first).await;
            let draft = draft_path(&disk.logs, LogId(0));
            std::fs::rename(kept_path(&disk.logs, LogId(0)), &draft).expect("it was kept");
            keep_next(&disk).await;
            let left = std::fs::metadata(&draft).expect("it is kept").len();
            assert!(left <= u64::from(LOG_BLOCK_BYTES));
        });
    }

    #[test]
    fn what_is_several_cores_is_emptied_once_all_have_left_it() {
        with_disk(|disk| async move {
            let head = vec![1; LOG_BLOCK_BYTES as usize];
            let made =
                Io::CreateSegment { segment: SHARED, bytes_total: 4 * LOG_BLOCK_BYTES, head };
            assert_eq!(disk.run(made).await, Ok(IoOutput::Done));
            let empty = Io::EmptySegment { segment: SHARED, bytes: vec![7; 9] };
            for share in [Share::Unknown, Share::Bytes(5)] {
                let told = disk.run(Io::Share { shares: vec![(SHARED, share)] }).await;
                assert_eq!(told, Ok(IoOutput::Shares(vec![share])));
                assert_eq!(disk.run(empty.clone()).await, Err(IoFault::Failed), "{share:?}");
            }
            disk.run(Io::Share { shares: vec![(SHARED, Share::Left)] }).await.expect("it is told");
            assert!(disk.open.borrow().is_empty(), "an open file keeps its place");
            assert_eq!(disk.run(empty).await, Ok(IoOutput::Done));
        });
    }

    #[test]
    fn few_files_stay_open() {
        with_disk(|disk| async move {
            for number in 1..=OPEN_SEGMENTS_MAX as u32 + 3 {
                let segment = SegmentId { log: LogId(0), number };
                let head = vec![number as u8; 8];
                let made = disk.run(Io::CreateSegment { segment, bytes_total: 4096, head }).await;
                assert_eq!(made, Ok(IoOutput::Done));
            }
            assert_eq!(disk.open.borrow().len(), OPEN_SEGMENTS_MAX);
            let first =
                Location { segment: SegmentId { log: LogId(0), number: 1 }, offset: 0, bytes: 1 };
            assert_eq!(
                disk.run(Io::Read { places: vec![first] }).await,
                Ok(IoOutput::Read(vec![vec![1]]))
            );
        });
    }
}
