//! Rows and graph as checkpoints keep them.
//!
//! Links are written while the graph stands still; codes of rows later, while it goes on, as long as the caller holds
//! back those who would take the slots of rows that leave meanwhile. Which rows are alive is therefore told by the
//! caller when a row is read, not by the state that it had when its links were written.

use crate::bytes::Reader;
use crate::ids::Row;
use crate::limits::{GRAPH_LINKS, GRAPH_LINKS_BOTTOM};
use crate::settings::Metric;
use crate::vector::StoredMean;
use crate::vector::rows::Rows;

use super::Index;
use super::links::{Bottom, Kept, Links, Upper, level};
use super::rank::{Packed, Packing};
use super::states::{Mending, State};

/// How large a graph is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexShape {
    /// Nodes of the bottom layer.
    pub nodes: u32,
    /// Nodes of each layer above it, from the lowest one.
    pub upper: Vec<u32>,
}

/// What becomes of a row that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is to be found.
    Alive,
    /// It was removed.
    Dead,
    /// It came later than what is read: its slot is free.
    Absent,
}

const STATES: [State; 7] = [
    State::Waiting,
    State::Dropped,
    State::Alive,
    State::Ghost,
    State::Removed,
    State::Leaving,
    State::Gone,
];

/// Bytes of the links of one node: targets, similarities, which are kept, how many there are.
const fn links_bytes(slots: usize) -> usize {
    slots * (size_of::<u32>() + size_of::<Packed>()) + size_of::<Kept>() + size_of::<u8>()
}

impl Index {
    /// Bytes that [`Index::write_node`] writes: the links and the state.
    pub const NODE_BYTES: usize = links_bytes(GRAPH_LINKS_BOTTOM) + 1;
    /// Bytes that [`Index::write_upper_node`] writes: the row, the node below, the links.
    pub const UPPER_NODE_BYTES: usize = 2 * size_of::<u32>() + links_bytes(GRAPH_LINKS);

    /// Bytes that [`Index::write_codes`] writes of a row of vectors of `dimension`.
    pub const fn codes_bytes(dimension: u16) -> usize {
        Rows::stored_row_bytes(dimension)
    }

    /// How large the graph is.
    pub fn shape(&self) -> IndexShape {
        let upper = self.upper.iter().map(|layer| layer.links.len()).collect();
        IndexShape { nodes: self.bottom.len(), upper }
    }

    /// Writes all that is neither of a row nor of a node.
    pub fn write_state(&self, out: &mut Vec<u8>) {
        let (mending, layer, node) = match self.mending {
            Mending::Idle => (0, 0, 0),
            Mending::Orphan(row) => (1, 0, row),
            Mending::Relink(layer, node) => (2, layer as u8, node),
            Mending::Clear(row) => (3, 0, row),
            Mending::Go(row) => (4, 0, row),
        };
        out.extend_from_slice(&self.slots.inserted.to_le_bytes());
        out.extend_from_slice(&self.slots.departed.to_le_bytes());
        out.extend_from_slice(&self.bottom.packing().factor.to_le_bytes());
        out.extend_from_slice(&[mending, layer]);
        out.extend_from_slice(&node.to_le_bytes());
        self.rows.write_mean(out);
    }

    /// Writes the links and the state of a node of the bottom layer.
    pub fn write_node(&self, node: u32, out: &mut Vec<u8>) {
        write_links(&self.bottom, node, out);
        out.push(self.states.of(node) as u8);
    }

    /// Writes a node of an upper layer, of which the lowest is 0.
    pub fn write_upper_node(&self, layer: usize, node: u32, out: &mut Vec<u8>) {
        let layer = &self.upper[layer];
        out.extend_from_slice(&layer.rows[node].to_le_bytes());
        out.extend_from_slice(&layer.below[node].to_le_bytes());
        write_links(&layer.links, node, out);
    }

    /// The mean that [`Index::write_state`] writes now.
    pub fn stored_mean(&self) -> StoredMean {
        self.rows.stored_mean()
    }

    /// Writes the codes of a row, relative to the mean that was written.
    pub fn write_codes(&self, row: Row, mean: &StoredMean, out: &mut Vec<u8>) {
        self.rows.write_row(row.0, mean, out);
    }
}

/// An index that is read back: its state, all nodes, those of the upper layers from the lowest one, their rows, and
/// then rows that wait. What is read is `None` where it cannot have been written.
#[derive(Debug)]
pub struct Loading {
    index: Index,
    shape: IndexShape,
}

impl Loading {
    /// Begins with what [`Index::write_state`] wrote.
    pub fn new(
        (dimension, metric, seed): (u16, Metric, u64),
        shape: IndexShape,
        bytes: &mut Reader<'_>,
    ) -> Option<Loading> {
        let mut index = Index::new(dimension, metric, seed);
        (index.slots.inserted, index.slots.departed) = (bytes.u64()?, bytes.u64()?);
        let packing = Packing { factor: bytes.f32()? };
        index.bottom = Bottom::new(packing);
        index.upper = shape.upper.iter().map(|_| Upper::new(packing)).collect();
        index.mending = match (bytes.u8()?, usize::from(bytes.u8()?), bytes.u32()?) {
            (0, ..) => Mending::Idle,
            (1, _, row) => Mending::Orphan(row),
            (2, layer, node) => Mending::Relink(layer, node),
            (3, _, row) => Mending::Clear(row),
            (4, _, row) => Mending::Go(row),
            _ => return None,
        };
        index.rows.read_mean(bytes)?;
        Some(Loading { index, shape })
    }

