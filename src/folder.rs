//! The data folder: who may use it, what it is, and which logs lie in it.
//!
//! ```text
//! LOCK      held by the one server that uses the folder; its process id, for people
//! FOLDER    format version, id and secret of the folder; written once, whole
//! logs/     LLLLL/SSSSSSSSSS.seg: segment number S of log L; .sum: what it holds
//!           LLLLL/NEXT: the place of the log's next segment; HEAD: of the next one that is emptied
//! ```

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use engram_shards::ids::{FolderSecret, LogId, SegmentId};
use rustix::fs::{Advice, FlockOperation, SeekFrom, fadvise, flock, seek};
use rustix::io::Errno;
use uuid::Uuid;

use crate::limits::READ_AHEAD_PIECE_BYTES;

/// The version of the folder's layout that this program reads and writes.
pub const FOLDER_VERSION: u32 = 1;

/// What stands in a backup in place of `FOLDER`.
pub const BACKUP_FILE: &str = "BACKUP";

const TITLE: &str = "engram data folder";

/// A data folder that is ours until this is dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    identity: Identity,
    /// The lock goes with the file.
    _lock: File,
}

/// What a folder is, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Tells it from all others.
    pub id: Uuid,
    /// The key of every hash in it.
    pub secret: FolderSecret,
}

