//! What the metrics tell: names, types, labels and buckets.

use engram_shards::histogram::Histogram as MicrosHistogram;
use engram_shards::message::{LogStatus, ShardStatus};
use engram_shards::record_cache::RecordCacheStatus;

use crate::memory_bound::MemoryBound;
use crate::mesh::{CoreIndex, Unavailable};
use crate::metrics::{Histogram, Metrics, Rejection, Stage};
use crate::wire::exposition::page::{Buckets, Format, Kind, Page};
use crate::wire::exposition::spaces::{SpaceTotals, totals};

/// The `priority` label, in the order of the engine's lanes.
const PRIORITIES: [&str; 3] = ["high", "normal", "low"];

/// The `level` label, in the order of the engine's levels.
const LEVELS: [&str; 4] = ["normal", "warning", "critical", "overloaded"];

/// The contract's bounds, in seconds; below the first one, all that is counted is told.
const OBSERVATION_SECONDS: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];
/// The same for recalls.
const RECALL_SECONDS: &[f64] = &[0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5];
/// The same for the wait in the queue.
const QUEUE_WAIT_SECONDS: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0];
/// The contract's bounds of an insertion batch, in rows.
const BATCH_ROWS: &[f64] = &[1.0, 10.0, 50.0, 100.0, 250.0, 500.0, 1_000.0];

const MICROS_PER_SECOND: f64 = 1e6;

/// The text of all metrics, from every core's counters and every shard's status.
pub fn render(
    reports: &[(CoreIndex, Metrics)],
    statuses: &[(CoreIndex, Result<ShardStatus, Unavailable>)],
    bound: &MemoryBound,
    format: Format,
) -> String {
    let answered: Vec<(String, &ShardStatus)> = statuses
        .iter()
        .filter_map(|(core, status)| Some((core.0.to_string(), status.as_ref().ok()?)))
        .collect();
    let counted: Vec<(String, &Metrics)> =
        reports.iter().map(|(core, metrics)| (core.0.to_string(), metrics)).collect();
    let shards: Vec<&ShardStatus> = answered.iter().map(|(_, status)| *status).collect();
    let spaces = totals(reports.iter().map(|(_, metrics)| metrics), &shards);
    let spaces: Vec<(&str, SpaceTotals)> = spaces.into_iter().collect();
    let mut page = Page::new(format);
    observations(&mut page, &spaces);
    pressure(&mut page, &spaces);
    serving(&mut page, statuses);
    workers(&mut page, &answered, &counted);
    queue(&mut page, &answered, &counted);
    memory(&mut page, bound);
    latencies(&mut page, &spaces);
    quality(&mut page, &spaces);
    page.finish()
}

fn observations(page: &mut Page, spaces: &[(&str, SpaceTotals)]) {
    let mut family = page.family("observations_total", Kind::Counter, "Durable observations.");
    for (space, totals) in spaces {
        for (priority, count) in PRIORITIES.iter().zip(totals.observations) {
            family.value(&[("memory_space", space), ("priority", priority)], count as f64);
        }
    }
    let mut family = page.family(
        "observations_rejected_total",
        Kind::Counter,
        "Observations that were refused.",
    );
    for (space, totals) in spaces {
        for (reason, count) in Rejection::ALL.iter().zip(totals.rejected) {
            family.value(&[("memory_space", space), ("reason", reason.label())], count as f64);
        }
    }
}

fn pressure(page: &mut Page, spaces: &[(&str, SpaceTotals)]) {
    let help = "Changes of a shard's level of pressure.";
    let mut family = page.family("backpressure_activations_total", Kind::Counter, help);
    for (space, totals) in spaces {
        for (level, count) in LEVELS.iter().zip(totals.level_changes) {
            family.value(&[("memory_space", space), ("level", level)], count as f64);
        }
    }
    let help = "0 normal, 1 warning, 2 critical, 3 overloaded.";
    let mut family = page.family("backpressure_state", Kind::Gauge, help);
    for (space, totals) in spaces {
        family.value(&[("memory_space", space)], totals.level.index() as f64);
    }
}

fn serving(page: &mut Page, statuses: &[(CoreIndex, Result<ShardStatus, Unavailable>)]) {
    let help = "1 where the core's shard serves, 0 where it is starting or has failed.";
    let mut family = page.family("shard_up", Kind::Gauge, help);
    for (core, status) in statuses {
        let worker = core.0.to_string();
        family.value(&[("worker_id", &worker)], f64::from(u8::from(status.is_ok())));
    }
}

