//! Keeps a panic where it happened: in a connection, a stream or a shard, not in the core that runs
//! them.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A panic that was caught; what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panic {
    /// The panic's message.
    pub message: String,
}

/// Runs `work`. Whoever calls must not touch again, after a panic, what `work` may have left half
/// done.
pub fn contain_call<T>(work: impl FnOnce() -> T) -> Result<T, Panic> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| Panic { message: message_of(&*payload) })
}

/// Wraps a future so that a panic in it, or in dropping it, ends it with `Err`.
pub fn contain<F: Future>(future: F) -> Contained<F> {
    Contained { future: Some(Box::pin(future)) }
}

/// See [`contain`].
pub struct Contained<F> {
    future: Option<Pin<Box<F>>>,
}

impl<F> std::fmt::Debug for Contained<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Contained")
    }
}

impl<F: Future> Future for Contained<F> {
    type Output = Result<F::Output, Panic>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let future = self.future.as_mut().expect("a future is not polled after its end");
        let ended = match contain_call(|| future.as_mut().poll(cx)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(panic) => Err(panic),
        };
        let dropped = contain_call(|| self.future = None);
        Poll::Ready(dropped.and(ended))
    }
}

impl<F> Drop for Contained<F> {
    fn drop(&mut self) {
        // Dropped before its end (a task that is cancelled): there is no one left to be told of a
        // panic.
        let _ = contain_call(|| self.future = None);
    }
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (None, Some(text)) => text.clone(),
        (None, None) => "a panic without a message".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::block_on;

    struct PanicsWhenDropped;

    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("in the drop");
        }
    }

    #[test]
    fn a_future_ends_as_it_would_alone() {
        assert_eq!(block_on(contain(async { 7 })), Ok(7));
    }

    #[test]
    fn a_panic_ends_only_the_future() {
        let panics = contain(async { panic!("in step {}", 2) });
        assert_eq!(block_on(panics), Err::<(), _>(Panic { message: "in step 2".to_owned() }));
    }

    #[test]
    fn a_panic_in_a_drop_is_kept_too() {
        let guard = PanicsWhenDropped;
        let polled_and_dropped = contain(async move {
            let _guard = &guard;
            futures_lite::future::yield_now().await;
        });
        drop(polled_and_dropped);
        let guard = PanicsWhenDropped;
        let ended = block_on(contain(async move {
            let _guard = guard;
        }));
        assert_eq!(ended, Err(Panic { message: "in the drop".to_owned() }));
    }
}
