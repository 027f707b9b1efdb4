//! What one core counts: plain numbers, no atomics. A scrape gathers a copy of each core's through
//! the mesh.

use std::collections::HashMap;
use std::time::Instant;

use engram_shards::ids::SpaceKey;

/// Upper bounds of latency buckets, in seconds: those of the contract, with finer ones below a
/// millisecond.
pub const LATENCY_SECONDS: &[f64] =
    &[0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0];

/// Counts of values in fixed buckets.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Upper bounds of the buckets, rising; a last bucket without bound follows.
    pub bounds: &'static [f64],
    /// How many values lie in each bucket (not cumulative); one more than `bounds`.
    pub counts: Vec<u64>,
    /// Sum of all values.
    pub sum: f64,
}

impl Histogram {
    /// An empty one.
    pub fn new(bounds: &'static [f64]) -> Histogram {
        Histogram { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    /// Counts a value.
    pub fn observe(&mut self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket] += 1;
        self.sum += value;
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Adds what another core counted in the same buckets.
    pub fn merge(&mut self, other: &Histogram) {
        assert_eq!(self.bounds, other.bounds, "histograms of different buckets");
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum += other.sum;
    }
}

/// Why an observation was refused, as the metrics tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// No credit.
    OverCapacity,
    /// A gap in the sequence.
    InvalidSequence,
    /// Sent again although it is durable.
    Duplicate,
    /// Bad content.
    Invalid,
}

impl Rejection {
    /// All of them, in the order of [`SpaceMetrics::rejected`].
    pub const ALL: [Rejection; 4] = [
        Rejection::OverCapacity,
        Rejection::InvalidSequence,
        Rejection::Duplicate,
        Rejection::Invalid,
    ];

    /// The `reason` label.
    pub fn label(self) -> &'static str {
        match self {
            Rejection::OverCapacity => "over_capacity",
            Rejection::InvalidSequence => "invalid_sequence",
            Rejection::Duplicate => "duplicate",
            Rejection::Invalid => "invalid",
        }
    }
}

/// What one core counts about one space.
#[derive(Clone, Debug, PartialEq)]
pub struct SpaceMetrics {
    /// Observations refused, by [`Rejection::ALL`].
    pub rejected: [u64; Rejection::ALL.len()],
    /// Received to durable, in seconds; counted on the connection's core.
    pub observation_latency: Histogram,
    /// Recall received to answered, in seconds; counted on the connection's core.
    pub recall_latency: Histogram,
}

impl Default for SpaceMetrics {
    fn default() -> SpaceMetrics {
        SpaceMetrics {
            rejected: [0; Rejection::ALL.len()],
            observation_latency: Histogram::new(LATENCY_SECONDS),
            recall_latency: Histogram::new(LATENCY_SECONDS),
        }
    }
}

impl SpaceMetrics {
    /// Counts a refused observation.
    pub fn reject(&mut self, rejection: Rejection) {
        self.rejected[rejection as usize] += 1;
    }
}

/// Where a core's time goes, for one observation after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Sockets and HTTP/2: reading, framing, writing.
    Receive,
    /// Bytes of a message into its fields.
    Decode,
    /// Checking, scaling, quantising, encoding the record.
    Encode,
    /// Handing over between cores, both ways.
    Ring,
    /// The owner's bookkeeping: admission, log, tail, sessions, replies.
    Log,
    /// Insertions into the graph, and recalls.
    Index,
}

impl Stage {
    /// All of them, in the order of [`Metrics::stage_nanos`].
    pub const ALL: [Stage; 6] =
        [Stage::Receive, Stage::Decode, Stage::Encode, Stage::Ring, Stage::Log, Stage::Index];

    /// The `stage` label.
    pub fn label(self) -> &'static str {
        match self {
            Stage::Receive => "receive",
            Stage::Decode => "decode",
            Stage::Encode => "encode",
            Stage::Ring => "ring",
            Stage::Log => "log",
            Stage::Index => "index",
        }
    }
}

/// What one core counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// By space, as far as this core's connections or shard had to do with it.
    pub spaces: HashMap<SpaceKey, SpaceMetrics>,
    /// Microseconds that this core's pump spent on work, since the start.
    pub busy_micros: u64,
    /// Part of the last full second that this core's pump spent on work, in percent.
    pub utilisation_percent: f64,
    /// Nanoseconds spent in each stage, by [`Stage::ALL`], since the start.
    pub stage_nanos: [u64; Stage::ALL.len()],
    /// Connections open now.
    pub connections: u64,
    /// Connections accepted since the start.
    pub connections_accepted: u64,
    /// Connections refused since the start, for there were as many as may be.
    pub connections_refused: u64,
    /// Panics contained on this core since the start, of connections and of the shard.
    pub panics: u64,
    /// Times that this core's shard was built anew after it had failed.
    pub shard_restarts: u64,
    /// Checkpoints that were damaged: their stripes were replayed from the log.
    pub checkpoints_left_aside: u64,
    /// Bytes between this core's sockets and the owners, now.
    pub between_bytes: u64,
    /// Bytes that this core has lent to its connections, now.
    pub lent_bytes: u64,
    /// Requests between this core's sockets and the owners, now.
    pub between_requests: u64,
}

impl Metrics {
    /// The counters of a space.
    pub fn space(&mut self, space: SpaceKey) -> &mut SpaceMetrics {
        self.spaces.entry(space).or_default()
    }

    /// Counts the time from `begun` until now as spent in `stage`. Returns now, where the next
    /// stage begins.
    pub fn spend(&mut self, stage: Stage, begun: Instant) -> Instant {
        let now = Instant::now();
        let nanos = u64::try_from((now - begun).as_nanos()).expect("a stage is short");
        self.stage_nanos[stage as usize] += nanos;
        now
    }
}
