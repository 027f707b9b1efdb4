//! Codes of all rows of a stripe.

use std::ops::Range;

use super::arena::Arena;
use super::block::{BLOCK_CODES, Block};
use super::codes::Codes;
use super::kernel::Kernel;
use super::lanes::LANES;
use super::mean::Mean;
use super::prefetch::prefetch;
use super::set::{FOUR, Set};
use super::signs::{Factors, SignLayout, SignQuery};
use crate::limits::DIMENSION_MAX;
use crate::settings::Metric;

/// Rows compared by one call, at most.
pub(crate) const COMPARED_MAX: usize = 32;
/// Rows whose 1-bit codes are compared by one call, at most.
const ESTIMATED_MAX: usize = 2 * COMPARED_MAX;
/// Rows whose 1-bit codes are written anew with each row that arrives, while some are relative to
/// an older mean: so all are before the next mean is learned.
const REWRITTEN_ROWS: u32 = 8;

/// A vector to compare int8 codes with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Query<'a> {
    blocks: &'a [Block],
    scale: f32,
    norm: f32,
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

/// A query prepared for comparison with 1-bit codes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sketch {
    current: SignQuery,
    /// For rows whose codes are relative to the older mean; unused while there are none.
    older: SignQuery,
    norm: f32,
    /// Names the means that it is prepared for.
    means: u64,
}

/// The codes of each row, and the kernel that compares them.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    dimension: u16,
    metric: Metric,
    pub(super) kernel: Kernel,
    pub(super) layout: SignLayout,
    pub(super) codes8: Arena<Block>,
    /// Signs and factors.
    pub(super) codes1: Arena<Block>,
    pub(super) mean: Mean,
    /// The rows whose 1-bit codes are relative to the older mean.
    pub(super) stale: Range<u32>,
}

impl Rows {
    /// No rows yet, of vectors of `dimension`.
    pub(crate) fn new(dimension: u16, metric: Metric, kernel: Kernel) -> Rows {
        let blocks = usize::from(dimension).div_ceil(BLOCK_CODES);
        let layout = SignLayout::new(blocks);
        Rows {
            dimension,
            metric,
            kernel,
            layout,
            codes8: Arena::new(blocks),
            codes1: Arena::new(layout.row_blocks()),
            mean: Mean::new(blocks * BLOCK_CODES),
            stale: 0..0,
        }
    }

    /// Rows held.
    pub(crate) fn len(&self) -> u32 {
        self.codes8.len()
    }

    /// Bytes of RAM that they take.
    pub(crate) fn bytes(&self) -> u64 {
        self.codes8.bytes() + self.codes1.bytes()
    }

