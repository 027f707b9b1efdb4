//! gRPC on one HTTP/2 stream: headers, deadline, dispatch, status.
//!
//! ```text
//!  http2 ─► serve ─► method ─┬─► observe ──────► session
//!                            ├─► calls ────────► store, recall
//!                            ├─► recall ───────► store, recall, forget
//!                            ├─► events ───────► events
//!                            ├─► health
//!                            └─► reflection
//! ```
//! | file | responsibility |
//! |---|---|
//! | `framing` | messages out of bytes and into bytes; flow control |
//! | `status` | trailers |
//! | `method` | which methods there are |
//! | `observe` | ObserveStream, MemoryStream |
//! | `calls` | MemoryFlow, StreamingRemember, StreamingRecall |
//! | `recall` | RecallStream, Recall, Remember, Forget |
//! | `events` | Stream |
//! | `introspect` | Introspect |
//! | `health` | grpc.health.v1 |
//! | `reflection` | server reflection, v1 and v1alpha |

mod framing;
mod status;
mod method;
mod observe;
mod calls;
mod recall;
mod events;
mod introspect;
mod health;
mod reflection;

use std::future::{Future, poll_fn};
use std::time::Duration;

use bytes::Bytes;
use futures_lite::future::or;
use glommio::timer::Timer;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Method as HttpMethod, Request, Response, StatusCode};
use prost::Message;

use self::calls::{MemoryFlow, StreamingRecall, StreamingRemember};
use self::framing::{Deframer, Encoding, Requests, Responses};
use self::method::Method;
use crate::contain::contain;
use crate::core::Core;
use crate::failure::{Code, Failure};

const CONTENT_TYPE: &str = "application/grpc";

/// Whether a request is gRPC: by its content type or, where that is wrong, by its path.
pub(super) fn is_grpc<T>(request: &Request<T>) -> bool {
    content_type(request.headers()).starts_with(CONTENT_TYPE)
        || method::is_service_path(request.uri().path())
}

/// A call under way.
#[derive(Debug)]
struct Call {
    core: Core,
    requests: Requests,
    responses: Responses,
}

/// Serves one call.
pub(super) async fn serve(
    core: Core,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let (head, body) = request.into_parts();
    if let Err(status) = check_http(&head.method, &head.headers) {
        let mut response = Response::new(());
        *response.status_mut() = status;
        // It fails only where the client has gone.
        let _ = respond.send_response(response, true);
        return;
    }
    match admit(&head.headers, head.uri.path()) {
        Err(failure) => refuse(respond, &failure),
        Ok((method, encoding, deadline)) => {
            let Ok(stream) = respond.send_response(response(), false) else {
                return;
            };
            let deframer = Deframer::new(encoding, core.settings().message_bytes_max);
            let requests = Requests::new(body, deframer);
            let mut call = Call { core: core.clone(), requests, responses: Responses::new(stream) };
            let mut outcome = contained(&core, within(deadline, dispatch(method, &mut call))).await;
            if let Err(failure) = flush(&mut call.responses).await {
                outcome = outcome.and(Err(failure));
            }
            call.responses.finish(status::trailers(&outcome));
        }
    }
}

/// A panic ends its call with INTERNAL, and nothing else.
async fn contained(
    core: &Core,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    match contain(work).await {
        Ok(outcome) => outcome,
        Err(panic) => {
            core.metrics().panics += 1;
            tracing::error!(panic = panic.message, "a call panicked and was ended");
            Err(Failure::new(Code::Internal, "a fault of the server; it was logged"))
        }
    }
}

async fn dispatch(method: Method, call: &mut Call) -> Result<(), Failure> {
    match method {
        Method::ObserveStream => observe::serve(call, observe::Kind::Observe).await,
        Method::MemoryStream => observe::serve(call, observe::Kind::Memory).await,
        Method::MemoryFlow => calls::serve::<MemoryFlow>(call).await,
        Method::StreamingRemember => calls::serve::<StreamingRemember>(call).await,
        Method::StreamingRecall => calls::serve::<StreamingRecall>(call).await,
        Method::RecallStream => recall::recall_stream(call).await,
        Method::Recall => recall::recall(call).await,
        Method::Remember => recall::remember(call).await,
        Method::Forget => recall::forget(call).await,
        Method::Stream => events::serve(call).await,
        Method::Introspect => introspect::introspect(call).await,
        Method::HealthCheck => health::check(call).await,
        Method::HealthWatch => health::watch(call).await,
        Method::Reflection => reflection::serve(call).await,
    }
}

impl Call {
    /// The one request of a unary or server-streaming call.
    async fn request<M: Message + Default>(&mut self) -> Result<M, Failure> {
        let bytes = poll_fn(|cx| self.requests.poll_message(cx)).await?;
        let bytes =
            bytes.ok_or_else(|| Failure::new(Code::Internal, "the call has no request message"))?;
        let message = decode(bytes)?;
        match poll_fn(|cx| self.requests.poll_message(cx)).await? {
            None => Ok(message),
            Some(_) => {
                Err(Failure::new(Code::Internal, "the call has more than one request message"))
            }
        }
    }

