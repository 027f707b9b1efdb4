//! The memory of one chunk of an arena.
//!
//! Small chunks come from the allocator. Large ones are mapped: the kernel hands their pages out as
//! they are touched, huge ones where it grants them, so no chunk is cleared as a whole, what is not
//! filled yet takes no memory, and what is dropped goes back at once. This is a matter of memory
//! alone: no input or output, and nothing that a caller can tell from the allocator's.

use std::alloc::Layout;
use std::ptr::NonNull;

/// What the kernel hands out at once where it grants huge pages. Chunks are mapped from this size
/// on: smaller mappings would be too many, for a process may hold only some 65,000.
pub(super) const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Room for items, whose values are for the owner to write before it reads them.
#[derive(Debug)]
pub(super) struct Chunk<T> {
    base: NonNull<T>,
    items: usize,
}

// SAFETY: a chunk owns its memory alone, as a box does.
unsafe impl<T: Send> Send for Chunk<T> {}
// SAFETY: a shared chunk gives no more than an address.
unsafe impl<T: Sync> Sync for Chunk<T> {}

impl<T: Copy> Chunk<T> {
    /// Room for `items`, of which there is at least one.
    pub(super) fn new(items: usize) -> Chunk<T> {
        let layout = layout::<T>(items);
        let base = if is_mapped(layout) {
            pages::map(layout.size())
        } else {
            // SAFETY: the layout is not empty.
            NonNull::new(unsafe { std::alloc::alloc(layout) })
        };
        let Some(base) = base else { std::alloc::handle_alloc_error(layout) };
        Chunk { base: base.cast(), items }
    }

    /// Where its first item lies.
    #[inline]
    pub(super) fn base(&self) -> NonNull<T> {
        self.base
    }

    /// Bytes of RAM it takes, of whose items the first `touched` were ever written. A huge page
    /// counts as a whole, for the kernel may have granted it.
    pub(super) fn bytes(&self, touched: usize) -> usize {
        let layout = layout::<T>(self.items);
        if is_mapped(layout) {
            (touched * size_of::<T>()).next_multiple_of(HUGE_PAGE_BYTES).min(layout.size())
        } else {
            layout.size()
        }
    }
}

impl<T> Drop for Chunk<T> {
    fn drop(&mut self) {
        let layout = layout::<T>(self.items);
        if is_mapped(layout) {
            // SAFETY: mapped by `new` with this size, and nobody else has it.
            unsafe { pages::unmap(self.base.cast(), layout.size()) };
        } else {
            // SAFETY: allocated by `new` with this layout, and nobody else has it.
            unsafe { std::alloc::dealloc(self.base.as_ptr().cast(), layout) };
        }
    }
}

fn layout<T>(items: usize) -> Layout {
    const { assert!(size_of::<T>() > 0 && align_of::<T>() <= HUGE_PAGE_BYTES) };
    assert!(items > 0, "a chunk holds an item");
    Layout::array::<T>(items).expect("a chunk is smaller than the address space")
}

fn is_mapped(layout: Layout) -> bool {
    pages::CAN_MAP && layout.size() >= HUGE_PAGE_BYTES
}

#[cfg(all(target_os = "linux", not(miri)))]
mod pages {
    use std::ptr::{NonNull, null_mut};

    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

    use super::HUGE_PAGE_BYTES;

    pub(super) const CAN_MAP: bool = true;
    /// The largest page that a kernel of ours may be built for, huge ones apart.
    const PAGE_BYTES_MAX: usize = 64 << 10;

    /// At least `bytes` that begin with a huge page, all zero; none if the kernel refuses.
    pub(super) fn map(bytes: usize) -> Option<NonNull<u8>> {
        let bytes = bytes.next_multiple_of(PAGE_BYTES_MAX);
        let base = aligned(bytes)?;
        // SAFETY: the range was mapped just now. Without huge pages all works as well, only slower.
        let _ = unsafe { madvise(base.as_ptr().cast(), bytes, Advice::LinuxHugepage) };
        Some(base)
    }

    /// Mappings lie side by side where they can, which the kernel counts as one.
    fn aligned(bytes: usize) -> Option<NonNull<u8>> {
        let exact = mapping(bytes)?;
        if exact.addr().get().is_multiple_of(HUGE_PAGE_BYTES) {
            return Some(exact);
        }
        // SAFETY: mapped just now, with this size.
        unsafe { trim(exact, bytes) };
        let wide = mapping(bytes + HUGE_PAGE_BYTES)?;
        let before = wide.addr().get().next_multiple_of(HUGE_PAGE_BYTES) - wide.addr().get();
        let after = HUGE_PAGE_BYTES - before;
        // SAFETY: `before + bytes + after` were mapped, so both ends lie in them; no others do.
        unsafe {
            let base = wide.add(before);
            trim(wide, before);
            trim(base.add(bytes), after);
            Some(base)
        }
    }

    fn mapping(bytes: usize) -> Option<NonNull<u8>> {
        let (protection, flags) =
            (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
        // SAFETY: the kernel chooses where, so nothing that exists is mapped over.
        let mapped = unsafe { mmap_anonymous(null_mut(), bytes, protection, flags) };
        NonNull::new(mapped.ok()?.cast())
    }

    /// # Safety
    /// The `bytes` from `base` on are what [`map`] gave, and nobody's.
    pub(super) unsafe fn unmap(base: NonNull<u8>, bytes: usize) {
        // SAFETY: `map` rounded the same way.
        unsafe { trim(base, bytes.next_multiple_of(PAGE_BYTES_MAX)) };
    }

    /// # Safety
    /// The `bytes` from `base` on are mapped, whole pages, and nobody's.
    unsafe fn trim(base: NonNull<u8>, bytes: usize) {
        if bytes > 0 {
            // SAFETY: the caller's promise.
            let unmapped = unsafe { munmap(base.as_ptr().cast(), bytes) };
            unmapped.expect("what is mapped can be unmapped");
        }
    }
}

/// Without a kernel that is known to map lazily, the allocator serves all sizes.
#[cfg(not(all(target_os = "linux", not(miri))))]
mod pages {
    use std::ptr::NonNull;

    pub(super) const CAN_MAP: bool = false;

    pub(super) fn map(_: usize) -> Option<NonNull<u8>> {
        unreachable!("nothing is mapped here")
    }

    pub(super) unsafe fn unmap(_: NonNull<u8>, _: usize) {
        unreachable!("nothing is mapped here")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_chunks_begin_with_a_huge_page_and_small_ones_are_what_they_hold() {
        for items in [1, 1_000, HUGE_PAGE_BYTES / 8, HUGE_PAGE_BYTES / 8 + 1, 1 << 20] {
            let chunks = [(); 3].map(|()| Chunk::<u64>::new(items));
            for chunk in &chunks {
                let base = chunk.base().as_ptr();
                for item in [0, items - 1] {
                    // SAFETY: both items lie in the chunk, which has no other reference.
                    unsafe { base.add(item).write(item as u64) };
                }
                // SAFETY: written just now.
                assert_eq!(unsafe { base.add(items - 1).read() }, items as u64 - 1);
                if pages::CAN_MAP && items * 8 >= HUGE_PAGE_BYTES {
                    assert!(base.addr().is_multiple_of(HUGE_PAGE_BYTES));
                    assert_eq!(chunk.bytes(0), 0);
                    assert_eq!(chunk.bytes(1), HUGE_PAGE_BYTES);
                }
                assert_eq!(chunk.bytes(items), items * 8);
            }
        }
    }
}
