//! A session over as many connections as it takes.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use engram_proto::engram::v1 as wire;
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tonic::{Status, Streaming};

use crate::calls::Calls;
use crate::delay::Chance;
use crate::error::{Error, ErrorKind};
use crate::machine::{Machine, Next, Outcome, State};
use crate::types::{Observation, Recall, Receipt, Recollection, SessionOptions};

/// The longest message that the server reads, unless it is told otherwise.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Room for what a message holds beside an observation.
const ENVELOPE_BYTES: usize = 256;

/// What is asked of the session's task.
enum Command {
    Observe(Observing, wire::Episode),
    Recall(oneshot::Sender<Result<Recollection, Error>>, wire::StreamingRecallRequest),
    Hold(bool),
    Close { drain_queue: bool },
    Leave,
}

/// Waits for its ack; its room is given back with it.
struct Observing {
    ack: oneshot::Sender<Result<Receipt, Error>>,
    _room: OwnedSemaphorePermit,
}

/// How a session stands.
#[derive(Clone, Debug)]
struct Standing {
    id: String,
    state: State,
    failure: Option<Error>,
    initial: u64,
    durable: u64,
    pending: usize,
    reconnects: u64,
    overloads: u64,
}

/// Streams observations into one space and recalls from it. Made by [`crate::Client::open_session`]. Clones are the
/// same session; when the last is dropped, it is left as [`Session::leave`] does.
#[derive(Clone)]
pub struct Session {
    commands: mpsc::UnboundedSender<Command>,
    room: Arc<Semaphore>,
    standing: watch::Receiver<Standing>,
}

/// The ack of one observation: resolves once that is durable, or refused. It may be dropped; the observation goes on.
#[must_use = "an observation is durable only once its ack says so"]
#[derive(Debug)]
pub struct Ack {
    ack: oneshot::Receiver<Result<Receipt, Error>>,
}

impl Future for Ack {
    type Output = Result<Receipt, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let told = ready!(Pin::new(&mut self.ack).poll(cx));
        Poll::Ready(told.unwrap_or_else(|_| Err(gone())))
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Session").field(&*self.standing.borrow()).finish()
    }
}

impl Session {
    /// Begins a session, or resumes one; returns once it is open.
    pub(crate) async fn open(
        calls: Calls,
        space: &str,
        options: SessionOptions,
    ) -> Result<Session, Error> {
        let room = Arc::new(Semaphore::new(options.window.max(1) as usize));
        let machine = Machine::new(space, options, Chance::new());
        let (commands, asked) = mpsc::unbounded_channel();
        let (told, standing) = watch::channel(standing(&machine));
        let began = Instant::now();
        let task =
            Task { machine, calls, asked, told, room: Arc::clone(&room), began, call: Call::None };
        tokio::spawn(task.run());
        let mut session = Session { commands, room, standing };
        session.until(|standing| standing.state == State::Open).await?;
        Ok(session)
    }

    /// With which it can be resumed.
    pub fn id(&self) -> String {
        self.standing.borrow().id.clone()
    }

    /// The last durable sequence when it was opened here.
    pub fn initial_sequence(&self) -> u64 {
        self.standing.borrow().initial
    }

    /// The last sequence known to be durable.
    pub fn durable_sequence(&self) -> u64 {
        self.standing.borrow().durable
    }

    /// Observations taken and not yet durable or refused.
    pub fn pending(&self) -> usize {
        self.standing.borrow().pending
    }

    /// How often it went on over another connection.
    pub fn reconnects(&self) -> u64 {
        self.standing.borrow().reconnects
    }

    /// How often the server was overloaded and observations went again.
    pub fn overloads(&self) -> u64 {
        self.standing.borrow().overloads
    }

    /// Takes an observation, once there is room for it in the window. They become durable in the order of the calls,
    /// each once. Dropped before it returned, it has taken nothing.
    pub async fn observe(&self, observation: Observation) -> Result<Ack, Error> {
        let episode = observation.into_wire();
        let bytes = episode.encoded_len() + ENVELOPE_BYTES;
        if bytes > MESSAGE_BYTES_MAX {
            let message = format!("an observation of {bytes} bytes; {MESSAGE_BYTES_MAX} fit");
            return Err(Error::new(ErrorKind::MessageTooLarge, message));
        }
        let room = Arc::clone(&self.room).acquire_owned().await;
        let room = room.map_err(|_| self.why_over())?;
        let (ack, told) = oneshot::channel();
        self.command(Command::Observe(Observing { ack, _room: room }, episode))?;
        Ok(Ack { ack: told })
    }

