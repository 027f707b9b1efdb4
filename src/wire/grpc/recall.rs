//! RecallStream, Recall, Remember and Forget.

use engram_proto::engram::v1::remember_request::MemoryType as Remembered;
use engram_proto::engram::v1::{
    ConsolidationState, ForgetRequest, ForgetResponse, RecallRequest, RecallResponse,
    RememberRequest, RememberResponse, StreamingRecallRequest, StreamingRecallResponse,
};

use engram_shards::message::ForgetMode;

use super::Call;
use crate::failure::{Code, Failure};
use crate::forget;
use crate::limits::RECALL_PAGE_RESULTS_DEFAULT;
use crate::recall;
use crate::wire::convert;

/// Pages of results, then one message with the metadata.
pub(super) async fn recall_stream(call: &mut Call) -> Result<(), Failure> {
    let core = call.core.clone();
    let began_at = core.now();
    let request: StreamingRecallRequest = call.request().await?;
    let query = convert::streaming_query(&request)?;
    let recollection = call.unless_gone(recall::recall(&core, query)).await?;
    let dimension = request.include_embeddings.then_some(recollection.dimension);
    let page_size = match request.page_size {
        0 => RECALL_PAGE_RESULTS_DEFAULT,
        asked => asked as usize,
    };
    let closing = StreamingRecallResponse {
        snapshot_sequence: recollection.snapshot_sequence,
        request_id: request.request_id,
        ..StreamingRecallResponse::default()
    };
    let mut pages = recollection.found.chunks(page_size).peekable();
    while let Some(page) = pages.next() {
        let response = StreamingRecallResponse {
            results: page.iter().map(|found| convert::memory(found, dimension)).collect(),
            more_results: pages.peek().is_some(),
            ..closing.clone()
        };
        call.respond(&response).await?;
    }
    let took_micros = core.now().micros_since(began_at);
    let metadata = Some(convert::recall_metadata(&recollection, took_micros));
    call.respond(&StreamingRecallResponse { metadata, ..closing }).await
}

/// One recall, one answer.
pub(super) async fn recall(call: &mut Call) -> Result<(), Failure> {
    let core = call.core.clone();
    let began_at = core.now();
    let request: RecallRequest = call.request().await?;
    let query = convert::unary_query(&request)?;
    let recollection = call.unless_gone(recall::recall(&core, query)).await?;
    let best = recollection.found.first().map_or(0.0, |found| found.confidence);
    let took_micros = core.now().micros_since(began_at);
    let response = RecallResponse {
        memories: recollection.found.iter().map(|found| convert::memory(found, None)).collect(),
        recall_confidence: Some(convert::confidence(best)),
        metadata: request
            .include_metadata
            .then(|| convert::recall_metadata(&recollection, took_micros)),
        traces: Vec::new(),
    };
    call.respond(&response).await
}

/// Stores one memory or episode; answers once it is durable.
pub(super) async fn remember(call: &mut Call) -> Result<(), Failure> {
    let core = call.core.clone();
    let request: RememberRequest = call.request().await?;
    let observation = match &request.memory_type {
        Some(Remembered::Episode(episode)) => convert::observation(episode),
        Some(Remembered::Memory(memory)) => convert::observation_of_memory(memory),
        None => {
            return Err(Failure::new(Code::InvalidArgument, "neither a memory nor an episode"));
        }
    };
    let stored = recall::remember(&core, &request.memory_space_id, &observation);
    let stored = call.unless_gone(stored).await?;
    let response = RememberResponse {
        memory_id: stored.memory_id,
        storage_confidence: Some(convert::confidence(1.0)),
        linked_memories: Vec::new(),
        initial_state: ConsolidationState::Recent.into(),
    };
    call.respond(&response).await
}

/// Forgets a memory, or those that are like a cue; answers once that is durable.
pub(super) async fn forget(call: &mut Call) -> Result<(), Failure> {
    let core = call.core.clone();
    let request: ForgetRequest = call.request().await?;
    let (target, mode) = (convert::forget_target(&request)?, convert::forget_mode(&request)?);
    let forgotten = forget::forget(&core, &request.memory_space_id, target, mode);
    let count = call.unless_gone(forgotten).await?;
    let response = ForgetResponse {
        memories_affected: i32::try_from(count).unwrap_or(i32::MAX),
        forget_confidence: Some(convert::confidence(1.0)),
        reversible: mode == ForgetMode::Suppress,
    };
    call.respond(&response).await
}
