//! The head of a request: request line and headers, checked and bounded, and what they say about the body.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode, Uri, Version};

use crate::limits;
use crate::wire::http::names;

/// Why a request is answered with an error and its connection closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadRequest {
    /// The status of the answer.
    pub(crate) status: StatusCode,
    /// What a person reads.
    pub(crate) message: &'static str,
}

impl BadRequest {
    /// A request that is not HTTP.
    pub(crate) const fn syntax(message: &'static str) -> BadRequest {
        BadRequest { status: StatusCode::BAD_REQUEST, message }
    }
}

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyLength {
    /// As many bytes.
    Bytes(usize),
    /// Until the last chunk.
    Chunked,
}

/// A query that is too long for [`Uri`], which holds at most 64 KiB; then the URI is without it and this is among the
/// request's extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LongQuery(pub Bytes);

/// A request without its body.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) request: Request<()>,
    pub(crate) body: BodyLength,
    /// Whether the connection may be used again.
    pub(crate) keep_alive: bool,
    /// Whether the client waits to be told to go on before it sends the body.
    pub(crate) expects_continue: bool,
    /// How many bytes the head was.
    pub(crate) bytes: usize,
}

/// Looks for the end of a head without looking at any byte more often than a few times, however it trickles in.
#[derive(Debug, Default)]
pub(crate) struct HeadScanner {
    scanned: usize,
    request_line_ended: Option<usize>,
}

/// Up to this length an unfinished head is parsed at every read, so that garbage is answered at once.
const EARLY_PARSE_BYTES: usize = 1 << 10;

impl HeadScanner {
    /// Looks at all that came so far; `None` while the head goes on.
    pub(crate) fn scan(&mut self, bytes: &[u8]) -> Result<Option<Head>, BadRequest> {
        let ended = self.find_end(bytes);
        self.check_lengths(bytes.len().min(ended.unwrap_or(bytes.len())))?;
        if ended.is_some() || bytes.len() <= EARLY_PARSE_BYTES {
            return parse(bytes);
        }
        Ok(None)
    }

    fn find_end(&mut self, bytes: &[u8]) -> Option<usize> {
        for at in self.scanned..bytes.len() {
            if bytes[at] != b'\n' {
                continue;
            }
            self.request_line_ended.get_or_insert(at);
            if bytes[..at].ends_with(b"\n") || bytes[..at].ends_with(b"\n\r") {
                self.scanned = at;
                return Some(at + 1);
            }
        }
        self.scanned = bytes.len();
        None
    }

    fn check_lengths(&self, bytes: usize) -> Result<(), BadRequest> {
        let request_line = self.request_line_ended.unwrap_or(bytes);
        if request_line > limits::HTTP_REQUEST_LINE_BYTES_MAX {
            let message = "the request line is longer than 128 KiB";
            return Err(BadRequest { status: StatusCode::URI_TOO_LONG, message });
        }
        if bytes - request_line > limits::HTTP_HEADERS_BYTES_MAX {
            let message = "the headers are longer than 16 KiB";
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return Err(BadRequest { status, message });
        }
        Ok(())
    }
}

fn parse(bytes: &[u8]) -> Result<Option<Head>, BadRequest> {
    let mut headers = [httparse::EMPTY_HEADER; limits::HTTP_HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    let head_bytes = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(head_bytes)) => head_bytes,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return Err(BadRequest { status, message: "too many headers" });
        }
        Err(_) => return Err(BadRequest::syntax("not an HTTP/1.1 request")),
    };
    let request = to_request(&parsed)?;
    let newest = request.version() == Version::HTTP_11;
    if newest && request.headers().get_all(header::HOST).iter().count() != 1 {
        return Err(BadRequest::syntax("a request names exactly one host"));
    }
    Ok(Some(Head {
        body: body_length(request.headers())?,
        keep_alive: newest && !names(request.headers(), header::CONNECTION, "close"),
        expects_continue: newest && expects_continue(request.headers())?,
        bytes: head_bytes,
        request,
    }))
}

fn to_request(parsed: &httparse::Request<'_, '_>) -> Result<Request<()>, BadRequest> {
    let method = parsed.method.expect("a complete head has a method");
    let target = parsed.path.expect("a complete head has a target");
    let mut request = Request::new(());
    *request.version_mut() = match parsed.version.expect("a complete head has a version") {
        0 => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    *request.method_mut() = Method::from_bytes(method.as_bytes())
        .map_err(|_| BadRequest::syntax("the method is not one"))?;
    let target = match target.split_once('?') {
        Some((path, query)) if target.len() >= usize::from(u16::MAX) => {
            let query = Bytes::copy_from_slice(query.as_bytes());
            request.extensions_mut().insert(LongQuery(query));
            path
        }
        _ => target,
    };
    *request.uri_mut() = target
        .parse::<Uri>()
        .map_err(|_| BadRequest::syntax("the request's target is not a URI"))?;
    for header in &*parsed.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes())
            .map_err(|_| BadRequest::syntax("a header's name is not one"))?;
        let value = HeaderValue::from_bytes(header.value)
            .map_err(|_| BadRequest::syntax("a header's value is not one"))?;
        request.headers_mut().append(name, value);
    }
    Ok(request)
}

