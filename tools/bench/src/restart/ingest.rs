//! Rows into a server, on a thread of their own, so that the server can be ended meanwhile.

use std::io::{Error, Result};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use engram::client::executor;
use engram::client::grpc::Grpc;
use engram::client::observe::{ObserveStream, Opening};
use engram::client::stream;
use engram::client::window::{Plan, Window};
use engram::dataset::{DIMENSION, Dataset};
use engram_proto::engram::v1::{AckMode, Episode};
use engram_shards::log::body::OBSERVATION_FIXED_BYTES;
use engram_shards::log::field::FIELD_HEAD_BYTES;
use engram_shards::log::record::record_bytes;

/// The one space.
pub(crate) const SPACE: &str = "restart";
/// Observations under way at most.
const WINDOW: u64 = 1_024;

/// A stream of base rows, in their order.
pub(crate) struct Ingest {
    acked: Arc<AtomicUsize>,
    thread: JoinHandle<std::result::Result<(), String>>,
}

impl Ingest {
    /// Begins to send these rows.
    pub(crate) fn start(address: SocketAddr, data: Arc<Dataset>, rows: Range<usize>) -> Ingest {
        let acked = Arc::<AtomicUsize>::default();
        let count = acked.clone();
        let thread =
            std::thread::spawn(move || executor::run(None, send(address, &data, rows, &count))?);
        Ingest { acked, thread }
    }

    /// How many of them were acked until now.
    pub(super) fn acked(&self) -> usize {
        self.acked.load(Ordering::Relaxed)
    }

    /// Whether it ended: all were acked, or something failed.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits until all were.
    pub(crate) fn finish(self) -> Result<()> {
        self.end().1.map_err(Error::other)
    }

    /// Waits until it ends, as it does when its server is gone; how many were acked, and why no more were.
    pub(super) fn end(self) -> (usize, std::result::Result<(), String>) {
        let ended = self.thread.join().unwrap_or_else(|_| Err("the client panicked".to_owned()));
        (self.acked.load(Ordering::Relaxed), ended)
    }
}

async fn send(
    address: SocketAddr,
    data: &Dataset,
    rows: Range<usize>,
    acked: &AtomicUsize,
) -> std::result::Result<(), String> {
    let opening = Opening {
        space: SPACE.to_owned(),
        session_id: String::new(),
        ack_mode: AckMode::Cumulative,
    };
    let grpc = Grpc::connect(address).await.map_err(|why| why.to_string())?;
    let mut observing = ObserveStream::open(&grpc, opening).await.map_err(|why| why.to_string())?;
    let plan = Plan { count: rows.len() as u64, window: WINDOW, schedule: None };
    let episode = |sequence| episode_of(data, rows.start + sequence as usize - 1);
    let on_ack = |_| {
        acked.fetch_add(1, Ordering::Relaxed);
    };
    let (mut window, start) = (Window::new(plan), Instant::now());
    let sent = stream::run(&mut observing, &mut window, start, episode, on_ack);
    sent.await.map_err(|why| why.to_string())?;
    observing.close().await.map(|_| ()).map_err(|why| why.to_string())
}

/// The memory id of a row.
fn id_of(row: usize) -> String {
    format!("row-{row}")
}

fn episode_of(data: &Dataset, row: usize) -> Episode {
    let mut vector = [0.0; DIMENSION];
    data.base(row, &mut vector);
    let (id, what) = (id_of(row), data.base_text(row));
    Episode { id, what, embedding: vector.to_vec(), ..Episode::default() }
}

/// Bytes of the record that the log keeps of a row: its vector, its id and its text.
pub(super) fn record_bytes_of(data: &Dataset, row: usize) -> u64 {
    let fields = [id_of(row).len(), data.base_text(row).len()].map(|text| FIELD_HEAD_BYTES + text);
    let body = OBSERVATION_FIXED_BYTES + DIMENSION * size_of::<f32>() + fields[0] + fields[1];
    record_bytes(body) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use engram_shards::log::record::{Embedding, Observation, encode_body};

    #[test]
    fn a_record_is_as_long_as_the_log_writes_it() {
        let data = Dataset::bundled();
        for row in [0, 9, 10, 12_345] {
            let episode = episode_of(&data, row);
            let observation =
                Observation::new(&episode.id, &episode.what, Embedding::F32(&episode.embedding));
            let written = record_bytes(encode_body(&observation).bytes.len());
            assert_eq!(record_bytes_of(&data, row), written as u64);
        }
    }
}
