//! Where each block of a checkpoint lies: arithmetic on its head.

use crate::checkpoint::head::{HEAD_BYTES, Head};
use crate::graph::Index;
use crate::limits::{CHECKPOINT_BLOCK_BYTES, CHECKPOINT_PIECE_BYTES};
use crate::space::Rows;

/// Bytes of what stands before the items of a block.
pub const BLOCK_HEAD_BYTES: usize = 20;
/// Bytes of a session: its id, its durable sequence, when its last record was committed.
pub const SESSION_BYTES: usize = 16 + 8 + 8;

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What is neither of a row nor of a node: one item.
    State,
    /// Sessions.
    Sessions,
    /// Nodes of the bottom layer.
    Nodes,
    /// Nodes of an upper layer, of which the lowest is 0.
    Upper(u8),
    /// Rows of the graph's slots.
    Rows,
    /// Rows outside the graph.
    Waiting,
}

impl Kind {
    /// Its number in a file, and the layer.
    pub(super) fn numbers(self) -> [u8; 2] {
        match self {
            Kind::State => [1, 0],
            Kind::Sessions => [2, 0],
            Kind::Nodes => [3, 0],
            Kind::Upper(layer) => [4, layer],
            Kind::Rows => [5, 0],
            Kind::Waiting => [6, 0],
        }
    }

    /// Whether the graph must stand still until it is written.
    pub fn stands_still(self) -> bool {
        matches!(self, Kind::State | Kind::Sessions | Kind::Nodes | Kind::Upper(_))
    }
}

/// A block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// What it holds.
    pub kind: Kind,
    /// The first item.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// Bytes of one.
    pub item_bytes: u32,
    /// Where it lies in the file.
    pub offset: u64,
}

impl Block {
    /// Its length, with its head.
    pub fn bytes(&self) -> u64 {
        BLOCK_HEAD_BYTES as u64 + u64::from(self.count) * u64::from(self.item_bytes)
    }

    /// Where it ends.
    pub fn end(&self) -> u64 {
        self.offset + self.bytes()
    }
}

/// A part of a file that is read at once: whole blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it lies in the file.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
}

/// The blocks of a file, in order.
#[derive(Clone, Debug)]
pub struct Blocks {
    /// Kind, items and bytes of an item, the next one last.
    sections: Vec<(Kind, u32, u32)>,
    /// Items of the current section that were passed.
    passed: u32,
    offset: u64,
}

impl Blocks {
    /// Those of a file with this head.
    pub fn of(head: &Head) -> Blocks {
        let row_bytes = Rows::stored_bytes(head.dimension, head.form) as u32;
        let mut sections = vec![
            (Kind::State, 1, head.state_bytes),
            (Kind::Sessions, head.sessions, SESSION_BYTES as u32),
            (Kind::Nodes, head.shape.nodes, Index::NODE_BYTES as u32),
        ];
        let upper = (0..).zip(&head.shape.upper);
        sections
            .extend(upper.map(|(layer, nodes)| {
                (Kind::Upper(layer), *nodes, Index::UPPER_NODE_BYTES as u32)
            }));
        sections.push((Kind::Rows, head.shape.nodes, row_bytes));
        sections.push((Kind::Waiting, head.waiting, row_bytes));
        sections.reverse();
        Blocks { sections, passed: 0, offset: HEAD_BYTES as u64 }
    }
}

impl Iterator for Blocks {
    type Item = Block;

    fn next(&mut self) -> Option<Block> {
        let (kind, items, item_bytes) = loop {
            let section = *self.sections.last()?;
            if self.passed < section.1 {
                break section;
            }
            self.sections.pop();
            self.passed = 0;
        };
        let most = (CHECKPOINT_BLOCK_BYTES - BLOCK_HEAD_BYTES as u32) / item_bytes.max(1);
        let count = (items - self.passed).min(most.max(1));
        let block = Block { kind, first: self.passed, count, item_bytes, offset: self.offset };
        self.passed += count;
        self.offset = block.end();
        Some(block)
    }
}

/// Length of the file with this head.
pub fn file_bytes(head: &Head) -> u64 {
    Blocks::of(head).last().map_or(HEAD_BYTES as u64, |block| block.end())
}

/// What to read of the file with this head behind it, in order.
pub fn pieces(head: &Head) -> impl Iterator<Item = Piece> + use<> {
    let mut blocks = Blocks::of(head).peekable();
    std::iter::from_fn(move || {
        let first = blocks.next()?;
        let mut piece = Piece { offset: first.offset, bytes: first.bytes() };
        while let Some(more) =
            blocks.next_if(|block| piece.bytes + block.bytes() <= u64::from(CHECKPOINT_PIECE_BYTES))
        {
            piece.bytes += more.bytes();
        }
        Some(piece)
    })
}
