//! What becomes of what a client says: one task that drives socket, session and recalls.
//!
//! At every turn the session's events come first, so that acks never wait behind what is still to be read; then the
//! client's next message, and only when the one before it was taken whole.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;
use uuid::Uuid;

use engram_shards::log::record::Embedding;
use engram_shards::message::{Drain, Isolation};

use crate::core::Core;
use crate::failure::Code;
use crate::limits;
use crate::recall::{Page, Query};
use crate::session::{AckMode, Event, Init, Recall, RecallHead, Session};
use crate::wire::calendar::Moment;
use crate::wire::http::now;
use crate::wire::transport::{Switched, Timers, Transport};
use crate::wire::websocket::inbound::{
    CloseMessage, FlowControlMessage, Inbound, InitMessage, RecallMessage, read,
};
use crate::wire::websocket::observation::{ObservationMessage, Scratch};
use crate::wire::websocket::outbound::{self, Capabilities, Outbound};
use crate::wire::websocket::socket::{Fault, Socket};

/// Another connection took the session over.
const TAKEN_OVER: CloseCode = CloseCode::Library(4000);

/// How a conversation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The client has gone; nothing more is said.
    Gone,
    /// With a close frame.
    Close(CloseCode, &'static str),
}

impl From<Fault> for End {
    fn from(fault: Fault) -> End {
        match fault {
            Fault::Gone => End::Gone,
            Fault::Broke(code) => End::Close(code, "the message broke a rule of the protocol"),
        }
    }
}

/// An open session with its id as text.
struct Attached {
    session: Session,
    id: String,
    /// Whether acks tell of runs.
    cumulative: bool,
    /// Whether it was asked to close; then no observation may follow.
    closing: bool,
}

/// One client.
pub(crate) struct Conversation<S, T> {
    core: Core,
    timers: T,
    socket: Socket<S>,
    attached: Option<Attached>,
    heartbeat: Pin<Box<dyn Future<Output = ()>>>,
    stopping: Pin<Box<dyn Future<Output = ()>>>,
    /// Set once the server stops: nothing more is read.
    stopped: bool,
    /// Heartbeats since the last sign of life.
    silent_heartbeats: u32,
    /// Whether the client's next message is waited for, so that its silence means something.
    listening: bool,
    /// How often the client was told something by the session.
    told: u64,
}

impl<S: Transport, T: Timers> Conversation<S, T> {
    /// A client that has just been answered with 101.
    pub(crate) fn new(core: Core, timers: T, switched: Switched<S>) -> Conversation<S, T> {
        let socket = Socket::new(switched, core.settings().message_bytes_max);
        let stopping = {
            let core = core.clone();
            Box::pin(async move { core.stopping().await })
        };
        Conversation {
            heartbeat: Box::pin(timers.sleep(limits::WEBSOCKET_HEARTBEAT)),
            core,
            timers,
            socket,
            attached: None,
            stopping,
            stopped: false,
            silent_heartbeats: 0,
            listening: true,
            told: 0,
        }
    }

    /// Talks until the end. The session, if one is open, is dropped then and stays resumable.
    pub(crate) async fn run(mut self) {
        let end = self.converse().await;
        self.attached = None;
        if let End::Close(code, reason) = end {
            self.socket.close(code, reason);
        }
        // Where the client closed first, the answer to its close frame still waits to be sent.
        let ending = poll_fn(|cx| self.socket.poll_end(cx));
        let _ = self.timers.within(limits::WEBSOCKET_CLOSE_WAIT, ending).await;
    }

