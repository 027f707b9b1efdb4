//! The demo's server: a child process in a temporary folder, both gone at the end, whatever that is.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{env, process, thread};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tempfile::TempDir;

use super::DemoError;

/// How long a start may take: recovery of a few thousand memories takes far less, even on a slow disk.
const START_MAX: Duration = Duration::from_secs(60);
/// How often the server is asked whether it is ready.
const READY_POLL: Duration = Duration::from_millis(2);
/// How long one such answer may take.
const READY_ANSWER_MAX: Duration = Duration::from_secs(1);
/// What is shown of the server's log where it fails.
const LOG_LINES_SHOWN: usize = 10;
/// What a shell gives as the exit code of a process that SIGINT ended.
const EXIT_INTERRUPTED: i32 = 130;

/// A temporary folder for a server, and the watch over both: Ctrl-C ends the server and removes the folder.
#[derive(Debug)]
pub(super) struct Host {
    folder: TempDir,
    running: Running,
}

/// The server that runs now; the watch kills it.
type Running = Arc<Mutex<Option<Pid>>>;

/// A server that serves.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    running: Running,
    address: SocketAddr,
    start_time: Duration,
}

impl Host {
    pub(super) fn new() -> Result<Host, DemoError> {
        let failed = |why| DemoError::Server(format!("no temporary folder: {why}"));
        let folder = tempfile::Builder::new().prefix("engram-demo-").tempdir().map_err(failed)?;
        let host = Host { folder, running: Running::default() };
        host.watch()?;
        Ok(host)
    }

    pub(super) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts a server on the folder and waits until it is ready.
    pub(super) fn start(&self, cores: &str) -> Result<Server, DemoError> {
        let began = Instant::now();
        let child = self.spawn(cores).map_err(|why| DemoError::Server(why.to_string()))?;
        let mut server = Server {
            child,
            running: self.running.clone(),
            address: ([127, 0, 0, 1], 0).into(),
            start_time: Duration::ZERO,
        };
        *lock(&self.running) = Pid::from_raw(server.child.id().cast_signed());
        let with_log = |why| DemoError::Server(format!("{why}{}", self.end_of_log()));
        server.address = server.listening(began + START_MAX).map_err(with_log)?;
        server.wait_until_ready(began + START_MAX).map_err(with_log)?;
        server.start_time = began.elapsed();
        Ok(server)
    }

    fn spawn(&self, cores: &str) -> std::io::Result<Child> {
        let log = File::create(self.folder.path().join("server.log"))?;
        let mut command = Command::new(env::current_exe()?);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--cores", cores, "--log", "warn"])
            .arg("--data-dir")
            .arg(self.data_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        // What the user set for a real server is not meant for this one.
        let ours = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("ENGRAM_");
        env::vars_os().filter(|(name, _)| ours(name)).for_each(|(name, _)| {
            command.env_remove(name);
        });
        command.spawn()
    }

    fn end_of_log(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
        shown.iter().map(|line| format!("\n  | {line}")).collect()
    }

    /// Destructors do not run when a signal ends a process; so a thread waits for the signals and cleans up.
    fn watch(&self) -> Result<(), DemoError> {
        let failed = |why| DemoError::Server(format!("no watch for signals: {why}"));
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(failed)?;
        let (folder, running) = (self.folder.path().to_owned(), self.running.clone());
        thread::spawn(move || {
            if signals.forever().next().is_some() {
                // Holding the lock keeps a new server from starting.
                let running = lock(&running);
                if let Some(pid) = *running {
                    let _ = kill_process(pid, Signal::KILL);
                }
                let _ = fs::remove_dir_all(folder);
                process::exit(EXIT_INTERRUPTED);
            }
        });
        Ok(())
    }
}

impl Server {
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From its start until it was ready.
    pub(super) fn start_time(&self) -> Duration {
        self.start_time
    }

    /// SIGKILL: it gets no chance to do anything more.
    pub(super) fn kill(&mut self) {
        // Only what is not reaped yet may be signalled; another process could have its number afterwards.
        *lock(&self.running) = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The address that it says it listens on. A thread reads, so that the server never waits for a reader.
    fn listening(&mut self, deadline: Instant) -> Result<SocketAddr, String> {
        let stdout = self.child.stdout.take().expect("stdout is piped, and taken once");
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let address =
                    line.strip_prefix("listening ").and_then(|address| address.parse().ok());
                if let Some(address) = address {
                    // Nobody waits for a second one.
                    let _: Result<(), mpsc::SendError<SocketAddr>> = sender.send(address);
                }
            }
        });
        receiver.recv_timeout(deadline - Instant::now()).map_err(|why| match why {
            RecvTimeoutError::Timeout => "it did not say where it listens".to_owned(),
            RecvTimeoutError::Disconnected => "it ended before it served".to_owned(),
        })
    }

    fn wait_until_ready(&mut self, deadline: Instant) -> Result<(), String> {
        while !is_ready(self.address).unwrap_or(false) {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("it ended with {status}"));
            }
            if Instant::now() > deadline {
                return Err("it did not get ready".to_owned());
            }
            thread::sleep(READY_POLL);
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `GET /health/ready`.
fn is_ready(address: SocketAddr) -> std::io::Result<bool> {
    let mut socket = TcpStream::connect_timeout(&address, READY_ANSWER_MAX)?;
    socket.set_read_timeout(Some(READY_ANSWER_MAX))?;
    write!(socket, "GET /health/ready HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut status = [0; "HTTP/1.1 200".len()];
    socket.read_exact(&mut status)?;
    Ok(&status == b"HTTP/1.1 200")
}

fn lock(running: &Running) -> std::sync::MutexGuard<'_, Option<Pid>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}
