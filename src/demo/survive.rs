//! What is left after a kill: every memory that was acked, whole, and the session.

use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use engram_proto::engram::v1::AckMode;
use glommio::{Task, spawn_local};

use super::measure::{RECALL_COUNT, WINDOW, episode_of, id_of, open_stream, progress};
use super::server::Server;
use super::{DemoError, SPACE, client_error};
use crate::client::grpc::{CallError, Grpc};
use crate::client::observe::{ObserveStream, Opening};
use crate::client::recall::{Cued, recall};
use crate::client::stream::{self, StreamError};
use crate::client::window::{Plan, Window};
use crate::dataset::{DIMENSION, Dataset};

/// Acks of the second stream after which the server is killed; the rest of the stream is under way or still to come.
const ACKED_BEFORE_KILL: u64 = 1_000;
/// Recalls under way while survivors are looked for.
const RECALLS: usize = 16;
/// A memory recalled by its own vector is as similar as rounding allows.
const SAME: f32 = 0.999;

/// What a client knows of a server that was killed.
#[derive(Debug)]
pub(super) struct Killed {
    /// Acks of the stream that the kill cut.
    pub(super) acked: u64,
    session_id: String,
}

/// What was found afterwards.
#[derive(Debug)]
pub(super) struct Survived {
    memories: usize,
    acked: u64,
    resumed_at: u64,
}

impl fmt::Display for Survived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "all {} acked memories are found by their own vectors, texts intact\n  \
             the session resumes at {}: {} were durable, {} of them acked before the kill",
            self.memories,
            self.resumed_at + 1,
            self.resumed_at,
            self.acked
        )
    }
}

/// Streams the base rows in a further context, and kills the server in the middle of it.
pub(super) async fn stream_until_killed(
    data: Rc<Dataset>,
    server: &mut Server,
) -> Result<Killed, DemoError> {
    let grpc = Grpc::connect(server.address()).await.map_err(client_error)?;
    let mut stream = open_stream(&grpc).await.map_err(client_error)?;
    let session_id = stream.session_id().to_owned();
    let rows = data.base_rows();
    let mut window = Window::new(Plan { count: rows as u64, window: WINDOW, schedule: None });
    let mut acks = 0;
    let episode = |sequence| episode_of(&data, rows + sequence as usize - 1);
    let on_ack = |_| {
        acks += 1;
        if acks == ACKED_BEFORE_KILL {
            server.kill();
        }
    };
    match stream::run(&mut stream, &mut window, Instant::now(), episode, on_ack).await {
        Ok(()) => Err(DemoError::Broken("the stream ended before the kill".to_owned())),
        // The connection breaks, as it should; what was acked before counts.
        Err(StreamError::Transport(_)) => Ok(Killed { acked: window.acked(), session_id }),
        Err(violation) => Err(client_error(violation)),
    }
}

/// Looks for every memory that was acked, by its own vector, and resumes the session.
pub(super) async fn check_survivors(
    data: Rc<Dataset>,
    address: SocketAddr,
    killed: Killed,
) -> Result<Survived, DemoError> {
    let grpc = Grpc::connect(address).await.map_err(client_error)?;
    let memories = data.base_rows() + usize::try_from(killed.acked).expect("rows are in memory");
    let bar = progress(memories).with_message("looking for all that was acked ");
    let shares: Vec<Task<Result<Vec<usize>, CallError>>> = (0..RECALLS)
        .map(|offset| {
            let (data, grpc, bar) = (data.clone(), grpc.clone(), bar.clone());
            spawn_local(async move {
                let mut lost = Vec::new();
                for row in (offset..memories).step_by(RECALLS) {
                    if !is_found(&data, &grpc, row).await? {
                        lost.push(row);
                    }
                    bar.inc(1);
                }
                Ok(lost)
            })
        })
        .collect();
    let mut lost = Vec::new();
    for share in shares {
        lost.extend(share.await.map_err(client_error)?);
    }
    bar.finish_and_clear();
    if !lost.is_empty() {
        let why = format!("{} of {memories} acked memories are lost: rows {lost:?}", lost.len());
        return Err(DemoError::Broken(why));
    }
    let resumed_at = resume(&grpc, &killed.session_id).await.map_err(client_error)?;
    if resumed_at < killed.acked {
        let why = format!("the session resumes at {resumed_at}, but {} were acked", killed.acked);
        return Err(DemoError::Broken(why));
    }
    Ok(Survived { memories, acked: killed.acked, resumed_at })
}

/// Whether a row is recalled by its own vector, with its text.
async fn is_found(data: &Dataset, grpc: &Grpc, row: usize) -> Result<bool, CallError> {
    let mut vector = [0.0; DIMENSION];
    data.base(row, &mut vector);
    let found = recall(grpc, Cued { space: SPACE, vector: &vector, count: RECALL_COUNT }).await?;
    let (id, text) = (id_of(row), data.base_text(row));
    Ok(found.iter().any(|m| m.id == id && m.content == text && m.activation > SAME))
}

/// The last durable sequence of a session that is resumed.
async fn resume(grpc: &Grpc, session_id: &str) -> Result<u64, CallError> {
    let (space, session_id) = (String::new(), session_id.to_owned());
    let opening = Opening { space, session_id, ack_mode: AckMode::Each };
    let stream = ObserveStream::open(grpc, opening).await?;
    let resumed_at = stream.initial_sequence();
    stream.close().await?;
    Ok(resumed_at)
}
