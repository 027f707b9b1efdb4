//! Codes as checkpoints keep them: int8 codes, 1-bit codes with their factors, and the mean that these are relative to.
//! To make 1-bit codes anew would take a reader longer than to read them.

use crate::bytes::Reader;

use super::block::{BLOCK_CODES, Block};
use super::rows::Rows;
use super::signs::{Factors, SignLayout};

/// The mean that was written, which all 1-bit codes behind it are relative to: also of rows that are written when a newer
/// one was learned.
#[derive(Clone, Debug)]
pub struct StoredMean {
    version: u64,
    numbers: Vec<f32>,
}

impl Rows {
    /// Bytes that [`Rows::write_row`] writes of a row of vectors of `dimension`.
    pub(crate) const fn stored_row_bytes(dimension: u16) -> usize {
        let blocks = (dimension as usize).div_ceil(BLOCK_CODES);
        blocks * BLOCK_CODES + SignLayout::new(blocks).row_bytes()
    }

    /// The mean as [`Rows::write_mean`] writes it now.
    pub(crate) fn stored_mean(&self) -> StoredMean {
        StoredMean { version: self.mean.version(), numbers: self.mean.current.clone() }
    }

    /// Writes the codes of a row.
    pub(crate) fn write_row(&self, row: u32, mean: &StoredMean, out: &mut Vec<u8>) {
        let codes8 = self.codes8.row(row);
        codes8.iter().for_each(|block| out.extend_from_slice(&block.0.map(|code| code as u8)));
        let is_relative_to_it = mean.version == self.mean.version() && !self.stale.contains(&row);
        let mut anew = Vec::new();
        let codes1 = match is_relative_to_it {
            true => self.codes1.row(row),
            false => {
                anew.resize(self.layout.row_blocks(), Block::default());
                self.kernel.write_row(codes8, self.factors(row).scale, &mean.numbers, &mut anew);
                &anew
            }
        };
        let end = out.len() + self.layout.row_bytes();
        codes1.iter().for_each(|block| out.extend_from_slice(&block.0.map(|code| code as u8)));
        out.truncate(end);
    }

    /// Adds a row that was written. The mean is to be read before.
    pub(crate) fn push_stored(&mut self, bytes: &mut Reader<'_>) -> Option<u32> {
        let row = self.len();
        let codes8 = self.codes8.push();
        fill(codes8, bytes.bytes(codes8.len() * BLOCK_CODES)?);
        let codes1 = self.codes1.push();
        fill(codes1, bytes.bytes(self.layout.row_bytes())?);
        Factors::of(self.layout, codes1).is_finite().then_some(row)
    }

    /// Writes what the mean is, and what it is learned from.
    pub(crate) fn write_mean(&self, out: &mut Vec<u8>) {
        let mean = &self.mean;
        mean.current.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        mean.sums.iter().for_each(|sum| out.extend_from_slice(&sum.to_le_bytes()));
        out.extend_from_slice(&mean.squares.to_le_bytes());
        for count in [mean.count, mean.rows, mean.learn_at] {
            out.extend_from_slice(&count.to_le_bytes());
        }
    }

    /// Reads it again, before the first row comes.
    pub(crate) fn read_mean(&mut self, bytes: &mut Reader<'_>) -> Option<()> {
        assert!(self.len() == 0, "all rows are relative to it");
        let mean = &mut self.mean;
        for number in &mut mean.current {
            *number = bytes.f32()?;
        }
        for sum in &mut mean.sums {
            *sum = bytes.f64()?;
        }
        mean.squares = bytes.f64()?;
        (mean.count, mean.rows, mean.learn_at) = (bytes.u64()?, bytes.u64()?, bytes.u64()?);
        Some(())
    }
}