    /// Waits for `work`, but not longer than the client does.
    async fn unless_gone<T>(
        &mut self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        or(work, async { Err(poll_fn(|cx| self.responses.poll_gone(cx)).await) }).await
    }

    /// Says `message`, waiting while the client reads slowly.
    async fn respond(&mut self, message: &impl Message) -> Result<(), Failure> {
        self.responses.push(message);
        if self.responses.is_full() { flush(&mut self.responses).await } else { Ok(()) }
    }
}

async fn flush(responses: &mut Responses) -> Result<(), Failure> {
    poll_fn(|cx| responses.poll_flush(cx)).await
}

fn decode<M: Message + Default>(bytes: Bytes) -> Result<M, Failure> {
    M::decode(bytes)
        .map_err(|error| Failure::new(Code::InvalidArgument, format!("not a message: {error}")))
}

async fn within(
    deadline: Option<Duration>,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let Some(deadline) = deadline else {
        return work.await;
    };
    or(work, async {
        Timer::new(deadline).await;
        Err(Failure::new(Code::DeadlineExceeded, "the deadline passed"))
    })
    .await
}

/// What HTTP itself answers.
fn check_http(method: &HttpMethod, headers: &HeaderMap) -> Result<(), StatusCode> {
    let subtype = content_type(headers).strip_prefix(CONTENT_TYPE);
    let known = subtype.is_some_and(|rest| {
        let rest = rest.strip_prefix("+proto").unwrap_or(rest);
        rest.is_empty() || rest.starts_with(';')
    });
    match (method, known) {
        (&HttpMethod::POST, true) => Ok(()),
        (&HttpMethod::POST, false) => Err(StatusCode::UNSUPPORTED_MEDIA_TYPE),
        _ => Err(StatusCode::METHOD_NOT_ALLOWED),
    }
}

fn content_type(headers: &HeaderMap) -> &str {
    headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// What gRPC answers before the call begins.
fn admit(headers: &HeaderMap, path: &str) -> Result<(Method, Encoding, Option<Duration>), Failure> {
    let method = method::of_path(path)?;
    let encoding = match headers.get("grpc-encoding").map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Encoding::Identity,
        Some(b"gzip") => Encoding::Gzip,
        Some(other) => {
            let other = String::from_utf8_lossy(other);
            return Err(Failure::new(
                Code::Unimplemented,
                format!("grpc-encoding {other} is not served"),
            ));
        }
    };
    let deadline = match headers.get("grpc-timeout") {
        None => None,
        Some(value) => {
            let malformed = || Failure::new(Code::Internal, "malformed grpc-timeout");
            Some(value.to_str().ok().and_then(timeout).ok_or_else(malformed)?)
        }
    };
    Ok((method, encoding, deadline))
}

/// At most eight digits and a unit.
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3_600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

fn response() -> Response<()> {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-accept-encoding", HeaderValue::from_static("identity,gzip"));
    response
}

/// A call that never began: its trailers are its headers.
pub(super) fn refuse(mut respond: SendResponse<Bytes>, failure: &Failure) {
    let mut response = response();
    response.headers_mut().extend(status::trailers(&Err(failure.clone())));
    // It fails only where the client has gone.
    let _ = respond.send_response(response, true);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read() {
        assert_eq!(timeout("2H"), Some(Duration::from_secs(7_200)));
        assert_eq!(timeout("99999999m"), Some(Duration::from_millis(99_999_999)));
        assert_eq!(timeout("5u"), Some(Duration::from_micros(5)));
        for bad in ["", "m", "5", "-5m", "123456789m", "5x", "+5m", "5µ"] {
            assert_eq!(timeout(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_posted_grpc_is_taken() {
        let headers = |content_type: &'static str| {
            HeaderMap::from_iter([(
                http::header::CONTENT_TYPE,
                HeaderValue::from_static(content_type),
            )])
        };
        for good in ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"]
        {
            assert_eq!(check_http(&HttpMethod::POST, &headers(good)), Ok(()), "{good}");
        }
        for bad in ["application/json", "application/grpc-web", "application/grpc+json", ""] {
            let expected = Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
            assert_eq!(check_http(&HttpMethod::POST, &headers(bad)), expected, "{bad}");
        }
        let expected = Err(StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(check_http(&HttpMethod::GET, &headers("application/grpc")), expected);
    }

    #[test]
    fn an_unknown_encoding_is_refused() {
        let headers = HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-encoding"),
            HeaderValue::from_static("zstd"),
        )]);
        let refusal = admit(&headers, "/engram.v1.EngramService/Recall").unwrap_err();
        assert_eq!(refusal.code, Code::Unimplemented);
    }
}
