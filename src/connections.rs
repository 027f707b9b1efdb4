//! The connections of one core: accepted, served each in its own task, counted, and cut where they
//! outstay the drain.

use std::cell::Cell;
use std::net::TcpListener;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::rc::Rc;

use futures_lite::FutureExt;
use glommio::net::TcpStream;
use glommio::timer::Timer;

use crate::contain::contain;
use crate::core::Core;
use crate::limits::ACCEPT_REST;
use crate::notice::Notice;
use crate::wire::accept::serve_connection;

/// The connections of one core.
#[derive(Clone, Debug)]
pub struct Connections {
    core: Core,
    open: Rc<Cell<u64>>,
    /// Given once there is none and there will be none.
    gone: Notice,
    /// Ends those that are left.
    cut: Notice,
}

impl Connections {
    /// None yet.
    pub fn new(core: Core) -> Connections {
        Connections { core, open: Rc::default(), gone: Notice::default(), cut: Notice::default() }
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
                Some(Ok(stream)) => self.serve(stream),
                Some(Err(error)) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    Timer::new(ACCEPT_REST).await;
                }
            }
        }
    }

    /// Serves a connection in a task of its own; a panic ends it alone.
    fn serve(&self, stream: TcpStream) {
        let (core, cut) = (self.core.clone(), self.cut.clone());
        let counted = Counted::new(self.clone());
        let connection = glommio::spawn_local(async move {
            let serving = contain(serve_connection(core.clone(), stream)).or(async {
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

    /// How many are open.
    pub fn count(&self) -> u64 {
        self.open.get()
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
struct Counted(Connections);

impl Counted {
    fn new(connections: Connections) -> Counted {
        connections.open.set(connections.open.get() + 1);
        let mut metrics = connections.core.metrics();
        metrics.connections += 1;
        metrics.connections_accepted += 1;
        drop(metrics);
        Counted(connections)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let connections = &self.0;
        connections.open.set(connections.open.get() - 1);
        connections.core.metrics().connections -= 1;
        if connections.open.get() == 0 && connections.core.is_stopping() {
            connections.gone.give();
        }
    }
}
