//! A file system of the test's own, below the process (FUSE): what is written goes to a plain folder, until the test wants
//! writes, syncs, the room or reads of checkpoints to fail.
//!
//! Nothing is cached above it, and what was written and not synced can be taken back: a sync that fails loses it, as a
//! kernel does that drops the pages which a disk would not take.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem,
    FopenFlags, Generation, INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request,
    TimeOrNow, WriteFlags,
};
use rustix::fs::CWD;

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;
/// Names and attributes are asked for each time.
const UNCACHED: Duration = Duration::ZERO;

/// What a disk does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A write does nothing, and fails.
    Write,
    /// There is no room for a write.
    Full,
    /// Of a write only the first sectors arrive, and it fails.
    Tear {
        /// How many.
        sectors: usize,
    },
    /// A sync fails, and what was written since the last one is lost.
    Sync,
    /// A checkpoint is not given from this offset on.
    ReadCheckpoint {
        /// In bytes.
        from: u64,
    },
}

impl Fault {
    fn is_of_writes(self) -> bool {
        matches!(self, Fault::Write | Fault::Full | Fault::Tear { .. })
    }
}

/// A mounted one. Dropped, it is unmounted and gone.
pub(crate) struct FaultyDisk {
    folder: tempfile::TempDir,
    session: Option<BackgroundSession>,
    state: Arc<Mutex<State>>,
}

impl FaultyDisk {
    /// One for this test, or none where the machine grants none; then the test says so.
    pub(crate) fn granted() -> Option<FaultyDisk> {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let state = Arc::new(Mutex::new(State::new(folder.path().join("below"))));
        let mut disk = FaultyDisk { folder, session: None, state };
        for part in ["below", "mounted"] {
            fs::create_dir(disk.folder.path().join(part)).expect("a folder in a new folder");
        }
        let below = Below { state: Arc::clone(&disk.state) };
        match fuser::spawn_mount(below, disk.mounted(), &Config::default()) {
            Ok(session) => {
                disk.session = Some(session);
                Some(disk)
            }
            Err(why) => {
                eprintln!("NOT TRIED: this machine grants no FUSE: {why}");
                None
            }
        }
    }

    /// A folder in it.
    pub(crate) fn data(&self) -> PathBuf {
        self.mounted().join("data")
    }

    /// So many operations that this concerns fail from now on.
    pub(crate) fn begin(&self, fault: Fault, times: u32) {
        let mut state = lock(&self.state);
        (state.fault, state.times) = (Some(fault), times);
    }

    /// Whether something failed since `begin`.
    pub(crate) fn has_failed(&self) -> bool {
        lock(&self.state).failed > 0
    }

    /// Nothing fails any more; how often something did since `begin`.
    pub(crate) fn mend(&self) -> u32 {
        let mut state = lock(&self.state);
        state.fault = None;
        std::mem::take(&mut state.failed)
    }

    fn mounted(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }
}

impl Drop for FaultyDisk {
    fn drop(&mut self) {
        if let Some(session) = self.session.take()
            && let Err(why) = session.umount_and_join()
        {
            eprintln!("{} stays mounted: {why}", self.mounted().display());
        }
    }
}

/// What the operations share.
struct State {
    root: PathBuf,
    /// Below the root, by inode.
    paths: HashMap<u64, PathBuf>,
    open: HashMap<u64, Arc<File>>,
    next_handle: u64,
    /// What lay where something was written since the last sync, by inode, in order.
    unsynced: HashMap<u64, Vec<(u64, Vec<u8>)>>,
    fault: Option<Fault>,
    /// So often it still strikes.
    times: u32,
    /// So often it struck.
    failed: u32,
}

impl State {
    fn new(root: PathBuf) -> State {
        State {
            root,
            paths: HashMap::from([(INodeNo::ROOT.0, PathBuf::new())]),
            open: HashMap::new(),
            next_handle: 0,
            unsynced: HashMap::new(),
            fault: None,
            times: 0,
            failed: 0,
        }
    }

    /// What goes wrong with an operation that `concerns` says of a fault that it is about.
    fn strikes(&mut self, concerns: impl FnOnce(Fault) -> bool) -> Option<Fault> {
        let fault = self.fault.filter(|fault| self.times > 0 && concerns(*fault))?;
        self.times -= 1;
        self.failed += 1;
        Some(fault)
    }

    fn path(&self, inode: INodeNo) -> io::Result<PathBuf> {
        let path = self.paths.get(&inode.0).ok_or_else(unknown)?;
        Ok(self.root.join(path))
    }

    fn child(&self, parent: INodeNo, name: &OsStr) -> io::Result<PathBuf> {
        Ok(self.path(parent)?.join(name))
    }

