//! MemoryFlow, StreamingRemember and StreamingRecall: stores, recalls and events on one stream, without a session.
//!
//! Stores are handed to their owners in the order in which they come, so that the later of two of one id replaces the
//! other; stores are answered in that order, and so are recalls. What differs between the three is their [`Dialect`].

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use engram_proto::engram::v1::flow_status::State;
use engram_proto::engram::v1::memory_flow_request::Request as FlowRequest;
use engram_proto::engram::v1::memory_flow_response::Response as FlowResponse;
use engram_proto::engram::v1::{
    FlowControl, FlowStatus, MemoryFlowRequest, MemoryFlowResponse, RecallRequest, RecallResponse,
    RememberRequest, RememberResponse, StreamResponse, StreamSubscription,
};
use futures_lite::future::or;
use glommio::timer::Timer;
use prost::Message;

use super::framing::{Requests, Responses};
use super::{Call, decode};
use crate::core::Core;
use crate::events::{self, News, Subscription};
use crate::failure::{Code, Failure};
use crate::limits::{SESSION_RECALLS_MAX, STREAM_STORES_MAX};
use crate::recall::{self, Asked, Recollection};
use crate::session::{Flow, poll_leave};
use crate::store::{self, Storing};
use crate::turnstile::Turns;
use crate::wire::convert::{self, SESSION_PAUSED, Told};
use crate::wire::operation;

/// The messages of one of the three.
pub(super) trait Dialect {
    /// What a client says.
    type Said: Message + Default;
    /// What it is told.
    type Told: Message;

