//! The layers: fixed slots of links, with their similarities.

use crate::limits::{GRAPH_LINKS, GRAPH_LINKS_BOTTOM};
use crate::vector::arena::Arena;

use crate::vector::prefetch::prefetch;

use super::rank::{Packed, Packing, Rank};

/// The topmost layer of `row`: each layer holds one in sixteen of the one below, drawn by a hash.
pub(super) fn level(seed: u64, row: u32) -> usize {
    const LINKS_LOG2: u32 = GRAPH_LINKS.ilog2();
    const _: () = assert!(GRAPH_LINKS.is_power_of_two());
    // The finaliser of SplitMix64 (Steele, Lea & Flood 2014).
    let mut hash =
        seed.wrapping_add(u64::from(row).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^= hash >> 31;
    (hash.leading_zeros() / LINKS_LOG2) as usize
}

/// The slots of one node. Two cache lines on the bottom layer.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Slots<T, const SLOTS: usize>(pub(super) [T; SLOTS]);

impl<T: Copy + Default, const SLOTS: usize> Default for Slots<T, SLOTS> {
    fn default() -> Self {
        Slots([T::default(); SLOTS])
    }
}

/// The links of one layer by node.
#[derive(Clone, Debug)]
pub(super) struct Links<const SLOTS: usize> {
    /// Whom a node links to; all that a search reads. Free slots lead to the node itself, which a
    /// search has always met, so it needs no count.
    pub(super) targets: Arena<Slots<u32, SLOTS>>,
    /// How similar each of them is, so that pruning compares no vectors again.
    pub(super) similarities: Arena<Packed>,
    pub(super) counts: Arena<u8>,
    pub(super) kept: Arena<Kept>,
    packing: Packing,
}

/// Which slots of a node are never pruned, as bits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kept {
    /// Its parent and its children.
    pub(super) all: u32,
    /// The children that are its twins.
    pub(super) twins: u32,
}

/// What a child is to its parent. Twins (rows with the same codes) have a quota of their own, so
/// that thousands of them leave room for others at each, and the first of them stays the way to all
/// that lies around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kin {
    Twin,
    Other,
}

impl<const SLOTS: usize> Links<SLOTS> {
    /// Children of either kin of one node, at most: half of the slots stay free for the nearest.
    pub(super) const CHILDREN_MAX: usize = SLOTS / 4;

    /// A layer without nodes.
    pub(super) fn new(packing: Packing) -> Links<SLOTS> {
        const { assert!(SLOTS <= u32::BITS as usize && SLOTS >= 4) };
        Links {
            targets: Arena::new(1),
            similarities: Arena::new(SLOTS),
            counts: Arena::new(1),
            kept: Arena::new(1),
            packing,
        }
    }

    /// Nodes held.
    pub(super) fn len(&self) -> u32 {
        self.counts.len()
    }

    /// Bytes of RAM that they take.
    pub(super) fn bytes(&self) -> u64 {
        let Self { targets, similarities, counts, kept, .. } = self;
        targets.bytes() + similarities.bytes() + counts.bytes() + kept.bytes()
    }

    /// Adds a node without links.
    pub(super) fn push(&mut self) -> u32 {
        let node = self.len();
        self.targets.push()[0].0 = [node; SLOTS];
        self.similarities.push();
        self.counts.push()[0] = 0;
        self.kept.push()[0] = Kept::default();
        node
    }

    /// Whom `node` links to.
    #[inline]
    pub(super) fn of(&self, node: u32) -> &[u32] {
        &self.targets[node].0[..usize::from(self.counts[node])]
    }

    /// How similar each of [`Links::of`] is.
    pub(super) fn similarities_of(&self, node: u32) -> &[Packed] {
        &self.similarities.row(node)[..usize::from(self.counts[node])]
    }

    /// How similarities are packed.
    pub(super) fn packing(&self) -> Packing {
        self.packing
    }

    /// Bit i: link i of `node` is kept.
    pub(super) fn kept_of(&self, node: u32) -> u32 {
        self.kept[node].all
    }

    /// Whether all slots of `node` are taken.
    pub(super) fn is_full(&self, node: u32) -> bool {
        usize::from(self.counts[node]) == SLOTS
    }