/// A body has one length that nobody can understand in two ways: else a proxy before us could be made to see other
/// requests than we do.
fn body_length(headers: &HeaderMap) -> Result<BodyLength, BadRequest> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let length = lengths.next();
    if lengths.any(|other| Some(other) != length) {
        return Err(BadRequest::syntax("two lengths of one body"));
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), length) {
        (None, None) => Ok(BodyLength::Bytes(0)),
        (None, Some(length)) => read_length(length).map(BodyLength::Bytes),
        (Some(_), Some(_)) => Err(BadRequest::syntax("a length beside a transfer encoding")),
        (Some(coding), None) => {
            if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
                let message = "chunked is the only transfer encoding";
                return Err(BadRequest { status: StatusCode::NOT_IMPLEMENTED, message });
            }
            Ok(BodyLength::Chunked)
        }
    }
}

fn read_length(length: &HeaderValue) -> Result<usize, BadRequest> {
    let digits = length.as_bytes();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(BadRequest::syntax("the body's length is not a number"));
    }
    // Digits beyond what a usize holds are a length too, only a very large one.
    let text = std::str::from_utf8(digits).expect("digits are ASCII");
    Ok(text.parse().unwrap_or(usize::MAX))
}

fn expects_continue(headers: &HeaderMap) -> Result<bool, BadRequest> {
    match headers.get(header::EXPECT) {
        None => Ok(false),
        Some(expected) if expected.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(true),
        Some(_) => {
            let message = "100-continue is all that may be expected";
            Err(BadRequest { status: StatusCode::EXPECTATION_FAILED, message })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str) -> Result<Option<Head>, BadRequest> {
        HeadScanner::default().scan(text.as_bytes())
    }

    fn refused(text: &str) -> StatusCode {
        scan(text).expect_err("a bad head").status
    }

    fn head(text: &str) -> Head {
        scan(text).expect("sound").expect("complete")
    }

    #[test]
    fn a_head_is_found_wherever_it_is_cut() {
        let text = "GET /health?x=1 HTTP/1.1\r\nHost: a\r\nX-Two: 1\r\nx-two: 2\r\n\r\nrest";
        let head_bytes = text.len() - "rest".len();
        let mut scanner = HeadScanner::default();
        for end in 0..head_bytes {
            assert!(scanner.scan(&text.as_bytes()[..end]).expect("sound").is_none(), "{end}");
        }
        let head = scanner.scan(text.as_bytes()).expect("sound").expect("complete");
        assert_eq!(head.bytes, head_bytes);
        assert_eq!(
            (head.request.uri().path(), head.request.uri().query()),
            ("/health", Some("x=1"))
        );
        assert_eq!(head.request.headers().get_all("x-two").iter().count(), 2);
        assert!(head.keep_alive && !head.expects_continue);
        assert_eq!(head.body, BodyLength::Bytes(0));
    }

    #[test]
    fn garbage_is_refused_before_a_line_ends() {
        assert_eq!(refused("\u{1}\u{2}\u{3}"), StatusCode::BAD_REQUEST);
        assert_eq!(refused("GET / SPDY"), StatusCode::BAD_REQUEST);
        assert_eq!(refused("GET / HTTP/1.1\r\nno colon\r\n"), StatusCode::BAD_REQUEST);
    }

    #[test]
    fn lengths_are_bounded_and_a_vector_fits_the_request_line() {
        let line = |bytes: usize| format!("GET /recall?v={} HTTP/1.1\r\n", "1".repeat(bytes));
        let fits = head(&(line(120 << 10) + "Host: a\r\n\r\n"));
        assert_eq!(fits.request.uri(), "/recall");
        let query = fits.request.extensions().get::<LongQuery>().expect("a long query");
        assert_eq!(query.0.len(), "v=".len() + (120 << 10));
        assert_eq!(refused(&line(128 << 10)), StatusCode::URI_TOO_LONG);
        assert_eq!(refused(&"x".repeat(129 << 10)), StatusCode::URI_TOO_LONG);
        let long_header = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "y".repeat(17 << 10));
        assert_eq!(refused(&long_header), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        let many = "GET / HTTP/1.1\r\nHost: a\r\n".to_owned() + &"A: b\r\n".repeat(101) + "\r\n";
        assert_eq!(refused(&many), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }

    #[test]
    fn a_body_has_one_length() {
        let body = |headers: &str| scan(&format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n"));
        let length = |headers| body(headers).expect("sound").expect("complete").body;
        let refused = |headers| body(headers).expect_err("bad").status;
        assert_eq!(length("Content-Length: 12\r\n"), BodyLength::Bytes(12));
        assert_eq!(length("Content-Length: 12\r\nContent-Length: 12\r\n"), BodyLength::Bytes(12));
        assert_eq!(length("Transfer-Encoding: Chunked\r\n"), BodyLength::Chunked);
        assert_eq!(
            length(&format!("Content-Length: {}\r\n", "9".repeat(30))),
            BodyLength::Bytes(usize::MAX)
        );
        assert_eq!(refused("Content-Length: 1\r\nContent-Length: 2\r\n"), StatusCode::BAD_REQUEST);
        assert_eq!(refused("Content-Length: +1\r\n"), StatusCode::BAD_REQUEST);
        assert_eq!(
            refused("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
            StatusCode::BAD_REQUEST
        );
        assert_eq!(refused("Transfer-Encoding: gzip, chunked\r\n"), StatusCode::NOT_IMPLEMENTED);
    }

    #[test]
    fn connection_and_expectation_are_understood() {
        assert!(!head("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n").keep_alive);
        assert!(!head("GET / HTTP/1.0\r\n\r\n").keep_alive);
        let expecting = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n\r\n";
        assert!(head(expecting).expects_continue);
        assert_eq!(refused(&expecting.replace("100-C", "200-c")), StatusCode::EXPECTATION_FAILED);
        assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), StatusCode::BAD_REQUEST);
        assert_eq!(
            refused("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
            StatusCode::BAD_REQUEST
        );
    }
}
