//! What a server of one core is measured with: the data, a core for each side, fresh folders, and what tells one run from
//! another.

use std::future::Future;
use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use core_affinity::CoreId;
use engram::client::executor;
use engram::dataset::Dataset;
use rustix::process::nice;
use serde::Serialize;
use tempfile::TempDir;

use crate::calibration;
use crate::process::{Server, beside};

/// How far what makes load steps back, as `nice` has it, so that what measures runs first on the same core.
const LOAD_NICE: i32 = 5;

/// The flags that all commands with a server of one core have.
#[derive(clap::Args, Debug)]
pub(crate) struct TestbedArguments {
    /// Data folder (gloss.f16, words.f16, text.jsonl); its last 1,000 rows are the queries.
    #[arg(long, default_value = "tests/data")]
    pub(crate) data: PathBuf,
    /// The server's core.
    #[arg(long, default_value_t = 0)]
    pub(crate) server_core: usize,
    /// The client's core.
    #[arg(long, default_value_t = 1)]
    pub(crate) client_core: usize,
    /// Where data folders are made, and removed again [default: beside this program].
    #[arg(long, value_name = "DIR")]
    pub(crate) scratch: Option<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// All that a round needs.
pub(crate) struct Testbed<'a> {
    arguments: &'a TestbedArguments,
    /// The rows.
    pub(crate) data: Arc<Dataset>,
    calibration_before: f64,
}

/// Where a server's data lies.
pub(crate) struct Place {
    path: PathBuf,
    /// Removes it in the end, unless it is to stay.
    _removed: Option<TempDir>,
}

/// A server with an empty place of its own, which goes with it.
pub(crate) struct Served {
    pub(crate) server: Server,
    pub(crate) place: Place,
}

/// What a client does on its core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It measures.
    Measure,
    /// It keeps the server busy, and steps back for what measures.
    Load,
}

/// Whether a load has ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Over(Arc<AtomicBool>);

impl Over {
    /// Whether it has.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a run is told apart from others by.
#[derive(Debug, Serialize)]
pub(crate) struct Conditions {
    machine: String,
    commit: String,
    calibration_ns_per_step: [f64; 2],
}

impl TestbedArguments {
    /// An empty folder.
    pub(crate) fn folder(&self) -> Result<TempDir> {
        let program = std::env::current_exe()?;
        let beside = program.parent().expect("a program lies in a folder");
        let scratch = self.scratch.as_deref().unwrap_or(beside);
        tempfile::Builder::new().prefix("bench-").tempdir_in(scratch)
    }

    /// Reads the data, and how fast the machine is just now.
    pub(crate) fn open(&self) -> Result<Testbed<'_>> {
        let data = Arc::new(Dataset::open(&self.data).map_err(Error::other)?);
        Ok(Testbed { arguments: self, data, calibration_before: calibration::nanos_per_step() })
    }
}

impl Place {
    /// One that stays.
    pub(crate) fn kept(path: &Path) -> Result<Place> {
        std::fs::create_dir_all(path)?;
        Ok(Place { path: path.to_owned(), _removed: None })
    }
}

impl Testbed<'_> {
    /// The client's core.
    pub(crate) fn client_core(&self) -> usize {
        self.arguments.client_core
    }

    /// An empty place.
    pub(crate) fn place(&self) -> Result<Place> {
        let folder = self.arguments.folder()?;
        Ok(Place { path: folder.path().to_owned(), _removed: Some(folder) })
    }

    /// A server that is ready, with an empty place; `settings` are further flags of its own.
    pub(crate) fn serve(&self, settings: &[String]) -> Result<Served> {
        let place = self.place()?;
        let server = self.serve_again(&place, settings)?;
        Ok(Served { server, place })
    }

    /// The same with what another server has left.
    pub(crate) fn serve_again(&self, place: &Place, settings: &[String]) -> Result<Server> {
        // A list of one, for a number alone would be a count.
        let core = format!("{0}-{0}", self.arguments.server_core);
        let mut command = Command::new(beside("engram")?);
        command.args(["serve", "--listen", "127.0.0.1:0", "--cores", &core]);
        command.arg("--data-dir").arg(&place.path).args(settings);
        let server = Server::start(&mut command)?;
        server.wait_ready()?;
        Ok(server)
    }

    /// Runs a client on an executor of its own on the client's core, on a thread of its own: what is started later would
    /// inherit the core.
    pub(crate) fn run<F, R>(&self, role: Role, client: impl FnOnce() -> F + Send) -> Result<R>
    where
        F: Future<Output = std::result::Result<R, String>>,
        R: Send,
    {
        let core = Some(self.arguments.client_core);
        let ended = std::thread::scope(|scope| {
            let client = scope.spawn(|| {
                if role == Role::Load {
                    // Of this thread alone.
                    nice(LOAD_NICE).map_err(|why| why.to_string())?;
                }
                executor::run(core, client())?
            });
            client.join().unwrap_or_else(|_| Err("the client panicked".to_owned()))
        });
        ended.map_err(Error::other)
    }

    /// Runs a client that blocks on the client's core, on a thread of its own.
    pub(crate) fn on_core<R: Send>(&self, client: impl FnOnce() -> Result<R> + Send) -> Result<R> {
        std::thread::scope(|scope| {
            let client = scope.spawn(|| {
                core_affinity::set_for_current(CoreId { id: self.arguments.client_core });
                client()
            });
            client.join().unwrap_or_else(|_| Err(Error::other("the client panicked")))
        })
    }

    /// Runs a load, and beside it what measures until that is over.
    pub(crate) fn beside<LF, L, MF, M>(
        &self,
        load: impl FnOnce() -> LF + Send,
        measure: impl FnOnce(Over) -> MF + Send,
    ) -> Result<(L, M)>
    where
        LF: Future<Output = std::result::Result<L, String>>,
        L: Send,
        MF: Future<Output = std::result::Result<M, String>>,
        M: Send,
    {
        let over = Over::default();
        std::thread::scope(|scope| {
            let measured = {
                let over = over.clone();
                scope.spawn(|| self.run(Role::Measure, || measure(over)))
            };
            let loaded = self.run(Role::Load, load);
            over.0.store(true, Ordering::Relaxed);
            let measured = measured.join().expect("what a client panics with is told");
            Ok((loaded?, measured?))
        })
    }

    /// Prints what was measured.
    pub(crate) fn tell<R: Serialize>(&self, report: &R, table: impl FnOnce(&R)) -> Result<()> {
        #[derive(Serialize)]
        struct Told<'a, R> {
            #[serde(flatten)]
            conditions: &'a Conditions,
            #[serde(flatten)]
            report: &'a R,
        }
        let conditions = &Conditions {
            machine: calibration::machine(),
            commit: calibration::commit(),
            calibration_ns_per_step: [self.calibration_before, calibration::nanos_per_step()],
        };
        if self.arguments.json {
            println!("{}", serde_json::to_string_pretty(&Told { conditions, report })?);
            return Ok(());
        }
        let Conditions { machine, commit, calibration_ns_per_step } = conditions;
        println!("{machine}, {commit}, {calibration_ns_per_step:.2?} ns a step");
        table(report);
        Ok(())
    }
}