    /// The attributes of what lies at `path`, which is known by its inode from now on.
    fn know(&mut self, path: &Path) -> io::Result<FileAttr> {
        let below = path.strip_prefix(&self.root).expect("all paths lie below the root").to_owned();
        let attributes = attributes(path)?;
        if !below.as_os_str().is_empty() {
            self.paths.insert(attributes.ino.0, below);
        }
        Ok(attributes)
    }

    fn keep_open(&mut self, file: File) -> FileHandle {
        self.next_handle += 1;
        self.open.insert(self.next_handle, Arc::new(file));
        FileHandle(self.next_handle)
    }

    fn file(&self, handle: FileHandle) -> io::Result<Arc<File>> {
        self.open.get(&handle.0).cloned().ok_or_else(unknown)
    }

    fn write(
        &mut self,
        inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        bytes: &[u8],
    ) -> io::Result<usize> {
        let file = self.file(handle)?;
        let (arrives, end) = match self.strikes(Fault::is_of_writes) {
            None => (bytes, Ok(bytes.len())),
            Some(Fault::Tear { sectors }) => {
                (&bytes[..bytes.len().min(sectors * SECTOR_BYTES)], Err(libc::EIO))
            }
            Some(Fault::Full) => (&bytes[..0], Err(libc::ENOSPC)),
            Some(_) => (&bytes[..0], Err(libc::EIO)),
        };
        let mut before = vec![0; arrives.len()];
        let there = file.metadata()?.len().saturating_sub(offset).min(before.len() as u64) as usize;
        file.read_exact_at(&mut before[..there], offset)?;
        self.unsynced.entry(inode.0).or_default().push((offset, before));
        file.write_all_at(arrives, offset)?;
        end.map_err(io::Error::from_raw_os_error)
    }

    fn sync(&mut self, inode: INodeNo, handle: FileHandle) -> io::Result<()> {
        let unsynced = self.unsynced.remove(&inode.0).unwrap_or_default();
        if self.strikes(|fault| fault == Fault::Sync).is_none() {
            return Ok(());
        }
        let file = self.file(handle)?;
        unsynced
            .iter()
            .rev()
            .try_for_each(|(offset, before)| file.write_all_at(before, *offset))?;
        Err(io::Error::from_raw_os_error(libc::EIO))
    }

    fn read(
        &mut self,
        inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        bytes: &mut [u8],
    ) -> io::Result<usize> {
        let file = self.file(handle)?;
        let is_checkpoint = self.path(inode)?.extension().is_some_and(|ending| ending == "ckp");
        let end = offset + bytes.len() as u64;
        let concerns = |fault| match fault {
            Fault::ReadCheckpoint { from } => is_checkpoint && end > from,
            _ => false,
        };
        if self.strikes(concerns).is_some() {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], offset + filled as u64)? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(filled)
    }

    fn allocate(&mut self, handle: FileHandle, end: u64) -> io::Result<()> {
        let file = self.file(handle)?;
        match self.strikes(|fault| fault == Fault::Full) {
            Some(_) => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
            None if file.metadata()?.len() < end => file.set_len(end),
            None => Ok(()),
        }
    }
}

fn unknown() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOENT)
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("no holder panics")
}

fn attributes(path: &Path) -> io::Result<FileAttr> {
    let found = fs::symlink_metadata(path)?;
    let time = |seconds: i64, nanos: i64| {
        UNIX_EPOCH + Duration::new(seconds.unsigned_abs(), nanos.unsigned_abs() as u32)
    };
    Ok(FileAttr {
        ino: INodeNo(found.ino()),
        size: found.len(),
        blocks: found.blocks(),
        atime: time(found.atime(), found.atime_nsec()),
        mtime: time(found.mtime(), found.mtime_nsec()),
        ctime: time(found.ctime(), found.ctime_nsec()),
        crtime: UNIX_EPOCH,
        kind: if found.is_dir() { FileType::Directory } else { FileType::RegularFile },
        perm: (found.permissions().mode() & 0o7777) as u16,
        nlink: found.nlink() as u32,
        uid: found.uid(),
        gid: found.gid(),
        rdev: 0,
        blksize: 4096,
        flags: 0,
    })
}

/// The file system as the kernel asks it.
struct Below {
    state: Arc<Mutex<State>>,
}

impl Below {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Answers with what an operation gave, or with why it failed.
macro_rules! answer {
    ($reply:ident, $done:expr, |$given:pat_param| $good:expr) => {
        match $done {
            Ok($given) => $good,
            Err(why) => $reply.error(Errno::from(io::Error::from(why))),
        }
    };
}

impl Filesystem for Below {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut state = self.state();
        let found = state.child(parent, name).and_then(|path| state.know(&path));
        answer!(reply, found, |found| reply.entry(&UNCACHED, &found, Generation(0)));
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let found = self.state().path(inode).and_then(|path| attributes(&path));
        answer!(reply, found, |found| reply.attr(&UNCACHED, &FileAttr { ino: inode, ..found }));
    }

