//! Starts the server: folder, sockets, executors, recovery; and ends it in order.
//!
//! ```text
//!  folder locked ─► sockets ─► one executor a core ─┬─ accept (answers from the start: not ready)
//!                                                   ├─ pump, tick
//!                                                   └─ recover ─► ready
//!  signal ─► listeners closed, connections told ─► connections gone ─► all cores quiet ─► logs durable ─► end
//! ```

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use engram_shards::ids::FolderSecret;
use engram_shards::limits::{GRAPH_LINKS, GRAPH_WIDTH_INSERT, GRAPH_WIDTH_RECALL};
use engram_shards::settings::AckPolicy;
use futures_lite::FutureExt;
use glommio::timer::Timer;
use glommio::{GlommioError, LocalExecutorBuilder, Placement, Task};

use crate::clock::Clock;
use crate::config::durability_name;
use crate::connections::Connections;
use crate::core::{Core, ServeSettings};
use crate::cores;
use crate::disk::Disk;
use crate::down::DownNote;
use crate::folder::{Folder, FolderError};
use crate::knock;
use crate::limits::{
    CHECKPOINT_DRAIN_MAX, DRAIN_MAX, EXECUTOR_IO_MEMORY_BYTES, EXECUTOR_PREEMPT, EXECUTOR_TICK,
};
use crate::listen::{ListenError, listen};
use crate::loans;
use crate::log_readers::{LogReaders, Reading};
use crate::memory::{MemoryAhead, PageFinder};
use crate::memory_bound::MemoryBound;
use crate::mesh::{CoreIndex, Mesh, MeshSettings, Thread, weave};
use crate::pump::{Pump, PumpHandle, tick};
use crate::recovery::{Recovery, RecoveryError, Segments};
use crate::shares::Shares;
use crate::stop::Signals;
use crate::supervisor::Supervisor;

/// What to serve, where.
#[derive(Clone, Debug, PartialEq)]
pub struct ServeConfig {
    /// The data folder; made where it is not there.
    pub data_dir: PathBuf,
    /// Where to listen; port 0 picks a free one.
    pub listeners: Vec<SocketAddr>,
    /// The CPUs to run on, one executor each, as [`crate::cores`] gives them.
    pub cores: Vec<usize>,
    /// What connections need to know.
    pub settings: ServeSettings,
}

/// Serves until SIGTERM or SIGINT.
pub fn serve(config: ServeConfig) -> Result<(), BootError> {
    assert!(!config.cores.is_empty(), "someone must serve");
    let folder = Folder::open(&config.data_dir).map_err(BootError::Folder)?;
    let fault = |error| FolderError::Io { path: folder.path().to_owned(), doing: "clear", error };
    DownNote::clear(folder.path()).map_err(fault).map_err(BootError::Folder)?;
    let cores = u16::try_from(config.cores.len()).expect("a machine has fewer cores");
    let segments = Segments::find(&folder, cores).map_err(BootError::Recovery)?;
    let (bound, sockets) =
        listen(&config.listeners, config.cores.len()).map_err(BootError::Listen)?;
    let signals = Signals::take().map_err(BootError::Signals)?;

    let (starting, starts) = mpsc::channel();
    let clock = Clock::start();
    let readers = LogReaders::default();
    let shares = Shares::new(cores, segments.shared(cores));
    let mut signals = Some(signals);
    let mut executors = Vec::new();
    let numbered = (0..cores).map(CoreIndex).zip(segments.memory_bytes(cores));
    let memory: Vec<_> = numbered.map(|(core, bytes)| MemoryAhead::find(bytes, core)).collect();
    let pages = PageFinder::start();
    let threads = weave(cores).into_iter().zip(sockets).zip(&config.cores).zip(memory);
    for (((thread, sockets), cpu), memory) in threads {
        let plan = Plan {
            memory,
            pages: pages.clone(),
            thread,
            sockets,
            signals: signals.take(),
            started: starting.clone(),
            clock,
            cores,
            secret: folder.secret(),
            folder: folder.path().to_owned(),
            segments: segments.clone(),
            readers: readers.clone(),
            shares: shares.clone(),
            reading: readers.begin(),
            settings: config.settings.clone(),
        };
        executors.push((*cpu, spawn(*cpu, plan)?));
    }
    drop(starting);
    wait_for_starts(&starts, &mut executors)?;
    announce(&config, &folder, &bound).map_err(BootError::Stdout)?;
    // This thread has nothing else to do.
    segments.read_ahead();
    // All are joined before the first error is told: none may write once the folder is another's.
    let ends: Vec<_> = executors.into_iter().map(|(cpu, executor)| end_of(cpu, executor)).collect();
    ends.into_iter().collect()
}

