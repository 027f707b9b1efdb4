//! What the server is started with: flags before `ENGRAM_*` before the file before defaults.
//!
//! clap fills a [`Layer`] from flags and environment, [`Layer::read`] one from a file; laid over each other and over
//! the defaults they make a [`Config`]. The keys of the file are the names of the flags.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, fs, io};

use clap::Args;
use engram_shards::limits::{
    CAPACITY_DEFAULT, LOG_SYNC_INTERVAL_MICROS_MAX, RECALL_TARGET_MAX, RECALL_TARGET_MIN,
    RECORD_CACHE_BYTES_DEFAULT, RECORD_CACHE_BYTES_MAX,
};
use engram_shards::quality::RecallTarget;
use engram_shards::settings::AckPolicy;
use serde::{Deserialize, Deserializer};

use crate::limits::{
    CONNECTIONS_MAX_CEILING, CONNECTIONS_MAX_DEFAULT, LOANS_BYTES_CEILING, LOANS_BYTES_DEFAULT,
    LOANS_BYTES_FLOOR, MESSAGE_BYTES_MAX_CEILING, MESSAGE_BYTES_MAX_DEFAULT,
    MESSAGE_BYTES_MAX_FLOOR, MESSAGE_COPIES, SESSION_SILENCE_DEFAULT, SESSION_SILENCE_MIN,
};

/// Where the server listens by default: gRPC clients look at the first port, WebSocket and HTTP clients at the second,
/// and both serve all three.
const PORTS_DEFAULT: [u16; 2] = [50_051, 7_432];
/// The data folder by default.
pub const DATA_DIR_DEFAULT: &str = "./engram-data";
/// The most that one shard may admit: depths and capacities travel as u32 and rows are numbered with one.
const CAPACITY_MAX: u32 = 100_000_000;

/// What one source says; what it leaves out is for the next one.
#[derive(Args, Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Layer {
    /// Folder of the memories; made where it is not there [default: ./engram-data]
    #[arg(long, value_name = "DIR", env = "ENGRAM_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address to serve gRPC, WebSocket and HTTP on; repeatable [default: 127.0.0.1:50051 127.0.0.1:7432]
    ///
    /// Every listener serves all three, told apart by the first bytes. Port 0 picks a free one; the first lines on
    /// stdout say which. In ENGRAM_LISTEN several are separated by commas.
    #[arg(long, value_name = "ADDR:PORT", env = "ENGRAM_LISTEN", value_delimiter = ',')]
    pub listen: Option<Vec<SocketAddr>>,
    /// Cores to run on: how many (2) or which (0-3,6) [default: all this process may use]
    ///
    /// One thread is pinned to each; it owns its part of the memories.
    #[arg(long, value_name = "N|LIST", env = "ENGRAM_CORES")]
    #[serde(default, deserialize_with = "count_or_list")]
    pub cores: Option<String>,
    /// Observations that one core takes in before it has put them into its graph [default: 100000]
    ///
    /// At 80 % clients are asked to slow down, at 90 % further observations are refused for a while.
    #[arg(long, value_name = "ROWS", env = "ENGRAM_CAPACITY")]
    pub capacity: Option<u32>,
    /// Recall that each space holds: the share of the true nearest ten that recalls find [default: 0.95]
    ///
    /// A space samples its own recall while its core is idle, links its rows anew, and picks the search width that
    /// recalls use unless they name one. 0: none of it, and one width for all.
    #[arg(long, value_name = "SHARE", env = "ENGRAM_RECALL_TARGET")]
    pub recall_target: Option<f32>,
    /// Records that one core keeps at hand, in bytes, for recalls that find them again [default: 33554432]
    ///
    /// What is not there is read back from the log: from the page cache, or from the disk. 0: none.
    #[arg(long, value_name = "BYTES", env = "ENGRAM_RECORD_CACHE_BYTES")]
    pub record_cache_bytes: Option<u64>,
    /// What an ack means: sync, interval:MS or none [default: sync]
    ///
    /// sync: the observation is on disk. interval:MS: the same, but the disk is synced once in MS milliseconds (1 to
    /// 1000), and acks wait for it. none: it was written; a power cut may take what was acked in the last tenth of a
    /// second, acks carry no time of commit, and recalls say which memories are in flight.
    #[arg(long, value_name = "MODE", env = "ENGRAM_DURABILITY", value_parser = durability)]
    #[serde(default, deserialize_with = "durability_of")]
    pub durability: Option<AckPolicy>,
    /// Connections open at once, of all cores together [default: 2048]
    ///
    /// Each core takes its share of them: the kernel spreads connections over the cores as they come, so that the first
    /// is refused a little earlier. A refused client is told to come back (UNAVAILABLE, or HTTP 503).
    #[arg(long, value_name = "COUNT", env = "ENGRAM_CONNECTIONS_MAX")]
    pub connections_max: Option<u32>,
    /// Memory of one core for what its clients have under way, in bytes [default: 805306368]
    ///
    /// Open streams, long messages, and results that clients have not read yet. Where it is used up, clients are told to
    /// come back (RESOURCE_EXHAUSTED, or HTTP 503); at least 67108864.
    #[arg(long, value_name = "BYTES", env = "ENGRAM_REQUEST_MEMORY_BYTES")]
    pub request_memory_bytes: Option<usize>,
    /// Longest message on either transport, in bytes [default: 4194304]
    #[arg(long, value_name = "BYTES", env = "ENGRAM_MESSAGE_BYTES_MAX")]
    pub message_bytes_max: Option<usize>,
    /// How long a session waits for a silent client, such as 300s or 5m [default: 5m]
    #[arg(long, value_name = "TIME", env = "ENGRAM_SESSION_SILENCE",
          value_parser = humantime::parse_duration)]
    #[serde(default, deserialize_with = "duration")]
    pub session_silence: Option<Duration>,
    /// Origin of web pages, beside the server's own, that may open a WebSocket; repeatable
    #[arg(long, value_name = "ORIGIN", env = "ENGRAM_ORIGIN", value_delimiter = ',')]
    pub origin: Option<Vec<String>>,
}