fn memory(page: &mut Page, bound: &MemoryBound) {
    let help = "The most that the server takes beside its memories, by what it is for.";
    let mut family = page.family("memory_bound_bytes", Kind::Gauge, help);
    for part in &bound.parts {
        family.value(&[("part", part.name)], part.bytes as f64);
    }
}

fn workers(page: &mut Page, shards: &[(String, &ShardStatus)], cores: &[(String, &Metrics)]) {
    let mut family = page.family(
        "batches_processed_total",
        Kind::Counter,
        "Batches of rows put into the graph while others waited.",
    );
    for (worker, status) in shards {
        family.value(&[("worker_id", worker)], status.insert_batches as f64);
    }
    let help = "Commits that were given up.";
    let mut family = page.family("batch_failures_total", Kind::Counter, help);
    for (worker, status) in shards {
        let (full, other) = (status.commit_failures_full, status.commit_failures_other);
        for (error_type, count) in [("disk_full", full), ("disk_fault", other)] {
            family.value(&[("worker_id", worker), ("error_type", error_type)], count as f64);
        }
    }
    let mut family = page.family("batch_size", Kind::Histogram, "Rows of one insertion batch.");
    for (worker, status) in shards {
        let buckets = Buckets::of_micros(&status.insert_batch_rows, 1.0, BATCH_ROWS);
        family.buckets(&[("worker_id", worker)], &buckets);
    }
    let help = "Percent of the core's time spent on work.";
    let mut family = page.family("worker_utilization", Kind::Gauge, help);
    for (worker, metrics) in cores {
        family.value(&[("worker_id", worker)], metrics.utilisation_percent);
    }
    let help = "Time spent in each stage of an observation's way.";
    let mut family = page.family("stage_seconds_total", Kind::Counter, help);
    for (worker, metrics) in cores {
        for (stage, nanos) in Stage::ALL.iter().zip(metrics.stage_nanos) {
            let labels = [("worker_id", worker.as_str()), ("stage", stage.label())];
            family.value(&labels, nanos as f64 / 1e9);
        }
    }
    type Told = fn(&LogStatus) -> u64;
    let (gauge, counter) = (Kind::Gauge, Kind::Counter);
    let families: [(_, _, _, Told); 4] = [
        ("log_bytes", gauge, "Bytes of the shard's log on the disk.", |log| log.file_bytes),
        ("log_live_bytes", gauge, "Bytes of records that count.", |log| log.live_bytes),
        ("compacted_segments_total", counter, "Segments that were compacted.", |log| {
            log.compacted_segments
        }),
        ("compaction_bytes_total", counter, "Bytes of records written for it.", |log| {
            log.compaction_bytes
        }),
    ];
    for (name, kind, help, value) in families {
        let mut family = page.family(name, kind, help);
        for (worker, status) in shards {
            family.value(&[("worker_id", worker)], value(&status.log) as f64);
        }
    }
    let help = "Connections that are open.";
    let mut family = page.family("connections", Kind::Gauge, help);
    for (worker, metrics) in cores {
        family.value(&[("worker_id", worker)], metrics.connections as f64);
    }
    let help = "Connections that were refused, for there were as many as may be.";
    let mut family = page.family("connections_refused_total", Kind::Counter, help);
    for (worker, metrics) in cores {
        family.value(&[("worker_id", worker)], metrics.connections_refused as f64);
    }
    let help =
        "Bytes that the core has lent to its connections, for what their clients have under way.";
    let mut family = page.family("memory_lent_bytes", Kind::Gauge, help);
    for (worker, metrics) in cores {
        family.value(&[("worker_id", worker)], metrics.lent_bytes as f64);
    }
    let help = "Bytes of records that recalls under way hold.";
    let mut family = page.family("recall_memory_bytes", Kind::Gauge, help);
    for (worker, status) in shards {
        family.value(&[("worker_id", worker)], status.recalls_bytes as f64);
    }
    let help = "Panics that were contained in a connection or a shard.";
    let mut family = page.family("contained_panics_total", Kind::Counter, help);
    for (worker, metrics) in cores {
        family.value(&[("worker_id", worker)], metrics.panics as f64);
    }
    let help = "Times that a shard was built anew from its log after it had failed.";
    let mut family = page.family("shard_restarts_total", Kind::Counter, help);
    for (worker, metrics) in cores {
        family.value(&[("worker_id", worker)], metrics.shard_restarts as f64);
    }
    record_cache(page, shards);
    recalls_abandoned(page, shards);
    checkpoints(page, shards, cores);
}