impl Folder {
    /// Takes the folder at `path`, and makes it where there is none.
    pub fn open(path: &Path) -> Result<Folder, FolderError> {
        let fault = |doing| move |error| FolderError::Io { path: path.to_owned(), doing, error };
        fs::create_dir_all(path).map_err(fault("make"))?;
        if path.join(BACKUP_FILE).exists() {
            return Err(FolderError::Backup { path: path.to_owned() });
        }
        let lock = lock(path)?;
        let identity = match read_identity(path)? {
            Some(identity) => identity,
            None => create(path)?,
        };
        Ok(Folder {
            // The executor opens folders by absolute path only.
            path: path.canonicalize().map_err(fault("find"))?,
            identity,
            _lock: lock,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its id.
    pub fn id(&self) -> Uuid {
        self.identity.id
    }

    /// The key of every hash in it.
    pub fn secret(&self) -> FolderSecret {
        self.identity.secret
    }

    /// Where the logs are.
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// All segments there are, in order.
    pub fn segments(&self) -> Result<Vec<SegmentId>, FolderError> {
        list_segments(&self.logs())
    }
}

/// A folder that is being filled. It is ours until this is dropped, and no data folder before [`NewFolder::finish`].
#[derive(Debug)]
pub struct NewFolder {
    path: PathBuf,
    /// The lock goes with the file.
    _lock: File,
}

impl NewFolder {
    /// Takes the folder at `path`, which must be empty, and makes it where there is none.
    pub fn make(path: &Path) -> Result<NewFolder, FolderError> {
        let fault = |doing| move |error| FolderError::Io { path: path.to_owned(), doing, error };
        fs::create_dir_all(path).map_err(fault("make"))?;
        let not_empty = || FolderError::NotEmpty { path: path.to_owned() };
        let is_known = path.join("LOCK").exists();
        let entries = || fs::read_dir(path).map(Iterator::count).map_err(fault("list"));
        if !is_known && entries()? > 0 {
            return Err(not_empty());
        }
        let lock = lock(path)?;
        if entries()? > 1 {
            return Err(not_empty());
        }
        fs::create_dir(path.join("logs")).map_err(fault("fill"))?;
        Ok(NewFolder { path: path.to_owned(), _lock: lock })
    }

    /// Where the logs are.
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// All is in it and synced: it is a data folder from now on.
    pub fn finish(self, identity: &Identity) -> Result<(), FolderError> {
        let fault = |error| FolderError::Io { path: self.path.clone(), doing: "write", error };
        sync_folder(&self.logs()).map_err(fault)?;
        write_identity(&self.path, identity).map_err(fault)
    }
}

/// All logs below a folder of logs.
pub fn list_logs(logs: &Path) -> Result<Vec<LogId>, FolderError> {
    Ok(numbered(logs, 5, "")?.into_iter().map(LogId).collect())
}

/// All segments below a folder of logs, in order. What is named otherwise is none of ours and left alone.
pub fn list_segments(logs: &Path) -> Result<Vec<SegmentId>, FolderError> {
    let mut segments = Vec::new();
    for log in list_logs(logs)? {
        let numbers = numbered(&log_path(logs, log), 10, ".seg")?;
        segments.extend(numbers.into_iter().map(|number| SegmentId { log, number }));
    }
    segments.sort_unstable();
    Ok(segments)
}

/// What the folder at `path` is, without taking it: a server may use it meanwhile. None where it does not say.
pub fn read_identity(path: &Path) -> Result<Option<Identity>, FolderError> {
    let file = path.join("FOLDER");
    match fs::read_to_string(&file) {
        Ok(text) => Identity::of_text(&text, path).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(Unreadable::Text("FOLDER is no text").of(path))
        }
        Err(error) => Err(FolderError::Io { path: file, doing: "read", error }),
    }
}

/// Where a segment lies below the folder of logs.
pub fn segment_path(logs: &Path, segment: SegmentId) -> PathBuf {
    log_path(logs, segment.log).join(format!("{:010}.seg", segment.number))
}

/// The file that becomes the next segment of a log: its place is kept for when the disk is full.
pub fn kept_path(logs: &Path, log: LogId) -> PathBuf {
    log_path(logs, log).join("NEXT")
}

/// Where the last segment of a log lies; the log where it has none, which is number 0.
pub fn last_path(logs: &Path, last: SegmentId) -> PathBuf {
    if last.number == 0 { log_path(logs, last.log) } else { segment_path(logs, last) }
}

/// Where what takes the place of a log's segments is written, before it does. It is kept for when the disk is full.
pub fn draft_path(logs: &Path, log: LogId) -> PathBuf {
    log_path(logs, log).join("HEAD")
}

/// Removes what no server needs any more: what is kept for logs that none of so many cores writes, and summaries of segments
/// that are not there, where a removal ended in its middle. No shard may run.
pub fn remove_leftovers(logs: &Path, cores: u16) -> Result<(), FolderError> {
    for log in list_logs(logs)? {
        let remove = |path: PathBuf| {
            let removed = fs::remove_file(&path);
            removed.map_err(|error| FolderError::Io { path, doing: "remove", error })
        };
        let kept = [kept_path(logs, log), draft_path(logs, log)];
        let mut kept = kept.into_iter().filter(|path| log.0 >= cores && path.exists());
        kept.try_for_each(remove)?;
        for number in numbered(&log_path(logs, log), 10, ".sum")? {
            let segment = SegmentId { log, number };
            if !segment_path(logs, segment).exists() {
                remove(summary_path(logs, segment))?;
            }
        }
    }
    Ok(())
}

/// The numbers in the names of a folder that have so many digits and this ending.
fn numbered<T: std::str::FromStr>(
    folder: &Path,
    digits: usize,
    ending: &str,
) -> Result<Vec<T>, FolderError> {
    let fault = |error| FolderError::Io { path: folder.to_owned(), doing: "list", error };
    let mut numbers = Vec::new();
    for file in fs::read_dir(folder).map_err(fault)? {
        let name = file.map_err(fault)?.file_name();
        numbers.extend(number_of::<T>(&name.to_string_lossy(), digits, ending));
    }
    Ok(numbers)
}

/// Where the summary of a segment lies below the folder of logs.
pub fn summary_path(logs: &Path, segment: SegmentId) -> PathBuf {
    segment_path(logs, segment).with_extension("sum")
}

/// The summary of a segment, as far as there is one that can be read: without it, the segment is.
pub fn read_summary(logs: &Path, segment: SegmentId) -> Option<Vec<u8>> {
    fs::read(summary_path(logs, segment)).ok()
}

/// Where a log lies below the folder of logs.
pub fn log_path(logs: &Path, log: LogId) -> PathBuf {
    logs.join(format!("{:05}", log.0))
}

/// The first `bytes_max` bytes of a segment, fewer where it is shorter.
pub fn read_segment_start(
    logs: &Path,
    segment: SegmentId,
    bytes_max: usize,
) -> Result<Vec<u8>, FolderError> {
    let path = segment_path(logs, segment);
    let read = || {
        let mut bytes = Vec::with_capacity(bytes_max.min(1 << 20));
        File::open(&path)?.take(bytes_max as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|error| FolderError::Io { path: path.clone(), doing: "read", error })
}

/// Opens a segment, so that a server that empties it meanwhile leaves the file to whoever holds it; none where there is
/// no such segment (any more).
pub fn hold_segment(path: &Path) -> io::Result<Option<File>> {
    let there = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Ok(None),
        _ => Err(error),
    };
    loop {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) => return there(error),
        };
        // Where there are no locks, a server cannot take one either, and uses no file again.
        let _ = flock(&file, FlockOperation::LockShared);
        let held = file.metadata()?;
        let named = match fs::metadata(path) {
            Ok(named) => named,
            Err(error) => return there(error),
        };
        // Else it was emptied before it was held, and may be another segment's by now.
        if (held.dev(), held.ino()) == (named.dev(), named.ino()) {
            return Ok(Some(file));
        }
    }
}