/// What the server is started with, all sources taken together.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The data folder.
    pub data_dir: PathBuf,
    /// Where to listen; at least one address.
    pub listen: Vec<SocketAddr>,
    /// A count or a list, to be read by [`crate::cores::choose`]; `None`: all.
    pub cores: Option<String>,
    /// Observations admitted and still waiting, at most, of one shard.
    pub capacity: u32,
    /// The recall that each space holds; none: no sampling, no refining.
    pub recall_target: Option<RecallTarget>,
    /// Bytes of records that one core keeps at hand for recalls, at most; 0: none.
    pub record_cache_bytes: u64,
    /// What an ack means.
    pub durability: AckPolicy,
    /// Connections open at once, of all cores together.
    pub connections_max: u32,
    /// Bytes that one core lends to its connections, at most.
    pub request_memory_bytes: usize,
    /// Longest message, in bytes.
    pub message_bytes_max: usize,
    /// How long a session waits for a silent client.
    pub session_silence: Duration,
    /// Origins whose pages may open a WebSocket, beside the server's own.
    pub origins: Vec<String>,
}

/// What is wrong with what the server should be started with.
#[derive(Debug)]
pub enum ConfigError {
    /// The file cannot be read.
    Read(PathBuf, io::Error),
    /// The file is no TOML, or has a key or a value that is not known; the text names the line.
    File(PathBuf, toml::de::Error),
    /// A value is out of its range: its name, and what it may be.
    Range(&'static str, String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Read(path, why) => write!(f, "cannot read {}: {why}", path.display()),
            ConfigError::File(path, why) => write!(f, "{}: {why}", path.display()),
            ConfigError::Range(name, why) => write!(f, "{name} {why}"),
        }
    }
}

impl std::error::Error for ConfigError {}

impl Layer {
    /// Reads a TOML file.
    pub fn read(path: &Path) -> Result<Layer, ConfigError> {
        let text =
            fs::read_to_string(path).map_err(|why| ConfigError::Read(path.to_owned(), why))?;
        toml::from_str(&text).map_err(|why| ConfigError::File(path.to_owned(), why))
    }

