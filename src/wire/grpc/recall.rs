//! RecallStream, Recall, Remember and Forget.

use engram_proto::engram::v1::{
    ForgetRequest, ForgetResponse, RecallRequest, RememberRequest, StreamingRecallRequest,
};

use engram_shards::message::ForgetMode;

use super::Call;
use crate::failure::Failure;
use crate::forget;
use crate::recall::{self, Pages};
use crate::session::Recall;
use crate::store;
use crate::wire::convert::{self, Told};

/// Pages of results, then one message with the metadata.
pub(super) async fn recall_stream(call: &mut Call) -> Result<(), Failure> {
    let core = call.core.clone();
    let request: StreamingRecallRequest = call.request().await?;
    let Recall { head, query, page_results } = convert::recall(&request)?;
    let recalled = recall::recall(&core, &request.memory_space_id, &query);
    let mut pages = Pages::new(call.unless_gone(recalled).await?, page_results);
    let summary = pages.summary();
    while let Some(page) = pages.next_page(usize::MAX) {
        call.respond(&convert::recall_page(&head, &page, &summary)).await?;
    }
    call.respond(&convert::recall_closing(&head, &summary)).await
}

/// One recall, one answer.
pub(super) async fn recall(call: &mut Call) -> Result<(), Failure> {
    let core = call.core.clone();
    let request: RecallRequest = call.request().await?;
    let query = convert::unary_query(&request)?;
    let recalled = recall::recall(&core, &request.memory_space_id, &query);
    let recollection = call.unless_gone(recalled).await?.to_be_told_whole()?;
    call.respond(&convert::recalled(&recollection, Told::of(&request))).await
}

/// Stores one memory or episode; answers once it is durable.
pub(super) async fn remember(call: &mut Call) -> Result<(), Failure> {
    let core = call.core.clone();
    let request: RememberRequest = call.request().await?;
    let observation = convert::remembered(&request)?;
    let stored = store::remember(&core, &request.memory_space_id, &observation);
    let stored = call.unless_gone(stored).await?;
    call.respond(&convert::stored(stored)).await
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
