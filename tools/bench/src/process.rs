//! The programs under measurement: started, watched through /proc, always ended.

use std::io::{BufRead, BufReader, Error, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use engram_shards::limits::GRAPH_ROWS_MIN;
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use serde_json::Value;

/// How long a server may take until it is ready: it may replay millions of rows.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// How often it is asked: what a restart takes is told to this.
const READY_POLL: Duration = Duration::from_millis(2);
/// How long the server may take to index what a load left behind.
const DRAINED_WITHIN: Duration = Duration::from_secs(600);
/// How often it is asked for that.
const DRAINED_POLL: Duration = Duration::from_millis(50);
/// How often it is asked whether the queue is empty: what a load takes is told to this.
const QUEUE_POLL: Duration = Duration::from_millis(10);

/// A server that runs until this is dropped.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts `command`, which prints `listening ADDR:PORT` first. It ends with the thread that starts it.
    pub(crate) fn start(command: &mut Command) -> Result<Server> {
        // SAFETY: between fork and exec it does one system call, and allocates nothing.
        unsafe {
            // Nothing of this program outlives it, also where a signal ends it.
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().expect("stdout was asked for");
        let mut lines = BufReader::new(output);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening ").and_then(|text| text.parse().ok());
        let Some(address) = address else {
            child.kill()?;
            child.wait()?;
            return Err(Error::other(format!("no address in the server's first line: {line:?}")));
        };
        // What else it prints must be read, or a full pipe would stop it.
        std::thread::spawn(move || lines.read_to_end(&mut Vec::new()));
        Ok(Server { child, address })
    }

    /// Waits until `/health/ready` answers 200.
    pub(crate) fn wait_ready(&self) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < READY_WITHIN {
            if get(self.address, "/health/ready").is_ok_and(|text| text.starts_with("HTTP/1.1 200"))
            {
                return Ok(());
            }
            std::thread::sleep(READY_POLL);
        }
        Err(Error::other("the server was not ready in time"))
    }

    /// Waits until everything acked is in the graph too, but for spaces so small that they get none.
    pub(crate) fn wait_drained(&self) -> Result<()> {
        self.wait_queue_empty()?;
        let start = Instant::now();
        while start.elapsed() < DRAINED_WITHIN {
            if self.spaces()?.iter().all(is_linked) {
                return Ok(());
            }
            std::thread::sleep(DRAINED_POLL);
        }
        Err(Error::other("not all rows came into the graph in time"))
    }

    /// Waits until nothing waits for the graph, but for the rows that every recall compares one by one.
    pub(crate) fn wait_queue_empty(&self) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < DRAINED_WITHIN {
            if self.metric("queue_depth")? == 0.0 {
                return Ok(());
            }
            std::thread::sleep(QUEUE_POLL);
        }
        Err(Error::other("the queue did not drain in time"))
    }

    /// The sum of a metric's series.
    pub(crate) fn metric(&self, name: &str) -> Result<f64> {
        Ok(metric_of(&get(self.address, "/metrics")?, name))
    }

    /// Rows of a space.
    pub(crate) fn rows_of(&self, space: &str) -> Result<u64> {
        let spaces = self.spaces()?;
        let found = spaces.iter().find(|found| found["id"] == space);
        let rows = found.and_then(|found| found["rows"].as_u64());
        rows.ok_or_else(|| Error::other(format!("there is no space {space}")))
    }

    /// What it tells of its spaces.
    pub(crate) fn spaces(&self) -> Result<Vec<Value>> {
        let answer = get(self.address, "/api/v1/spaces")?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        match serde_json::from_str::<Value>(body)?["spaces"].take() {
            Value::Array(spaces) => Ok(spaces),
            _ => Err(Error::other("no list of spaces")),
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it in order.
    pub(crate) fn stop(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let status = self.child.wait()?;
        match status.success() {
            true => Ok(()),
            false => Err(Error::other(format!("the server did not stop in order: {status}"))),
        }
    }
}

/// Whether idle time will link no rows of it.
fn is_linked(space: &Value) -> bool {
    let of = |key: &str| space[key].as_u64().unwrap_or_default();
    of("rows") < u64::from(GRAPH_ROWS_MIN) || of("linked") == of("indexed")
}

/// The sum of the series of a metric of the server, by its name.
pub(crate) fn metric_of(metrics: &str, name: &str) -> f64 {
    sum_of(metrics, &format!("engram_streaming_{name}"), |line| !line.starts_with('#'))
}

/// The sum of a metric's series.
pub(crate) fn sum_of(text: &str, name: &str, wanted: impl Fn(&str) -> bool) -> f64 {
    text.lines()
        .filter(|line| line.starts_with(name) && wanted(line))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only where the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The whole answer to `GET path`.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A program that was built beside this one.
pub(crate) fn beside(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    match Path::exists(&path) {
        true => Ok(path),
        false => Err(Error::other(format!(
            "{} is missing: cargo build --release --workspace",
            path.display()
        ))),
    }
}

/// The most memory that a process has had resident.
pub(crate) fn resident_bytes_max(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes
        .map(|kibibytes| kibibytes << 10)
        .ok_or_else(|| Error::other("/proc/PID/status is not as expected"))
}

/// CPU time that a process has used, as user and kernel seconds.
pub(crate) fn cpu_seconds(pid: u32) -> Result<(f64, f64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold spaces: fields are counted behind it.
    let fields: Vec<&str> =
        text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
    match (ticks(11), ticks(12)) {
        (Some(user), Some(kernel)) => Ok((user / ticks_per_second(), kernel / ticks_per_second())),
        _ => Err(Error::other("/proc/PID/stat is not as expected")),
    }
}

/// What `/proc/PID/io` says of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DiskBytes {
    /// Bytes that it had the disk read.
    pub(crate) read: u64,
    /// Bytes that it caused to be written, through the page cache or past it.
    pub(crate) written: u64,
}

impl DiskBytes {
    /// Those of a process until now.
    pub(crate) fn of(pid: u32) -> Result<DiskBytes> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/io"))?;
        let number = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
            line.and_then(|number| number.parse().ok())
        };
        match (number("read_bytes"), number("write_bytes")) {
            (Some(read), Some(written)) => Ok(DiskBytes { read, written }),
            _ => Err(Error::other("/proc/PID/io is not as expected")),
        }
    }
}

fn ticks_per_second() -> f64 {
    // SAFETY: sysconf reads a constant of the system and touches no memory of ours.
    unsafe { libc::sysconf(libc::_SC_CLK_TCK) as f64 }
}
