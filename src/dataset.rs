//! Real memories with embeddings: a folder of text and half floats, or the small one that the binary carries.
//!
//! The format is told in `tests/data/README.md`. A vector is a gloss followed by words, so the similarity of two
//! vectors is the sum of two shorter dot products; [`Dataset::nearest`] relies on that to search millions of rows
//! exactly without ever holding them.

use std::cmp::Ordering;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::{fmt, io, thread};

use half::f16;
use half::slice::HalfFloatSliceExt;
use serde::Deserialize;

/// Numbers in each half of a vector.
pub const HALF_DIMENSION: usize = 384;
/// Numbers in a vector.
pub const DIMENSION: usize = 2 * HALF_DIMENSION;
/// The last rows of a folder, which no base row shows: texts that the base has never seen.
pub const QUERY_ROWS: usize = 1_000;
/// Bytes of a row in either file of half floats.
const ROW_BYTES: usize = 2 * HALF_DIMENSION;
/// How far the words move against the glosses from one context to the next; a prime, so that contexts differ.
const CONTEXT_SHIFT: usize = 9_973;

const BUNDLED_GLOSS: &[u8] = include_bytes!("../tests/data/gloss.f16");
const BUNDLED_WORDS: &[u8] = include_bytes!("../tests/data/words.f16");
const BUNDLED_TEXT: &[u8] = include_bytes!("../tests/data/text.jsonl");

/// A vector of unit length.
pub type Vector = [f32; DIMENSION];

/// What one row of a folder says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Text {
    /// The words of the synset, joined by commas.
    pub words: String,
    /// What they mean.
    pub gloss: String,
}

/// A base row and how near it is to a cue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// The base row.
    pub row: usize,
    /// Cosine similarity.
    pub similarity: f32,
}

/// Why a folder cannot be read.
#[derive(Debug)]
pub enum DatasetError {
    /// The file is not there or cannot be read.
    Read(PathBuf, io::Error),
    /// The file is there, but it is not what the format says.
    Malformed(PathBuf, String),
}

impl fmt::Display for DatasetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DatasetError::Read(path, why) => write!(f, "cannot read {}: {why}", path.display()),
            DatasetError::Malformed(path, why) => write!(f, "{}: {why}", path.display()),
        }
    }
}

impl std::error::Error for DatasetError {}

/// The rows of a folder.
#[derive(Debug)]
pub struct Dataset {
    /// Rows × [`HALF_DIMENSION`].
    gloss: Box<[f16]>,
    /// Likewise.
    words: Box<[f16]>,
    texts: Vec<Text>,
}

impl Dataset {
    /// The 5,000 rows that the binary carries.
    pub fn bundled() -> Dataset {
        let [gloss, words, text] = [BUNDLED_GLOSS, BUNDLED_WORDS, BUNDLED_TEXT].map(|bytes| {
            Source { path: "(bundled)".into(), bytes: bytes.len() as u64, reader: bytes }
        });
        Dataset::from_sources(gloss, words, text)
            .expect("the bundled data was checked when it was built in")
    }

    /// Reads `gloss.f16`, `words.f16` and `text.jsonl` of a folder.
    pub fn open(folder: &Path) -> Result<Dataset, DatasetError> {
        let source = |name: &str| Source::open(folder.join(name));
        Dataset::from_sources(source("gloss.f16")?, source("words.f16")?, source("text.jsonl")?)
    }

    fn from_sources<R: Read>(
        gloss: Source<R>,
        words: Source<R>,
        text: Source<R>,
    ) -> Result<Dataset, DatasetError> {
        let texts = text.texts()?;
        let (gloss, words) = (gloss.halves(texts.len())?, words.halves(texts.len())?);
        Ok(Dataset { gloss, words, texts })
    }

    /// R: base rows before the first context repeats; [`Dataset::base`] goes on beyond.
    pub fn base_rows(&self) -> usize {
        self.texts.len() - QUERY_ROWS
    }

