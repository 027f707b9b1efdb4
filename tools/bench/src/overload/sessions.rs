//! Many sessions that keep a server full for a time, and then send again what was refused.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engram::client::grpc::CallError;
use engram::client::stream::{self, StreamError};
use engram::client::window::{Plan, Schedule, Window};
use engram::dataset::Dataset;
use futures_lite::future;
use glommio::timer;

use crate::process::get;
use crate::streams::{episode_of, open};

use super::report::level_of;

/// Between two looks whether the server takes in again.
const BETWEEN: Duration = Duration::from_millis(5);
/// The level from which sessions are told another state than ACTIVE.
pub(super) const CRITICAL: u8 = 2;

/// What is due.
#[derive(Clone, Debug)]
pub(super) struct Demand {
    pub(super) space: &'static str,
    /// The first row that nobody has stored.
    pub(super) first: u64,
    /// Observations in a second, of all sessions.
    pub(super) per_s: f64,
    pub(super) time: Duration,
    pub(super) sessions: u32,
    /// Observations of each session under way at most.
    pub(super) window: u64,
}

/// What became of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    /// Sent in time, each as often as it was.
    pub(super) sent: u64,
    /// Acked, of what was sent in time.
    pub(super) taken: u64,
    /// Sent and refused in the end, and sent again later.
    pub(super) sent_again: u64,
    /// Acked, all in all.
    pub(super) acked: u64,
}

/// What the sessions share.
struct Crowd {
    address: SocketAddr,
    data: Arc<Dataset>,
    demand: Demand,
    /// Sessions of which nothing is under way, once the time is up.
    settled: Cell<u32>,
    /// Whether what was refused may be sent again.
    is_open: Cell<bool>,
}

/// Sends what is due. Once the time is up, nothing goes until the server is not full any more, and then what was refused.
pub(super) async fn overload(
    address: SocketAddr,
    data: &Arc<Dataset>,
    demand: Demand,
    start: Instant,
) -> Result<Outcome, String> {
    let (data, settled, is_open) = (data.clone(), Cell::new(0), Cell::new(false));
    let crowd = Rc::new(Crowd { address, data, demand, settled, is_open });
    let sessions: Vec<_> = (0..crowd.demand.sessions)
        .map(|session| {
            let crowd = crowd.clone();
            glommio::spawn_local(async move {
                let driven = crowd.drive(session, start).await;
                if driven.is_err() {
                    // Nobody waits for one that failed.
                    crowd.settle();
                }
                driven.map_err(|why| format!("session {session}: {why}"))
            })
        })
        .collect();
    crowd.open_once_calm().await?;
    let mut outcome = Outcome::default();
    for session in sessions {
        outcome.add(session.await?);
    }
    Ok(outcome)
}

impl Crowd {
    fn settle(&self) {
        self.settled.set(self.settled.get() + 1);
    }

    /// Waits until nothing is under way and the server is not full any more.
    async fn open_once_calm(&self) -> Result<(), String> {
        while self.settled.get() < self.demand.sessions || self.is_full()? {
            timer::sleep(BETWEEN).await;
        }
        self.is_open.set(true);
        Ok(())
    }

    fn is_full(&self) -> Result<bool, String> {
        let metrics = get(self.address, "/metrics").map_err(|why| why.to_string())?;
        Ok(level_of(&metrics) >= CRITICAL)
    }

    async fn drive(&self, session: u32, start: Instant) -> Result<Outcome, String> {
        let demand = &self.demand;
        let (session, sessions) = (u64::from(session), u64::from(demand.sessions));
        let failed = |why: StreamError<CallError>| why.to_string();
        let mut observing = open(self.address, demand.space).await?;
        let schedule = Schedule {
            first: Duration::from_secs_f64(session as f64 / demand.per_s),
            interval_s: sessions as f64 / demand.per_s,
        };
        let count = (demand.per_s * demand.time.as_secs_f64()) as u64 / sessions;
        let plan = Plan { count, window: demand.window, schedule: Some(schedule) };
        let (mut window, sent) = (Window::new(plan), Cell::new(0));
        let episode = |sequence: u64| {
            sent.set(sent.get() + 1);
            episode_of(&self.data, demand.first + session + (sequence - 1) * sessions)
        };
        let sending = stream::run(&mut observing, &mut window, start, episode, |_| ());
        let time_up = async {
            timer::sleep((start + demand.time).saturating_duration_since(Instant::now())).await;
            Ok(())
        };
        future::or(time_up, sending).await.map_err(failed)?;
        window.stop();
        let settled = stream::settle(&mut observing, &mut window, start, |_| ());
        settled.await.map_err(failed)?;
        let (sent_in_time, taken) = (sent.get(), window.acked());
        self.settle();
        while !self.is_open.get() {
            timer::sleep(BETWEEN).await;
        }

        let sent_again = stream::run(&mut observing, &mut window, start, episode, |_| ());
        sent_again.await.map_err(failed)?;
        let (acked, last) =
            (window.acked(), observing.close().await.map_err(|why| why.to_string())?);
        if last != acked {
            return Err(format!("{acked} acked, but closed at {last}"));
        }
        Ok(Outcome { sent: sent_in_time, taken, sent_again: acked - taken, acked })
    }
}

impl Outcome {
    fn add(&mut self, other: Outcome) {
        let Outcome { sent, taken, sent_again, acked } = other;
        self.sent += sent;
        self.taken += taken;
        self.sent_again += sent_again;
        self.acked += acked;
    }
}