    /// The next node of the bottom layer.
    pub fn push_node(&mut self, bytes: &mut Reader<'_>) -> Option<()> {
        let Index { bottom, states, .. } = &mut self.index;
        read_links(bottom, self.shape.nodes, bytes)?;
        let node = bottom.len() - 1;
        states.push();
        states.set(node, *STATES.get(usize::from(bytes.u8()?))?);
        Some(())
    }

    /// The next node of an upper layer, of which the lowest is 0.
    pub fn push_upper_node(&mut self, layer: usize, bytes: &mut Reader<'_>) -> Option<()> {
        let nodes = *self.shape.upper.get(layer)?;
        let (row, below) = (bytes.u32()?, bytes.u32()?);
        let (lower, this) = self.index.upper.split_at_mut(layer);
        let is_same = match lower.last() {
            None => below == row && row < self.shape.nodes,
            Some(lower) => below < lower.links.len() && lower.rows[below] == row,
        };
        let layer = this.first_mut().filter(|_| is_same)?;
        read_links(&mut layer.links, nodes, bytes)?;
        layer.rows.push()[0] = row;
        layer.below.push()[0] = below;
        Some(())
    }

    /// The row of the next slot of the graph.
    pub fn push_row(&mut self, bytes: &mut Reader<'_>, fate: Fate) -> Option<Row> {
        let is_node = self.index.rows.len() < self.index.bottom.len();
        let row = self.index.rows.push_stored(bytes).filter(|_| is_node)?;
        let state = self.index.states.of(row);
        let state = match (state, fate) {
            (State::Waiting | State::Dropped | State::Gone, _) => State::Gone,
            (State::Leaving, Fate::Dead) => State::Leaving,
            (State::Alive | State::Ghost | State::Removed, Fate::Alive) => State::Alive,
            (State::Alive | State::Ghost | State::Removed, Fate::Dead) => {
                if self.index.is_root(row) { State::Ghost } else { State::Removed }
            }
            (_, Fate::Alive | Fate::Absent) => return None,
        };
        self.index.states.set(row, state);
        Some(Row(row))
    }

    /// Whether the row of this slot is in the graph.
    pub fn is_linked(&self, row: Row) -> bool {
        self.index.states.is_linked(row.0)
    }

    /// A row that waits, in a slot of its own behind the graph.
    pub fn push_waiting(&mut self, bytes: &mut Reader<'_>) -> Option<Row> {
        let row = self.index.rows.push_stored(bytes)?;
        self.index.states.push();
        self.index.slots.waiting.push_back(row);
        Some(Row(row))
    }

    /// All was read.
    pub fn finish(self) -> Option<Index> {
        let Loading { mut index, shape } = self;
        let waiting = index.slots.waiting.len() as u32;
        let is_whole = index.shape() == shape && index.rows.len() == shape.nodes + waiting;
        if !is_whole || !is_drawn(&index, shape.nodes) {
            return None;
        }
        let gone = (0..shape.nodes).filter(|row| index.states.of(*row) == State::Gone);
        index.slots.gone = gone.collect();
        let slots = &index.slots;
        let counts = slots.inserted >= u64::from(shape.nodes)
            && slots.departed >= slots.gone.len() as u64
            && (shape.nodes == 0 || index.states.of(0).is_linked());
        counts.then_some(index)
    }
}

/// Whether the upper layers hold the rows that are drawn for them, in order.
fn is_drawn(index: &Index, nodes: u32) -> bool {
    let mut passed = vec![0; index.upper.len()];
    let mut rows = 0..nodes;
    let are_there = rows.all(|row| {
        let height = level(index.seed, row);
        height <= index.upper.len()
            && index.upper[..height].iter().zip(&mut passed).all(|(layer, passed)| {
                let is_next = *passed < layer.links.len() && layer.rows[*passed] == row;
                *passed += 1;
                is_next
            })
    });
    are_there && index.upper.iter().zip(passed).all(|(layer, passed)| passed == layer.links.len())
}

fn write_links<const SLOTS: usize>(links: &Links<SLOTS>, node: u32, out: &mut Vec<u8>) {
    let Kept { all, twins } = links.kept[node];
    let targets = links.targets[node].0;
    targets.iter().for_each(|target| out.extend_from_slice(&target.to_le_bytes()));
    let similarities = links.similarities.row(node);
    similarities.iter().for_each(|Packed(number)| out.extend_from_slice(&number.to_le_bytes()));
    out.extend_from_slice(&all.to_le_bytes());
    out.extend_from_slice(&twins.to_le_bytes());
    out.push(links.counts[node]);
}

/// Adds the next node of a layer of so many.
fn read_links<const SLOTS: usize>(
    links: &mut Links<SLOTS>,
    nodes: u32,
    bytes: &mut Reader<'_>,
) -> Option<()> {
    let node = links.push();
    let (words, _) = bytes.bytes(SLOTS * size_of::<u32>())?.as_chunks();
    let targets = &mut links.targets[node].0;
    for (target, word) in targets.iter_mut().zip(words) {
        *target = u32::from_le_bytes(*word);
    }
    let (words, _) = bytes.bytes(SLOTS * size_of::<Packed>())?.as_chunks();
    for (similarity, word) in links.similarities.row_mut(node).iter_mut().zip(words) {
        *similarity = Packed(i16::from_le_bytes(*word));
    }
    let (all, twins, count) = (bytes.u32()?, bytes.u32()?, usize::from(bytes.u8()?));
    links.kept[node] = Kept { all, twins };
    links.counts[node] = count as u8;
    let (used, free) = links.targets[node].0.split_at_checked(count)?;
    let leads_on = used.iter().all(|target| *target < nodes && *target != node);
    let keeps = u64::from(all) >> count == 0 && twins & !all == 0;
    (node < nodes && leads_on && free.iter().all(|target| *target == node) && keeps).then_some(())
}