    /// Base row `row`, any number: beyond [`Dataset::base_rows`] the same glosses come in further contexts.
    pub fn base(&self, row: usize, vector: &mut Vector) {
        let (gloss, words) = self.base_halves(row);
        self.join(gloss, words, vector);
    }

    /// Query `query`, of [`QUERY_ROWS`].
    pub fn query(&self, query: usize, vector: &mut Vector) {
        let row = self.query_row(query);
        self.join(row, row, vector);
    }

    /// What base row `row` says, in one line: its words and its gloss, each from its half.
    pub fn base_text(&self, row: usize) -> String {
        let (gloss, words) = self.base_halves(row);
        format!("{}: {}", self.texts[words].words, self.texts[gloss].gloss)
    }

    /// What query `query` says, in one line.
    pub fn query_text(&self, query: usize) -> String {
        let text = &self.texts[self.query_row(query)];
        format!("{}: {}", text.words, text.gloss)
    }

    /// [`Dataset::nearest`] to each of `queries`.
    pub fn nearest_to_queries(
        &self,
        rows: usize,
        queries: Range<usize>,
        count: usize,
        threads: usize,
    ) -> Vec<Vec<Neighbour>> {
        let mut cues = vec![[0.0; DIMENSION]; queries.len()];
        for (query, cue) in queries.zip(&mut cues) {
            self.query(query, cue);
        }
        self.nearest(rows, &cues, count, threads)
    }

    /// The `count` of the first `rows` base rows nearest to each of `cues`, by exact search on
    /// `threads` threads; best first, ties by row.
    pub fn nearest(
        &self,
        rows: usize,
        cues: &[Vector],
        count: usize,
        threads: usize,
    ) -> Vec<Vec<Neighbour>> {
        assert!(threads > 0, "no thread to search on");
        let halves = rows.min(self.base_rows());
        let (gloss, words) = (Half::new(&self.gloss, halves), Half::new(&self.words, halves));
        let search = |cue| nearest_to(&gloss, &words, rows, cue, count);
        let share = cues.len().div_ceil(threads).max(1);
        thread::scope(|scope| {
            let shares: Vec<_> = cues
                .chunks(share)
                .map(|part| scope.spawn(move || part.iter().map(search).collect::<Vec<_>>()))
                .collect();
            shares.into_iter().flat_map(|s| s.join().expect("exact search panicked")).collect()
        })
    }

    /// The rows of the folder whose gloss and whose words make base row `row`.
    fn base_halves(&self, row: usize) -> (usize, usize) {
        let base_rows = self.base_rows();
        let (gloss, context) = (row % base_rows, row / base_rows);
        (gloss, (gloss + context * CONTEXT_SHIFT) % base_rows)
    }

    fn query_row(&self, query: usize) -> usize {
        assert!(query < QUERY_ROWS, "query {query} of {QUERY_ROWS}");
        self.base_rows() + query
    }

    fn join(&self, gloss: usize, words: usize, vector: &mut Vector) {
        let (front, back) = vector.split_at_mut(HALF_DIMENSION);
        half_row(&self.gloss, gloss).convert_to_f32_slice(front);
        half_row(&self.words, words).convert_to_f32_slice(back);
        let scale = 1.0 / dot(vector, vector).sqrt();
        vector.iter_mut().for_each(|x| *x *= scale);
    }
}

/// One file of a folder. It is read in pieces, never held beside what is made of it.
struct Source<R> {
    path: PathBuf,
    bytes: u64,
    reader: R,
}

impl Source<File> {
    fn open(path: PathBuf) -> Result<Source<File>, DatasetError> {
        let open = || File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        match open() {
            Ok((bytes, reader)) => Ok(Source { path, bytes, reader }),
            Err(why) => Err(DatasetError::Read(path, why)),
        }
    }
}

