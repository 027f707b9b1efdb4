//! Sessions that store rows: as fast as they are taken, or at a rate.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engram::client::grpc::Grpc;
use engram::client::observe::{ObserveStream, Opening};
use engram::client::stream;
use engram::client::window::{Plan, Schedule, Window};
use engram::dataset::{DIMENSION, Dataset};
use engram_proto::engram::v1::{AckMode, Episode};

use crate::latencies::Latencies;
use crate::process::Server;
use crate::testbed::{Role, Testbed};

/// Observations of one stream under way at most.
const WINDOW: u64 = 1_024;
/// Streams that store together.
const STREAMS: u64 = 4;

/// Rows that are stored together.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    /// Where they go.
    pub(crate) space: &'static str,
    /// The first of them.
    pub(crate) first: u64,
    /// How many.
    pub(crate) count: u64,
    /// In a second, all together; none: as fast as they are taken.
    pub(crate) per_s: Option<f64>,
}

/// Opens a session of its own on a connection of its own.
pub(crate) async fn open(address: SocketAddr, space: &str) -> Result<ObserveStream, String> {
    let grpc = Grpc::connect(address).await.map_err(|why| why.to_string())?;
    let (space, session_id) = (space.to_owned(), String::new());
    let opening = Opening { space, session_id, ack_mode: AckMode::Cumulative };
    ObserveStream::open(&grpc, opening).await.map_err(|why| why.to_string())
}

/// The observation that shows a row.
pub(crate) fn episode_of(data: &Dataset, row: u64) -> Episode {
    let mut vector = [0.0; DIMENSION];
    data.base(row as usize, &mut vector);
    let (id, what) = (format!("row-{row}"), data.base_text(row as usize));
    Episode { id, what, embedding: vector.to_vec(), ..Episode::default() }
}

/// Stores them in several streams; how long each took from when it was due, or sent.
pub(crate) async fn store(
    address: SocketAddr,
    data: &Arc<Dataset>,
    rows: Rows,
) -> Result<Latencies, String> {
    let start = Instant::now();
    let rows = Rc::new(rows);
    let streams: Vec<_> = (0..STREAMS.min(rows.count))
        .map(|stream| {
            let (data, rows) = (data.clone(), rows.clone());
            glommio::spawn_local(
                async move { store_share(address, &data, &rows, stream, start).await },
            )
        })
        .collect();
    let mut acks = Latencies::new();
    for stream in streams {
        acks.merge(&stream.await?);
    }
    Ok(acks)
}

/// One stream's share: every n-th row, so that all of them go through the contents alike.
async fn store_share(
    address: SocketAddr,
    data: &Dataset,
    rows: &Rows,
    stream: u64,
    start: Instant,
) -> Result<Latencies, String> {
    let streams = STREAMS.min(rows.count);
    let mut observing = open(address, rows.space).await?;
    // Streams take turns, so that all together hold the rate evenly.
    let schedule = rows.per_s.map(|per_s| Schedule {
        first: start.elapsed() + Duration::from_secs_f64(stream as f64 / per_s),
        interval_s: streams as f64 / per_s,
    });
    let count = (rows.count + streams - 1 - stream) / streams;
    let mut window = Window::new(Plan { count, window: WINDOW, schedule });
    let episode = |sequence: u64| episode_of(data, rows.first + stream + (sequence - 1) * streams);
    let mut acks = Latencies::new();
    let acked = |latency| acks.record(latency);
    let sent = stream::run(&mut observing, &mut window, start, episode, acked);
    sent.await.map_err(|why| why.to_string())?;
    observing.close().await.map_err(|why| why.to_string())?;
    Ok(acks)
}

/// Rows a second that a server takes in: sent as fast as they are taken, until none waits for the graph any more.
pub(crate) fn saturation(
    testbed: &Testbed<'_>,
    server: &Server,
    rows: Rows,
) -> std::io::Result<f64> {
    let (begun, count) = (Instant::now(), rows.count);
    fill(testbed, server, rows)?;
    server.wait_queue_empty()?;
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

/// Stores rows, and waits until all are acked.
pub(crate) fn fill(testbed: &Testbed<'_>, server: &Server, rows: Rows) -> std::io::Result<()> {
    let (address, data) = (server.address, testbed.data.clone());
    testbed.run(Role::Load, || async move { store(address, &data, rows).await })?;
    Ok(())
}
