//! A session's rules, without I/O: what is sent next, what each answer means, when to connect again.
//!
//! Time is the time since the session was made, given with each call. Answers go in by `handle_*`; what is to be sent
//! comes out of [`Machine::next`], what became of it out of [`Machine::outcomes`].
//!
//! A sequence is a place: the first observation that is not yet durable has the number behind the durable ones, and so
//! on. So one that is refused for what it holds takes no number with it, and a refusal that passes sends everything
//! again from there, once all that is under way is answered. What became durable before a connection was lost the
//! server tells on resuming.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use engram_proto::engram::v1 as wire;
use engram_proto::engram::v1::observation_ack::Status as AckStatus;
use engram_proto::engram::v1::observation_request::Operation;
use engram_proto::engram::v1::observation_response::Result as Answer;
use engram_proto::engram::v1::stream_status::State as Told;
use prost::Message as _;

use crate::delay::{Chance, Delays};
use crate::error::{Error, ErrorKind};
use crate::types::{Memory, Receipt, Recollection, SessionOptions};

/// What waits goes in one message up to about this: each message costs more than the observations in it.
const BATCH_BYTES_MAX: usize = 64 << 10;
/// Messages of observations that are not answered; with so many, observations wait and go together. A server takes a
/// flood of small frames for an attack.
const MESSAGES_UNDER_WAY_MAX: usize = 32;
/// Recalls that are not answered; with more, the server would read nothing else.
const RECALLS_UNDER_WAY_MAX: usize = 8;
/// Where the server is overloaded and does not say for how long.
const OVERLOADED_WAIT: Duration = Duration::from_secs(1);

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No call; [`Machine::connect_at`] says when to make one.
    Lost,
    /// `init` is on its way.
    Opening,
    Open,
    Closed,
    Failed,
}

/// What to do now.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// Send this, then ask again.
    Send(Box<wire::ObservationRequest>),
    /// Nothing before this time, or, where there is none, before something else happens.
    Wait(Option<Duration>),
}

/// What became of what a token stands for.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome<O, R> {
    Observed(O, Result<Receipt, Error>),
    Recalled(R, Result<Recollection, Error>),
}

#[derive(Debug)]
struct Pending<O> {
    token: O,
    episode: wire::Episode,
    bytes: usize,
}

#[derive(Debug)]
struct Recalling<R> {
    token: R,
    request: wire::StreamingRecallRequest,
    found: Vec<Memory>,
    is_sent: bool,
    /// So many observations were taken before it.
    behind: u64,
}

/// One session over as many calls as it takes. `O` stands for an observation, `R` for a recall.
#[derive(Debug)]
pub(crate) struct Machine<O, R> {
    space: String,
    session_id: String,
    options: SessionOptions,
    state: State,
    failure: Option<Error>,
    connect_at: Duration,
    initial: Option<u64>,
    durable: u64,
    reconnects: u64,
    overloads: u64,
    outcomes: Vec<Outcome<O, R>>,
    /// Observations without an outcome. The first `sent` were sent in this call, the first `ever_sent` in any.
    pending: VecDeque<Pending<O>>,
    sent: usize,
    ever_sent: usize,
    /// Sent in this call and not answered: more than `sent` while going back.
    under_way: usize,
    /// Observations with an outcome.
    settled: u64,
    /// The last sequence in each message of them.
    messages: VecDeque<u64>,
    is_going_back: bool,
    /// Why the ack that follows is a refusal.
    told: Option<(u64, wire::StreamStatus)>,
    limit: usize,
    /// How many may be under way: fewer after a refusal for overload.
    window: usize,
    grown: usize,
    is_held: bool,
    is_paused: bool,
    hold_until: Duration,
    rate: f32,
    recalls: VecDeque<Recalling<R>>,
    recall_count: u64,
    closing: Option<wire::StreamClose>,
    is_close_sent: bool,
    is_init_sent: bool,
    /// Since when nothing was acked although calls broke.
    stuck_since: Option<Duration>,
    delays: Delays,
}

