//! Rows of equal length in chunks that never move, so that growing copies nothing.
//!
//! The first chunk holds 16 rows; each further one doubles the whole, until a chunk is as large as
//! [`CHUNK_BYTES_MAX`] allows; from there on all are of that size. Where a row lies follows from its
//! number by shifts alone.

use std::ptr::NonNull;

use super::chunk::Chunk;

/// No chunk is larger, unless 16 rows are. Half of the last chunk is waste, on average, in each
/// array; smaller ones would make the table of chunks a burden to the cache.
const CHUNK_BYTES_MAX: usize = 256 << 10;
/// Rows of the first chunk, as a power of two: a space of a few memories costs a few kilobytes.
const FIRST_CHUNK_ROWS_LOG2: u32 = 4;
/// Rows from this length on are read by searches, in no order; their chunks reach full size early …
const LONG_ROW_BYTES: usize = 64;
/// … at so many rows, as a power of two, so that almost all rows are found by two shifts and none of
/// the branches is a guess.
const LONG_CHUNK_ROWS_LOG2: u32 = 8;

/// Rows of `stride` items each.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    stride: usize,
    /// Rows of the largest chunks, as a power of two.
    chunk_rows_log2: u32,
    /// Where each chunk begins: all that finding a row needs.
    bases: Vec<NonNull<T>>,
    /// As many as were needed for `len` rows, and one more at most.
    chunks: Vec<Chunk<T>>,
    /// The items of all rows below it are initialised.
    len: u32,
}

// SAFETY: `bases` lie in `chunks`, which are the arena's own and as free to go as boxes of items.
unsafe impl<T: Send> Send for Arena<T> {}
// SAFETY: a shared arena gives shared items and nothing else.
unsafe impl<T: Sync> Sync for Arena<T> {}

impl<T: Copy + Default> Arena<T> {
    /// An empty arena; a row is `stride` items long.
    pub(crate) fn new(stride: usize) -> Arena<T> {
        let row_bytes = stride * size_of::<T>();
        assert!(row_bytes > 0, "rows of nothing need no arena");
        let mut rows_log2 = (CHUNK_BYTES_MAX / row_bytes).max(1).ilog2();
        if row_bytes >= LONG_ROW_BYTES {
            rows_log2 = rows_log2.min(LONG_CHUNK_ROWS_LOG2);
        }
        let chunk_rows_log2 = rows_log2.max(FIRST_CHUNK_ROWS_LOG2);
        Arena { stride, chunk_rows_log2, bases: Vec::new(), chunks: Vec::new(), len: 0 }
    }

    /// Rows held.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// Bytes of RAM that the rows take, with the unused end of the last chunk.
    pub(crate) fn bytes(&self) -> u64 {
        let tables = self.chunks.capacity() * size_of::<Chunk<T>>()
            + self.bases.capacity() * size_of::<NonNull<T>>();
        (tables + self.chunks.iter().map(Chunk::bytes).sum::<usize>()) as u64
    }

    /// The items of `row`.
    #[inline]
    pub(crate) fn row(&self, row: u32) -> &[T] {
        // SAFETY: `items` are initialised and, for as long as the arena is borrowed, not written.
        unsafe { std::slice::from_raw_parts(self.address(row), self.stride) }
    }

    /// The items of `row`, to be changed.
    #[inline]
    pub(crate) fn row_mut(&mut self, row: u32) -> &mut [T] {
        // SAFETY: `items` are initialised, and the arena is borrowed by this caller alone.
        unsafe { std::slice::from_raw_parts_mut(self.items(row), self.stride) }
    }

    /// Where `row` lies, for a prefetch.
    #[inline]
    pub(crate) fn address(&self, row: u32) -> *const T {
        self.items(row)
    }

    /// Adds a row of defaults and returns it to be filled.
    pub(crate) fn push(&mut self) -> &mut [T] {
        let row = self.len;
        let (chunk, offset) = self.place(row);
        if chunk == self.chunks.len() {
            assert!(offset == 0, "chunks are filled in order");
            self.add_chunk();
        }
        let base = self.bases[chunk].as_ptr();
        for item in 0..self.stride {
            // SAFETY: the chunk has room for its rows of `stride` items, and `offset` is one of
            // them; a row that is not in the arena has no reference.
            unsafe { base.add(offset * self.stride + item).write(T::default()) };
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
        self.bases.truncate(chunk + 1);
        self.chunks.truncate(chunk + 1);
    }

    fn add_chunk(&mut self) {
        let chunk = self.chunks.len();
        let rows = self.first_row(chunk + 1) - self.first_row(chunk);
        let chunk = Chunk::new(rows as usize * self.stride);
        self.bases.push(chunk.base());
        self.chunks.push(chunk);
    }

    /// The first item of `row`; all items of it are initialised.
    #[inline]
    fn items(&self, row: u32) -> *mut T {
        assert!(row < self.len, "row {row} of {}", self.len);
        let (chunk, offset) = self.place(row);
        debug_assert!(chunk < self.bases.len());
        // SAFETY: pushing the row made its chunk and wrote its items, and chunks are dropped only
        // behind the last row.
        unsafe { self.bases.get_unchecked(chunk).as_ptr().add(offset * self.stride) }
    }

    /// Where a row lies: its chunk and its place in it.
    #[inline(always)]
    fn place(&self, row: u32) -> (usize, usize) {
        let high = row >> self.chunk_rows_log2;
        if high == 0 {
            return Arena::<T>::place_in_small(row);
        }
        let small = self.chunk_rows_log2 - FIRST_CHUNK_ROWS_LOG2;
        ((high + small) as usize, (row & ((1 << self.chunk_rows_log2) - 1)) as usize)
    }

    /// Where a row lies that comes before the chunks of full size.
    #[cold]
    fn place_in_small(row: u32) -> (usize, usize) {
        const FIRST_MASK: u32 = (1 << FIRST_CHUNK_ROWS_LOG2) - 1;
        let bit = (row | FIRST_MASK).ilog2();
        let chunk = bit + (row >> bit).max(1) - FIRST_CHUNK_ROWS_LOG2;
        let offset = row & (((1 << bit) - 1) | FIRST_MASK);
        (chunk as usize, offset as usize)
    }

    /// The first row of a chunk: what [`Arena::place`] takes apart.
    fn first_row(&self, chunk: usize) -> u64 {
        let doubling = (self.chunk_rows_log2 - FIRST_CHUNK_ROWS_LOG2) as usize;
        match chunk {
            0 => 0,
            _ if chunk <= doubling => 1 << (chunk - 1 + FIRST_CHUNK_ROWS_LOG2 as usize),
            _ => ((chunk - doubling) as u64) << self.chunk_rows_log2,
        }
    }
}

impl<T: Copy + Default> Clone for Arena<T> {
    fn clone(&self) -> Arena<T> {
        let mut clone = Arena::new(self.stride);
        for row in 0..self.len {
            clone.push().copy_from_slice(self.row(row));
        }
        clone
    }
}

/// Arenas of one item a row read like an array.
impl<T: Copy + Default> std::ops::Index<u32> for Arena<T> {
    type Output = T;

