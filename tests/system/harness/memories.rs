//! Real memories: texts and vectors of the bundled data, by number from 0.

use engram::dataset::{DIMENSION, Dataset};
use engram_proto::engram::v1::{Cue, EmbeddingCue, Episode, cue::CueType};

/// As many distinct memories as wanted. The same number is the same text and vector in every test.
pub(crate) struct Memories {
    data: Dataset,
}

impl Memories {
    /// The bundled ones.
    pub(crate) fn bundled() -> Memories {
        Memories { data: Dataset::bundled() }
    }

    /// The vector of memory `number`.
    pub(crate) fn vector(&self, number: usize) -> Vec<f32> {
        let mut vector = [0.0; DIMENSION];
        self.data.base(number, &mut vector);
        vector.to_vec()
    }

    /// The text of memory `number`.
    pub(crate) fn text(&self, number: usize) -> String {
        self.data.base_text(number)
    }

    /// Memory `number` as an episode of that id.
    pub(crate) fn episode(&self, number: usize, id: &str) -> Episode {
        Episode {
            id: id.to_owned(),
            what: self.text(number),
            embedding: self.vector(number),
            ..Episode::default()
        }
    }

    /// A cue by the vector of memory `number`.
    pub(crate) fn cue(&self, number: usize) -> Cue {
        let cue = EmbeddingCue { vector: self.vector(number), similarity_threshold: 0.0 };
        Cue { cue_type: Some(CueType::Embedding(cue)), ..Cue::default() }
    }
}
