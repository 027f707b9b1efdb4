//! A checkpoint that is being written, part by part.

use std::iter::Peekable;

use crate::checkpoint::block;
use crate::checkpoint::head::{HEAD_BYTES, Head, LogPosition, head_crc};
use crate::checkpoint::layout::{Block, Blocks, Kind, file_bytes};
use crate::ids::{Row, SessionId, Time};
use crate::limits::CHECKPOINT_BLOCK_BYTES;
use crate::session::Session;
use crate::space::{RowForm, Stripe};
use crate::vector::StoredMean;

/// A part of the file, written at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it belongs.
    pub offset: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// A stripe's checkpoint on its way.
///
/// Until it [stands still](Writing::stands_still) no more, the stripe's graph must not change but for rows that are
/// removed from it. Until all is written, no slot of a row that leaves the graph may be taken by another.
#[derive(Debug)]
pub struct Writing {
    head: Head,
    head_crc: u32,
    blocks: Peekable<Blocks>,
    /// Bytes of the file that were handed out.
    written: u64,
    /// As it was at the beginning.
    state: Vec<u8>,
    /// As they were at the beginning.
    sessions: Vec<u8>,
    /// The one in the state.
    mean: StoredMean,
    /// The rows outside the graph at the beginning.
    waiting: Vec<Row>,
}

impl Writing {
    /// Begins with what `stripe` is now, which covers the logs up to these positions: all of its records before them are
    /// durable, and none of it behind the durable generation is.
    pub fn new<'a>(
        stripe: &Stripe,
        sessions: impl Iterator<Item = (SessionId, &'a Session)>,
        covered: Vec<LogPosition>,
        now: Time,
    ) -> Writing {
        let rows = stripe.rows();
        let waiting = rows.waiting_kept();
        let (mut state, mut marks, mut count) = (Vec::new(), Vec::new(), 0);
        stripe.write_state(&mut state);
        for (id, session) in sessions.filter(|(_, session)| session.is_recorded()) {
            marks.extend_from_slice(&id.0.to_le_bytes());
            marks.extend_from_slice(&session.durable_sequence().to_le_bytes());
            marks.extend_from_slice(&session.last_record_at().0.to_le_bytes());
            count += 1;
        }
        let head = Head {
            form: RowForm::Whole,
            stripe: stripe.key(),
            dimension: rows.dimension(),
            generation: stripe.generation(),
            taken_at: now,
            state_bytes: state.len() as u32,
            sessions: count,
            shape: rows.index().shape(),
            waiting: waiting.len() as u32,
            covered,
        };
        Writing {
            head_crc: head_crc(&head.encode()),
            blocks: Blocks::of(&head).peekable(),
            head,
            written: 0,
            state,
            sessions: marks,
            mean: rows.index().stored_mean(),
            waiting,
        }
    }

    /// What it says of itself.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Length of the whole file.
    pub fn file_bytes(&self) -> u64 {
        file_bytes(&self.head)
    }

    /// Whether parts are left of what may not change.
    pub fn stands_still(&mut self) -> bool {
        self.blocks.peek().is_some_and(|block| block.kind.stands_still())
    }

    /// Whether parts are left.
    pub fn is_left(&mut self) -> bool {
        self.written == 0 || self.blocks.peek().is_some()
    }

    /// The next part, of which `stripe` is still the source; none behind the last.
    pub fn next(&mut self, stripe: &Stripe) -> Option<Part> {
        let offset = self.written;
        let mut bytes = Vec::with_capacity(HEAD_BYTES + CHECKPOINT_BLOCK_BYTES as usize);
        if offset == 0 {
            bytes.extend_from_slice(&self.head.encode());
        }
        let most = u64::from(CHECKPOINT_BLOCK_BYTES);
        while let Some(block) =
            self.blocks.next_if(|block| offset == block.offset || block.end() - offset <= most)
        {
            self.write(&block, stripe, &mut bytes);
        }
        self.written += bytes.len() as u64;
        (!bytes.is_empty()).then_some(Part { offset, bytes })
    }

    fn write(&self, block: &Block, stripe: &Stripe, out: &mut Vec<u8>) {
        let (rows, index) = (stripe.rows(), stripe.rows().index());
        let numbers = block.first..block.first + block.count;
        let range = block.first as usize..(block.first + block.count) as usize;
        block::write(block, self.head_crc, out, |out| match block.kind {
            Kind::State => out.extend_from_slice(&self.state),
            Kind::Sessions => {
                let item = block.item_bytes as usize;
                out.extend_from_slice(&self.sessions[range.start * item..range.end * item]);
            }
            Kind::Nodes => numbers.for_each(|node| index.write_node(node, out)),
            Kind::Upper(layer) => {
                numbers.for_each(|node| index.write_upper_node(usize::from(layer), node, out));
            }
            Kind::Rows => numbers.for_each(|row| rows.write_row(Row(row), &self.mean, out)),
            Kind::Waiting => {
                self.waiting[range].iter().for_each(|row| rows.write_row(*row, &self.mean, out));
            }
        });
    }
}
