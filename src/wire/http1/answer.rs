//! An answer's bytes, and the JSON shape of every error over HTTP.

use std::io::Write as _;

use bytes::{BufMut, Bytes, BytesMut};
use http::{Method, Response, StatusCode};

use crate::failure::{Code, Failure};
use crate::wire::calendar::Moment;
use crate::wire::http::failure_response;
use crate::wire::http1::head::BadRequest;

/// What the connection does after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Afterwards {
    /// It takes the next request.
    KeepAlive,
    /// It closes.
    Close,
    /// It speaks another protocol.
    Switch,
}

/// Appends an answer as HTTP/1.1 has it. The answer to HEAD says how long the body would be and leaves it out.
pub(crate) fn write_answer(
    response: &Response<Bytes>,
    method: &Method,
    now: Moment,
    afterwards: Afterwards,
    out: &mut BytesMut,
) {
    let status = response.status();
    let reason = status.canonical_reason().unwrap_or_default();
    let body = response.body();
    let mut writer = out.writer();
    write!(writer, "HTTP/1.1 {} {reason}\r\n", status.as_u16()).expect("memory takes every byte");
    for (name, value) in response.headers() {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            writer.write_all(part).expect("memory takes every byte");
        }
    }
    write!(writer, "date: {}\r\n", now.to_http_date()).expect("memory takes every byte");
    if afterwards != Afterwards::Switch {
        write!(writer, "content-length: {}\r\n", body.len()).expect("memory takes every byte");
    }
    if afterwards == Afterwards::Close {
        writer.write_all(b"connection: close\r\n").expect("memory takes every byte");
    }
    writer.write_all(b"\r\n").expect("memory takes every byte");
    if method != Method::HEAD {
        out.extend_from_slice(body);
    }
}

/// The answer to a request that is none, or is too long.
pub(crate) fn refusal(bad: BadRequest) -> Response<Bytes> {
    let code = match bad.status {
        StatusCode::REQUEST_TIMEOUT => Code::DeadlineExceeded,
        StatusCode::NOT_IMPLEMENTED => Code::Unimplemented,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::URI_TOO_LONG
        | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Code::ResourceExhausted,
        _ => Code::InvalidArgument,
    };
    failure_response(bad.status, &Failure::new(code, bad.message))
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header};

    use super::*;

    fn written(method: &Method, afterwards: Afterwards) -> String {
        let mut response = Response::new(Bytes::from_static(b"four"));
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        let mut out = BytesMut::new();
        write_answer(&response, method, Moment { seconds: 0, nanos: 0 }, afterwards, &mut out);
        String::from_utf8(out.to_vec()).expect("text")
    }

    #[test]
    fn an_answer_has_its_length_and_date() {
        let expected = "HTTP/1.1 200 OK\r\nallow: GET, HEAD\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
                        content-length: 4\r\n\r\nfour";
        assert_eq!(written(&Method::GET, Afterwards::KeepAlive), expected);
    }

    #[test]
    fn the_answer_to_head_has_no_body() {
        assert!(written(&Method::HEAD, Afterwards::Close).ends_with("connection: close\r\n\r\n"));
        assert!(written(&Method::HEAD, Afterwards::Close).contains("content-length: 4\r\n"));
    }

    #[test]
    fn refusals_are_json() {
        let bad = BadRequest { status: StatusCode::PAYLOAD_TOO_LARGE, message: "long" };
        let response = refusal(bad);
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
        let json: serde_json::Value = serde_json::from_slice(response.body()).expect("JSON");
        assert_eq!(json["error"]["code"], "resource_exhausted");
        assert_eq!(json["error"]["message"], "long");
    }
}
