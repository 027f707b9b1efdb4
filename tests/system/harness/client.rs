//! A tonic client of every call that the tests make.

use std::net::SocketAddr;

use engram_proto::engram::v1::{
    Memory, ObservationRequest, StreamingRecallRequest, StreamingRecallResponse,
};
use futures_lite::stream;
use http::uri::PathAndQuery;
use prost::Message;
use tokio::sync::mpsc;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::{Memories, Observing, owed};

const SERVICE: &str = "/engram.v1.EngramService/";
/// Observations sent before their acks are awaited.
const STORED_AT_ONCE: u64 = 60;

/// A connection.
#[derive(Clone)]
pub(crate) struct Client {
    channel: Channel,
}

/// What a recall gave.
pub(crate) struct Recalled {
    /// Its memories, best first.
    pub(crate) memories: Vec<Memory>,
    /// Observations that were durable in the space.
    pub(crate) snapshot_sequence: u64,
}

impl Client {
    /// Connects.
    pub(crate) async fn connect(address: SocketAddr) -> Client {
        let endpoint =
            Endpoint::from_shared(format!("http://{address}")).expect("an address makes a URI");
        let channel = owed("connection", endpoint.connect()).await.expect("the server listens");
        Client { channel }
    }

    /// A unary call of the memory service.
    pub(crate) async fn call<Q, A>(&self, name: &str, request: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        self.call_of(SERVICE, name, request).await
    }