fn recalls_abandoned(page: &mut Page, shards: &[(String, &ShardStatus)]) {
    let help = "Recalls that were given up by who asked, and ended before they were answered.";
    let mut family = page.family("recalls_abandoned_total", Kind::Counter, help);
    for (worker, status) in shards {
        family.value(&[("worker_id", worker)], status.recalls_abandoned as f64);
    }
}

fn record_cache(page: &mut Page, shards: &[(String, &ShardStatus)]) {
    type Told = fn(&RecordCacheStatus) -> u64;
    let (gauge, counter) = (Kind::Gauge, Kind::Counter);
    let families: [(_, _, _, Told); 3] = [
        ("record_cache_hits_total", counter, "Records that recalls found at hand.", |of| of.hits),
        ("record_cache_misses_total", counter, "Records that recalls read.", |of| of.misses),
        ("record_cache_bytes", gauge, "Bytes of records that are kept at hand.", |of| of.bytes),
    ];
    for (name, kind, help, value) in families {
        let mut family = page.family(name, kind, help);
        for (worker, status) in shards {
            family.value(&[("worker_id", worker)], value(&status.record_cache) as f64);
        }
    }
}

fn checkpoints(page: &mut Page, shards: &[(String, &ShardStatus)], cores: &[(String, &Metrics)]) {
    let mut of_shards = |name, help, count: fn(&ShardStatus) -> u64| {
        let mut family = page.family(name, Kind::Counter, help);
        for (worker, status) in shards {
            family.value(&[("worker_id", worker)], count(status) as f64);
        }
    };
    of_shards("checkpoints_total", "Checkpoints that were written.", |shard| shard.checkpoints);
    of_shards("checkpoint_bytes_total", "Bytes of those.", |shard| shard.checkpoint_bytes);
    let help = "Checkpoints that could not be written; the ones before them stay.";
    of_shards("checkpoint_failures_total", help, |shard| shard.checkpoint_failures);
    let help =
        "Damaged checkpoints that were left aside when their shard was built: it replayed the log.";
    let mut family = page.family("checkpoints_left_aside_total", Kind::Counter, help);
    for (worker, metrics) in cores {
        family.value(&[("worker_id", worker)], metrics.checkpoints_left_aside as f64);
    }
}

fn queue(page: &mut Page, shards: &[(String, &ShardStatus)], cores: &[(String, &Metrics)]) {
    let mut family =
        page.family("queue_depth", Kind::Gauge, "Observations received and not yet indexed.");
    for (worker, status) in shards {
        for (priority, depth) in PRIORITIES.iter().zip(depths(status)) {
            family.value(&[("priority", priority), ("worker_id", worker)], f64::from(depth));
        }
    }
    let mut family =
        page.family("queue_capacity", Kind::Gauge, "The most observations that may wait.");
    for (worker, status) in shards {
        family.value(&[("worker_id", worker)], f64::from(status.capacity));
    }
    let waiting = shards.iter().map(|(_, status)| status.pending_bytes).sum::<u64>()
        + cores.iter().map(|(_, metrics)| metrics.between_bytes).sum::<u64>();
    let help = "Bytes of observations between socket and disk.";
    page.family("queue_memory_bytes", Kind::Gauge, help).value(&[], waiting as f64);
    let sessions: u32 = shards.iter().map(|(_, status)| status.sessions_attached).sum();
    page.family("active_sessions_total", Kind::Gauge, "Sessions attached to a connection.")
        .value(&[], f64::from(sessions));
    let mut waits: [MicrosHistogram; 3] = Default::default();
    for (_, status) in shards {
        for (wait, more) in waits.iter_mut().zip(&status.queue_wait_micros) {
            wait.merge(more);
        }
    }
    let help = "How long observations waited: from received to indexed.";
    let mut family = page.family("queue_wait_time_seconds", Kind::Histogram, help);
    for (priority, wait) in PRIORITIES.iter().zip(&waits) {
        let buckets = Buckets::of_micros(wait, MICROS_PER_SECOND, QUEUE_WAIT_SECONDS);
        family.buckets(&[("priority", priority)], &buckets);
    }
}