    /// This layer, and `below` where it says nothing.
    pub fn over(self, below: Layer) -> Layer {
        Layer {
            data_dir: self.data_dir.or(below.data_dir),
            listen: self.listen.or(below.listen),
            cores: self.cores.or(below.cores),
            capacity: self.capacity.or(below.capacity),
            recall_target: self.recall_target.or(below.recall_target),
            record_cache_bytes: self.record_cache_bytes.or(below.record_cache_bytes),
            durability: self.durability.or(below.durability),
            connections_max: self.connections_max.or(below.connections_max),
            request_memory_bytes: self.request_memory_bytes.or(below.request_memory_bytes),
            message_bytes_max: self.message_bytes_max.or(below.message_bytes_max),
            session_silence: self.session_silence.or(below.session_silence),
            origin: self.origin.or(below.origin),
        }
    }

    /// This layer over the defaults, its values checked.
    pub fn into_config(self) -> Result<Config, ConfigError> {
        let listen_default =
            || PORTS_DEFAULT.map(|port| (Ipv4Addr::LOCALHOST, port).into()).to_vec();
        let config = Config {
            data_dir: self.data_dir.unwrap_or_else(|| DATA_DIR_DEFAULT.into()),
            listen: self.listen.unwrap_or_else(listen_default),
            cores: self.cores,
            capacity: self.capacity.unwrap_or(CAPACITY_DEFAULT),
            recall_target: self.recall_target.map_or(Ok(Some(RecallTarget::default())), target)?,
            record_cache_bytes: self.record_cache_bytes.unwrap_or(RECORD_CACHE_BYTES_DEFAULT),
            durability: self.durability.unwrap_or_default(),
            connections_max: self.connections_max.unwrap_or(CONNECTIONS_MAX_DEFAULT),
            request_memory_bytes: self.request_memory_bytes.unwrap_or(LOANS_BYTES_DEFAULT),
            message_bytes_max: self.message_bytes_max.unwrap_or(MESSAGE_BYTES_MAX_DEFAULT),
            session_silence: self.session_silence.unwrap_or(SESSION_SILENCE_DEFAULT),
            origins: self.origin.unwrap_or_default(),
        };
        config.check()?;
        Ok(config)
    }
}

impl Config {
    fn check(&self) -> Result<(), ConfigError> {
        let range = |name, why: String| Err(ConfigError::Range(name, why));
        if self.listen.is_empty() {
            return range("listen", "names no address".to_owned());
        }
        if self.data_dir.as_os_str().is_empty() {
            return range("data-dir", "is empty".to_owned());
        }
        if !(1..=CAPACITY_MAX).contains(&self.capacity) {
            return range("capacity", format!("is {}, not 1 to {CAPACITY_MAX}", self.capacity));
        }
        if self.record_cache_bytes > RECORD_CACHE_BYTES_MAX {
            let why = format!("is {}, not 0 to {RECORD_CACHE_BYTES_MAX}", self.record_cache_bytes);
            return range("record-cache-bytes", why);
        }
        if !(1..=CONNECTIONS_MAX_CEILING).contains(&self.connections_max) {
            let why = format!("is {}, not 1 to {CONNECTIONS_MAX_CEILING}", self.connections_max);
            return range("connections-max", why);
        }
        let (floor, ceiling) = (MESSAGE_BYTES_MAX_FLOOR, MESSAGE_BYTES_MAX_CEILING);
        if !(floor..=ceiling).contains(&self.message_bytes_max) {
            let why = format!("is {}, not {floor} to {ceiling}", self.message_bytes_max);
            return range("message-bytes-max", why);
        }
        // A message of any length that is taken must be one that can be lent for.
        let floor = LOANS_BYTES_FLOOR.max(2 * MESSAGE_COPIES * self.message_bytes_max);
        if !(floor..=LOANS_BYTES_CEILING).contains(&self.request_memory_bytes) {
            let is = self.request_memory_bytes;
            let why = format!("is {is}, not {floor} to {LOANS_BYTES_CEILING}");
            return range("request-memory-bytes", why);
        }
        if self.session_silence < SESSION_SILENCE_MIN {
            let (is, least) = (self.session_silence, SESSION_SILENCE_MIN);
            return range(
                "session-silence",
                format!("is {is:?}, but at least {least:?} is promised"),
            );
        }
        Ok(())
    }
}

