//! The unit in which codes are stored and compared.

/// Codes in one block.
pub const BLOCK_CODES: usize = 64;

/// The unit of stored codes: a cache line and a register of AVX-512.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Block(pub [i8; BLOCK_CODES]);

impl Default for Block {
    fn default() -> Block {
        Block([0; BLOCK_CODES])
    }
}
