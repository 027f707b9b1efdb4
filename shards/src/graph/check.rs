//! Every invariant of the graph, verified.

use crate::vector::rows::Rows;

use super::links::{Bottom, Kin, Links, Upper, level};
use super::slots::Slots;
use super::states::{State, States};

/// Fails with a text unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+));
        }
    };
}

/// Checks all layers; see [`super::Index::check`].
pub(super) fn check(
    rows: &Rows,
    bottom: &Bottom,
    upper: &[Upper],
    states: &States,
    slots: &Slots,
    seed: u64,
) -> Result<(), String> {
    let indexed = bottom.len();
    ensure!(indexed <= rows.len(), "{indexed} rows are indexed, of {}", rows.len());
    check_slots(rows, bottom, states, slots)?;
    check_links(rows, bottom, states, |node| node, 0)?;
    for (below, layer) in upper.iter().enumerate() {
        let height = below + 1;
        ensure!(layer.links.len() > 0, "layer {height} is empty");
        let wanted: Vec<u32> = (0..indexed).filter(|row| level(seed, *row) >= height).collect();
        let nodes: Vec<u32> = (0..layer.links.len()).map(|node| layer.rows[node]).collect();
        ensure!(nodes == wanted, "layer {height} holds other rows than were drawn for it");
        for node in 0..layer.links.len() {
            let (row, lower) = (layer.rows[node], layer.below[node]);
            let same = match below.checked_sub(1) {
                None => lower == row,
                Some(below) => lower < upper[below].links.len() && upper[below].rows[lower] == row,
            };
            ensure!(
                same,
                "node {node} of layer {height} is not the same row as node {lower} below"
            );
        }
        check_links(rows, &layer.links, states, |node| layer.rows[node], height)?;
    }
    let drawn = (0..indexed).map(|row| level(seed, row)).max().unwrap_or(0);
    ensure!(drawn == upper.len(), "{} upper layers where {drawn} were drawn", upper.len());
    let entry = upper.last().map_or(0, |layer| layer.rows[0]);
    check_reachable(bottom, entry, |row| stays(states.of(row)))
}

/// Whether a row of this state has its place in the graph.
fn stays(state: State) -> bool {
    state.is_linked() && state != State::Leaving
}

/// Checks that each row outside the graph stands once in the list that it belongs to.
fn check_slots(rows: &Rows, bottom: &Bottom, states: &States, slots: &Slots) -> Result<(), String> {
    let mut listed = vec![false; rows.len() as usize];
    let mut new = bottom.len();
    for row in &slots.waiting {
        ensure!(*row < rows.len(), "row {row} waits, of {}", rows.len());
        let state = states.of(*row);
        ensure!(
            matches!(state, State::Waiting | State::Dropped),
            "row {row} waits, and is {state:?}"
        );
        ensure!(!std::mem::replace(&mut listed[*row as usize], true), "row {row} waits twice");
        if *row >= bottom.len() {
            ensure!(*row == new, "slot {row} is to be taken before slot {new}");
            new += 1;
        }
    }
    for row in &slots.gone {
        let is_gone = *row < bottom.len() && states.of(*row) == State::Gone;
        ensure!(is_gone, "the slot of row {row} may be used again, and it is not gone");
        ensure!(!std::mem::replace(&mut listed[*row as usize], true), "row {row} is gone twice");
    }
    let lost = (0..rows.len()).find(|row| !states.is_linked(*row) && !listed[*row as usize]);
    ensure!(lost.is_none(), "row {lost:?} is neither in the graph nor outside");
    Ok(())
}

/// Checks the links of one layer.
fn check_links<const SLOTS: usize>(
    rows: &Rows,
    links: &Links<SLOTS>,
    states: &States,
    row_of: impl Fn(u32) -> u32,
    height: usize,
) -> Result<(), String> {
    for node in 0..links.len() {
        let (targets, kept) = (links.of(node), links.kept_of(node));
        ensure!(
            targets.len() <= SLOTS,
            "node {node} of layer {height} has {} links",
            targets.len()
        );
        ensure!(
            u64::from(kept) >> targets.len() == 0,
            "node {node} of layer {height} keeps links that it does not have"
        );
        for (slot, (target, similarity)) in
            targets.iter().zip(links.similarities_of(node)).enumerate()
        {
            ensure!(
                *target < links.len(),
                "node {node} of layer {height} links to {target}, of {}",
                links.len()
            );
            ensure!(
                states.is_linked(row_of(*target)),
                "node {node} of layer {height} links to {target}, which is {:?}",
                states.of(row_of(*target))
            );
            ensure!(*target != node, "node {node} of layer {height} links to itself");
            ensure!(
                !targets[..slot].contains(target),
                "node {node} of layer {height} links twice to {target}"
            );
            let exact = rows.similarity(rows.row(row_of(node)), row_of(*target));
            ensure!(
                links.packing().pack(exact) == *similarity,
                "node {node} of layer {height} has {similarity:?} beside its link to {target}, which is {exact}"
            );
        }
        let state = states.of(row_of(node));
        ensure!(
            state.is_linked() || targets.is_empty(),
            "node {node} of layer {height} is {state:?} and has links"
        );
        check_parent(links, node, height, usize::from(node > 0 && stays(state)))?;
    }
    Ok(())
}