    /// The kernel that compares them.
    pub(crate) fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, codes: &Codes) -> u32 {
        let row = self.len();
        self.codes8.push();
        self.codes1.push();
        self.put(row, codes);
        row
    }

    /// Writes another row over one that is of no more use.
    pub(crate) fn put(&mut self, row: u32, codes: &Codes) {
        assert_eq!(codes.dimension, self.dimension, "rows of one stripe have one dimension");
        let codes8 = self.codes8.row_mut(row);
        fill(codes8, &codes.codes8);
        if self.mean.add(codes8, codes.scale) {
            // A new row is written by the new mean at once.
            let rows = self.codes1.len();
            self.stale = 0..if row + 1 == rows { row } else { rows };
        }
        // One that is to be written anew is, until then, like those around it.
        let mean = match self.stale.contains(&row) {
            true => &self.mean.older,
            false => &self.mean.current,
        };
        self.kernel.write_row(codes8, codes.scale, mean, self.codes1.row_mut(row));
        self.rewrite();
    }

    /// Drops the rows from `len` up.
    pub(crate) fn truncate(&mut self, len: u32) {
        self.codes8.truncate(len);
        self.codes1.truncate(len);
        self.stale.end = self.stale.end.min(len);
        self.stale.start = self.stale.start.min(self.stale.end);
    }

    /// `codes`, to compare int8 codes with.
    pub(crate) fn query<'a>(&self, codes: &Codes, blocks: &'a QueryBlocks) -> Query<'a> {
        assert_eq!(codes.dimension, self.dimension, "queries have the dimension of the rows");
        let blocks = &blocks.0[..usize::from(self.dimension).div_ceil(BLOCK_CODES)];
        let mut dots = [0];
        self.kernel.dots(blocks, &[blocks], &mut dots);
        Query { blocks, scale: codes.scale, norm: dots[0] as f32 * (codes.scale * codes.scale) }
    }

    /// A row, to compare others with.
    #[inline(always)]
    pub(crate) fn row(&self, row: u32) -> Query<'_> {
        let Factors { scale, norm, .. } = self.factors(row);
        Query { blocks: self.codes8.row(row), scale, norm }
    }

    /// Prepares `query` for [`Rows::estimates`]. Holds while [`Rows::holds`] says so.
    pub(crate) fn sketch(&self, query: Query<'_>, sketch: &mut Sketch) {
        let Query { blocks, scale, norm } = query;
        sketch.norm = norm;
        sketch.means = self.mean.version();
        self.kernel.write_query(blocks, scale, &self.mean.current, &mut sketch.current);
        if !self.stale.is_empty() {
            self.kernel.write_query(blocks, scale, &self.mean.older, &mut sketch.older);
        }
    }

    /// Whether what was prepared in `sketch` can be compared with rows: no mean was learned since.
    pub(crate) fn holds(&self, sketch: &Sketch) -> bool {
        sketch.means == self.mean.version()
    }

    /// Similarity of `query` and one row.
    pub(crate) fn similarity(&self, query: Query<'_>, row: u32) -> f32 {
        let mut similarity = [0.0];
        self.similarities(query, &[row], &mut similarity);
        similarity[0]
    }

    /// Similarity of `query` and each of at most [`COMPARED_MAX`] `rows`, by int8 codes, into the
    /// first places of `similarities`.
    #[inline]
    pub(crate) fn similarities(&self, query: Query<'_>, rows: &[u32], similarities: &mut [f32]) {
        let mut codes: [&[Block]; COMPARED_MAX] = [&[]; COMPARED_MAX];
        let mut dots = [0; COMPARED_MAX];
        for (codes, row) in codes.iter_mut().zip(rows) {
            *codes = self.codes8.row(*row);
        }
        self.kernel.dots(query.blocks, &codes[..rows.len()], &mut dots);
        for ((similarity, dot), row) in similarities[..rows.len()].iter_mut().zip(dots).zip(rows) {
            let Factors { scale, norm, .. } = self.factors(*row);
            let dot = dot as f32 * (query.scale * scale);
            *similarity = self.metric_of(dot, query.norm, norm);
        }
    }

    /// Similarity of `query` and each of four others, by int8 codes.
    #[inline(always)]
    pub(crate) fn similarities_of_four<S: Set>(
        &self,
        query: Query<'_>,
        others: &[Query<'_>; FOUR],
        set: S,
    ) -> [f32; FOUR] {
        let dots = set.dots(query.blocks, &others.map(|other| other.blocks));
        std::array::from_fn(|at| {
            let dot = dots[at] as f32 * (query.scale * others[at].scale);
            self.metric_of(dot, query.norm, others[at].norm)
        })
    }

    /// About the similarity of the query that was prepared in `sketch` and each of at most
    /// [`ESTIMATED_MAX`] `rows`, by 1-bit codes, into the first places of `similarities`.
    #[inline]
    pub(crate) fn estimates(&self, sketch: &Sketch, rows: &[u32], similarities: &mut [f32]) {
        let mut codes: [&[Block]; ESTIMATED_MAX] = [&[]; ESTIMATED_MAX];
        for (codes, row) in codes.iter_mut().zip(rows) {
            *codes = self.codes1.row(*row);
        }
        let codes = &codes[..rows.len()];
        self.kernel.estimates(self.layout, &sketch.current, codes, similarities);
        if !self.stale.is_empty() {
            for ((similarity, codes), row) in similarities.iter_mut().zip(codes).zip(rows) {
                if self.stale.contains(row) {
                    let out = std::slice::from_mut(similarity);
                    self.kernel.estimates(self.layout, &sketch.older, &[codes], out);
                }
            }
        }
        if self.metric == Metric::Euclidean {
            for (similarity, codes) in similarities.iter_mut().zip(codes) {
                let norm = Factors::of(self.layout, codes).norm;
                *similarity = self.metric_of(*similarity, sketch.norm, norm);
            }
        }
    }

    /// The 1-bit codes of a row.
    #[inline(always)]
    pub(crate) fn signs(&self, row: u32) -> &[Block] {
        self.codes1.row(row)
    }

    /// About the similarity of the query that was prepared in `sketch` and the first `count` of
    /// some rows, by their 1-bit codes; `row_of` tells which rows they are. Other lanes are
    /// undefined.
    #[inline(always)]
    pub(crate) fn estimates_of<S: Set>(
        &self,
        sketch: &Sketch,
        (codes, count): (&[&[Block]; LANES], usize),
        row_of: impl Fn(usize) -> u32,
        set: S,
    ) -> S::Group {
        let group = set.estimates(self.layout, &sketch.current, codes, count);
        if self.stale.is_empty() && self.metric != Metric::Euclidean {
            return group;
        }
        let mut similarities = set.array(group);
        for (lane, similarity) in similarities.iter_mut().enumerate().take(count) {
            if self.stale.contains(&row_of(lane)) {
                let out = std::slice::from_mut(similarity);
                self.kernel.estimates(self.layout, &sketch.older, &[codes[lane]], out);
            }
            let norm = Factors::of(self.layout, codes[lane]).norm;
            *similarity = self.metric_of(*similarity, sketch.norm, norm);
        }
        set.group(similarities)
    }

    /// Asks for what [`Rows::estimates`] reads of `row`.
    #[inline(always)]
    pub(crate) fn prefetch_sketch(&self, row: u32) {
        prefetch(self.codes1.row(row));
    }

    /// Asks for what [`Rows::similarities`] reads of `row`.
    #[inline(always)]
    pub(crate) fn prefetch(&self, row: u32) {
        prefetch(self.codes8.row(row));
    }

    /// A similarity of about the usual size.
    pub(crate) fn unit(&self, row: u32) -> f32 {
        match self.metric {
            Metric::Cosine => 1.0,
            Metric::Dot | Metric::Euclidean => self.factors(row).norm,
        }
    }

    /// Larger is nearer, whatever the metric.
    #[inline(always)]
    fn metric_of(&self, dot: f32, one_norm: f32, other_norm: f32) -> f32 {
        match self.metric {
            Metric::Cosine | Metric::Dot => dot,
            Metric::Euclidean => 2.0 * dot - (one_norm + other_norm),
        }
    }

    #[inline(always)]
    pub(super) fn factors(&self, row: u32) -> Factors {
        Factors::of(self.layout, self.codes1.row(row))
    }

    /// Writes some of the stale 1-bit codes anew.
    fn rewrite(&mut self) {
        let end = self.stale.end.min(self.stale.start + REWRITTEN_ROWS);
        for row in self.stale.start..end {
            let scale = self.factors(row).scale;
            let (codes8, codes1) = (self.codes8.row(row), self.codes1.row_mut(row));
            self.kernel.write_row(codes8, scale, &self.mean.current, codes1);
        }
        self.stale.start = end;
    }
}

