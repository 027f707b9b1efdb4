//! The links of a new node, and those back to it.

use super::links::{Kin, Links};
use super::notes::Notes;
use super::rank::{Packed, Rank};

/// Links `node`, the last of its layer and without links, with `chosen`, best first, and makes one
/// of them (or, where none takes a child, a descendant of the best) its parent. A twin is linked
/// with its parent and the twin that was found, which links back only if it is the parent.
/// `notes` is of the candidates among which they were chosen; `similarity` compares it with another node.
/// Returns the distances that it took.
pub(super) fn link<const SLOTS: usize>(
    links: &mut Links<SLOTS>,
    node: u32,
    kin: Kin,
    chosen: &[Rank],
    notes: &Notes,
    similarity: impl Fn(u32) -> f32,
) -> u32 {
    assert!(!chosen.is_empty() && chosen.len() <= SLOTS);
    let takes = |rank: &Rank| links.takes_child(rank.node(), kin);
    let near = chosen.iter().copied().find(takes);
    let parent = near.unwrap_or_else(|| {
        let parent = descendant_with_room(links, chosen[0].node(), node, kin);
        Rank::new(similarity(parent), parent)
    });
    for rank in chosen {
        links.append(node, *rank);
        if *rank != parent && kin == Kin::Other && !planted!(BackLinksDropped) {
            link_back(links, rank.node(), Rank::new(rank.similarity(), node), notes);
        }
    }
    let slot = links.of(node).iter().position(|target| *target == parent.node());
    let slot = slot.unwrap_or_else(|| {
        // A free slot, or that of the farthest link.
        if links.is_full(node) {
            links.replace(node, SLOTS - 1, parent);
            SLOTS - 1
        } else {
            links.append(node, parent)
        }
    });
    links.keep_parent(node, slot);
    if !planted!(BackLinksDropped) {
        adopt(links, parent.node(), Rank::new(parent.similarity(), node), kin, notes);
    }
    u32::from(near.is_none())
}

/// Links `node`, which is without links, with `chosen`, best first, and all but a twin with it. It
/// gets no parent yet.
pub(super) fn link_both_ways<const SLOTS: usize>(
    links: &mut Links<SLOTS>,
    node: u32,
    kin: Kin,
    chosen: &[Rank],
    notes: &Notes,
) {
    assert!(!chosen.is_empty() && links.of(node).is_empty());
    for rank in chosen {
        links.append(node, *rank);
        if kin == Kin::Other {
            link_back(links, rank.node(), Rank::new(rank.similarity(), node), notes);
        }
    }
}

/// A node below `ancestor` in the tree of parents that takes a child; `ancestor` takes none. The
/// way down ends at a leaf at the latest.
fn descendant_with_room<const SLOTS: usize>(
    links: &Links<SLOTS>,
    ancestor: u32,
    node: u32,
    kin: Kin,
) -> u32 {
    let mut at = ancestor;
    while !links.takes_child(at, kin) {
        // Another child for each new node, so that the tree over thousands of equal rows stays
        // flat.
        let turn = node.wrapping_mul(0x9e37_79b9) >> 16;
        let children = links.children(at, kin).count();
        let next = links.children(at, kin).nth(turn as usize % children);
        at = next.expect("a node without room has children");
    }
    at
}

/// Links a parent to its new child, for ever.
fn adopt<const SLOTS: usize>(
    links: &mut Links<SLOTS>,
    parent: u32,
    child: Rank,
    kin: Kin,
    notes: &Notes,
) {
    let slot = if links.is_full(parent) {
        let slot = weigh(links, parent, child, notes).farthest_hidden_or_farthest();
        links.replace(parent, slot, child);
        slot
    } else {
        links.append(parent, child)
    };
    links.keep_child(parent, slot, kin);
}

/// Links `from` to a new node, if the new node is worth one of its slots.
pub(super) fn link_back<const SLOTS: usize>(
    links: &mut Links<SLOTS>,
    from: u32,
    new: Rank,
    notes: &Notes,
) {
    if !links.is_full(from) {
        links.append(from, new);
        return;
    }
    let weighed = weigh(links, from, new, notes);
    let similarity = links.packing().pack(new.similarity());
    if !weighed.new_is_hidden && (weighed.hidden.is_some() || weighed.farthest.0 < similarity) {
        links.replace(from, weighed.farthest_hidden_or_farthest(), new);
    }
}

/// What a new link means to the links that a full node has.
struct Weighed {
    /// The farthest link that may go: similarity and slot.
    farthest: (Packed, usize),
    /// The farthest of those that may go and that the search would find through the new node.
    hidden: Option<(Packed, usize)>,
    /// The search would find the new node through one of the links.
    new_is_hidden: bool,
}

impl Weighed {
    fn farthest_hidden_or_farthest(&self) -> usize {
        self.hidden.unwrap_or(self.farthest).1
    }
}

/// The rule of [`super::select`], without a distance: links carry their similarities, and how
/// similar their targets are to the new node is known of the candidates among which its links were
/// chosen. Others hide nothing and are not hidden. Ties hide nothing here, so that a twin of `from` does not keep
/// out all who are not.
fn weigh<const SLOTS: usize>(links: &Links<SLOTS>, from: u32, new: Rank, notes: &Notes) -> Weighed {
    let kept = links.kept_of(from);
    let new_similarity = links.packing().pack(new.similarity());
    let (mut farthest, mut hidden, mut new_is_hidden) = (None, None, false);
    for (slot, (target, similarity)) in
        links.of(from).iter().zip(links.similarities_of(from)).enumerate()
    {
        let may_go = kept >> slot & 1 == 0;
        if may_go && farthest.is_none_or(|(least, _)| *similarity < least) {
            farthest = Some((*similarity, slot));
        }
        let Some(to_new) = notes.similarity(*target) else {
            continue;
        };
        if *similarity >= new_similarity {
            new_is_hidden |= to_new > new_similarity;
        } else if may_go
            && to_new > *similarity
            && hidden.is_none_or(|(least, _)| *similarity < least)
        {
            hidden = Some((*similarity, slot));
        }
    }
    let farthest = farthest.expect("at most half of the slots and one more are kept");
    Weighed { farthest, hidden, new_is_hidden }
}
