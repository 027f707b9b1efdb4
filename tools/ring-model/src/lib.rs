//! All interleavings of the ring between cores, as loom finds them.
//!
//! The file under test is the server's own `ring.rs`, taken in by its path; only the `sync` beside
//! it differs.

/// The model checker's types under the names that the ring uses.
mod sync {
    use std::ops::Deref;

    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::future::AtomicWaker;
    pub(crate) use loom::sync::Arc;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

    /// Cache lines mean nothing to a model.
    pub(crate) struct CachePadded<T>(T);

    impl<T> CachePadded<T> {
        pub(crate) fn new(value: T) -> CachePadded<T> {
            CachePadded(value)
        }
    }

    impl<T> Deref for CachePadded<T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.0
        }
    }
}

#[path = "../../../src/mesh/ring.rs"]
pub mod ring;
