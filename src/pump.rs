//! The loop of one core: what arrived goes into the shard, what the shard wants goes out, work is
//! granted between.
//!
//! ```text
//!  mesh ──requests──►┐                     ┌──replies──► mesh
//!  disk ──ended I/O─►│ shard: handle, poll │──I/O──────► disk (one task each)
//!  clock ──tick─────►┘        work         └
//! ```
//!
//! One turn takes in all there is, hands out all that follows, and then grants a slice of work, or a
//! few for recalls; between turns the core's other tasks run, the streams of its clients for one
//! round. With nothing to do it sleeps until something arrives or the shard's deadline.
//!
//! A shard that panics is dropped, and all who wait for it are told. It is *gone* once its last I/O
//! has ended and no core sends it anything more: then another may be installed, which hears and
//! sees nothing of what was meant for this one.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use engram_shards::ids::Time;
use engram_shards::limits::LOG_COMMIT_WAIT_MICROS;
use engram_shards::log::log::IoFault;
use engram_shards::message::{Origin, Request};
use engram_shards::shard::{Io, IoOutput, IoTicket, Output, Ready, Shard};
use futures_lite::FutureExt;
use glommio::timer::Timer;

use crate::clock::Clock;
use crate::contain::{Panic, contain, contain_call};
use crate::disk::Disk;
use crate::limits::{EXECUTOR_TICK, RECALLS_TURN};
use crate::memory::PageFinder;
use crate::mesh::{Mesh, ShardState};
use crate::metrics::Stage;
use crate::notice::Notice;

/// Everything that happens to a shard.
#[derive(Debug)]
enum Event {
    /// A request arrived.
    Request(Origin, Request),
    /// An I/O ended.
    Io(IoTicket, Result<IoOutput, IoFault>),
    /// The shard's deadline has come, or anything else that may have changed with the time.
    Tick,
}

/// The I/Os of one shard that have ended and were not taken yet.
#[derive(Debug, Default)]
struct Completions {
    ended: RefCell<VecDeque<(IoTicket, Result<IoOutput, IoFault>)>>,
    in_flight: Cell<usize>,
}

