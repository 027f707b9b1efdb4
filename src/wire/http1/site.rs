//! This server as HTTP/1.1 shows it: the routes, and the way into WebSocket.

use std::future::Future;

use bytes::Bytes;
use http::{Request, Response, StatusCode};

use crate::core::Core;
use crate::failure::Failure;
use crate::wire::calendar::Moment;
use crate::wire::http::{failure_response, now, respond};
use crate::wire::http1::connection::{Answer, Connection, Site};
use crate::wire::transport::{ExecutorTimers, Transport};
use crate::wire::websocket::{Conversation, PATH, handshake};

/// Serves a connection that speaks HTTP/1.1, to its end.
pub async fn serve<S: Transport>(core: Core, transport: S) {
    let connection = Connection::new(transport, ExecutorTimers);
    if let Some(switched) = connection.serve(&Server { core: core.clone() }).await {
        Conversation::new(core, ExecutorTimers, switched).run().await;
    }
}

struct Server {
    core: Core,
}

impl Site for Server {
    async fn answer(&self, request: Request<Bytes>) -> Answer {
        if request.uri().path() != PATH {
            return Answer::Response(respond(&self.core, request).await);
        }
        if self.core.is_stopping() {
            return Answer::Response(stopping());
        }
        match handshake(&request, &self.core.settings().origins) {
            Ok(response) => Answer::Switch(response),
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

fn stopping() -> Response<Bytes> {
    failure_response(StatusCode::SERVICE_UNAVAILABLE, &Failure::unavailable())
}
