//! Observations and recalls, each kind on a thread of its own, and how long each took: from when it was due, so that no wait
//! is hidden.

use std::hash::{DefaultHasher, Hasher};
use std::io::{Error, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use engram::client::executor;
use engram::client::grpc::Grpc;
use engram::client::observe::{ObserveStream, Opening};
use engram::client::recall::{Cued, recall};
use engram::client::stream;
use engram::client::window::{Plan, Schedule, Window};
use engram::dataset::{DIMENSION, Dataset, QUERY_ROWS};
use engram_proto::engram::v1::{AckMode, Episode};
use serde::Serialize;

/// The one space.
pub(super) const SPACE: &str = "compaction";
/// Observations under way at most.
const WINDOW: u64 = 4_096;
/// Memories of each recall.
const COUNT: u32 = 10;
/// A step through the rows that meets each before any comes again, in no order that the log knows.
const STRIDE: usize = 1_000_003;

/// One that was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    /// When it was due.
    pub(super) due: Duration,
    /// How long it took from then.
    pub(super) latency: Duration,
}

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// How many, in all.
    pub(super) count: u64,
    /// In a second; none: as fast as they are taken.
    pub(super) per_s: Option<f64>,
}

/// Which memory comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// In the order in which they were stored first: segments die one after the other.
    Stored,
    /// In none: all segments die at once.
    None,
}

impl Order {
    /// The row that comes at this place, of so many.
    fn row(self, sequence: u64, rows: usize) -> usize {
        match self {
            Order::Stored => (sequence as usize * STRIDE) % rows,
            Order::None => {
                let mut hasher = DefaultHasher::new();
                hasher.write_u64(sequence);
                (hasher.finish() % rows as u64) as usize
            }
        }
    }
}

/// The memories that are stored: of so many ids, what had an id before is replaced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored {
    pub(super) rows: usize,
    pub(super) order: Order,
    pub(super) rate: Rate,
}

/// On its way, until it is joined.
pub(super) struct Traffic(JoinHandle<std::result::Result<Vec<Answered>, String>>);

impl Traffic {
    /// Stores memories.
    pub(super) fn store(
        address: SocketAddr,
        data: Arc<Dataset>,
        stored: Stored,
        start: Instant,
    ) -> Traffic {
        Traffic(std::thread::spawn(move || {
            executor::run(None, store(address, &data, stored, start))?
        }))
    }

    /// Recalls.
    pub(super) fn recall(
        address: SocketAddr,
        data: Arc<Dataset>,
        rate: Rate,
        start: Instant,
    ) -> Traffic {
        Traffic(std::thread::spawn(move || {
            executor::run(None, recall_all(address, &data, rate, start))?
        }))
    }

    /// How each was answered.
    pub(super) fn finish(self) -> Result<Vec<Answered>> {
        let ended = self.0.join().unwrap_or_else(|_| Err("the client panicked".to_owned()));
        ended.map_err(Error::other)
    }
}

async fn store(
    address: SocketAddr,
    data: &Dataset,
    Stored { rows, order, rate }: Stored,
    start: Instant,
) -> std::result::Result<Vec<Answered>, String> {
    let opening = Opening {
        space: SPACE.to_owned(),
        session_id: String::new(),
        ack_mode: AckMode::Cumulative,
    };
    let grpc = Grpc::connect(address).await.map_err(|why| why.to_string())?;
    let mut observing = ObserveStream::open(&grpc, opening).await.map_err(|why| why.to_string())?;
    let schedule =
        rate.per_s.map(|per_s| Schedule { first: start.elapsed(), interval_s: 1.0 / per_s });
    let plan = Plan { count: rate.count, window: WINDOW, schedule };
    let episode = |sequence| episode_of(data, order.row(sequence, rows));
    let mut answered = Vec::with_capacity(rate.count as usize);
    let acked = |latency| answered.push(Answered { due: start.elapsed() - latency, latency });
    let mut window = Window::new(plan);
    let sent = stream::run(&mut observing, &mut window, start, episode, acked);
    sent.await.map_err(|why| why.to_string())?;
    observing.close().await.map_err(|why| why.to_string())?;
    Ok(answered)
}

fn episode_of(data: &Dataset, row: usize) -> Episode {
    let mut vector = [0.0; DIMENSION];
    data.base(row, &mut vector);
    let (id, what) = (format!("row-{row}"), data.base_text(row));
    Episode { id, what, embedding: vector.to_vec(), ..Episode::default() }
}

async fn recall_all(
    address: SocketAddr,
    data: &Dataset,
    rate: Rate,
    start: Instant,
) -> std::result::Result<Vec<Answered>, String> {
    let grpc = Grpc::connect(address).await.map_err(|why| why.to_string())?;
    let (first, per_s) = (start.elapsed(), rate.per_s.unwrap_or(f64::INFINITY));
    let mut answered = Vec::with_capacity(rate.count as usize);
    let mut vector = [0.0; DIMENSION];
    for number in 0..rate.count {
        let due = first + Duration::from_secs_f64(number as f64 / per_s);
        // Nothing else is on this thread.
        std::thread::sleep(due.saturating_sub(start.elapsed()));
        data.query(number as usize % QUERY_ROWS, &mut vector);
        let cued = Cued { space: SPACE, vector: &vector, count: COUNT };
        recall(&grpc, cued).await.map_err(|why| why.to_string())?;
        answered.push(Answered { due, latency: start.elapsed() - due });
    }
    Ok(answered)
}
