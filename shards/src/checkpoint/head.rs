//! The first block of a checkpoint.

use crate::graph::IndexShape;
use crate::ids::{Generation, Location, LogId, SegmentId, SpaceKey, StripeKey, Time};
use crate::limits::{CHECKPOINT_LAYERS_MAX, CHECKPOINT_LOGS_MAX, DIMENSION_MAX, DIMENSION_MIN};
use crate::log::field::{crc32c, is_zero, put_at, u16_at, u32_at, u64_at};
use crate::space::RowForm;

/// The format that is written.
pub const FORMAT_VERSION: u32 = 2;
/// The format before it, which is read too: its rows have no attributes.
pub const FORMAT_VERSION_BARE: u32 = 1;
/// Length of the block.
pub const HEAD_BYTES: usize = 4096;

const MAGIC: [u8; 8] = *b"ENGRMCKP";
const MAGIC_AT: usize = 0;
const VERSION_AT: usize = MAGIC_AT + 8;
const SPACE_AT: usize = VERSION_AT + 4;
const STRIPE_AT: usize = SPACE_AT + 8;
const DIMENSION_AT: usize = STRIPE_AT + 2;
const STATE_BYTES_AT: usize = DIMENSION_AT + 2;
const GENERATION_AT: usize = STATE_BYTES_AT + 4;
const TAKEN_AT_AT: usize = GENERATION_AT + 8;
const SESSIONS_AT: usize = TAKEN_AT_AT + 8;
const WAITING_AT: usize = SESSIONS_AT + 4;
const NODES_AT: usize = WAITING_AT + 4;
const LAYERS_AT: usize = NODES_AT + 4;
const LOGS_AT: usize = LAYERS_AT + 2;
const UPPER_AT: usize = LOGS_AT + 2;
const COVERED_AT: usize = UPPER_AT + CHECKPOINT_LAYERS_MAX * 4;
const POSITION_BYTES: usize = 12;
const CRC_AT: usize = HEAD_BYTES - 4;

const _: () = assert!(COVERED_AT + CHECKPOINT_LOGS_MAX * POSITION_BYTES <= CRC_AT);

/// A position in a log: everything before it is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    /// The segment.
    pub segment: SegmentId,
    /// Offset in it, in bytes.
    pub offset: u32,
}

impl LogPosition {
    /// The one behind a record.
    pub fn behind(record: Location) -> LogPosition {
        LogPosition { segment: record.segment, offset: record.offset + record.bytes }
    }
}

/// What a checkpoint says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// How its rows are written.
    pub form: RowForm,
    /// Whose it is.
    pub stripe: StripeKey,
    /// Numbers of its vectors.
    pub dimension: u16,
    /// Rows up to this generation are in it.
    pub generation: Generation,
    /// When it was begun.
    pub taken_at: Time,
    /// Bytes of what is neither of a row nor of a node.
    pub state_bytes: u32,
    /// Sessions.
    pub sessions: u32,
    /// How large the graph is; each of its nodes has a row.
    pub shape: IndexShape,
    /// Rows outside the graph.
    pub waiting: u32,
    /// For each log, in order, the position that it covers.
    pub covered: Vec<LogPosition>,
}

/// Why a first block is not that of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadFault {
    /// It was never written whole, or has changed since.
    Damaged,
    /// It is whole, and of a format that this program does not read.
    UnknownVersion(u32),
}