    /// What a message asks for, and what its answer says beside that; an error ends the stream.
    fn read(said: &Self::Said) -> Result<(Wish<'_>, Label), Failure>;

    /// The answer to a store or a recall.
    fn answer(label: Label, answer: Answer, core: &Core) -> Self::Told;

    /// Tells a failure, or ends the stream with it, where that is all that can be told.
    fn fail(label: Label, failure: Failure, core: &Core) -> Result<Self::Told, Failure>;
}

/// What one message asks for.
#[derive(Debug)]
pub(super) enum Wish<'a> {
    Remember(&'a RememberRequest),
    Recall(&'a RecallRequest),
    Flow(&'a FlowControl),
    Subscribe(&'a StreamSubscription),
}

/// What an answer repeats of its request.
#[derive(Clone, Debug, Default)]
pub(super) struct Label {
    /// The space of a request that names none itself.
    space: String,
    session_id: String,
    sequence_number: i64,
}

/// What a client is told.
#[derive(Debug)]
pub(super) enum Answer {
    Stored(RememberResponse),
    Recalled(RecallResponse),
    Happened(StreamResponse),
    /// How the stream's flow stands.
    Status(FlowStatus),
}

/// RememberRequest after RememberRequest.
#[derive(Debug)]
pub(super) struct StreamingRemember;

impl Dialect for StreamingRemember {
    type Said = RememberRequest;
    type Told = RememberResponse;

    fn read(said: &RememberRequest) -> Result<(Wish<'_>, Label), Failure> {
        Ok((Wish::Remember(said), Label::default()))
    }

    fn answer(_: Label, answer: Answer, _: &Core) -> RememberResponse {
        match answer {
            Answer::Stored(stored) => stored,
            other => unreachable!("only stores are asked for: {other:?}"),
        }
    }

    fn fail(_: Label, failure: Failure, _: &Core) -> Result<RememberResponse, Failure> {
        Err(failure)
    }
}

/// RecallRequest after RecallRequest.
#[derive(Debug)]
pub(super) struct StreamingRecall;

impl Dialect for StreamingRecall {
    type Said = RecallRequest;
    type Told = RecallResponse;

    fn read(said: &RecallRequest) -> Result<(Wish<'_>, Label), Failure> {
        Ok((Wish::Recall(said), Label::default()))
    }

    fn answer(_: Label, answer: Answer, _: &Core) -> RecallResponse {
        match answer {
            Answer::Recalled(recalled) => recalled,
            other => unreachable!("only recalls are asked for: {other:?}"),
        }
    }

    fn fail(_: Label, failure: Failure, _: &Core) -> Result<RecallResponse, Failure> {
        Err(failure)
    }
}

/// Both of them, and control of their flow. Answers repeat the request's session and number, and failures are told as
/// statuses that the stream survives.
#[derive(Debug)]
pub(super) struct MemoryFlow;

impl Dialect for MemoryFlow {
    type Said = MemoryFlowRequest;
    type Told = MemoryFlowResponse;

    fn read(said: &MemoryFlowRequest) -> Result<(Wish<'_>, Label), Failure> {
        let wish = match &said.request {
            Some(FlowRequest::Remember(remember)) => Wish::Remember(remember),
            Some(FlowRequest::Recall(recall)) => Wish::Recall(recall),
            Some(FlowRequest::Control(flow)) => Wish::Flow(flow),
            Some(FlowRequest::Subscribe(subscription)) => Wish::Subscribe(subscription),
            None => return Err(convert::empty_operation()),
        };
        let label = Label {
            space: said.memory_space_id.clone(),
            session_id: said.session_id.clone(),
            sequence_number: said.sequence_number,
        };
        Ok((wish, label))
    }

    fn answer(label: Label, answer: Answer, core: &Core) -> MemoryFlowResponse {
        let response = match answer {
            Answer::Stored(stored) => FlowResponse::RememberResult(stored),
            Answer::Recalled(recalled) => FlowResponse::RecallResult(recalled),
            Answer::Happened(event) => FlowResponse::Event(event),
            Answer::Status(status) => FlowResponse::Status(status),
        };
        MemoryFlowResponse {
            response: Some(response),
            session_id: label.session_id,
            sequence_number: label.sequence_number,
            timestamp: Some(convert::timestamp(core.now())),
        }
    }

    fn fail(label: Label, failure: Failure, core: &Core) -> Result<MemoryFlowResponse, Failure> {
        let mut details = vec![("code".to_owned(), failure.code.label().to_owned())];
        if failure.retry_after.is_some() {
            details.push(("retry_after_ms".to_owned(), failure.retry_after_ms().to_string()));
        }
        let status = flow_status(State::Error, &failure.message, core);
        let status = FlowStatus { metrics: details.into_iter().collect(), ..status };
        Ok(MemoryFlow::answer(label, Answer::Status(status), core))
    }
}

/// Serves one of the three until it ends.
pub(super) async fn serve<D: Dialect>(call: &mut Call) -> Result<(), Failure> {
    let core = call.core.clone();
    let mut stopping = pin!(core.stopping());
    let mut calls = Calls::<D> {
        core: &core,
        requests: &mut call.requests,
        responses: &mut call.responses,
        flow: Flow::default(),
        pacing: None,
        stores: VecDeque::new(),
        recalls: VecDeque::new(),
        subscription: None,
        told: VecDeque::new(),
        phase: Phase::Open,
        turns: core.turns(),
    };
    loop {
        let next = poll_fn(|cx| {
            if stopping.as_mut().poll(cx).is_ready() && calls.phase == Phase::Open {
                calls.end(Phase::Stopping);
            }
            let polled = calls.poll_next(cx);
            if polled.is_pending() {
                calls.turns.rest();
            }
            polled
        });
        match next.await? {
            Some(bytes) => calls.take(decode(bytes)?).await?,
            None => break,
        }
    }
    match calls.phase {
        Phase::Stopping => Err(Failure::new(Code::Unavailable, "the server stops; call again")),
        Phase::Open | Phase::HalfClosed => Ok(()),
    }
}

/// How far the stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Messages are read.
    Open,
    /// The client has said all.
    HalfClosed,
    /// The server stops.
    Stopping,
}

#[derive(Debug)]
struct Calls<'a, D: Dialect> {
    core: &'a Core,
    requests: &'a mut Requests,
    responses: &'a mut Responses,
    flow: Flow,
    /// Runs while results have to wait for the pace that the client asked for.
    pacing: Option<Timer>,
    /// In the order in which they came.
    stores: VecDeque<(Label, Result<Storing, Failure>)>,
    recalls: VecDeque<Recalling>,
    /// What the client hears of a space, under the label of the message that asked for it.
    subscription: Option<(Label, Subscription)>,
    /// Answers that wait for nothing.
    told: VecDeque<D::Told>,
    phase: Phase,
    turns: Turns,
}

#[derive(Debug)]
struct Recalling {
    label: Label,
    told: Told,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Asked(Asked),
    Answered(Result<Recollection, Failure>),
}

impl<D: Dialect> Calls<'_, D> {
    /// The next message to be taken; none once the client has said all and was told all.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Failure>> {
        loop {
            self.tell(cx)?;
            let flushed = self.responses.poll_flush(cx)?;
            if self.responses.is_full() {
                return Poll::Pending;
            }
            if self.phase != Phase::Open {
                let all_told = self.stores.is_empty() && self.recalls.is_empty();
                return match all_told && flushed.is_ready() {
                    true => Poll::Ready(Ok(None)),
                    false => Poll::Pending,
                };
            }
            if self.stores.len() >= STREAM_STORES_MAX || self.awaits_recalls() {
                return Poll::Pending;
            }
            ready!(self.turns.poll(cx));
            match ready!(self.requests.poll_message(cx))? {
                Some(bytes) => return Poll::Ready(Ok(Some(bytes))),
                None => self.end(Phase::HalfClosed),
            }
        }
    }

