//! One HTTP/2 connection: its limits, its windows, and a task for each of its streams.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_lite::future::or;
use glommio::timer::Timer;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{Request, Response, StatusCode};

use super::stream::{Meter, Stream};
use super::{grpc, http as routes};
use crate::contain::contain;
use crate::core::Core;
use crate::failure::Failure;
use crate::limits::{
    HANDSHAKE_MAX, HTTP_LINGER_WAIT, HTTP2_CONCURRENT_STREAMS_MAX, HTTP2_CONNECTION_WINDOW_BYTES,
    HTTP2_FRAME_BYTES_MAX, HTTP2_HEADER_BYTES_MAX, HTTP2_IDLE_MAX, HTTP2_LOCAL_RESETS_MAX,
    HTTP2_PENDING_RESETS_MAX, HTTP2_STREAM_WINDOW_BYTES, HTTP2_TICK, HTTP2_WINDOW_BYTES_INITIAL,
    HTTP2_WINDOW_GROWTH_BYTES, HTTP2_WINDOW_SHARE, MESSAGE_BYTES_UNLENT, MESSAGE_COPIES,
    RESPONSE_BYTES_WAITING_MAX, STREAM_BYTES,
};
use crate::loans::{self, Loan};
use crate::metrics::Stage;

/// Serves the connection until it ends.
pub(super) async fn serve(core: Core, stream: Stream) {
    let meter = stream.meter();
    let handshake = async { builder().handshake::<_, Bytes>(stream).await.ok() };
    let timeout = async {
        Timer::new(HANDSHAKE_MAX).await;
        None
    };
    if let Some(connection) = or(handshake, timeout).await {
        run(&core, connection, meter).await;
    }
}

/// Tells a client that speaks HTTP/2 that there are too many connections: by its first call, which most repeat on
/// another connection, for this one is closed then.
pub(super) async fn refuse(stream: Stream) {
    let telling = async {
        let Ok(mut connection) = builder().handshake::<_, Bytes>(stream).await else { return };
        while let Some(Ok((request, respond))) = connection.accept().await {
            let failure = Failure::too_many_connections();
            if grpc::is_grpc(&request) {
                grpc::refuse(respond, &failure);
            } else {
                refuse_plain(respond, &failure);
            }
            connection.graceful_shutdown();
        }
    };
    let timeout = async {
        Timer::new(HTTP_LINGER_WAIT).await;
    };
    or(telling, timeout).await;
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(HTTP2_WINDOW_BYTES_INITIAL)
        .initial_connection_window_size(HTTP2_WINDOW_BYTES_INITIAL)
        .max_frame_size(HTTP2_FRAME_BYTES_MAX)
        .max_concurrent_streams(HTTP2_CONCURRENT_STREAMS_MAX)
        .max_header_list_size(HTTP2_HEADER_BYTES_MAX)
        .header_table_size(4_096)
        .max_pending_accept_reset_streams(HTTP2_PENDING_RESETS_MAX)
        .max_local_error_reset_streams(Some(HTTP2_LOCAL_RESETS_MAX))
        .max_send_buffer_size(RESPONSE_BYTES_WAITING_MAX);
    builder
}

/// What a connection is woken for.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, on the stack")]
enum Step {
    Request(Request<RecvStream>, SendResponse<Bytes>),
    /// So much has come that larger windows pay.
    Grow,
    Tick,
    Stop,
    End,
}

async fn run(core: &Core, mut connection: Connection<Stream, Bytes>, meter: Meter) {
    let mut windows = None;
    let mut patience = Patience::new();
    let mut stopping = pin!(core.stopping());
    let mut is_stopping = false;
    let mut tick = Timer::new(HTTP2_TICK);
    loop {
        let may_grow = windows.is_none();
        let step = poll_fn(|cx| {
            if !is_stopping && stopping.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Step::Stop);
            }
            let begun = Instant::now();
            let accepted = connection.poll_accept(cx);
            core.metrics().spend(Stage::Receive, begun);
            match accepted {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    return Poll::Ready(Step::Request(request, respond));
                }
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Step::End),
                Poll::Pending => {}
            }
            if may_grow && meter.bytes_read() >= HTTP2_WINDOW_GROWTH_BYTES {
                return Poll::Ready(Step::Grow);
            }
            Pin::new(&mut tick).poll(cx).map(|_| Step::Tick)
        })
        .await;
        match step {
            Step::Request(request, respond) => {
                patience.handle_request();
                glommio::spawn_local(serve_stream(core.clone(), request, respond)).detach();
            }
            Step::Grow => windows = Some(grow_windows(&mut connection)),
            Step::Tick => {
                tick = Timer::new(HTTP2_TICK);
                if patience.ends_at_tick(connection.has_streams()) {
                    connection.abrupt_shutdown(Reason::NO_ERROR);
                }
            }
            Step::Stop => {
                is_stopping = true;
                connection.graceful_shutdown();
            }
            Step::End => return,
        }
    }
}

/// How long a connection may do nothing: HTTP/2 itself knows no such bound.
#[derive(Debug)]
struct Patience {
    idle: Duration,
    allowed: Duration,
}