impl<R: Read> Source<R> {
    /// `rows` rows of half floats.
    fn halves(self, rows: usize) -> Result<Box<[f16]>, DatasetError> {
        let expected = (rows * ROW_BYTES) as u64;
        if self.bytes != expected {
            let why = format!("{} bytes, but {rows} rows have {expected}", self.bytes);
            return Err(DatasetError::Malformed(self.path, why));
        }
        let mut reader = BufReader::new(self.reader);
        let mut halves = Vec::with_capacity(rows * HALF_DIMENSION);
        let mut row = [0; ROW_BYTES];
        for _ in 0..rows {
            if let Err(why) = reader.read_exact(&mut row) {
                return Err(DatasetError::Read(self.path, why));
            }
            halves.extend(row.as_chunks().0.iter().map(|half| f16::from_le_bytes(*half)));
        }
        Ok(halves.into_boxed_slice())
    }

    /// One text a line; more than the queries alone.
    fn texts(self) -> Result<Vec<Text>, DatasetError> {
        let malformed = |why| DatasetError::Malformed(self.path.clone(), why);
        let parse = |(index, line): (usize, io::Result<String>)| {
            let line = line.map_err(|why| DatasetError::Read(self.path.clone(), why))?;
            serde_json::from_str(&line)
                .map_err(|why| malformed(format!("line {}: {why}", index + 1)))
        };
        let lines = BufReader::new(self.reader).lines();
        let texts: Vec<Text> = lines.enumerate().map(parse).collect::<Result<_, _>>()?;
        if texts.len() <= QUERY_ROWS {
            let why = format!("{} rows, but the last {QUERY_ROWS} are queries", texts.len());
            return Err(malformed(why));
        }
        Ok(texts)
    }
}

/// The same half of the first rows, as exact search wants it.
struct Half {
    /// Rows × [`HALF_DIMENSION`].
    rows: Vec<f32>,
    /// Squared lengths of the rows' halves.
    squares: Vec<f32>,
}

impl Half {
    fn new(halves: &[f16], rows: usize) -> Half {
        let mut rows = vec![0.0; rows * HALF_DIMENSION];
        halves[..rows.len()].convert_to_f32_slice(&mut rows);
        let squares = rows.chunks_exact(HALF_DIMENSION).map(|row| dot(row, row)).collect();
        Half { rows, squares }
    }

    /// Dot products with the same half of a cue.
    fn products(&self, cue: &[f32]) -> Vec<f32> {
        self.rows.chunks_exact(HALF_DIMENSION).map(|row| dot(row, cue)).collect()
    }
}

/// One search of [`Dataset::nearest`]. The halves are all that a folder has, or as many as there
/// are rows.
fn nearest_to(
    gloss: &Half,
    words: &Half,
    rows: usize,
    cue: &Vector,
    count: usize,
) -> Vec<Neighbour> {
    let (front, back) = cue.split_at(HALF_DIMENSION);
    let (gloss_products, words_products) = (gloss.products(front), words.products(back));
    let halves = gloss.squares.len();
    let mut best = Vec::with_capacity(count + 1);
    for (context, first) in (0..rows).step_by(halves.max(1)).enumerate() {
        let shift = context * CONTEXT_SHIFT % halves;
        let pairs = (0..halves).zip((shift..halves).chain(0..shift));
        for (i, j) in pairs.take(rows - first) {
            let norm = (gloss.squares[i] + words.squares[j]).sqrt();
            let similarity = (gloss_products[i] + words_products[j]) / norm;
            keep_best(&mut best, count, Neighbour { row: first + i, similarity });
        }
    }
    best
}

fn half_row(halves: &[f16], row: usize) -> &[f16] {
    &halves[row * HALF_DIMENSION..][..HALF_DIMENSION]
}

/// Sixteen sums side by side, so that the compiler may use vectors without changing the result.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 16];
    for (a, b) in a.chunks_exact(16).zip(b.chunks_exact(16)) {
        for lane in 0..16 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum()
}

fn keep_best(best: &mut Vec<Neighbour>, count: usize, new: Neighbour) {
    if best.len() == count && best.last().is_none_or(|worst| new.similarity <= worst.similarity) {
        return;
    }
    let place = best.partition_point(|b| order(b, &new) != Ordering::Greater);
    best.insert(place, new);
    best.truncate(count);
}

