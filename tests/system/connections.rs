//! As many connections are served as `--connections-max` says. Whoever comes beyond is told when to come back, in the
//! protocol that it speaks, and those who are served notice nothing of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use engram_proto::engram::v1::{IntrospectRequest, IntrospectResponse};
use engram_proto::google::rpc::RetryInfo;
use prost::Message;
use tonic::Code;

use crate::harness::{Client, Memories, PATIENCE, Server, Visitor, get, raw};

/// What a core refuses with words at once; beyond that it only closes.
const REFUSED_WITH_WORDS: usize = 64;

/// A server of one core that takes two connections.
fn server_of_two(folder: &std::path::Path) -> Server {
    Server::start_on(1, folder, &["--connections-max", "2"])
}

/// Opens a connection that says nothing yet.
fn silent(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time that is not zero");
    stream
}

/// Connects until there is a connection for it: others end when the server sees that they do.
fn served(address: SocketAddr) -> Visitor {
    let begun = std::time::Instant::now();
    loop {
        let mut visitor = Visitor::connect(address);
        if visitor.get("/health") == 200 {
            return visitor;
        }
        assert!(begun.elapsed() < PATIENCE, "still refused");
    }
}

/// The same over gRPC.
async fn served_client(address: SocketAddr) -> Client {
    let begun = std::time::Instant::now();
    loop {
        let client = Client::connect(address).await;
        let answer: Result<IntrospectResponse, _> =
            client.call("Introspect", IntrospectRequest::default()).await;
        match answer {
            Ok(_) => return client,
            Err(status) => assert!(begun.elapsed() < PATIENCE, "still refused: {status:?}"),
        }
    }
}

/// The same for one request.
fn get_in_the_end(address: SocketAddr, path: &str) -> String {
    let begun = std::time::Instant::now();
    loop {
        let answer = get(address, path).expect("the server answers");
        if answer.status == 200 {
            return answer.body;
        }
        assert!(begun.elapsed() < PATIENCE, "still refused: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_too_many_is_told_when_to_come_back() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = server_of_two(folder.path());
    let memories = Memories::bundled();
    let client = served_client(server.address).await;
    let mut stream = client.begin("served").await;
    let second = served(server.address);
    let refused = String::from_utf8_lossy(
        &raw(server.address, b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n").expect("it answers"),
    )
    .into_owned();
    assert!(refused.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{refused}");
    assert!(refused.contains("\r\nretry-after: 1\r\n"), "{refused}");
    assert!(refused.contains("\r\nconnection: close\r\n"), "{refused}");
    assert!(refused.contains(r#""code":"unavailable""#), "{refused}");

    // A body that it does not read is no reason to be reset.
    let body = "x".repeat(100_000);
    let post = format!(
        "POST /api/v1/spaces HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let refused = raw(server.address, post.as_bytes()).expect("it answers");
    assert!(refused.starts_with(b"HTTP/1.1 503 "), "{}", String::from_utf8_lossy(&refused));

    let socket = silent(server.address);
    let opened = tungstenite::client(format!("ws://{}/v1/stream", server.address), socket);
    match opened {
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
            assert_eq!(answer.status(), 503);
        }
        other => panic!("no WebSocket is to be had: {other:?}"),
    }

    let unserved = Client::connect(server.address).await;
    let answer: Result<IntrospectResponse, _> =
        unserved.call("Introspect", IntrospectRequest::default()).await;
    let status = answer.expect_err("it is one too many");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let details = engram_proto::google::rpc::Status::decode(status.details()).expect("a Status");
    let retry = RetryInfo::decode(&details.details[0].value[..]).expect("a RetryInfo");
    assert_eq!(retry.retry_delay.expect("it is set").seconds, 1);

    stream.observe(1, memories.episode(1, "")).await;
    stream.accepted(1).await;
    drop(second);
    let metrics = get_in_the_end(server.address, "/metrics");
    let refused: Vec<&str> = metrics
        .lines()
        .filter_map(|line| {
            line.strip_prefix(r#"engram_streaming_connections_refused_total{worker_id="0"} "#)
        })
        .collect();
    let refused: u64 = refused[0].parse().expect("a number");
    assert!(refused >= 4, "{refused} were counted");
}

#[test]
fn a_flood_of_connections_is_closed_without_words_and_those_served_stay() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = server_of_two(folder.path());
    let mut served = [(); 2].map(|()| served(server.address));
    let with_words: Vec<TcpStream> =
        (0..REFUSED_WITH_WORDS).map(|_| silent(server.address)).collect();

    let mut closed = silent(server.address);
    let mut heard = Vec::new();
    // Closed or reset: either way nothing was said.
    let _ = closed.read_to_end(&mut heard);
    assert!(heard.is_empty(), "{}", String::from_utf8_lossy(&heard));

    for mut stream in with_words {
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("it is read");
        stream.read_to_end(&mut heard).expect("it is answered and closed");
        assert!(heard.starts_with(b"HTTP/1.1 503 "), "{}", String::from_utf8_lossy(&heard));
        heard.clear();
    }
    assert_eq!(served.each_mut().map(|visitor| visitor.get("/health")), [200, 200]);
}