/// Checks that a node has one parent, which has it as a child, and not too many children.
fn check_parent<const SLOTS: usize>(
    links: &Links<SLOTS>,
    node: u32,
    height: usize,
    wanted: usize,
) -> Result<(), String> {
    let kept = links.kept_of(node);
    let of = links.of(node).iter().enumerate();
    let parents: Vec<u32> = of
        .filter(|(slot, target)| kept >> slot & 1 != 0 && **target < node)
        .map(|(_, target)| *target)
        .collect();
    ensure!(parents.len() == wanted, "node {node} of layer {height} has {} parents", parents.len());
    for parent in parents {
        let children = [Kin::Twin, Kin::Other]
            .map(|kin| links.children(parent, kin).filter(|child| *child == node));
        ensure!(
            children.into_iter().flatten().count() == 1,
            "node {node} of layer {height} is no child of its parent {parent}"
        );
    }
    for kin in [Kin::Twin, Kin::Other] {
        let children = links.children(node, kin).count();
        ensure!(
            children <= Links::<SLOTS>::CHILDREN_MAX,
            "node {node} of layer {height} has {children} children"
        );
    }
    Ok(())
}

/// Checks that links lead from `entry` to every node that `stays`, through such nodes alone.
fn check_reachable(bottom: &Bottom, entry: u32, stays: impl Fn(u32) -> bool) -> Result<(), String> {
    if bottom.len() == 0 {
        return Ok(());
    }
    let mut reached = vec![false; bottom.len() as usize];
    let mut open = vec![entry];
    reached[entry as usize] = true;
    while let Some(node) = open.pop() {
        for target in bottom.of(node) {
            if stays(*target) && !std::mem::replace(&mut reached[*target as usize], true) {
                open.push(*target);
            }
        }
    }
    match (0..bottom.len()).find(|row| stays(*row) && !reached[*row as usize]) {
        Some(row) => Err(format!("row {row} cannot be reached from row {entry}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::rank::{Packing, Rank};
    use crate::graph::{Index, Scratch};
    use crate::limits::GRAPH_WIDTH_INSERT;
    use crate::settings::Metric;
    use crate::vector::codes::{encode, normalise};

    /// A sound graph of some hundred rows, with an upper layer.
    fn sound() -> Index {
        let mut index = Index::new(8, Metric::Cosine, 1);
        let mut scratch = Scratch::default();
        for row in 0..300u32 {
            let mut vector =
                [0, 1, 2, 3, 4, 5, 6, 7].map(|at| (((row + 1) * (at + 3)) as f32).sin());
            normalise(&mut vector).expect("not zero");
            index.push(&encode(&vector));
            index.insert_next(GRAPH_WIDTH_INSERT, &mut scratch);
        }
        assert_eq!(index.check(), Ok(()));
        assert!(!index.upper.is_empty());
        index
    }

    /// Does damage to a sound graph and returns what the check says.
    fn damaged(damage: impl FnOnce(&mut Index)) -> String {
        let mut index = sound();
        damage(&mut index);
        index.check().expect_err("the damage is seen")
    }

    /// A slot of `node` that is not kept.
    fn free_slot(index: &Index, node: u32) -> usize {
        (!index.bottom.kept_of(node)).trailing_zeros() as usize
    }

    #[test]
    fn damage_is_seen_and_named() {
        let replaced = |target: u32, similarity: f32| {
            damaged(|index| {
                let slot = free_slot(index, 5);
                index.bottom.replace(5, slot, Rank::new(similarity, target));
            })
        };
        assert!(replaced(300, 0.5).contains("links to 300, of 300"));
        assert!(replaced(7, 0.123).contains("beside its link to 7, which is"));
        let twice = damaged(|index| {
            let slot = free_slot(index, 5);
            let other = index.bottom.of(5)[slot + 1];
            let similarity = index.rows.similarity(index.rows.row(5), other);
            index.bottom.replace(5, slot, Rank::new(similarity, other));
        });
        assert!(twice.contains("links twice"), "{twice}");
        let parents = damaged(|index| {
            let kept = index.bottom.kept_of(299);
            let earlier = |slot: &usize| kept >> slot & 1 == 0 && index.bottom.of(299)[*slot] < 299;
            let slot = (0..index.bottom.of(299).len()).find(earlier).expect("two links");
            index.bottom.keep_parent(299, slot);
        });
        assert!(parents.contains("has 2 parents"), "{parents}");
        let drawn = damaged(|index| index.upper[0].rows[1] += 1);
        assert!(drawn.contains("holds other rows than were drawn"), "{drawn}");
        let nested = damaged(|index| index.upper[0].below[1] += 1);
        assert!(nested.contains("is not the same row"), "{nested}");
        let missing = damaged(|index| index.upper.clear());
        assert!(missing.contains("0 upper layers where"), "{missing}");
        let alone = damaged(|index| {
            index.bottom.push();
        });
        assert!(alone.contains("301 rows are indexed, of 300"), "{alone}");
    }

    #[test]
    fn a_row_that_no_link_leads_to_is_named() {
        let mut bottom = Bottom::new(Packing::new(1.0));
        for _ in 0..3 {
            bottom.push();
        }
        bottom.append(0, Rank::new(0.5, 1));
        bottom.append(2, Rank::new(0.5, 0));
        assert_eq!(check_reachable(&bottom, 2, |_| true), Ok(()));
        assert_eq!(
            check_reachable(&bottom, 0, |_| true),
            Err("row 2 cannot be reached from row 0".into())
        );
    }
}
