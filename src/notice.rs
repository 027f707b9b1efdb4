//! Something that happens once on a core, and those who wait for it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Given once; whoever waits, before or after, goes on. Clones are the same notice.
#[derive(Clone, Debug, Default)]
pub struct Notice {
    inner: Rc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    given: Cell<bool>,
    next_waiter: Cell<u64>,
    waiters: RefCell<BTreeMap<u64, Waker>>,
}

impl Notice {
    /// Lets all who wait go on.
    pub fn give(&self) {
        self.inner.given.set(true);
        let waiters = std::mem::take(&mut *self.inner.waiters.borrow_mut());
        waiters.into_values().for_each(Waker::wake);
    }

    /// Whether it was given.
    pub fn is_given(&self) -> bool {
        self.inner.given.get()
    }

    /// Ends once it is given.
    pub fn wait(&self) -> Waiting {
        Waiting { notice: self.clone(), waiter: None }
    }
}

/// See [`Notice::wait`].
#[derive(Debug)]
pub struct Waiting {
    notice: Notice,
    waiter: Option<u64>,
}

impl Future for Waiting {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.notice.is_given() {
            return Poll::Ready(());
        }
        let waiter = self.waiter.unwrap_or_else(|| {
            let waiter = self.notice.inner.next_waiter.get();
            self.notice.inner.next_waiter.set(waiter + 1);
            waiter
        });
        self.waiter = Some(waiter);
        // Wakers are cloned only for another task: a task's clones are limited in number.
        let replaced = {
            let mut waiters = self.notice.inner.waiters.borrow_mut();
            match waiters.get(&waiter) {
                Some(known) if known.will_wake(cx.waker()) => None,
                _ => waiters.insert(waiter, cx.waker().clone()),
            }
        };
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter {
            let removed = self.notice.inner.waiters.borrow_mut().remove(&waiter);
            drop(removed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_once};

    #[test]
    fn is_heard_before_and_after() {
        let notice = Notice::default();
        let mut waiting = notice.wait();
        assert_eq!(block_on(poll_once(&mut waiting)), None);
        notice.give();
        block_on(waiting);
        block_on(notice.wait());
        assert!(notice.is_given());
    }

    #[test]
    fn forgets_those_who_no_longer_wait() {
        let notice = Notice::default();
        let mut waiting = notice.wait();
        assert_eq!(block_on(poll_once(&mut waiting)), None);
        assert_eq!(notice.inner.waiters.borrow().len(), 1);
        drop(waiting);
        assert_eq!(notice.inner.waiters.borrow().len(), 0);
    }
}