    /// Recalls on the session's own stream: behind the observations that were taken before, except while these are
    /// paused. Asked again where the connection is lost.
    pub async fn recall(&self, recall: Recall) -> Result<Recollection, Error> {
        let (answer, told) = oneshot::channel();
        self.command(Command::Recall(answer, recall.into_wire("")))?;
        told.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Sends no observation until [`Session::resume`]. What is under way is still acked, and recalls go on.
    pub fn pause(&self) -> Result<(), Error> {
        self.command(Command::Hold(true))
    }

    /// Goes on after [`Session::pause`].
    pub fn resume(&self) -> Result<(), Error> {
        self.command(Command::Hold(false))
    }

    /// Ends it once all is durable; returns the final sequence.
    pub async fn close(&self) -> Result<u64, Error> {
        self.end(false).await
    }

    /// Ends it once all is durable and in the index.
    pub async fn drain(&self) -> Result<u64, Error> {
        self.end(true).await
    }

    /// Ends it here and now; it can be resumed by its id. What was not acked may be durable or not.
    pub fn leave(&self) {
        // It may be over already.
        let _ = self.commands.send(Command::Leave);
    }

    async fn end(&self, drain_queue: bool) -> Result<u64, Error> {
        // Where it is over already, how it ended is what is told.
        let _ = self.commands.send(Command::Close { drain_queue });
        let mut session = self.clone();
        session.until(|standing| standing.state == State::Closed).await?;
        Ok(self.durable_sequence())
    }

    fn command(&self, command: Command) -> Result<(), Error> {
        self.commands.send(command).map_err(|_| self.why_over())
    }

    fn why_over(&self) -> Error {
        self.standing.borrow().failure.clone().unwrap_or_else(gone)
    }

    async fn until(&mut self, holds: impl Fn(&Standing) -> bool) -> Result<(), Error> {
        let is_decided = |standing: &Standing| holds(standing) || standing.failure.is_some();
        let standing = self.standing.wait_for(is_decided).await.map_err(|_| gone())?;
        match (&standing.failure, holds(&standing)) {
            (Some(failure), false) => Err(failure.clone()),
            _ => Ok(()),
        }
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::SessionClosed, "the session is closed")
}

type Responses = Streaming<wire::ObservationResponse>;

/// The call of the present connection.
enum Call {
    None,
    Starting(Pin<Box<dyn Future<Output = Result<Responses, Status>> + Send>>),
    Open(Box<Responses>),
}

/// What drives a session.
struct Task {
    machine: Machine<Observing, oneshot::Sender<Result<Recollection, Error>>>,
    calls: Calls,
    asked: mpsc::UnboundedReceiver<Command>,
    told: watch::Sender<Standing>,
    room: Arc<Semaphore>,
    began: Instant,
    call: Call,
}

impl Task {
    async fn run(mut self) {
        // What the machine lets be under way bounds what waits here.
        let (mut requests, _) = mpsc::unbounded_channel();
        while !self.machine.is_over() {
            if self.machine.state() == State::Lost && self.now() >= self.machine.connect_at() {
                self.machine.handle_connecting(self.now());
                let (sender, receiver) = mpsc::unbounded_channel();
                requests = sender;
                let talk = self.calls.clone().talk("MemoryStream", receiver);
                self.call = Call::Starting(Box::pin(talk));
            }
            let until = self.send(&requests).map(|until| self.began + until);
            self.tell();
            if self.machine.is_over() {
                break;
            }
            let wait = async move {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                command = self.asked.recv() => match command {
                    Some(command) => self.handle(command),
                    None => self.machine.leave(),
                },
                answer = poll_fn(|cx| self.call.poll_next(cx)) => {
                    self.handle_answer(answer);
                },
                () = wait => {}
            }
        }
        self.end();
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Sends what may be sent; when there may be more, even if nothing happens.
    fn send(
        &mut self,
        requests: &mpsc::UnboundedSender<wire::ObservationRequest>,
    ) -> Option<Duration> {
        loop {
            match self.machine.next(self.now()) {
                // Where the call is over already, its end is about to be heard.
                Next::Send(request) => drop(requests.send(*request)),
                Next::Wait(_) if self.machine.state() == State::Lost => {
                    return Some(self.machine.connect_at());
                }
                Next::Wait(until) => return until,
            }
        }
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Observe(observing, episode) => self.machine.observe(observing, episode),
            Command::Recall(answer, request) => self.machine.recall(answer, request),
            Command::Hold(is_held) => self.machine.hold(is_held),
            Command::Close { drain_queue } => self.machine.close(drain_queue),
            Command::Leave => self.machine.leave(),
        }
    }

    fn handle_answer(&mut self, answer: Result<Option<wire::ObservationResponse>, Status>) {
        let now = self.now();
        let error = match answer {
            Ok(Some(response)) => return self.machine.handle_response(response, now),
            Ok(None) => None,
            Err(status) => Some(Error::of_status(&status)),
        };
        self.call = Call::None;
        self.machine.handle_end(error, now);
    }

    /// Tells what became of observations and recalls, and how the session stands. Who asked may have gone.
    fn tell(&mut self) {
        let outcomes = self.machine.outcomes();
        self.told.send_replace(standing(&self.machine));
        for outcome in outcomes {
            match outcome {
                Outcome::Observed(observing, outcome) => drop(observing.ack.send(outcome)),
                Outcome::Recalled(answer, outcome) => drop(answer.send(outcome)),
            }
        }
    }

    /// Nothing is taken any more; what was asked meanwhile is answered.
    fn end(mut self) {
        self.room.close();
        self.asked.close();
        while let Ok(command) = self.asked.try_recv() {
            self.handle(command);
        }
        self.tell();
    }
}

impl Call {
    /// What the server says next; `None` where it ended the call in order.
    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<wire::ObservationResponse>, Status>> {
        loop {
            match self {
                Call::None => return Poll::Pending,
                Call::Starting(starting) => {
                    *self = Call::Open(Box::new(ready!(starting.as_mut().poll(cx))?))
                }
                Call::Open(responses) => {
                    let next = futures_core::Stream::poll_next(Pin::new(&mut **responses), cx);
                    return next.map(Option::transpose);
                }
            }
        }
    }
}

fn standing<O, R>(machine: &Machine<O, R>) -> Standing {
    Standing {
        id: machine.session_id().to_owned(),
        state: machine.state(),
        failure: machine.failure().cloned(),
        initial: machine.initial().unwrap_or(0),
        durable: machine.durable(),
        pending: machine.pending(),
        reconnects: machine.reconnects(),
        overloads: machine.overloads(),
    }
}
