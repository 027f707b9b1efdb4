//! What becomes of what a client says: one task that drives socket, session and recalls.
//!
//! At every turn the session's events come first, so that acks never wait behind what is still to be read; then the
//! client's next message, and only when the one before it was taken whole.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use engram_proto::engram::v1::observation_request::Operation;
use engram_proto::engram::v1::{Episode, ObservationRequest, StreamSubscription};
use engram_shards::message::Drain;
use prost::Message as _;
use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::core::Core;
use crate::failure::{Code, Failure};
use crate::limits;
use crate::loans::Loan;
use crate::session::{AckMode, Event, FlowAction, Init, Session};
use crate::turnstile::Turns;
use crate::wire::transport::{Switched, Timers, Transport};
use crate::wire::websocket::form::Form;
use crate::wire::websocket::inbound::{Inbound, read};
use crate::wire::websocket::observation::Scratch;
use crate::wire::websocket::outbound::Addressee;
use crate::wire::websocket::socket::{Fault, Socket};
use crate::wire::{convert, operation};

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
            Fault::Crowded => {
                End::Close(CloseCode::Again, "the memory for requests is used up; come back")
            }
        }
    }
}

/// An open session with its id as text.
struct Attached {
    session: Session,
    id: String,
    ack_mode: AckMode,
    /// Whether it was asked to close; then no observation may follow.
    closing: bool,
}

/// One client.
pub(crate) struct Conversation<S, T> {
    core: Core,
    timers: T,
    socket: Socket<S>,
    attached: Option<Attached>,
    /// How the client is told things: as it said `init`, and before that as it spoke last.
    form: Form,
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
    turns: Turns,
    /// As long as it lasts.
    _room: Loan,
}