/// Depth by lane. Rows replayed at the start have none; they wait like normal ones.
fn depths(status: &ShardStatus) -> [u32; 3] {
    let [high, normal, low] = status.depth_by_lane;
    let replayed = status.depth.saturating_sub(high + normal + low);
    [high, normal + replayed, low]
}

fn latencies(page: &mut Page, spaces: &[(&str, SpaceTotals)]) {
    let help = "From received to durable.";
    let mut family = page.family("observation_latency_seconds", Kind::Histogram, help);
    for (space, totals) in spaces {
        let micros = &totals.observation_micros;
        let buckets = Buckets::of_micros(micros, MICROS_PER_SECOND, OBSERVATION_SECONDS);
        family.buckets(&[("memory_space", space)], &buckets);
    }
    let help = "From a recall received to its answer.";
    let mut family = page.family("recall_latency_seconds", Kind::Histogram, help);
    for (space, totals) in spaces {
        let buckets = Buckets::of_seconds(&totals.recall_seconds, RECALL_SECONDS);
        family.buckets(&[("memory_space", space)], &buckets);
    }
}

fn quality(page: &mut Page, spaces: &[(&str, SpaceTotals)]) {
    let help = "Share of the true nearest ten that recalls find, as the space samples it.";
    let mut family = page.family("recall_estimate", Kind::Gauge, help);
    for (space, totals) in spaces {
        // None of a space that has not sampled yet: a number would be a guess.
        if let Some(estimate) = totals.recall_estimate {
            family.value(&[("memory_space", space)], f64::from(estimate));
        }
    }
    let help = "Search width of recalls that name none.";
    let mut family = page.family("search_width", Kind::Gauge, help);
    for (space, totals) in spaces {
        family.value(&[("memory_space", space)], f64::from(totals.width));
    }
    let help = "Rows of the graph that idle time has linked anew.";
    let mut family = page.family("refined_rows", Kind::Gauge, help);
    for (space, totals) in spaces {
        family.value(&[("memory_space", space)], totals.refined as f64);
    }
    let help = "Distances spent on sampling recall and on linking rows anew.";
    let mut family = page.family("upkeep_distances_total", Kind::Counter, help);
    for (space, totals) in spaces {
        family.value(&[("memory_space", space)], totals.upkeep_distances as f64);
    }
}

impl Buckets {
    /// What the engine counted in integers, `units` of which are one of what is told.
    fn of_micros(histogram: &MicrosHistogram, units: f64, told: &[f64]) -> Buckets {
        let bounds = histogram.bounds().iter().map(|&bound| bound as f64 / units);
        Buckets::of(
            bounds.zip(histogram.counts()),
            histogram.count(),
            histogram.sum() as f64 / units,
            told,
        )
    }

    fn of_seconds(histogram: &Histogram, told: &[f64]) -> Buckets {
        let bounds = histogram.bounds.iter().copied();
        Buckets::of(bounds.zip(&histogram.counts), histogram.count(), histogram.sum, told)
    }

