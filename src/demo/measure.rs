//! What the server does while it runs: a stream with recalls beside it, then recalls against exact search.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use engram_proto::engram::v1::{AckMode, Episode, Memory};
use glommio::{Task, spawn_local};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};

use super::{DemoError, RECALL_AT_10_MIN, SPACE, client_error};
use crate::client::grpc::{CallError, Grpc};
use crate::client::observe::{ObserveStream, Opening};
use crate::client::recall::{Cued, recall};
use crate::client::stream;
use crate::client::window::{Plan, Window};
use crate::dataset::{DIMENSION, Dataset, QUERY_ROWS};

/// Observations under way: enough to keep the server busy, few enough that acks stay quick.
pub(super) const WINDOW: u64 = 256;
/// Recalls that are always under way beside the stream.
const RECALLS_BESIDE: usize = 2;
/// Recalls under way while answers are compared.
const RECALLS_COMPARED: usize = 8;
/// Memories a recall finds.
pub(super) const RECALL_COUNT: u32 = 10;
/// Queries whose answers are shown; they lie apart, so that they differ.
const SHOWN: [usize; 3] = [3, 308, 712];
/// Memories shown of each.
const SHOWN_MEMORIES: usize = 3;
/// The longest latency that is told apart.
const LATENCY_MICROS_MAX: u64 = 60_000_000;

/// What was measured.
#[derive(Debug)]
pub(super) struct Measured {
    rows: usize,
    elapsed: Duration,
    acks: Histogram<u64>,
    recalls: Histogram<u64>,
    recall_at_10: f64,
    shown: Vec<Shown>,
}

/// A recall that a person can read.
#[derive(Debug)]
struct Shown {
    cue: String,
    found: Vec<Memory>,
}

impl Measured {
    /// Whether recall is what it should be.
    pub(super) fn check(&self) -> Result<(), DemoError> {
        if self.recall_at_10 < RECALL_AT_10_MIN {
            let why = format!("recall@10 is {:.4}, below {RECALL_AT_10_MIN}", self.recall_at_10);
            return Err(DemoError::Broken(why));
        }
        Ok(())
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |latencies: &Histogram<u64>, q| latencies.value_at_quantile(q) as f64 / 1e3;
        let (acks, recalls) = (&self.acks, &self.recalls);
        let (rows, seconds) = (self.rows, self.elapsed.as_secs_f64());
        let rate = rows as f64 / seconds;
        writeln!(
            f,
            "streamed {rows} memories in {seconds:.2} s: {rate:.0} observations/s, each on disk"
        )?;
        writeln!(f, "  ack        p50 {:.2} ms, p99 {:.2} ms", ms(acks, 0.5), ms(acks, 0.99))?;
        let beside = recalls.len();
        writeln!(
            f,
            "  recall     p99 {:.2} ms ({beside} recalls beside the stream)",
            ms(recalls, 0.99)
        )?;
        writeln!(
            f,
            "  recall@10  {:.4} against exact search, over {QUERY_ROWS} unseen texts",
            self.recall_at_10
        )?;
        for shown in &self.shown {
            writeln!(f, "\n  cue        {}", shown.cue)?;
            for memory in shown.found.iter().take(SHOWN_MEMORIES) {
                writeln!(f, "  {:.3}      {}", memory.activation, memory.content)?;
            }
        }
        Ok(())
    }
}

