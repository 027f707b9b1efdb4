//! A figure of a server's metrics, looked at again and again while something else goes on.

use std::io::{Error, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use crate::process::get;

/// What one look found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look<T> {
    pub(crate) at: Duration,
    pub(crate) found: T,
}

/// Looks until it is finished.
pub(crate) struct Watch<T> {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Look<T>>>>,
}

impl<T: Send + 'static> Watch<T> {
    /// Begins to `read` the metrics, `between` two looks; times count from `start`.
    pub(crate) fn start(
        address: SocketAddr,
        start: Instant,
        between: Duration,
        read: impl Fn(&str) -> T + Send + 'static,
    ) -> Watch<T> {
        let is_over = Arc::<AtomicBool>::default();
        let ends = is_over.clone();
        let thread = std::thread::spawn(move || {
            let mut looks = Vec::new();
            loop {
                // The last look comes after the end.
                let is_last = ends.load(Ordering::Relaxed);
                let metrics = get(address, "/metrics")?;
                looks.push(Look { at: start.elapsed(), found: read(&metrics) });
                if is_last {
                    return Ok(looks);
                }
                sleep(between);
            }
        });
        Watch { is_over, thread }
    }

    /// What it saw, in order.
    pub(crate) fn finish(self) -> Result<Vec<Look<T>>> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| Error::other("nobody looked"))?
    }
}
