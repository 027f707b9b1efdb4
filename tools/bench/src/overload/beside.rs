//! Whoever else asks the server: recalls, and the observations of a neighbour, on schedule.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engram::client::grpc::Grpc;
use engram::client::recall::{Cued, recall};
use engram::client::stream;
use engram::client::window::{Plan, Schedule, Window};
use engram::dataset::{DIMENSION, Dataset, QUERY_ROWS};
use glommio::timer;

use crate::latencies::Latencies;
use crate::streams::{episode_of, open};

/// Memories of each recall.
const COUNT: u32 = 10;
/// Observations of the neighbour under way at most.
const WINDOW: u64 = 1_024;

/// How long recalls took, from when each was due; so many a second until the time is up. None waits for the one before it:
/// else a slow one would make all behind it late.
pub(super) async fn recall_beside(
    address: SocketAddr,
    data: &Arc<Dataset>,
    (space, per_s): (&'static str, f64),
    time: Duration,
) -> Result<Latencies, String> {
    let grpc = Grpc::connect(address).await.map_err(|why| why.to_string())?;
    let (start, mut asked) = (Instant::now(), Vec::new());
    for number in 0..(per_s * time.as_secs_f64()) as usize {
        let due = start + Duration::from_secs_f64(number as f64 / per_s);
        timer::sleep(due.saturating_duration_since(Instant::now())).await;
        let (grpc, data) = (grpc.clone(), data.clone());
        asked.push(glommio::spawn_local(async move {
            let mut vector = [0.0; DIMENSION];
            data.query(number % QUERY_ROWS, &mut vector);
            let found = recall(&grpc, Cued { space, vector: &vector, count: COUNT }).await;
            found.map(|_| due.elapsed()).map_err(|why| why.to_string())
        }));
    }
    let mut latencies = Latencies::new();
    for recalled in asked {
        latencies.record(recalled.await?);
    }
    Ok(latencies)
}

/// How long acks of a session took, from when each observation was due; so many a second until the time is up.
pub(super) async fn store_beside(
    address: SocketAddr,
    data: &Dataset,
    (space, per_s): (&str, f64),
    time: Duration,
) -> Result<Latencies, String> {
    let mut observing = open(address, space).await?;
    let schedule = Some(Schedule { first: Duration::ZERO, interval_s: 1.0 / per_s });
    let count = (per_s * time.as_secs_f64()) as u64;
    let (mut window, mut acks) =
        (Window::new(Plan { count, window: WINDOW, schedule }), Latencies::new());
    let episode = |sequence| episode_of(data, sequence);
    let acked = |latency| acks.record(latency);
    let sent = stream::run(&mut observing, &mut window, Instant::now(), episode, acked);
    sent.await.map_err(|why| why.to_string())?;
    observing.close().await.map_err(|why| why.to_string())?;
    Ok(acks)
}
