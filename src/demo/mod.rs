//! `engram demo`: a server of its own, real data, a SIGKILL, and everything acked is there.
//!
//! ```text
//!  server (a child of ours) ◄── measure: stream while recalling, recall@10, three recalls to read
//!     SIGKILL ──────────────►── survive: in the middle of a stream; start again; look for all that was acked
//! ```
//! | file | responsibility |
//! |---|---|
//! | `server` | the child process, its folder, and their end whatever happens |
//! | `measure` | what it does while it runs |
//! | `survive` | what is left of it after a kill |
//!
//! **Invariant:** it returns without an error only if all of it held.

mod server;
mod measure;
mod survive;

use std::fmt;
use std::rc::Rc;

use crate::client::executor;
use crate::dataset::Dataset;

/// The space that the demo fills.
const SPACE: &str = "demo";
/// Least recall@10 that counts as held.
const RECALL_AT_10_MIN: f64 = 0.95;

/// What can be chosen.
#[derive(Clone, Debug)]
pub struct DemoSettings {
    /// The server's `--cores`.
    pub cores: String,
}

/// Why the demo did not hold.
#[derive(Debug)]
pub enum DemoError {
    /// The server did not start, or ended by itself; the text has the end of its log.
    Server(String),
    /// The client could not do its part.
    Client(String),
    /// A promise did not hold.
    Broken(String),
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DemoError::Server(why) => write!(f, "the demo's server: {why}"),
            DemoError::Client(why) => write!(f, "the demo's client: {why}"),
            DemoError::Broken(why) => write!(f, "the demo did not hold: {why}"),
        }
    }
}

impl std::error::Error for DemoError {}

/// Runs the demo and prints what it sees.
pub fn run(settings: DemoSettings) -> Result<(), DemoError> {
    let host = server::Host::new()?;
    println!(
        "engram demo: real memories (WordNet, 768 numbers each), a server on --cores {}",
        settings.cores
    );
    let data = Rc::new(Dataset::bundled());
    let mut server = host.start(&settings.cores)?;
    println!("  serving on {}, data in {}\n", server.address(), host.data_dir().display());
    let address = server.address();
    let measured = executor::run(None, measure::measure(data.clone(), address));
    let measured = measured.map_err(DemoError::Client)??;
    print!("{measured}");
    measured.check()?;

    let killed = executor::run(None, survive::stream_until_killed(data.clone(), &mut server));
    let killed = killed.map_err(DemoError::Client)??;
    println!(
        "\nkilled with SIGKILL in the middle of a stream: {} further memories were acked",
        killed.acked
    );
    let restarted = host.start(&settings.cores)?;
    println!(
        "  serving again, recovered, after {:.0} ms",
        restarted.start_time().as_secs_f64() * 1e3
    );
    let check = survive::check_survivors(data, restarted.address(), killed);
    println!("  {}", executor::run(None, check).map_err(DemoError::Client)??);
    println!("\nall of it held");
    Ok(())
}

/// A client's failure, whatever its type.
fn client_error(why: impl fmt::Display) -> DemoError {
    DemoError::Client(why.to_string())
}
