//! The rounds, one after the other, on one folder.

use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use engram::client::executor;
use engram::client::grpc::{CallError, Grpc};
use engram::client::recall::{Cued, recall};
use engram::dataset::{DIMENSION, Dataset};
use serde_json::Value;
use tempfile::TempDir;

use crate::calibration;
use crate::process::{DiskBytes, Server, beside};
use crate::rounds::median;

use super::arguments::RestartArguments;
use super::files::{below, disk_bytes, drop_cached, read_through};
use super::ingest::{Ingest, SPACE, record_bytes_of};
use super::report::{Cold, Killed, Loaded, Report, Restarted};

/// Memories of each recall.
const COUNT: u32 = 10;
/// Recalls behind the first.
const LATER_RECALLS: usize = 50;
/// How often it is looked how far an ingest has come.
const INGEST_POLL: Duration = Duration::from_millis(1);
/// Of all rows, one in so many comes on top before the server is killed, in each round.
const KILLED_SHARE: usize = 10;

/// Measures, prints.
pub(crate) fn run(arguments: &RestartArguments) -> Result<()> {
    let bench = Bench::new(arguments)?;
    let rows = arguments.rows as usize;
    let mut calibration_ns_per_step = vec![calibration::nanos_per_step()];
    let (loaded, mut server) = bench.load(rows)?;
    let (mut stop_s, mut page_cache, mut cold) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..arguments.rounds {
        calibration_ns_per_step.push(calibration::nanos_per_step());
        stop_s.push(stop(server)?);
        read_through(&bench.read_at_start()?.files)?;
        let (restarted, again) = bench.restart(rows)?;
        page_cache.push(restarted);
        stop_s.push(stop(again)?);
        let (measured, again) = bench.restart_cold(rows, round)?;
        cold.push(measured);
        server = again;
    }
    let mut killed = Vec::new();
    for _ in 0..arguments.rounds {
        let (measured, again) = bench.kill(server, rows / KILLED_SHARE)?;
        killed.push(measured);
        server = again;
    }
    calibration_ns_per_step.push(calibration::nanos_per_step());
    stop(server)?;
    let report = Report {
        rows,
        dimension: DIMENSION,
        cores: arguments.cores.clone(),
        machine: calibration::machine(),
        commit: calibration::commit(),
        calibration_ns_per_step,
        loaded,
        stop_s: median(stop_s.iter().copied()),
        page_cache: Restarted::median(&page_cache),
        cold: Cold::median(&cold),
        page_cache_rounds: page_cache,
        cold_rounds: cold,
        killed,
    };
    match arguments.json {
        true => println!("{}", serde_json::to_string_pretty(&report)?),
        false => report.print_table(),
    }
    Ok(())
}

struct Bench {
    data: Arc<Dataset>,
    folder: TempDir,
    cores: Option<String>,
}

/// What a start of the server reads whole.
struct ReadAtStart {
    files: Vec<PathBuf>,
    /// Rows that checkpoints hold.
    rows: u64,
    checkpoint_bytes: u64,
}