/// The recall target of this share; none for 0.
fn target(share: f32) -> Result<Option<RecallTarget>, ConfigError> {
    if share == 0.0 {
        return Ok(None);
    }
    let target = RecallTarget::new(share).ok_or_else(|| {
        let why = format!("is {share}, not 0 or {RECALL_TARGET_MIN} to {RECALL_TARGET_MAX}");
        ConfigError::Range("recall-target", why)
    })?;
    Ok(Some(target))
}

/// The name of what acks mean, as the flag takes it.
pub fn durability_name(durability: AckPolicy) -> String {
    match durability {
        AckPolicy::Sync => "sync".to_owned(),
        AckPolicy::Interval { micros } => format!("interval:{}", micros / 1_000),
        AckPolicy::Write => "none".to_owned(),
    }
}

/// `sync`, `interval:MS` or `none`.
fn durability(text: &str) -> Result<AckPolicy, String> {
    let longest = LOG_SYNC_INTERVAL_MICROS_MAX / 1_000;
    match (text, text.strip_prefix("interval:").map(str::parse::<u64>)) {
        ("sync", _) => Ok(AckPolicy::Sync),
        ("none", _) => Ok(AckPolicy::Write),
        (_, Some(Ok(millis))) if (1..=longest).contains(&millis) => {
            Ok(AckPolicy::Interval { micros: millis * 1_000 })
        }
        _ => Err(format!("it is sync, none, or interval:MS with 1 to {longest} milliseconds")),
    }
}

fn durability_of<'de, D: Deserializer<'de>>(source: D) -> Result<Option<AckPolicy>, D::Error> {
    let text = String::deserialize(source)?;
    durability(&text).map(Some).map_err(serde::de::Error::custom)
}

/// `cores = 2` reads better in a file than `cores = "2"`; both are meant.
fn count_or_list<'de, D: Deserializer<'de>>(source: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a number of cores, or a list such as \"0-3,6\"")]
    enum Cores {
        Count(u32),
        List(String),
    }
    Ok(Some(match Cores::deserialize(source)? {
        Cores::Count(count) => count.to_string(),
        Cores::List(list) => list,
    }))
}

