//! Huge pages, cut into pieces for chunks.
//!
//! Each thread maps a slab, cuts pieces off it one behind the other, and maps the next when it is
//! used up. The kernel hands its pages out as they are touched, huge ones where it grants them. So
//! arrays that grow together share the page that they grow into: it is cleared once for all of
//! them, and but one is partly used. A piece that is dropped gives its memory back to the kernel; its
//! addresses come back with the last piece of the slab. Whoever knows what will be needed may have
//! pages handed out ahead, also on another thread than the one that will use them.
//!
//! This is a matter of memory alone: no input or output, and nothing that a caller could tell from
//! an allocator.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

/// Address space of a slab. Large, so that what does not fit its end is little, and so that mappings
/// are few: a process may hold some 65,000.
pub const SLAB_BYTES: usize = 64 << 20;
/// So much is to be handed out ahead of what is cut: two huge pages, thousands of rows.
const AHEAD_BYTES: usize = 4 << 20;

/// Memory that the kernel has handed out ahead of its use.
#[derive(Debug)]
pub struct Reserve(pages::Mapping);

impl Reserve {
    /// At least so many bytes; none where the kernel has not so much. On a virtual machine a page's
    /// first use can take ten times as long as clearing it, while its host looks for memory.
    pub fn new(bytes: usize) -> Option<Reserve> {
        let slab = pages::Mapping::new(bytes.max(1))?;
        slab.touch(0..slab.bytes()).then_some(Reserve(slab))
    }

    /// This thread's arrays grow into it, once the slabs that it has are used up.
    pub fn adopt(self) {
        let touched = self.0.bytes();
        SPARE.with_borrow_mut(|spare| spare.push(Open::new(self.0, touched)));
    }
}

/// Memory that a thread's arrays will grow into next.
#[derive(Debug)]
pub struct Ahead {
    slab: Arc<pages::Mapping>,
    pages: Range<usize>,
}

impl Ahead {
    /// What this thread will need and nobody was told of yet. None as long as there is enough, or before it has a slab.
    pub fn of_this_thread() -> Option<Ahead> {
        let mut open = OPEN.take()?;
        let ahead = match open.slab.bytes() - open.cut {
            ..AHEAD_BYTES => open.ahead().or_else(|| {
                SPARE.with_borrow_mut(|spare| {
                    if spare.is_empty() {
                        spare.push(Open::new(pages::Mapping::new(SLAB_BYTES)?, 0));
                    }
                    spare[0].ahead()
                })
            }),
            _ => open.ahead(),
        };
        OPEN.set(Some(open));
        ahead
    }

    /// Has the kernel hand it out, on any thread. What is used of it by now stays as it is.
    pub fn touch(self) {
        // Where the kernel has none, whoever comes to a page asks for it once more.
        let _ = self.slab.touch(self.pages);
    }
}

/// Memory that belongs to its holder alone; it begins and ends with a page.
#[derive(Debug)]
pub(super) struct Piece {
    base: NonNull<u8>,
    bytes: usize,
    slab: Arc<pages::Mapping>,
}

// SAFETY: a piece owns its memory alone, as a box does; the mapping is only ever unmapped.
unsafe impl Send for Piece {}
// SAFETY: a shared piece gives no more than an address.
unsafe impl Sync for Piece {}

/// A slab that a thread cuts from.
#[derive(Debug)]
struct Open {
    slab: Arc<pages::Mapping>,
    /// How much of it is cut off.
    cut: usize,
    /// How much of it was handed out ahead, or will be: whole huge pages.
    touched: usize,
}

thread_local! {
    static OPEN: Cell<Option<Open>> = const { Cell::new(None) };
    /// Slabs to be opened next.
    static SPARE: RefCell<Vec<Open>> = const { RefCell::new(Vec::new()) };
}

impl Open {
    fn new(slab: pages::Mapping, touched: usize) -> Open {
        Open { slab: Arc::new(slab), cut: 0, touched }
    }

    /// A slab with room for `bytes`: one that is there already, or a new one.
    fn with_room(bytes: usize) -> Option<Open> {
        let spare = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            let fits = spare.iter().position(|open| open.slab.bytes() >= bytes)?;
            Some(spare.remove(fits))
        });
        match spare.ok().flatten() {
            Some(open) => Some(open),
            None => Some(Open::new(pages::Mapping::new(bytes.max(SLAB_BYTES))?, 0)),
        }
    }

    /// What is to be handed out before it is cut.
    fn ahead(&mut self) -> Option<Ahead> {
        let needed = (self.cut + AHEAD_BYTES).next_multiple_of(pages::HUGE_PAGE_BYTES);
        let needed = needed.min(self.slab.bytes());
        let cut = self.cut - self.cut % pages::HUGE_PAGE_BYTES;
        let pages = self.touched.max(cut)..needed;
        if pages.is_empty() {
            return None;
        }
        self.touched = needed;
        Some(Ahead { slab: self.slab.clone(), pages })
    }
}