/// Streams every base row once while it recalls, then compares recalls with exact search.
pub(super) async fn measure(data: Rc<Dataset>, address: SocketAddr) -> Result<Measured, DemoError> {
    let grpc = Grpc::connect(address).await.map_err(client_error)?;
    let rows = data.base_rows();
    let mut stream = open_stream(&grpc).await.map_err(client_error)?;
    let recalls = Rc::new(RefCell::new(latencies()));
    let failure = Rc::new(Cell::new(None));
    let beside: Vec<_> = (0..RECALLS_BESIDE)
        .map(|offset| recall_beside(&data, &grpc, offset, recalls.clone(), failure.clone()))
        .collect();
    let bar = progress(rows);
    let mut window = Window::new(Plan { count: rows as u64, window: WINDOW, schedule: None });
    let mut acks = latencies();
    let start = Instant::now();
    let episode = |sequence| episode_of(&data, sequence as usize - 1);
    let on_ack = |latency| {
        record(&mut acks, latency);
        bar.inc(1);
    };
    stream::run(&mut stream, &mut window, start, episode, on_ack).await.map_err(client_error)?;
    let elapsed = start.elapsed();
    bar.finish_and_clear();
    for task in beside {
        task.cancel().await;
    }
    if let Some(why) = failure.take() {
        return Err(client_error(why));
    }
    stream.close().await.map_err(client_error)?;
    let recall_at_10 = compare(data.clone(), &grpc, rows).await.map_err(client_error)?;
    let mut shown = Vec::with_capacity(SHOWN.len());
    for query in SHOWN {
        let found = recall_query(&data, &grpc, query).await.map_err(client_error)?;
        shown.push(Shown { cue: data.query_text(query), found });
    }
    let recalls = recalls.borrow().clone();
    Ok(Measured { rows, elapsed, acks, recalls, recall_at_10, shown })
}

pub(super) async fn open_stream(grpc: &Grpc) -> Result<ObserveStream, CallError> {
    let (space, session_id) = (SPACE.to_owned(), String::new());
    ObserveStream::open(grpc, Opening { space, session_id, ack_mode: AckMode::Each }).await
}

pub(super) fn id_of(row: usize) -> String {
    format!("row-{row}")
}

pub(super) fn episode_of(data: &Dataset, row: usize) -> Episode {
    let mut vector = [0.0; DIMENSION];
    data.base(row, &mut vector);
    Episode {
        id: id_of(row),
        what: data.base_text(row),
        embedding: vector.to_vec(),
        ..Episode::default()
    }
}

/// Hidden where nobody watches.
pub(super) fn progress(rows: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg}{bar:40} {pos}/{len}")
        .expect("the template is a constant");
    ProgressBar::new(rows as u64).with_style(style)
}

/// Recalls one after the other until it is cancelled or one fails.
fn recall_beside(
    data: &Rc<Dataset>,
    grpc: &Grpc,
    offset: usize,
    recalls: Rc<RefCell<Histogram<u64>>>,
    failure: Rc<Cell<Option<CallError>>>,
) -> Task<()> {
    let (data, grpc) = (data.clone(), grpc.clone());
    spawn_local(async move {
        for query in (offset..QUERY_ROWS).step_by(RECALLS_BESIDE).cycle() {
            let began = Instant::now();
            match recall_query(&data, &grpc, query).await {
                Ok(_) => record(&mut recalls.borrow_mut(), began.elapsed()),
                Err(why) => return failure.set(Some(why)),
            }
        }
    })
}

async fn recall_query(data: &Dataset, grpc: &Grpc, query: usize) -> Result<Vec<Memory>, CallError> {
    let mut vector = [0.0; DIMENSION];
    data.query(query, &mut vector);
    recall(grpc, Cued { space: SPACE, vector: &vector, count: RECALL_COUNT }).await
}

/// The share of the ten nearest base rows that recalls find.
async fn compare(data: Rc<Dataset>, grpc: &Grpc, rows: usize) -> Result<f64, CallError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let exact = data.nearest_to_queries(rows, 0..QUERY_ROWS, RECALL_COUNT as usize, threads);
    let exact = Rc::new(exact);
    let shares: Vec<Task<Result<usize, CallError>>> = (0..RECALLS_COMPARED)
        .map(|offset| {
            let (data, grpc, exact) = (data.clone(), grpc.clone(), exact.clone());
            spawn_local(async move {
                let mut hits = 0;
                for query in (offset..QUERY_ROWS).step_by(RECALLS_COMPARED) {
                    let found = recall_query(&data, &grpc, query).await?;
                    let is_found = |row| found.iter().any(|memory| memory.id == id_of(row));
                    hits += exact[query].iter().filter(|nearest| is_found(nearest.row)).count();
                }
                Ok(hits)
            })
        })
        .collect();
    let mut hits = 0;
    for share in shares {
        hits += share.await?;
    }
    Ok(hits as f64 / (QUERY_ROWS * RECALL_COUNT as usize) as f64)
}

fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3).expect("the bounds are constants")
}

fn record(latencies: &mut Histogram<u64>, latency: Duration) {
    latencies.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LATENCY_MICROS_MAX));
}
