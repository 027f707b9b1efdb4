//! The server's calls, by tonic.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use prost::Message;
use tokio::sync::mpsc;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::error::{Error, ErrorKind};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer that vanished without a word is noticed within half a minute.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to one server, made when it is needed and again when it was lost. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    channel: Channel,
}

impl Calls {
    pub(crate) fn new(address: &str) -> Result<Calls, Error> {
        let invalid = |why: tonic::transport::Error| {
            Error::new(ErrorKind::InvalidRequest, format!("not an address: {address}: {why}"))
        };
        let endpoint = Endpoint::from_shared(address.to_owned()).map_err(invalid)?;
        Ok(Calls::over(
            endpoint
                .connect_timeout(CONNECT_TIMEOUT)
                .tcp_nodelay(true)
                .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
                .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
                .connect_lazy(),
        ))
    }

    pub(crate) fn over(channel: Channel) -> Calls {
        Calls { channel }
    }

    /// One request, one answer.
    pub(crate) async fn unary<Q, A>(&self, name: &str, request: Q) -> Result<A, Error>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let codec: ProstCodec<Q, A> = ProstCodec::default();
        let mut grpc = self.ready().await.map_err(|status| Error::of_status(&status))?;
        let answer = grpc.unary(Request::new(request), path(name), codec).await;
        Ok(answer.map_err(|status| Error::of_status(&status))?.into_inner())
    }

    /// One request, and answers as they come.
    pub(crate) async fn answers<Q, A>(&self, name: &str, request: Q) -> Result<Streaming<A>, Error>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let codec: ProstCodec<Q, A> = ProstCodec::default();
        let mut grpc = self.ready().await.map_err(|status| Error::of_status(&status))?;
        let answers = grpc.server_streaming(Request::new(request), path(name), codec).await;
        Ok(answers.map_err(|status| Error::of_status(&status))?.into_inner())
    }

    /// Requests as they come, and answers as they come.
    pub(crate) async fn talk<Q, A>(
        self,
        name: &'static str,
        requests: mpsc::UnboundedReceiver<Q>,
    ) -> Result<Streaming<A>, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let codec: ProstCodec<Q, A> = ProstCodec::default();
        let mut grpc = self.ready().await?;
        let requests = Request::new(Received(requests));
        Ok(grpc.streaming(requests, path(name), codec).await?.into_inner())
    }

    async fn ready(&self) -> Result<Grpc<Channel>, Status> {
        // The server bounds its messages: a page of long texts may be longer than tonic's own 4 MiB.
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        grpc.ready().await.map_err(|why| Status::unavailable(told(&why)))?;
        Ok(grpc)
    }
}

/// An error and what led to it: "transport error" alone helps nobody.
fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |&error| error.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

fn path(name: &str) -> PathAndQuery {
    format!("/engram.v1.EngramService/{name}").parse().expect("names of calls make paths")
}

/// A channel's receiving end as a stream.
struct Received<T>(mpsc::UnboundedReceiver<T>);

impl<T> futures_core::Stream for Received<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll_recv(cx)
    }
}
