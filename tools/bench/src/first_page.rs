//! Recalls of a large space while observations come in at a part of what the core takes: how soon the first page of each is
//! there, and all of it; and the same of a wide one.
//!
//! ```text
//!  rows ─► server ─► further rows, flat out, until none waits ─► rows a second: what the core takes
//!                 ─► further rows at a part of that ─┐
//!                    recalls, wide ones between ─────┴─► first page, all pages
//! ```

use std::io::{Error, Result};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use engram::client::grpc::{CallError, Grpc};
use engram::dataset::{DIMENSION, Dataset, QUERY_ROWS};
use engram_proto::engram::v1::cue::CueType;
use engram_proto::engram::v1::{
    Cue, EmbeddingCue, StreamingRecallRequest, StreamingRecallResponse,
};
use engram_shards::limits::RECALL_RESULTS_MAX;
use glommio::timer;
use serde::Serialize;

use crate::latencies::{Latencies, Percentiles};
use crate::process::Server;
use crate::rounds::{median, repeat};
use crate::streams::{Rows, fill, saturation, store};
use crate::testbed::{Over, Place, Testbed, TestbedArguments};

const SPACE: &str = "first-page";
const RECALL: &str = "/engram.v1.EngramService/RecallStream";

/// What `first-page` measures with.
#[derive(clap::Args, Debug)]
pub(crate) struct FirstPageArguments {
    #[command(flatten)]
    testbed: TestbedArguments,
    /// Rows that the one space holds before anything is measured.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    rows: u64,
    /// Server's folder that holds these rows already, or is filled with them, and stays [default: one of its own].
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Rows by which it is measured, in each round, what the core takes.
    #[arg(long, default_value_t = 40_000, value_parser = clap::value_parser!(u64).range(4..))]
    load_rows: u64,
    /// The part of that which comes in beside the recalls.
    #[arg(long, default_value_t = 0.8)]
    load: f64,
    /// Recalls in a second, each from when it was due.
    #[arg(long, default_value_t = 50.0)]
    recalls: f64,
    /// Memories of each recall …
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// … and of each of its pages.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    page: u32,
    /// Memories of a wide recall, in pages of the server's choice [default: as many as may be].
    #[arg(long, default_value_t = RECALL_RESULTS_MAX, hide_default_value = true)]
    wide: u32,
    /// One recall in so many is a wide one.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    wide_share: u32,
    /// Rounds; medians are told.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

/// How soon recalls of one kind were answered.
#[derive(Clone, Copy, Debug, Serialize)]
struct Answered {
    first_page: Percentiles,
    whole: Percentiles,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Round {
    saturation_per_s: f64,
    observations_per_s: f64,
    recalls: Answered,
    wide: Answered,
}

#[derive(Debug, Serialize)]
struct Report {
    rows: u64,
    count: u32,
    wide_count: u32,
    median: Round,
    rounds: Vec<Round>,
}

/// Measures, prints.
pub(crate) fn run(arguments: &FirstPageArguments) -> Result<()> {
    let testbed = arguments.testbed.open()?;
    let place = match &arguments.keep {
        Some(kept) => Place::kept(kept)?,
        None => testbed.place()?,
    };
    let server = testbed.serve_again(&place, &[])?;
    let held = server.rows_of(SPACE).unwrap_or_default();
    let missing =
        Rows { space: SPACE, first: held, count: arguments.rows.saturating_sub(held), per_s: None };
    if missing.count > 0 {
        fill(&testbed, &server, missing)?;
    }
    server.wait_drained()?;
    let rounds = repeat(arguments.rounds, || round(&testbed, &server, arguments))?;
    server.stop()?;
    let report = Report {
        rows: arguments.rows,
        count: arguments.count,
        wide_count: arguments.wide,
        median: Round::median(&rounds),
        rounds,
    };
    testbed.tell(&report, Report::print)
}

fn round(testbed: &Testbed<'_>, server: &Server, arguments: &FirstPageArguments) -> Result<Round> {
    let (address, data, count) = (server.address, &testbed.data, arguments.load_rows);
    let next = |per_s| {
        let first = server.rows_of(SPACE)?;
        Ok::<Rows, Error>(Rows { space: SPACE, first, count, per_s })
    };
    let saturation_per_s = saturation(testbed, server, next(None)?)?;
    let load = next(Some(saturation_per_s * arguments.load))?;
    let store_all = || async {
        let begun = Instant::now();
        store(address, data, load).await?;
        Ok(begun.elapsed())
    };
    let (took, (recalls, wide)) =
        testbed.beside(store_all, |over| recall_until(address, data, arguments, over))?;
    let observations_per_s = count as f64 / took.as_secs_f64();
    let (recalls, wide) = (recalls.answered(), wide.answered());
    Ok(Round { saturation_per_s, observations_per_s, recalls, wide })
}

/// How long recalls took.
struct Timed {
    first_page: Latencies,
    whole: Latencies,
}

/// Recalls on schedule, a wide one now and then, until the load is over; how long each kind took.
async fn recall_until(
    address: SocketAddr,
    data: &Dataset,
    arguments: &FirstPageArguments,
    over: Over,
) -> std::result::Result<(Timed, Timed), String> {
    let grpc = Grpc::connect(address).await.map_err(|why| why.to_string())?;
    let (mut narrow, mut wide) = (Timed::new(), Timed::new());
    let (start, mut vector) = (Instant::now(), [0.0; DIMENSION]);
    for number in 0.. {
        let due = start + Duration::from_secs_f64(number as f64 / arguments.recalls);
        timer::sleep(due.saturating_duration_since(Instant::now())).await;
        if over.is_set() {
            break;
        }
        data.query(number % QUERY_ROWS, &mut vector);
        let is_wide = number % arguments.wide_share as usize == arguments.wide_share as usize - 1;
        let (timed, count, page) = match is_wide {
            true => (&mut wide, arguments.wide, 0),
            false => (&mut narrow, arguments.count, arguments.page),
        };
        // Behind a wide one, which takes long by itself, the next is not late.
        let due = if is_wide || number % arguments.wide_share as usize == 0 {
            Instant::now()
        } else {
            due
        };
        let recalled = recall(&grpc, &vector, (count, page), due, timed).await;
        recalled.map_err(|why| why.to_string())?;
    }
    Ok((narrow, wide))
}

/// One recall, page by page.
async fn recall(
    grpc: &Grpc,
    vector: &[f32],
    (max_results, page_size): (u32, u32),
    due: Instant,
    timed: &mut Timed,
) -> std::result::Result<(), CallError> {
    let cue = EmbeddingCue { vector: vector.to_vec(), similarity_threshold: 0.0 };
    let request = StreamingRecallRequest {
        memory_space_id: SPACE.to_owned(),
        cue: Some(Cue { cue_type: Some(CueType::Embedding(cue)), ..Cue::default() }),
        max_results,
        page_size,
        ..StreamingRecallRequest::default()
    };
    let mut pages = grpc.server_streaming::<_, StreamingRecallResponse>(RECALL, &request).await?;
    let mut found = 0;
    while let Some(page) = pages.next().await? {
        if found == 0 {
            timed.first_page.record(due.elapsed());
        }
        found += page.results.len();
    }
    timed.whole.record(due.elapsed());
    match found == max_results as usize {
        true => Ok(()),
        false => Err(CallError::Protocol(format!("{found} memories found of {max_results}"))),
    }
}

impl Timed {
    fn new() -> Timed {
        Timed { first_page: Latencies::new(), whole: Latencies::new() }
    }