    fn setattr(
        &self,
        _: &Request,
        inode: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let set = self.state().path(inode).and_then(|path| {
            if let Some(size) = size {
                OpenOptions::new().write(true).open(&path)?.set_len(size)?;
            }
            attributes(&path)
        });
        answer!(reply, set, |found| reply.attr(&UNCACHED, &FileAttr { ino: inode, ..found }));
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        let mut state = self.state();
        let made = state.child(parent, name).and_then(|path| {
            fs::create_dir(&path)?;
            state.know(&path)
        });
        answer!(reply, made, |made| reply.entry(&UNCACHED, &made, Generation(0)));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let gone = self.state().child(parent, name).and_then(fs::remove_file);
        answer!(reply, gone, |()| reply.ok());
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let gone = self.state().child(parent, name).and_then(fs::remove_dir);
        answer!(reply, gone, |()| reply.ok());
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let mut state = self.state();
        let renamed = state.child(parent, name).and_then(|from| {
            let to = state.child(new_parent, new_name)?;
            let below = rustix::fs::RenameFlags::from_bits_retain(flags.bits());
            rustix::fs::renameat_with(CWD, &from, CWD, &to, below)?;
            if flags.contains(RenameFlags::RENAME_EXCHANGE) {
                state.know(&from)?;
            }
            state.know(&to).map(|_| ())
        });
        answer!(reply, renamed, |()| reply.ok());
    }

    fn link(
        &self,
        _: &Request,
        inode: INodeNo,
        new_parent: INodeNo,
        new_name: &OsStr,
        reply: ReplyEntry,
    ) {
        let mut state = self.state();
        let linked = state.path(inode).and_then(|from| {
            let to = state.child(new_parent, new_name)?;
            fs::hard_link(from, &to)?;
            state.know(&to)
        });
        answer!(reply, linked, |linked| reply.entry(&UNCACHED, &linked, Generation(0)));
    }

    fn open(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let mut state = self.state();
        let opened = state.path(inode).and_then(|path| {
            let file = OpenOptions::new().read(true).write(true).open(path)?;
            Ok(state.keep_open(file))
        });
        answer!(reply, opened, |handle| reply.opened(handle, FopenFlags::FOPEN_DIRECT_IO));
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let mut state = self.state();
        let created = state.child(parent, name).and_then(|path| {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create(true).truncate(true).open(&path)?;
            Ok((state.know(&path)?, state.keep_open(file)))
        });
        answer!(reply, created, |(found, handle)| {
            let direct = FopenFlags::FOPEN_DIRECT_IO;
            reply.created(&UNCACHED, &found, Generation(0), handle, direct);
        });
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut bytes = vec![0; size as usize];
        let read = self.state().read(inode, handle, offset, &mut bytes);
        answer!(reply, read, |length| reply.data(&bytes[..length]));
    }

    fn write(
        &self,
        _: &Request,
        inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self.state().write(inode, handle, offset, bytes);
        answer!(reply, written, |count| reply.written(count as u32));
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.state().open.remove(&handle.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, inode: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        let synced = self.state().sync(inode, handle);
        answer!(reply, synced, |()| reply.ok());
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        match self.state().strikes(|fault| fault == Fault::Sync) {
            Some(_) => reply.error(Errno::EIO),
            None => reply.ok(),
        }
    }

    fn readdir(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listed = self.state().path(inode).and_then(|path| {
            let entry = |entry: io::Result<fs::DirEntry>| {
                let entry = entry?;
                let kind = entry.file_type()?;
                let kind = if kind.is_dir() { FileType::Directory } else { FileType::RegularFile };
                Ok((std::os::unix::fs::DirEntryExt::ino(&entry), kind, entry.file_name()))
            };
            fs::read_dir(path)?.map(entry).collect::<io::Result<Vec<_>>>()
        });
        answer!(reply, listed, |entries| {
            for (index, (inode, kind, name)) in
                entries.into_iter().enumerate().skip(offset as usize)
            {
                if reply.add(INodeNo(inode), index as u64 + 1, kind, name) {
                    break;
                }
            }
            reply.ok();
        });
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let root = self.state().root.clone();
        let found = rustix::fs::statvfs(root);
        answer!(reply, found, |found| reply.statfs(
            found.f_blocks,
            found.f_bfree,
            found.f_bavail,
            found.f_files,
            found.f_ffree,
            found.f_bsize as u32,
            found.f_namemax as u32,
            found.f_frsize as u32,
        ));
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        _: i32,
        reply: ReplyEmpty,
    ) {
        let allocated = self.state().allocate(handle, offset + length);
        answer!(reply, allocated, |()| reply.ok());
    }
}
