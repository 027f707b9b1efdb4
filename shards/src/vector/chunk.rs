//! The memory of one chunk of an arena.

use std::alloc::Layout;
use std::ptr::NonNull;

use super::slab::Piece;

/// From this size on a chunk is cut from huge pages; below it, the allocator's memory is denser.
const PIECE_BYTES_MIN: usize = 16 << 10;

/// Room for items, whose values are for the owner to write before it reads them.
#[derive(Debug)]
pub(super) struct Chunk<T> {
    base: NonNull<T>,
    items: usize,
    /// Nothing if the memory is the allocator's.
    piece: Option<Piece>,
}

// SAFETY: a chunk owns its memory alone, as a box does.
unsafe impl<T: Send> Send for Chunk<T> {}
// SAFETY: a shared chunk gives no more than an address.
unsafe impl<T: Sync> Sync for Chunk<T> {}

impl<T: Copy> Chunk<T> {
    /// Room for `items`, of which there is at least one.
    pub(super) fn new(items: usize) -> Chunk<T> {
        assert!(items > 0, "a chunk holds an item");
        let layout = layout::<T>(items);
        let piece = if layout.size() < PIECE_BYTES_MIN { None } else { Piece::cut(layout.size()) };
        let base = match &piece {
            Some(piece) => piece.base(),
            // SAFETY: the layout is not empty.
            None => NonNull::new(unsafe { std::alloc::alloc(layout) })
                .unwrap_or_else(|| std::alloc::handle_alloc_error(layout)),
        };
        Chunk { base: base.cast(), items, piece }
    }

    /// Where its first item lies.
    pub(super) fn base(&self) -> NonNull<T> {
        self.base
    }

    /// Bytes of RAM that it takes when all of it is used.
    pub(super) fn bytes(&self) -> usize {
        self.piece.as_ref().map_or(layout::<T>(self.items).size(), Piece::bytes)
    }
}

impl<T> Drop for Chunk<T> {
    fn drop(&mut self) {
        if self.piece.is_none() {
            let layout = layout::<T>(self.items);
            // SAFETY: allocated by `new` with this layout, and nobody else has it.
            unsafe { std::alloc::dealloc(self.base.as_ptr().cast(), layout) };
        }
    }
}

fn layout<T>(items: usize) -> Layout {
    // Pieces begin with a page.
    const { assert!(size_of::<T>() > 0 && align_of::<T>() <= 4096) };
    Layout::array::<T>(items).expect("a chunk is smaller than the address space")
}
