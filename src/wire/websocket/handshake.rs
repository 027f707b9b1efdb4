//! The way from HTTP/1.1 to WebSocket: who may, and how.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use tungstenite::error::{Error, ProtocolError};
use tungstenite::handshake::server::create_response_with_body;

use crate::failure::{Code, Failure};
use crate::wire::http::{failure_response, method_not_allowed, names};

/// Where WebSockets are opened.
pub(crate) const PATH: &str = "/v1/stream";

/// The answer that opens a WebSocket, or the one that says why not.
///
/// `origins` are those of other sites whose pages may open one, beside the server's own: a browser sends along whatever
/// a page of any site asks it to, so the page's origin is all that protects a server behind a firewall.
pub(crate) fn handshake(
    request: &Request<Bytes>,
    origins: &[String],
) -> Result<Response<Bytes>, Box<Response<Bytes>>> {
    if request.method() != Method::GET {
        return Err(Box::new(method_not_allowed("GET")));
    }
    if !names(request.headers(), header::UPGRADE, "websocket") {
        return Err(upgrade_required(header::UPGRADE, "websocket", "this path speaks WebSocket"));
    }
    if !may_open(request.headers(), origins) {
        let failure = Failure::new(Code::PermissionDenied, "this origin may not open a WebSocket");
        return Err(Box::new(failure_response(StatusCode::FORBIDDEN, &failure)));
    }
    create_response_with_body(request, Bytes::new).map_err(|error| match error {
        Error::Protocol(ProtocolError::MissingSecWebSocketVersionHeader) => {
            upgrade_required(header::SEC_WEBSOCKET_VERSION, "13", "WebSocket's version is 13")
        }
        other => {
            let failure = Failure::new(Code::InvalidArgument, other.to_string());
            Box::new(failure_response(StatusCode::BAD_REQUEST, &failure))
        }
    })
}

fn upgrade_required(
    name: header::HeaderName,
    value: &'static str,
    message: &str,
) -> Box<Response<Bytes>> {
    let failure = Failure::new(Code::FailedPrecondition, message);
    let mut response = failure_response(StatusCode::UPGRADE_REQUIRED, &failure);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    Box::new(response)
}

/// Programs send no origin; pages do, and theirs is the host that they speak to, or one that is listed.
fn may_open(headers: &HeaderMap, origins: &[String]) -> bool {
    let mut sent = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = sent.next() else {
        return true;
    };
    let (Ok(origin), None) = (origin.to_str(), sent.next()) else {
        return false;
    };
    if origins.iter().any(|listed| listed.eq_ignore_ascii_case(origin)) {
        return true;
    }
    let Ok(page) = origin.parse::<Uri>() else {
        return false;
    };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    match (page.authority(), host) {
        (Some(page), Some(host)) => page.as_str().eq_ignore_ascii_case(host),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(change: impl FnOnce(&mut Request<Bytes>)) -> Request<Bytes> {
        let mut request = Request::get(PATH)
            .header("host", "127.0.0.1:7432")
            .header("connection", "keep-alive, Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .body(Bytes::new())
            .expect("a request");
        change(&mut request);
        request
    }

    fn refused(change: impl FnOnce(&mut Request<Bytes>)) -> Response<Bytes> {
        *handshake(&request(change), &[]).expect_err("refused")
    }

    fn with_origin(origin: &'static str, origins: &[String]) -> bool {
        let origin = HeaderValue::from_static(origin);
        let request = request(|request| {
            request.headers_mut().insert(header::ORIGIN, origin);
        });
        handshake(&request, origins).is_ok()
    }

    #[test]
    fn the_answer_proves_that_the_key_was_read() {
        let response = handshake(&request(|_| ()), &[]).expect("opened");
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        // The example of RFC 6455, section 1.3.
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn only_pages_of_this_host_or_a_listed_one_may() {
        assert!(with_origin("http://127.0.0.1:7432", &[]));
        for stranger in ["http://evil.example", "http://127.0.0.1:80", "null", "", "127.0.0.1"] {
            assert!(!with_origin(stranger, &[]), "{stranger}");
        }
        assert!(with_origin("https://app.example", &[String::from("https://app.example")]));
        assert_eq!(
            refused(|request| {
                let evil = HeaderValue::from_static("http://evil.example");
                request.headers_mut().insert(header::ORIGIN, evil);
            })
            .status(),
            StatusCode::FORBIDDEN
        );
    }

    #[test]
    fn what_is_no_handshake_is_told_so() {
        let plain = refused(|request| drop(request.headers_mut().remove("upgrade")));
        assert_eq!(plain.status(), StatusCode::UPGRADE_REQUIRED);
        let old = refused(|request| {
            request.headers_mut().insert("sec-websocket-version", HeaderValue::from_static("8"));
        });
        assert_eq!(old.status(), StatusCode::UPGRADE_REQUIRED);
        assert_eq!(old.headers()["sec-websocket-version"], "13");
        let keyless = refused(|request| drop(request.headers_mut().remove("sec-websocket-key")));
        assert_eq!(keyless.status(), StatusCode::BAD_REQUEST);
        let post = refused(|request| *request.method_mut() = Method::POST);
        assert_eq!(post.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}
