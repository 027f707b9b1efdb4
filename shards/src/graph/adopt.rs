//! A node taken out of the tree of parents: its children are adopted by others. One that comes into
//! it again.

use crate::vector::rows::Rows;

use super::links::{Kin, Layer, Linked, Links};
use super::rank::Rank;

/// Takes `node`, which is not node 0, out of the tree of parents of its layer: from now on it has
/// no parent and no children, though it is linked as before with others than those. Each child gets
/// the most similar parent among its own links and those of `node` whose row `may_adopt`, is earlier and
/// has room; else one below the parent of `node`. The tree spans all other nodes throughout.
/// Returns the distances that it took.
pub(super) fn orphan<const SLOTS: usize, L: Linked<SLOTS>>(
    rows: &Rows,
    layer: &mut L,
    node: u32,
    may_adopt: impl Fn(u32) -> bool,
) -> u32 {
    let links = layer.links();
    let parent = links.parent(node).expect("only node 0 has no parent");
    let mut children: Vec<u32> = links.children(node, Kin::Twin).collect();
    children.extend(links.children(node, Kin::Other));
    // An earlier child may adopt a later one.
    children.sort_unstable();
    let around = links.of(node).to_vec();
    layer.links_mut().release(node);
    layer.links_mut().unlink(parent, node);
    let mut distances = 0;
    for child in children {
        layer.links_mut().unlink(child, node);
        let (adopter, more) = adopter(rows, layer, child, &around, &may_adopt);
        distances += more;
        let kin = kin(rows, layer, adopter.unwrap_or(parent), child);
        match adopter {
            Some(adopter) => attach(rows, layer, adopter, child, kin),
            None => distances += place_below(rows, layer, parent, child, kin),
        }
    }
    distances
}

/// Gives `node`, which has no parent and is linked with `chosen`, best first, its place in the tree:
/// below the best of them that comes before it and has room; failing that, below the nearest
/// ancestor of the best that comes before it. Returns the distances that it took.
pub(super) fn settle<const SLOTS: usize, L: Linked<SLOTS>>(
    rows: &Rows,
    layer: &mut L,
    node: u32,
    chosen: &[Rank],
) -> u32 {
    for earlier in chosen.iter().map(|rank| rank.node()).filter(|other| *other < node) {
        let kin = kin(rows, layer, earlier, node);
        if layer.links().takes_child(earlier, kin) {
            attach(rows, layer, earlier, node, kin);
            return 1;
        }
    }
    let mut ancestor = chosen[0].node();
    while ancestor > node {
        ancestor = layer.links().parent(ancestor).expect("node 0 comes before all others");
    }
    let kin = kin(rows, layer, ancestor, node);
    place_below(rows, layer, ancestor, node, kin)
}

/// The best parent for `child` among its own links and those of its parent so far, and the distances
/// that it took.
fn adopter<const SLOTS: usize, L: Linked<SLOTS>>(
    rows: &Rows,
    layer: &L,
    child: u32,
    around: &[u32],
    may_adopt: impl Fn(u32) -> bool,
) -> (Option<u32>, u32) {
    let query = rows.row(layer.row(child));
    let mut distances = 0;
    let mut best = None;
    for other in layer.neighbours(child).iter().chain(around).copied() {
        let may = other < child && may_adopt(layer.row(other));
        if may && layer.links().takes_child(other, kin(rows, layer, other, child)) {
            let rank = Rank::new(rows.similarity(query, layer.row(other)), other);
            best = best.max(Some(rank));
            distances += 1;
        }
    }
    (best.map(Rank::node), distances)
}

/// What `child` would be to `parent`.
fn kin<L: Layer>(rows: &Rows, layer: &L, parent: u32, child: u32) -> Kin {
    match rows.row(layer.row(parent)) == rows.row(layer.row(child)) {
        true => Kin::Twin,
        false => Kin::Other,
    }
}

/// Makes `node`, which has no parent, the child of `ancestor` or of one below it in the tree. A
/// node comes before its children, so where all children of a full one are later than `node`, it
/// takes the place of one of them, which goes on down below it. Ends at a leaf at the latest.
/// Returns the distances that it took.
fn place_below<const SLOTS: usize, L: Linked<SLOTS>>(
    rows: &Rows,
    layer: &mut L,
    ancestor: u32,
    node: u32,
    kin: Kin,
) -> u32 {
    let (mut at, mut node, mut distances) = (ancestor, node, 1);
    while !layer.links().takes_child(at, kin) {
        let links = layer.links();
        if let Some(earlier) = links.children(at, kin).find(|child| *child < node) {
            at = earlier;
            continue;
        }
        let later = links.children(at, kin).next().expect("a node without room has children");
        layer.links_mut().unlink(at, later);
        layer.links_mut().unlink(later, at);
        attach(rows, layer, at, node, kin);
        (at, node) = (node, later);
        distances += 1;
    }
    attach(rows, layer, at, node, kin);
    distances
}

/// Makes `child` a child of `parent`, which has room for it.
fn attach<const SLOTS: usize, L: Linked<SLOTS>>(
    rows: &Rows,
    layer: &mut L,
    parent: u32,
    child: u32,
    kin: Kin,
) {
    assert!(parent < child, "a parent comes before its children");
    let similarity = rows.similarity(rows.row(layer.row(child)), layer.row(parent));
    let links = layer.links_mut();
    let up = slot_of(links, child, Rank::new(similarity, parent));
    links.keep_parent(child, up);
    let down = slot_of(links, parent, Rank::new(similarity, child));
    links.keep_child(parent, down, kin);
}

/// The slot of a link that is there, or is put into a free slot or in the place of the farthest
/// that is not kept.
fn slot_of<const SLOTS: usize>(links: &mut Links<SLOTS>, node: u32, link: Rank) -> usize {
    if let Some(slot) = links.of(node).iter().position(|target| *target == link.node()) {
        return slot;
    }
    if !links.is_full(node) {
        return links.append(node, link);
    }
    let kept = links.kept_of(node);
    let may_go = links.similarities_of(node).iter().enumerate().filter(|at| kept >> at.0 & 1 == 0);
    let farthest = may_go.min_by_key(|(_, similarity)| **similarity);
    let slot = farthest.expect("at most half of the slots and one more are kept").0;
    links.replace(node, slot, link);
    slot
}
