//! Beginning and resuming a session.

use std::future::poll_fn;

use engram_shards::ids::{SessionEpoch, SessionId, StripeKey};
use engram_shards::message::{
    IfExists, OpenIntent, Refusal, Reply, Request, SessionOpened, SpaceDescription,
};
use uuid::Uuid;

use super::event::Init;
use crate::core::Core;
use crate::failure::{Code, Failure};
use crate::mesh::{CoreIndex, Port};
use crate::space_name::{check_space_name, default_settings};

/// One stripe of the space, as this session is attached to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attached {
    pub(super) stripe: StripeKey,
    pub(super) owner: CoreIndex,
    pub(super) epoch: SessionEpoch,
}

/// What opening gives.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) id: SessionId,
    pub(super) space: SpaceDescription,
    pub(super) durable_sequence: u64,
    pub(super) port: Port,
    pub(super) stripes: Vec<Attached>,
}

/// Begins a session, or resumes the one that `init` names.
pub(super) async fn open(core: &Core, init: &Init) -> Result<Opened, Failure> {
    if init.resume.is_empty() {
        check_space_name(&init.space)?;
        let settings = default_settings(&init.space);
        let (space, _) = core.make_space(settings, IfExists::Take).await?;
        let id = SessionId(Uuid::new_v4().as_u128());
        attach(core, id, space, OpenIntent::Begin).await
    } else {
        let (id, space) = find(core, &init.resume).await?;
        if !init.space.is_empty() && init.space != space.settings.name {
            let message =
                format!("Invalid memory_space_id: session {} is of another space", init.resume);
            return Err(Failure::new(Code::InvalidArgument, message));
        }
        attach(core, id, space, OpenIntent::Resume).await
    }
}

/// Asks every shard for the session, since its id does not say where it lies.
async fn find(core: &Core, text: &str) -> Result<(SessionId, SpaceDescription), Failure> {
    let unknown =
        || Failure::new(Code::NotFound, format!("Session error: Session not found: {text}"));
    let id = SessionId(Uuid::try_parse(text).map_err(|_| unknown())?.as_u128());
    let mut missing = unknown();
    for index in 0..core.mesh().cores() {
        match core.mesh().call(CoreIndex(index), Request::FindSession(id)).await {
            Ok(Reply::Space(Ok((space, _)))) => return Ok((id, space)),
            Ok(Reply::Space(Err(Refusal::UnknownSession))) => {}
            Ok(Reply::Space(Err(refusal))) => missing = Failure::from(refusal),
            Ok(other) => panic!("asked for a session, a shard answered {other:?}"),
            // It may be this shard that knows it.
            Err(_) => missing = Failure::unavailable(),
        }
    }
    Err(missing)
}

/// Attaches the session to every stripe of its space.
async fn attach(
    core: &Core,
    session: SessionId,
    space: SpaceDescription,
    intent: OpenIntent,
) -> Result<Opened, Failure> {
    let count = space.settings.stripes;
    assert!(count >= 1, "a space has a stripe");
    if intent == OpenIntent::Resume && count > 1 {
        // The marks of several stripes do not tell where the unbroken run over all of them ends.
        let message = "a session of a space on several cores cannot be resumed; begin a new one";
        return Err(Failure::new(Code::Unimplemented, message));
    }
    let mut port = core.port();
    let mut stripes = Vec::with_capacity(usize::from(count));
    let mut durable_sequence = 0;
    for number in 0..count {
        let stripe = StripeKey { space: space.key, stripe: number };
        let owner = core.mesh().owner_of(stripe);
        port.send(owner, Request::OpenSession { stripe, session, intent });
        let opened = opened(&mut port, session).await?;
        durable_sequence = opened.durable_sequence;
        stripes.push(Attached { stripe, owner, epoch: opened.epoch });
    }
    Ok(Opened { id: session, space, durable_sequence, port, stripes })
}

async fn opened(port: &mut Port, session: SessionId) -> Result<SessionOpened, Failure> {
    match poll_fn(|cx| port.poll_reply(cx)).await {
        (_, Ok(Reply::Session(Ok(opened)))) => Ok(opened),
        (_, Ok(Reply::Session(Err(Refusal::UnknownSession)))) => {
            let id = Uuid::from_u128(session.0);
            Err(Failure::new(Code::NotFound, format!("Session error: Session not found: {id}")))
        }
        (_, Ok(Reply::Session(Err(refusal)))) => Err(Failure::from(refusal)),
        (_, Ok(Reply::Fenced { .. })) => {
            Err(Failure::new(Code::Aborted, "Session taken over by another connection"))
        }
        (_, Ok(other)) => panic!("opening a session, a shard answered {other:?}"),
        (_, Err(_)) => Err(Failure::unavailable()),
    }
}
