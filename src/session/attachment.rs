//! The open session that a transport drives.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use engram_shards::attributes::Attributes;
use engram_shards::ids::{SessionId, Time};
use engram_shards::log::record::Observation;
use engram_shards::message::{
    Append, Drain, Lane, Pressure, Refusal, Reply, Request, SpaceDescription,
};
use engram_shards::settings::AckPolicy;
use glommio::timer::Timer;
use uuid::Uuid;

use super::event::{AckMode, Event, Init, Load, Recall, Refused};
use super::flow::{Flow, FlowAction};
use super::indexing::{Accepted, Indexing};
use super::open::{self, Attached};
use super::order::{Arrival, Order, Told};
use super::pacing::poll_leave;
use super::recalls::{self, Recalls};
use super::silence::Silence;
use crate::content::{self, ContentFault};
use crate::core::Core;
use crate::events::{News, Subscription, Wanted};
use crate::failure::{Code, Failure};
use crate::limits::{
    RECALL_PAGE_RESULTS_DEFAULT, SESSION_ANSWERS_MAX, SESSION_BYTES, SESSION_RECALLS_MAX,
    SESSION_UNINDEXED_MAX,
};
use crate::loans::Loan;
use crate::mesh::{CreditAnswer, Port, Unavailable};
use crate::metrics::{Rejection, Stage};
use crate::recall::Asked;

#[derive(Debug)]
enum State {
    /// Takes observations.
    Live,
    /// Asked to close after draining so far; so many stripes have not answered yet.
    Closing { stripes_waiting: usize, drain: Drain },
    /// Over, for this reason; told once the acks that came before it are.
    Ending(Failure),
    /// All is told.
    Over,
}

/// An open session. Dropping it detaches it: it stays resumable.
#[derive(Debug)]
pub struct Session {
    core: Core,
    port: Port,
    id: SessionId,
    space: SpaceDescription,
    lane: Lane,
    /// How many observations one ack stands for at most.
    ack_run_max: u64,
    /// How many results a page has, and how many events wait, at most.
    buffer_max: u32,
    initial_sequence: u64,
    /// By number of the stripe.
    stripes: Vec<Attached>,
    order: Order,
    /// None where no such acks are wanted.
    indexing: Option<Indexing>,
    /// What the client knows of the owners' load; none where it does not want to.
    load_told: Option<Load>,
    flow: Flow,
    recalls: Recalls,
    /// What the client hears of its space, and the number of the message that asked for it.
    subscription: Option<(u64, Subscription)>,
    /// Runs while results have to wait for the pace that the client asked for.
    pacing: Option<Timer>,
    silence: Silence,
    /// Runs until it may have lasted too long.
    listening: Option<Timer>,
    state: State,
    /// The vector being prepared.
    scratch: Vec<f32>,
    /// What its answers take.
    _room: Loan,
}

impl Session {
    /// Begins or resumes one; returns once it is durable.
    pub async fn open(core: &Core, init: Init) -> Result<Session, Failure> {
        let room = Loan::take(SESSION_BYTES).ok_or_else(Failure::out_of_memory)?;
        let opened = open::open(core, &init).await?;
        Ok(Session {
            core: core.clone(),
            port: opened.port,
            id: opened.id,
            space: opened.space,
            lane: init.lane,
            ack_run_max: match (init.ack_mode, init.batch_max) {
                (AckMode::Each, _) => 1,
                (AckMode::Cumulative, 0) => u64::MAX,
                (AckMode::Cumulative, most) => most.into(),
            },
            buffer_max: if init.buffer_max == 0 { u32::MAX } else { init.buffer_max },
            initial_sequence: opened.durable_sequence,
            stripes: opened.stripes,
            order: Order::new(opened.durable_sequence, core.now()),
            indexing: init.indexed_acks.then(Indexing::default),
            load_told: init.load_statuses.then(Load::default),
            flow: Flow::default(),
            recalls: Recalls::default(),
            subscription: None,
            pacing: None,
            silence: Silence::new(core.settings().session_silence, core.now()),
            listening: None,
            state: State::Live,
            scratch: Vec::new(),
            _room: room,
        })
    }

