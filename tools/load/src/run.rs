//! The streams and the recalls, beside each other on one executor.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use engram::client::executor;
use engram::client::grpc::{CallError, Grpc};
use engram::client::observe::{ObserveStream, Opening};
use engram::client::recall::{Cued, recall};
use engram::client::stream::{self, Transport};
use engram::client::window::{Plan as Stream, Schedule, Window};
use engram::dataset::{DIMENSION, QUERY_ROWS};
use glommio::{Task, spawn_local, timer};
use indicatif::{ProgressBar, ProgressStyle};

use crate::arguments::{Plan, Protocol};
use crate::report::{Latencies, Report};
use crate::rows::{Share, episode_of, id_of};
use crate::server::Usage;
use crate::websocket::WebSocketStream;

/// Results of each recall.
const RECALL_COUNT: u32 = 10;
/// How often the progress bar moves.
const PROGRESS_TICK: Duration = Duration::from_millis(100);

/// What one stream measured.
struct Streamed {
    acks: Latencies,
    refusals: u64,
    ended: Instant,
}

/// What the recalls measured.
struct Recalled {
    latencies: RefCell<Latencies>,
    failed: Cell<u64>,
    /// Asked and not answered.
    under_way: Cell<u64>,
}

/// A session on either protocol.
enum Opened {
    Grpc(Box<ObserveStream>),
    WebSocket(Box<WebSocketStream>),
}

/// Runs a plan to its end. Fails where anything is lost, out of order or refused for good.
pub(crate) fn run(plan: Plan) -> Result<Report, String> {
    let core = plan.core;
    executor::run(core, measure(Rc::new(plan)))?
}

async fn measure(plan: Rc<Plan>) -> Result<Report, String> {
    let grpc = Grpc::connect(plan.address).await.map_err(|why| why.to_string())?;
    let opened = open_streams(&plan).await?;
    let usage = |pid| Usage::of(pid).map_err(|why| format!("--server-pid {pid}: {why}"));
    let before = plan.server_pid.map(usage).transpose()?;
    let (start, acked) = (Instant::now(), Rc::new(Cell::new(0)));
    let drive = |(index, opened): (usize, Opened)| {
        let (plan, acked) = (plan.clone(), acked.clone());
        spawn_local(async move { opened.drive(&plan, index, start, &acked).await })
    };
    let streams: Vec<_> = opened.into_iter().enumerate().map(drive).collect();
    let progress = plan.progress.then(|| show_progress(plan.rows, acked.clone()));
    let recalled = Rc::new(Recalled {
        latencies: RefCell::new(Latencies::new()),
        failed: Cell::new(0),
        under_way: Cell::new(0),
    });
    let recalling = keep_recalling(plan.clone(), grpc.clone(), start, recalled.clone());
    let mut acks = Latencies::new();
    let (mut refusals, mut ended) = (0, start);
    for stream in streams {
        let streamed = stream.await?;
        acks.merge(&streamed.acks);
        refusals += streamed.refusals;
        ended = ended.max(streamed.ended);
    }
    let after = plan.server_pid.map(usage).transpose()?;
    if let Some(progress) = progress {
        progress.cancel().await;
    }
    recalling.cancel().await;
    while recalled.under_way.get() > 0 {
        timer::sleep(PROGRESS_TICK).await;
    }
    let latencies = recalled.latencies.borrow().clone();
    Ok(Report {
        rows: plan.rows,
        elapsed: ended - start,
        acks,
        recalls: latencies,
        recalls_failed: recalled.failed.get(),
        refusals,
        server_cpu: before.zip(after).map(|(before, after)| after.cpu - before.cpu),
        server_rss_bytes: after.map(|after| after.rss_bytes),
        recall_at_10: check_recalls(&plan, &grpc).await?,
    })
}

/// Opens every session, so that all streams start together.
async fn open_streams(plan: &Plan) -> Result<Vec<Opened>, String> {
    let mut opened = Vec::with_capacity(plan.spaces.len());
    for space in &plan.spaces {
        opened.push(Opened::open(plan, space).await?);
    }
    Ok(opened)
}

impl Opened {
    async fn open(plan: &Plan, space: &str) -> Result<Opened, String> {
        if plan.protocol == Protocol::WebSocket {
            let stream = WebSocketStream::open(plan.address, space, plan.ack_mode).await;
            return stream.map(Box::new).map(Opened::WebSocket).map_err(|why| why.to_string());
        }
        // Connections of their own, so that the server can spread them over its cores.
        let open = async {
            let grpc = Grpc::connect(plan.address).await?;
            let (space, session_id) = (space.to_owned(), String::new());
            ObserveStream::open(&grpc, Opening { space, session_id, ack_mode: plan.ack_mode }).await
        };
        open.await.map(Box::new).map(Opened::Grpc).map_err(|why: CallError| why.to_string())
    }

