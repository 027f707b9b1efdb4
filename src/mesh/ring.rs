//! A bounded ring between two cores, and the bell that wakes the one who sleeps.
//!
//! ```text
//!  one sender ── push … push, publish ──► slots ──► pop ── one receiver
//!                          │                          │
//!                          └─ ring the bell ─► wake ──┘   (only when it sleeps, once a batch)
//! ```
//!
//! Positions count up for ever and wrap with the machine word; a slot is `position & mask`. Each
//! side keeps what it last saw of the other's position and looks again only when that says full or
//! empty, so that the two cache lines cross over about once a batch.
//!
//! **Invariant:** a slot is touched by the sender alone while its position is in `tail..head +
//! slots`, by the receiver alone while it is in `head..tail` (published). **Invariant:** a receiver
//! that sleeps has raised `waiting` before its last look at the rings; a sender looks at `waiting`
//! after it published; a full fence between the two on either side means that at least one of them
//! sees the other.

use std::fmt;
use std::mem::MaybeUninit;
use std::task::Waker;

use super::sync::{
    Arc, AtomicBool, AtomicUsize, AtomicWaker, CachePadded, Ordering, UnsafeCell, fence,
};

/// What a receiver sleeps on; any number of senders may ring it.
pub struct Bell {
    waiting: CachePadded<AtomicBool>,
    waker: AtomicWaker,
}

impl Bell {
    /// A bell that no one waits for.
    #[allow(
        clippy::new_without_default,
        reason = "the model checker's types have no const or default constructors"
    )]
    pub fn new() -> Bell {
        Bell { waiting: CachePadded::new(AtomicBool::new(false)), waker: AtomicWaker::new() }
    }

    /// Wakes the receiver if it sleeps. To be called after something was published for it.
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        // The swap is paid only towards a sleeper, and by one of several senders only.
        if self.waiting.load(Ordering::Relaxed) && self.waiting.swap(false, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Announces that the receiver is about to sleep. It must look once more at all its rings
    /// afterwards, and sleep only if they are empty.
    pub fn arm(&self, waker: &Waker) {
        self.waker.register_by_ref(waker);
        self.waiting.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// The receiver does not sleep after all.
    pub fn disarm(&self) {
        self.waiting.store(false, Ordering::Relaxed);
    }

    /// The receiver has ended: no one is woken any more.
    pub fn silence(&self) {
        self.disarm();
        drop(self.waker.take_waker());
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bell")
    }
}

struct Shared<T> {
    /// Position of the next item to be taken; written by the receiver.
    head: CachePadded<AtomicUsize>,
    /// Position behind the last published item; written by the sender.
    tail: CachePadded<AtomicUsize>,
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

// SAFETY: items move from one thread to another (hence `T: Send`); no slot is ever reached by both
// at once, as the module's first invariant says.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn slot(&self, position: usize) -> &UnsafeCell<MaybeUninit<T>> {
        &self.slots[position & (self.slots.len() - 1)]
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let tail = self.tail.load(Ordering::Relaxed);
        let mut head = self.head.load(Ordering::Relaxed);
        while head != tail {
            // SAFETY: both sides are gone, and `head..tail` was written and not taken.
            self.slot(head).with_mut(|slot| unsafe { (*slot).assume_init_drop() });
            head = head.wrapping_add(1);
        }
    }
}

/// The one who pushes.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
    /// Position behind the last pushed item, published or not.
    tail: usize,
    published: usize,
    /// The receiver's position when it was last looked at; the true one is this or beyond.
    head_seen: usize,
}

/// The one who pops.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    head: usize,
    /// The sender's position when it was last looked at; the true one is this or beyond.
    tail_seen: usize,
}

/// A ring of `slots` (a power of two).
pub fn ring<T>(slots: usize) -> (Sender<T>, Receiver<T>) {
    assert!(slots.is_power_of_two(), "a slot is found by a mask");
    let shared = Arc::new(Shared {
        head: CachePadded::new(AtomicUsize::new(0)),
        tail: CachePadded::new(AtomicUsize::new(0)),
        slots: (0..slots).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect(),
    });
    let sender = Sender { shared: shared.clone(), tail: 0, published: 0, head_seen: 0 };
    (sender, Receiver { shared, head: 0, tail_seen: 0 })
}

impl<T> Sender<T> {
    /// Adds an item that the receiver sees once it is published; gives it back where the ring is
    /// full.
    pub fn push(&mut self, item: T) -> Result<(), T> {
        if self.is_full() {
            return Err(item);
        }
        // SAFETY: the position is not published and less than a round ahead of the receiver, so the
        // slot is empty and ours.
        self.shared.slot(self.tail).with_mut(|slot| unsafe { (*slot).write(item) });
        self.tail = self.tail.wrapping_add(1);
        Ok(())
    }

    /// Shows what was pushed to the receiver. The caller rings its bell.
    pub fn publish(&mut self) {
        self.shared.tail.store(self.tail, Ordering::Release);
        self.published = self.tail;
    }

    /// Items pushed and not yet published.
    pub fn unpublished(&self) -> usize {
        self.tail.wrapping_sub(self.published)
    }

    fn is_full(&mut self) -> bool {
        let slots = self.shared.slots.len();
        if self.tail.wrapping_sub(self.head_seen) < slots {
            return false;
        }
        self.head_seen = self.shared.head.load(Ordering::Acquire);
        self.tail.wrapping_sub(self.head_seen) == slots
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // What was pushed must be dropped by someone: hand it to the receiver or to the ring.
        self.publish();
    }
}

impl<T> Receiver<T> {
    /// Takes the oldest published item.
    pub fn pop(&mut self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        // SAFETY: the position is published, so the slot is written; it becomes the sender's with
        // the store below.
        let item = self.shared.slot(self.head).with(|slot| unsafe { (*slot).assume_init_read() });
        self.head = self.head.wrapping_add(1);
        self.shared.head.store(self.head, Ordering::Release);
        Some(item)
    }

    /// Whether nothing is published beyond what was taken.
    pub fn is_empty(&mut self) -> bool {
        if self.head != self.tail_seen {
            return false;
        }
        self.tail_seen = self.shared.tail.load(Ordering::Acquire);
        self.head == self.tail_seen
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sender at {}", self.tail)
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receiver at {}", self.head)
    }
}