    /// Adds a link to a node that is not full; returns its slot.
    pub(super) fn append(&mut self, node: u32, link: Rank) -> usize {
        let slot = usize::from(self.counts[node]);
        assert!(slot < SLOTS, "a full node's links are replaced");
        self.counts[node] += 1;
        self.replace(node, slot, link);
        slot
    }

    /// Puts another link into a slot in use that is not kept.
    pub(super) fn replace(&mut self, node: u32, slot: usize, link: Rank) {
        debug_assert!(slot < usize::from(self.counts[node]) && self.kept_of(node) >> slot & 1 == 0);
        debug_assert!(link.node() != node);
        self.targets[node].0[slot] = link.node();
        self.similarities.row_mut(node)[slot] = self.packing.pack(link.similarity());
    }

    /// Replaces the links of `node` that are not kept by `others`, which are none of the kept ones.
    pub(super) fn relink(&mut self, node: u32, others: &[Rank]) {
        let Kept { all, twins } = self.kept[node];
        self.kept[node] = Kept::default();
        let (targets, similarities) = (&mut self.targets[node].0, self.similarities.row_mut(node));
        let mut count = 0;
        for slot in (0..SLOTS).filter(|slot| all >> slot & 1 != 0) {
            // Never behind `slot`, so what is still to be read is not overwritten.
            (targets[count], similarities[count]) = (targets[slot], similarities[slot]);
            self.kept[node].all |= 1 << count;
            self.kept[node].twins |= (twins >> slot & 1) << count;
            count += 1;
        }
        targets[count..].fill(node);
        self.counts[node] = count as u8;
        for link in others {
            debug_assert!(!self.of(node).contains(&link.node()));
            self.append(node, *link);
        }
    }

    /// Takes the link from `node` to `target` out, if there is one, kept or not.
    pub(super) fn unlink(&mut self, node: u32, target: u32) {
        let Some(slot) = self.of(node).iter().position(|other| *other == target) else {
            return;
        };
        let last = usize::from(self.counts[node]) - 1;
        let targets = &mut self.targets[node].0;
        targets[slot] = targets[last];
        targets[last] = node;
        let similarities = self.similarities.row_mut(node);
        similarities[slot] = similarities[last];
        self.counts[node] = last as u8;
        let Kept { all, twins } = &mut self.kept[node];
        for kept in [all, twins] {
            *kept = *kept & !(1 << slot) | (*kept >> last & 1) << slot;
            *kept &= !(1 << last);
        }
    }

    /// Takes all links of `node` out.
    pub(super) fn clear(&mut self, node: u32) {
        self.targets[node].0 = [node; SLOTS];
        self.counts[node] = 0;
        self.kept[node] = Kept::default();
    }

    /// Keeps none of the links of `node` any more.
    pub(super) fn release(&mut self, node: u32) {
        self.kept[node] = Kept::default();
    }

    /// The parent of `node`: the earlier of those that it keeps.
    pub(super) fn parent(&self, node: u32) -> Option<u32> {
        let kept = self.kept_of(node);
        let mut of = self.of(node).iter().enumerate();
        of.find(|(slot, target)| kept >> slot & 1 != 0 && **target < node)
            .map(|(_, parent)| *parent)
    }

    /// Keeps the link to the parent of `node` from now on.
    pub(super) fn keep_parent(&mut self, node: u32, slot: usize) {
        self.kept[node].all |= 1 << slot;
    }

    /// Keeps the link to a child of `node` from now on.
    pub(super) fn keep_child(&mut self, node: u32, slot: usize, kin: Kin) {
        self.kept[node].all |= 1 << slot;
        self.kept[node].twins |= u32::from(kin == Kin::Twin) << slot;
    }

    /// The children of one kin of `node`: kept links to later nodes.
    pub(super) fn children(&self, node: u32, kin: Kin) -> impl Iterator<Item = u32> {
        let Kept { all, twins } = self.kept[node];
        let slots = match kin {
            Kin::Twin => twins,
            Kin::Other => all & !twins,
        };
        let of = self.of(node).iter().enumerate();
        of.filter(move |(slot, target)| slots >> slot & 1 != 0 && **target > node)
            .map(|(_, target)| *target)
    }