impl<O, R> Machine<O, R> {
    pub(crate) fn new(space: &str, options: SessionOptions, chance: Chance) -> Machine<O, R> {
        let limit = options.window.max(1) as usize;
        Machine {
            space: space.to_owned(),
            session_id: options.resume.clone(),
            state: State::Lost,
            failure: None,
            connect_at: Duration::ZERO,
            initial: None,
            durable: 0,
            reconnects: 0,
            overloads: 0,
            outcomes: Vec::new(),
            pending: VecDeque::new(),
            sent: 0,
            ever_sent: 0,
            under_way: 0,
            settled: 0,
            messages: VecDeque::new(),
            is_going_back: false,
            told: None,
            limit,
            window: limit,
            grown: 0,
            is_held: false,
            is_paused: false,
            hold_until: Duration::ZERO,
            rate: 0.0,
            recalls: VecDeque::new(),
            recall_count: 0,
            closing: None,
            is_close_sent: false,
            is_init_sent: false,
            stuck_since: Some(Duration::ZERO),
            delays: Delays::new(options.reconnect_delay, options.reconnect_delay_max, chance),
            options,
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// What ended it, where it failed.
    pub(crate) fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }

    pub(crate) fn session_id(&self) -> &str {
        &self.session_id
    }

    /// The last durable sequence when it was opened here; `None` before that.
    pub(crate) fn initial(&self) -> Option<u64> {
        self.initial
    }

    /// The last sequence known to be durable.
    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }

    /// How often it went on over another connection.
    pub(crate) fn reconnects(&self) -> u64 {
        self.reconnects
    }

    /// How often the server was overloaded and observations went again.
    pub(crate) fn overloads(&self) -> u64 {
        self.overloads
    }

    /// Observations that were taken and have no outcome yet.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// When to make the next call, while it is lost.
    pub(crate) fn connect_at(&self) -> Duration {
        self.connect_at
    }