    /// Cumulative counts at the bounds that are `told`, and at those below them all. To leave a bound out loses nothing
    /// of the others.
    fn of<'a>(
        counted: impl Iterator<Item = (f64, &'a u64)>,
        count: u64,
        sum: f64,
        told: &[f64],
    ) -> Buckets {
        let mut below = 0;
        let cumulative = counted.map(|(bound, count)| {
            below += count;
            (bound, below)
        });
        let is_told = |&(bound, _): &(f64, u64)| bound < told[0] || told.contains(&bound);
        Buckets { cumulative: cumulative.filter(is_told).collect(), count, sum }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use engram_shards::ids::{Generation, SpaceKey};
    use engram_shards::message::{SpaceDescription, StripeStatus};
    use engram_shards::quality::UpkeepStatus;

    use super::*;
    use crate::memory_bound::Part;
    use crate::space_name::default_settings;

    fn sample_text(format: Format) -> String {
        let mut durable_micros = MicrosHistogram::default();
        for micros in [70, 800, 4_000, 9_000_000] {
            durable_micros.record(micros);
        }
        let stripe = StripeStatus {
            space: SpaceDescription { key: SpaceKey(1), settings: default_settings("robots") },
            stripe: 0,
            generation: Generation(6),
            rows: 6,
            indexed: 4,
            linked: 3,
            durable_observations: [1, 2, 3],
            durable_micros,
            held: 0,
            recalls: 1,
            upkeep: UpkeepStatus {
                width: 96,
                recall_estimate: Some(0.5),
                refined: 3,
                distances: 4,
                settled: true,
            },
        };
        let status = ShardStatus {
            stripes: vec![stripe],
            depth: 9,
            depth_by_lane: [1, 2, 3],
            capacity: 100,
            sessions_attached: 4,
            recalls_bytes: 2_048,
            record_cache: Box::new(RecordCacheStatus { hits: 8, misses: 4, bytes: 1_024 }),
            log: Box::new(LogStatus {
                file_bytes: 11,
                live_bytes: 7,
                compacted_segments: 2,
                compaction_bytes: 13,
            }),
            insert_batches: 5,
            insert_batch_rows: MicrosHistogram::new(engram_shards::histogram::BATCH_ROWS),
            ..ShardStatus::default()
        };
        let mut metrics = Metrics {
            utilisation_percent: 12.5,
            shard_restarts: 2,
            checkpoints_left_aside: 3,
            connections: 6,
            connections_refused: 14,
            lent_bytes: 512,
            ..Metrics::default()
        };
        metrics.space(SpaceKey(1)).reject(Rejection::OverCapacity);
        metrics.space(SpaceKey(1)).recall_latency.observe(0.003);
        let statuses = [(CoreIndex(0), Ok(status)), (CoreIndex(1), Err(Unavailable))];
        let reports = [(CoreIndex(0), metrics.clone()), (CoreIndex(1), metrics)];
        let bound = MemoryBound { parts: vec![Part { name: "rings", bytes: 4_096 }] };
        render(&reports, &statuses, &bound, format)
    }

    /// Reads either format: types by family and values by series. Panics on what neither allows.
    fn parse(text: &str) -> (BTreeMap<String, String>, BTreeMap<String, f64>) {
        let (mut types, mut series) = (BTreeMap::new(), BTreeMap::new());
        let (mut family, mut closed) = (String::new(), BTreeSet::new());
        for line in text.lines().filter(|line| !line.starts_with("# HELP") && *line != "# EOF") {
            if let Some(declared) = line.strip_prefix("# TYPE ") {
                let (name, kind) = declared.split_once(' ').expect("a name and a type");
                assert!(closed.insert(name.to_owned()), "{name} begins twice");
                types.insert(name.to_owned(), kind.to_owned());
                family = name.to_owned();
            } else {
                let (name, value) = line.rsplit_once(' ').expect("a series and its value");
                assert!(name.starts_with(&family), "{name} stands within {family}");
                let value = value.parse().expect("a number");
                assert!(series.insert(name.to_owned(), value).is_none(), "{name} appears twice");
            }
        }
        (types, series)
    }

    #[test]
    fn both_formats_tell_the_same_under_the_contracts_names() {
        let (text_types, text) = parse(&sample_text(Format::Text));
        let (open_types, open) = parse(&sample_text(Format::OpenMetrics));
        let normal = |name: &String| {
            name.replace("le=\"1.0\"", "le=\"1\"").replace("le=\"5.0\"", "le=\"5\"")
        };
        let known: BTreeSet<String> = text.keys().map(normal).collect();
        for (name, value) in &open {
            let plain = name.replace(".0\"}", "\"}");
            assert_eq!(text[&plain], *value, "{name}");
        }
        assert_eq!(known.len(), open.len());
        for counter in ["observations", "observations_rejected", "batches_processed"] {
            assert_eq!(text_types[&format!("engram_streaming_{counter}_total")], "counter");
            assert_eq!(open_types[&format!("engram_streaming_{counter}")], "counter");
        }
        for gauge in
            ["queue_depth", "worker_utilization", "active_sessions_total", "backpressure_state"]
        {
            assert_eq!(open_types[&format!("engram_streaming_{gauge}")], "gauge");
        }
    }

    #[test]
    fn values_are_those_that_were_counted() {
        let (_, series) = parse(&sample_text(Format::Text));
        let value = |name: &str| series[&format!("engram_streaming_{name}")];
        assert_eq!(value(r#"observations_total{memory_space="robots",priority="high"}"#), 1.0);
        assert_eq!(value(r#"observations_total{memory_space="robots",priority="low"}"#), 3.0);
        assert_eq!(
            value(r#"observations_rejected_total{memory_space="robots",reason="over_capacity"}"#),
            2.0
        );
        assert_eq!(value(r#"queue_depth{priority="normal",worker_id="0"}"#), 5.0);
        assert_eq!(value(r#"queue_capacity{worker_id="0"}"#), 100.0);
        assert_eq!(value("active_sessions_total"), 4.0);
        assert_eq!(value(r#"shard_up{worker_id="0"}"#), 1.0);
        assert_eq!(value(r#"shard_up{worker_id="1"}"#), 0.0);
        assert_eq!(value(r#"shard_restarts_total{worker_id="1"}"#), 2.0);
        assert_eq!(value(r#"log_bytes{worker_id="0"}"#), 11.0);
        assert_eq!(value(r#"log_live_bytes{worker_id="0"}"#), 7.0);
        assert_eq!(value(r#"compacted_segments_total{worker_id="0"}"#), 2.0);
        assert_eq!(value(r#"compaction_bytes_total{worker_id="0"}"#), 13.0);
        assert_eq!(value(r#"checkpoints_left_aside_total{worker_id="1"}"#), 3.0);
        assert_eq!(value(r#"record_cache_hits_total{worker_id="0"}"#), 8.0);
        assert_eq!(value(r#"record_cache_misses_total{worker_id="0"}"#), 4.0);
        assert_eq!(value(r#"record_cache_bytes{worker_id="0"}"#), 1_024.0);
        assert_eq!(value(r#"connections{worker_id="1"}"#), 6.0);
        assert_eq!(value(r#"connections_refused_total{worker_id="0"}"#), 14.0);
        assert_eq!(value(r#"memory_lent_bytes{worker_id="1"}"#), 512.0);
        assert_eq!(value(r#"recall_memory_bytes{worker_id="0"}"#), 2_048.0);
        assert_eq!(value(r#"memory_bound_bytes{part="rings"}"#), 4_096.0);
        assert_eq!(value(r#"batches_processed_total{worker_id="0"}"#), 5.0);
        assert_eq!(value(r#"worker_utilization{worker_id="1"}"#), 12.5);
        assert_eq!(value(r#"recall_latency_seconds_count{memory_space="robots"}"#), 2.0);
        assert_eq!(value(r#"recall_estimate{memory_space="robots"}"#), 0.5);
        assert_eq!(value(r#"search_width{memory_space="robots"}"#), 96.0);
        assert_eq!(value(r#"refined_rows{memory_space="robots"}"#), 3.0);
        assert_eq!(value(r#"upkeep_distances_total{memory_space="robots"}"#), 4.0);
    }

    #[test]
    fn buckets_are_the_contracts_and_finer_ones_below_a_millisecond() {
        let (_, series) = parse(&sample_text(Format::Text));
        let bounds = |name: &str| -> Vec<f64> {
            let prefix = format!("engram_streaming_{name}_bucket");
            let mut bounds: Vec<f64> = series
                .keys()
                .filter(|series| series.starts_with(&prefix))
                .map(|series| {
                    series.split("le=\"").nth(1).expect("a bound").trim_end_matches("\"}")
                })
                .filter(|bound| *bound != "+Inf")
                .map(|bound| bound.parse().expect("a number"))
                .collect();
            bounds.sort_by(f64::total_cmp);
            bounds.dedup();
            bounds.into_iter().filter(|bound| *bound >= 0.001).collect()
        };
        assert_eq!(bounds("observation_latency_seconds"), OBSERVATION_SECONDS);
        assert_eq!(bounds("recall_latency_seconds"), RECALL_SECONDS);
        assert_eq!(bounds("queue_wait_time_seconds"), QUEUE_WAIT_SECONDS);
        assert_eq!(bounds("batch_size"), BATCH_ROWS);
        let below = |bound: &str| {
            let labels = format!("{{memory_space=\"robots\",le=\"{bound}\"}}");
            series[&format!("engram_streaming_observation_latency_seconds_bucket{labels}")]
        };
        assert_eq!(
            (below("0.0001"), below("0.001"), below("5"), below("+Inf")),
            (1.0, 2.0, 3.0, 4.0)
        );
    }
}