impl Bench {
    fn new(arguments: &RestartArguments) -> Result<Bench> {
        let data = Dataset::open(&arguments.data).map_err(Error::other)?;
        let program = std::env::current_exe()?;
        let beside = program.parent().expect("a program lies in a folder");
        let scratch = arguments.scratch.as_deref().unwrap_or(beside);
        let folder = tempfile::Builder::new().prefix("restart-").tempdir_in(scratch)?;
        Ok(Bench { data: Arc::new(data), folder, cores: arguments.cores.clone() })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn serve(&self) -> Result<Command> {
        let mut command = Command::new(beside("engram")?);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(self.path());
        if let Some(cores) = &self.cores {
            command.args(["--cores", cores]);
        }
        Ok(command)
    }

    /// A server with so many rows, all of them in the graph, and what it wrote until then.
    fn load(&self, rows: usize) -> Result<(Loaded, Server)> {
        let server = Server::start(&mut self.serve()?)?;
        server.wait_ready()?;
        let start = Instant::now();
        Ingest::start(server.address, self.data.clone(), 0..rows).finish()?;
        let acked_s = start.elapsed().as_secs_f64();
        server.wait_drained()?;
        let linked_s = start.elapsed().as_secs_f64();
        let written_bytes = DiskBytes::of(server.pid())?.written;
        let record_bytes = (0..rows).map(|row| record_bytes_of(&self.data, row)).sum::<u64>();
        stop(server)?;
        let disk_bytes = disk_bytes(&below(self.path())?)?;
        let loaded = Loaded {
            observations_per_s: rows as f64 / acked_s,
            linked_s,
            record_bytes,
            written_bytes,
            write_amplification: written_bytes as f64 / record_bytes as f64,
            disk_bytes,
            disk_over_live: disk_bytes as f64 / record_bytes as f64,
            checkpoint_bytes: self.read_at_start()?.checkpoint_bytes,
        };
        let (_, server) = self.restart(rows)?;
        Ok((loaded, server))
    }

    /// A server that finds at least so many rows, and how long it took until it served them.
    fn restart(&self, rows: usize) -> Result<(Restarted, Server)> {
        let mut command = self.serve()?;
        let restarted = executor::run(None, async {
            let start = Instant::now();
            let server = Server::start(&mut command)?;
            server.wait_ready()?;
            let ready_s = start.elapsed().as_secs_f64();
            let disk_bytes_read = DiskBytes::of(server.pid())?.read;
            let recall_ms = self.recall_ms(&server).await.map_err(Error::other)?;
            let restarted = Restarted {
                ready_s,
                disk_bytes_read,
                first_recall_ms: recall_ms[0],
                later_recall_ms: median(recall_ms[1..].iter().copied()),
            };
            Ok::<_, Error>((restarted, server))
        });
        let (restarted, server) = restarted.map_err(Error::other)??;
        let found = server.rows_of(SPACE)? as usize;
        match found >= rows {
            true => Ok((restarted, server)),
            false => Err(Error::other(format!("{rows} rows were acked, {found} are there"))),
        }
    }

    /// How long each of some recalls takes, the first one first.
    async fn recall_ms(&self, server: &Server) -> std::result::Result<Vec<f64>, CallError> {
        let grpc = Grpc::connect(server.address).await?;
        let mut recall_ms = Vec::with_capacity(1 + LATER_RECALLS);
        for query in 0..=LATER_RECALLS {
            let mut vector = [0.0; DIMENSION];
            self.data.query(query, &mut vector);
            let start = Instant::now();
            let found = recall(&grpc, Cued { space: SPACE, vector: &vector, count: COUNT }).await?;
            recall_ms.push(start.elapsed().as_secs_f64() * 1e3);
            if found.len() < COUNT as usize {
                return Err(CallError::Protocol(format!("{} memories found", found.len())));
            }
        }
        Ok(recall_ms)
    }

    /// A restart with nothing in the page cache, and the same bytes read by one thread; which comes first changes from round
    /// to round.
    fn restart_cold(&self, rows: usize, round: u32) -> Result<(Cold, Server)> {
        let read = || {
            let files = self.read_at_start()?.files;
            drop_cached(&below(self.path())?)?;
            read_through(&files)
        };
        let before = if round.is_multiple_of(2) { Some(read()?) } else { None };
        let resident_bytes = drop_cached(&below(self.path())?)?;
        let (restarted, mut server) = self.restart(rows)?;
        let through = match before {
            Some(through) => through,
            None => {
                stop(server)?;
                let through = read()?;
                server = self.restart(rows)?.1;
                through
            }
        };
        let cold_read_s = through.duration.as_secs_f64();
        let cold = Cold {
            cold_over_read: restarted.ready_s / cold_read_s,
            restarted,
            resident_bytes,
            cold_read_s,
            cold_read_bytes: through.bytes,
        };
        Ok((cold, server))
    }

    /// Ends a server in the middle of an ingest, once so many more rows were acked, and starts it again.
    fn kill(&self, server: Server, more: usize) -> Result<(Killed, Server)> {
        let first = server.rows_of(SPACE)? as usize;
        let ingest = Ingest::start(server.address, self.data.clone(), first..usize::MAX);
        while ingest.acked() < more && !ingest.has_ended() {
            sleep(INGEST_POLL);
        }
        let is_alive = !ingest.has_ended();
        drop(server);
        let (acked, ended) = ingest.end();
        if !is_alive {
            return Err(Error::other(format!("the ingest ended by itself: {ended:?}")));
        }
        let covered = self.read_at_start()?.rows;
        let (restarted, server) = self.restart(first + acked)?;
        let found = server.rows_of(SPACE)?;
        let killed = Killed { rows: found, rows_replayed: found - covered.min(found), restarted };
        Ok((killed, server))
    }

    /// As `engram inspect` tells.
    fn read_at_start(&self) -> Result<ReadAtStart> {
        let mut command = Command::new(beside("engram")?);
        let output = command.arg("inspect").arg(self.path()).arg("--json").output()?;
        if !output.status.success() {
            return Err(Error::other(String::from_utf8_lossy(&output.stderr)));
        }
        let mut read = ReadAtStart { files: Vec::new(), rows: 0, checkpoint_bytes: 0 };
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let line: Value = serde_json::from_str(line)?;
            let number = |key: &str| line[key].as_u64().unwrap_or_default();
            if line["kind"] == "checkpoint" {
                read.rows += number("generation");
                read.checkpoint_bytes += number("bytes");
            }
            if line["read_at_start"] == true {
                read.files.extend(line["file"].as_str().map(PathBuf::from));
            }
        }
        Ok(read)
    }
}

/// Ends a server in order; how many seconds that took.
fn stop(server: Server) -> Result<f64> {
    let start = Instant::now();
    server.stop()?;
    Ok(start.elapsed().as_secs_f64())
}
