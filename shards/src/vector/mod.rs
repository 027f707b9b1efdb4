//! Vectors: quantising them, holding their codes, comparing them.
//!
//! ```text
//!  f32 as received ─► codes: rotate, quantise ─► rows: int8 codes, 1-bit codes, mean of a stripe
//!                                                  │ arena: arrays that grow without copying
//!                                                  ▼
//!            similarity (int8), estimate (1-bit) ◄─ kernel: one table of functions, chosen once
//!                                                  └ portable │ avx512 │ avx2 │ neon
//! ```
//!
//! | file | responsibility |
//! |---|---|
//! | `block` | the unit of codes |
//! | `slab` | huge pages of the kernel's, cut into pieces |
//! | `prefetch` | telling the processor what will be read |
//! | `chunk` | memory of a chunk: the allocator's, or a piece |
//! | `arena` | rows of equal length in chunks that never move |
//! | `lanes` | float reductions that every processor does alike, and what kernels work on |
//! | `rotation` | a random rotation that costs a few additions a number |
//! | `quantise` | scaling to unit length; from f32 to int8 |
//! | `signs` | 1-bit codes of rows, and queries for them |
//! | `set` | instructions as a type, for work that is compiled for each |
//! | `portable`, `avx512`, `avx2`, `neon` | the hot loops, the same results bit for bit |
//! | `kernel` | which of them this processor runs; the exact f32 dot product |
//! | `codes` | a quantised vector |
//! | `mean` | what 1-bit codes are relative to, and when it is learned anew |
//! | `rows` | codes of all rows of a stripe |
//! | `stored` | what checkpoints keep of them |
//!
//! Invariants: all codes are of the rotated vector, padded to whole [`block::Block`]s; int8 codes
//! lie within ±127; a similarity is made of `dot as f32 * (scale * scale)`, so it is symmetric and
//! equal on every processor, and so is an estimate, whose operations have one order.

pub mod block;
pub mod slab;
pub(crate) mod prefetch;
mod chunk;
pub(crate) mod arena;
pub(crate) mod lanes;
mod rotation;
mod quantise;
mod signs;
pub(crate) mod set;
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
mod stored;

pub use stored::StoredMean;
