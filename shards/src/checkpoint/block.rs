//! Blocks: the unit of checking. Each names what it holds and the head of its file, so that none can be taken for another.

use crate::checkpoint::layout::{BLOCK_HEAD_BYTES, Block};
use crate::log::field::{crc32c, put_at, u32_at};

const CRC_AT: usize = 0;
const HEAD_CRC_AT: usize = CRC_AT + 4;
const KIND_AT: usize = HEAD_CRC_AT + 4;
const FIRST_AT: usize = KIND_AT + 4;
const COUNT_AT: usize = FIRST_AT + 4;
const _: () = assert!(COUNT_AT + 4 == BLOCK_HEAD_BYTES);

/// What is wrong with a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointFault {
    /// Offset of the bad block in the file, in bytes.
    pub offset: u64,
    /// What is wrong with it.
    pub what: &'static str,
}

/// Appends a block to `out`; `items` writes what it holds.
pub(super) fn write(
    block: &Block,
    head_crc: u32,
    out: &mut Vec<u8>,
    items: impl FnOnce(&mut Vec<u8>),
) {
    let at = out.len();
    out.resize(at + BLOCK_HEAD_BYTES, 0);
    items(out);
    let bytes = &mut out[at..];
    assert_eq!(bytes.len() as u64, block.bytes(), "a block is as long as its head says");
    put_at(bytes, HEAD_CRC_AT, head_crc.to_le_bytes());
    put_at(bytes, KIND_AT, block.kind.numbers());
    put_at(bytes, FIRST_AT, block.first.to_le_bytes());
    put_at(bytes, COUNT_AT, block.count.to_le_bytes());
    let crc = crc32c(&bytes[HEAD_CRC_AT..]);
    put_at(bytes, CRC_AT, crc.to_le_bytes());
}

/// The items of a block that was read, if it is as it was written.
pub(super) fn read<'a>(
    block: &Block,
    head_crc: u32,
    bytes: &'a [u8],
) -> Result<&'a [u8], CheckpointFault> {
    let fault = |what| CheckpointFault { offset: block.offset, what };
    if bytes.len() as u64 != block.bytes() {
        return Err(fault("block cut short"));
    }
    let [kind, layer] = block.kind.numbers();
    let is_it = u32_at(bytes, HEAD_CRC_AT) == head_crc
        && bytes[KIND_AT..FIRST_AT] == [kind, layer, 0, 0]
        && u32_at(bytes, FIRST_AT) == block.first
        && u32_at(bytes, COUNT_AT) == block.count;
    if !is_it {
        return Err(fault("block head"));
    }
    if crc32c(&bytes[HEAD_CRC_AT..]) != u32_at(bytes, CRC_AT) && !planted!(BlockCrcSkipped) {
        return Err(fault("block checksum"));
    }
    Ok(&bytes[BLOCK_HEAD_BYTES..])
}