/// Lays codes out in blocks.
fn fill(blocks: &mut [Block], codes: &[i8]) {
    let (whole, rest) = codes.as_chunks::<BLOCK_CODES>();
    assert!(rest.is_empty(), "codes come in whole blocks");
    for (block, codes) in blocks.iter_mut().zip(whole) {
        block.0 = *codes;
    }
}

#[cfg(test)]
mod tests {
    use super::super::codes::{encode, normalise};
    use super::*;
    use proptest::prelude::*;

    /// A vector around one of two far centres.
    fn codes(number: u32, is_late: bool) -> Codes {
        let value = |at: u32| ((number * 31 + at * at * 7 + 3) as f32).sin();
        let centre = |at: u32| if is_late == (at < 32) { 2.0 } else { -1.0 };
        let mut vector: Vec<f32> = (0..64).map(|at| value(at) + centre(at)).collect();
        normalise(&mut vector).expect("not zero");
        encode(&vector)
    }

    proptest! {
        #[test]
        fn estimates_hold_while_rows_are_written_over_and_the_mean_moves(
            deeds in prop::collection::vec(prop::option::weighted(0.6, any::<u32>()), 1..400)
        ) {
            let mut rows = Rows::new(64, Metric::Cosine, Kernel::fastest());
            let mut sketch = Sketch::default();
            for (number, deed) in (0u32..).zip(deeds) {
                let codes = codes(number, number >= 40);
                match deed.filter(|_| rows.len() > 30) {
                    Some(row) => rows.put(row % rows.len(), &codes),
                    None => {
                        rows.push(&codes);
                    }
                }
                rows.sketch(rows.row(number % rows.len()), &mut sketch);
                for row in 0..rows.len() {
                    let exact = rows.similarity(rows.row(number % rows.len()), row);
                    let mut estimate = [0.0];
                    rows.estimates(&sketch, &[row], &mut estimate);
                    let error = (estimate[0] - exact).abs();
                    prop_assert!(error < ERROR_MAX, "{} for {exact} of row {row}", estimate[0]);
                }
            }
        }
    }

    /// Of 64 numbers, of which the signs alone are known, and the mean.
    const ERROR_MAX: f32 = 0.4;
}