    #[inline]
    fn index(&self, row: u32) -> &T {
        debug_assert!(self.stride == 1);
        // SAFETY: as in `row`, which has at least one item.
        unsafe { &*self.address(row) }
    }
}

impl<T: Copy + Default> std::ops::IndexMut<u32> for Arena<T> {
    #[inline]
    fn index_mut(&mut self, row: u32) -> &mut T {
        debug_assert!(self.stride == 1);
        // SAFETY: as in `row_mut`, which has at least one item.
        unsafe { &mut *self.items(row) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of each chunk.
    fn shape<T: Copy + Default>(arena: &Arena<T>) -> Vec<u64> {
        let chunks = 0..arena.chunks.len();
        chunks.map(|chunk| arena.first_row(chunk + 1) - arena.first_row(chunk)).collect()
    }

    #[test]
    fn rows_lie_one_after_the_other_and_never_move() {
        for stride in [1, 3, 96, 100, 200_000] {
            let mut arena = Arena::<u64>::new(stride);
            let count = if stride == 1 { 1 << 20 } else { 100 };
            let mut first = std::ptr::null();
            for row in 0..count {
                let items = arena.push();
                assert!(items.iter().all(|item| *item == 0));
                items.fill(u64::from(row));
                if row == 0 {
                    first = items.as_ptr();
                }
            }
            assert_eq!(arena.address(0), first);
            for row in 0..count {
                assert!(arena.row(row).iter().all(|item| *item == u64::from(row)));
            }
        }
    }

    #[test]
    fn chunks_double_and_then_stay() {
        for (stride, last_log2) in [(512, 6), (96, 8), (1, 15), (504, 6), (200_000, 4)] {
            let mut arena = Arena::<u64>::new(stride);
            assert_eq!(arena.chunk_rows_log2, last_log2, "{stride} items a row");
            let mut first = 0;
            for chunk in 0..40 {
                assert_eq!(arena.first_row(chunk), first);
                assert_eq!(arena.place(first as u32), (chunk, 0));
                first += if chunk == 0 { 16 } else { first.min(1 << last_log2) };
            }
            for _ in 0..40 {
                arena.push();
            }
            let rows = if last_log2 > 4 { [16, 16, 32] } else { [16, 16, 16] };
            assert_eq!(shape(&arena), rows);
        }
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
            let items = arena.push();
            assert_eq!(items, [0, 0], "of what was there before nothing is left");
            items.fill(row + 1);
        }
        assert_eq!(arena.row(99), [100, 100]);
    }

    #[test]
    fn a_clone_is_equal_and_apart() {
        let mut arena = Arena::<u32>::new(3);
        for row in 0..1_000 {
            arena.push().fill(row);
        }
        let clone = arena.clone();
        arena.row_mut(999).fill(0);
        assert_eq!(clone.len(), 1_000);
        assert!((0..1_000).all(|row| clone.row(row) == [row; 3]));
    }

    #[test]
    #[should_panic(expected = "row 5 of 5")]
    fn a_row_that_was_dropped_cannot_be_read() {
        let mut arena = Arena::<u32>::new(1);
        for _ in 0..6 {
            arena.push();
        }
        arena.truncate(5);
        arena.row(5);
    }

    #[test]
    fn memory_is_counted_as_it_is_used() {
        const ROW_BYTES: usize = 768;
        let mut arena = Arena::<u8>::new(ROW_BYTES);
        assert_eq!(arena.bytes(), 0);
        arena.push();
        let one = arena.bytes();
        assert!((16 * 768..16 * 768 + 500).contains(&one), "{one}");
        for _ in 1..100_000 {
            arena.push();
        }
        let full = arena.bytes();
        let used = 100_000 * ROW_BYTES as u64;
        let waste_max = (CHUNK_BYTES_MAX + 64 * 1024) as u64;
        assert!(full >= used && full < used + waste_max, "{full}");
        arena.truncate(99_000);
        assert!(arena.bytes() < full - 3 * (CHUNK_BYTES_MAX as u64) / 4 * 2);
        arena.truncate(0);
        assert!(arena.bytes() - one < 64 * 1024, "one chunk is kept, and the list of chunks");
    }
}