/// What a shard said as it failed; told once it is gone.
#[derive(Debug, Default)]
struct Failure {
    panic: RefCell<Option<Panic>>,
    is_gone: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Failure {
    /// Another one.
    fn begin(&self, panic: Panic) {
        self.is_gone.set(false);
        *self.panic.borrow_mut() = Some(panic);
    }

    /// Whether there is one that is not gone.
    fn is_open(&self) -> bool {
        self.panic.borrow().is_some() && !self.is_gone.get()
    }

    fn end(&self) {
        self.is_gone.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<Panic> {
        if self.is_gone.take() {
            return Poll::Ready(self.panic.take().expect("what ended had begun"));
        }
        self.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    }
}

/// Runs one core's shard, and its end of the mesh also before there is a shard and after it failed.
#[derive(Debug)]
pub struct Pump {
    mesh: Mesh,
    disk: Disk,
    clock: Clock,
    /// None before recovery has ended and after a panic.
    shard: Rc<RefCell<Option<Shard>>>,
    completions: Rc<Completions>,
    requests: Vec<(Origin, Request)>,
    busy: Busy,
    pages: PageFinder,
    /// Whether all were told that the shard serves.
    announced: Rc<Cell<bool>>,
    /// Stripes that were loaded and are to be taken in.
    ready: Rc<RefCell<Vec<Ready>>>,
    /// Why the shard is to fail, until it has.
    abandoned: Rc<RefCell<Option<Panic>>>,
    failure: Rc<Failure>,
    /// Given when the server stops and the shard may end once all is durable.
    finish: Notice,
}

/// How a shard is handed to a pump that already runs.
#[derive(Clone, Debug)]
pub struct PumpHandle {
    mesh: Mesh,
    shard: Rc<RefCell<Option<Shard>>>,
    /// Whether all were told that the shard serves.
    announced: Rc<Cell<bool>>,
    ready: Rc<RefCell<Vec<Ready>>>,
    abandoned: Rc<RefCell<Option<Panic>>>,
    failure: Rc<Failure>,
    finish: Notice,
}

impl PumpHandle {
    /// The shard has recovered: it serves once what it replayed has settled. One before it is gone.
    pub fn install(&self, shard: Shard) {
        assert!(self.mesh.is_noted(), "what was sent to a shard is not for another");
        // Loaded for the one before, in the moment of its end.
        self.ready.borrow_mut().clear();
        let settled = shard.is_settled();
        let before = self.shard.borrow_mut().replace(shard);
        assert!(before.is_none(), "a core has one shard");
        self.announced.set(settled);
        match settled {
            true => self.mesh.set_shard(ShardState::Ready),
            false => self.mesh.nudge(),
        }
    }

    /// A stripe of the shard that was installed last was loaded.
    pub fn restore(&self, ready: Ready) {
        self.ready.borrow_mut().push(ready);
        self.mesh.nudge();
    }

    /// The shard lacks what it cannot be given: it fails, with this for what it says.
    pub fn abandon(&self, message: String) {
        *self.abandoned.borrow_mut() = Some(Panic { message });
        self.mesh.nudge();
    }

    /// Ends once the shard has failed and is gone; gives what it said.
    pub async fn failure(&self) -> Panic {
        poll_fn(|cx| self.failure.poll(cx)).await
    }

    /// No other shard will be installed.
    pub fn give_up(&self) {
        self.mesh.set_shard(ShardState::Failed);
    }

    /// Lets the pump end once the shard has nothing on its way to the disk.
    pub fn finish(&self) {
        self.finish.give();
        self.mesh.nudge();
    }
}

impl Pump {
    /// A pump without a shard.
    pub fn new(mesh: Mesh, disk: Disk, clock: Clock, pages: PageFinder) -> (Pump, PumpHandle) {
        let shard = Rc::new(RefCell::new(None));
        let finish = Notice::default();
        let announced = Rc::<Cell<bool>>::default();
        let failure = Rc::<Failure>::default();
        let ready = Rc::<RefCell<Vec<Ready>>>::default();
        let abandoned = Rc::<RefCell<Option<Panic>>>::default();
        let handle = PumpHandle {
            mesh: mesh.clone(),
            shard: shard.clone(),
            announced: announced.clone(),
            ready: ready.clone(),
            abandoned: abandoned.clone(),
            failure: failure.clone(),
            finish: finish.clone(),
        };
        let pump = Pump {
            mesh,
            disk,
            clock,
            shard,
            completions: Rc::default(),
            requests: Vec::new(),
            busy: Busy::new(),
            pages,
            announced,
            ready,
            abandoned,
            failure,
            finish,
        };
        (pump, handle)
    }

    /// Runs until it may [`finish`](PumpHandle::finish).
    pub async fn run(mut self) {
        loop {
            let begun = Instant::now();
            let next = self.turn();
            self.busy.add(begun, &self.mesh);
            if self.finish.is_given() {
                self.contained(Shard::drain);
            }
            if self.finish.is_given() && self.is_durable() && self.mesh.flush() {
                break;
            }
            match next {
                Next::Again => futures_lite::future::yield_now().await,
                Next::Sleep(deadline) => self.sleep(deadline).await,
            }
        }
        self.mesh.turnstile().open();
        self.mesh.silence();
    }

    /// Tells all that the shard serves, as soon as a recall finds no less than before the restart.
    fn announce(&mut self) {
        if !self.announced.get() && self.contained(|shard| shard.is_settled()) == Some(true) {
            self.announced.set(true);
            self.mesh.set_shard(ShardState::Ready);
        }
    }

    /// Takes in what there is, hands out what follows, grants a slice of work.
    fn turn(&mut self) -> Next {
        self.drop_abandoned();
        let now = self.clock.now();
        let begun = Instant::now();
        self.mesh.receive(&mut self.requests);
        for injection in self.mesh.take_injected() {
            let faults = self.disk.faults().clone();
            self.contained(|_| injection.strike(&faults));
        }
        let events = self.take_events();
        let begun = self.mesh.metrics().spend(Stage::Ring, begun);
        let ready = std::mem::take(&mut *self.ready.borrow_mut());
        self.contained(|shard| {
            ready.into_iter().for_each(|ready| shard.restore(ready, now));
            events.into_iter().for_each(|event| handle(shard, event, now));
        });
        self.announce();
        let begun = self.mesh.metrics().spend(Stage::Log, begun);
        let flushed = self.mesh.flush();
        let begun = self.mesh.metrics().spend(Stage::Ring, begun);
        let working = self.work(now);
        self.pages.find_ahead();
        let begun = self.mesh.metrics().spend(Stage::Index, begun);
        self.bury();
        let flushed = self.mesh.flush() && flushed;
        self.mesh.metrics().spend(Stage::Ring, begun);
        self.mesh.turnstile().begin_round();
        if !flushed || working || self.mesh.turnstile().is_awaited() {
            return Next::Again;
        }
        Next::Sleep(self.shard.borrow().as_ref().and_then(Shard::deadline))
    }

    /// Grants a slice of work, and more as long as a recall can go on, for a while: each of its steps would otherwise wait
    /// until all of the core's other tasks have run. Returns whether there is more to do.
    fn work(&mut self, now: Time) -> bool {
        let begun = Instant::now();
        loop {
            let working = self.contained(|shard| {
                shard.has_work() && shard.work(shard.slice_distances(), now) > 0
            });
            let ended = std::mem::take(&mut *self.completions.ended.borrow_mut());
            let recalls = self.contained(|shard| {
                for (ticket, result) in ended {
                    shard.handle_io(ticket, result, now);
                }
                shard.is_recalled()
            });
            if recalls != Some(true) || begun.elapsed() >= RECALLS_TURN {
                return working == Some(true) || recalls == Some(true);
            }
        }
    }

    fn take_events(&mut self) -> Vec<Event> {
        let requests =
            self.requests.drain(..).map(|(origin, request)| Event::Request(origin, request));
        let ended = std::mem::take(&mut *self.completions.ended.borrow_mut());
        let ended = ended.into_iter().map(|(ticket, result)| Event::Io(ticket, result));
        requests.chain(ended).chain([Event::Tick]).collect()
    }

    /// Lets the shard, if there is one, do `work`, and hands out what follows. `None` without a
    /// shard: then whoever asked has been told, or will be, how this core's shard is.
    fn contained<R>(&mut self, work: impl FnOnce(&mut Shard) -> R) -> Option<R> {
        let mut slot = self.shard.borrow_mut();
        let shard = slot.as_mut()?;
        let done = contain_call(|| {
            let result = work(shard);
            (result, std::iter::from_fn(|| shard.poll()).collect::<Vec<_>>())
        });
        let broken = if done.is_err() { slot.take() } else { None };
        drop(slot);
        match done {
            Ok((result, outputs)) => {
                outputs.into_iter().for_each(|output| self.hand_out(output));
                Some(result)
            }
            Err(panic) => {
                self.mesh.metrics().panics += 1;
                self.fail(broken, panic);
                None
            }
        }
    }

    fn hand_out(&self, output: Output) {
        match output {
            Output::Reply(origin, reply) => self.mesh.reply(origin, reply),
            Output::Io(ticket, io) => self.start(ticket, io),
        }
    }

    /// Starts an I/O; its end wakes this pump.
    fn start(&self, ticket: IoTicket, io: Io) {
        let (disk, completions, mesh) =
            (self.disk.clone(), self.completions.clone(), self.mesh.clone());
        if let Io::Read { places } = &io
            && let Some(records) = disk.read_now(places)
        {
            completions.ended.borrow_mut().push_back((ticket, Ok(IoOutput::Read(records))));
            return mesh.nudge();
        }
        completions.in_flight.set(completions.in_flight.get() + 1);
        let task = glommio::spawn_local(async move {
            let result = contain(async move { disk.run(io).await }).await.unwrap_or_else(|panic| {
                tracing::error!(message = panic.message, "an I/O panicked");
                Err(IoFault::Failed)
            });
            completions.in_flight.set(completions.in_flight.get() - 1);
            completions.ended.borrow_mut().push_back((ticket, result));
            mesh.nudge();
        });
        task.detach();
    }

    fn drop_abandoned(&mut self) {
        let abandoned = self.abandoned.borrow_mut().take();
        let shard = abandoned.as_ref().and_then(|_| self.shard.borrow_mut().take());
        if let (Some(panic), Some(shard)) = (abandoned, shard) {
            self.fail(Some(shard), panic);
        }
    }

    /// The shard is broken: it goes, and all who wait for it or will ask it are told.
    fn fail(&mut self, broken: Option<Shard>, panic: Panic) {
        tracing::error!(core = self.mesh.core().0, message = panic.message, "a shard failed");
        let dropped = contain_call(|| drop(broken));
        self.mesh.metrics().panics += u64::from(dropped.is_err());
        self.announced.set(false);
        self.mesh.set_shard(ShardState::Recovering);
        self.failure.begin(panic);
    }

    /// Tells that a shard that failed is gone, as soon as it is.
    fn bury(&self) {
        let is_idle = self.completions.in_flight.get() == 0;
        if self.failure.is_open() && is_idle && self.mesh.is_noted() {
            // What ended last was its own.
            self.completions.ended.borrow_mut().clear();
            self.failure.end();
        }
    }

    /// Whether nothing is on its way to the disk.
    fn is_durable(&self) -> bool {
        let idle =
            self.completions.in_flight.get() == 0 && self.completions.ended.borrow().is_empty();
        // What the log gathers is due within its waiting time; a later deadline is of something
        // else.
        let soon = self.clock.now().after_micros(LOG_COMMIT_WAIT_MICROS);
        let deadline = self.shard.borrow().as_ref().and_then(Shard::deadline);
        idle && deadline.is_none_or(|deadline| deadline > soon)
    }

    async fn sleep(&self, deadline: Option<Time>) {
        let arrival = poll_fn(|cx| match self.mesh.turnstile().poll_line(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => self.mesh.poll_arrival(cx),
        });
        match deadline.map(|deadline| deadline.micros_since(self.clock.now())) {
            Some(0) => futures_lite::future::yield_now().await,
            Some(micros) => arrival.or(expire(Duration::from_micros(micros))).await,
            None => arrival.await,
        }
    }
}

/// What follows a turn.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// Another turn, once the core's other tasks have run.
    Again,
    /// Nothing, until something arrives or the time has come.
    Sleep(Option<Time>),
}

fn handle(shard: &mut Shard, event: Event, now: Time) {
    match event {
        Event::Request(origin, request) => shard.handle_request(origin, request, now),
        Event::Io(ticket, result) => shard.handle_io(ticket, result, now),
        Event::Tick => shard.handle_tick(now),
    }
}

async fn expire(duration: Duration) {
    Timer::new(duration).await;
}

/// How much of its time a core's pump works.
#[derive(Debug)]
struct Busy {
    since: Instant,
    /// Within the running second.
    busy: Duration,
}

impl Busy {
    fn new() -> Busy {
        Busy { since: Instant::now(), busy: Duration::ZERO }
    }

