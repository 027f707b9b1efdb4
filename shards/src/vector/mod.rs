//! Vectors: quantising, kernels, the arena that holds their codes.
pub mod codes;