    /// Whether nothing more will happen.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Closed | State::Failed)
    }

    /// Takes an observation, behind all others.
    pub(crate) fn observe(&mut self, token: O, episode: wire::Episode) {
        if let Some(error) = self.refusal() {
            return self.outcomes.push(Outcome::Observed(token, Err(error)));
        }
        let bytes = episode.encoded_len();
        self.pending.push_back(Pending { token, episode, bytes });
    }

    /// Takes a recall. It is sent behind the observations that were taken before it, except while those are held.
    pub(crate) fn recall(&mut self, token: R, mut request: wire::StreamingRecallRequest) {
        if let Some(error) = self.refusal() {
            return self.outcomes.push(Outcome::Recalled(token, Err(error)));
        }
        self.recall_count += 1;
        request.memory_space_id.clone_from(&self.space);
        request.request_id = format!("recall-{}", self.recall_count);
        let behind = self.settled + self.pending.len() as u64;
        let found = Vec::new();
        self.recalls.push_back(Recalling { token, request, found, is_sent: false, behind });
    }

    /// Sends no observation until it is told otherwise, or goes on.
    pub(crate) fn hold(&mut self, is_held: bool) {
        self.is_held = is_held;
    }

    /// Ends it once all is acked; with `drain_queue`, once it is in the index too.
    pub(crate) fn close(&mut self, drain_queue: bool) {
        self.is_held = false;
        let close = wire::StreamClose { drain_queue, ..wire::StreamClose::default() };
        self.closing.get_or_insert(close);
    }

    /// Ends it at once; it stays on the server, to be resumed.
    pub(crate) fn leave(&mut self) {
        if !self.is_over() {
            let message = "the session was left; it can be resumed by its id";
            self.fail(Error::new(ErrorKind::SessionClosed, message));
        }
    }

    /// A call is being made: [`Machine::next`] begins with its `init`.
    pub(crate) fn handle_connecting(&mut self, now: Duration) {
        assert_eq!(self.state, State::Lost, "one call at a time");
        self.state = State::Opening;
        self.sent = 0;
        self.under_way = 0;
        self.messages.clear();
        self.is_going_back = false;
        self.told = None;
        self.is_paused = false;
        self.rate = 0.0;
        self.hold_until = now;
        self.is_close_sent = false;
        self.is_init_sent = false;
        for recall in &mut self.recalls {
            recall.is_sent = false;
            recall.found.clear();
        }
    }

    /// The call is over; `None`: in order.
    pub(crate) fn handle_end(&mut self, error: Option<Error>, now: Duration) {
        if self.is_over() {
            return;
        }
        self.state = State::Lost;
        let error = error
            .unwrap_or_else(|| Error::new(ErrorKind::Unavailable, "the server ended the stream"));
        if !error.passes() && error.kind() != ErrorKind::Overloaded {
            return self.fail(error);
        }
        let stuck_since = *self.stuck_since.get_or_insert(now);
        self.connect_at = now + self.delays.next(error.retry_after());
        let is_stuck = |patience| self.connect_at - stuck_since > patience;
        if self.options.patience.is_some_and(is_stuck) {
            self.give_up(&error);
        }
    }

    /// The server said something.
    pub(crate) fn handle_response(&mut self, response: wire::ObservationResponse, now: Duration) {
        if self.is_over() {
            return;
        }
        let sequence = response.sequence_number;
        let handled = match response.result {
            Some(Answer::InitAck(ack)) => self.handle_init_ack(&ack),
            Some(Answer::Ack(ack)) => self.handle_ack(sequence, &ack, now),
            Some(Answer::Status(status)) => self.handle_status(sequence, status, now),
            Some(Answer::RecallResult(page)) => self.handle_recalled(page),
            // What a later server may say.
            _ => Ok(()),
        };
        if let Err(violation) = handled {
            self.fail(Error::new(ErrorKind::Protocol, violation));
        }
    }

    /// What to do on the call. Changes with time, and with every other call of this.
    pub(crate) fn next(&mut self, now: Duration) -> Next {
        match self.state {
            State::Opening => return self.next_opening(now),
            State::Open => {}
            _ => return Next::Wait(None),
        }
        if let Some(request) = self.next_recall() {
            return self.send(Operation::Recall(request), 0);
        }
        if self.is_going_back && self.under_way == 0 {
            self.is_going_back = false;
            self.messages.clear();
        }
        if !self.is_going_back && self.sent < self.pending.len() {
            return self.next_observations(now);
        }
        let is_idle = self.pending.is_empty() && self.recalls.is_empty();
        if let Some(mut close) = self.closing
            && is_idle
            && !self.is_close_sent
        {
            self.is_close_sent = true;
            close.last_sequence = self.durable;
            return self.send(Operation::Close(close), 0);
        }
        Next::Wait(None)
    }

    /// What is decided since the last time.
    pub(crate) fn outcomes(&mut self) -> Vec<Outcome<O, R>> {
        std::mem::take(&mut self.outcomes)
    }

    /// Why nothing is taken any more.
    fn refusal(&self) -> Option<Error> {
        let is_closing = self.closing.is_some() || self.state == State::Closed;
        let closed = || Error::new(ErrorKind::SessionClosed, "the session is closed");
        self.failure.clone().or_else(|| is_closing.then(closed))
    }

    fn next_opening(&mut self, now: Duration) -> Next {
        if !self.is_init_sent {
            self.is_init_sent = true;
            let init = wire::StreamInit {
                enable_backpressure: true,
                ack_mode: wire::AckMode::Cumulative.into(),
                priority: self.options.priority.to_wire().into(),
                ..wire::StreamInit::default()
            };
            return self.send(Operation::Init(init), 0);
        }
        let until = self.stuck_since.zip(self.options.patience).map(|(since, most)| since + most);
        if until.is_some_and(|until| now >= until) {
            self.give_up(&Error::new(ErrorKind::Unavailable, "init was not answered"));
            return Next::Wait(None);
        }
        Next::Wait(until)
    }

    fn next_recall(&mut self) -> Option<wire::StreamingRecallRequest> {
        let under_way = self.recalls.iter().filter(|recall| recall.is_sent).count();
        let gone = self.settled + self.sent as u64;
        let recall = self.recalls.iter_mut().find(|recall| !recall.is_sent)?;
        let is_its_turn = recall.behind <= gone || self.is_held;
        if !is_its_turn || under_way >= RECALLS_UNDER_WAY_MAX {
            return None;
        }
        recall.is_sent = true;
        Some(recall.request.clone())
    }

    fn next_observations(&mut self, now: Duration) -> Next {
        let mut room = self.window.saturating_sub(self.under_way);
        let is_full = room == 0 || self.messages.len() >= MESSAGES_UNDER_WAY_MAX;
        if self.is_held || self.is_paused || is_full {
            return Next::Wait(None);
        }
        if now < self.hold_until {
            return Next::Wait(Some(self.hold_until));
        }
        if self.rate > 0.0 {
            self.hold_until = now + Duration::from_secs_f32(1.0 / self.rate);
            room = 1;
        }
        let first = self.durable + self.sent as u64 + 1;
        let mut observations = self.unsent(room);
        self.sent += observations.len();
        self.under_way += observations.len();
        self.ever_sent = self.ever_sent.max(self.sent);
        self.messages.push_back(self.durable + self.sent as u64);
        let operation = match observations.len() {
            1 => Operation::Observation(observations.remove(0)),
            _ => Operation::Batch(wire::ObservationBatch { observations }),
        };
        self.send(operation, first)
    }

    /// Those that go in one message: at least one.
    fn unsent(&self, room: usize) -> Vec<wire::Episode> {
        let mut bytes = 0;
        let fits = |(number, pending): &(usize, &Pending<O>)| {
            bytes += pending.bytes;
            *number == 0 || bytes <= BATCH_BYTES_MAX
        };
        let unsent = self.pending.iter().skip(self.sent).take(room).enumerate();
        unsent.take_while(fits).map(|(_, pending)| pending.episode.clone()).collect()
    }

    fn send(&self, operation: Operation, sequence_number: u64) -> Next {
        let memory_space_id = match operation {
            Operation::Init(_) => self.space.clone(),
            _ => String::new(),
        };
        Next::Send(Box::new(wire::ObservationRequest {
            memory_space_id,
            session_id: self.session_id.clone(),
            sequence_number,
            operation: Some(operation),
        }))
    }

    fn handle_init_ack(&mut self, ack: &wire::StreamInitAck) -> Result<(), String> {
        if self.state != State::Opening {
            return Err("a second init_ack".to_owned());
        }
        if !self.session_id.is_empty() && self.session_id != ack.session_id {
            return Err(format!("session {} instead of {}", ack.session_id, self.session_id));
        }
        let durable = ack.initial_sequence;
        match self.initial {
            None => {
                self.initial = Some(durable);
                self.durable = durable;
            }
            Some(_) => self.reconnects += 1,
        }
        let last = self.durable + self.ever_sent as u64;
        if durable < self.durable || durable > last {
            return Err(format!("resumed at {durable}, not from {} to {last}", self.durable));
        }
        self.session_id.clone_from(&ack.session_id);
        self.state = State::Open;
        if let Some(capabilities) = &ack.capabilities
            && capabilities.queue_capacity > 0
        {
            self.limit = self.limit.min(capabilities.queue_capacity as usize);
            self.window = self.window.min(self.limit);
        }
        let is_progress = durable > self.durable || self.pending.is_empty();
        while self.durable < durable {
            self.accept(None);
        }
        if is_progress {
            self.progressed();
        }
        Ok(())
    }

    fn handle_ack(
        &mut self,
        last: u64,
        ack: &wire::ObservationAck,
        now: Duration,
    ) -> Result<(), String> {
        match ack.status() {
            AckStatus::Rejected => return self.handle_rejected(last, now),
            AckStatus::Accepted if last > self.durable => {}
            _ => return Ok(()),
        }
        let first = if ack.first_sequence == 0 { last } else { ack.first_sequence };
        let turn = self.durable + 1;
        let count = (last + 1).saturating_sub(first);
        if first != turn || count > self.sent as u64 || self.is_going_back {
            return Err(format!("acked {first} to {last}, but the turn is at {turn}"));
        }
        let count = count as usize;
        self.under_way -= count;
        self.sent -= count;
        let committed_at = ack.committed_at.and_then(|at| SystemTime::try_from(at).ok());
        for _ in 0..count {
            self.accept(committed_at);
        }
        while self.messages.front().is_some_and(|&message| message <= last) {
            self.messages.pop_front();
        }
        self.grow(count);
        self.progressed();
        Ok(())
    }

    /// The first pending one is durable.
    fn accept(&mut self, committed_at: Option<SystemTime>) {
        let Pending { token, mut episode, .. } = self.take_first();
        self.durable += 1;
        let sequence = self.durable;
        let memory_id = match std::mem::take(&mut episode.id) {
            id if id.is_empty() => format!("mem_{}_{sequence}", self.session_id),
            id => id,
        };
        let receipt = Receipt { sequence, memory_id, committed_at };
        self.outcomes.push(Outcome::Observed(token, Ok(receipt)));
    }

    fn take_first(&mut self) -> Pending<O> {
        self.ever_sent -= 1;
        self.settled += 1;
        self.pending.pop_front().expect("what is answered was sent, and so is here")
    }

    fn handle_rejected(&mut self, sequence: u64, now: Duration) -> Result<(), String> {
        let told = self.told.take().filter(|(told, _)| *told == sequence);
        let turn = self.durable + 1;
        let is_expected = sequence == turn || self.is_going_back && sequence > turn;
        if self.under_way == 0 || !is_expected {
            return Err(format!("refused {sequence}, but the turn is at {turn}"));
        }
        self.under_way -= 1;
        if self.is_going_back {
            // What follows a refused one is refused as well; it goes again with it.
            return Ok(());
        }
        self.is_going_back = true;
        self.sent = 0;
        let status = told.map(|(_, status)| status).unwrap_or_default();
        match status.state() {
            Told::Overloaded => {
                self.overloads += 1;
                self.window = (self.window / 2).max(1);
                self.grown = 0;
                self.hold_for(&status, now);
            }
            Told::Paused => self.is_paused = true,
            _ if status.message.starts_with("Sequence validation failed") => {
                return Err(status.message);
            }
            _ => {
                let error = Error::invalid_observation(&status.message);
                let pending = self.take_first();
                self.outcomes.push(Outcome::Observed(pending.token, Err(error)));
            }
        }
        Ok(())
    }

    fn handle_status(
        &mut self,
        sequence: u64,
        status: wire::StreamStatus,
        now: Duration,
    ) -> Result<(), String> {
        let state = status.state();
        if !status.request_id.is_empty() {
            self.handle_recall_refused(&status);
        } else if state == Told::Closed {
            return self.handle_closed(sequence);
        } else if sequence > 0 {
            self.told = Some((sequence, status));
        } else {
            match state {
                Told::Active => {
                    self.is_paused = false;
                    self.rate = 0.0;
                    self.hold_until = now;
                }
                Told::Backpressure => self.rate = status.preferred_rate,
                Told::Paused => self.is_paused = true,
                Told::Overloaded => self.hold_for(&status, now),
                _ => {}
            }
        }
        Ok(())
    }

    fn handle_closed(&mut self, last: u64) -> Result<(), String> {
        // Unasked, it announces that the server stops or that another connection took over: the call's end says.
        if !self.is_close_sent {
            return Ok(());
        }
        if last != self.durable {
            return Err(format!("closed at {last}, but {} are acked", self.durable));
        }
        self.state = State::Closed;
        Ok(())
    }

    fn handle_recalled(&mut self, page: wire::StreamingRecallResponse) -> Result<(), String> {
        let asked =
            |recall: &Recalling<R>| recall.is_sent && recall.request.request_id == page.request_id;
        let Some(at) = self.recalls.iter().position(asked) else {
            return Err(format!("results of {:?}, which was not asked", page.request_id));
        };
        self.recalls[at].found.extend(page.results.into_iter().map(Memory::from));
        // The closing message is the one that tells of the whole.
        if page.metadata.is_some() {
            let Recalling { token, found, .. } =
                self.recalls.remove(at).expect("it was just found");
            let snapshot_sequence = page.snapshot_sequence;
            let recollection = Recollection { memories: found, snapshot_sequence };
            self.outcomes.push(Outcome::Recalled(token, Ok(recollection)));
        }
        Ok(())
    }

    fn handle_recall_refused(&mut self, status: &wire::StreamStatus) {
        let asked = |recall: &Recalling<R>| recall.request.request_id == status.request_id;
        if let Some(at) = self.recalls.iter().position(asked) {
            let recall = self.recalls.remove(at).expect("it was just found");
            let kind = match status.message.starts_with("Not served") {
                true => ErrorKind::NotServed,
                false => ErrorKind::InvalidRequest,
            };
            let error = Error::new(kind, status.message.as_str());
            self.outcomes.push(Outcome::Recalled(recall.token, Err(error)));
        }
    }

    fn hold_for(&mut self, status: &wire::StreamStatus, now: Duration) {
        let wait = match status.retry_after_ms {
            0 => OVERLOADED_WAIT,
            ms => Duration::from_millis(ms.into()),
        };
        self.hold_until = self.hold_until.max(now + self.delays.jittered(wait));
    }

    /// One more for each whole window that was acked.
    fn grow(&mut self, acked: usize) {
        self.grown += acked;
        while self.grown >= self.window && self.window < self.limit {
            self.grown -= self.window;
            self.window += 1;
        }
        if self.window == self.limit {
            self.grown = 0;
        }
    }

    fn progressed(&mut self) {
        self.stuck_since = None;
        self.delays.reset();
    }

    fn give_up(&mut self, last: &Error) {
        if last.kind() == ErrorKind::Overloaded {
            return self.fail(last.clone());
        }
        let patience = self.options.patience.unwrap_or_default();
        let tried = format!("nothing came of it for {patience:?}; the last try: {last}");
        self.fail(Error::new(ErrorKind::Unavailable, tried));
    }

    fn fail(&mut self, error: Error) {
        self.state = State::Failed;
        let observed = self.pending.drain(..);
        let observed = observed.map(|pending| Outcome::Observed(pending.token, Err(error.clone())));
        self.outcomes.extend(observed);
        let recalled = self.recalls.drain(..);
        let recalled = recalled.map(|recall| Outcome::Recalled(recall.token, Err(error.clone())));
        self.outcomes.extend(recalled);
        self.failure = Some(error);
    }
}

#[cfg(test)]
mod tests;