    /// Whether `node` may become a parent once more.
    pub(super) fn takes_child(&self, node: u32, kin: Kin) -> bool {
        self.children(node, kin).count() < Self::CHILDREN_MAX
    }
}

/// The layer of all rows: a node is a row.
pub(super) type Bottom = Links<GRAPH_LINKS_BOTTOM>;

/// A layer of every sixteenth node of the layer below, numbered anew.
#[derive(Clone, Debug)]
pub(super) struct Upper {
    pub(super) links: Links<GRAPH_LINKS>,
    /// The row of each node.
    pub(super) rows: Arena<u32>,
    /// Each node's number in the layer below.
    pub(super) below: Arena<u32>,
}

impl Upper {
    /// A layer without nodes.
    pub(super) fn new(packing: Packing) -> Upper {
        Upper { links: Links::new(packing), rows: Arena::new(1), below: Arena::new(1) }
    }

    /// Bytes of RAM that it takes.
    pub(super) fn bytes(&self) -> u64 {
        self.links.bytes() + self.rows.bytes() + self.below.bytes()
    }

    /// The node of a row of this layer.
    pub(super) fn node_of(&self, row: u32) -> u32 {
        self.find(row).expect("a row has a node in each of its layers")
    }

    /// The node of a row, if it has one in this layer.
    pub(super) fn find(&self, row: u32) -> Option<u32> {
        let (mut first, mut end) = (0, self.links.len());
        while first < end {
            let middle = first + (end - first) / 2;
            match self.rows[middle] < row {
                true => first = middle + 1,
                false => end = middle,
            }
        }
        (first < self.links.len() && self.rows[first] == row).then_some(first)
    }

    /// Adds a node without links.
    pub(super) fn push(&mut self, row: u32, below: u32) -> u32 {
        self.rows.push()[0] = row;
        self.below.push()[0] = below;
        self.links.push()
    }
}

/// A layer whose nodes have `SLOTS` slots.
pub(super) trait Linked<const SLOTS: usize>: Layer {
    /// Its links.
    fn links(&self) -> &Links<SLOTS>;
    /// The same, to be changed.
    fn links_mut(&mut self) -> &mut Links<SLOTS>;
}

impl Linked<GRAPH_LINKS_BOTTOM> for Bottom {
    fn links(&self) -> &Bottom {
        self
    }

    fn links_mut(&mut self) -> &mut Bottom {
        self
    }
}

impl Linked<GRAPH_LINKS> for Upper {
    fn links(&self) -> &Links<GRAPH_LINKS> {
        &self.links
    }

    fn links_mut(&mut self) -> &mut Links<GRAPH_LINKS> {
        &mut self.links
    }
}

/// What a search sees of a layer.
pub(super) trait Layer {
    /// Nodes held.
    fn len(&self) -> u32;
    /// Whom `node` links to.
    fn neighbours(&self, node: u32) -> &[u32];
    /// The same, and `node` itself in free slots.
    fn slots(&self, node: u32) -> &[u32];
    /// Asks for what [`Layer::slots`] reads.
    fn prefetch(&self, node: u32);
    /// The row of `node`.
    fn row(&self, node: u32) -> u32;
}

impl Layer for Bottom {
    fn len(&self) -> u32 {
        self.len()
    }

    #[inline]
    fn neighbours(&self, node: u32) -> &[u32] {
        self.of(node)
    }

    #[inline]
    fn slots(&self, node: u32) -> &[u32] {
        &self.targets[node].0
    }

    #[inline]
    fn prefetch(&self, node: u32) {
        prefetch(&self.targets[node].0);
    }

    #[inline]
    fn row(&self, node: u32) -> u32 {
        node
    }
}

impl Layer for Upper {
    fn len(&self) -> u32 {
        self.links.len()
    }

    #[inline]
    fn neighbours(&self, node: u32) -> &[u32] {
        self.links.of(node)
    }

    #[inline]
    fn slots(&self, node: u32) -> &[u32] {
        &self.links.targets[node].0
    }

    #[inline]
    fn prefetch(&self, node: u32) {
        prefetch(&self.links.targets[node].0);
    }

    #[inline]
    fn row(&self, node: u32) -> u32 {
        self.rows[node]
    }
}
