//! Real vectors: a folder of `gloss.f16` and `words.f16`, paired to rows as `tests/data/README.md`
//! tells.

use std::path::Path;

use engram_shards::vector::codes::normalise;
use half::f16;

/// Numbers of either half of a vector.
const HALF: usize = 384;
/// Numbers of a vector.
pub(crate) const DIMENSION: u16 = 2 * HALF as u16;
/// The last rows of a folder, which no base row is made of.
const QUERIES: usize = 1_000;
/// How far the words are shifted against the glosses from one round of base rows to the next.
const SHIFT: usize = 9_973;

/// The two files of a folder.
pub(crate) struct Pairs {
    gloss: Vec<f32>,
    words: Vec<f32>,
}

impl Pairs {
    /// Reads the folder at `path`.
    pub(crate) fn read(path: &Path) -> Pairs {
        let file = |name: &str| -> Vec<f32> {
            let path = path.join(name);
            let bytes =
                std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let (numbers, rest) = bytes.as_chunks::<2>();
            assert!(rest.is_empty() && numbers.len() % HALF == 0, "{} is cut", path.display());
            numbers.iter().map(|number| f16::from_le_bytes(*number).to_f32()).collect()
        };
        let pairs = Pairs { gloss: file("gloss.f16"), words: file("words.f16") };
        assert!(pairs.gloss.len() == pairs.words.len() && pairs.rows() > QUERIES);
        pairs
    }

    fn rows(&self) -> usize {
        self.gloss.len() / HALF
    }

    /// Base row `number`; any number has one.
    pub(crate) fn base(&self, number: usize) -> Vec<f32> {
        let rows = self.rows() - QUERIES;
        let (gloss, shifted) = (number % rows, number / rows);
        self.pair(gloss, (gloss + shifted * SHIFT) % rows)
    }

    /// Query `number`, of [`Pairs::queries`].
    pub(crate) fn query(&self, number: usize) -> Vec<f32> {
        let row = self.rows() - QUERIES + number;
        self.pair(row, row)
    }

    fn pair(&self, gloss: usize, words: usize) -> Vec<f32> {
        let mut vector = self.gloss[gloss * HALF..][..HALF].to_vec();
        vector.extend_from_slice(&self.words[words * HALF..][..HALF]);
        normalise(&mut vector).expect("the halves have unit length");
        vector
    }
}
