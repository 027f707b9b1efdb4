//! What a space is made with.

/// How similarity is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Cosine of the angle between two vectors; they are scaled to unit length before they are quantised.
    Cosine,
    /// Dot product of two vectors as they are.
    Dot,
    /// Less the square of the distance between two vectors as they are.
    Euclidean,
}

/// What a space is made with; it never changes afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceSettings {
    /// 3–64 bytes of a–z 0–9 `-` `_`; checked by whoever makes the request.
    pub name: String,
    /// Numbers a vector, 8–4,096.
    pub dimension: u16,
    /// How similarity is measured.
    pub metric: Metric,
    /// On how many cores the space lies; stripes are numbered from 0.
    pub stripes: u16,
}

/// What an ack of an observation means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AckPolicy {
    /// It is on the disk: its commit was synced.
    #[default]
    Sync,
    /// The same; but commits are synced together, so long after the first of them was appended.
    Interval {
        /// How long, in microseconds.
        micros: u64,
    },
    /// It was written: a power cut may take it, the end of the process does not. It is durable a little later.
    Write,
}