impl Patience {
    /// A connection without any request yet; it has as long as a handshake.
    fn new() -> Patience {
        Patience { idle: Duration::ZERO, allowed: HANDSHAKE_MAX }
    }

    fn handle_request(&mut self) {
        *self = Patience { idle: Duration::ZERO, allowed: HTTP2_IDLE_MAX };
    }

    /// Whether patience ends, another [`HTTP2_TICK`] later.
    fn ends_at_tick(&mut self, has_streams: bool) -> bool {
        self.idle = if has_streams { Duration::ZERO } else { self.idle + HTTP2_TICK };
        self.idle >= self.allowed
    }
}

/// Larger windows for a connection that uses them, and the memory that they stand for; none where others need it more.
fn grow_windows(connection: &mut Connection<Stream, Bytes>) -> Option<Loan> {
    let bytes = HTTP2_CONNECTION_WINDOW_BYTES as usize;
    if loans::lent() + bytes > loans::most() / HTTP2_WINDOW_SHARE {
        return None;
    }
    let loan = Loan::take(bytes)?;
    connection.set_target_window_size(HTTP2_CONNECTION_WINDOW_BYTES);
    // Refused only while the first settings are not acknowledged; such a peer keeps small streams.
    let _ = connection.set_initial_window_size(HTTP2_STREAM_WINDOW_BYTES);
    Some(loan)
}

async fn serve_stream(core: Core, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
    let Some(_room) = Loan::take(STREAM_BYTES) else {
        let failure = Failure::out_of_memory();
        return match grpc::is_grpc(&request) {
            true => grpc::refuse(respond, &failure),
            false => refuse_plain(respond, &failure),
        };
    };
    let metrics = core.clone();
    let work = async move {
        if grpc::is_grpc(&request) {
            grpc::serve(core, request, respond).await;
        } else {
            serve_plain(&core, request, respond).await;
        }
    };
    if let Err(panic) = contain(work).await {
        metrics.metrics().panics += 1;
        tracing::error!(panic = panic.message, "a stream panicked and was ended");
    }
}

/// A request that is not gRPC, and is answered without being read.
fn refuse_plain(mut respond: SendResponse<Bytes>, failure: &Failure) {
    let response = routes::failure_response(StatusCode::SERVICE_UNAVAILABLE, failure);
    let (head, body) = response.into_parts();
    // It fails only where the client has gone.
    if let Ok(mut stream) = respond.send_response(Response::from_parts(head, ()), false) {
        let _ = stream.send_data(body, true);
    }
}

/// A request that is not gRPC: the same routes as over HTTP/1.1.
async fn serve_plain(core: &Core, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let (head, body) = request.into_parts();
    let response = match read_all(body, core.settings().message_bytes_max).await {
        Body::Whole(body, _room) => routes::respond(core, Request::from_parts(head, body)).await,
        Body::TooLong => {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
            response
        }
        Body::Unlent => return refuse_plain(respond, &Failure::out_of_memory()),
        Body::Gone => return,
    };
    let (head, body) = response.into_parts();
    let sent = respond.send_response(Response::from_parts(head, ()), body.is_empty());
    let Ok(mut stream) = sent else { return };
    let mut rest = body;
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len());
        let Some(Ok(granted)) = poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return;
        };
        let piece = rest.split_to(granted.min(rest.len()));
        if stream.send_data(piece, rest.is_empty()).is_err() {
            return;
        }
    }
}

/// What came of reading a body.
enum Body {
    /// All of it, and the memory that it takes.
    Whole(Bytes, Loan),
    /// It is longer than may be.
    TooLong,
    /// Nobody has the memory for it now.
    Unlent,
    /// The client has gone.
    Gone,
}

/// The whole body, if it is no longer than `bytes_max`.
async fn read_all(mut body: RecvStream, bytes_max: usize) -> Body {
    let (mut whole, mut room) = (BytesMut::new(), Loan::default());
    while let Some(piece) = poll_fn(|cx| body.poll_data(cx)).await {
        let Ok(piece) = piece else { return Body::Gone };
        let bytes = whole.len() + piece.len();
        if bytes > bytes_max {
            return Body::TooLong;
        }
        if bytes > MESSAGE_BYTES_UNLENT && !room.grow(MESSAGE_COPIES * bytes) {
            return Body::Unlent;
        }
        if body.flow_control().release_capacity(piece.len()).is_err() {
            return Body::Gone;
        }
        whole.extend_from_slice(&piece);
    }
    Body::Whole(whole.freeze(), room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends_soon_without_a_request_and_late_without_streams() {
        let ticks_until_end = |patience: &mut Patience, has_streams| {
            (1..10_000).find(|_| patience.ends_at_tick(has_streams)).map(|ticks| HTTP2_TICK * ticks)
        };
        let mut patience = Patience::new();
        assert_eq!(ticks_until_end(&mut patience, false), Some(HANDSHAKE_MAX));
        patience.handle_request();
        assert_eq!(ticks_until_end(&mut patience, true), None);
        assert_eq!(ticks_until_end(&mut patience, false), Some(HTTP2_IDLE_MAX));
    }
}
