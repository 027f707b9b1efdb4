//! What [`super::ring`] is built from, by the names and shapes that the model checker gives them:
//! its crate includes the very same `ring.rs` beside a `sync` of its own.

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

pub(crate) use crossbeam_utils::CachePadded;

/// A waker that one thread leaves and others call, by the model checker's names.
#[derive(Debug)]
pub(crate) struct AtomicWaker(atomic_waker::AtomicWaker);

impl AtomicWaker {
    pub(crate) fn new() -> AtomicWaker {
        AtomicWaker(atomic_waker::AtomicWaker::new())
    }

    pub(crate) fn register_by_ref(&self, waker: &std::task::Waker) {
        self.0.register(waker);
    }

    pub(crate) fn wake(&self) {
        self.0.wake();
    }

    pub(crate) fn take_waker(&self) -> Option<std::task::Waker> {
        self.0.take()
    }
}

/// `std`'s cell with the model checker's way in.
#[derive(Debug)]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    pub(crate) fn new(value: T) -> UnsafeCell<T> {
        UnsafeCell(std::cell::UnsafeCell::new(value))
    }

    #[inline(always)]
    pub(crate) fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
        read(self.0.get())
    }

    #[inline(always)]
    pub(crate) fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
        write(self.0.get())
    }
}
