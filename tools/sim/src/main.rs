//! `engram-sim`: runs worlds from seeds, and prints how to run the one that failed again.

use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use engram_sim::trace::Story;
use engram_sim::world;

/// Simulates shards with their disk, clients and time, each world from one seed.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Runs the seeds A up to, and not with, B.
    #[arg(long, value_name = "A..B", default_value = "0..500", value_parser = seeds)]
    seeds: (u64, u64),
    /// Runs this one seed and tells all that happens.
    #[arg(long, conflicts_with_all = ["seeds", "minutes"])]
    seed: Option<u64>,
    /// Plants this bug in the engine.
    #[cfg(feature = "planted")]
    #[arg(long, value_name = "BUG", value_parser = planted)]
    planted: Option<engram_shards::Planted>,
    /// Runs seeds from A on for so many minutes, whatever B is.
    #[arg(long)]
    minutes: Option<u64>,
}

fn seeds(text: &str) -> Result<(u64, u64), String> {
    let bounds = text.split_once("..").ok_or("two numbers with .. between them")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
    Ok((number(bounds.0)?, number(bounds.1)?))
}

#[cfg(feature = "planted")]
fn planted(name: &str) -> Result<engram_shards::Planted, String> {
    let mut bugs = engram_shards::Planted::ALL.iter().copied();
    bugs.find(|bug| format!("{bug:?}") == name)
        .ok_or_else(|| format!("one of {:?}", engram_shards::Planted::ALL))
}

/// What `--seed` is to be given with so that the same happens.
#[cfg(feature = "planted")]
fn plant(arguments: &Arguments) -> String {
    engram_shards::plant(arguments.planted);
    arguments.planted.map_or(String::new(), |bug| format!("--planted {bug:?} "))
}

#[cfg(not(feature = "planted"))]
fn plant(_: &Arguments) -> &'static str {
    ""
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let planted = plant(&arguments);
    if let Some(seed) = arguments.seed {
        return match world::run(seed, None, Story::Printed) {
            Ok(summary) => {
                println!("{summary:?}");
                ExitCode::SUCCESS
            }
            Err(wrong) => {
                println!("seed {seed}: {wrong}");
                ExitCode::FAILURE
            }
        };
    }
    let began = Instant::now();
    let until = arguments.minutes.map(|minutes| began + Duration::from_secs(60 * minutes));
    let (first, end) = arguments.seeds;
    let (mut seed, mut failed, mut acked) = (first, 0, 0);
    while until.map_or(seed < end, |until| Instant::now() < until) {
        match panic::catch_unwind(AssertUnwindSafe(|| world::run(seed, None, Story::Hashed))) {
            Ok(Ok(summary)) => acked += summary.acked,
            Ok(Err(wrong)) => {
                failed += 1;
                println!("seed {seed}: {wrong}\n  engram-sim {planted}--seed {seed}");
            }
            Err(_) => {
                failed += 1;
                println!("seed {seed}: panicked\n  engram-sim {planted}--seed {seed}");
            }
        }
        seed += 1;
    }
    let seeds = seed - first;
    let a_minute = seeds as f64 * 60.0 / began.elapsed().as_secs_f64();
    println!(
        "{seeds} seeds, {failed} failed, {acked} observations acked, {a_minute:.0} seeds/minute"
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
