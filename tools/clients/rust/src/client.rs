//! One server.

use engram_proto::engram::v1 as wire;
use engram_proto::engram::v1::forget_request::Target;
use engram_proto::engram::v1::remember_request::MemoryType;
use tonic::transport::Channel;

use crate::calls::Calls;
use crate::error::Error;
use crate::events::{Events, Subscription};
use crate::session::Session;
use crate::types::{ForgetMode, Memory, Observation, Recall, Recollection, SessionOptions};

/// One server. Clones share its connection, which is made when it is needed, and again when it was lost.
#[derive(Clone, Debug)]
pub struct Client {
    calls: Calls,
}

impl Client {
    /// A server at an address like `http://127.0.0.1:50051`; connects with the first call.
    pub fn new(address: &str) -> Result<Client, Error> {
        Ok(Client { calls: Calls::new(address)? })
    }

    /// Over a channel made by other rules: TLS, a proxy, another connector.
    pub fn over(channel: Channel) -> Client {
        Client { calls: Calls::over(channel) }
    }

    /// Begins a session in `space`, or resumes that of [`SessionOptions::resume`], for which the space may be empty.
    pub async fn open_session(
        &self,
        space: &str,
        options: SessionOptions,
    ) -> Result<Session, Error> {
        Session::open(self.calls.clone(), space, options).await
    }

    /// Stores one observation without a session; returns its memory's id once it is durable. Tried again after a lost
    /// connection it may be stored twice, unless it has an id.
    pub async fn remember(&self, space: &str, observation: Observation) -> Result<String, Error> {
        let request = wire::RememberRequest {
            memory_space_id: space.to_owned(),
            memory_type: Some(MemoryType::Episode(observation.into_wire())),
            ..wire::RememberRequest::default()
        };
        let stored: wire::RememberResponse = self.calls.unary("Remember", request).await?;
        Ok(stored.memory_id)
    }

    /// The memories nearest to the cue.
    pub async fn recall(&self, space: &str, recall: Recall) -> Result<Recollection, Error> {
        let mut pages = self
            .calls
            .answers::<_, wire::StreamingRecallResponse>("RecallStream", recall.into_wire(space))
            .await?;
        let mut recollection = Recollection::default();
        while let Some(page) = pages.message().await.map_err(|status| Error::of_status(&status))? {
            recollection.memories.extend(page.results.into_iter().map(Memory::from));
            recollection.snapshot_sequence = page.snapshot_sequence;
        }
        Ok(recollection)
    }

    /// Forgets one memory; returns whether there was one. It is durable before this returns.
    pub async fn forget(
        &self,
        space: &str,
        memory_id: &str,
        mode: ForgetMode,
    ) -> Result<bool, Error> {
        let request = wire::ForgetRequest {
            memory_space_id: space.to_owned(),
            target: Some(Target::MemoryId(memory_id.to_owned())),
            mode: match mode {
                ForgetMode::Suppress => wire::ForgetMode::Suppress,
                ForgetMode::Delete => wire::ForgetMode::Delete,
            }
            .into(),
        };
        let forgotten: wire::ForgetResponse = self.calls.unary("Forget", request).await?;
        Ok(forgotten.memories_affected > 0)
    }

    /// Events of `space`; returns once none is missed any more.
    pub async fn subscribe(
        &self,
        space: &str,
        subscription: &Subscription,
    ) -> Result<Events, Error> {
        Events::subscribe(self.calls.clone(), space, subscription).await
    }
}
