//! What everything on one core shares: its end of the mesh, its settings, its knowledge of spaces.

use std::cell::{RefCell, RefMut};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use engram_shards::ids::{FolderSecret, SpaceKey, StripeKey, Time};
use engram_shards::limits::{CAPACITY_DEFAULT, RECORD_CACHE_BYTES_DEFAULT};
use engram_shards::message::{
    IfExists, Made, Refusal, Reply, Request, ShardStatus, SpaceDescription,
};
use engram_shards::quality::RecallTarget;
use engram_shards::settings::{AckPolicy, SpaceSettings};

use crate::chaos::Chaos;
use crate::clock::Clock;
use crate::failure::{Code, Failure};
use crate::limits::{self, SHARD_FAILURES_WINDOW};
use crate::mesh::{CoreIndex, Mesh, Port, ShardState, Unavailable};
use crate::metrics::Metrics;
use crate::turnstile::Turns;

/// What the server was started with, as far as connections need to know.
#[derive(Clone, Debug, PartialEq)]
pub struct ServeSettings {
    /// Connections open at once, of all cores together.
    pub connections_max: u32,
    /// Bytes that one core lends to its connections, at most.
    pub request_memory_bytes: usize,
    /// Longest message on either transport, in bytes.
    pub message_bytes_max: usize,
    /// Observations admitted and still waiting, at most, of one shard.
    pub capacity: u32,
    /// The recall that each space holds; none: no sampling, no refining.
    pub recall_target: Option<RecallTarget>,
    /// Bytes of records that one core keeps at hand for recalls, at most; 0: none.
    pub record_cache_bytes: u64,
    /// What an ack means.
    pub durability: AckPolicy,
    /// How long a session keeps its memory while its client is silent.
    pub session_silence: Duration,
    /// Requests of one core that may be between socket and owner.
    pub between_requests_max: u32,
    /// Bytes of the same.
    pub between_bytes_max: usize,
    /// What tests may do to it.
    pub chaos: Chaos,
    /// Origins of web pages, beside the server's own, whose WebSockets are served.
    pub origins: Vec<String>,
}

impl Default for ServeSettings {
    fn default() -> ServeSettings {
        ServeSettings {
            connections_max: limits::CONNECTIONS_MAX_DEFAULT,
            request_memory_bytes: limits::LOANS_BYTES_DEFAULT,
            message_bytes_max: limits::MESSAGE_BYTES_MAX_DEFAULT,
            capacity: CAPACITY_DEFAULT,
            recall_target: Some(RecallTarget::default()),
            record_cache_bytes: RECORD_CACHE_BYTES_DEFAULT,
            durability: AckPolicy::default(),
            session_silence: limits::SESSION_SILENCE_DEFAULT,
            between_requests_max: limits::BETWEEN_REQUESTS_MAX,
            between_bytes_max: limits::BETWEEN_BYTES_MAX,
            chaos: Chaos::default(),
            origins: Vec::new(),
        }
    }
}

/// Whether the process serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// At least one shard reads its log.
    Recovering,
    /// All shards serve, and every core knows it.
    Ready,
    /// The server was told to stop.
    Draining,
    /// At least one shard stays down.
    Failed,
}

/// One core's context. Cheap to clone; stays on its core.
#[derive(Clone, Debug)]
pub struct Core {
    inner: Rc<Inner>,
}

#[derive(Debug)]
struct Inner {
    mesh: Mesh,
    clock: Clock,
    secret: FolderSecret,
    settings: ServeSettings,
    /// Spaces that were asked for and are there; a space never changes.
    spaces: RefCell<HashMap<SpaceKey, SpaceDescription>>,
}

impl Core {
    /// A core's context.
    pub fn new(mesh: Mesh, clock: Clock, secret: FolderSecret, settings: ServeSettings) -> Core {
        Core { inner: Rc::new(Inner { mesh, clock, secret, settings, spaces: RefCell::default() }) }
    }

    /// This core's end of the mesh.
    pub fn mesh(&self) -> &Mesh {
        &self.inner.mesh
    }

    /// A new port of it.
    pub fn port(&self) -> Port {
        self.mesh().port()
    }

    /// The turns of a stream.
    pub fn turns(&self) -> Turns {
        self.inner.mesh.turnstile().turns()
    }

    /// The time now.
    pub fn now(&self) -> Time {
        self.inner.clock.now()
    }

    /// The folder's secret.
    pub fn secret(&self) -> FolderSecret {
        self.inner.secret
    }

    /// What the server was started with.
    pub fn settings(&self) -> &ServeSettings {
        &self.inner.settings
    }

    /// Whether the process serves.
    pub fn readiness(&self) -> Readiness {
        let shards = self.mesh().shards();
        match shards.iter().all(|shard| *shard == ShardState::Known) {
            _ if shards.contains(&ShardState::Failed) => Readiness::Failed,
            _ if self.is_stopping() => Readiness::Draining,
            true => Readiness::Ready,
            false => Readiness::Recovering,
        }
    }