/// Writes the beginning of a segment that is there, for good. No shard may run.
pub fn write_segment_start(
    logs: &Path,
    segment: SegmentId,
    bytes: &[u8],
) -> Result<(), FolderError> {
    let path = segment_path(logs, segment);
    let write = || {
        let file = OpenOptions::new().write(true).open(&path)?;
        file.write_all_at(bytes, 0)?;
        file.sync_data()?;
        File::open(log_path(logs, segment.log))?.sync_all()
    };
    write().map_err(|error| FolderError::Io { path: path.clone(), doing: "write", error })
}

/// A segment up to the last byte that the file system holds for it. Behind that there is only room that was reserved: it
/// would read as zeros, and take as long as if it were something. `bytes` is overwritten: memory's first use takes longer
/// than to read into it, so whoever reads several segments gives the same again.
pub fn read_segment(
    logs: &Path,
    segment: SegmentId,
    bytes: &mut Vec<u8>,
) -> Result<(), FolderError> {
    let path = segment_path(logs, segment);
    let mut read = || {
        let mut file = File::open(&path)?;
        let end = data_end(&file)?;
        file.rewind()?;
        bytes.clear();
        bytes.reserve(usize::try_from(end).expect("memory holds a segment"));
        file.take(end).read_to_end(bytes)?;
        Ok(())
    };
    read().map_err(|error| FolderError::Io { path: path.clone(), doing: "read", error })
}

/// Asks the kernel for the beginning of a file, at most so many bytes of it, in pieces that it takes as a whole; how many
/// were asked for. It goes on before they are there, but for what the disk's queue does not hold.
pub fn read_ahead(path: &Path, bytes_max: u64) -> io::Result<u64> {
    let file = File::open(path)?;
    let end = data_end(&file)?.min(bytes_max);
    for offset in (0..end).step_by(READ_AHEAD_PIECE_BYTES.get() as usize) {
        fadvise(&file, offset, Some(READ_AHEAD_PIECE_BYTES), Advice::WillNeed)?;
    }
    Ok(end)
}

/// Where a file's last data end; its end where the file system does not tell.
pub fn data_end(file: &File) -> io::Result<u64> {
    let mut end = 0;
    loop {
        let data = match seek(file, SeekFrom::Data(end)) {
            Ok(data) => data,
            Err(Errno::NXIO) => return Ok(end),
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(file.metadata()?.len()),
            Err(error) => return Err(error.into()),
        };
        end = seek(file, SeekFrom::Hole(data))?;
    }
}

/// Random bytes from the operating system.
pub fn random_bytes<const COUNT: usize>() -> io::Result<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn number_of<T: std::str::FromStr>(name: &str, digits: usize, ending: &str) -> Option<T> {
    let number = name.strip_suffix(ending)?;
    (number.len() == digits).then(|| number.parse().ok()).flatten()
}

fn lock(path: &Path) -> Result<File, FolderError> {
    let lock_path = path.join("LOCK");
    let fault = |error| FolderError::Io { path: lock_path.clone(), doing: "write", error };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&lock_path)
        .map_err(fault)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder).map_err(fault)?;
            return Err(FolderError::Locked {
                path: path.to_owned(),
                pid: holder.trim().parse().ok(),
            });
        }
        Err(error) => return Err(fault(error.into())),
    }
    file.set_len(0).map_err(fault)?;
    writeln!(file, "{}", std::process::id()).map_err(fault)?;
    Ok(file)
}

/// Makes what a folder needs. `FOLDER` comes last and whole, so a crash leaves either none (and
/// this runs again) or all.
fn create(path: &Path) -> Result<Identity, FolderError> {
    let make = || -> io::Result<Option<Identity>> {
        let logs = path.join("logs");
        fs::create_dir_all(&logs)?;
        if fs::read_dir(&logs)?.next().is_some() {
            return Ok(None);
        }
        let identity = Identity::draw()?;
        write_identity(path, &identity)?;
        Ok(Some(identity))
    };
    match make() {
        Ok(Some(identity)) => Ok(identity),
        // Logs whose secret is lost cannot be used, and must not be mixed with those of another.
        Ok(None) => {
            Err(Unreadable::Text("there are logs, but no FOLDER file with their secret").of(path))
        }
        Err(error) => Err(FolderError::Io { path: path.to_owned(), doing: "write", error }),
    }
}

