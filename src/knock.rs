//! Wakes an executor that parked although its tasks were ready to run.
//!
//! glommio's executor parks after a round in which no task ran. That also happens when its thread
//! was kept off the CPU for a time slice between two steps of its loop: then all its tasks are ready,
//! none of them (a timer's least of all) will set a timer again, and it sleeps until something
//! happens on a socket, perhaps for ever. Only another thread can wake it: by the waker of one of its
//! tasks, which is its main one here, as long as that lives; or, until that has run for the first time,
//! by a signal that interrupts its sleep.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once};
use std::task::{Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_lite::FutureExt;
use glommio::LocalExecutor;

/// Each knock holds a reference to the task that answers, and glommio counts those in 15 bits.
const UNANSWERED_MAX: u32 = 1_000;

/// Runs `future` on `executor`, here, and sees to it that it begins and goes on to its end.
///
/// # Errors
/// When no thread can be made.
pub fn run<F: Future>(
    executor: &LocalExecutor,
    period: Duration,
    future: F,
) -> io::Result<F::Output> {
    handle_interruptions();
    let start = Arc::<Start>::default();
    // SAFETY: it has no preconditions.
    let sleeper = unsafe { libc::pthread_self() };
    let interrupter = std::thread::Builder::new().name("knock".to_owned()).spawn({
        let start = Arc::clone(&start);
        move || start.interrupt_until_begun(sleeper, period)
    })?;
    let mut knocks = Knocks::start(period)?;
    let output = executor.run(async {
        let answering = async {
            loop {
                knocks.next().await;
            }
        };
        let mut lived = pin!(future.or(answering));
        poll_fn(|cx| {
            let polled = lived.as_mut().poll(cx);
            // Only now does a knock wake somebody.
            start.begin();
            polled
        })
        .await
    });
    interrupter.join().expect("nothing panics while it waits");
    Ok(output)
}

/// A signal that does nothing by itself, but ends a sleep in the kernel. Ignored signals do not.
const INTERRUPTION: libc::c_int = libc::SIGURG;

fn handle_interruptions() {
    static HANDLED: Once = Once::new();
    HANDLED.call_once(|| {
        // SAFETY: the handler does nothing, so it does nothing that a signal handler must not.
        let handled = unsafe { signal_hook::low_level::register(INTERRUPTION, || ()) };
        handled.expect("a handler for a signal that may be handled");
    });
}

/// Whether an executor's first task has run.
#[derive(Debug, Default)]
struct Start {
    begun: Mutex<bool>,
    beginning: Condvar,
}

impl Start {
    fn begin(&self) {
        *self.begun.lock().expect("nothing panics while it is locked") = true;
        self.beginning.notify_one();
    }

    /// The thread `sleeper` outlives this call: it waits for its end.
    fn interrupt_until_begun(&self, sleeper: libc::pthread_t, period: Duration) {
        let mut begun = self.begun.lock().expect("nothing panics while it is locked");
        while !*begun {
            let waited = self.beginning.wait_timeout(begun, period);
            begun = waited.expect("nothing panics while it is locked").0;
            if !*begun {
                // SAFETY: the thread is alive, as said above. A signal too many harms nobody, so an error does not.
                unsafe { libc::pthread_kill(sleeper, INTERRUPTION) };
            }
        }
    }
}

/// Knocks from a thread of its own at the executor whose task waits for them, until it is dropped.
#[derive(Debug)]
struct Knocks {
    door: Arc<Door>,
    knocker: Option<JoinHandle<()>>,
}

impl Knocks {
    /// Begins to knock every `period`.
    ///
    /// # Errors
    /// When no thread can be made.
    fn start(period: Duration) -> io::Result<Knocks> {
        let door = Arc::<Door>::default();
        let knocker = std::thread::Builder::new().name("knock".to_owned()).spawn({
            let door = Arc::clone(&door);
            move || door.knock_until_closed(period)
        })?;
        Ok(Knocks { door, knocker: Some(knocker) })
    }

    /// Waits for the next knock. To be awaited by one task.
    async fn next(&mut self) {
        poll_fn(|cx| {
            let mut state = self.door.lock();
            if state.unanswered > 0 {
                state.unanswered = 0;
                return Poll::Ready(());
            }
            if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                state.waker = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Knocks {
    fn drop(&mut self) {
        let waker = {
            let mut state = self.door.lock();
            state.closed = true;
            state.waker.take()
        };
        // Here, on its own thread, and not while the door is locked.
        drop(waker);
        self.door.closing.notify_one();
        if let Some(knocker) = self.knocker.take() {
            // A knocker that panicked has nothing left to clear up.
            let _ = knocker.join();
        }
    }
}

#[derive(Debug, Default)]
struct Door {
    state: Mutex<DoorState>,
    /// Given once the door is closed.
    closing: Condvar,
}

#[derive(Debug, Default)]
struct DoorState {
    waker: Option<Waker>,
    /// Knocks since the task last ran.
    unanswered: u32,
    closed: bool,
}

impl Door {
    fn lock(&self) -> MutexGuard<'_, DoorState> {
        self.state.lock().expect("nothing panics behind the door")
    }

    fn knock_until_closed(&self, period: Duration) {
        let mut state = self.lock();
        while !state.closed {
            let waited = self.closing.wait_timeout(state, period);
            state = waited.expect("nothing panics behind the door").0;
            let DoorState { waker, unanswered, closed } = &mut *state;
            // Again and again until it is answered: an executor that was woken may park anew.
            if let (Some(waker), false) = (waker, *closed || *unanswered >= UNANSWERED_MAX) {
                *unanswered += 1;
                waker.wake_by_ref();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executor_without_any_timer_is_woken_again_and_again() {
        let executor = glommio::LocalExecutorBuilder::default().io_memory(1 << 20);
        let executor = executor.make().expect("an executor can be made");
        let mut looks = 0;
        // Nothing else wakes it, from its first step to its last: a test that never ends has failed.
        let woken = poll_fn(|_| {
            looks += 1;
            if looks < 10 { Poll::Pending } else { Poll::Ready(looks) }
        });
        let lived = run(&executor, Duration::from_millis(1), woken).expect("threads can be made");
        assert_eq!(lived, 10);
    }

    #[test]
    fn a_sleep_before_the_first_task_is_interrupted() {
        handle_interruptions();
        let start = Start::default();
        // SAFETY: it has no preconditions.
        let sleeper = unsafe { libc::pthread_self() };
        std::thread::scope(|scope| {
            scope.spawn(|| start.interrupt_until_begun(sleeper, Duration::from_millis(1)));
            // For ever, unless a signal ends it: a test that never ends has failed.
            // SAFETY: no descriptors are given, so nothing is written.
            let ended = unsafe { libc::poll(std::ptr::null_mut(), 0, -1) };
            let why = io::Error::last_os_error();
            start.begin();
            assert_eq!((ended, why.kind()), (-1, io::ErrorKind::Interrupted));
        });
    }

    #[test]
    fn a_closed_door_ends_its_knocker_at_once() {
        // The drop waits for the knocker: a test that never ends has failed.
        drop(Knocks::start(Duration::MAX).expect("a thread can be made"));
    }
}