    /// Its id.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The last durable sequence when it was opened.
    pub fn initial_sequence(&self) -> u64 {
        self.initial_sequence
    }

    /// Its space.
    pub fn space(&self) -> &SpaceDescription {
        &self.space
    }

    /// Whether a message that names a space and a session (or neither: empty) is for this one.
    pub fn check_names(&self, space: &str, session_id: &str) -> Result<(), ContentFault> {
        let own_space = &self.space.settings.name;
        if !space.is_empty() && space != own_space {
            let message = format!("Invalid memory_space_id: the session is of {own_space}");
            return Err(ContentFault { message, field: "memory_space_id" });
        }
        let own = Uuid::from_u128(self.id.0);
        if session_id.is_empty() || Uuid::try_parse(session_id) == Ok(own) {
            return Ok(());
        }
        let message = format!("Session ID mismatch: expected {own}, got {session_id}");
        Err(ContentFault { message, field: "session_id" })
    }

    /// Takes an observation, whole or not at all. Pending while the core has no budget left for it, its owner is being
    /// asked for a credit, or too many answers wait for the disk: call again, with the same observation, after the
    /// next wake-up and after polling the events. What becomes of it comes as events. An empty id stands for
    /// `mem_{session}_{sequence}`.
    pub fn poll_observe(
        &mut self,
        cx: &mut Context<'_>,
        sequence: u64,
        observation: &Observation<'_>,
    ) -> Poll<()> {
        self.hear();
        match self.state {
            State::Live => {}
            State::Closing { .. } => panic!("an observation after close"),
            // The event that is still to be polled says so.
            State::Ending(_) | State::Over => return Poll::Ready(()),
        }
        let unindexed = self.indexing.as_ref().map_or(0, Indexing::len);
        if self.order.unbounded_len() >= SESSION_ANSWERS_MAX || unindexed >= SESSION_UNINDEXED_MAX {
            return Poll::Pending;
        }
        match self.order.arrival(sequence) {
            Arrival::Next if self.flow.is_paused() => {
                self.refuse(sequence, observation.id.to_owned(), Refused::Paused)
            }
            Arrival::Next => ready!(self.poll_hand_over(cx, sequence, observation)),
            Arrival::InFlight => {}
            Arrival::Repeat => {
                self.core.metrics().space(self.space.key).reject(Rejection::Duplicate);
                self.order.repeat(sequence, own_id(observation));
            }
            Arrival::Gap { expected } => {
                let session = Uuid::from_u128(self.id.0);
                let message = format!(
                    "Sequence validation failed: Sequence mismatch for session {session}: \
                     expected {expected}, got {sequence}"
                );
                self.refuse(sequence, observation.id.to_owned(), Refused::Sequence { message });
            }
        }
        Poll::Ready(())
    }

    /// Refuses an observation for what the transport found: told in its place, after the acks of what came before.
    pub fn refuse(&mut self, sequence: u64, memory_id: String, why: Refused) {
        let rejection = match why {
            Refused::Content { .. } => Some(Rejection::Invalid),
            Refused::Sequence { .. } => Some(Rejection::InvalidSequence),
            Refused::Overloaded { .. } => Some(Rejection::OverCapacity),
            // The client's own wish.
            Refused::Paused => None,
        };
        if let Some(rejection) = rejection {
            self.core.metrics().space(self.space.key).reject(rejection);
        }
        self.order.refuse(sequence, memory_id, why);
    }

    /// Takes a recall. Pending while so many are under way that one has to be answered first: call again, as for
    /// [`Session::poll_observe`]. Its answers come as events.
    pub fn poll_recall(&mut self, recall: &Recall<'_>) -> Poll<()> {
        self.hear();
        if matches!(self.state, State::Ending(_) | State::Over) {
            return Poll::Ready(());
        }
        let asked = match self.recalls.len() < SESSION_RECALLS_MAX {
            true => Asked::new(&self.core, &self.space, &recall.query),
            // The client has to be heard, lest it never says that it wants the results.
            false if self.flow.is_limited() => Err(Failure::new(
                Code::ResourceExhausted,
                format!("{SESSION_RECALLS_MAX} recalls wait for this session's flow control"),
            )),
            false => return Poll::Pending,
        };
        let page_results = match recall.page_results {
            0 => RECALL_PAGE_RESULTS_DEFAULT as u32,
            asked => asked,
        };
        self.recalls.begin(recall.head.clone(), page_results.min(self.buffer_max), asked);
        Poll::Ready(())
    }

