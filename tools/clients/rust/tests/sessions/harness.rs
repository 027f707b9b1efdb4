//! What the tests stand on: the real server, and a proxy that can be cut, muted and led elsewhere.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engram_client::Observation;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const DIMENSION: usize = 8;
/// How long anything may take before a test gives up on it: no part of any promise.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for what is owed; fails the test, naming it, where it does not come.
pub(crate) async fn owed<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("no {what} within {PATIENCE:?}"),
    }
}

/// The vector of row `number`: another direction than that of all others.
pub(crate) fn vector(number: u64) -> Vec<f32> {
    let mut state = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..DIMENSION).map(|_| next()).collect()
}

/// Row `number`.
pub(crate) fn observation(number: u64) -> Observation {
    Observation::new(format!("row {number}"), vector(number))
}

/// The real binary over a folder of its own.
pub(crate) struct Server {
    child: Child,
    folder: tempfile::TempDir,
    arguments: Vec<String>,
    errors: Arc<Mutex<String>>,
    pub(crate) port: u16,
}

impl Server {
    /// One core on a free port, with further arguments; returns once it is ready.
    pub(crate) async fn start(arguments: &[&str]) -> Server {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let arguments: Vec<String> = arguments.iter().map(|&one| one.to_owned()).collect();
        let errors = Arc::new(Mutex::new(String::new()));
        let (child, port) = spawn(&folder, &arguments, &errors);
        let server = Server { child, folder, arguments, errors, port };
        server.await_ready().await;
        server
    }

    /// SIGKILL, and starts it again with the same folder, on another port.
    pub(crate) async fn restart(&mut self) {
        self.end();
        (self.child, self.port) = spawn(&self.folder, &self.arguments, &self.errors);
        self.await_ready().await;
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) async fn make_space(&self, name: &str) {
        let body = serde_json::json!({"id": name, "dimension": DIMENSION}).to_string();
        let (status, said) = self.request("POST", "/api/v1/spaces", &body).await;
        assert_eq!(status, 201, "{said}");
    }

    /// What it tells of a space.
    pub(crate) async fn space(&self, name: &str) -> Value {
        let (_, said) = self.request("GET", "/api/v1/spaces", "").await;
        let spaces = said["spaces"].as_array().expect("a list").iter();
        spaces.clone().find(|space| space["id"] == name).expect("the space is there").clone()
    }

    async fn await_ready(&self) {
        owed("readiness", async {
            while self.request("GET", "/health/ready", "").await.0 != 200 {}
        })
        .await;
    }

    async fn request(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut socket = TcpStream::connect(self.address()).await.expect("the server listens");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.address(),
            body.len()
        );
        socket.write_all(request.as_bytes()).await.expect("it is read");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.expect("it answers");
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let body = answer.split_once("\r\n\r\n").expect("a head and a body").1;
        (status.expect("a status"), serde_json::from_str(body).expect("JSON"))
    }

    fn end(&mut self) {
        // Both fail only where it ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
        let errors = self.errors.lock().expect("no holder panics").clone();
        if std::thread::panicking() {
            eprintln!("--- the server said:\n{errors}");
        } else {
            assert!(!errors.contains("panicked at"), "the server panicked:\n{errors}");
        }
    }
}

/// The binary beside the tests, or the one that `ENGRAM_TEST_BINARY` names.
fn binary() -> PathBuf {
    let beside = || {
        let test = std::env::current_exe().expect("a test has a path");
        test.parent().and_then(|deps| deps.parent()).expect("target/PROFILE/deps").join("engram")
    };
    let binary = std::env::var_os("ENGRAM_TEST_BINARY").map_or_else(beside, PathBuf::from);
    let name = binary.display();
    assert!(binary.exists(), "{name} is not there: cargo build --release --bin engram");
    binary
}

fn spawn(
    folder: &tempfile::TempDir,
    arguments: &[String],
    errors: &Arc<Mutex<String>>,
) -> (Child, u16) {
    let mut command = Command::new(binary());
    // Settings of whoever runs the tests must not reach the server.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ENGRAM_") {
            command.env_remove(name);
        }
    }
    let mut child = command
        .args(["serve", "--listen", "127.0.0.1:0", "--cores", "1", "--data-dir"])
        .arg(folder.path())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary can be started");
    let mut stderr = child.stderr.take().expect("stderr is piped");
    let kept = Arc::clone(errors);
    std::thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(count @ 1..) = stderr.read(&mut chunk) {
            let text = String::from_utf8_lossy(&chunk[..count]);
            kept.lock().expect("no holder panics").push_str(&text);
        }
    });
    let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    let port = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("listening ")?.rsplit_once(':')?.1.trim().parse().ok());
    // Nobody reads what it prints from here on, but it must never wait for us.
    std::thread::spawn(move || lines.for_each(drop));
    let told = || errors.lock().expect("no holder panics").clone();
    (child, port.unwrap_or_else(|| panic!("the server ended before it listened:\n{}", told())))
}

/// Stands between client and server on a port that stays.
pub(crate) struct Proxy {
    port: u16,
    state: watch::Sender<Relay>,
}

/// How the proxy stands.
#[derive(Clone, Copy)]
struct Relay {
    target: u16,
    /// Connections made before the latest cut are over.
    cuts: u64,
    is_muted: bool,
}

impl Proxy {
    pub(crate) async fn start(target: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (state, seen) = watch::channel(Relay { target, cuts: 0, is_muted: false });
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, seen.clone()));
            }
        });
        Proxy { port, state }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// New connections go to this port.
    pub(crate) fn lead_to(&self, target: u16) {
        self.state.send_modify(|relay| relay.target = target);
    }

    /// From here on nothing of what the server says arrives, until the cut.
    pub(crate) fn mute(&self) {
        self.state.send_modify(|relay| relay.is_muted = true);
    }

    /// Every connection ends at once; new ones go through.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|relay| {
            relay.cuts += 1;
            relay.is_muted = false;
        });
    }
}

async fn relay(client: TcpStream, mut state: watch::Receiver<Relay>) {
    let begun = *state.borrow();
    let Ok(server) = TcpStream::connect(("127.0.0.1", begun.target)).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let hears = state.clone();
    let down = async {
        let mut chunk = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from_server.read(&mut chunk).await {
            let now = *hears.borrow();
            let is_cut = now.cuts != begun.cuts;
            if is_cut || !now.is_muted && to_client.write_all(&chunk[..count]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
        () = down => {}
        _ = state.wait_for(|now| now.cuts != begun.cuts) => {}
    }
}
