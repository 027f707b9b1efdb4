//! One RecallStream call.

use engram_proto::engram::v1::cue::CueType;
use engram_proto::engram::v1::{
    Cue, EmbeddingCue, Memory, StreamingRecallRequest, StreamingRecallResponse,
};

use super::grpc::{CallError, Grpc};

const PATH: &str = "/engram.v1.EngramService/RecallStream";

/// What to recall.
#[derive(Clone, Debug)]
pub struct Cued<'a> {
    /// The space.
    pub space: &'a str,
    /// The cue's embedding.
    pub vector: &'a [f32],
    /// Memories to find.
    pub count: u32,
}

/// Recalls, all pages taken together, best first.
pub async fn recall(grpc: &Grpc, cued: Cued<'_>) -> Result<Vec<Memory>, CallError> {
    let request = StreamingRecallRequest {
        memory_space_id: cued.space.to_owned(),
        cue: Some(Cue {
            cue_type: Some(CueType::Embedding(EmbeddingCue {
                vector: cued.vector.to_vec(),
                similarity_threshold: 0.0,
            })),
            ..Cue::default()
        }),
        max_results: cued.count,
        ..StreamingRecallRequest::default()
    };
    let mut pages = grpc.server_streaming::<_, StreamingRecallResponse>(PATH, &request).await?;
    let mut found = Vec::with_capacity(cued.count as usize);
    while let Some(page) = pages.next().await? {
        found.extend(page.results);
    }
    Ok(found)
}
