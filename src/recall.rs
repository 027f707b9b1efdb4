//! Recalls, whatever their transport.
//!
//! ```text
//!  Query ─► Asked ─► every stripe of the space ─► Recollection ─► Pages ─► transport
//! ```

use std::cmp::Reverse;
use std::future::poll_fn;
use std::iter::Peekable;
use std::task::{Context, Poll, ready};

use engram_shards::attributes::{Criteria, Filter, Moment, when_of};
use engram_shards::ids::{StripeKey, Time};
use engram_shards::limits::{RECALL_BYTES_MAX, RECALL_RESULTS_MAX};
use engram_shards::log::record::{Embedding, Observation, decode_body};
use engram_shards::message::{
    Cue, Durability, Hit, Isolation, Recall, Recalled, Reply, Request, SpaceDescription,
};
use engram_shards::settings::{Metric, SpaceSettings};

use crate::content;
use crate::core::Core;
use crate::cores::CoreIndex;
use crate::failure::Failure;
use crate::limits::{
    RECALL_PAGE_BYTES_MAX, RECALL_PAGE_RESULTS_DEFAULT, RESULT_BYTES_MAX, RESULT_TOLD_COPIES,
};
use crate::loans::Loan;
use crate::mesh::Port;
use crate::space_name::space_name;

/// A query.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    /// The cue; none: the newest memories are wanted, whatever they are like.
    pub embedding: Option<Embedding<'a>>,
    /// How many results at most; more than [`RECALL_RESULTS_MAX`] are not given.
    pub count: u32,
    /// Search width; 0 means the default.
    pub width: u32,
    /// Which rows it may see …
    pub isolation: Isolation,
    /// … and when; none: now.
    pub as_of: Option<Time>,
    /// Results of less activation are left out; where angles are compared, also such below zero are told apart.
    pub similarity_min: f32,
    /// What else results must be.
    pub criteria: Criteria,
}

/// What a recall found.
#[derive(Debug)]
pub struct Recollection {
    /// Best first.
    pub found: Vec<Found>,
    /// What is told of all of them together.
    pub summary: Summary,
    /// What they take, and what is told of a page of them.
    room: Loan,
}

impl Recollection {
    /// The same, with what it takes to tell all of it at once instead of page by page.
    pub fn to_be_told_whole(mut self) -> Result<Recollection, Failure> {
        let bytes = (1 + RESULT_TOLD_COPIES) * bytes_of(&self.found);
        match self.room.grow(bytes) {
            true => Ok(self),
            false => Err(Failure::out_of_memory()),
        }
    }
}

/// What is told of a recall beside its results.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// How many results there are.
    pub results: usize,
    /// The mean of their activations; 0 where there is none.
    pub activation_mean: f32,
    /// Observations durable in the space when the recall began.
    pub snapshot_sequence: u64,
    /// Rows that the recall could see.
    pub rows: u64,
    /// The space's dimension.
    pub dimension: u16,
    /// From the question to the answer.
    pub took_micros: u64,
}

/// One result.
#[derive(Clone, Debug, PartialEq)]
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
    fn new(activation: f32, hit: Hit, now: Time) -> Found {
        Found {
            activation,
            confidence: confidence(activation, hit.durability, now.micros_since(hit.received_at)),
            durability: hit.durability,
            received_at: hit.received_at,
            committed_at: hit.committed_at,
            body: hit.body,
        }
    }

    /// Bytes that it takes.
    fn bytes(&self) -> usize {
        size_of::<Found>() + self.body.len()
    }

    /// What was observed.
    pub fn observation(&self) -> Observation<'_> {
        decode_body(&self.body).expect("the shard checked this body before it compared its vector")
    }
}

/// Searches the space called `space` (empty means `default`), all its stripes.
pub async fn recall(core: &Core, space: &str, query: &Query<'_>) -> Result<Recollection, Failure> {
    let mut asked = ask(core, space, query).await?;
    poll_fn(|cx| asked.poll_answer(cx)).await
}

