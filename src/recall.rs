//! Recalls and unary stores, whatever their transport.

use std::future::poll_fn;
use std::time::Duration;

use engram_shards::ids::{SessionEpoch, SessionId, StripeKey, Time};
use engram_shards::limits::RECALL_RESULTS_MAX;
use engram_shards::log::record::{Embedding, Observation, decode_body};
use engram_shards::message::{
    Append, Durability, Hit, IfExists, Isolation, Lane, Recall, Recalled, Reply, Request,
    SpaceDescription,
};
use engram_shards::settings::{Metric, SpaceSettings};
use uuid::Uuid;

use crate::core::Core;
use crate::failure::{Code, Failure};
use crate::mesh::{CreditAnswer, Port};
use crate::session::content::{self, ContentFault, PreparedCue};
use crate::session::{check_space_name, default_settings, over_capacity};

/// The space of requests that name none.
const SPACE_NAME_DEFAULT: &str = "default";

/// A similarity query.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The space's name; empty means `default`.
    pub space: &'a str,
    /// The cue.
    pub embedding: Embedding<'a>,
    /// How many results at most; more than [`RECALL_RESULTS_MAX`] are not given.
    pub count: u32,
    /// Search width; 0 means the default.
    pub width: u32,
    /// Which rows it may see.
    pub isolation: Isolation,
    /// Results of less activation are left out; where angles are compared, also such below zero are told apart.
    pub similarity_min: f32,
}

/// What a recall found.
#[derive(Clone, Debug)]
pub struct Recollection {
    /// Best first.
    pub found: Vec<Found>,
    /// Observations durable in the space when the recall began.
    pub snapshot_sequence: u64,
    /// Rows that the recall could see.
    pub rows: u64,
    /// The space's dimension.
    pub dimension: u16,
}

/// One result.
#[derive(Clone, Debug)]
pub struct Found {
    /// How like the cue it is, 0…1: see [`activation`].
    pub activation: f32,
    /// `activation`, less where it is not yet durable.
    pub confidence: f32,
    /// Whether it would survive a power cut.
    pub durability: Durability,
    /// When it was received.
    pub received_at: Time,
    /// When it was committed; where in flight, when it was received.
    pub committed_at: Time,
    body: Vec<u8>,
}

impl Found {
    fn new(hit: Hit, metric: Metric, now: Time) -> Found {
        let activation = activation(metric, hit.similarity);
        Found {
            activation,
            confidence: confidence(activation, hit.durability, now.micros_since(hit.received_at)),
            durability: hit.durability,
            received_at: hit.received_at,
            committed_at: hit.committed_at,
            body: hit.body,
        }
    }

    /// What was observed.
    pub fn observation(&self) -> Observation<'_> {
        decode_body(&self.body).expect("the shard checked this body before it compared its vector")
    }
}

/// An observation that was stored by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The memory's id.
    pub memory_id: String,
    /// When it was committed; none where that it was written is all that is promised.
    pub committed_at: Option<Time>,
}

/// Searches a space, all its stripes.
pub async fn recall(core: &Core, query: Query<'_>) -> Result<Recollection, Failure> {
    let began_at = core.now();
    let space = core.space(space_name(query.space)?).await?;
    let cue = content::prepare_cue(query.embedding, &space.settings).map_err(invalid)?;
    let mut port = core.port();
    scatter(core, &mut port, &space, &query, &cue);
    let recollection = gather(core, &mut port, &space, &query).await?;
    let micros = core.now().micros_since(began_at);
    core.metrics().space(space.key).recall_latency.observe(micros as f64 * 1e-6);
    Ok(recollection)
}

