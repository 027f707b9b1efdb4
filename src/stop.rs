//! SIGTERM and SIGINT: the first one stops the server in order, a second one at once.

use std::io;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_lite::AsyncReadExt;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

/// What a process that a second signal ended says; a shell shows the same for SIGINT.
const EXIT_CODE_AT_ONCE: i32 = 130;

/// Where the first signal arrives. Made before the executors; awaited on one of them.
#[derive(Debug)]
pub struct Signals {
    arrivals: UnixStream,
}

impl Signals {
    /// Takes over both signals of this process.
    pub fn take() -> io::Result<Signals> {
        let (arrivals, told) = UnixStream::pair()?;
        // A pipe that nobody reads must not block a signal handler.
        told.set_nonblocking(true)?;
        let already = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order: only a signal that finds the flag set by an earlier one ends the
            // process. It does so in its handler, whatever the executors do.
            flag::register_conditional_shutdown(signal, EXIT_CODE_AT_ONCE, already.clone())?;
            flag::register(signal, already.clone())?;
            low_level::pipe::register(signal, told.try_clone()?)?;
        }
        Ok(Signals { arrivals })
    }

    /// Ends when the first signal arrives. To be awaited on an executor.
    pub async fn first(self) {
        // SAFETY: the descriptor is an open socket and given away here.
        let mut arrivals =
            unsafe { glommio::net::UnixStream::from_raw_fd(self.arrivals.into_raw_fd()) };
        let mut byte = [0];
        if let Err(error) = arrivals.read_exact(&mut byte).await {
            tracing::error!(%error, "signals can no longer be read; stop the server with SIGKILL");
            std::future::pending().await
        }
    }
}