fn write_identity(path: &Path, identity: &Identity) -> io::Result<()> {
    let draft = path.join("FOLDER.new");
    let mut file = File::create(&draft)?;
    file.write_all(identity.write().as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path.join("FOLDER"))?;
    sync_folder(path)?;
    match path.canonicalize()?.parent() {
        Some(parent) => sync_folder(parent),
        None => Ok(()),
    }
}

/// Makes the names in a folder durable.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

impl Identity {
    /// One that no folder has yet.
    pub fn draw() -> io::Result<Identity> {
        Ok(Identity { id: Uuid::new_v4(), secret: FolderSecret(random_bytes()?) })
    }

    /// What a `FOLDER` file says, as that of the folder at `path`.
    pub fn of_text(text: &str, path: &Path) -> Result<Identity, FolderError> {
        Identity::read(text).map_err(|what| what.of(path))
    }

    /// The text of its `FOLDER` file.
    pub fn write(&self) -> String {
        let secret: String = self.secret.0.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{TITLE}\nversion {FOLDER_VERSION}\nid {}\nsecret {secret}\n", self.id)
    }

    fn read(text: &str) -> Result<Identity, Unreadable> {
        let mut lines = text.lines();
        if lines.next() != Some(TITLE) {
            return Err(Unreadable::Text("FOLDER does not begin as such a file does"));
        }
        let version = value(lines.next(), "version").and_then(|text| text.parse().ok());
        match version {
            Some(FOLDER_VERSION) => {}
            Some(version) => return Err(Unreadable::Version(version)),
            None => return Err(Unreadable::Text("FOLDER names no version")),
        }
        let id = value(lines.next(), "id").and_then(|text| text.parse().ok());
        let secret = value(lines.next(), "secret").and_then(secret_of);
        match (id, secret) {
            (Some(id), Some(secret)) => Ok(Identity { id, secret }),
            (None, _) => Err(Unreadable::Text("FOLDER names no id")),
            (_, None) => Err(Unreadable::Text("FOLDER names no secret of 32 hex digits")),
        }
    }
}

fn value<'a>(line: Option<&'a str>, key: &str) -> Option<&'a str> {
    line?.strip_prefix(key)?.strip_prefix(' ')
}

fn secret_of(text: &str) -> Option<FolderSecret> {
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    Some(FolderSecret(u128::from_str_radix(text, 16).ok()?.to_be_bytes()))
}

/// Why a `FOLDER` file cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unreadable {
    Version(u32),
    Text(&'static str),
}

impl Unreadable {
    fn of(self, path: &Path) -> FolderError {
        let path = path.to_owned();
        match self {
            Unreadable::Version(version) => FolderError::UnknownVersion { path, version },
            Unreadable::Text(what) => FolderError::Damaged { path, what },
        }
    }
}

