//! Codes and scales of all rows of a stripe.

use super::arena::Arena;
use super::block::{BLOCK_CODES, Block};
use super::codes::Codes;
use super::kernel::Kernel;
use crate::limits::DIMENSION_MAX;

/// Rows compared by one call of [`Rows::similarities`], at most.
pub(crate) const COMPARED_MAX: usize = 32;

/// A vector to compare rows with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Query<'a> {
    blocks: &'a [Block],
    scale: f32,
}

/// Memory for a query that is not a row.
#[derive(Debug)]
pub(crate) struct QueryBlocks([Block; DIMENSION_MAX as usize / BLOCK_CODES]);

impl QueryBlocks {
    /// Lays `codes` out as rows are.
    pub(crate) fn new(codes: &Codes) -> QueryBlocks {
        let mut blocks = QueryBlocks([Block::default(); DIMENSION_MAX as usize / BLOCK_CODES]);
        fill(&mut blocks.0, &codes.codes8);
        blocks
    }
}

/// Codes and scales by row, and the kernel that compares them.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    dimension: usize,
    kernel: Kernel,
    codes8: Arena<Block>,
    scales: Arena<f32>,
}

impl Rows {
    /// No rows yet, of `dimension` codes each.
    pub(crate) fn new(dimension: u16, kernel: Kernel) -> Rows {
        let dimension = usize::from(dimension);
        let codes8 = Arena::new(dimension.div_ceil(BLOCK_CODES));
        Rows { dimension, kernel, codes8, scales: Arena::new(1) }
    }

    /// Rows held.
    pub(crate) fn len(&self) -> u32 {
        self.codes8.len()
    }

    /// Bytes of RAM that they take.
    pub(crate) fn bytes(&self) -> u64 {
        self.codes8.bytes() + self.scales.bytes()
    }

    /// The kernel that compares them.
    pub(crate) fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, codes: &Codes) -> u32 {
        assert_eq!(codes.codes8.len(), self.dimension, "rows of one stripe have one dimension");
        let row = self.len();
        fill(self.codes8.push(), &codes.codes8);
        self.scales.push()[0] = codes.scale;
        row
    }

    /// Drops the rows from `len` up.
    pub(crate) fn truncate(&mut self, len: u32) {
        self.codes8.truncate(len);
        self.scales.truncate(len);
    }

    /// `codes`, to compare rows with.
    pub(crate) fn query<'a>(&self, codes: &Codes, blocks: &'a QueryBlocks) -> Query<'a> {
        assert_eq!(codes.codes8.len(), self.dimension, "queries have the dimension of the rows");
        Query { blocks: &blocks.0[..self.dimension.div_ceil(BLOCK_CODES)], scale: codes.scale }
    }

    /// A row, to compare others with.
    pub(crate) fn row(&self, row: u32) -> Query<'_> {
        Query { blocks: self.codes8.row(row), scale: self.scales[row] }
    }

    /// Similarity of `query` and one row.
    pub(crate) fn similarity(&self, query: Query<'_>, row: u32) -> f32 {
        let mut similarity = [0.0];
        self.similarities(query, &[row], &mut similarity);
        similarity[0]
    }

    /// Similarity of `query` and each of at most [`COMPARED_MAX`] `rows`, into the first places of
    /// `similarities`.
    #[inline]
    pub(crate) fn similarities(&self, query: Query<'_>, rows: &[u32], similarities: &mut [f32]) {
        let mut codes: [&[Block]; COMPARED_MAX] = [&[]; COMPARED_MAX];
        let mut dots = [0; COMPARED_MAX];
        for (codes, row) in codes.iter_mut().zip(rows) {
            *codes = self.codes8.row(*row);
        }
        self.kernel.dots(query.blocks, &codes[..rows.len()], &mut dots);
        for ((similarity, dot), row) in similarities[..rows.len()].iter_mut().zip(dots).zip(rows) {
            *similarity = dot as f32 * (query.scale * self.scales[*row]);
        }
    }
}

/// Lays codes out in blocks. What lies beyond the codes is zero and stays so, for all rows are of
/// one length.
fn fill(blocks: &mut [Block], codes: &[i8]) {
    let (whole, rest) = codes.as_chunks::<BLOCK_CODES>();
    for (block, codes) in blocks.iter_mut().zip(whole) {
        block.0 = *codes;
    }
    if !rest.is_empty() {
        blocks[whole.len()].0[..rest.len()].copy_from_slice(rest);
    }
}
