//! One HTTP/1.1 connection: requests one after the other, each answered before the next is read.

use std::future::Future;
use std::io;

use bytes::{Buf, Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode};

use crate::limits;
use crate::loans::Loan;
use crate::wire::calendar::Moment;
use crate::wire::http1::answer::{Afterwards, refusal, write_answer};
use crate::wire::http1::body::BodyReader;
use crate::wire::http1::head::{BadRequest, Head, HeadScanner};
use crate::wire::transport::{Switched, Timers, Transport, read_into, shutdown, write_from};

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It is answered.
    Response(Response<Bytes>),
    /// It is answered, and then the connection speaks another protocol.
    Switch(Response<Bytes>),
}

/// What requests are answered with.
pub(crate) trait Site {
    /// The answer to a request.
    fn answer(&self, request: Request<Bytes>) -> impl Future<Output = Answer>;
    /// The time now.
    fn now(&self) -> Moment;
    /// Longest body, in bytes.
    fn body_bytes_max(&self) -> usize;
    /// Ends when no more requests are to be taken.
    fn stopping(&self) -> impl Future<Output = ()>;
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection<S, T> {
    transport: S,
    timers: T,
    input: BytesMut,
    output: BytesMut,
    /// What the body takes that comes, or came last.
    room: Loan,
}

/// Why a connection ends.
enum End {
    /// The client has gone, or nothing more is wanted of it.
    Silent,
    /// With an answer that says why.
    Refused(BadRequest),
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> End {
        End::Silent
    }
}

impl From<BadRequest> for End {
    fn from(bad: BadRequest) -> End {
        End::Refused(bad)
    }
}

impl<S: Transport, T: Timers> Connection<S, T> {
    /// A fresh connection.
    pub(crate) fn new(transport: S, timers: T) -> Connection<S, T> {
        Connection {
            transport,
            timers,
            input: BytesMut::new(),
            output: BytesMut::new(),
            room: Loan::default(),
        }
    }

    /// Answers requests until the connection ends or switches to another protocol.
    pub(crate) async fn serve(mut self, site: &impl Site) -> Option<Switched<S>> {
        loop {
            match self.exchange(site).await {
                Ok(Afterwards::KeepAlive) => {}
                Ok(Afterwards::Switch) => {
                    return Some(Switched { transport: self.transport, read: self.input });
                }
                Ok(Afterwards::Close) => break,
                Err(End::Silent) => return None,
                Err(End::Refused(bad)) => {
                    let response = refusal(bad);
                    let afterwards = Afterwards::Close;
                    write_answer(&response, &Method::GET, site.now(), afterwards, &mut self.output);
                    if self.send().await.is_err() {
                        return None;
                    }
                    break;
                }
            }
        }
        self.linger().await;
        None
    }

    /// Answers the request that has begun without reading it, and ends.
    pub(crate) async fn refuse(mut self, response: &Response<Bytes>, now: Moment) {
        write_answer(response, &Method::GET, now, Afterwards::Close, &mut self.output);
        if self.send().await.is_ok() {
            self.linger().await;
        }
    }

    async fn exchange(&mut self, site: &impl Site) -> Result<Afterwards, End> {
        self.await_request(site).await?;
        let head = self.read_head().await?;
        let body = self.read_body(&head, site.body_bytes_max()).await?;
        let method = head.request.method().clone();
        let answer = site.answer(head.request.map(|()| body)).await;
        let stopping = futures_lite::future::poll_once(site.stopping()).await.is_some();
        let (response, afterwards) = match answer {
            Answer::Switch(response) => (response, Afterwards::Switch),
            Answer::Response(response) if head.keep_alive && !stopping => {
                (response, Afterwards::KeepAlive)
            }
            Answer::Response(response) => (response, Afterwards::Close),
        };
        write_answer(&response, &method, site.now(), afterwards, &mut self.output);
        self.send().await?;
        self.room.shrink(0);
        Ok(afterwards)
    }

    /// Waits for the first byte of a request; empty lines before it do not count.
    async fn await_request(&mut self, site: &impl Site) -> Result<(), End> {
        loop {
            let empty =
                self.input.iter().take_while(|&&byte| matches!(byte, b'\r' | b'\n')).count();
            self.input.advance(empty);
            if !self.input.is_empty() {
                return Ok(());
            }
            let read = read_into(&mut self.transport, &mut self.input);
            let stopped = async {
                site.stopping().await;
                Ok(0)
            };
            let read = futures_lite::future::or(read, stopped);
            match self.timers.within(limits::HTTP_IDLE_WAIT, read).await {
                Some(Ok(1..)) => {}
                _ => return Err(End::Silent),
            }
        }
    }