impl Head {
    /// The block. There may be no more layers and logs than [`CHECKPOINT_LAYERS_MAX`] and [`CHECKPOINT_LOGS_MAX`].
    pub fn encode(&self) -> Vec<u8> {
        let Head { stripe, dimension, shape, covered, .. } = self;
        let mut bytes = vec![0; HEAD_BYTES];
        put_at(&mut bytes, MAGIC_AT, MAGIC);
        let version = match self.form {
            RowForm::Bare => FORMAT_VERSION_BARE,
            RowForm::Whole => FORMAT_VERSION,
        };
        put_at(&mut bytes, VERSION_AT, version.to_le_bytes());
        put_at(&mut bytes, SPACE_AT, stripe.space.0.to_le_bytes());
        put_at(&mut bytes, STRIPE_AT, stripe.stripe.to_le_bytes());
        put_at(&mut bytes, DIMENSION_AT, dimension.to_le_bytes());
        put_at(&mut bytes, STATE_BYTES_AT, self.state_bytes.to_le_bytes());
        put_at(&mut bytes, GENERATION_AT, self.generation.0.to_le_bytes());
        put_at(&mut bytes, TAKEN_AT_AT, self.taken_at.0.to_le_bytes());
        put_at(&mut bytes, SESSIONS_AT, self.sessions.to_le_bytes());
        put_at(&mut bytes, WAITING_AT, self.waiting.to_le_bytes());
        put_at(&mut bytes, NODES_AT, shape.nodes.to_le_bytes());
        put_at(&mut bytes, LAYERS_AT, (shape.upper.len() as u16).to_le_bytes());
        put_at(&mut bytes, LOGS_AT, (covered.len() as u16).to_le_bytes());
        assert!(shape.upper.len() <= CHECKPOINT_LAYERS_MAX);
        for (layer, nodes) in shape.upper.iter().enumerate() {
            put_at(&mut bytes, UPPER_AT + 4 * layer, nodes.to_le_bytes());
        }
        assert!(covered.len() <= CHECKPOINT_LOGS_MAX);
        for (place, LogPosition { segment, offset }) in covered.iter().enumerate() {
            let at = COVERED_AT + POSITION_BYTES * place;
            put_at(&mut bytes, at, segment.log.0.to_le_bytes());
            put_at(&mut bytes, at + 4, segment.number.to_le_bytes());
            put_at(&mut bytes, at + 8, offset.to_le_bytes());
        }
        let crc = crc32c(&bytes[..CRC_AT]);
        put_at(&mut bytes, CRC_AT, crc.to_le_bytes());
        bytes
    }

    /// Reads the first block of the checkpoint of `stripe`.
    pub fn decode(bytes: &[u8], stripe: StripeKey) -> Result<Head, HeadFault> {
        let block = bytes.get(..HEAD_BYTES).ok_or(HeadFault::Damaged)?;
        if block[MAGIC_AT..VERSION_AT] != MAGIC || head_crc(block) != crc32c(&block[..CRC_AT]) {
            return Err(HeadFault::Damaged);
        }
        let version = u32_at(block, VERSION_AT);
        let form = match version {
            FORMAT_VERSION => RowForm::Whole,
            FORMAT_VERSION_BARE => RowForm::Bare,
            unknown => return Err(HeadFault::UnknownVersion(unknown)),
        };
        let layers = usize::from(u16_at(block, LAYERS_AT));
        let logs = usize::from(u16_at(block, LOGS_AT));
        if layers > CHECKPOINT_LAYERS_MAX || logs > CHECKPOINT_LOGS_MAX {
            return Err(HeadFault::Damaged);
        }
        let position = |place| {
            let at = COVERED_AT + POSITION_BYTES * place;
            let segment =
                SegmentId { log: LogId(u16_at(block, at)), number: u32_at(block, at + 4) };
            LogPosition { segment, offset: u32_at(block, at + 8) }
        };
        let space = SpaceKey(u64_at(block, SPACE_AT));
        let head = Head {
            form,
            stripe: StripeKey { space, stripe: u16_at(block, STRIPE_AT) },
            dimension: u16_at(block, DIMENSION_AT),
            generation: Generation(u64_at(block, GENERATION_AT)),
            taken_at: Time(u64_at(block, TAKEN_AT_AT)),
            state_bytes: u32_at(block, STATE_BYTES_AT),
            sessions: u32_at(block, SESSIONS_AT),
            shape: IndexShape {
                nodes: u32_at(block, NODES_AT),
                upper: (0..layers).map(|layer| u32_at(block, UPPER_AT + 4 * layer)).collect(),
            },
            waiting: u32_at(block, WAITING_AT),
            covered: (0..logs).map(position).collect(),
        };
        let is_sound = head.stripe == stripe
            && (DIMENSION_MIN..=DIMENSION_MAX).contains(&head.dimension)
            && head.covered.is_sorted_by(|one, other| one.segment.log < other.segment.log)
            && is_zero(&block[UPPER_AT + 4 * layers..COVERED_AT])
            && is_zero(&block[COVERED_AT + POSITION_BYTES * logs..CRC_AT]);
        if is_sound { Ok(head) } else { Err(HeadFault::Damaged) }
    }

    /// Whether it covers a log up to this position.
    pub fn covers(&self, position: LogPosition) -> bool {
        let log = position.segment.log;
        let place = self.covered.binary_search_by_key(&log, |covered| covered.segment.log);
        place.is_ok_and(|place| self.covered[place] >= position)
    }
}

/// The checksum in a first block, which the other blocks of its file name.
pub(super) fn head_crc(block: &[u8]) -> u32 {
    u32_at(block, CRC_AT)
}
