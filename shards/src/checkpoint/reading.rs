//! A checkpoint that is read back, piece by piece.

use crate::bytes::Reader;
use crate::checkpoint::block::{self, CheckpointFault};
use crate::checkpoint::head::{HEAD_BYTES, Head, HeadFault, LogPosition, head_crc};
use crate::checkpoint::layout::{Block, Blocks, Kind, file_bytes};
use crate::ids::{SessionId, StripeKey, Time};
use crate::log::ranges::Ranges;
use crate::log::summary::Summary;
use crate::quality::RecallTarget;
use crate::space::{Extent, Loaded, Loading};

/// The head of a checkpoint's file, with all that is needed to check the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedHead {
    head: Head,
    head_crc: u32,
}

impl CheckedHead {
    /// `bytes` are the first [`HEAD_BYTES`] of the file of `stripe`, and `length` is the file's.
    pub fn new(bytes: &[u8], stripe: StripeKey, length: u64) -> Result<CheckedHead, HeadFault> {
        let head = Head::decode(bytes, stripe)?;
        match length == file_bytes(&head) {
            true => Ok(CheckedHead { head_crc: head_crc(bytes), head }),
            false => Err(HeadFault::Damaged),
        }
    }

    /// The head.
    pub fn head(&self) -> &Head {
        &self.head
    }
}

/// Whether checkpoints cover what a segment holds of all stripes that `counts` names; `head_of` gives the heads of theirs.
pub fn is_covered<'a>(
    summary: &Summary,
    counts: impl Fn(StripeKey) -> bool,
    head_of: impl Fn(StripeKey) -> Option<&'a Head>,
) -> bool {
    let mut counting = summary.stripes.iter().filter(|(stripe, _)| counts(**stripe));
    counting.all(|(stripe, end)| {
        let position = LogPosition { segment: summary.segment, offset: *end };
        head_of(*stripe).is_some_and(|head| head.covers(position))
    })
}

/// What is known of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The session.
    pub session: SessionId,
    /// Its highest durable sequence.
    pub durable_sequence: u64,
    /// When its last record was committed.
    pub last_record_at: Time,
}

/// What a checkpoint held.
#[derive(Debug)]
pub struct Restored {
    /// The rows and their graph.
    pub loaded: Loaded,
    /// The sessions.
    pub marks: Vec<Mark>,
}

/// Sees a sound block and its items.
pub type Visit<'v> = &'v mut dyn FnMut(&Block, &[u8]) -> Result<(), CheckpointFault>;

/// Checks the blocks of a file one behind the other.
#[derive(Debug)]
pub struct Checking {
    head_crc: u32,
    blocks: Blocks,
}

impl Checking {
    /// Nothing was read behind the head.
    pub fn new(found: &CheckedHead) -> Checking {
        Checking { head_crc: found.head_crc, blocks: Blocks::of(&found.head) }
    }

    /// Visits the sound blocks of the next piece, until one is not.
    pub fn handle_piece(&mut self, bytes: &[u8], visit: Visit<'_>) -> Result<(), CheckpointFault> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = CheckpointFault { offset: 0, what: "more than the whole file" };
            let block = self.blocks.next().ok_or(end)?;
            let length = rest.len().min(block.bytes() as usize);
            let (bytes, more) = rest.split_at(length);
            visit(&block, block::read(&block, self.head_crc, bytes)?)?;
            rest = more;
        }
        Ok(())
    }
}

/// A checkpoint of which pieces come in order, as [`pieces`](crate::checkpoint::layout::pieces) lists them.
#[derive(Debug)]
pub struct Reading {
    checking: Checking,
    taking: Taking,
}

/// What was read so far.
#[derive(Debug)]
struct Taking {
    head: Head,
    seed: u64,
    recall: Option<RecallTarget>,
    gone: Ranges,
    /// None before the state was read, which comes first.
    loading: Option<Loading>,
    marks: Vec<Mark>,
}

impl Reading {
    /// Of a stripe whose graph has this seed, and which is to hold this recall; rows of these generations are `gone` since.
    pub fn new(
        found: &CheckedHead,
        seed: u64,
        recall: Option<RecallTarget>,
        gone: Ranges,
    ) -> Reading {
        let (head, loading, marks) = (found.head.clone(), None, Vec::new());
        let taking = Taking { head, seed, recall, gone, loading, marks };
        Reading { checking: Checking::new(found), taking }
    }

    /// Takes the next piece. After a fault the reading is over.
    pub fn handle_piece(&mut self, bytes: &[u8]) -> Result<(), CheckpointFault> {
        let Reading { checking, taking } = self;
        checking.handle_piece(bytes, &mut |block, items| {
            let fault = CheckpointFault { offset: block.offset, what: "contents of a block" };
            taking.take(block, items).ok_or(fault)
        })
    }

    /// What it held, once all pieces were taken.
    pub fn finish(mut self) -> Result<Restored, CheckpointFault> {
        let fault = CheckpointFault { offset: HEAD_BYTES as u64, what: "contents of the whole" };
        if self.checking.blocks.next().is_some() {
            return Err(fault);
        }
        let Taking { loading, marks, .. } = self.taking;
        let loaded = loading.and_then(Loading::finish).ok_or(fault)?;
        Ok(Restored { loaded, marks })
    }
}

impl Taking {
    fn take(&mut self, block: &Block, items: &[u8]) -> Option<()> {
        let mut bytes = Reader::new(items);
        if block.kind == Kind::State {
            let Head { form, stripe, dimension, generation, ref shape, .. } = self.head;
            let extent = Extent {
                shape: shape.clone(),
                durable: generation,
                gone: std::mem::take(&mut self.gone),
                form,
            };
            let stripe = (stripe, self.seed);
            let loading = Loading::new(stripe, self.recall, extent, &mut bytes)?;
            let is_of_it = loading.settings().dimension == dimension && bytes.is_empty();
            self.loading = is_of_it.then_some(loading);
            return self.loading.as_ref().map(|_| ());
        }
        let loading = self.loading.as_mut()?;
        for _ in 0..block.count {
            match block.kind {
                Kind::State => unreachable!("taken above"),
                Kind::Sessions => self.marks.push(Mark {
                    session: SessionId(u128::from_le_bytes(bytes.array()?)),
                    durable_sequence: bytes.u64()?,
                    last_record_at: Time(bytes.u64()?),
                }),
                Kind::Nodes => loading.push_node(&mut bytes)?,
                Kind::Upper(layer) => {
                    loading.push_upper_node(usize::from(layer), &mut bytes)?;
                }
                Kind::Rows => loading.push_row(&mut bytes)?,
                Kind::Waiting => loading.push_waiting(&mut bytes)?,
            }
        }
        bytes.is_empty().then_some(())
    }
}