    /// Streams the share of stream `index` to its end.
    async fn drive(
        self,
        plan: &Plan,
        index: usize,
        start: Instant,
        acked: &Cell<u64>,
    ) -> Result<Streamed, String> {
        let of_stream = |why: String| format!("stream {index}: {why}");
        match self {
            Opened::Grpc(mut stream) => {
                let streamed = stream_share(&mut *stream, plan, index, start, acked).await;
                let streamed = streamed.map_err(of_stream)?;
                let last = stream.close().await.map_err(|why| of_stream(why.to_string()))?;
                let expected = share_of(plan, index).count();
                if last != expected {
                    return Err(of_stream(format!("{expected} acked, but closed at {last}")));
                }
                Ok(streamed)
            }
            Opened::WebSocket(mut stream) => {
                let streamed = stream_share(&mut *stream, plan, index, start, acked).await;
                let streamed = streamed.map_err(of_stream)?;
                stream.close().await.map_err(|why| of_stream(why.to_string()))?;
                Ok(streamed)
            }
        }
    }
}

fn share_of(plan: &Plan, index: usize) -> Share {
    Share::new(index, plan.spaces.len(), plan.rows)
}

async fn stream_share<T: Transport>(
    transport: &mut T,
    plan: &Plan,
    index: usize,
    start: Instant,
    acked: &Cell<u64>,
) -> Result<Streamed, String> {
    let share = share_of(plan, index);
    // Streams take turns, so that all together hold the rate evenly.
    let schedule = plan.rate.map(|rate| Schedule {
        first: Duration::from_secs_f64(index as f64 / rate),
        interval_s: plan.spaces.len() as f64 / rate,
    });
    let (count, window) = (share.count(), plan.window);
    let mut window = Window::new(Stream { count, window, schedule });
    let mut acks = Latencies::new();
    let episode = |sequence| episode_of(&plan.data, share.row_of(sequence));
    let on_ack = |latency| {
        acks.record(latency);
        acked.set(acked.get() + 1);
    };
    stream::run(transport, &mut window, start, episode, on_ack)
        .await
        .map_err(|why| format!("{why} ({} of {count} acked before)", window.acked()))?;
    Ok(Streamed { acks, refusals: window.refusals(), ended: Instant::now() })
}

/// Asks on schedule until it is cancelled, however many answers are late.
fn keep_recalling(plan: Rc<Plan>, grpc: Grpc, start: Instant, recalled: Rc<Recalled>) -> Task<()> {
    spawn_local(async move {
        if plan.recalls_per_s == 0.0 {
            return;
        }
        for number in 0.. {
            let due = start + Duration::from_secs_f64(number as f64 / plan.recalls_per_s);
            timer::sleep(due.saturating_duration_since(Instant::now())).await;
            let (plan, grpc, recalled) = (plan.clone(), grpc.clone(), recalled.clone());
            recalled.under_way.set(recalled.under_way.get() + 1);
            spawn_local(async move {
                let space = &plan.spaces[number % plan.spaces.len()];
                let query = (plan.seed as usize).wrapping_add(number) % QUERY_ROWS;
                match recall_query(&plan, &grpc, space, query).await {
                    Ok(_) => recalled.latencies.borrow_mut().record(due.elapsed()),
                    Err(_) => recalled.failed.set(recalled.failed.get() + 1),
                }
                recalled.under_way.set(recalled.under_way.get() - 1);
            })
            .detach();
        }
    })
}

/// The ids found for one of the data's queries.
async fn recall_query(
    plan: &Plan,
    grpc: &Grpc,
    space: &str,
    query: usize,
) -> Result<Vec<String>, CallError> {
    let mut vector = [0.0; DIMENSION];
    plan.data.query(query, &mut vector);
    let found = recall(grpc, Cued { space, vector: &vector, count: RECALL_COUNT }).await?;
    Ok(found.into_iter().map(|memory| memory.id).collect())
}

/// The share of the ten nearest that recalls find; none where none is asked for.
async fn check_recalls(plan: &Plan, grpc: &Grpc) -> Result<Option<f64>, String> {
    if plan.check_recalls == 0 {
        return Ok(None);
    }
    let (queries, count) = (0..plan.check_recalls, RECALL_COUNT as usize);
    let exact = plan.data.nearest_to_queries(plan.rows, queries, count, 1);
    let (mut hits, mut all) = (0, 0);
    for (query, exact) in exact.iter().enumerate() {
        let found = recall_query(plan, grpc, &plan.spaces[0], query).await;
        let found = found.map_err(|why| format!("recall of query {query}: {why}"))?;
        hits += exact.iter().filter(|nearest| found.contains(&id_of(nearest.row))).count();
        all += exact.len();
    }
    Ok(Some(hits as f64 / all as f64))
}

fn show_progress(rows: usize, acked: Rc<Cell<u64>>) -> Task<()> {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} acked, {per_sec}, {eta} left")
        .expect("the template is a constant");
    let bar = ProgressBar::new(rows as u64).with_style(style);
    spawn_local(async move {
        loop {
            bar.set_position(acked.get());
            timer::sleep(PROGRESS_TICK).await;
        }
    })
}
