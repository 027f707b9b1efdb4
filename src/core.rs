//! What everything on one core shares: its end of the mesh, its budget, its credits, its knowledge of spaces.

/// One core's context. Cheap to clone; stays on its core.
#[derive(Clone, Debug)]
pub struct Core {}
