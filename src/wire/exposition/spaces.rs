//! What is told of each space. There may be any number of spaces, but a time series costs whoever keeps it, so only the
//! busiest have a label of their own.

use std::collections::{BTreeMap, HashMap};

use engram_shards::histogram::Histogram as MicrosHistogram;
use engram_shards::ids::SpaceKey;
use engram_shards::message::{Level, ShardStatus};

use crate::limits::METRICS_SPACES_MAX;
use crate::metrics::{Histogram, LATENCY_SECONDS, Metrics, Rejection};

/// The label of all spaces that have none of their own.
const OTHER: &str = "_other";

/// What is told under one label.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SpaceTotals {
    /// Durable observations, by lane.
    pub(super) observations: [u64; 3],
    /// Refused ones, by reason.
    pub(super) rejected: [u64; Rejection::ALL.len()],
    /// How often a shard of the space entered each level.
    pub(super) level_changes: [u64; 4],
    /// The fullest of the space's shards.
    pub(super) level: Level,
    /// Received to durable.
    pub(super) observation_micros: MicrosHistogram,
    /// Received to answered.
    pub(super) recall_seconds: Histogram,
    /// Recall of the stripe that has least of it, as far as any was sampled.
    pub(super) recall_estimate: Option<f32>,
    /// The widest search that a stripe needs.
    pub(super) width: u32,
    /// Rows linked anew since they came.
    pub(super) refined: u64,
    /// Distances spent on sampling and refining.
    pub(super) upkeep_distances: u64,
}

impl Default for SpaceTotals {
    fn default() -> SpaceTotals {
        SpaceTotals {
            observations: [0; 3],
            rejected: [0; Rejection::ALL.len()],
            level_changes: [0; 4],
            level: Level::default(),
            observation_micros: MicrosHistogram::default(),
            recall_seconds: Histogram::new(LATENCY_SECONDS),
            recall_estimate: None,
            width: 0,
            refined: 0,
            upkeep_distances: 0,
        }
    }
}

/// Gathers every core's share of each space, by label.
pub(super) fn totals<'a>(
    reports: impl Iterator<Item = &'a Metrics>,
    statuses: &[&'a ShardStatus],
) -> BTreeMap<&'a str, SpaceTotals> {
    let labels = labels(statuses);
    let mut totals: BTreeMap<&str, SpaceTotals> = BTreeMap::new();
    for status in statuses {
        for stripe in &status.stripes {
            let total = totals.entry(labels[&stripe.space.key]).or_default();
            add(&mut total.observations, &stripe.durable_observations);
            add(&mut total.level_changes, &status.level_changes);
            total.level = total.level.max(status.level);
            total.observation_micros.merge(&stripe.durable_micros);
            let upkeep = &stripe.upkeep;
            let estimates = total.recall_estimate.into_iter().chain(upkeep.recall_estimate);
            total.recall_estimate = estimates.min_by(f32::total_cmp);
            total.width = total.width.max(upkeep.width);
            total.refined += u64::from(upkeep.refined);
            total.upkeep_distances += upkeep.distances;
        }
    }
    for (key, space) in reports.flat_map(|metrics| &metrics.spaces) {
        // The name of a space whose shard does not answer is not known here.
        let total = totals.entry(labels.get(key).unwrap_or(&OTHER)).or_default();
        add(&mut total.rejected, &space.rejected);
        total.recall_seconds.merge(&space.recall_latency);
    }
    totals
}

/// The label of every space: its name for the busiest, which are those with the most observations.
fn labels<'a>(statuses: &[&'a ShardStatus]) -> HashMap<SpaceKey, &'a str> {
    let mut work: HashMap<SpaceKey, (&str, u64)> = HashMap::new();
    for stripe in statuses.iter().flat_map(|status| &status.stripes) {
        let name = stripe.space.settings.name.as_str();
        let (_, observations) = work.entry(stripe.space.key).or_insert((name, 0));
        *observations += stripe.durable_observations.iter().sum::<u64>() + stripe.recalls;
    }
    let mut spaces: Vec<(SpaceKey, &str, u64)> =
        work.into_iter().map(|(key, (name, observations))| (key, name, observations)).collect();
    spaces.sort_by(|(_, name, busy), (_, other, busier)| busier.cmp(busy).then(name.cmp(other)));
    let label = |(at, (key, name, _))| (key, if at < METRICS_SPACES_MAX { name } else { OTHER });
    spaces.into_iter().enumerate().map(label).collect()
}

fn add<const N: usize>(totals: &mut [u64; N], more: &[u64; N]) {
    for (total, more) in totals.iter_mut().zip(more) {
        *total += more;
    }
}

#[cfg(test)]
mod tests {
    use engram_shards::ids::Generation;
    use engram_shards::message::{SpaceDescription, StripeStatus};
    use engram_shards::quality::UpkeepStatus;

    use super::*;
    use crate::space_name::default_settings;

    fn stripe(number: u64, observations: u64) -> StripeStatus {
        let settings = default_settings(&format!("space-{number:03}"));
        StripeStatus {
            space: SpaceDescription { key: SpaceKey(number), settings },
            stripe: 0,
            generation: Generation(observations),
            rows: 0,
            indexed: 0,
            linked: 0,
            durable_observations: [0, observations, 0],
            durable_micros: MicrosHistogram::default(),
            held: 0,
            recalls: 0,
            upkeep: UpkeepStatus {
                width: number as u32,
                recall_estimate: Some(0.95),
                ..Default::default()
            },
        }
    }

    #[test]
    fn the_busiest_spaces_keep_their_names_and_nothing_is_lost() {
        let spaces = METRICS_SPACES_MAX as u64 + 50;
        let stripes = (0..spaces).map(|number| stripe(number, number + 1)).collect();
        let status = ShardStatus { stripes, level: Level::Critical, ..ShardStatus::default() };
        let mut metrics = Metrics::default();
        metrics.space(SpaceKey(0)).reject(Rejection::Invalid);
        metrics.space(SpaceKey(999)).reject(Rejection::Invalid);
        let totals = totals([&metrics].into_iter(), &[&status]);
        assert_eq!(totals.len(), METRICS_SPACES_MAX + 1);
        assert_eq!(totals["space-249"].observations, [0, 250, 0]);
        assert_eq!(totals["space-249"].level, Level::Critical);
        assert!(!totals.contains_key("space-049"));
        assert_eq!(totals[OTHER].observations[1], (1..=50).sum::<u64>());
        assert_eq!(totals[OTHER].rejected[Rejection::Invalid as usize], 2);
    }

    #[test]
    fn stripes_of_one_space_are_told_together() {
        let shard = |observations, level| ShardStatus {
            stripes: vec![stripe(7, observations)],
            level,
            ..ShardStatus::default()
        };
        let (mut one, other) = (shard(3, Level::Overloaded), shard(4, Level::Normal));
        one.stripes[0].upkeep = UpkeepStatus {
            width: 96,
            recall_estimate: Some(0.9),
            refined: 5,
            distances: 6,
            settled: true,
        };
        let totals = totals(std::iter::empty(), &[&one, &other]);
        assert_eq!(totals["space-007"].observations, [0, 7, 0]);
        assert_eq!(totals["space-007"].level, Level::Overloaded);
        assert_eq!(
            (totals["space-007"].recall_estimate, totals["space-007"].width),
            (Some(0.9), 96)
        );
        assert_eq!((totals["space-007"].refined, totals["space-007"].upkeep_distances), (5, 6));
    }
}