impl Piece {
    /// At least `bytes`; none where the kernel refuses, or maps nothing of the kind.
    pub(super) fn cut(bytes: usize) -> Option<Piece> {
        let bytes = bytes.checked_next_multiple_of(pages::page_bytes()?)?;
        OPEN.try_with(|cell| {
            let open = cell.take().filter(|open| open.slab.bytes() - open.cut >= bytes);
            let mut open = match open {
                Some(open) => open,
                None => Open::with_room(bytes)?,
            };
            // SAFETY: `cut + bytes` are at most what is mapped.
            let base = unsafe { open.slab.base().add(open.cut) };
            let piece = Piece { base, bytes, slab: open.slab.clone() };
            open.cut += bytes;
            cell.set(Some(open));
            Some(piece)
        })
        .ok()?
    }

    /// Where it begins.
    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Bytes of RAM that it takes when all of it is used.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        // SAFETY: the piece lies in this slab, in whole pages, and its holder is gone.
        unsafe { self.slab.discard(self.base, self.bytes) };
    }
}

#[cfg(all(target_os = "linux", not(miri)))]
mod pages {
    use std::ops::Range;
    use std::ptr::{NonNull, null_mut};

    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

    /// What the kernel hands out at once where it grants huge pages.
    pub(super) const HUGE_PAGE_BYTES: usize = 2 << 20;

    /// Pages of the kernel's, which end with this.
    #[derive(Debug)]
    pub(super) struct Mapping {
        base: NonNull<u8>,
        bytes: usize,
    }

    // SAFETY: a mapping is an address and a length; whoever cuts it sees to who writes where.
    unsafe impl Send for Mapping {}
    // SAFETY: as above.
    unsafe impl Sync for Mapping {}

    pub(super) fn page_bytes() -> Option<usize> {
        Some(rustix::param::page_size())
    }

    impl Mapping {
        /// At least `bytes`, from the beginning of a huge page; none if the kernel refuses.
        pub(super) fn new(bytes: usize) -> Option<Mapping> {
            let bytes = bytes.checked_next_multiple_of(HUGE_PAGE_BYTES)?;
            let wide = bytes + HUGE_PAGE_BYTES;
            let (protection, flags) =
                (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
            // SAFETY: the kernel chooses where, so nothing that exists is mapped over.
            let mapped = unsafe { mmap_anonymous(null_mut(), wide, protection, flags) }.ok()?;
            let mapped = NonNull::new(mapped.cast::<u8>())?;
            let before =
                mapped.addr().get().next_multiple_of(HUGE_PAGE_BYTES) - mapped.addr().get();
            // SAFETY: `before`, `bytes` and the rest are what was mapped, and whole pages each.
            unsafe {
                let base = mapped.add(before);
                unmap(mapped, before);
                unmap(base.add(bytes), wide - before - bytes);
                // All works without huge pages as well, only slower.
                let _ = madvise(base.as_ptr().cast(), bytes, Advice::LinuxHugepage);
                Some(Mapping { base, bytes })
            }
        }

        pub(super) fn base(&self) -> NonNull<u8> {
            self.base
        }

        pub(super) fn bytes(&self) -> usize {
            self.bytes
        }

        /// Has the kernel find memory for these huge pages; tells whether it did. Page by page: meanwhile
        /// no other thread can map or unmap anything.
        pub(super) fn touch(&self, pages: Range<usize>) -> bool {
            assert!(pages.end <= self.bytes, "pages of another mapping");
            pages.step_by(HUGE_PAGE_BYTES).all(|at| {
                // SAFETY: all of it is mapped, in whole huge pages. What they hold stays as it is.
                let populated = unsafe {
                    let page = self.base.add(at).as_ptr();
                    madvise(page.cast(), HUGE_PAGE_BYTES, Advice::LinuxPopulateWrite)
                };
                populated.is_ok()
            })
        }

        /// # Safety
        /// The `bytes` from `base` on are whole pages of this mapping, and nobody's.
        pub(super) unsafe fn discard(&self, base: NonNull<u8>, bytes: usize) {
            // SAFETY: the caller's promise. If the kernel refuses, the memory stays until the
            // mapping goes.
            let _ = unsafe { madvise(base.as_ptr().cast(), bytes, Advice::LinuxDontNeed) };
        }
    }

    impl Drop for Mapping {
        fn drop(&mut self) {
            // SAFETY: all of it was mapped by `new`, and whoever held a part of it is gone.
            unsafe { unmap(self.base, self.bytes) };
        }
    }

    /// # Safety
    /// The `bytes` from `base` on are mapped, whole pages, and nobody's.
    unsafe fn unmap(base: NonNull<u8>, bytes: usize) {
        if bytes > 0 {
            // SAFETY: the caller's promise.
            let unmapped = unsafe { munmap(base.as_ptr().cast(), bytes) };
            unmapped.expect("what is mapped can be unmapped");
        }
    }
}

/// Elsewhere nothing is mapped: the allocator serves all sizes.
#[cfg(not(all(target_os = "linux", not(miri))))]
mod pages {
    use std::ops::Range;
    use std::ptr::NonNull;

    pub(super) const HUGE_PAGE_BYTES: usize = 2 << 20;

    #[derive(Debug)]
    pub(super) enum Mapping {}

    pub(super) fn page_bytes() -> Option<usize> {
        None
    }