    /// Whether a recall has to be answered before anything is read. Not while that may wait for the client's word.
    fn awaits_recalls(&self) -> bool {
        self.recalls.len() >= SESSION_RECALLS_MAX && !self.flow.is_limited()
    }

    fn end(&mut self, phase: Phase) {
        self.phase = phase;
        // What is still to be told would otherwise wait for a word that no longer comes.
        self.flow.lift();
        self.pacing = None;
        // And events would never end.
        self.subscription = None;
    }

    async fn take(&mut self, said: D::Said) -> Result<(), Failure> {
        let core = self.core;
        let (wish, label) = D::read(&said)?;
        match wish {
            Wish::Remember(_) if self.flow.is_paused() => {
                let paused = Failure::new(Code::FailedPrecondition, SESSION_PAUSED);
                self.stores.push_back((label, Err(paused)));
            }
            Wish::Remember(request) => {
                let store = self.unless_gone(store_of(core, request, &label.space)).await?;
                self.stores.push_back((label, store));
            }
            Wish::Recall(request) => {
                let stage = match self.recalls.len() < SESSION_RECALLS_MAX {
                    true => self.unless_gone(ask(core, request, &label.space)).await?,
                    false => Err(too_many_recalls()),
                };
                let stage =
                    stage.map_or_else(|failure| Stage::Answered(Err(failure)), Stage::Asked);
                self.recalls.push_back(Recalling { label, told: Told::of(request), stage });
            }
            Wish::Flow(control) => {
                let told = match convert::flow_action(control) {
                    Ok(action) => {
                        self.flow.handle(action, self.core.now());
                        self.pacing = None;
                        let (state, message) = match self.flow.is_paused() {
                            true => (State::Paused, "paused"),
                            false => (State::Active, "active"),
                        };
                        self.stands(label, state, message)
                    }
                    Err(failure) => D::fail(label, failure, self.core)?,
                };
                self.told.push_back(told);
            }
            Wish::Subscribe(request) => {
                let subscribed = match operation::wanted(request) {
                    Ok(wanted) => {
                        self.unless_gone(events::subscribe(core, &label.space, wanted)).await?
                    }
                    Err(failure) => Err(failure),
                };
                match subscribed {
                    Ok(subscription) => self.subscription = Some((label, subscription)),
                    Err(failure) => self.told.push_back(D::fail(label, failure, self.core)?),
                }
            }
        }
        Ok(())
    }

    /// How the stream's flow stands.
    fn stands(&self, label: Label, state: State, message: &str) -> D::Told {
        let status = flow_status(state, message, self.core);
        D::answer(label, Answer::Status(status), self.core)
    }

    /// Waits for `work`, but not longer than the client does.
    async fn unless_gone<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Failure> {
        self.turns.rest();
        let responses = &mut *self.responses;
        or(async { Ok(work.await) }, async { Err(poll_fn(|cx| responses.poll_gone(cx)).await) })
            .await
    }

