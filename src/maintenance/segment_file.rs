//! A segment's bytes through a window, as a walk asks for them. A block that the disk does not give is read as zeros and
//! remembered, so that what lies around it is still found.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use engram_shards::limits::LOG_BLOCK_BYTES;
use engram_shards::log::walk::Source;

/// Read at once, at least.
const WINDOW_BYTES: usize = 1 << 20;

/// An open segment.
#[derive(Debug)]
pub(super) struct SegmentFile {
    file: File,
    /// What was read of it last …
    window: Vec<u8>,
    /// … and where that begins.
    window_at: u64,
    /// Whether the file ends with the window.
    is_last: bool,
    unreadable: Vec<Unreadable>,
}

/// A block that the disk does not give.
#[derive(Debug)]
pub(super) struct Unreadable {
    /// Its offset in the file.
    pub(super) offset: u64,
    /// What the disk says.
    pub(super) error: io::Error,
}

impl SegmentFile {
    /// Opens it for reading.
    pub(super) fn open(path: &Path) -> io::Result<SegmentFile> {
        File::open(path).map(SegmentFile::of)
    }

    /// One that is open.
    pub(super) fn of(file: File) -> SegmentFile {
        SegmentFile {
            file,
            window: Vec::new(),
            window_at: 0,
            is_last: false,
            unreadable: Vec::new(),
        }
    }

    /// Blocks that could not be read, in the order in which that was found out.
    pub(super) fn unreadable(&self) -> &[Unreadable] {
        &self.unreadable
    }

    /// Reads again what is asked for next: a server may have written meanwhile.
    pub(super) fn forget(&mut self) {
        self.window.clear();
        self.is_last = false;
    }

    fn fill(&mut self, offset: u64, bytes: usize) {
        self.window.resize(bytes.max(WINDOW_BYTES), 0);
        self.window_at = offset;
        let read = read_full(&self.file, &mut self.window, offset);
        let length = match read {
            Ok(length) => length,
            Err(_) => self.fill_by_blocks(offset),
        };
        self.is_last = length < self.window.len();
        self.window.truncate(length);
    }

    fn fill_by_blocks(&mut self, offset: u64) -> usize {
        let mut length = 0;
        for (index, block) in self.window.chunks_mut(LOG_BLOCK_BYTES as usize).enumerate() {
            let at = offset + index as u64 * u64::from(LOG_BLOCK_BYTES);
            match read_full(&self.file, block, at) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) => {
                    block.fill(0);
                    length += block.len();
                    if self.unreadable.iter().all(|known| known.offset != at) {
                        self.unreadable.push(Unreadable { offset: at, error });
                    }
                }
            }
        }
        length
    }
}

impl Source for SegmentFile {
    fn at(&mut self, offset: u32, bytes: u32) -> &[u8] {
        let (offset, bytes) = (u64::from(offset), bytes as usize);
        let begin = offset.checked_sub(self.window_at).map(|begin| begin as usize);
        let is_there =
            begin.is_some_and(|begin| self.is_last || begin + bytes <= self.window.len());
        if !is_there {
            // Windows lie on blocks, so that an unreadable one is asked for by its own offset.
            let aligned = offset - offset % u64::from(LOG_BLOCK_BYTES);
            self.fill(aligned, bytes + (offset - aligned) as usize);
        }
        let begin = ((offset - self.window_at) as usize).min(self.window.len());
        let end = (begin + bytes).min(self.window.len());
        &self.window[begin..end]
    }
}

/// Reads until `bytes` are full or the file ends.
pub(super) fn read_full(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut length = 0;
    while length < bytes.len() {
        match file.read_at(&mut bytes[length..], offset + length as u64) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn any_range_is_what_the_file_has_there() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("segment");
        let bytes: Vec<u8> = (0..3 * WINDOW_BYTES as u32 + 77).map(|at| (at / 3) as u8).collect();
        fs::write(&path, &bytes).expect("written");
        let mut file = SegmentFile::open(&path).expect("it is there");
        let window = WINDOW_BYTES as u32;
        for (offset, length) in
            [(0, 10), (5, window), (window - 3, 9), (17, 3), (2 * window + 1, 2 * window), (9, 1)]
        {
            let expected = &bytes[offset as usize..bytes.len().min((offset + length) as usize)];
            assert_eq!(file.at(offset, length), expected, "{offset} {length}");
        }
        assert_eq!(file.at(4 * window, 5), [0u8; 0]);
        assert!(file.unreadable().is_empty());
    }
}
