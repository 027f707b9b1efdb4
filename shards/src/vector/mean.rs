//! The mean of a space, which 1-bit codes are relative to, and when it is learned anew.

use super::block::{BLOCK_CODES, Block};

/// Rows after which a mean is learned for the first time; from there on at every doubling.
const FIRST_ROWS: u64 = 64;
/// Rows beyond which only one in [`SAMPLED`] is added up.
const ALL_ROWS: u64 = 1_024;
/// See [`ALL_ROWS`].
const SAMPLED: u64 = 8;
/// A new mean is worth its cost if it lies this share of the mean squared length of a residual from
/// the old one: so much longer have residuals become.
const SHIFT_MIN: f64 = 1.0 / 64.0;

/// Sums over the rows of a space, and the mean in use.
#[derive(Clone, Debug)]
pub(super) struct Mean {
    /// What 1-bit codes are relative to.
    pub(super) current: Vec<f32>,
    /// What those were relative to that are not written anew yet.
    pub(super) older: Vec<f32>,
    pub(super) sums: Vec<f64>,
    pub(super) squares: f64,
    pub(super) count: u64,
    /// Rows that ever came.
    pub(super) rows: u64,
    pub(super) learn_at: u64,
}

impl Mean {
    /// Zero, until some rows are known.
    pub(super) fn new(numbers: usize) -> Mean {
        Mean {
            current: vec![0.0; numbers],
            older: vec![0.0; numbers],
            sums: vec![0.0; numbers],
            squares: 0.0,
            count: 0,
            rows: 0,
            learn_at: FIRST_ROWS,
        }
    }

    /// Another one whenever the mean may be.
    pub(super) fn version(&self) -> u64 {
        self.learn_at
    }

    /// Takes in a row. Returns whether there is a new mean, with the former one in
    /// `older`.
    pub(super) fn add(&mut self, codes8: &[Block], scale: f32) -> bool {
        if self.rows < ALL_ROWS || self.rows.is_multiple_of(SAMPLED) {
            self.sum(codes8, scale);
        }
        self.rows += 1;
        if self.rows < self.learn_at {
            return false;
        }
        self.learn_at = 2 * self.rows;
        self.learn()
    }

    fn sum(&mut self, codes8: &[Block], scale: f32) {
        let scale = f64::from(scale);
        let mut squares = 0i32;
        for (block, sums) in codes8.iter().zip(self.sums.chunks_exact_mut(BLOCK_CODES)) {
            for (code, sum) in block.0.iter().zip(sums) {
                *sum += f64::from(*code) * scale;
                squares += i32::from(*code) * i32::from(*code);
            }
        }
        self.squares += f64::from(squares) * scale * scale;
        self.count += 1;
    }

    fn learn(&mut self) -> bool {
        let count = self.count as f64;
        let (mut shift, mut length) = (0.0, 0.0);
        for (sum, current) in self.sums.iter().zip(&self.current) {
            let mean = sum / count;
            shift += (mean - f64::from(*current)).powi(2);
            length += mean * mean;
        }
        let residual = self.squares / count - length;
        if shift <= SHIFT_MIN * residual {
            return false;
        }
        std::mem::swap(&mut self.current, &mut self.older);
        for (sum, current) in self.sums.iter().zip(&mut self.current) {
            *current = (sum / count) as f32;
        }
        true
    }
}
