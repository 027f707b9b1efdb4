//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use engram::dataset::{Dataset, QUERY_ROWS};
use engram_proto::engram::v1::AckMode;

const EXAMPLES: &str = "\
Examples:
  engram-load --addr 127.0.0.1:50051 --rows 100000
  engram-load --addr 127.0.0.1:50051 --data wordnet --rows 1000000 --streams 16 --spaces 4 --server-pid $(pidof engram) --json
  engram-load --addr 127.0.0.1:50051 --rows 60000 --streams 4 --rate 2000 --recalls-per-s 100

Exit codes: 0 all rows were acked, in order; 1 the server failed, refused for good, or lost something; 2 usage.";

/// Streams real observations into an engram server and measures it.
///
/// Ends when every row is acked. Latencies count from when a row was due (with --rate) or first sent (without).
#[derive(Clone, Debug, Parser)]
#[command(name = "engram-load", version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The server
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:50051")]
    addr: SocketAddr,
    /// Data folder (gloss.f16, words.f16, text.jsonl) [default: the 5,000 rows that the tool carries]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Rows to stream, all streams together; beyond the folder's the same contents come in further contexts
    #[arg(long, value_name = "N", default_value_t = 4_000)]
    rows: usize,
    /// Space to stream into
    #[arg(long, value_name = "NAME", default_value = "load", conflicts_with = "spaces")]
    space: String,
    /// Spread the streams over so many spaces, load-0 to load-(K-1)
    #[arg(long, value_name = "K")]
    spaces: Option<usize>,
    /// Streams, each on a connection of its own [default: 1, or one a space]
    #[arg(long, value_name = "S")]
    streams: Option<usize>,
    /// Observations a second, all streams together, held whatever the server does [default: flat out]
    #[arg(long, value_name = "R")]
    rate: Option<f64>,
    /// Stream over WebSocket (JSON, vectors as base64) instead of gRPC; recalls stay on gRPC
    #[arg(long)]
    websocket: bool,
    /// Recalls a second beside the streams, held whatever the server does
    #[arg(long, value_name = "Q", default_value_t = 0.0)]
    recalls_per_s: f64,
    /// Process of the server, to read its CPU time and memory
    #[arg(long, value_name = "P")]
    server_pid: Option<u32>,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// Observations under way on each stream, at most
    #[arg(long, value_name = "W", default_value_t = 1_024)]
    window: u64,
    /// How the server acks
    #[arg(long, value_name = "MODE", value_enum, default_value_t = Acks::Each)]
    ack_mode: Acks,
    /// Which cues the recalls begin with; the same seed gives the same order
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Core to run on [default: any]
    #[arg(long, value_name = "CPU")]
    core: Option<usize>,
    /// Recalls to compare with an exact search once all is acked; only for a fresh single space
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "spaces")]
    check_recalls: usize,
}

/// How the server acks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Acks {
    /// Every observation by itself.
    Each,
    /// Runs of them.
    Cumulative,
}

/// What to run, checked.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The server.
    pub address: SocketAddr,
    /// Where rows and cues come from.
    pub data: Dataset,
    /// Rows of all streams.
    pub rows: usize,
    /// The space of each stream; their number is that of the streams.
    pub spaces: Vec<String>,
    /// Observations a second of all streams.
    pub rate: Option<f64>,
    /// Which protocol carries the streams.
    pub protocol: Protocol,
    /// Recalls a second; 0: none.
    pub recalls_per_s: f64,
    /// The server's process.
    pub server_pid: Option<u32>,
    /// Observations under way on each stream.
    pub window: u64,
    /// How the server acks.
    pub ack_mode: AckMode,
    /// Where the order of cues begins.
    pub seed: u64,
    /// The core to run on.
    pub core: Option<usize>,
    /// Recalls to compare with an exact search.
    pub check_recalls: usize,
    /// Whether a person watches.
    pub progress: bool,
}

/// What carries a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// gRPC's ObserveStream.
    Grpc,
    /// JSON over WebSocket.
    WebSocket,
}

impl Arguments {
    /// Checks what clap cannot, and reads the data.
    pub(crate) fn into_plan(self) -> Result<Plan, String> {
        let names: Vec<String> = match self.spaces {
            Some(spaces) => (0..spaces).map(|space| format!("load-{space}")).collect(),
            None => vec![self.space],
        };
        let streams = self.streams.unwrap_or(names.len());
        if names.is_empty() || streams < names.len() {
            return Err(format!("{streams} streams cannot fill {} spaces", names.len()));
        }
        if self.rows < streams {
            return Err(format!("{} rows cannot keep {streams} streams busy", self.rows));
        }
        if self.window == 0 {
            return Err("--window 0 would send nothing".to_owned());
        }
        if self.rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
            return Err("--rate is not above 0".to_owned());
        }
        if !(self.recalls_per_s >= 0.0 && self.recalls_per_s.is_finite()) {
            return Err("--recalls-per-s is below 0".to_owned());
        }
        if self.check_recalls > QUERY_ROWS {
            return Err(format!("--check-recalls: there are {QUERY_ROWS} cues"));
        }
        let data = match &self.data {
            Some(folder) => Dataset::open(folder).map_err(|why| why.to_string())?,
            None => Dataset::bundled(),
        };
        Ok(Plan {
            address: self.addr,
            data,
            rows: self.rows,
            spaces: (0..streams).map(|stream| names[stream % names.len()].clone()).collect(),
            rate: self.rate,
            protocol: if self.websocket { Protocol::WebSocket } else { Protocol::Grpc },
            recalls_per_s: self.recalls_per_s,
            server_pid: self.server_pid,
            window: self.window,
            ack_mode: match self.ack_mode {
                Acks::Each => AckMode::Each,
                Acks::Cumulative => AckMode::Cumulative,
            },
            seed: self.seed,
            core: self.core,
            check_recalls: self.check_recalls,
            progress: !self.json,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(arguments: &[&str]) -> Result<Plan, String> {
        let line = [&["engram-load"], arguments].concat();
        Arguments::try_parse_from(line).expect("it parses").into_plan()
    }

    #[test]
    fn streams_are_spread_over_the_spaces() {
        let plan = plan(&["--spaces", "2", "--streams", "5"]).expect("valid");
        assert_eq!(plan.spaces, ["load-0", "load-1", "load-0", "load-1", "load-0"]);
    }

    #[test]
    fn what_cannot_be_run_is_refused() {
        for wrong in [
            &["--spaces", "3", "--streams", "2"][..],
            &["--rows", "1", "--streams", "2"],
            &["--window", "0"],
            &["--rate", "0"],
            &["--recalls-per-s", "NaN"],
            &["--check-recalls", "1001"],
            &["--data", "/nonexistent"],
        ] {
            assert!(plan(wrong).is_err(), "{wrong:?}");
        }
    }
}