    /// A unary call of the service whose path is given with both its slashes.
    pub(crate) async fn call_of<Q, A>(
        &self,
        service: &str,
        name: &str,
        request: Q,
    ) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = Grpc::new(self.channel.clone());
        let codec: ProstCodec<Q, A> = ProstCodec::default();
        owed("readiness of the channel", grpc.ready())
            .await
            .map_err(|why| Status::unknown(why.to_string()))?;
        let answer = grpc.unary(Request::new(request), path(service, name), codec);
        Ok(owed(name, answer).await?.into_inner())
    }

    /// A call with one request and a stream of answers.
    pub(crate) async fn server_stream<Q, A>(
        &self,
        service: &str,
        name: &str,
        request: Q,
    ) -> Result<Streaming<A>, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = Grpc::new(self.channel.clone());
        let codec: ProstCodec<Q, A> = ProstCodec::default();
        owed("readiness of the channel", grpc.ready())
            .await
            .map_err(|why| Status::unknown(why.to_string()))?;
        let answers = grpc.server_streaming(Request::new(request), path(service, name), codec);
        Ok(owed(name, answers).await?.into_inner())
    }

    /// A call with streams both ways; what is sent into `requests` goes out.
    pub(crate) async fn both_streams<Q, A>(
        &self,
        service: &str,
        name: &str,
        requests: mpsc::Receiver<Q>,
    ) -> Result<Streaming<A>, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = Grpc::new(self.channel.clone());
        let codec: ProstCodec<Q, A> = ProstCodec::default();
        owed("readiness of the channel", grpc.ready())
            .await
            .map_err(|why| Status::unknown(why.to_string()))?;
        let requests = stream::unfold(requests, |mut requests| async move {
            requests.recv().await.map(|request| (request, requests))
        });
        let answers = grpc.streaming(Request::new(requests), path(service, name), codec);
        Ok(owed(name, answers).await?.into_inner())
    }

    /// ObserveStream with its first message.
    pub(crate) async fn open(&self, first: ObservationRequest) -> Observing {
        self.open_session(first, "ObserveStream").await
    }

    /// MemoryStream with its first message.
    pub(crate) async fn open_memory(&self, first: ObservationRequest) -> Observing {
        self.open_session(first, "MemoryStream").await
    }

    async fn open_session(&self, first: ObservationRequest, name: &str) -> Observing {
        let (send, requests) = mpsc::channel(64);
        send.send(first).await.expect("the receiver is held here");
        let answers = self.both_streams(SERVICE, name, requests).await;
        Observing::new(send, answers)
    }

    /// A call of the memory service with streams both ways, and the end to send into.
    pub(crate) async fn talk<Q, A>(&self, name: &str) -> (mpsc::Sender<Q>, Streaming<A>)
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let (send, requests) = mpsc::channel(64);
        let answers = self.both_streams(SERVICE, name, requests).await;
        (send, answers.expect("the call is taken"))
    }

    /// A new session in `space`.
    pub(crate) async fn begin(&self, space: &str) -> Observing {
        let mut observing = self.open(Observing::init(space, "")).await;
        assert_eq!(observing.await_init().await, 0, "a new session starts at 0");
        observing
    }

    /// An earlier session again, and its last durable sequence.
    pub(crate) async fn resume(&self, session: &str) -> (Observing, u64) {
        let mut observing = self.open(Observing::init("", session)).await;
        let durable = observing.await_init().await;
        assert_eq!(observing.session, session, "resumed under another id");
        (observing, durable)
    }

    /// RecallStream, page by page; the last one is the closing message.
    pub(crate) async fn recall_pages(
        &self,
        request: StreamingRecallRequest,
    ) -> Result<Vec<StreamingRecallResponse>, Status> {
        let mut answers: Streaming<StreamingRecallResponse> =
            self.server_stream(SERVICE, "RecallStream", request).await?;
        let mut pages = Vec::new();
        while let Some(page) = owed("page of a recall", answers.message()).await? {
            pages.push(page);
        }
        let closing = pages.iter().position(|page| page.metadata.is_some());
        assert_eq!(
            closing.map(|at| at + 1),
            Some(pages.len()),
            "one closing message, and it is the last"
        );
        Ok(pages)
    }

    /// RecallStream, all pages as one.
    pub(crate) async fn recall(&self, request: StreamingRecallRequest) -> Result<Recalled, Status> {
        let pages = self.recall_pages(request).await?;
        let snapshot_sequence = pages.last().map_or(0, |page| page.snapshot_sequence);
        let memories = pages.into_iter().flat_map(|page| page.results).collect();
        Ok(Recalled { memories, snapshot_sequence })
    }

    /// Stores the first `rows` memories in a space, in a session of their own.
    pub(crate) async fn store(&self, space: &str, memories: &Memories, rows: u64) {
        self.store_as(space, memories, rows, |number| number as usize).await;
    }

    /// The same, where the memory of an id has the text and the vector of `which` of the bundled ones.
    pub(crate) async fn store_as(
        &self,
        space: &str,
        memories: &Memories,
        rows: u64,
        which: impl Fn(u64) -> usize,
    ) {
        let mut stream = self.begin(space).await;
        for first in (1..=rows).step_by(STORED_AT_ONCE as usize) {
            let numbers = first..=rows.min(first + STORED_AT_ONCE - 1);
            for number in numbers.clone() {
                let episode = memories.episode(which(number), &format!("m{number}"));
                stream.observe(number, episode).await;
            }
            for number in numbers {
                stream.accepted(number).await;
            }
        }
        stream.close(rows).await;
    }

    /// The nearest `count` to memory `number`.
    pub(crate) async fn nearest(
        &self,
        space: &str,
        memories: &Memories,
        number: usize,
        count: u32,
    ) -> Recalled {
        let request = StreamingRecallRequest {
            memory_space_id: space.to_owned(),
            cue: Some(memories.cue(number)),
            max_results: count,
            ..StreamingRecallRequest::default()
        };
        self.recall(request).await.expect("a recall of a known space succeeds")
    }
}

/// The first of what was recalled.
pub(crate) fn first_of(recalled: &Recalled) -> &Memory {
    recalled.memories.first().expect("the recall found nothing")
}

fn path(service: &str, name: &str) -> PathAndQuery {
    format!("{service}{name}").parse().expect("names of services and calls make a path")
}