    async fn converse(&mut self) -> End {
        let mut scratch = Scratch::default();
        for taken in 1_usize.. {
            let message = match poll_fn(|cx| self.poll_message(cx)).await {
                Ok(message) => message,
                Err(end) => return end,
            };
            if let Err(end) = self.take(&message, &mut scratch).await {
                return end;
            }
            if taken % limits::WEBSOCKET_TURN_MESSAGES == 0 {
                futures_lite::future::yield_now().await;
            }
        }
        unreachable!("a connection does not outlive the numbers");
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, End>> {
        let closing = self.attached.as_ref().is_some_and(|attached| attached.closing);
        self.listening = !(self.stopped || closing);
        if let Poll::Ready(end) = self.poll_beside(cx) {
            return Poll::Ready(Err(end));
        }
        if !self.listening || self.stopped || self.socket.is_congested() {
            return Poll::Pending;
        }
        if let Poll::Ready(message) = self.socket.poll_message(cx) {
            return Poll::Ready(message.map_err(End::from));
        }
        // Reading may have lined up the answer to a ping.
        match self.socket.poll_send(cx) {
            Poll::Ready(Err(fault)) => Poll::Ready(Err(fault.into())),
            _ => Poll::Pending,
        }
    }

    /// Everything but the client's next message: ready only with the end.
    fn poll_beside(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.poll_heartbeat(cx).is_ready() {
            return Poll::Ready(End::Gone);
        }
        if !self.stopped && self.stopping.as_mut().poll(cx).is_ready() {
            self.stopped = true;
            match &mut self.attached {
                Some(attached) => attached.close(Drain::Durable),
                None => return Poll::Ready(GOING_AWAY),
            }
        }
        loop {
            while !self.socket.is_congested() {
                match self.poll_news(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(end)) => return Poll::Ready(end),
                    Poll::Pending => break,
                }
            }
            let was_congested = self.socket.is_congested();
            match self.socket.poll_send(cx) {
                Poll::Ready(Err(fault)) => return Poll::Ready(fault.into()),
                Poll::Ready(Ok(())) if was_congested => {}
                _ => return Poll::Pending,
            }
        }
    }

