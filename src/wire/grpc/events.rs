//! Stream: what happens in a space, until the client has heard enough.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};

use engram_proto::engram::v1::{StreamRequest, StreamResponse};

use super::Call;
use super::framing::Responses;
use crate::core::Core;
use crate::events::{self, News, Subscription};
use crate::failure::{Code, Failure};
use crate::wire::convert;

/// Tells events until the client goes or the server stops.
pub(super) async fn serve(call: &mut Call) -> Result<(), Failure> {
    let core = call.core.clone();
    let request: StreamRequest = call.request().await?;
    let wanted = convert::wanted(&request.event_types, request.min_importance, 0)?;
    let subscribed = events::subscribe(&core, &request.memory_space_id, wanted);
    let mut subscription = call.unless_gone(subscribed).await?;
    let responses = &mut call.responses;
    let mut stopping = pin!(core.stopping());
    let ended = poll_fn(|cx| {
        if stopping.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Failure::new(Code::Unavailable, "the server stops; call again"));
        }
        match poll_told(&core, &mut subscription, responses, cx) {
            Poll::Ready(failure) => Poll::Ready(failure),
            Poll::Pending => responses.poll_gone(cx),
        }
    });
    Err(ended.await)
}

/// Tells all that can be told, as far as the client reads; ready only with what ends it.
fn poll_told(
    core: &Core,
    subscription: &mut Subscription,
    responses: &mut Responses,
    cx: &mut Context<'_>,
) -> Poll<Failure> {
    loop {
        let mut is_all = false;
        while !responses.is_full() {
            match subscription.poll_news(cx) {
                Poll::Ready(Ok(news)) => {
                    if let Some(told) = told(core, news) {
                        responses.push(&told);
                    }
                }
                Poll::Ready(Err(failure)) => return Poll::Ready(failure),
                Poll::Pending => {
                    is_all = true;
                    break;
                }
            }
        }
        match responses.poll_flush(cx) {
            Poll::Ready(Err(failure)) => return Poll::Ready(failure),
            // There is room for more, and there may be more.
            Poll::Ready(Ok(())) if !is_all => {}
            _ => return Poll::Pending,
        }
    }
}

/// That it has begun has no message of its own here.
fn told(core: &Core, news: News) -> Option<StreamResponse> {
    match news {
        News::Begun => None,
        News::Happened(event) => Some(convert::happened(event)),
        News::Missed(count) => Some(convert::events_missed(count, core.now())),
    }
}
