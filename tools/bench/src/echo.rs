//! The peer: a tonic server on one core that decodes observations and acks them, and does nothing else.
//!
//! It stores nothing, so it is a floor for what the usual stack costs before any work is done. It prints
//! `listening ADDR:PORT` like the server does, so that one harness starts either.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use engram_proto::engram::v1 as wire;
use engram_proto::engram::v1::observation_request::Operation;
use engram_proto::engram::v1::observation_response::Result as Answer;
use futures_core::Stream;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower_service::Service;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Windows as large as the server's own, so that neither waits for the other's flow control.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Serves until the process is ended.
pub(crate) fn serve(core: usize) -> std::io::Result<()> {
    core_affinity::set_for_current(core_affinity::CoreId { id: core });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let incoming = TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        println!("listening {}", incoming.local_addr()?);
        tonic::transport::Server::builder()
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .add_service(Echo)
            .serve_with_incoming(incoming)
            .await
            .map_err(std::io::Error::other)
    })
}

/// The service: one method of `engram.v1.EngramService`.
#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "engram.v1.EngramService";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let codec =
                ProstCodec::<wire::ObservationResponse, wire::ObservationRequest>::default();
            Ok(Grpc::new(codec).streaming(ObserveStream, request).await)
        })
    }
}

/// The method: each message in is one message out.
struct ObserveStream;

impl StreamingService<wire::ObservationRequest> for ObserveStream {
    type Response = wire::ObservationResponse;
    type ResponseStream = Acks;
    type Future = BoxFuture<Result<Response<Acks>, Status>>;

    fn call(&mut self, request: Request<Streaming<wire::ObservationRequest>>) -> Self::Future {
        Box::pin(async move {
            Ok(Response::new(Acks { observations: request.into_inner(), last_sequence: 0 }))
        })
    }
}

struct Acks {
    observations: Streaming<wire::ObservationRequest>,
    last_sequence: u64,
}

impl Stream for Acks {
    type Item = Result<wire::ObservationResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = ready!(Pin::new(&mut self.observations).poll_next(cx));
        Poll::Ready(message.map(|request| request.map(|request| self.answer(request))))
    }
}

impl Acks {
    fn answer(&mut self, request: wire::ObservationRequest) -> wire::ObservationResponse {
        let result = match request.operation {
            Some(Operation::Init(_)) => Answer::InitAck(wire::StreamInitAck {
                session_id: "00000000-0000-4000-8000-000000000000".to_owned(),
                ..Default::default()
            }),
            Some(Operation::Observation(episode)) => {
                self.last_sequence = request.sequence_number;
                Answer::Ack(wire::ObservationAck {
                    status: wire::observation_ack::Status::Accepted.into(),
                    memory_id: episode.id,
                    ..Default::default()
                })
            }
            _ => Answer::Status(wire::StreamStatus {
                state: wire::stream_status::State::Closed.into(),
                ..Default::default()
            }),
        };
        wire::ObservationResponse {
            result: Some(result),
            sequence_number: self.last_sequence,
            ..Default::default()
        }
    }
}
