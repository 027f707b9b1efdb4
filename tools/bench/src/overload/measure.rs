//! The rounds, each with servers of their own.

use std::io::{Error, Result};
use std::time::{Duration, Instant};

use crate::process::{metric_of, resident_bytes_max};
use crate::rounds::repeat;
use crate::streams::{Rows, fill, saturation};
use crate::testbed::{Served, Testbed};
use crate::watch::{Look, Watch};

use super::arguments::OverloadArguments;
use super::beside::{recall_beside, store_beside};
use super::report::{Neighboured, Overloaded, Report, level_of};
use super::sessions::{CRITICAL, Demand, overload};

const SPACE: &str = "overload";
const NEIGHBOUR: &str = "neighbour";
/// What a memory of 768 numbers takes, in bytes.
const MEMORY_BYTES: u64 = 1_300;
/// Between two looks at the queue.
const BETWEEN: Duration = Duration::from_millis(20);

/// Measures, prints.
pub(crate) fn run(arguments: &OverloadArguments) -> Result<()> {
    let testbed = arguments.testbed.open()?;
    let bench = Bench { testbed, arguments };
    match arguments.noisy {
        false => {
            let rounds = repeat(arguments.rounds, || bench.overload())?;
            bench.testbed.tell(&bench.report(rounds), Report::<Overloaded>::print_table)
        }
        true => {
            let rounds = repeat(arguments.rounds, || bench.noisy())?;
            bench.testbed.tell(&bench.report(rounds), Report::<Neighboured>::print_table)
        }
    }
}

struct Bench<'a> {
    testbed: Testbed<'a>,
    arguments: &'a OverloadArguments,
}

/// What a look at the server finds.
#[derive(Clone, Copy, Debug)]
struct Queue {
    depth: u64,
    level: u8,
}

impl Bench<'_> {
    fn report<R>(&self, rounds: Vec<R>) -> Report<R> {
        let OverloadArguments { rows, times, seconds, sessions, .. } = *self.arguments;
        Report { rows, times, seconds, sessions, rounds }
    }

    fn time(&self) -> Duration {
        Duration::from_secs_f64(self.arguments.seconds)
    }

    fn overload(&self) -> Result<Overloaded> {
        let saturation_per_s = self.saturation()?;
        let Served { server, place: _place } = self.serve()?;
        let (address, data, start) = (server.address, &self.testbed.data, Instant::now());
        let demand = self.demand(saturation_per_s);
        let due_per_s = demand.per_s;
        let asked = (SPACE, self.arguments.recalls);
        let watch = Watch::start(address, start, BETWEEN, Queue::of);
        let (outcome, recalls) = self.testbed.beside(
            || overload(address, data, demand, start),
            |_| recall_beside(address, data, asked, self.time()),
        )?;
        let looks = watch.finish()?;
        server.wait_queue_empty()?;
        let stored = server.rows_of(SPACE)?;
        if stored != self.arguments.rows + outcome.acked {
            let acked = outcome.acked;
            return Err(Error::other(format!("{acked} acked, but the space has {stored} rows")));
        }
        let overloaded = Overloaded {
            saturation_per_s,
            due_per_s,
            sent_per_s: outcome.sent as f64 / self.arguments.seconds,
            taken_per_s: outcome.taken as f64 / self.arguments.seconds,
            refused: outcome.sent - outcome.taken,
            depth_max: looks.iter().map(|look| look.found.depth).max().unwrap_or_default(),
            capacity: server.metric("queue_capacity")? as u64,
            recalls: recalls.percentiles(),
            active_after_s: active_after(&looks, self.time())?.as_secs_f64(),
            sent_again: outcome.sent_again,
            stored,
            resident_bytes_max: resident_bytes_max(server.pid())?,
            bound_bytes: server.metric("memory_bound_bytes")? as u64,
            memories_bytes: stored * MEMORY_BYTES,
        };
        server.stop()?;
        Ok(overloaded)
    }

    fn noisy(&self) -> Result<Neighboured> {
        let saturation_per_s = self.saturation()?;
        let Served { server, place: _place } = self.serve()?;
        let (address, data) = (server.address, &self.testbed.data);
        let sent = (NEIGHBOUR, self.arguments.neighbour);
        // The same clients alone: a load that ends at once.
        let (_, alone) = self
            .testbed
            .beside(|| async { Ok(()) }, |_| store_beside(address, data, sent, self.time()))?;
        let (demand, start) = (self.demand(saturation_per_s), Instant::now());
        let (_, beside) = self.testbed.beside(
            || overload(address, data, demand, start),
            |_| store_beside(address, data, sent, self.time()),
        )?;
        server.stop()?;
        let (alone, beside) = (alone.percentiles(), beside.percentiles());
        let p99_ratio = beside.p99_ms / alone.p99_ms;
        Ok(Neighboured { saturation_per_s, alone, beside, p99_ratio })
    }

    /// A server that holds the first rows.
    fn serve(&self) -> Result<Served> {
        let capacity = self.arguments.capacity.to_string();
        let served = self.testbed.serve(&["--capacity".to_owned(), capacity])?;
        let rows = Rows { space: SPACE, first: 0, count: self.arguments.rows, per_s: None };
        fill(&self.testbed, &served.server, rows)?;
        served.server.wait_drained()?;
        Ok(served)
    }

    fn saturation(&self) -> Result<f64> {
        let served = self.serve()?;
        let (first, count) = (self.arguments.rows, self.arguments.load_rows);
        let rows = Rows { space: SPACE, first, count, per_s: None };
        let saturation = saturation(&self.testbed, &served.server, rows)?;
        served.server.stop()?;
        Ok(saturation)
    }

    fn demand(&self, saturation_per_s: f64) -> Demand {
        Demand {
            space: SPACE,
            first: self.arguments.rows,
            per_s: saturation_per_s * self.arguments.times,
            time: self.time(),
            sessions: self.arguments.sessions,
            window: self.arguments.window,
        }
    }
}

impl Queue {
    fn of(metrics: &str) -> Queue {
        Queue { depth: metric_of(metrics, "queue_depth") as u64, level: level_of(metrics) }
    }
}

/// How long after `end` the server is not full any more.
fn active_after(looks: &[Look<Queue>], end: Duration) -> Result<Duration> {
    let mut after = looks.iter().filter(|look| look.at >= end);
    let active = after.find(|look| look.found.level < CRITICAL);
    active
        .map(|look| look.at - end)
        .ok_or_else(|| Error::other("nobody looked once the time was up"))
}