    /// Tells the client the session's next event.
    fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let Some(attached) = &mut self.attached else {
            return Poll::Pending;
        };
        attached.session.poll_event(cx).map(|event| self.tell(event))
    }

    /// Ready once the client was silent for too long.
    fn poll_heartbeat(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.heartbeat.as_mut().poll(cx).is_ready() {
            self.heartbeat = Box::pin(self.timers.sleep(limits::WEBSOCKET_HEARTBEAT));
            // Silence means nothing while nobody listens.
            if self.socket.take_alive() || !self.listening {
                self.silent_heartbeats = 0;
            } else {
                self.silent_heartbeats += 1;
            }
            if self.silent_heartbeats >= limits::WEBSOCKET_SILENT_HEARTBEATS_MAX {
                return Poll::Ready(());
            }
            if !self.socket.is_congested() {
                let session_id = self.session_id();
                let heartbeat = Outbound::Heartbeat { session_id, timestamp: now(&self.core) };
                let heartbeat = heartbeat.to_message();
                self.socket.say(heartbeat);
                self.socket.say(Message::Ping(Vec::new().into()));
            }
        }
        Poll::Pending
    }

    fn session_id(&self) -> Option<&str> {
        self.attached.as_ref().map(|attached| attached.id.as_str())
    }

    fn tell(&mut self, event: Event) -> Result<(), End> {
        self.told += 1;
        let attached = self.attached.as_ref().expect("only a session has events");
        let id = attached.id.as_str();
        let (message, outcome) = match event {
            Event::Accepted { first, last, memory_id, committed_at } => {
                let ack = Outbound::Ack {
                    session_id: id,
                    sequence_number: last,
                    first_sequence: attached.cumulative.then_some(first),
                    status: "accepted",
                    memory_id: &memory_id,
                    committed_at: committed_at.map(|time| Moment::from_micros(time.0)),
                };
                (ack.to_message(), Ok(()))
            }
            Event::Refused { sequence, why, .. } => (outbound::refused(&why, sequence, id), Ok(())),
            Event::Page { head, page, summary } => {
                (outbound::recall_result(&head, &page, &summary), Ok(()))
            }
            // The last page said so already.
            Event::Recalled { summary, .. } if summary.results > 0 => return Ok(()),
            Event::Recalled { head, summary } => {
                let page = Page { found: Vec::new(), more_results: false };
                (outbound::recall_result(&head, &page, &summary), Ok(()))
            }
            Event::RecallFailed { request_id, failure } => {
                (outbound::failed(&failure, Some(id), Some(&request_id)), Ok(()))
            }
            Event::Closed { last_sequence } => {
                let end = if self.stopped { GOING_AWAY } else { END_OF_SESSION };
                (closed(Some(id), "drained", last_sequence), Err(end))
            }
            Event::Ended(failure) if failure.code == Code::Aborted => {
                let end = End::Close(TAKEN_OVER, "the session was taken over");
                (closed(Some(id), &failure.message, attached.initial_sequence()), Err(end))
            }
            Event::Ended(failure) => {
                let message = outbound::failed(&failure, Some(id), None);
                self.attached = None;
                (message, if self.stopped { Err(GOING_AWAY) } else { Ok(()) })
            }
        };
        self.socket.say(message);
        outcome
    }

    fn refuse(&mut self, message: &str, code: Code) {
        let refusal = outbound::error(message, code, self.session_id());
        self.socket.say(refusal);
    }

    async fn take(&mut self, message: &Message, scratch: &mut Scratch) -> Result<(), End> {
        let Message::Text(text) = message else {
            self.refuse("Not served: binary", Code::Unimplemented);
            return Ok(());
        };
        match read(text, scratch) {
            Ok(Inbound::Observation(message)) => self.observe(&message, scratch).await,
            Ok(Inbound::Init(message)) => self.init(message).await,
            Ok(Inbound::FlowControl(message)) => {
                self.flow_control(&message);
                Ok(())
            }
            Ok(Inbound::Recall(message)) => self.recall(&message, scratch).await,
            Ok(Inbound::Close(message)) => self.close(&message),
            Err(fault) => {
                self.refuse(&fault, Code::InvalidArgument);
                Ok(())
            }
        }
    }

    /// Whether a message may act on the open session; tells the client why not.
    fn admits(&mut self, session_id: &str, purpose: &str) -> bool {
        let fault = match self.session_id() {
            None => Some((format!("Must send 'init' before {purpose}"), Code::FailedPrecondition)),
            Some(id) if id != session_id => {
                let mismatch = format!("Session ID mismatch: expected {id}, got {session_id}");
                Some((mismatch, Code::InvalidArgument))
            }
            Some(_) => None,
        };
        if let Some((message, code)) = &fault {
            self.refuse(message, *code);
        }
        fault.is_none()
    }

    async fn observe(
        &mut self,
        message: &ObservationMessage<'_>,
        scratch: &Scratch,
    ) -> Result<(), End> {
        if !self.admits(&message.session_id, "observations") {
            return Ok(());
        }
        let observation = message.observation(scratch);
        let sequence = message.sequence_number;
        self.hand_in(|session, cx| session.poll_observe(cx, sequence, &observation)).await
    }

    /// Waits until the session takes what is offered.
    async fn hand_in(
        &mut self,
        mut offer: impl FnMut(&mut Session, &mut Context<'_>) -> Poll<()>,
    ) -> Result<(), End> {
        self.listening = false;
        poll_fn(|cx| {
            loop {
                // Nothing is lost with what was not taken: it is never answered, so it is sent again.
                let Some(attached) = self.attached.as_mut().filter(|attached| !attached.closing)
                else {
                    return Poll::Ready(Ok(()));
                };
                if offer(&mut attached.session, cx).is_ready() {
                    return Poll::Ready(Ok(()));
                }
                let told = self.told;
                if let Poll::Ready(end) = self.poll_beside(cx) {
                    return Poll::Ready(Err(end));
                }
                // What the client was told may have made room for it.
                if self.told == told {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    async fn init(&mut self, message: InitMessage<'_>) -> Result<(), End> {
        if self.attached.is_some() {
            self.refuse("'init' was already sent", Code::FailedPrecondition);
            return Ok(());
        }
        if message.indexed_acks {
            self.refuse("Not served: indexed_acks", Code::Unimplemented);
            return Ok(());
        }
        let cumulative = message.ack_mode == AckMode::Cumulative;
        let init = Init {
            space: message.space.into_owned(),
            resume: message.resume.into_owned(),
            lane: message.lane,
            ack_mode: message.ack_mode,
        };
        let core = self.core.clone();
        let mut opening = pin!(Session::open(&core, init));
        self.listening = false;
        let opened = poll_fn(|cx| match self.poll_beside(cx) {
            Poll::Ready(end) => Poll::Ready(Err(end)),
            Poll::Pending => opening.as_mut().poll(cx).map(Ok),
        });
        match opened.await? {
            Ok(session) => {
                let attached = Attached::new(session, cumulative);
                self.socket.say(init_ack(&attached, self.core.settings().capacity));
                self.attached = Some(attached);
            }
            Err(failure) => self.socket.say(outbound::failed(&failure, None, None)),
        }
        Ok(())
    }

    fn flow_control(&mut self, message: &FlowControlMessage<'_>) {
        if !self.admits(&message.session_id, "flow control") {
            return;
        }
        match message.action() {
            Ok(action) => {
                let Attached { session, id, .. } = self.attached_mut();
                session.handle_flow(action);
                let state = if session.is_paused() { "paused" } else { "active" };
                let status = outbound::status(Some(id), state, state, 0);
                self.socket.say(status);
            }
            Err(failure) => self.refuse(&failure.message, failure.code),
        }
    }

    async fn recall(&mut self, message: &RecallMessage<'_>, scratch: &Scratch) -> Result<(), End> {
        if self.attached.is_none() {
            self.refuse("Must send 'init' before recall", Code::FailedPrecondition);
            return Ok(());
        }
        if message.filtered {
            self.refuse("Not served: filter", Code::Unimplemented);
            return Ok(());
        }
        let query = Query {
            embedding: Embedding::F32(scratch.numbers()),
            count: message.results_max,
            width: 0,
            isolation: match message.snapshot_isolation {
                true => Isolation::Durable,
                false => Isolation::InFlight,
            },
            similarity_min: -1.0,
        };
        let head =
            RecallHead { request_id: Rc::from(&*message.request_id), include_embeddings: false };
        let recall = Recall { head, query, page_results: message.page_results };
        self.hand_in(|session, _| session.poll_recall(&recall)).await
    }

    fn attached_mut(&mut self) -> &mut Attached {
        self.attached.as_mut().expect("it was there a moment ago")
    }

    fn close(&mut self, message: &CloseMessage<'_>) -> Result<(), End> {
        let Some(session_id) = self.session_id() else {
            self.socket.say(closed(None, "no session", 0));
            return Err(END_OF_SESSION);
        };
        let named = message.session_id.as_deref().unwrap_or(session_id).to_owned();
        if self.admits(&named, "close") {
            let drain = if message.drain_queue { Drain::Indexed } else { Drain::Durable };
            self.attached_mut().close(drain);
        }
        Ok(())
    }
}

impl Attached {
    fn new(session: Session, cumulative: bool) -> Attached {
        let id = Uuid::from_u128(session.id().0).to_string();
        Attached { session, id, cumulative, closing: false }
    }

    fn initial_sequence(&self) -> u64 {
        self.session.initial_sequence()
    }

    fn close(&mut self, drain: Drain) {
        self.closing = true;
        self.session.close(drain);
    }
}

const GOING_AWAY: End = End::Close(CloseCode::Away, "the server stops");
const END_OF_SESSION: End = End::Close(CloseCode::Normal, "");

fn closed(session_id: Option<&str>, message: &str, sequence_number: u64) -> Message {
    outbound::status(session_id, "closed", message, sequence_number)
}

fn init_ack(attached: &Attached, queue_capacity: u32) -> Message {
    let capabilities = Capabilities {
        max_observations_per_second: 0,
        queue_capacity,
        supports_backpressure: true,
        supports_snapshot_isolation: true,
    };
    let initial_sequence = attached.initial_sequence();
    Outbound::InitAck { session_id: &attached.id, initial_sequence, capabilities }.to_message()
}