    async fn read_head(&mut self) -> Result<Head, End> {
        let timers = self.timers.clone();
        let reading = async {
            let mut scanner = HeadScanner::default();
            loop {
                if let Some(head) = scanner.scan(&self.input)? {
                    self.input.advance(head.bytes);
                    return Ok(head);
                }
                self.read_more().await?;
            }
        };
        timers.within(limits::HTTP_HEAD_WAIT, reading).await.unwrap_or(Err(LATE))
    }

    async fn read_body(&mut self, head: &Head, bytes_max: usize) -> Result<Bytes, End> {
        let timers = self.timers.clone();
        let mut reader = BodyReader::new(head.body, bytes_max)?;
        let reading = async {
            let mut told = !head.expects_continue;
            loop {
                if let Some(body) = reader.advance(&mut self.input)? {
                    self.room = reader.into_room();
                    return Ok(body);
                }
                if !told && self.input.is_empty() {
                    self.output.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                    self.send().await?;
                    told = true;
                }
                self.read_more().await?;
            }
        };
        timers.within(limits::HTTP_BODY_WAIT, reading).await.unwrap_or(Err(LATE))
    }

    async fn read_more(&mut self) -> Result<(), End> {
        match read_into(&mut self.transport, &mut self.input).await? {
            0 => Err(End::Silent),
            _ => Ok(()),
        }
    }

    async fn send(&mut self) -> Result<(), End> {
        let writing = write_from(&mut self.transport, &mut self.output);
        let written = self.timers.within(limits::HTTP_WRITE_WAIT, writing).await;
        Ok(written.ok_or(End::Silent)??)
    }

    /// Reads on for a while after the last answer: closed with bytes unread, a connection is reset, and the client may
    /// never see the answer.
    async fn linger(mut self) {
        let timers = self.timers.clone();
        let draining = async {
            shutdown(&mut self.transport).await?;
            let mut drained = 0;
            while drained < limits::HTTP_LINGER_BYTES_MAX {
                self.input.clear();
                match read_into(&mut self.transport, &mut self.input).await? {
                    0 => break,
                    count => drained += count,
                }
            }
            io::Result::Ok(())
        };
        // Whether it worked makes no difference: the connection is dropped now.
        let _ = timers.within(limits::HTTP_LINGER_WAIT, draining).await;
    }
}

const LATE: End = End::Refused(BadRequest {
    status: StatusCode::REQUEST_TIMEOUT,
    message: "the request took too long to arrive",
});

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::time::Duration;

    use futures_lite::future::{block_on, poll_once};

    use super::*;
    use crate::wire::transport::fake::{AtOnceUpTo, End as FakeEnd, Never, duplex};

    /// Answers with what it was asked, and remembers that it was asked.
    #[derive(Default)]
    struct Echo {
        asked: RefCell<Vec<String>>,
        stopping: bool,
    }

    impl Site for Echo {
        async fn answer(&self, request: Request<Bytes>) -> Answer {
            let asked = format!("{} {} {:?}", request.method(), request.uri(), request.body());
            self.asked.borrow_mut().push(asked.clone());
            if request.uri().path() == "/switch" {
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                return Answer::Switch(response);
            }
            Answer::Response(Response::new(asked.into()))
        }

        fn now(&self) -> Moment {
            Moment { seconds: 0, nanos: 0 }
        }

        fn body_bytes_max(&self) -> usize {
            100
        }

        async fn stopping(&self) {
            if !self.stopping {
                std::future::pending::<()>().await;
            }
        }
    }

    async fn say(client: &mut FakeEnd, text: &str) {
        let mut bytes = BytesMut::from(text);
        write_from(client, &mut bytes).await.expect("memory does not fail");
    }

    async fn read_all(client: &mut FakeEnd) -> String {
        let mut all = BytesMut::new();
        while read_into(client, &mut all).await.expect("memory does not fail") > 0 {}
        String::from_utf8(all.to_vec()).expect("text")
    }

    /// What the server says to a client that says all of `text` at once and then ends.
    fn exchange(site: &Echo, timers: impl Timers, text: &str) -> String {
        block_on(async {
            let (mut client, server) = duplex();
            say(&mut client, text).await;
            shutdown(&mut client).await.expect("memory does not fail");
            Connection::new(server, timers).serve(site).await;
            read_all(&mut client).await
        })
    }

