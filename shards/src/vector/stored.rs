//! Codes as checkpoints keep them: int8 codes and scales, and the mean. 1-bit codes are made anew of these.

use crate::bytes::Reader;

use super::block::BLOCK_CODES;
use super::rows::Rows;

impl Rows {
    /// Bytes that [`Rows::write_row`] writes of a row of vectors of `dimension`.
    pub(crate) const fn stored_row_bytes(dimension: u16) -> usize {
        (dimension as usize).next_multiple_of(BLOCK_CODES) + size_of::<f32>()
    }

    /// Writes the codes of a row, and their scale.
    pub(crate) fn write_row(&self, row: u32, out: &mut Vec<u8>) {
        for block in self.codes8.row(row) {
            out.extend_from_slice(&block.0.map(|code| code as u8));
        }
        out.extend_from_slice(&self.factors(row).scale.to_le_bytes());
    }

    /// Adds a row that was written. The mean is to be read before.
    pub(crate) fn push_stored(&mut self, bytes: &mut Reader<'_>) -> Option<u32> {
        let row = self.len();
        let codes8 = self.codes8.push();
        let (blocks, _) = bytes.bytes(codes8.len() * BLOCK_CODES)?.as_chunks::<BLOCK_CODES>();
        for (block, bytes) in codes8.iter_mut().zip(blocks) {
            block.0 = bytes.map(|code| code as i8);
        }
        let scale = bytes.f32()?;
        self.kernel.write_row(codes8, scale, &self.mean.current, self.codes1.push());
        Some(row)
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

#[cfg(test)]
mod tests {
    use super::super::codes::{encode, normalise};
    use super::super::kernel::Kernel;
    use super::super::rows::Sketch;
    use super::*;
    use crate::settings::Metric;

    #[test]
    fn rows_are_the_same_as_before_they_were_written() {
        let mut rows = Rows::new(100, Metric::Dot, Kernel::fastest());
        for row in 0..150u32 {
            let mut vector: Vec<f32> =
                (0..100).map(|at| ((row * 31 + at * at * 7 + 3) as f32).sin() + 0.3).collect();
            normalise(&mut vector).expect("not zero");
            rows.push(&encode(&vector));
        }
        let mut mean = Vec::new();
        rows.write_mean(&mut mean);
        let mut stored = Rows::new(100, Metric::Dot, Kernel::fastest());
        stored.read_mean(&mut Reader::new(&mean)).expect("it was written");
        for row in 0..150 {
            let mut bytes = Vec::new();
            rows.write_row(row, &mut bytes);
            assert_eq!(bytes.len(), Rows::stored_row_bytes(100));
            assert_eq!(stored.push_stored(&mut Reader::new(&bytes)), Some(row));
            let short = &bytes[..bytes.len() - 1];
            assert_eq!(stored.clone().push_stored(&mut Reader::new(short)), None);
        }
        let (mut one, mut other) = (Sketch::default(), Sketch::default());
        rows.sketch(rows.row(7), &mut one);
        stored.sketch(stored.row(7), &mut other);
        for row in 0..150 {
            assert_eq!(rows.row(row), stored.row(row), "int8 codes, scale and norm");
            let (mut known, mut found) = ([0.0], [0.0]);
            rows.estimates(&one, &[row], &mut known);
            stored.estimates(&other, &[row], &mut found);
            assert_eq!(known, found, "1-bit codes of row {row}");
        }
        let (mut known, mut found) = (Vec::new(), Vec::new());
        rows.write_mean(&mut known);
        stored.write_mean(&mut found);
        assert_eq!(known, found);
    }
}