impl<S: Transport, T: Timers> Conversation<S, T> {
    /// A client that has just been answered with 101; what it takes is lent in `room`.
    pub(crate) fn new(
        core: Core,
        timers: T,
        switched: Switched<S>,
        room: Loan,
    ) -> Conversation<S, T> {
        let (turns, socket) =
            (core.turns(), Socket::new(switched, core.settings().message_bytes_max));
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
            form: Form::default(),
            stopping,
            stopped: false,
            silent_heartbeats: 0,
            listening: true,
            told: 0,
            turns,
            _room: room,
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
        loop {
            let message = match poll_fn(|cx| self.poll_message(cx)).await {
                Ok(message) => message,
                Err(end) => return end,
            };
            if let Err(end) = self.take(&message, &mut scratch).await {
                return end;
            }
        }
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, End>> {
        let polled = self.poll_turn(cx);
        if polled.is_pending() {
            self.turns.rest();
        }
        polled
    }

    /// The same, in the conversation's turn.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, End>> {
        let closing = self.attached.as_ref().is_some_and(|attached| attached.closing);
        self.listening = !(self.stopped || closing);
        if let Poll::Ready(end) = self.poll_beside(cx) {
            return Poll::Ready(Err(end));
        }
        if !self.listening || self.stopped || self.socket.is_congested() {
            return Poll::Pending;
        }
        ready!(self.turns.poll(cx));
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
                self.say(Form::heartbeat);
                self.socket.say(Message::Ping(Vec::new().into()));
            }
        }
        Poll::Pending
    }

    fn session_id(&self) -> Option<&str> {
        self.attached.as_ref().map(|attached| attached.id.as_str())
    }

    fn addressee(&self) -> Addressee<'_> {
        let ack_mode = self.attached.as_ref().map(|attached| attached.ack_mode).unwrap_or_default();
        Addressee { session_id: self.session_id(), ack_mode, now: self.core.now() }
    }

    fn say(&mut self, message: impl FnOnce(Form, &Addressee<'_>) -> Message) {
        let message = message(self.form, &self.addressee());
        self.socket.say(message);
    }

    fn say_closed(&mut self, message: &str, sequence: u64) {
        self.say(|form, to| form.status(convert::closed(message), sequence, to));
    }

    fn tell(&mut self, event: Event) -> Result<(), End> {
        self.told += 1;
        let outcome = match &event {
            Event::Closed { last_sequence } => {
                self.say_closed("drained", *last_sequence);
                return Err(if self.stopped { GOING_AWAY } else { END_OF_SESSION });
            }
            Event::Ended(failure) if failure.code == Code::Aborted => {
                Err(End::Close(TAKEN_OVER, "the session was taken over"))
            }
            Event::Ended(_) if self.stopped => Err(GOING_AWAY),
            _ => Ok(()),
        };
        let is_over = matches!(event, Event::Ended(_));
        let attached = self.attached.as_ref().expect("only a session has events");
        let to = Addressee {
            session_id: Some(&attached.id),
            ack_mode: attached.ack_mode,
            now: self.core.now(),
        };
        self.form.say_event(event, &to, |message| self.socket.say(message));
        if is_over {
            self.attached = None;
        }
        outcome
    }

    fn refuse(&mut self, message: impl Into<String>, code: Code) {
        self.fail(&Failure::new(code, message));
    }

    fn fail(&mut self, failure: &Failure) {
        self.say(|form, to| form.failed(failure, to));
    }

    async fn take(&mut self, message: &Message, scratch: &mut Scratch) -> Result<(), End> {
        let form = match message {
            Message::Binary(_) => Form::Protobuf,
            _ => Form::Json,
        };
        if self.attached.is_none() {
            self.form = form;
        }
        match message {
            Message::Text(text) => match read(text, scratch) {
                Ok(inbound) => self.take_json(inbound, scratch).await,
                Err(fault) => {
                    self.refuse(fault, Code::InvalidArgument);
                    Ok(())
                }
            },
            Message::Binary(bytes) => match ObservationRequest::decode(bytes.clone()) {
                Ok(request) => self.take_request(&request).await,
                Err(error) => {
                    self.refuse(format!("not a message: {error}"), Code::InvalidArgument);
                    Ok(())
                }
            },
            other => unreachable!("the socket keeps frames to itself that say nothing: {other:?}"),
        }
    }

    async fn take_json(&mut self, inbound: Inbound<'_>, scratch: &Scratch) -> Result<(), End> {
        match inbound {
            Inbound::Observation(message) => {
                if !self.admits(Some(&message.session_id), "observations") {
                    return Ok(());
                }
                let observation = message.observation(scratch);
                let sequence = message.sequence_number;
                self.hand_in(|session, cx| session.poll_observe(cx, sequence, &observation)).await
            }
            Inbound::Init(init) => self.open(Ok(init)).await,
            Inbound::FlowControl(message) => {
                if self.admits(Some(message.session_id()), "flow control") {
                    self.flow(message.action(), 0);
                }
                Ok(())
            }
            Inbound::Recall(message) => match message.recall(scratch) {
                _ if !self.admits(None, "recall") => Ok(()),
                Ok(recall) => self.hand_in(|session, _| session.poll_recall(&recall)).await,
                Err(failure) => {
                    self.fail(&failure);
                    Ok(())
                }
            },
            Inbound::Subscribe(subscription) => {
                if self.admits(None, "subscribe") {
                    self.subscribe(&subscription, 0);
                }
                Ok(())
            }
            Inbound::Close(message) => self.close(message.session_id.as_deref(), message.drain),
        }
    }

    /// A message of the protocol itself. What is wrong with one is told as a status, and the connection stays open.
    async fn take_request(&mut self, request: &ObservationRequest) -> Result<(), End> {
        let sequence = request.sequence_number;
        let named = Some(request.session_id.as_str()).filter(|id| !id.is_empty());
        match &request.operation {
            Some(Operation::Init(init)) => {
                let (space, resume) = (&request.memory_space_id, &request.session_id);
                self.open(convert::init(init, space.clone(), resume.clone())).await
            }
            Some(Operation::Observation(_) | Operation::Batch(_))
                if !self.admits(None, "observations") =>
            {
                Ok(())
            }
            Some(Operation::Observation(episode)) => {
                self.observe_each(request, std::slice::from_ref(episode)).await
            }
            Some(Operation::Batch(batch)) => self.observe_each(request, &batch.observations).await,
            Some(Operation::Flow(flow)) => {
                if self.admits(named, "flow control") {
                    self.flow(convert::flow_action(flow), sequence);
                }
                Ok(())
            }
            Some(Operation::Recall(recall)) => {
                if !self.admits(None, "recall") {
                    return Ok(());
                }
                let session = &self.attached_mut().session;
                match operation::recall(request, recall, session) {
                    Ok(asked) => self.hand_in(|session, _| session.poll_recall(&asked)).await,
                    Err(failure) => {
                        let status = convert::recall_failed(&recall.request_id, &failure);
                        self.say(|form, to| form.status(status, sequence, to));
                        Ok(())
                    }
                }
            }
            Some(Operation::Subscribe(subscription)) => {
                if self.admits(named, "subscribe") {
                    self.subscribe(subscription, sequence);
                }
                Ok(())
            }
            Some(Operation::Close(close)) => self.close(named, convert::drain(close)),
            None => {
                self.fail(&convert::empty_operation());
                Ok(())
            }
        }
    }

    /// Observations of one request, whose number is the first one's.
    async fn observe_each(
        &mut self,
        request: &ObservationRequest,
        episodes: &[Episode],
    ) -> Result<(), End> {
        for (sequence, episode) in (request.sequence_number..).zip(episodes) {
            self.hand_in(|session, cx| {
                operation::poll_observe(session, cx, request, sequence, episode)
            })
            .await?;
        }
        Ok(())
    }

    /// Whether a message may act on the open session, which it perhaps names; tells the client why not.
    fn admits(&mut self, named: Option<&str>, purpose: &str) -> bool {
        let fault = match (self.session_id(), named) {
            (None, _) => (format!("Must send 'init' before {purpose}"), Code::FailedPrecondition),
            (Some(id), Some(named)) if id != named => {
                (format!("Session ID mismatch: expected {id}, got {named}"), Code::InvalidArgument)
            }
            (Some(_), _) => return true,
        };
        let (message, code) = fault;
        self.refuse(message, code);
        false
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
                    self.turns.rest();
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    async fn open(&mut self, init: Result<Init, Failure>) -> Result<(), End> {
        if self.attached.is_some() {
            self.refuse("'init' was already sent", Code::FailedPrecondition);
            return Ok(());
        }
        let init = match init {
            Ok(init) => init,
            Err(failure) => {
                self.fail(&failure);
                return Ok(());
            }
        };
        let ack_mode = init.ack_mode;
        let core = self.core.clone();
        let mut opening = pin!(Session::open(&core, init));
        self.turns.rest();
        self.listening = false;
        let opened = poll_fn(|cx| match self.poll_beside(cx) {
            Poll::Ready(end) => Poll::Ready(Err(end)),
            Poll::Pending => opening.as_mut().poll(cx).map(Ok),
        });
        match opened.await? {
            Ok(session) => {
                let ack = convert::init_ack(&self.core, &session);
                let id = ack.session_id.clone();
                self.attached = Some(Attached { session, id, ack_mode, closing: false });
                self.say(|form, to| form.init_ack(ack, to));
            }
            Err(failure) => self.fail(&failure),
        }
        Ok(())
    }

    fn flow(&mut self, action: Result<FlowAction, Failure>, sequence: u64) {
        match action {
            Ok(action) => {
                let session = &mut self.attached_mut().session;
                session.handle_flow(action);
                let status = convert::flow_status(session.is_paused());
                self.say(|form, to| form.status(status, sequence, to));
            }
            Err(failure) => self.fail(&failure),
        }
    }

    fn subscribe(&mut self, subscription: &StreamSubscription, sequence: u64) {
        match operation::wanted(subscription) {
            Ok(wanted) => self.attached_mut().session.subscribe(sequence, wanted),
            Err(failure) => self.fail(&failure),
        }
    }

    fn attached_mut(&mut self) -> &mut Attached {
        self.attached.as_mut().expect("it was there a moment ago")
    }

    fn close(&mut self, named: Option<&str>, drain: Drain) -> Result<(), End> {
        if self.attached.is_none() {
            self.say_closed("no session", 0);
            return Err(END_OF_SESSION);
        }
        if self.admits(named, "close") {
            self.attached_mut().close(drain);
        }
        Ok(())
    }
}

impl Attached {
    fn close(&mut self, drain: Drain) {
        self.closing = true;
        self.session.close(drain);
    }
}

const GOING_AWAY: End = End::Close(CloseCode::Away, "the server stops");
const END_OF_SESSION: End = End::Close(CloseCode::Normal, "");
