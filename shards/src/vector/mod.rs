//! Vectors: quantising them, holding their codes, comparing them.
//!
//! ```text
//!  f32 as received ─► codes: normalise, encode ─► rows: codes and scales of a stripe, by row
//!                                                   │ arena: arrays that grow without copying
//!                                                   ▼
//!                                  similarity ◄─ kernel: one table of functions, chosen once
//!                                                   └ portable │ avx512 │ avx2 │ neon
//! ```
//!
//! | file | responsibility |
//! |---|---|
//! | `block` | the unit of codes |
//! | `slab` | huge pages of the kernel's, cut into pieces |
//! | `chunk` | memory of a chunk: the allocator's, or a piece |
//! | `arena` | rows of equal length in chunks that never move |
//! | `portable`, `avx512`, `avx2`, `neon` | the hot loops, the same results bit for bit |
//! | `kernel` | which of them this processor runs; the exact f32 dot product |
//! | `codes` | from f32 to int8 |
//! | `rows` | codes and scales of all rows of a stripe |
//!
//! Invariants: codes lie within ±127 and are padded with zeros to whole [`block::Block`]s; every
//! similarity is `dot as f32 * (scale * scale)`, so it is symmetric and equal on every processor.

pub mod block;
mod slab;
pub(crate) mod prefetch;
mod chunk;
pub(crate) mod arena;
mod lanes;
mod rotation;
mod quantise;
mod signs;
mod portable;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
pub mod kernel;
pub mod codes;
mod mean;
pub(crate) mod rows;
