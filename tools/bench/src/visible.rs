//! How long it takes from sending an observation until a recall of another client finds it, at half load and at full load.
//!
//! ```text
//!  round: server ─► rows ─► further rows, flat out, until none waits ─► rows a second: the full load
//!         server ─► rows ─► the same rows at half of that ─┐
//!         server ─► rows ─► the same rows at that ─────────┴─ beside them: store one, recall until it is found
//! ```

use std::io::Result;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use engram::client::grpc::{CallError, Grpc};
use engram::client::observe::ObserveStream;
use engram::client::recall::{Cued, recall};
use engram::client::stream::Transport;
use engram::client::window::Answer;
use engram::dataset::Dataset;
use engram_proto::engram::v1::Episode;
use futures_lite::future;
use glommio::timer;
use serde::Serialize;

use crate::latencies::{Latencies, Percentiles};
use crate::rounds::{median, repeat};
use crate::streams::{Rows, episode_of, fill, open, saturation, store};
use crate::testbed::{Over, Served, Testbed, TestbedArguments};

const SPACE: &str = "visible";
/// Memories of each recall.
const COUNT: u32 = 10;
/// Rows from here on are stored by the probes, and by nobody else.
const PROBE_ROWS: u64 = 1 << 32;

/// What `visible` measures with.
#[derive(clap::Args, Debug)]
pub(crate) struct VisibleArguments {
    #[command(flatten)]
    testbed: TestbedArguments,
    /// Rows that the one space holds before anything is measured.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    rows: u64,
    /// Rows of the load.
    #[arg(long, default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(4..))]
    load_rows: u64,
    /// Observations a second that are looked for, one after the other; those that are late are left out.
    #[arg(long, default_value_t = 100.0)]
    probes: f64,
    /// Rounds; medians are told.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

/// One load.
#[derive(Clone, Copy, Debug, Serialize)]
struct Loaded {
    observations_per_s: f64,
    /// Until a recall found it.
    visible: Percentiles,
    /// Until it was acked: durable.
    acked: Percentiles,
    /// Recalls that it took to find one.
    recalls_each: f64,
    /// Observations that were looked for and were refused at first.
    refused: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Round {
    saturation_per_s: f64,
    half_load: Loaded,
    full_load: Loaded,
}

#[derive(Debug, Serialize)]
struct Report {
    rows: u64,
    load_rows: u64,
    median: Round,
    rounds: Vec<Round>,
}

/// Measures, prints.
pub(crate) fn run(arguments: &VisibleArguments) -> Result<()> {
    let testbed = arguments.testbed.open()?;
    let bench = Bench { testbed, arguments };
    let rounds = repeat(arguments.rounds, || bench.round())?;
    let report = Report {
        rows: arguments.rows,
        load_rows: arguments.load_rows,
        median: Round::median(&rounds),
        rounds,
    };
    bench.testbed.tell(&report, Report::print)
}

struct Bench<'a> {
    testbed: Testbed<'a>,
    arguments: &'a VisibleArguments,
}

impl Bench<'_> {
    fn round(&self) -> Result<Round> {
        let served = self.serve()?;
        let saturation_per_s = saturation(&self.testbed, &served.server, self.load(None))?;
        served.server.stop()?;
        let half_load = self.loaded(saturation_per_s / 2.0)?;
        let full_load = self.loaded(saturation_per_s)?;
        Ok(Round { saturation_per_s, half_load, full_load })
    }

    /// A server that holds the first rows.
    fn serve(&self) -> Result<Served> {
        let served = self.testbed.serve(&[])?;
        let rows = Rows { space: SPACE, first: 0, count: self.arguments.rows, per_s: None };
        fill(&self.testbed, &served.server, rows)?;
        served.server.wait_drained()?;
        Ok(served)
    }

    fn load(&self, per_s: Option<f64>) -> Rows {
        let (first, count) = (self.arguments.rows, self.arguments.load_rows);
        Rows { space: SPACE, first, count, per_s }
    }

    fn loaded(&self, per_s: f64) -> Result<Loaded> {
        let Served { server, place: _place } = self.serve()?;
        let (address, data, per_s) = (server.address, &self.testbed.data, Some(per_s));
        let (load, probes) = (self.load(per_s), self.arguments.probes);
        let store_all = || async {
            let begun = Instant::now();
            store(address, data, load).await?;
            Ok(begun.elapsed())
        };
        let look = |over| probe(address, data, probes, over);
        let (took, probed) = self.testbed.beside(store_all, look)?;
        server.stop()?;
        Ok(Loaded {
            observations_per_s: self.arguments.load_rows as f64 / took.as_secs_f64(),
            visible: probed.visible.percentiles(),
            acked: probed.acked.percentiles(),
            recalls_each: probed.recalls as f64 / probed.stored.max(1) as f64,
            refused: probed.refused,
        })
    }
}

