//! This server as HTTP/1.1 shows it: the routes, and the way into WebSocket.

use std::cell::Cell;
use std::future::Future;

use bytes::Bytes;
use http::{Request, Response, StatusCode};

use crate::core::Core;
use crate::failure::Failure;
use crate::limits::WEBSOCKET_BYTES;
use crate::loans::Loan;
use crate::wire::calendar::Moment;
use crate::wire::http::{failure_response, now, respond};
use crate::wire::http1::connection::{Answer, Connection, Site};
use crate::wire::transport::{ExecutorTimers, Transport};
use crate::wire::websocket::{Conversation, PATH, handshake};

/// Serves a connection that speaks HTTP/1.1, to its end.
pub async fn serve<S: Transport>(core: Core, transport: S) {
    let connection = Connection::new(transport, ExecutorTimers);
    let server = Server { core: core.clone(), room: Cell::default() };
    if let Some(switched) = connection.serve(&server).await {
        Conversation::new(core, ExecutorTimers, switched, server.room.take()).run().await;
    }
}

/// Tells a client that speaks HTTP/1.1 that there are too many connections.
pub async fn refuse<S: Transport>(core: &Core, transport: S) {
    let response = unavailable(&Failure::too_many_connections());
    Connection::new(transport, ExecutorTimers).refuse(&response, now(core)).await;
}

struct Server {
    core: Core,
    /// What was borrowed for a WebSocket that is about to begin.
    room: Cell<Loan>,
}

impl Site for Server {
    async fn answer(&self, request: Request<Bytes>) -> Answer {
        if request.uri().path() != PATH {
            return Answer::Response(respond(&self.core, request).await);
        }
        if self.core.is_stopping() {
            return Answer::Response(unavailable(&Failure::unavailable()));
        }
        match handshake(&request, &self.core.settings().origins) {
            Ok(response) => match Loan::take(WEBSOCKET_BYTES) {
                Some(room) => {
                    self.room.set(room);
                    Answer::Switch(response)
                }
                None => Answer::Response(unavailable(&Failure::out_of_memory())),
            },
            Err(response) => Answer::Response(*response),
        }
    }

    fn now(&self) -> Moment {
        now(&self.core)
    }

    fn body_bytes_max(&self) -> usize {
        self.core.settings().message_bytes_max
    }

    fn stopping(&self) -> impl Future<Output = ()> {
        self.core.stopping()
    }
}

fn unavailable(failure: &Failure) -> Response<Bytes> {
    failure_response(StatusCode::SERVICE_UNAVAILABLE, failure)
}