fn order(a: &Neighbour, b: &Neighbour) -> Ordering {
    b.similarity.total_cmp(&a.similarity).then(a.row.cmp(&b.row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn slow_nearest(data: &Dataset, rows: usize, cue: &Vector, count: usize) -> Vec<Neighbour> {
        let mut vector = [0.0; DIMENSION];
        let mut all: Vec<_> = (0..rows)
            .map(|row| {
                data.base(row, &mut vector);
                Neighbour { row, similarity: dot(&vector, cue) }
            })
            .collect();
        all.sort_by(order);
        all.truncate(count);
        all
    }

    #[test]
    fn bundled_rows_are_unit_length_and_read_like_the_folder() {
        let data = Dataset::bundled();
        let folder = Dataset::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data"))
            .expect("tests/data is in the repository");
        assert_eq!(data.base_rows(), 4_000);
        let (mut a, mut b) = ([0.0; DIMENSION], [0.0; DIMENSION]);
        for row in [0, 1, 3_999, 4_000, 123_456] {
            data.base(row, &mut a);
            folder.base(row, &mut b);
            assert!((dot(&a, &a) - 1.0).abs() < 1e-5);
            assert_eq!(a, b);
            assert_eq!(data.base_text(row), folder.base_text(row));
        }
        data.query(QUERY_ROWS - 1, &mut a);
        assert!((dot(&a, &a) - 1.0).abs() < 1e-5);
    }

    #[test]
    fn further_contexts_pair_the_gloss_with_shifted_words() {
        let data = Dataset::bundled();
        let (mut plain, mut shifted) = ([0.0; DIMENSION], [0.0; DIMENSION]);
        data.base(7, &mut plain);
        data.base(4_000 + 7, &mut shifted);
        let same = dot(&plain[..HALF_DIMENSION], &shifted[..HALF_DIMENSION]);
        assert!((same - 0.5).abs() < 1e-3, "the gloss is half of a unit vector: {same}");
        data.base((7 + CONTEXT_SHIFT) % 4_000, &mut plain);
        let words = dot(&plain[HALF_DIMENSION..], &shifted[HALF_DIMENSION..]);
        assert!((words - 0.5).abs() < 1e-3, "and so are the words: {words}");
    }

    #[test]
    fn exact_search_equals_the_slow_one() {
        let data = Dataset::bundled();
        let mut cue = [0.0; DIMENSION];
        for (query, rows) in [(0, 100), (500, 4_000), (999, 9_000)] {
            data.query(query, &mut cue);
            let slow = slow_nearest(&data, rows, &cue, 10);
            let fast = data.nearest_to_queries(rows, query..query + 1, 10, 2).remove(0);
            let rows_of = |found: &[Neighbour]| found.iter().map(|n| n.row).collect::<Vec<_>>();
            assert_eq!(rows_of(&fast), rows_of(&slow));
            assert!((fast[0].similarity - slow[0].similarity).abs() < 1e-5);
        }
    }

    #[test]
    fn damaged_folders_are_refused_by_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let missing = Dataset::open(folder.path()).expect_err("empty folder").to_string();
        assert!(missing.contains("gloss.f16"), "{missing}");
        fs::write(folder.path().join("gloss.f16"), &BUNDLED_GLOSS[1..]).expect("written");
        fs::write(folder.path().join("words.f16"), BUNDLED_WORDS).expect("written");
        fs::write(folder.path().join("text.jsonl"), BUNDLED_TEXT).expect("written");
        let short = Dataset::open(folder.path()).expect_err("a byte is missing").to_string();
        assert!(short.contains("gloss.f16: 3839999 bytes, but 5000 rows have 3840000"), "{short}");
        fs::write(folder.path().join("text.jsonl"), "{\"words\": 1}\n").expect("written");
        let line = Dataset::open(folder.path()).expect_err("not a text").to_string();
        assert!(line.contains("text.jsonl: line 1"), "{line}");
    }
}
