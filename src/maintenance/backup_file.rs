//! What a backup says of itself: the folder that it is of, and how far each of its segments counts. Without this, a copy
//! that lost a file or the end of one could be taken for a whole one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use engram_shards::ids::{LogId, SegmentId, Time};

use crate::folder::{BACKUP_FILE, FolderError, Identity};

/// The version that is written, and the only one read.
pub(super) const BACKUP_VERSION: u32 = 1;

const TITLE: &str = "engram backup";

/// The contents of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BackupFile {
    /// Of the folder that was copied.
    pub(super) identity: Identity,
    /// When the copying began.
    pub(super) taken_at: Time,
    /// Each segment in order, and the offset up to which it counts.
    pub(super) segments: Vec<(SegmentId, u32)>,
}

impl BackupFile {
    /// Up to which offset a segment counts; none where it is no part of the backup.
    pub(super) fn end_of(&self, segment: SegmentId) -> Option<u32> {
        let place = self.segments.binary_search_by_key(&segment, |(listed, _)| *listed).ok()?;
        Some(self.segments[place].1)
    }

    /// Reads that of the backup at `path`; none where it is no backup.
    pub(super) fn read(path: &Path) -> Result<Option<BackupFile>, FolderError> {
        let file = path.join(BACKUP_FILE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(FolderError::Io { path: file, doing: "read", error }),
        };
        BackupFile::parse(&text, path).map(Some)
    }

    /// Writes it whole, as the last of all files.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let mut file = File::create(path.join(BACKUP_FILE))?;
        file.write_all(self.text().as_bytes())?;
        file.sync_all()
    }

    fn text(&self) -> String {
        let mut text = format!("{TITLE}\nversion {BACKUP_VERSION}\ntaken_at {}\n", self.taken_at.0);
        for (segment, end) in &self.segments {
            text.push_str(&format!("segment {} {} {end}\n", segment.log.0, segment.number));
        }
        // Whatever is cut off, the end is: then the folder's own text is not whole.
        text + &self.identity.write()
    }

    fn parse(text: &str, path: &Path) -> Result<BackupFile, FolderError> {
        let damaged = |what| FolderError::Damaged { path: path.to_owned(), what };
        let (own, folder) = text
            .split_once("engram data folder\n")
            .ok_or_else(|| damaged("BACKUP does not end as such a file does"))?;
        let identity = Identity::of_text(&format!("engram data folder\n{folder}"), path)?;
        let mut lines = own.lines();
        if lines.next() != Some(TITLE) {
            return Err(damaged("BACKUP does not begin as such a file does"));
        }
        let mut number = |key: &str| {
            let value = lines.next()?.strip_prefix(key)?.strip_prefix(' ')?;
            value.parse::<u64>().ok()
        };
        match number("version") {
            Some(version) if version == u64::from(BACKUP_VERSION) => {}
            Some(version) => {
                let version = u32::try_from(version).unwrap_or(u32::MAX);
                return Err(FolderError::UnknownVersion { path: path.to_owned(), version });
            }
            None => return Err(damaged("BACKUP names no version")),
        }
        let taken_at = Time(number("taken_at").ok_or(damaged("BACKUP names no time"))?);
        let segments: Option<Vec<_>> = lines.map(segment_of).collect();
        let segments = segments.ok_or(damaged("BACKUP has a line that names no segment"))?;
        Ok(BackupFile { identity, taken_at, segments })
    }
}

/// `segment LOG NUMBER END`.
fn segment_of(line: &str) -> Option<(SegmentId, u32)> {
    let mut words = line.strip_prefix("segment ")?.split(' ');
    let log = LogId(words.next()?.parse().ok()?);
    let number = words.next()?.parse().ok()?;
    let end = words.next()?.parse().ok()?;
    words.next().is_none().then_some((SegmentId { log, number }, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written_and_cut_nowhere() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let identity = Identity::draw().expect("there is randomness");
        let segment = |log, number| SegmentId { log: LogId(log), number };
        let backup = BackupFile {
            identity,
            taken_at: Time(1_700_000_000_000_000),
            segments: vec![(segment(0, 3), 4_096), (segment(12, 1), 67_108_864)],
        };
        assert_eq!(BackupFile::read(folder.path()).expect("none is there"), None);
        backup.write(folder.path()).expect("it can be written");
        assert_eq!(BackupFile::read(folder.path()).expect("it is there"), Some(backup.clone()));
        let text = backup.text();
        for cut in 0..text.len() - 1 {
            BackupFile::parse(&text[..cut], folder.path()).expect_err("it was cut");
        }
        let later = text.replacen("version 1", "version 7", 1);
        let refused = BackupFile::parse(&later, folder.path()).expect_err("it is unknown");
        assert!(matches!(refused, FolderError::UnknownVersion { version: 7, .. }), "{refused}");
    }
}