    /// Tells all that can be told, as far as the client reads.
    fn tell(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        while !self.responses.is_full() {
            match self.poll_told(cx) {
                Poll::Ready(told) => self.responses.push(&told?),
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    fn poll_told(&mut self, cx: &mut Context<'_>) -> Poll<Result<D::Told, Failure>> {
        if let Some(told) = self.told.pop_front() {
            return Poll::Ready(Ok(told));
        }
        if let Some((_, store)) = self.stores.front_mut()
            && let Poll::Ready(stored) = poll_stored(store, cx)
        {
            let (label, _) = self.stores.pop_front().expect("it was just looked at");
            return Poll::Ready(match stored {
                Ok(stored) => Ok(D::answer(label, Answer::Stored(stored), self.core)),
                Err(failure) => D::fail(label, failure, self.core),
            });
        }
        match self.poll_recalled(cx) {
            Poll::Pending => self.poll_news(cx),
            told => told,
        }
    }

    fn poll_recalled(&mut self, cx: &mut Context<'_>) -> Poll<Result<D::Told, Failure>> {
        self.recalls.iter_mut().for_each(|recall| recall.stage.advance(cx));
        let Some(Stage::Answered(answer)) = self.recalls.front().map(|first| &first.stage) else {
            return Poll::Pending;
        };
        if answer.is_ok() {
            // One answer holds all of a recall, so it may use more than was left.
            ready!(poll_leave(self.core, &mut self.flow, &mut self.pacing, cx));
        }
        let Recalling { label, told, stage } =
            self.recalls.pop_front().expect("it was just looked at");
        Poll::Ready(match stage {
            Stage::Answered(Ok(recollection)) => {
                self.flow.spend(recollection.found.len());
                let recalled = convert::recalled(&recollection, told);
                Ok(D::answer(label, Answer::Recalled(recalled), self.core))
            }
            Stage::Answered(Err(failure)) => D::fail(label, failure, self.core),
            Stage::Asked(_) => unreachable!("it was just seen to be answered"),
        })
    }

    /// What happens in the space that the client subscribed to, as far as it wants to hear of it now.
    fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<Result<D::Told, Failure>> {
        let Some((label, subscription)) = &mut self.subscription else {
            return Poll::Pending;
        };
        if subscription.has_begun() {
            ready!(poll_leave(self.core, &mut self.flow, &mut self.pacing, cx));
        }
        let label = label.clone();
        let event = match ready!(subscription.poll_news(cx)) {
            Ok(News::Happened(event)) => {
                self.flow.spend(1);
                convert::happened(event)
            }
            Ok(News::Missed(count)) => convert::events_missed(count, self.core.now()),
            Ok(News::Begun) => {
                let is_paused = self.flow.is_paused();
                let state = if is_paused { State::Paused } else { State::Active };
                return Poll::Ready(Ok(self.stands(label, state, "subscribed")));
            }
            Err(failure) => {
                self.subscription = None;
                return Poll::Ready(D::fail(label, failure, self.core));
            }
        };
        Poll::Ready(Ok(D::answer(label, Answer::Happened(event), self.core)))
    }
}

impl Stage {
    fn advance(&mut self, cx: &mut Context<'_>) {
        if let Stage::Asked(asked) = self
            && let Poll::Ready(answer) = asked.poll_answer(cx)
        {
            *self = Stage::Answered(answer.and_then(Recollection::to_be_told_whole));
        }
    }
}

async fn store_of(core: &Core, request: &RememberRequest, space: &str) -> Result<Storing, Failure> {
    let observation = convert::remembered(request)?;
    store::store(core, or_else(&request.memory_space_id, space), &observation).await
}

async fn ask(core: &Core, request: &RecallRequest, space: &str) -> Result<Asked, Failure> {
    let query = convert::unary_query(request)?;
    recall::ask(core, or_else(&request.memory_space_id, space), &query).await
}

/// A request's own space, or else its envelope's.
fn or_else<'a>(own: &'a str, outer: &'a str) -> &'a str {
    if own.is_empty() { outer } else { own }
}

fn poll_stored(
    store: &mut Result<Storing, Failure>,
    cx: &mut Context<'_>,
) -> Poll<Result<RememberResponse, Failure>> {
    match store {
        Ok(storing) => storing.poll_stored(cx).map_ok(convert::stored),
        Err(failure) => Poll::Ready(Err(failure.clone())),
    }
}

fn too_many_recalls() -> Failure {
    let message = format!("{SESSION_RECALLS_MAX} recalls wait for this stream's flow control");
    Failure::new(Code::ResourceExhausted, message)
}

fn flow_status(state: State, message: &str, core: &Core) -> FlowStatus {
    FlowStatus {
        state: state.into(),
        message: message.to_owned(),
        last_activity: Some(convert::timestamp(core.now())),
        ..FlowStatus::default()
    }
}