fn duration<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(source)?;
    humantime::parse_duration(&text).map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<Layer, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("engram.toml");
        fs::write(&path, text).expect("written");
        Layer::read(&path).map_err(|why| why.to_string())
    }

    #[test]
    fn defaults_are_those_of_the_wire_contract() {
        let config = Layer::default().into_config().expect("the defaults are valid");
        assert_eq!(config.data_dir, Path::new("./engram-data"));
        let listen: Vec<_> = config.listen.iter().map(ToString::to_string).collect();
        assert_eq!(listen, ["127.0.0.1:50051", "127.0.0.1:7432"]);
        assert_eq!(config.capacity, 100_000);
        assert_eq!(config.recall_target, RecallTarget::new(0.95));
        assert_eq!(config.record_cache_bytes, 32 << 20);
        assert_eq!(config.durability, AckPolicy::Sync);
        assert_eq!(config.connections_max, 2_048);
        assert_eq!(config.request_memory_bytes, 768 << 20);
        assert_eq!(config.message_bytes_max, 4 << 20);
        assert_eq!(config.session_silence, Duration::from_secs(300));
    }

    #[test]
    fn every_key_of_a_file_is_taken() {
        let layer = file(
            "data-dir = \"/d\"\nlisten = [\"[::1]:1\", \"127.0.0.1:0\"]\ncores = 2\ncapacity = 5\n\
             recall-target = 0.9\nrecord-cache-bytes = 77\nconnections-max = 9\nrequest-memory-bytes = 67108864\ndurability = \"interval:20\"\nmessage-bytes-max = 131072\nsession-silence = \"2m\"\norigin = [\"https://a.example\"]\n",
        )
        .expect("it is valid");
        let config = layer.into_config().expect("it is in range");
        assert_eq!(config.data_dir, Path::new("/d"));
        assert_eq!(config.listen.len(), 2);
        assert_eq!(config.cores.as_deref(), Some("2"));
        assert_eq!((config.capacity, config.message_bytes_max), (5, 131_072));
        assert_eq!(config.session_silence, Duration::from_secs(120));
        assert_eq!(config.recall_target, RecallTarget::new(0.9));
        assert_eq!(config.record_cache_bytes, 77);
        assert_eq!((config.connections_max, config.request_memory_bytes), (9, 64 << 20));
        assert_eq!(config.durability, AckPolicy::Interval { micros: 20_000 });
        assert_eq!(config.origins, ["https://a.example"]);
        let list = file("cores = \"0-3,6\"").expect("a list is valid too");
        assert_eq!(list.cores.as_deref(), Some("0-3,6"));
    }

    #[test]
    fn unknown_keys_are_refused_by_name_and_line() {
        let text = file("capacity = 5\n\ncapacty = 6\n").expect_err("there is no such key");
        assert!(text.contains("engram.toml") && text.contains("line 3"), "{text}");
        assert!(text.contains("capacty") && text.contains("`capacity`"), "{text}");
    }

    #[test]
    fn bad_values_are_refused_by_line() {
        let text = file("\nsession-silence = \"soon\"").expect_err("no duration");
        assert!(text.contains("line 2"), "{text}");
        let text = file("cores = [1]").expect_err("no count");
        assert!(text.contains("line 1") && text.contains("a number of cores"), "{text}");
        let silence = Layer { session_silence: Some(Duration::from_secs(1)), ..Layer::default() };
        let text = silence.into_config().expect_err("too short").to_string();
        assert!(text.starts_with("session-silence is 1s"), "{text}");
        let capacity = Layer { capacity: Some(0), ..Layer::default() };
        assert!(capacity.into_config().expect_err("none").to_string().starts_with("capacity is 0"));
        let records = Layer { record_cache_bytes: Some(u64::MAX), ..Layer::default() };
        let text = records.into_config().expect_err("no machine has it").to_string();
        assert!(text.starts_with("record-cache-bytes is 18"), "{text}");
        let none = Layer { connections_max: Some(0), ..Layer::default() };
        let text = none.into_config().expect_err("nobody is served").to_string();
        assert!(text.starts_with("connections-max is 0, not 1 to "), "{text}");
        let little = Layer { request_memory_bytes: Some(1 << 20), ..Layer::default() };
        let text = little.into_config().expect_err("no recall fits").to_string();
        assert!(text.starts_with("request-memory-bytes is 1048576, not 67108864 to "), "{text}");
        let long = Some(64 << 20);
        let little =
            Layer { message_bytes_max: long, request_memory_bytes: long, ..Layer::default() };
        let text = little.into_config().expect_err("no message fits").to_string();
        assert!(text.contains("not 268435456 to "), "{text}");
        let recall = |share| Layer { recall_target: Some(share), ..Layer::default() }.into_config();
        assert_eq!(recall(0.0).expect("off").recall_target, None);
        for share in [0.3, 1.0, f32::NAN] {
            let text = recall(share).expect_err("out of range").to_string();
            assert!(text.starts_with("recall-target is "), "{text}");
        }
    }

    #[test]
    fn durability_is_one_of_three() {
        assert_eq!(durability("sync"), Ok(AckPolicy::Sync));
        assert_eq!(durability("none"), Ok(AckPolicy::Write));
        assert_eq!(durability("interval:1000"), Ok(AckPolicy::Interval { micros: 1_000_000 }));
        for wrong in
            ["", "interval", "interval:", "interval:0", "interval:1001", "interval:1s", "fsync"]
        {
            let text = durability(wrong).expect_err("it is none of them");
            assert!(text.contains("interval:MS") && text.contains("1000"), "{text}");
        }
        for name in ["sync", "interval:7", "none"] {
            assert_eq!(durability_name(durability(name).expect("it is one")), name);
        }
        let text = file("durability = \"fast\"").expect_err("it is none of them");
        assert!(text.contains("line 1") && text.contains("interval:MS"), "{text}");
    }

    #[test]
    fn what_a_layer_says_hides_what_is_below() {
        let above = Layer { capacity: Some(1), ..Layer::default() };
        let below = Layer { capacity: Some(2), cores: Some("3".into()), ..Layer::default() };
        let both = above.over(below);
        assert_eq!((both.capacity, both.cores.as_deref()), (Some(1), Some("3")));
    }
}