/// Copies bytes into blocks, the last of which they may leave in part as it is.
fn fill(blocks: &mut [Block], bytes: &[u8]) {
    let (whole, rest) = bytes.as_chunks::<BLOCK_CODES>();
    for (block, bytes) in blocks.iter_mut().zip(whole) {
        block.0 = bytes.map(|byte| byte as i8);
    }
    if let Some(block) = blocks.get_mut(whole.len()) {
        block.0.iter_mut().zip(rest).for_each(|(code, byte)| *code = *byte as i8);
    }
}

#[cfg(test)]
mod tests {
    use super::super::codes::{encode, normalise};
    use super::super::kernel::Kernel;
    use super::super::rows::Sketch;
    use super::*;
    use crate::settings::Metric;

    /// Rows of one sort, or of another with a mean far from theirs.
    fn push(rows: &mut Rows, numbers: std::ops::Range<u32>, offset: f32) {
        for row in numbers {
            let number = |at: u32| ((row * 31 + at * at * 7 + 3) as f32).sin() + offset;
            let mut vector: Vec<f32> = (0..100).map(number).collect();
            normalise(&mut vector).expect("not zero");
            rows.push(&encode(&vector));
        }
    }

    /// What `rows` estimates of the first `count` for one of them.
    fn estimates(rows: &Rows, count: u32) -> Vec<f32> {
        let mut sketch = Sketch::default();
        rows.sketch(rows.row(7), &mut sketch);
        let mut found = vec![0.0; count as usize];
        for (row, found) in (0..count).zip(&mut found) {
            rows.estimates(&sketch, &[row], std::slice::from_mut(found));
        }
        found
    }

    #[test]
    fn rows_that_are_written_behind_a_newer_mean_are_relative_to_the_older_one() {
        let mut rows = Rows::new(100, Metric::Dot, Kernel::fastest());
        push(&mut rows, 0..110, 0.3);
        let (known, mean) = (estimates(&rows, 110), rows.stored_mean());
        let mut state = Vec::new();
        rows.write_mean(&mut state);
        // A mean is learned with the 128th row. Of those before it, some are written anew.
        push(&mut rows, 110..130, -4.0);
        assert!(rows.stored_mean().numbers != mean.numbers && rows.stale == (24..127));
        let mut stored = Rows::new(100, Metric::Dot, Kernel::fastest());
        stored.read_mean(&mut Reader::new(&state)).expect("it was written");
        for row in 0..110 {
            let mut bytes = Vec::new();
            rows.write_row(row, &mean, &mut bytes);
            stored.push_stored(&mut Reader::new(&bytes)).expect("it was written");
        }
        assert_eq!(estimates(&stored, 110), known);
    }

    #[test]
    fn rows_are_the_same_as_before_they_were_written() {
        let mut rows = Rows::new(100, Metric::Dot, Kernel::fastest());
        push(&mut rows, 0..150, 0.3);
        let mut mean = Vec::new();
        rows.write_mean(&mut mean);
        let of_codes = rows.stored_mean();
        let mut stored = Rows::new(100, Metric::Dot, Kernel::fastest());
        stored.read_mean(&mut Reader::new(&mean)).expect("it was written");
        for row in 0..150 {
            let mut bytes = Vec::new();
            rows.write_row(row, &of_codes, &mut bytes);
            assert_eq!(bytes.len(), Rows::stored_row_bytes(100));
            assert_eq!(stored.push_stored(&mut Reader::new(&bytes)), Some(row));
            let short = &bytes[..bytes.len() - 1];
            assert_eq!(stored.clone().push_stored(&mut Reader::new(short)), None);
        }
        for row in 0..150 {
            assert_eq!(rows.row(row), stored.row(row), "int8 codes, scale and norm");
        }
        assert_eq!(estimates(&rows, 150), estimates(&stored, 150), "1-bit codes");
        let (mut known, mut found) = (Vec::new(), Vec::new());
        rows.write_mean(&mut known);
        stored.write_mean(&mut found);
        assert_eq!(known, found);
    }
}
