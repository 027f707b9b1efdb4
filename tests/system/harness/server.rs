//! A server process: the real binary on a free port and a folder of the test's.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use engram_shards::ids::{SpaceKey, StripeKey};

use super::{PATIENCE, get};

/// Between two looks at a process that tells nobody when it is ready or done.
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

/// A running server. Dropped, it is killed, and the test fails if it ever panicked without being asked to.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    errors: Arc<Mutex<String>>,
    /// What it printed.
    output: Arc<Mutex<String>>,
    /// Panics that the test asked for.
    panics: usize,
}

/// `engram` with these arguments, to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    let mut command = binary();
    command.args(arguments).stdin(Stdio::null());
    command.output().expect("the binary that cargo built can be started")
}

fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_engram"));
    // Settings of whoever runs the tests must not reach the server.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ENGRAM_") {
            command.env_remove(name);
        }
    }
    command
}

impl Server {
    /// Starts a server of up to two cores on `folder` and waits until it is ready.
    pub(crate) fn start(folder: &Path) -> Server {
        Server::start_with(folder, &[])
    }

    /// The same, with further arguments.
    pub(crate) fn start_with(folder: &Path, arguments: &[&str]) -> Server {
        let cores = thread::available_parallelism().map_or(1, |cores| cores.get().min(2));
        Server::start_on(cores, folder, arguments)
    }

    /// The same, of so many cores.
    pub(crate) fn start_on(cores: usize, folder: &Path, arguments: &[&str]) -> Server {
        let mut child = binary()
            .args(["serve", "--listen", "127.0.0.1:0", "--cores", &cores.to_string()])
            .arg("--data-dir")
            .arg(folder)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary that cargo built can be started");
        let errors = Arc::new(Mutex::new(String::new()));
        let stderr = child.stderr.take().expect("stderr is piped");
        thread::spawn({
            let errors = Arc::clone(&errors);
            move || keep(stderr, &errors)
        });
        let stdout = child.stdout.take().expect("stdout is piped");
        let output = Arc::new(Mutex::new(String::new()));
        let address = listening(stdout, Arc::clone(&output)).unwrap_or_else(|| {
            let status = child.wait();
            panic!("the server ended before it listened: {status:?}\n{}", text(&errors));
        });
        let mut server = Server { child, address, errors, output, panics: 0 };
        server.await_ready();
        server
    }

    /// Asks until `GET /health/ready` answers 200.
    fn await_ready(&mut self) {
        let start = Instant::now();
        loop {
            let status = get(self.address, "/health/ready").map(|answer| answer.status);
            if matches!(status, Ok(200)) {
                return;
            }
            if let Some(exit) = self.child.try_wait().expect("a child of ours can be waited for") {
                panic!("the server ended before it was ready: {exit}\n{}", text(&self.errors));
            }
            assert!(start.elapsed() < PATIENCE, "never ready: {status:?}\n{}", text(&self.errors));
            thread::sleep(BETWEEN_LOOKS);
        }
    }

    /// What it told until now.
    pub(crate) fn said(&self) -> String {
        text(&self.errors)
    }

    /// The first line that it printed with this beginning.
    pub(crate) fn printed(&self, beginning: &str) -> String {
        let start = Instant::now();
        loop {
            let output = text(&self.output);
            if let Some(line) = output.lines().find(|line| line.starts_with(beginning)) {
                return line.to_owned();
            }
            assert!(start.elapsed() < PATIENCE, "no {beginning:?} in\n{output}");
            thread::sleep(BETWEEN_LOOKS);
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// So many panics of it were asked for.
    #[cfg(feature = "chaos")]
    pub(crate) fn expect_panics(&mut self, panics: usize) {
        self.panics = panics;
    }

    /// SIGKILL, and waits for the end: what a crash leaves is what is on disk.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .expect("a child that was not waited for can be signalled");
        let start = Instant::now();
        loop {
            if let Some(exit) = self.child.try_wait().expect("a child of ours can be waited for") {
                return exit;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "still running after SIGTERM\n{}",
                text(&self.errors)
            );
            thread::sleep(BETWEEN_LOOKS);
        }
    }

    fn end(&mut self) {
        // Both fail only where it ended by itself, which is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
        let errors = text(&self.errors);
        if thread::panicking() {
            eprintln!("--- the server said:\n{errors}");
        } else {
            let panics = errors.matches("panicked at").count();
            assert_eq!(panics, self.panics, "the server panicked otherwise than asked:\n{errors}");
        }
    }
}

/// The address of the first line `listening ADDR:PORT`; `None` where the output ends without one. All of it is kept in
/// `output`, line by line.
fn listening(stdout: impl Read + Send + 'static, output: Arc<Mutex<String>>) -> Option<SocketAddr> {
    let (found, wanted) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            output.lock().expect("no holder panics").push_str(&format!("{line}\n"));
            if let Some(address) = line.strip_prefix("listening ") {
                let address = address.trim().parse().expect("`listening` is followed by ADDR:PORT");
                // Only the first is waited for.
                let _ = found.send(address);
            }
        }
    });
    wanted.recv_timeout(PATIENCE).ok()
}

fn keep(mut from: impl Read, to: &Mutex<String>) {
    let mut chunk = [0; 4096];
    while let Ok(count) = from.read(&mut chunk) {
        if count == 0 {
            return;
        }
        to.lock().expect("no holder panics").push_str(&String::from_utf8_lossy(&chunk[..count]));
    }
}

fn text(kept: &Mutex<String>) -> String {
    kept.lock().expect("no holder panics").clone()
}

/// Whose checkpoint a file is, by its name.
pub(crate) fn stripe_of(checkpoint: &Path) -> StripeKey {
    let name = checkpoint.file_stem().and_then(|name| name.to_str()).expect("a plain name");
    let (space, stripe) = name.split_once('-').expect("KEY-STRIPE");
    let space = SpaceKey(u64::from_str_radix(space, 16).expect("a key"));
    StripeKey { space, stripe: stripe.parse().expect("a number") }
}