    impl Mapping {
        pub(super) fn new(_: usize) -> Option<Mapping> {
            None
        }

        pub(super) fn base(&self) -> NonNull<u8> {
            match *self {}
        }

        pub(super) fn bytes(&self) -> usize {
            match *self {}
        }

        pub(super) fn touch(&self, _: Range<usize>) -> bool {
            match *self {}
        }

        pub(super) unsafe fn discard(&self, _: NonNull<u8>, _: usize) {
            match *self {}
        }
    }
}

#[cfg(all(test, target_os = "linux", not(miri)))]
mod tests {
    use super::*;

    /// Writes a number into every page of a piece.
    fn fill(piece: &Piece, number: u8) {
        for at in (0..piece.bytes()).step_by(4096) {
            // SAFETY: within the piece, which is this test's alone.
            unsafe { piece.base().add(at).write(number) };
        }
    }

    fn holds(piece: &Piece, number: u8) -> bool {
        // SAFETY: within the piece, which is written nowhere else meanwhile; fresh pages are zero.
        (0..piece.bytes()).step_by(4096).all(|at| unsafe { piece.base().add(at).read() } == number)
    }

    #[test]
    fn pieces_lie_side_by_side_and_do_not_overlap() {
        // Three slabs' worth, and a piece that is larger than one.
        let pieces: Vec<Piece> = [3_000, 200 << 10, SLAB_BYTES / 2, 2 * SLAB_BYTES, 70_000]
            .into_iter()
            .cycle()
            .take(15)
            .map(|bytes| Piece::cut(bytes).expect("the kernel maps"))
            .collect();
        let page = pages::page_bytes().expect("Linux tells");
        assert!(pieces.iter().all(|piece| piece.base().addr().get().is_multiple_of(page)));
        assert_eq!(pieces[0].base().addr().get() + page, pieces[1].base().addr().get());
        for (number, piece) in (1..).zip(&pieces) {
            fill(piece, number);
        }
        assert!((1..).zip(&pieces).all(|(number, piece)| holds(piece, number)));
    }

    #[test]
    fn what_is_reserved_is_cut_next() {
        fn may_be_sent<T: Send>(sent: T) -> T {
            sent
        }
        let reserve = may_be_sent(Reserve::new(3 * SLAB_BYTES).expect("the kernel has so much"));
        let addresses = reserve.0.base().addr().get()..;
        let too_small = Reserve::new(1).expect("the kernel has so much");
        too_small.adopt();
        reserve.adopt();
        let pieces = [(); 3].map(|()| Piece::cut(SLAB_BYTES).expect("it is there"));
        let offset = |piece: &Piece| piece.base().addr().get() - addresses.start;
        assert_eq!(pieces.each_ref().map(offset), [0, SLAB_BYTES, 2 * SLAB_BYTES]);
        assert!(pieces.iter().all(|piece| holds(piece, 0)));
    }

    #[test]
    fn what_will_be_cut_next_is_told_once_and_ahead() {
        SPARE.with_borrow_mut(Vec::clear);
        let mut pieces = Vec::new();
        for number in 0..3 * SLAB_BYTES / (1 << 20) {
            let piece = Piece::cut(1 << 20).expect("mapped");
            fill(&piece, 1);
            while let Some(ahead) = Ahead::of_this_thread() {
                assert!(ahead.pages.len() <= AHEAD_BYTES + pages::HUGE_PAGE_BYTES, "all at once");
                ahead.touch();
            }
            let open = OPEN.take().expect("a piece was cut");
            let told = open.touched - open.cut;
            let told_of_next =
                SPARE.with_borrow(|spare| spare.first().map_or(0, |next| next.touched));
            assert!(told + told_of_next >= AHEAD_BYTES, "{told} and {told_of_next} at {number}");
            assert!(
                told + told_of_next <= 2 * AHEAD_BYTES,
                "{told} and {told_of_next} at {number}"
            );
            OPEN.set(Some(open));
            assert!(holds(&piece, 1), "what is in use stays");
            pieces.push(piece);
        }
    }

    #[test]
    fn a_piece_gives_its_memory_back_and_leaves_its_neighbours_theirs() {
        let [left, middle, right] = [(); 3].map(|()| Piece::cut(100 << 10).expect("mapped"));
        for (number, piece) in (1..).zip([&left, &middle, &right]) {
            fill(piece, number);
        }
        let (base, bytes) = (middle.base(), middle.bytes());
        drop(middle);
        assert!(holds(&left, 1) && holds(&right, 3));
        // SAFETY: the slab is mapped as long as a piece of it is left.
        let zero = |at: usize| unsafe { base.add(at).read() == 0 };
        assert!((0..bytes).step_by(4096).all(zero), "a page that was given back comes back zero");
        let slab = Arc::downgrade(&left.slab);
        drop((left, right));
        while Piece::cut(SLAB_BYTES / 4).expect("mapped").slab.base()
            == slab.upgrade().map_or(NonNull::dangling(), |slab| slab.base())
        {}
        assert!(slab.upgrade().is_none(), "a slab without pieces goes when the next one is opened");
    }
}
