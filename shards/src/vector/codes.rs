//! Quantised vectors.

/// A vector as the index compares it: int8 values with one scale (`value ≈ scale × code`, codes within ±127).
#[derive(Clone, Debug, PartialEq)]
pub struct Codes {
    /// One code a dimension.
    pub codes8: Box<[i8]>,
    /// What a code of 1 stands for.
    pub scale: f32,
}

/// Why a vector cannot be stored or compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorFault {
    /// A number is NaN or infinite.
    NotFinite,
    /// Its length is zero (or so small or large that it cannot be scaled).
    Zero,
}

/// Scales `vector` to unit length, in place.
pub fn normalise(vector: &mut [f32]) -> Result<(), VectorFault> {
    let _ = vector;
    todo!()
}

/// Quantises a vector of unit length.
pub fn encode(vector: &[f32]) -> Codes {
    let _ = vector;
    todo!()
}
