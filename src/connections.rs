//! The connections of one core: accepted, served each in its own task, counted, refused where there are too many, and
//! cut where they outstay the drain.

use std::cell::Cell;
use std::net::TcpListener;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::rc::Rc;

use futures_lite::FutureExt;
use glommio::net::TcpStream;
use glommio::timer::Timer;

use crate::contain::contain;
use crate::core::Core;
use crate::limits::{ACCEPT_REST, REFUSALS_MAX};
use crate::notice::Notice;
use crate::wire::accept::{refuse_connection, serve_connection};

/// The connections of one core.
#[derive(Clone, Debug)]
pub struct Connections {
    core: Core,
    /// The most that may be served.
    served_max: u64,
    open: Rc<Open>,
    /// Given once there is none and there will be none.
    gone: Notice,
    /// Ends those that are left.
    cut: Notice,
}

/// How many there are.
#[derive(Debug, Default)]
struct Open {
    served: Cell<u64>,
    refused: Cell<u64>,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lot {
    /// It is served.
    Served,
    /// It is told that there are too many, and closed.
    Refused,
}

impl Connections {
    /// None yet.
    pub fn new(core: Core) -> Connections {
        let cores = u64::from(core.mesh().cores());
        Connections {
            served_max: u64::from(core.settings().connections_max).div_ceil(cores),
            core,
            open: Rc::default(),
            gone: Notice::default(),
            cut: Notice::default(),
        }
    }

    /// Accepts until the server stops.
    pub async fn accept(self, socket: TcpListener) {
        // SAFETY: the descriptor is a listening socket and given away here.
        let listener = unsafe { glommio::net::TcpListener::from_raw_fd(socket.into_raw_fd()) };
        loop {
            let accepted = async { Some(listener.accept().await) };
            let stopping = async {
                self.core.stopping().await;
                None
            };
            match stopping.or(accepted).await {
                None => return,
                Some(Ok(stream)) => self.take(stream),
                Some(Err(error)) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    Timer::new(ACCEPT_REST).await;
                }
            }
        }
    }

    /// Serves a connection, or refuses it, in a task of its own; a panic ends it alone. Where too many are being refused,
    /// it is closed at once.
    fn take(&self, stream: TcpStream) {
        let Some(counted) = self.count_in() else {
            return;
        };
        let (core, cut) = (self.core.clone(), self.cut.clone());
        let connection = glommio::spawn_local(async move {
            let work = async {
                match counted.lot {
                    Lot::Served => serve_connection(core.clone(), stream).await,
                    Lot::Refused => refuse_connection(core.clone(), stream).await,
                }
            };
            let serving = contain(work).or(async {
                cut.wait().await;
                Ok(())
            });
            if let Err(panic) = serving.await {
                tracing::error!(message = panic.message, "a connection panicked and was closed");
                core.metrics().panics += 1;
            }
            drop(counted);
        });
        connection.detach();
    }

    /// Counts one more; none where there is not even room to refuse it.
    fn count_in(&self) -> Option<Counted> {
        let Open { served, refused } = &*self.open;
        let mut metrics = self.core.metrics();
        let lot = if served.get() < self.served_max { Lot::Served } else { Lot::Refused };
        match lot {
            Lot::Served => {
                served.set(served.get() + 1);
                metrics.connections += 1;
                metrics.connections_accepted += 1;
            }
            Lot::Refused => {
                metrics.connections_refused += 1;
                if refused.get() == REFUSALS_MAX as u64 {
                    return None;
                }
                refused.set(refused.get() + 1);
            }
        }
        drop(metrics);
        Some(Counted { connections: self.clone(), lot })
    }

    /// How many are open.
    pub fn count(&self) -> u64 {
        self.open.served.get() + self.open.refused.get()
    }

    /// Ends once there is none; to be awaited once no more are accepted.
    pub async fn gone(&self) {
        if self.count() > 0 {
            self.gone.wait().await;
        }
    }

    /// Ends those that are left.
    pub async fn cut(&self) {
        self.cut.give();
        self.gone().await;
    }
}

/// One connection, as long as it is open.
struct Counted {
    connections: Connections,
    lot: Lot,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Connections { core, open, gone, .. } = &self.connections;
        match self.lot {
            Lot::Served => {
                open.served.set(open.served.get() - 1);
                core.metrics().connections -= 1;
            }
            Lot::Refused => open.refused.set(open.refused.get() - 1),
        }
        if self.connections.count() == 0 && core.is_stopping() {
            gone.give();
        }
    }
}