/// What was looked for.
struct Probed {
    visible: Latencies,
    acked: Latencies,
    stored: u64,
    recalls: u64,
    refused: u64,
}

/// Stores observations one by one, and recalls until each is found.
async fn probe(
    address: SocketAddr,
    data: &Dataset,
    per_s: f64,
    over: Over,
) -> std::result::Result<Probed, String> {
    let failed = |why: CallError| why.to_string();
    let mut observing = open(address, SPACE).await?;
    let asking = Grpc::connect(address).await.map_err(failed)?;
    let mut probed = Probed {
        visible: Latencies::new(),
        acked: Latencies::new(),
        stored: 0,
        recalls: 0,
        refused: 0,
    };
    let interval = Duration::from_secs_f64(1.0 / per_s);
    let mut due = Instant::now();
    while !over.is_set() {
        timer::sleep(due.saturating_duration_since(Instant::now())).await;
        due = Instant::now().max(due + interval);
        let episode = episode_of(data, PROBE_ROWS + probed.stored);
        let begun = Instant::now();
        let stored = store_one(&mut observing, probed.stored + 1, &episode);
        let found = find(&asking, &episode);
        // On its own way the observation waits for nobody: the first recall goes out behind it.
        let (stored, found) = future::try_zip(
            async { stored.await.map(|refused| (refused, begun.elapsed())) },
            async { found.await.map(|recalls| (recalls, begun.elapsed())) },
        )
        .await
        .map_err(failed)?;
        probed.stored += 1;
        probed.refused += stored.0;
        probed.acked.record(stored.1);
        probed.recalls += found.0;
        probed.visible.record(found.1);
    }
    observing.close().await.map_err(failed)?;
    Ok(probed)
}

/// Stores one observation, durably; how often it was refused before.
async fn store_one(
    observing: &mut ObserveStream,
    sequence: u64,
    episode: &Episode,
) -> std::result::Result<u64, CallError> {
    for refused in 0.. {
        observing.push(sequence, episode.clone());
        let answer = match observing.flush().await? {
            Some(answer) => answer,
            None => observing.answer().await?,
        };
        match answer {
            Answer::Accepted { last, .. } if last == sequence => return Ok(refused),
            Answer::Refused { retry_after: Some(wait), .. } => timer::sleep(wait).await,
            other => return Err(CallError::Protocol(format!("{other:?}"))),
        };
    }
    unreachable!("it returns in the end")
}

/// Recalls until it is found; how many recalls that took.
async fn find(asking: &Grpc, episode: &Episode) -> std::result::Result<u64, CallError> {
    let cued = Cued { space: SPACE, vector: &episode.embedding, count: COUNT };
    let mut recalls = 0;
    loop {
        recalls += 1;
        if recall(asking, cued.clone()).await?.iter().any(|memory| memory.id == episode.id) {
            return Ok(recalls);
        }
    }
}

impl Loaded {
    fn median(rounds: &[Round], of: impl Fn(&Round) -> Loaded) -> Loaded {
        let loads: Vec<Loaded> = rounds.iter().map(of).collect();
        let visible: Vec<Percentiles> = loads.iter().map(|load| load.visible).collect();
        let acked: Vec<Percentiles> = loads.iter().map(|load| load.acked).collect();
        Loaded {
            observations_per_s: median(loads.iter().map(|load| load.observations_per_s)),
            visible: Percentiles::of_rounds(&visible),
            acked: Percentiles::of_rounds(&acked),
            recalls_each: median(loads.iter().map(|load| load.recalls_each)),
            refused: loads.iter().map(|load| load.refused).sum(),
        }
    }

    fn print(&self, what: &str) {
        println!("{what}: {:.0} observations/s", self.observations_per_s);
        println!("  found after: {} in {:.2} recalls each", self.visible, self.recalls_each);
        println!("  acked after: {}; {} refused at first", self.acked, self.refused);
    }
}

impl Round {
    fn median(rounds: &[Round]) -> Round {
        Round {
            saturation_per_s: median(rounds.iter().map(|round| round.saturation_per_s)),
            half_load: Loaded::median(rounds, |round| round.half_load),
            full_load: Loaded::median(rounds, |round| round.full_load),
        }
    }
}

impl Report {
    fn print(&self) {
        let Report { rows, load_rows, median, rounds } = self;
        println!("{rows} rows, then {load_rows} more; medians of {} rounds", rounds.len());
        println!("the core takes {:.0} observations/s\n", median.saturation_per_s);
        median.half_load.print("half load");
        median.full_load.print("full load");
    }
}