/// Stores one observation, durably, in the space called `space` (empty means `default`; made if it is not there). An
/// empty id stands for `mem_{UUIDv7}`.
pub async fn remember(
    core: &Core,
    space: &str,
    observation: &Observation<'_>,
) -> Result<Stored, Failure> {
    let settings = default_settings(space_name(space)?);
    let (space, _) = core.make_space(settings, IfExists::Take).await?;
    let memory_id = match observation.id {
        "" => format!("mem_{}", Uuid::now_v7()),
        own => own.to_owned(),
    };
    let mut port = core.port();
    append(core, &mut port, &space, &Observation { id: &memory_id, ..observation.clone() }).await?;
    match poll_fn(|cx| port.poll_reply(cx)).await {
        (_, Ok(Reply::Durable { committed_at, .. })) => Ok(Stored { memory_id, committed_at }),
        (_, Ok(Reply::Dropped { refusal, .. })) => Err(refusal.into()),
        (_, Ok(other)) => panic!("about an append, a shard answered {other:?}"),
        (_, Err(_)) => Err(Failure::unavailable()),
    }
}

/// Hands an observation that belongs to no session to its owner.
async fn append(
    core: &Core,
    port: &mut Port,
    space: &SpaceDescription,
    observation: &Observation<'_>,
) -> Result<(), Failure> {
    let prepared =
        content::prepare(observation, &space.settings, &mut Vec::new()).map_err(invalid)?;
    let memory_hash = core.secret().memory_hash(observation.id);
    let number = (memory_hash % u64::from(space.settings.stripes)) as u16;
    let stripe = StripeKey { space: space.key, stripe: number };
    let owner = core.mesh().owner_of(stripe);
    let lane = Lane::Normal;
    let credit = match poll_fn(|cx| port.poll_credit(cx, owner, lane)).await {
        CreditAnswer::Taken(credit) => credit,
        CreditAnswer::Refused(pressure) => {
            let after = Duration::from_micros(pressure.retry_after_micros);
            return Err(
                Failure::new(Code::ResourceExhausted, over_capacity(pressure)).retry_after(after)
            );
        }
        CreditAnswer::Unavailable => return Err(Failure::unavailable()),
    };
    let bytes = prepared.body.bytes.len() + prepared.codes.codes8.len();
    let budget = poll_fn(|cx| port.poll_budget(cx, bytes)).await;
    let append = Append {
        stripe,
        session: SessionId::NONE,
        epoch: SessionEpoch::default(),
        sequence: 1,
        memory_hash,
        received_at: core.now(),
        lane,
        body: prepared.body,
        codes: prepared.codes,
    };
    port.append(append, credit, budget);
    Ok(())
}

/// Asks every stripe.
fn scatter(
    core: &Core,
    port: &mut Port,
    space: &SpaceDescription,
    query: &Query<'_>,
    cue: &PreparedCue,
) {
    let similarity_min = match space.settings.metric {
        Metric::Cosine => query.similarity_min,
        // What is too little is left out once it is an activation.
        Metric::Dot | Metric::Euclidean => f32::NEG_INFINITY,
    };
    for number in 0..space.settings.stripes {
        let stripe = StripeKey { space: space.key, stripe: number };
        let recall = Recall {
            stripe,
            vector: cue.vector.clone(),
            codes: cue.codes.clone(),
            count: query.count.min(RECALL_RESULTS_MAX),
            width: query.width,
            isolation: query.isolation,
            similarity_min,
        };
        port.send(core.mesh().owner_of(stripe), Request::Recall(recall));
    }
}

/// Merges what the stripes found. A memory lies in the stripe of its id, so none is found twice.
async fn gather(
    core: &Core,
    port: &mut Port,
    space: &SpaceDescription,
    query: &Query<'_>,
) -> Result<Recollection, Failure> {
    let mut hits = Vec::new();
    let mut snapshot_sequence = 0;
    let mut rows = 0;
    for _ in 0..space.settings.stripes {
        let recalled: Recalled = match poll_fn(|cx| port.poll_reply(cx)).await {
            (_, Ok(Reply::Recalled(Ok(recalled)))) => recalled,
            (_, Ok(Reply::Recalled(Err(refusal)))) => return Err(refusal.into()),
            (_, Ok(other)) => panic!("asked for a recall, a shard answered {other:?}"),
            (_, Err(_)) => return Err(Failure::unavailable()),
        };
        hits.extend(recalled.hits);
        snapshot_sequence += recalled.snapshot.0;
        rows += u64::from(recalled.rows);
    }
    // Stable, so that equals stay in the stripes' own order.
    hits.sort_by(|a, b| b.similarity.total_cmp(&a.similarity));
    hits.truncate(query.count.min(RECALL_RESULTS_MAX) as usize);
    let SpaceSettings { metric, dimension, .. } = space.settings;
    let now = core.now();
    let found = hits.into_iter().map(|hit| Found::new(hit, metric, now));
    let found = found.filter(|found| found.activation >= query.similarity_min).collect();
    Ok(Recollection { found, snapshot_sequence, rows, dimension })
}