    fn statuses(said: &str) -> Vec<&str> {
        let answers = said.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]);
        answers.filter(|status| status.bytes().all(|byte| byte.is_ascii_digit())).collect()
    }

    #[test]
    fn pipelined_requests_are_answered_in_order() {
        let site = Echo::default();
        let text = "\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\nPOST /b HTTP/1.1\r\nHost: h\r\n\
                    Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nHEAD /c HTTP/1.1\r\nHost: h\r\n\
                    Connection: close\r\n\r\nGET /never HTTP/1.1\r\nHost: h\r\n\r\n";
        let said = exchange(&site, Never, text);
        assert_eq!(statuses(&said), ["200", "200", "200"]);
        assert_eq!(*site.asked.borrow(), ["GET /a b\"\"", "POST /b b\"hi\"", "HEAD /c b\"\""]);
        assert!(said.ends_with("connection: close\r\n\r\n"), "HEAD has no body: {said}");
    }

    #[test]
    fn garbage_is_answered_and_the_connection_closed() {
        let site = Echo::default();
        let said = exchange(&site, Never, "\u{16}\u{3}\u{1} tls?\r\n\r\nGET /a HTTP/1.1\r\n\r\n");
        assert_eq!(statuses(&said), ["400"]);
        assert!(said.contains("connection: close"));
        assert!(site.asked.borrow().is_empty());
    }

    #[test]
    fn a_body_that_is_too_long_is_refused_before_it_is_asked_for() {
        let site = Echo::default();
        let text =
            "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 101\r\n\r\n";
        assert_eq!(statuses(&exchange(&site, Never, text)), ["413"]);
    }

    #[test]
    fn a_client_that_waits_is_told_to_go_on() {
        let site = Echo::default();
        let said = block_on(async {
            let (mut client, server) = duplex();
            let head = "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\
                        Connection: close\r\n\r\n";
            say(&mut client, head).await;
            let mut serving = Box::pin(Connection::new(server, Never).serve(&site));
            assert!(poll_once(&mut serving).await.is_none());
            let mut interim = BytesMut::new();
            let told = poll_once(read_into(&mut client, &mut interim)).await;
            assert!(told.is_some(), "the client would wait for ever");
            assert_eq!(interim, "HTTP/1.1 100 Continue\r\n\r\n");
            say(&mut client, "ok").await;
            shutdown(&mut client).await.expect("memory does not fail");
            serving.await;
            read_all(&mut client).await
        });
        assert_eq!(statuses(&said), ["200"]);
        assert_eq!(*site.asked.borrow(), ["POST / b\"ok\""]);
    }

    #[test]
    fn a_head_that_trickles_in_is_given_up() {
        let site = Echo::default();
        let said = block_on(async {
            let (mut client, server) = duplex();
            say(&mut client, "GET / HT").await;
            let timers = AtOnceUpTo(limits::HTTP_HEAD_WAIT);
            Connection::new(server, timers).serve(&site).await;
            read_all(&mut client).await
        });
        assert_eq!(statuses(&said), ["408"]);
    }

    #[test]
    fn an_idle_connection_is_closed_without_a_word() {
        let site = Echo::default();
        let said = block_on(async {
            let (mut client, server) = duplex();
            let timers = AtOnceUpTo(Duration::from_secs(3_600));
            Connection::new(server, timers).serve(&site).await;
            read_all(&mut client).await
        });
        assert_eq!(said, "");
    }

    #[test]
    fn a_stopping_server_closes_after_the_answer() {
        let site = Echo { stopping: true, ..Echo::default() };
        let text = "GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n";
        let said = exchange(&site, Never, text);
        assert_eq!(statuses(&said), ["200"]);
        assert!(said.contains("connection: close"));
    }

    #[test]
    fn what_follows_a_switch_belongs_to_the_other_protocol() {
        let site = Echo::default();
        block_on(async {
            let (mut client, server) = duplex();
            let text = "GET /switch HTTP/1.1\r\nHost: h\r\n\r\nframes";
            say(&mut client, text).await;
            let switched = Connection::new(server, Never).serve(&site).await.expect("switched");
            assert_eq!(switched.read, "frames");
            let mut said = BytesMut::new();
            read_into(&mut client, &mut said).await.expect("read");
            assert!(said.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
            assert!(!said.windows(14).any(|window| window == b"content-length"));
        });
    }
}
