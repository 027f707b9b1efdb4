//! Memories that are to be forgotten: by their ids, or because they are like a cue.

use std::collections::BTreeSet;
use std::future::poll_fn;

use engram_shards::ids::StripeKey;
use engram_shards::limits::ID_BYTES_MAX;
use engram_shards::message::{Forget, ForgetMode, Reply, Request, SpaceDescription};

use crate::core::Core;
use crate::failure::{Code, Failure};
use crate::recall::{Query, recall};
use crate::space_name::space_name;

/// Which memories are to be forgotten.
#[derive(Clone, Debug)]
pub enum Target<'a> {
    /// The one of this id.
    Id(&'a str),
    /// Those that this query recalls.
    Like(Query<'a>),
}

/// Forgets memories of the space called `space` (empty means `default`). No recall that is asked for after the answer
/// gives one of them, whatever becomes of the server. Says how many there were.
pub async fn forget(
    core: &Core,
    space: &str,
    target: Target<'_>,
    mode: ForgetMode,
) -> Result<u32, Failure> {
    let description = core.space(space_name(space)?).await?;
    match target {
        Target::Id(id) => {
            check_id(id)?;
            forget_each(core, &description, [id].into(), mode).await
        }
        Target::Like(query) => {
            let recollection = recall(core, space, &query).await?;
            let ids = recollection.found.iter().map(|found| found.observation().id).collect();
            forget_each(core, &description, ids, mode).await
        }
    }
}

async fn forget_each(
    core: &Core,
    space: &SpaceDescription,
    ids: BTreeSet<&str>,
    mode: ForgetMode,
) -> Result<u32, Failure> {
    let mut port = core.port();
    for id in &ids {
        let memory_hash = core.secret().memory_hash(id);
        let number = (memory_hash % u64::from(space.settings.stripes)) as u16;
        let stripe = StripeKey { space: space.key, stripe: number };
        let forget = Forget { stripe, memory_hash, id: Box::from(*id), mode };
        port.send(core.mesh().owner_of(stripe), Request::Forget(forget));
    }
    let mut count = 0;
    for _ in &ids {
        count += match poll_fn(|cx| port.poll_reply(cx)).await {
            (_, Ok(Reply::Forgotten(Ok(count)))) => count,
            (_, Ok(Reply::Forgotten(Err(refusal)))) => return Err(refusal.into()),
            (_, Ok(other)) => panic!("asked to forget, a shard answered {other:?}"),
            (_, Err(_)) => return Err(Failure::unavailable()),
        };
    }
    Ok(count)
}

fn check_id(id: &str) -> Result<(), Failure> {
    match id.len() {
        0 => Err(Failure::new(Code::InvalidArgument, "neither a memory's id nor a pattern")),
        1..=ID_BYTES_MAX => Ok(()),
        _ => Err(Failure::new(Code::InvalidArgument, "Field too large: memory_id")),
    }
}