    /// Begins to tell what happens in the space, instead of what an earlier subscription asked for. `number` is that of the
    /// message that asks.
    pub fn subscribe(&mut self, number: u64, wanted: Wanted) {
        self.hear();
        if matches!(self.state, State::Live) {
            let wanted = Wanted { room: wanted.room.min(self.buffer_max), ..wanted };
            self.subscription = Some((number, Subscription::new(&self.core, &self.space, wanted)));
        }
    }

    /// Does what the client asks of the flow of its results.
    pub fn handle_flow(&mut self, action: FlowAction) {
        self.hear();
        self.flow.handle(action, self.core.now());
        self.pacing = None;
        // The answer says that it is active or paused. Whatever else is true is told after it.
        self.load_told = self.load_told.map(|_| Load::Active);
    }

    /// Whether the client has paused it.
    pub fn is_paused(&self) -> bool {
        self.flow.is_paused()
    }

    /// Asks for the drained end; `Event::Closed` follows when it is reached and all recalls are answered. Neither an
    /// observation nor a recall may follow.
    pub fn close(&mut self, drain: Drain) {
        if !matches!(self.state, State::Live) {
            return;
        }
        // What is still to be told would otherwise wait for a word that no longer comes.
        self.flow.lift();
        self.pacing = None;
        self.subscription = None;
        for &Attached { stripe, owner, epoch } in &self.stripes {
            let session = self.id;
            self.port.send(owner, Request::CloseSession { stripe, session, epoch, drain });
        }
        self.state = State::Closing { stripes_waiting: self.stripes.len(), drain };
    }

