//! Rows of equal length in chunks that never move, so that growing copies nothing.
//!
//! The first chunk holds 16 rows; each further one doubles the whole, until a chunk is as large as
//! [`CHUNK_BYTES`] allows; from there on all are of that size. Where a row lies follows from its
//! number by shifts alone.

/// No chunk is larger, unless 16 rows are: a huge page's worth.
const CHUNK_BYTES: usize = 2 << 20;
/// Rows of the first chunk, as a power of two: a space of a few memories costs a few kilobytes.
const FIRST_CHUNK_ROWS_LOG2: u32 = 4;

/// Rows of `stride` items each.
#[derive(Clone, Debug)]
pub(crate) struct Arena<T> {
    stride: usize,
    /// Rows of the largest chunks, as a power of two.
    chunk_rows_log2: u32,
    chunks: Vec<Box<[T]>>,
    len: u32,
}

impl<T: Copy + Default> Arena<T> {
    /// An empty arena; a row is `stride` items long.
    pub(crate) fn new(stride: usize) -> Arena<T> {
        assert!(stride > 0 && size_of::<T>() > 0);
        let rows = CHUNK_BYTES / (stride * size_of::<T>());
        let chunk_rows_log2 = rows.max(1).ilog2().max(FIRST_CHUNK_ROWS_LOG2);
        Arena { stride, chunk_rows_log2, chunks: Vec::new(), len: 0 }
    }

    /// Rows held.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// The items of `row`.
    #[inline]
    pub(crate) fn row(&self, row: u32) -> &[T] {
        debug_assert!(row < self.len);
        let (chunk, offset) = self.place(row);
        &self.chunks[chunk][offset * self.stride..][..self.stride]
    }

    /// The items of `row`, to be changed.
    #[inline]
    pub(crate) fn row_mut(&mut self, row: u32) -> &mut [T] {
        debug_assert!(row < self.len);
        let (chunk, offset) = self.place(row);
        &mut self.chunks[chunk][offset * self.stride..][..self.stride]
    }

    /// Adds a row and returns it to be filled. What it holds is what a row truncated before left
    /// there, else defaults.
    pub(crate) fn push(&mut self) -> &mut [T] {
        let row = self.len;
        let (chunk, offset) = self.place(row);
        if chunk == self.chunks.len() {
            assert!(offset == 0, "chunks are filled in order");
            let rows =
                1usize << self.chunk_rows_log2.min(row.max(1 << FIRST_CHUNK_ROWS_LOG2).ilog2());
            self.chunks.push(vec![T::default(); rows * self.stride].into_boxed_slice());
        }
        self.len = row.checked_add(1).expect("an arena holds less than 2^32 rows");
        self.row_mut(row)
    }

    /// Drops the rows from `len` up. One empty chunk is kept, so that a row pushed and dropped at
    /// its edge over and over allocates nothing.
    pub(crate) fn truncate(&mut self, len: u32) {
        assert!(len <= self.len, "truncated to {len} rows, of {}", self.len);
        self.len = len;
        let (chunk, _) = self.place(len);
        self.chunks.truncate(chunk + 1);
    }

    /// Where a row lies: its chunk and its place in it.
    #[inline]
    fn place(&self, row: u32) -> (usize, usize) {
        const FIRST_MASK: u32 = (1 << FIRST_CHUNK_ROWS_LOG2) - 1;
        let padded = row | FIRST_MASK;
        let bit = padded.ilog2().min(self.chunk_rows_log2);
        let chunk = bit + (padded >> bit) - FIRST_CHUNK_ROWS_LOG2;
        let offset = row & (((1 << bit) - 1) | FIRST_MASK);
        (chunk as usize, offset as usize)
    }
}

/// Arenas of one item a row read like an array.
impl<T: Copy + Default> std::ops::Index<u32> for Arena<T> {
    type Output = T;

    #[inline]
    fn index(&self, row: u32) -> &T {
        debug_assert!(self.stride == 1 && row < self.len);
        let (chunk, offset) = self.place(row);
        &self.chunks[chunk][offset]
    }
}

impl<T: Copy + Default> std::ops::IndexMut<u32> for Arena<T> {
    #[inline]
    fn index_mut(&mut self, row: u32) -> &mut T {
        debug_assert!(self.stride == 1 && row < self.len);
        let (chunk, offset) = self.place(row);
        &mut self.chunks[chunk][offset]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_lie_one_after_the_other_and_never_move() {
        for stride in [1, 3, 100, 200_000] {
            let mut arena = Arena::<u64>::new(stride);
            let count = if stride == 1 { 1 << 20 } else { 100 };
            let mut first = std::ptr::null();
            for row in 0..count {
                let items = arena.push();
                items.fill(u64::from(row));
                if row == 0 {
                    first = items.as_ptr();
                }
            }
            assert_eq!(arena.row(0).as_ptr(), first);
            for row in 0..count {
                assert!(arena.row(row).iter().all(|item| *item == u64::from(row)));
            }
        }
    }

    #[test]
    fn chunks_double_and_then_stay() {
        let mut arena = Arena::<u64>::new(512);
        for _ in 0..2_000 {
            arena.push();
        }
        let rows: Vec<usize> = arena.chunks.iter().map(|chunk| chunk.len() / 512).collect();
        assert_eq!(rows, [16, 16, 32, 64, 128, 256, 512, 512, 512]);
    }

    #[test]
    fn truncating_frees_chunks_and_keeps_what_is_below() {
        let mut arena = Arena::<u32>::new(2);
        for row in 0..100u32 {
            arena.push().fill(row);
        }
        arena.truncate(17);
        assert_eq!((arena.len(), arena.chunks.len()), (17, 2));
        assert_eq!(arena.row(16), [16, 16]);
        arena.truncate(16);
        arena.truncate(0);
        assert_eq!(arena.chunks.len(), 1);
        for row in 0..100u32 {
            arena.push().fill(row + 1);
        }
        assert_eq!(arena.row(99), [100, 100]);
    }
}