/// Begins to search the space called `space` (empty means `default`).
pub async fn ask(core: &Core, space: &str, query: &Query<'_>) -> Result<Asked, Failure> {
    let space = core.space(space_name(space)?).await?;
    Asked::new(core, &space, query)
}

/// A recall that every stripe of its space was asked for; dropped before it is answered, it ends there too.
#[derive(Debug)]
pub struct Asked {
    core: Core,
    port: Port,
    space: SpaceDescription,
    began_at: Time,
    order: Order,
    count: u32,
    similarity_min: f32,
    stripes_left: u16,
    hits: Vec<Hit>,
    snapshot_sequence: u64,
    rows: u64,
    /// What the results may take.
    room: Loan,
}

impl Asked {
    /// Asks the stripes of `space`.
    pub fn new(core: &Core, space: &SpaceDescription, query: &Query<'_>) -> Result<Asked, Failure> {
        let began_at = core.now();
        let order = if query.embedding.is_some() { Order::Likeness } else { Order::Recency };
        let cue = match query.embedding {
            Some(embedding) => content::prepare_cue(embedding, &space.settings)?,
            None => Cue::Newest,
        };
        let count = query.count.min(RECALL_RESULTS_MAX);
        let stripes = usize::from(space.settings.stripes);
        let bytes = (count as usize * RESULT_BYTES_MAX).min(RECALL_BYTES_MAX as usize) * stripes;
        let room = Loan::take(bytes).ok_or_else(Failure::out_of_memory)?;
        let port = core.port();
        scatter(core, &port, space, query, &cue);
        Ok(Asked {
            core: core.clone(),
            port,
            space: space.clone(),
            began_at,
            order,
            count,
            similarity_min: query.similarity_min,
            stripes_left: space.settings.stripes,
            hits: Vec::new(),
            snapshot_sequence: 0,
            rows: 0,
            room,
        })
    }

    /// What all stripes together found, once they have answered; not to be polled again then.
    pub fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Recollection, Failure>> {
        while self.stripes_left > 0 {
            let recalled: Recalled = match ready!(self.port.poll_reply(cx)) {
                (_, Ok(Reply::Recalled(Ok(recalled)))) => recalled,
                (_, Ok(Reply::Recalled(Err(refusal)))) => return Poll::Ready(Err(refusal.into())),
                (_, Ok(other)) => panic!("asked for a recall, a shard answered {other:?}"),
                (_, Err(_)) => return Poll::Ready(Err(Failure::unavailable())),
            };
            self.stripes_left -= 1;
            self.hits.extend(recalled.hits);
            self.snapshot_sequence += recalled.snapshot.0;
            self.rows += u64::from(recalled.rows);
        }
        Poll::Ready(Ok(self.merge()))
    }

    /// Merges what the stripes found. A memory lies in the stripe of its id, so none is found twice.
    fn merge(&mut self) -> Recollection {
        let mut hits = std::mem::take(&mut self.hits);
        // Stable, so that equals stay in the stripes' own order.
        match self.order {
            Order::Likeness => hits.sort_by(|a, b| b.similarity.total_cmp(&a.similarity)),
            Order::Recency => hits.sort_by_cached_key(|hit| Reverse(happened_at(hit))),
        }
        hits.truncate(self.count as usize);
        let SpaceSettings { metric, dimension, .. } = self.space.settings;
        let now = self.core.now();
        let activation_of = |hit: &Hit| match self.order {
            Order::Likeness => activation(metric, hit.similarity),
            Order::Recency => 1.0,
        };
        let found = hits.into_iter().map(|hit| Found::new(activation_of(&hit), hit, now));
        let found: Vec<Found> =
            found.filter(|found| found.activation >= self.similarity_min).collect();
        let took_micros = now.micros_since(self.began_at);
        let mut metrics = self.core.metrics();
        metrics.space(self.space.key).recall_latency.observe(took_micros as f64 * 1e-6);
        let summary = Summary {
            results: found.len(),
            activation_mean: activation_mean(&found),
            snapshot_sequence: self.snapshot_sequence,
            rows: self.rows,
            dimension,
            took_micros,
        };
        let mut room = std::mem::take(&mut self.room);
        room.shrink(told_bytes(&found));
        Recollection { found, summary, room }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if self.stripes_left == 0 {
            return;
        }
        let mut owners: Vec<CoreIndex> = (0..self.space.settings.stripes)
            .map(|stripe| self.core.mesh().owner_of(StripeKey { space: self.space.key, stripe }))
            .collect();
        owners.sort_unstable();
        owners.dedup();
        for owner in owners {
            self.port.send(owner, Request::AbandonRecalls);
        }
    }
}