/// Waits until every executor runs. One that cannot be made ends its thread; then the others run in
/// vain.
fn wait_for_starts(
    starts: &mpsc::Receiver<CoreIndex>,
    executors: &mut Vec<(usize, Executor)>,
) -> Result<(), BootError> {
    let started: HashSet<CoreIndex> = starts.iter().take(executors.len()).collect();
    let missing = (0..executors.len()).find(|core| !started.contains(&CoreIndex(*core as u16)));
    match missing {
        None => Ok(()),
        Some(core) => {
            let (cpu, executor) = executors.swap_remove(core);
            end_of(cpu, executor)
        }
    }
}

fn end_of(cpu: usize, executor: Executor) -> Result<(), BootError> {
    executor.join().unwrap_or_else(|_| {
        let error = io::Error::other("its thread panicked");
        Err(BootError::Executor { cpu, error: error.into() })
    })
}

/// The first lines of output; programs wait for the `listening` ones.
fn announce(config: &ServeConfig, folder: &Folder, bound: &[SocketAddr]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for address in bound {
        writeln!(out, "listening {address}")?;
    }
    writeln!(out, "cores {} (CPUs {})", config.cores.len(), cores::list(&config.cores))?;
    writeln!(out, "data {} (folder {})", folder.path().display(), folder.id())?;
    let recall = match config.settings.recall_target {
        Some(target) => format!("recall held at {}", target.share()),
        None => format!("width {GRAPH_WIDTH_RECALL} on recall"),
    };
    writeln!(
        out,
        "index HNSW, M {GRAPH_LINKS}, width {GRAPH_WIDTH_INSERT} on insertion, {recall}"
    )?;
    writeln!(out, "capacity {} observations a core", config.settings.capacity)?;
    let bound = MemoryBound::of(&config.settings, config.cores.len() as u16);
    writeln!(out, "memory {bound}")?;
    writeln!(out, "durability {}", describe(config.settings.durability))?;
    out.flush()
}

/// What acks mean, for a person.
fn describe(durability: AckPolicy) -> String {
    let name = durability_name(durability);
    match durability {
        AckPolicy::Sync => format!("{name} (an ack means fdatasync)"),
        AckPolicy::Interval { .. } => {
            format!("{name} (an ack means fdatasync, once in so many ms)")
        }
        AckPolicy::Write => format!("{name} (an ack means written: a power cut may take it)"),
    }
}

/// What one core's thread is given.
struct Plan {
    thread: Thread,
    sockets: Vec<TcpListener>,
    /// On the one core that listens to signals.
    signals: Option<Signals>,
    /// Told once the executor runs.
    started: mpsc::Sender<CoreIndex>,
    clock: Clock,
    cores: u16,
    secret: FolderSecret,
    folder: PathBuf,
    segments: Segments,
    readers: LogReaders,
    shares: Shares,
    /// Its shard is one of them.
    reading: Reading,
    /// For what it loads.
    memory: MemoryAhead,
    /// For what it takes in.
    pages: PageFinder,
    settings: ServeSettings,
}

type Executor = JoinHandle<Result<(), BootError>>;

fn spawn(cpu: usize, plan: Plan) -> Result<Executor, BootError> {
    let name = format!("engram-{cpu}");
    let executor = LocalExecutorBuilder::new(Placement::Fixed(cpu))
        .name(&name)
        .io_memory(EXECUTOR_IO_MEMORY_BYTES)
        .preempt_timer(EXECUTOR_PREEMPT);
    let live = move || {
        let executor = executor.make().map_err(|error| BootError::Executor { cpu, error })?;
        let lived = knock::run(&executor, EXECUTOR_TICK, run_core(plan));
        lived.unwrap_or_else(|error| Err(BootError::Executor { cpu, error: error.into() }))
    };
    let thread = std::thread::Builder::new().name(name).spawn(live);
    thread.map_err(|error| BootError::Executor { cpu, error: error.into() })
}