    fn add(&mut self, begun: Instant, mesh: &Mesh) {
        let now = Instant::now();
        let worked = now - begun;
        self.busy += worked;
        let mut metrics = mesh.metrics();
        metrics.busy_micros += u64::try_from(worked.as_micros()).expect("a turn is short");
        let elapsed = now - self.since;
        if elapsed >= Duration::from_secs(1) {
            metrics.utilisation_percent = 100.0 * self.busy.as_secs_f64() / elapsed.as_secs_f64();
            *self = Busy { since: now, busy: Duration::ZERO };
        }
    }
}

/// Returns credits that no one uses, and hears of the load of owners.
pub async fn tick(mesh: Mesh) {
    loop {
        Timer::new(EXECUTOR_TICK).await;
        mesh.tend_credits();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    use engram_shards::checkpoint::due::CheckpointLimits;
    use engram_shards::ids::{FolderSecret, LogId, SessionId, StripeKey};
    use engram_shards::limits::CAPACITY_DEFAULT;
    use engram_shards::message::{IfExists, Lane, Reply};
    use engram_shards::settings::{AckPolicy, Metric, SpaceSettings};
    use engram_shards::shard::{Recovering, Remains, ShardConfig};
    use engram_shards::space::TailLimits;
    use futures_lite::Future;

    use crate::log_readers::LogReaders;
    use crate::mesh::{CoreIndex, CreditAnswer, MeshSettings, Unavailable, weave};
    use crate::shares::Shares;

    const SECRET: FolderSecret = FolderSecret([5; 16]);
    const CORE: CoreIndex = CoreIndex(0);

    /// A core with a pump and a new shard, which `run` gets to use.
    fn on_a_core<F: Future<Output = ()>>(run: impl FnOnce(Mesh, PumpHandle) -> F + Send + 'static) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let logs: PathBuf = folder.path().to_owned();
        let executor = glommio::LocalExecutorBuilder::default()
            .io_memory(1 << 20)
            .spawn(move || async move {
                let clock = Clock::start();
                let settings = MeshSettings {
                    requests_max: 16,
                    bytes_max: 1 << 20,
                    capacity: CAPACITY_DEFAULT,
                    clock,
                };
                let thread = weave(1).pop().expect("one was woven");
                let mesh = Mesh::new(thread, settings);
                let shares = Shares::new(1, []);
                let disk = Disk::new(logs, CoreIndex(0), LogReaders::default(), shares);
                let (pump, handle) = Pump::new(mesh.clone(), disk, clock, PageFinder::start());
                let pumping = glommio::spawn_local(pump.run());
                run(mesh, handle.clone()).await;
                handle.finish();
                pumping.await;
            })
            .expect("an executor starts");
        executor.join().expect("its promises held");
    }

    fn shard() -> Shard {
        let config = ShardConfig {
            log: LogId(0),
            shards: 1,
            secret: SECRET,
            incarnation_seed: 1,
            capacity: CAPACITY_DEFAULT,
            recall_target: None,
            acks: AckPolicy::Sync,
            tail: TailLimits::default(),
            checkpoints: CheckpointLimits::default(),
            record_cache_bytes: 0,
        };
        let recovering = Recovering::new(config, &Remains::default(), Box::new(|_| true));
        let recovering = recovering.expect("there is nothing to read");
        recovering.finish(Time(1)).expect("there is nothing to read").0
    }

    fn create_space() -> Request {
        let settings = SpaceSettings {
            name: "things".to_owned(),
            dimension: 8,
            metric: Metric::Cosine,
            stripes: 1,
        };
        Request::CreateSpace { settings, if_exists: IfExists::Take }
    }

    #[test]
    fn a_request_before_recovery_has_ended_is_unavailable() {
        on_a_core(|mesh, handle| async move {
            assert!(matches!(mesh.call(CORE, Request::Status).await, Err(Unavailable)));
            handle.install(shard());
            assert!(matches!(mesh.call(CORE, Request::Status).await, Ok(Reply::Status(_))));
        });
    }

    #[test]
    fn what_is_answered_is_on_the_disk() {
        on_a_core(|mesh, handle| async move {
            handle.install(shard());
            let made = mesh.call(CORE, create_space()).await;
            assert!(matches!(made, Ok(Reply::Space(Ok(_)))), "{made:?}");
            let status = mesh.call(CORE, Request::Status).await;
            let Ok(Reply::Status(status)) = status else { panic!("{status:?}") };
            assert_eq!((status.commits, status.stripes.len()), (1, 1));
            assert!(mesh.metrics().busy_micros > 0);
        });
    }

    #[test]
    fn a_panic_of_the_shard_is_answered_for_and_ends_nothing_else() {
        on_a_core(|mesh, handle| async move {
            handle.install(shard());
            let made = mesh.call(CORE, create_space()).await;
            assert!(matches!(made, Ok(Reply::Space(Ok(_)))), "{made:?}");
            let mut waiting = mesh.port();
            let stripe = StripeKey { space: SECRET.space_key("things"), stripe: 0 };
            let asked = poll_fn(|cx| waiting.poll_credit(cx, stripe, Lane::High)).await;
            assert!(matches!(asked, CreditAnswer::Taken(_)), "{asked:?}");
            // More than was ever given: the shard asserts that this cannot be.
            waiting.send(CORE, Request::ReturnCredit { stripe, count: u32::MAX });
            let reply = poll_fn(|cx| waiting.poll_reply(cx)).await;
            assert!(matches!(reply, (CORE, Err(Unavailable))), "{reply:?}");
            let session = SessionId(1);
            let opening = Request::OpenSession {
                stripe,
                session,
                intent: engram_shards::message::OpenIntent::Begin,
            };
            assert!(matches!(mesh.call(CORE, opening).await, Err(Unavailable)));
            assert_eq!(mesh.shards(), [ShardState::Recovering]);
            assert_eq!(mesh.metrics().panics, 1);
        });
    }

    #[test]
    fn another_shard_takes_the_place_of_one_that_is_gone() {
        on_a_core(|mesh, handle| async move {
            handle.install(shard());
            let mut waiting = mesh.port();
            let stripe = StripeKey { space: SECRET.space_key("things"), stripe: 0 };
            waiting.send(CORE, Request::ReturnCredit { stripe, count: u32::MAX });
            // Asked of the same shard, in the turn in which it fails.
            waiting.send(CORE, Request::Status);
            let panic = handle.failure().await;
            assert!(panic.message.contains("credit"), "{panic:?}");
            let reply = poll_fn(|cx| waiting.poll_reply(cx)).await;
            assert!(matches!(reply, (CORE, Err(Unavailable))), "{reply:?}");
            assert!(matches!(mesh.call(CORE, Request::Status).await, Err(Unavailable)));
            handle.install(shard());
            let status = mesh.call(CORE, Request::Status).await;
            assert!(matches!(status, Ok(Reply::Status(_))), "{status:?}");
            waiting.send(CORE, Request::Status);
            let reply = poll_fn(|cx| waiting.poll_reply(cx)).await;
            assert!(matches!(reply, (CORE, Err(Unavailable))), "it spoke to the other: {reply:?}");
            handle.abandon("it lacks something".to_owned());
            assert_eq!(handle.failure().await.message, "it lacks something");
            assert_eq!(mesh.shards(), [ShardState::Recovering]);
            assert_eq!(mesh.metrics().panics, 1, "it did not panic");
            handle.give_up();
            assert_eq!(mesh.shards(), [ShardState::Failed]);
        });
    }
}