    /// The next event. To be polled before the next observation is handed in, by the same task.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        loop {
            if matches!(self.state, State::Over) {
                return Poll::Pending;
            }
            if let Some(told) = self.order.next(self.ack_run_max) {
                return Poll::Ready(self.event(told));
            }
            if let Some(event) = self.next_indexed().or_else(|| self.next_load()) {
                return Poll::Ready(event);
            }
            if let Some(event) = self.last_event() {
                return Poll::Ready(event);
            }
            if let Poll::Ready((_, reply)) = self.port.poll_reply(cx) {
                self.handle_reply(reply);
                continue;
            }
            if let Poll::Ready(event) = self.poll_recalled(cx) {
                return Poll::Ready(event);
            }
            if let Poll::Ready(event) = self.poll_news(cx) {
                return Poll::Ready(event);
            }
            ready!(self.poll_silence(cx));
        }
    }

    /// What of the accepted is indexed; asks the owners about the rest.
    fn next_indexed(&mut self) -> Option<Event> {
        let indexing = self.indexing.as_mut()?;
        if let Some(Accepted { first, last, memory_id }) = indexing.next() {
            return Some(Event::Indexed { first, last, memory_id });
        }
        if !matches!(self.state, State::Ending(_)) && indexing.ask(self.stripes.len()) {
            for &Attached { stripe, owner, .. } in &self.stripes {
                self.port.send(owner, Request::AwaitPlaced(stripe));
            }
        }
        None
    }

    /// The load of the owners, if it is another than the client knows. Not while it has paused: that it is active would
    /// mean something else.
    fn next_load(&mut self) -> Option<Event> {
        let told = self.load_told.filter(|_| !self.flow.is_paused())?;
        let loads = self.stripes.iter().map(|stripe| self.port.load_of(stripe.owner));
        let pressure = loads.max_by_key(|load| load.level).expect("a space has a stripe");
        let load = Load::from(pressure.level);
        if load == told {
            return None;
        }
        self.load_told = Some(load);
        Some(Event::Load { load, pressure })
    }

    /// What the recalls under way have to tell.
    fn poll_recalled(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        while !self.recalls.is_empty() {
            let leave = self.flow.leave(self.core.now());
            match self.recalls.next(cx, &mut self.flow, leave) {
                recalls::News::Told(event) => return Poll::Ready(event),
                recalls::News::Nothing => break,
                recalls::News::After(micros) => {
                    let timer = || Timer::new(Duration::from_micros(micros));
                    ready!(Pin::new(self.pacing.get_or_insert_with(timer)).poll(cx));
                    self.pacing = None;
                }
            }
        }
        Poll::Pending
    }

    /// What has happened in the space, as far as the client wants to hear of it now.
    fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let Some((number, subscription)) = &mut self.subscription else {
            return Poll::Pending;
        };
        if subscription.has_begun() {
            ready!(poll_leave(&self.core, &mut self.flow, &mut self.pacing, cx));
        }
        let number = *number;
        Poll::Ready(match ready!(subscription.poll_news(cx)) {
            Ok(News::Begun) => Event::Subscribed { number, is_paused: self.flow.is_paused() },
            Ok(News::Missed(count)) => Event::EventsMissed(count),
            Ok(News::Happened(event)) => {
                self.flow.spend(1);
                Event::Happened(event)
            }
            Err(failure) => {
                self.subscription = None;
                Event::SubscriptionEnded { number, failure }
            }
        })
    }

    fn hear(&mut self) {
        self.silence.end(self.core.now());
    }

    /// Ready once it ends because its client was silent for too long; the next event says so.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !matches!(self.state, State::Live) {
            return Poll::Pending;
        }
        loop {
            // Who waits for acks, or listens to what happens, has a reason to be silent.
            if !self.order.is_settled() || self.subscription.is_some() {
                self.hear();
            }
            let Some(left) = self.silence.left(self.core.now()) else {
                let limit = self.core.settings().session_silence;
                let message = format!("Session silent for {limit:?}; resume to go on");
                self.state = State::Ending(Failure::new(Code::Unavailable, message));
                return Poll::Ready(());
            };
            ready!(Pin::new(self.listening.get_or_insert_with(|| Timer::new(left))).poll(cx));
            self.listening = None;
        }
    }

    /// Hands the expected observation to its owner, or refuses it.
    fn poll_hand_over(
        &mut self,
        cx: &mut Context<'_>,
        sequence: u64,
        observation: &Observation<'_>,
    ) -> Poll<()> {
        let memory_id = self.memory_id(sequence, observation.id);
        let memory_hash = self.core.secret().memory_hash(&memory_id);
        let stripe = (memory_hash % self.stripes.len() as u64) as usize;
        let Attached { stripe, epoch, .. } = self.stripes[stripe];
        let credit = match ready!(self.port.poll_credit(cx, stripe, self.lane)) {
            CreditAnswer::Taken(credit) => credit,
            CreditAnswer::Refused(pressure) => {
                self.refuse(sequence, observation.id.to_owned(), overloaded(pressure));
                return Poll::Ready(());
            }
            CreditAnswer::Unavailable => {
                self.state = State::Ending(Failure::unavailable());
                return Poll::Ready(());
            }
        };
        let mut budget = ready!(self.port.poll_budget(cx, content::size_bytes(observation)));
        let begun = Instant::now();
        let named = Observation { id: &memory_id, ..observation.clone() };
        let settings = &self.space.settings;
        let prepared = match content::prepare(&named, settings, &mut self.scratch) {
            Ok(prepared) => prepared,
            Err(fault) => {
                self.refuse(sequence, observation.id.to_owned(), fault.into());
                return Poll::Ready(());
            }
        };
        let begun = self.core.metrics().spend(Stage::Encode, begun);
        budget.resize(prepared.body.bytes.len() + prepared.codes.codes8.len());
        let received_at = self.core.now();
        let append = Append {
            stripe,
            session: self.id,
            epoch,
            sequence,
            memory_hash,
            received_at,
            lane: self.lane,
            body: prepared.body,
            codes: prepared.codes,
            attributes: Attributes::of(&named, received_at, &self.core.secret()),
        };
        self.order.hand_over(own_id(observation), append.received_at);
        self.port.append(append, credit, budget);
        self.core.metrics().spend(Stage::Ring, begun);
        Poll::Ready(())
    }

    fn memory_id<'a>(&self, sequence: u64, own: &'a str) -> Cow<'a, str> {
        if own.is_empty() {
            Cow::Owned(format!("mem_{}_{sequence}", Uuid::from_u128(self.id.0)))
        } else {
            Cow::Borrowed(own)
        }
    }

    fn event(&mut self, told: Told) -> Event {
        match told {
            Told::Accepted { first, last, memory_id, committed_at } => {
                // An ack that only means that it was written tells no time of its commit.
                let is_durable = self.core.settings().durability != AckPolicy::Write;
                let committed_at = is_durable.then_some(committed_at);
                let memory_id = match memory_id {
                    Some(own) => own.into_string(),
                    None => self.memory_id(last, "").into_owned(),
                };
                if let Some(indexing) = &mut self.indexing {
                    let memory_id = memory_id.clone();
                    indexing.accept(Accepted { first, last, memory_id });
                }
                Event::Accepted { first, last, memory_id, committed_at }
            }
            Told::Refused { sequence, memory_id, why } => {
                Event::Refused { sequence, memory_id, why }
            }
        }
    }

    /// The event that ends the session, once nothing else is to be told before it.
    fn last_event(&mut self) -> Option<Event> {
        let event = match &mut self.state {
            State::Ending(failure) => Event::Ended(failure.clone()),
            State::Closing { stripes_waiting: 0, drain }
                if self.order.is_settled()
                    && self.recalls.is_empty()
                    && (*drain == Drain::Durable
                        || self.indexing.as_ref().is_none_or(Indexing::is_empty)) =>
            {
                Event::Closed { last_sequence: self.order.told() }
            }
            _ => return None,
        };
        self.state = State::Over;
        Some(event)
    }

    fn count_latency(&self, first: u64, last: u64, committed_at: Time) {
        let mut metrics = self.core.metrics();
        let latency = &mut metrics.space(self.space.key).observation_latency;
        for sequence in first..=last {
            let micros = committed_at.micros_since(self.order.received_at(sequence));
            latency.observe(micros as f64 * 1e-6);
        }
    }

    fn handle_reply(&mut self, reply: Result<Reply, Unavailable>) {
        match reply {
            Ok(Reply::Durable { session, first, last, committed_at }) => {
                assert_eq!(session, self.id, "a reply to another session");
                let committed_at = committed_at.unwrap_or_else(|| self.core.now());
                self.count_latency(first, last, committed_at);
                self.order.handle_durable(first, last, committed_at);
            }
            Ok(Reply::Dropped { refusal, .. }) => self.state = State::Ending(refusal.into()),
            Ok(Reply::Fenced { .. }) => self.state = State::Ending(Refusal::Fenced.into()),
            Ok(Reply::Placed(_)) => {
                self.indexing.as_mut().expect("only then is it asked").handle_placed();
            }
            Ok(Reply::Closed(Ok(_))) => {
                let State::Closing { stripes_waiting, .. } = &mut self.state else {
                    panic!("closed without having been asked to");
                };
                *stripes_waiting -= 1;
            }
            Ok(Reply::Closed(Err(refusal))) => self.state = State::Ending(refusal.into()),
            Err(Unavailable) => self.state = State::Ending(Failure::unavailable()),
            Ok(other) => panic!("a session was told {other:?}"),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A close that is under way detaches by itself.
        if matches!(self.state, State::Live | State::Ending(_)) {
            for &Attached { stripe, owner, epoch } in &self.stripes {
                let session = self.id;
                self.port.send(owner, Request::DetachSession { stripe, session, epoch });
            }
        }
    }
}

fn own_id(observation: &Observation<'_>) -> Option<Box<str>> {
    (!observation.id.is_empty()).then(|| observation.id.into())
}

fn overloaded(pressure: Pressure) -> Refused {
    Refused::Overloaded {
        message: Failure::over_capacity(pressure).message,
        retry_after_ms: pressure.retry_after_ms(),
        depth: pressure.depth,
        capacity: pressure.capacity,
    }
}
