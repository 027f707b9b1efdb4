//! Introspect: what the shards say of themselves, of one space or of all.

use std::collections::BTreeMap;

use engram_proto::engram::v1::{
    ComponentHealth, HealthStatus, IntrospectRequest, IntrospectResponse, MemoryStatistics,
};
use engram_shards::message::{ShardStatus, StripeStatus};

use super::Call;
use crate::core::Readiness;
use crate::failure::Failure;
use crate::memory_bound::MemoryBound;
use crate::mesh::{CoreIndex, Unavailable};
use crate::space_name::check_space_name;

type Statuses = [(CoreIndex, Result<ShardStatus, Unavailable>)];

/// Answers from what every shard says now.
pub(super) async fn introspect(call: &mut Call) -> Result<(), Failure> {
    let core = call.core.clone();
    let request: IntrospectRequest = call.request().await?;
    let space = match request.memory_space_id.as_str() {
        "" => None,
        name => {
            check_space_name(name)?;
            core.space(name).await?;
            Some(name)
        }
    };
    let statuses = call.unless_gone(async { Ok(core.status().await) }).await?;
    let stripes = stripes_of(&statuses, space);
    let wanted = |name: &String| request.metrics.is_empty() || request.metrics.contains(name);
    let bound = MemoryBound::of(core.settings(), core.mesh().cores());
    let mut metrics = metrics(&statuses, &stripes);
    metrics.insert("memory_bound_bytes".to_owned(), bound.bytes() as f32);
    metrics.retain(|name, _| wanted(name));
    let snapshot = serde_json::to_string(&metrics).expect("numbers are JSON");
    let rows: u64 = stripes.iter().map(|stripe| stripe.rows).sum();
    let statistics = MemoryStatistics {
        total_memories: i64::try_from(rows).unwrap_or(i64::MAX),
        ..MemoryStatistics::default()
    };
    let is_settled = stripes.iter().all(|stripe| stripe.upkeep.settled);
    let response = IntrospectResponse {
        metrics,
        health: request.include_health.then(|| health(core.readiness(), &statuses)),
        statistics: request.include_statistics.then_some(statistics),
        active_processes: if is_settled { Vec::new() } else { vec!["upkeep".to_owned()] },
        metrics_snapshot_json: snapshot,
    };
    call.respond(&response).await
}

fn stripes_of<'a>(statuses: &'a Statuses, space: Option<&str>) -> Vec<&'a StripeStatus> {
    let shards = statuses.iter().filter_map(|(_, status)| status.as_ref().ok());
    let stripes = shards.flat_map(|status| &status.stripes);
    let is_asked =
        |stripe: &&StripeStatus| space.is_none_or(|name| stripe.space.settings.name == name);
    stripes.filter(is_asked).collect()
}

/// Queues are the shards', all else is the stripes'.
fn metrics(statuses: &Statuses, stripes: &[&StripeStatus]) -> BTreeMap<String, f32> {
    let shards = || statuses.iter().filter_map(|(_, status)| status.as_ref().ok());
    let sum = |number: fn(&StripeStatus) -> u64| -> f32 {
        stripes.iter().map(|stripe| number(stripe)).sum::<u64>() as f32
    };
    let mut metrics = vec![
        ("memories", sum(|stripe| stripe.rows)),
        ("indexed", sum(|stripe| stripe.indexed)),
        ("linked", sum(|stripe| stripe.linked)),
        ("observations", sum(|stripe| stripe.generation.0)),
        ("recalls", sum(|stripe| stripe.recalls)),
        ("refined", sum(|stripe| stripe.upkeep.refined.into())),
        ("queue_depth", shards().map(|status| status.depth as f32).sum()),
        ("queue_capacity", shards().map(|status| status.capacity as f32).sum()),
        ("sessions_attached", shards().map(|status| status.sessions_attached as f32).sum()),
        ("sessions", shards().map(|status| status.sessions as f32).sum()),
    ];
    let widest = stripes.iter().map(|stripe| stripe.upkeep.width).max();
    metrics.extend(widest.map(|width| ("search_width", width as f32)));
    let estimates = stripes.iter().filter_map(|stripe| stripe.upkeep.recall_estimate);
    metrics.extend(estimates.min_by(f32::total_cmp).map(|least| ("recall_estimate", least)));
    metrics.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn health(readiness: Readiness, statuses: &Statuses) -> HealthStatus {
    let component = |(core, status): &(CoreIndex, Result<ShardStatus, Unavailable>)| {
        let health = match status {
            Ok(status) => ComponentHealth {
                operational: true,
                performance: 1.0 - status.depth as f32 / status.capacity.max(1) as f32,
                status_message: format!("{} of {} wait", status.depth, status.capacity),
            },
            Err(Unavailable) => ComponentHealth {
                operational: false,
                performance: 0.0,
                status_message: Failure::unavailable().message,
            },
        };
        (format!("core-{}", core.0), health)
    };
    HealthStatus {
        healthy: readiness == Readiness::Ready,
        components: statuses.iter().map(component).collect(),
        summary: format!("{readiness:?}").to_lowercase(),
    }
}