/// Why a folder cannot be used.
#[derive(Debug)]
pub enum FolderError {
    /// Another server uses it.
    Locked {
        /// The folder.
        path: PathBuf,
        /// The other's process id, where it is known.
        pid: Option<u32>,
    },
    /// Made by another version of this program.
    UnknownVersion {
        /// The folder.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// Its `FOLDER` file is not one.
    Damaged {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// It is a backup, which is kept as it is.
    Backup {
        /// The folder.
        path: PathBuf,
    },
    /// It is to be filled, and something is in it.
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The operating system refuses.
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried with it.
        doing: &'static str,
        /// The refusal.
        error: io::Error,
    },
}

impl fmt::Display for FolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FolderError::Locked { path, pid: Some(pid) } => {
                write!(f, "the data folder {} is in use by process {pid}", path.display())
            }
            FolderError::Locked { path, pid: None } => {
                write!(f, "the data folder {} is in use by another process", path.display())
            }
            FolderError::UnknownVersion { path, version } => write!(
                f,
                "the data folder {} has format version {version}; this program knows version {FOLDER_VERSION}",
                path.display()
            ),
            FolderError::Damaged { path, what } => {
                write!(f, "the data folder {} is damaged: {what}", path.display())
            }
            FolderError::Backup { path } => {
                write!(f, "{} is a backup\n  mend: engram restore {0} NEW_DIR", path.display())
            }
            FolderError::NotEmpty { path } => {
                write!(
                    f,
                    "the folder {} is not empty; name one that is, or a new one",
                    path.display()
                )
            }
            FolderError::Io { path, doing, error } => {
                write!(f, "cannot {doing} {}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for FolderError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn temporary() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    #[test]
    fn stays_what_it_is() {
        let parent = temporary();
        let path = parent.path().join("new").join("data");
        let (id, secret) = {
            let folder = Folder::open(&path).expect("it is made");
            (folder.id(), folder.secret())
        };
        let again = Folder::open(&path).expect("it is there");
        assert_eq!((again.id(), again.secret()), (id, secret));
        assert_eq!(again.segments().expect("it can be listed"), []);
    }

    #[test]
    fn is_known_by_its_absolute_path() {
        let folder = temporary();
        let here = std::env::current_dir().expect("tests run somewhere");
        let up: PathBuf = here.iter().skip(1).map(|_| "..").collect();
        let relative = up.join(folder.path().strip_prefix("/").expect("absolute"));
        let logs = Folder::open(&relative).expect("it is made").logs();
        assert!(logs.is_absolute() && logs.is_dir(), "{logs:?}");
    }

    #[test]
    fn serves_one_at_a_time() {
        let parent = temporary();
        let first = Folder::open(parent.path()).expect("it is free");
        match Folder::open(parent.path()) {
            Err(FolderError::Locked { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("two have the folder: {other:?}"),
        }
        drop(first);
        Folder::open(parent.path()).expect("it is free again");
    }

    #[test]
    fn another_version_is_refused_by_its_number() {
        let parent = temporary();
        drop(Folder::open(parent.path()).expect("it is made"));
        let file = parent.path().join("FOLDER");
        let text = fs::read_to_string(&file).expect("it is text");
        fs::write(&file, text.replace("version 1", "version 2")).expect("it can be written");
        let refused = Folder::open(parent.path()).expect_err("the version is unknown");
        assert!(matches!(refused, FolderError::UnknownVersion { version: 2, .. }), "{refused}");
    }

    #[test]
    fn logs_without_their_secret_are_not_taken_over() {
        let parent = temporary();
        fs::create_dir_all(parent.path().join("logs/00000")).expect("it can be made");
        let refused = Folder::open(parent.path()).expect_err("the secret is lost");
        assert!(matches!(refused, FolderError::Damaged { .. }), "{refused}");
    }

    #[test]
    fn segments_are_found_by_their_names() {
        let parent = temporary();
        let folder = Folder::open(parent.path()).expect("it is made");
        let segments =
            [(0, 2), (0, 10), (3, 1)].map(|(log, number)| SegmentId { log: LogId(log), number });
        for segment in segments.iter().rev() {
            fs::create_dir_all(log_path(&folder.logs(), segment.log)).expect("it can be made");
            fs::write(segment_path(&folder.logs(), *segment), "x").expect("it can be written");
        }
        fs::write(folder.logs().join("00000/notes.txt"), "x").expect("it can be written");
        assert_eq!(folder.segments().expect("it can be listed"), segments);
        assert_eq!(
            read_segment_start(&folder.logs(), segments[0], 8192).expect("it is read"),
            b"x"
        );
    }

    #[test]
    fn a_segment_is_read_to_the_end_of_what_was_written_to_it() {
        const RESERVED_BYTES: u64 = 1 << 20;
        let logs = temporary();
        let segment = SegmentId { log: LogId(0), number: 1 };
        fs::create_dir(log_path(logs.path(), segment.log)).expect("it can be made");
        let mut file = File::create(segment_path(logs.path(), segment)).expect("it can be written");
        file.set_len(RESERVED_BYTES).expect("it can be long");
        let mut bytes = vec![7; 9_000];
        read_segment(logs.path(), segment, &mut bytes).expect("it is read");
        assert!(bytes.len() <= 4096);
        // What lies behind a gap counts as well.
        file.seek(io::SeekFrom::Start(RESERVED_BYTES / 2)).expect("it is that long");
        file.write_all(b"last").expect("it can be written");
        read_segment(logs.path(), segment, &mut bytes).expect("it is read");
        let (gap, rest) = bytes.split_at(RESERVED_BYTES as usize / 2);
        assert!(gap.iter().all(|byte| *byte == 0) && rest.starts_with(b"last"));
        assert!(rest.iter().skip(4).all(|byte| *byte == 0));
    }
}
