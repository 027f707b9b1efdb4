//! What is noted in the data folder of a shard that stays down, for whoever looks at the folder.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::cores::CoreIndex;
use crate::folder::sync_folder;

const PREFIX: &str = "DOWN-";

/// A shard that failed too often, as its file `DOWN-NNNNN` tells: lines of a key and a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownNote {
    /// Its core.
    pub core: CoreIndex,
    /// When it was given up; RFC 3339.
    pub at: String,
    /// What it said as it failed last.
    pub cause: String,
}

impl DownNote {
    /// A shard that is given up now.
    pub fn new(core: CoreIndex, cause: &str) -> DownNote {
        let at = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        DownNote { core, at, cause: cause.split_whitespace().collect::<Vec<_>>().join(" ") }
    }

    /// Writes it into the data folder at `folder`.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let mut file = File::create(folder.join(format!("{PREFIX}{:05}", self.core.0)))?;
        write!(file, "core {}\nat {}\ncause {}\n", self.core.0, self.at, self.cause)?;
        file.sync_all()?;
        sync_folder(folder)
    }

    /// All that are in the data folder at `folder`, by core. Of one that was not written whole, what there is.
    pub fn read_all(folder: &Path) -> io::Result<Vec<DownNote>> {
        let mut notes = Vec::new();
        for (core, file) in files(folder)? {
            let text = String::from_utf8_lossy(&fs::read(file)?).into_owned();
            let value = |key: &str| {
                let mut lines = text.lines().filter_map(|line| line.split_once(' '));
                lines
                    .find(|(name, _)| *name == key)
                    .map_or("unknown", |(_, value)| value)
                    .to_owned()
            };
            notes.push(DownNote { core, at: value("at"), cause: value("cause") });
        }
        notes.sort_by_key(|note| note.core);
        Ok(notes)
    }

    /// Removes all of them: a server starts anew.
    pub fn clear(folder: &Path) -> io::Result<()> {
        files(folder)?.into_iter().try_for_each(|(_, file)| fs::remove_file(file))
    }
}

fn files(folder: &Path) -> io::Result<Vec<(CoreIndex, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let core = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse().ok());
        found.extend(core.map(|core| (CoreIndex(core), entry.path())));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_told_until_it_is_cleared() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path();
        assert_eq!(DownNote::read_all(path).expect("it is a folder"), []);
        let notes = [3, 7].map(|core| DownNote::new(CoreIndex(core), "rows\n  of two"));
        notes.iter().rev().for_each(|note| note.write(path).expect("it can be written"));
        assert_eq!(DownNote::read_all(path).expect("they are read"), notes);
        assert_eq!(notes[0].cause, "rows of two", "a cause is one line");
        fs::write(path.join("DOWN-00004"), "core").expect("it can be written");
        assert_eq!(DownNote::read_all(path).expect("they are read")[1].cause, "unknown");
        DownNote::clear(path).expect("they can be removed");
        assert_eq!(DownNote::read_all(path).expect("it is a folder"), []);
    }
}