    fn answered(&self) -> Answered {
        let (first_page, whole) = (self.first_page.percentiles(), self.whole.percentiles());
        Answered { first_page, whole }
    }
}

impl Answered {
    fn median(rounds: &[Round], of: impl Fn(&Round) -> Answered) -> Answered {
        let first_pages: Vec<_> = rounds.iter().map(|round| of(round).first_page).collect();
        let wholes: Vec<_> = rounds.iter().map(|round| of(round).whole).collect();
        Answered {
            first_page: Percentiles::of_rounds(&first_pages),
            whole: Percentiles::of_rounds(&wholes),
        }
    }
}

impl Round {
    fn median(rounds: &[Round]) -> Round {
        Round {
            saturation_per_s: median(rounds.iter().map(|round| round.saturation_per_s)),
            observations_per_s: median(rounds.iter().map(|round| round.observations_per_s)),
            recalls: Answered::median(rounds, |round| round.recalls),
            wide: Answered::median(rounds, |round| round.wide),
        }
    }
}

impl Report {
    fn print(&self) {
        let Report { rows, count, wide_count, median, rounds } = self;
        println!("{rows} rows in one space; medians of {} rounds", rounds.len());
        println!(
            "the core takes {:.0} observations/s; beside recalls {:.0} come in",
            median.saturation_per_s, median.observations_per_s
        );
        for (count, Answered { first_page, whole }) in
            [(count, median.recalls), (wide_count, median.wide)]
        {
            println!("\n{count} memories: first page {first_page}");
            println!("{count} memories: all pages  {whole}");
        }
    }
}
