//! Observations that belong to no session, whatever their transport.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use engram_shards::attributes::Attributes;
use engram_shards::ids::{SessionEpoch, SessionId, StripeKey, Time};
use engram_shards::log::record::Observation;
use engram_shards::message::{Append, IfExists, Lane, Reply, SpaceDescription};
use uuid::Uuid;

use crate::content;
use crate::core::Core;
use crate::failure::Failure;
use crate::mesh::{CreditAnswer, Port};
use crate::space_name::{default_settings, space_name};

/// An observation that was stored by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The memory's id.
    pub memory_id: String,
    /// When it was committed; none where that it was written is all that is promised.
    pub committed_at: Option<Time>,
}

/// Stores one observation, durably, in the space called `space` (empty means `default`; made if it is not there). An
/// empty id stands for `mem_{UUIDv7}`.
pub async fn remember(
    core: &Core,
    space: &str,
    observation: &Observation<'_>,
) -> Result<Stored, Failure> {
    let mut storing = store(core, space, observation).await?;
    poll_fn(|cx| storing.poll_stored(cx)).await
}

/// Begins to store one observation, as [`remember`] does: ends once it is handed to its owner, so that of two of one id,
/// stored one after the other, the second replaces the first.
pub async fn store(
    core: &Core,
    space: &str,
    observation: &Observation<'_>,
) -> Result<Storing, Failure> {
    let settings = default_settings(space_name(space)?);
    let (space, _) = core.make_space(settings, IfExists::Take).await?;
    let memory_id = match observation.id {
        "" => format!("mem_{}", Uuid::now_v7()),
        own => own.to_owned(),
    };
    let mut port = core.port();
    append(core, &mut port, &space, &Observation { id: &memory_id, ..observation.clone() }).await?;
    Ok(Storing { port, memory_id })
}

/// An observation that was handed to its owner.
#[derive(Debug)]
pub struct Storing {
    port: Port,
    memory_id: String,
}

impl Storing {
    /// Ready once it is durable; not to be polled again then.
    pub fn poll_stored(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stored, Failure>> {
        Poll::Ready(match ready!(self.port.poll_reply(cx)) {
            (_, Ok(Reply::Durable { committed_at, .. })) => {
                Ok(Stored { memory_id: std::mem::take(&mut self.memory_id), committed_at })
            }
            (_, Ok(Reply::Dropped { refusal, .. })) => Err(refusal.into()),
            (_, Ok(other)) => panic!("about an append, a shard answered {other:?}"),
            (_, Err(_)) => Err(Failure::unavailable()),
        })
    }
}

/// Hands an observation that belongs to no session to its owner.
async fn append(
    core: &Core,
    port: &mut Port,
    space: &SpaceDescription,
    observation: &Observation<'_>,
) -> Result<(), Failure> {
    let prepared = content::prepare(observation, &space.settings, &mut Vec::new())?;
    let memory_hash = core.secret().memory_hash(observation.id);
    let number = (memory_hash % u64::from(space.settings.stripes)) as u16;
    let stripe = StripeKey { space: space.key, stripe: number };
    let lane = Lane::Normal;
    let credit = match poll_fn(|cx| port.poll_credit(cx, stripe, lane)).await {
        CreditAnswer::Taken(credit) => credit,
        CreditAnswer::Refused(pressure) => {
            return Err(Failure::over_capacity(pressure));
        }
        CreditAnswer::Unavailable => return Err(Failure::unavailable()),
    };
    let bytes = prepared.body.bytes.len() + prepared.codes.codes8.len();
    let budget = poll_fn(|cx| port.poll_budget(cx, bytes)).await;
    let received_at = core.now();
    let append = Append {
        stripe,
        session: SessionId::NONE,
        epoch: SessionEpoch::default(),
        sequence: 1,
        memory_hash,
        received_at,
        lane,
        body: prepared.body,
        codes: prepared.codes,
        attributes: Attributes::of(observation, received_at, &core.secret()),
    };
    port.append(append, credit, budget);
    Ok(())
}