/// What results take, with what is told of one page of them.
fn told_bytes(found: &[Found]) -> usize {
    let bytes = bytes_of(found);
    bytes + RESULT_TOLD_COPIES * bytes.min(RECALL_PAGE_BYTES_MAX + RESULT_BYTES_MAX)
}

fn bytes_of(found: &[Found]) -> usize {
    found.iter().map(Found::bytes).sum()
}

fn activation_mean(found: &[Found]) -> f32 {
    let sum: f32 = found.iter().map(|found| found.activation).sum();
    if found.is_empty() { 0.0 } else { sum / found.len() as f32 }
}

/// A recollection on its way to a client, page by page.
#[derive(Debug)]
pub struct Pages {
    found: Peekable<std::vec::IntoIter<Found>>,
    page_results: usize,
    summary: Summary,
    /// Until all is told, the last page included.
    _room: Loan,
}

/// Some of what a recall found.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Best first, never empty.
    pub found: Vec<Found>,
    /// Whether another page follows.
    pub more_results: bool,
}

impl Pages {
    /// Pages of `page_results`; 0: of as many as the server chooses.
    pub fn new(recollection: Recollection, page_results: u32) -> Pages {
        let page_results = match page_results {
            0 => RECALL_PAGE_RESULTS_DEFAULT,
            asked => asked as usize,
        };
        let Recollection { found, summary, room } = recollection;
        Pages { found: found.into_iter().peekable(), page_results, summary, _room: room }
    }

    /// The next page, which may hold `results_max` at most; none after the last.
    pub fn next_page(&mut self, results_max: usize) -> Option<Page> {
        assert!(results_max > 0, "a page holds something");
        let (mut found, mut bytes) = (Vec::new(), 0);
        while found.len() < self.page_results.min(results_max)
            && let Some(next) = self
                .found
                .next_if(|next| found.is_empty() || bytes + next.bytes() <= RECALL_PAGE_BYTES_MAX)
        {
            bytes += next.bytes();
            found.push(next);
        }
        let more_results = self.found.len() > 0;
        (!found.is_empty()).then_some(Page { found, more_results })
    }

    /// Whether a page is left.
    pub fn has_more(&self) -> bool {
        self.found.len() > 0
    }

    /// What is told of all pages together.
    pub fn summary(&self) -> Summary {
        self.summary
    }
}

/// By what results are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// How like the cue they are.
    Likeness,
    /// When they happened, the newest first.
    Recency,
}

fn happened_at(hit: &Hit) -> Moment {
    let observation = decode_body(&hit.body).expect("the shard checked this body");
    when_of(&observation, hit.received_at)
}

/// Asks every stripe.
fn scatter(core: &Core, port: &Port, space: &SpaceDescription, query: &Query<'_>, cue: &Cue) {
    let similarity_min = match space.settings.metric {
        Metric::Cosine => query.similarity_min,
        // What is too little is left out once it is an activation.
        Metric::Dot | Metric::Euclidean => f32::NEG_INFINITY,
    };
    let asks_nothing = query.criteria == Criteria::default();
    let filter =
        (!asks_nothing).then(|| Box::new(Filter::new(query.criteria.clone(), &core.secret())));
    for number in 0..space.settings.stripes {
        let stripe = StripeKey { space: space.key, stripe: number };
        let recall = Recall {
            stripe,
            cue: cue.clone(),
            count: query.count.min(RECALL_RESULTS_MAX),
            width: query.width,
            isolation: query.isolation,
            as_of: query.as_of,
            similarity_min,
            filter: filter.clone(),
        };
        port.send(core.mesh().owner_of(stripe), Request::Recall(recall));
    }
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
}