/// One core's life.
async fn run_core(plan: Plan) -> Result<(), BootError> {
    let mesh_settings = MeshSettings {
        requests_max: plan.settings.between_requests_max,
        bytes_max: plan.settings.between_bytes_max,
        capacity: plan.settings.capacity,
        clock: plan.clock,
    };
    loans::set_most(plan.settings.request_memory_bytes);
    let mesh = Mesh::new(plan.thread, mesh_settings);
    // Whoever waits for it is gone only if another executor failed to start.
    let _ = plan.started.send(mesh.core());
    let core = Core::new(mesh.clone(), plan.clock, plan.secret, plan.settings);
    let logs = plan.segments.logs().to_owned();
    let disk = Disk::new(logs, mesh.core(), plan.readers.clone(), plan.shares.clone());
    let (pump, shard) = Pump::new(mesh.clone(), disk.clone(), plan.clock, plan.pages);
    let pumping = glommio::spawn_local(pump.run());
    let mut beside = vec![glommio::spawn_local(tick(mesh.clone()))];
    if let Some(signals) = plan.signals {
        beside.push(glommio::spawn_local(stop_at_signal(signals, mesh.clone())));
    }
    let connections = Connections::new(core.clone());
    let accept = |socket| glommio::spawn_local(connections.clone().accept(socket));
    let acceptors: Vec<_> = plan.sockets.into_iter().map(accept).collect();

    let memory = RefCell::new(Some(plan.memory));
    let supervisor = Supervisor {
        recovery: Recovery { core, cores: plan.cores, clock: plan.clock, memory },
        segments: plan.segments,
        shard: shard.clone(),
        disk,
        readers: plan.readers,
        shares: plan.shares,
        folder: plan.folder,
    };
    let reading = plan.reading;
    let supervised = async { Err(BootError::Recovery(supervisor.run(reading).await)) };
    let supervised = supervised.or(async {
        mesh.stopping().wait().await;
        Ok(())
    });
    let ended = supervised.await;
    if ended.is_err() {
        mesh.stop();
    }
    for acceptor in acceptors {
        acceptor.await;
    }
    drain(&mesh, &connections, &shard, pumping).await;
    for task in beside {
        task.cancel().await;
    }
    ended
}

async fn stop_at_signal(signals: Signals, mesh: Mesh) {
    signals.first().await;
    tracing::info!("stopping; a second signal ends the process at once");
    mesh.stop();
}

/// Ends a core in order: its connections, then what others still send it, then its log, all within
/// [`DRAIN_MAX`], and then its checkpoints, within [`CHECKPOINT_DRAIN_MAX`].
async fn drain(mesh: &Mesh, connections: &Connections, shard: &PumpHandle, pumping: Task<()>) {
    let log_last = DRAIN_MAX / 5;
    let begun = Instant::now();
    let left = || (DRAIN_MAX - log_last).saturating_sub(begun.elapsed());
    if !within(left(), connections.gone()).await {
        tracing::warn!(
            connections = connections.count(),
            "connections did not end in time and are cut"
        );
        connections.cut().await;
    }
    mesh.tell_quiet();
    if !within(left() + log_last / 2, mesh.quiet().wait()).await {
        tracing::warn!("other cores did not end in time");
    }
    shard.finish();
    let last = DRAIN_MAX.saturating_sub(begun.elapsed()) + CHECKPOINT_DRAIN_MAX;
    if !within(last, pumping).await {
        tracing::warn!("what was not acked may not be durable, and checkpoints may be old");
    }
}

/// Whether `work` ends within `time`.
async fn within(time: Duration, work: impl Future<Output = ()>) -> bool {
    let ended = async {
        work.await;
        true
    };
    let expired = async {
        Timer::new(time).await;
        false
    };
    ended.or(expired).await
}

/// Why the server did not start, or did not stop in order.
#[derive(Debug)]
pub enum BootError {
    /// The data folder cannot be used.
    Folder(FolderError),
    /// A shard cannot be built from the logs, which are left as they are.
    Recovery(RecoveryError),
    /// An address cannot be listened at.
    Listen(ListenError),
    /// Signals cannot be taken over.
    Signals(io::Error),
    /// Nothing can be printed.
    Stdout(io::Error),
    /// A core's executor did not start, or died.
    Executor {
        /// The CPU.
        cpu: usize,
        /// What is wrong.
        error: GlommioError<()>,
    },
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BootError::Folder(error) => error.fmt(f),
            BootError::Recovery(error) => error.fmt(f),
            BootError::Listen(error) => error.fmt(f),
            BootError::Signals(error) => write!(f, "signals cannot be taken over: {error}"),
            BootError::Stdout(error) => write!(f, "stdout cannot be written: {error}"),
            BootError::Executor { cpu, error } => {
                write!(f, "the executor of CPU {cpu} failed: {error}")
            }
        }
    }
}

impl std::error::Error for BootError {}