    /// Why the process does not serve, for a person; none where it does.
    pub fn unready_reason(&self) -> Option<String> {
        let shards = self.mesh().shards();
        let cores_of = |states: &[ShardState]| {
            let of_state = shards.iter().enumerate().filter(|(_, shard)| states.contains(shard));
            of_state.map(|(core, _)| core.to_string()).collect::<Vec<_>>().join(", ")
        };
        match self.readiness() {
            Readiness::Ready => None,
            Readiness::Draining => Some("the server was told to stop".to_owned()),
            Readiness::Recovering => Some(format!(
                "the shards of these cores read their logs: {}",
                cores_of(&[ShardState::Recovering, ShardState::Ready])
            )),
            Readiness::Failed => Some(format!(
                "the shards of these cores failed {} times within {} s and stay down until the \
                 server is started anew: {}; `engram check` tells what they said",
                self.settings().chaos.shard_failures_max,
                SHARD_FAILURES_WINDOW.as_secs(),
                cores_of(&[ShardState::Failed])
            )),
        }
    }

    /// The space called `name`. NOT_FOUND where there is none, UNAVAILABLE where its shard does not
    /// answer. What is once known is not asked again: settings never change.
    pub async fn space(&self, name: &str) -> Result<SpaceDescription, Failure> {
        let key = self.secret().space_key(name);
        if let Some(known) = self.inner.spaces.borrow().get(&key) {
            return Ok(known.clone());
        }
        let owner = self.mesh().owner_of(StripeKey { space: key, stripe: 0 });
        let (space, _) =
            space_of(self.mesh().call(owner, Request::DescribeSpace(key)).await, name)?;
        Ok(self.note(space))
    }

    /// Makes a space, durably, on every stripe, or takes the one that is there. ALREADY_EXISTS
    /// where it is there with other settings and they must be the same.
    pub async fn make_space(
        &self,
        settings: SpaceSettings,
        if_exists: IfExists,
    ) -> Result<(SpaceDescription, Made), Failure> {
        let key = self.secret().space_key(&settings.name);
        let stripes = (0..settings.stripes)
            .map(|stripe| self.mesh().owner_of(StripeKey { space: key, stripe }));
        let mut owners = Vec::new();
        stripes.for_each(|owner| {
            if !owners.contains(&owner) {
                owners.push(owner);
            }
        });
        let mut made = None;
        for owner in owners {
            // In the order of the stripes: whoever makes the first decides the settings.
            let request = Request::CreateSpace { settings: settings.clone(), if_exists };
            let (space, when) = space_of(self.mesh().call(owner, request).await, &settings.name)?;
            made = match made {
                Some((first, Made::Now)) => Some((first, Made::Now)),
                _ => Some((space, when)),
            };
        }
        let (space, made) = made.expect("a space has a stripe");
        Ok((self.note(space), made))
    }

    /// What every shard has and does.
    pub async fn status(&self) -> Vec<(CoreIndex, Result<ShardStatus, Unavailable>)> {
        let mut statuses = Vec::new();
        for core in (0..self.mesh().cores()).map(CoreIndex) {
            let status = match self.mesh().call(core, Request::Status).await {
                Ok(Reply::Status(status)) => Ok(status),
                Ok(other) => unreachable!("a status is asked for: {other:?}"),
                Err(unavailable) => Err(unavailable),
            };
            statuses.push((core, status));
        }
        statuses
    }

    /// This core's counters, to be updated. To be held for one statement, never across an await.
    pub fn metrics(&self) -> RefMut<'_, Metrics> {
        self.mesh().metrics()
    }

    /// A copy of every core's counters.
    pub async fn reports(&self) -> Vec<(CoreIndex, Metrics)> {
        self.mesh().reports().await
    }

    /// Whether the server was told to stop.
    pub fn is_stopping(&self) -> bool {
        self.mesh().stopping().is_given()
    }

    /// Ends when the server is told to stop; at once where it was. Each connection waits for it
    /// beside its work.
    pub async fn stopping(&self) {
        self.mesh().stopping().wait().await;
    }

    fn note(&self, space: SpaceDescription) -> SpaceDescription {
        self.inner.spaces.borrow_mut().insert(space.key, space.clone());
        space
    }
}

/// What an owner says of a space, in the words of the wire contract.
fn space_of(
    reply: Result<Reply, Unavailable>,
    name: &str,
) -> Result<(SpaceDescription, Made), Failure> {
    let refusal = match reply {
        Ok(Reply::Space(Ok(space))) => return Ok(space),
        Ok(Reply::Space(Err(refusal))) => refusal,
        Ok(other) => unreachable!("a space is asked for: {other:?}"),
        Err(Unavailable) => Refusal::Unavailable,
    };
    Err(match refusal {
        Refusal::UnknownSpace => {
            Failure::new(Code::NotFound, format!("Memory space not found: {name}"))
        }
        Refusal::SpaceDiffers(_) => {
            let message = format!("Memory space exists with other settings: {name}");
            Failure::new(Code::AlreadyExists, message)
        }
        Refusal::KeyTaken => {
            Failure::new(Code::AlreadyExists, format!("Memory space name is not free: {name}"))
        }
        Refusal::DiskFull => Failure::new(Code::ResourceExhausted, "The disk is full"),
        Refusal::Unavailable => {
            Failure::new(Code::Unavailable, "The shard does not answer; try again")
        }
        other => Failure::new(Code::Internal, format!("A shard refused a space: {other:?}")),
    })
}