/// A similarity by the space's metric as a number from 0 to 1 that rises with it, and that a threshold can be set on
/// without knowing how long vectors are: the cosine; p / (1 + p) of a dot product p; 1 / (1 + d²) of a distance d. A
/// cosine or product below zero points away from the cue, and is 0.
fn activation(metric: Metric, similarity: f32) -> f32 {
    match metric {
        Metric::Cosine => similarity.clamp(0.0, 1.0),
        Metric::Dot => {
            let product = similarity.max(0.0);
            product / (1.0 + product)
        }
        Metric::Euclidean => 1.0 / (1.0 - similarity.min(0.0)),
    }
}

/// How sure a result is: what is not durable counts for 0.9 of its similarity at first and for half after a second,
/// because what should long be durable and is not may never be.
fn confidence(activation: f32, durability: Durability, age_micros: u64) -> f32 {
    match durability {
        Durability::Durable => activation,
        Durability::InFlight => {
            let age_s = (age_micros as f32 * 1e-6).min(1.0);
            activation * (0.9 - 0.4 * age_s)
        }
    }
}

/// The name of the space that a request means.
pub(crate) fn space_name(name: &str) -> Result<&str, Failure> {
    let name = if name.is_empty() { SPACE_NAME_DEFAULT } else { name };
    check_space_name(name)?;
    Ok(name)
}

fn invalid(fault: ContentFault) -> Failure {
    Failure::new(Code::InvalidArgument, format!("{} (field: {})", fault.message, fault.field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_flight_counts_less_the_older_it_is() {
        assert_eq!(confidence(0.8, Durability::Durable, 5_000_000), 0.8);
        assert!((confidence(0.8, Durability::InFlight, 0) - 0.72).abs() < 1e-6);
        assert!((confidence(0.8, Durability::InFlight, 500_000) - 0.56).abs() < 1e-6);
        assert!((confidence(0.8, Durability::InFlight, 9_000_000) - 0.40).abs() < 1e-6);
    }

    #[test]
    fn an_activation_rises_with_the_similarity_from_0_to_1() {
        assert_eq!(
            [-1.0, -0.2, 0.3, 1.0].map(|x| activation(Metric::Cosine, x)),
            [0.0, 0.0, 0.3, 1.0]
        );
        assert_eq!(
            [-5.0, 0.0, 1.0, 3.0].map(|x| activation(Metric::Dot, x)),
            [0.0, 0.0, 0.5, 0.75]
        );
        let squares = [f32::NEG_INFINITY, -9.0, -1.0, 0.0];
        assert_eq!(squares.map(|x| activation(Metric::Euclidean, x)), [0.0, 0.1, 0.5, 1.0]);
        for metric in [Metric::Dot, Metric::Euclidean] {
            let ordered = [-1e24, -1e3, -2.0, -0.1, 0.0, 0.1, 2.0, 1e3, 1e24];
            let activations = ordered.map(|similarity| activation(metric, similarity));
            assert!(activations.is_sorted(), "{metric:?}: {activations:?}");
            assert!(activations.iter().all(|activation| (0.0..=1.0).contains(activation)));
        }
    }

    #[test]
    fn an_empty_space_name_is_the_default_one_and_a_bad_one_is_refused() {
        assert_eq!(space_name(""), Ok("default"));
        assert_eq!(space_name("robots-1"), Ok("robots-1"));
        for bad in ["ab", "Robots", "a b c", &"x".repeat(65)] {
            assert_eq!(space_name(bad).unwrap_err().code, Code::InvalidArgument, "{bad}");
        }
    }
}
