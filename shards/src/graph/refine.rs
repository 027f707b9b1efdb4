//! A row linked anew, with more effort than its insertion had.

use crate::ids::Row;
use crate::limits::{GRAPH_LINKS_BOTTOM, GRAPH_LINKS_REFINED};
use crate::vector::rows::Rows;

use super::Index;
use super::index::{Neighbours, Scratch};
use super::link::link_back;
use super::links::{Bottom, Linked};
use super::rank::Rank;
use super::rescore::rescore;
use super::search::{Everything, Traversal};
use super::select::select;

/// Of what the search finds, so many of the nearest are chosen among: farther ones are hidden by
/// nearer ones in all but a few cases, and each costs distances to find that out.
const CANDIDATES_MAX: usize = 96;

impl Index {
    /// Searches the neighbourhood of a row of the graph again, with more effort than at its
    /// insertion and among the rows that came since, chooses its links on the bottom layer among
    /// what it finds and the links it has, and lets what it newly links to link back. What is kept
    /// (its parent and its children) stays, and old links stay as far as there is room. Returns the
    /// distances that it took.
    ///
    /// A row whose parent is its twin is left as it is: the first of the twins stands for all. So
    /// is one that was removed, or that waits.
    pub fn refine(&mut self, row: Row, width: u32, scratch: &mut Scratch) -> u32 {
        if !self.states.is_alive(row.0) || has_twin_as_parent(&self.rows, &self.bottom, row.0) {
            return 1;
        }
        let traversal = &mut scratch.traversal;
        self.rows.sketch(self.rows.row(row.0), &mut traversal.sketch);
        let mut distances = 0;
        let start = self.enter(&traversal.sketch, 0, &mut distances).node();
        traversal.begin(&self.bottom, start, width);
        distances += match self.states.are_all_alive() {
            true => traversal.run(self.view(&Everything)),
            false => {
                let is_alive = |row| self.states.is_alive(row);
                traversal.run(self.view(&is_alive))
            }
        };
        let neighbours = &mut scratch.neighbours;
        distances + link_anew(&self.rows, &mut self.bottom, row.0, traversal, neighbours)
    }
}

/// Links `row` anew among what the traversal found.
fn link_anew(
    rows: &Rows,
    bottom: &mut Bottom,
    row: u32,
    traversal: &mut Traversal,
    neighbours: &mut Neighbours,
) -> u32 {
    let query = rows.row(row);
    let mut old = Vec::with_capacity(GRAPH_LINKS_BOTTOM);
    rescore(rows, bottom, query, bottom.of(row).iter().copied(), &mut old);
    neighbours.candidates.clear();
    let found = traversal.beam.nodes().iter().copied().filter(|node| *node != row);
    rescore(rows, bottom, query, found, &mut neighbours.candidates);
    neighbours.notes.take(&neighbours.candidates, bottom.len(), bottom.packing());
    let distances = (old.len() + neighbours.candidates.len()) as u32;
    let (more, found) = relink_among(rows, bottom, row, &old, GRAPH_LINKS_REFINED, neighbours);
    for rank in neighbours.chosen[..found].iter().filter(|rank| !old.contains(rank)) {
        if !bottom.of(rank.node()).contains(&row) {
            let back = Rank::new(rank.similarity(), row);
            link_back(bottom, rank.node(), back, &neighbours.notes);
        }
    }
    distances + more
}

/// Chooses the links of `node` among the candidates and those that it has, `old`: at most `most`,
/// beside those that are kept. Old ones stay where there is room. Returns the distances that it
/// took, and how many links were chosen.
pub(super) fn relink_among<const SLOTS: usize, L: Linked<SLOTS>>(
    rows: &Rows,
    layer: &mut L,
    node: u32,
    old: &[Rank],
    most: usize,
    neighbours: &mut Neighbours,
) -> (u32, usize) {
    let Neighbours { candidates, chosen, .. } = neighbours;
    let row = layer.row(node);
    let query = rows.row(row);
    let own = rows.similarity(query, row);
    candidates.sort_unstable_by(|a, b| b.cmp(a));
    candidates.truncate(CANDIDATES_MAX);
    candidates.extend(old);
    candidates.sort_unstable_by(|a, b| b.cmp(a));
    candidates.dedup();
    // A twin is as near to every candidate as the row itself, so it would hide them all.
    candidates.retain(|rank| rank.similarity() != own || rows.row(layer.row(rank.node())) != query);
    let distances = 1 + select(rows, layer, candidates, most, chosen);
    let kept = layer.links().kept_of(node);
    let is_kept = |rank: &Rank| {
        let slot = old.iter().position(|other| other == rank);
        slot.is_some_and(|slot| kept >> slot & 1 != 0)
    };
    // The kept ones take their slots whether they were chosen or not.
    let room = SLOTS - kept.count_ones() as usize;
    chosen.retain(|rank| !is_kept(rank));
    chosen.truncate(room);
    let found = chosen.len();
    let mut stay: Vec<Rank> =
        old.iter().copied().filter(|rank| !is_kept(rank) && !chosen.contains(rank)).collect();
    stay.sort_unstable_by(|a, b| b.cmp(a));
    chosen.extend(stay.iter().take(room - found));
    layer.links_mut().relink(node, chosen);
    (distances, found)
}

/// Whether the node was linked as a twin: its parent has the same codes.
pub(super) fn has_twin_as_parent<const SLOTS: usize, L: Linked<SLOTS>>(
    rows: &Rows,
    layer: &L,
    node: u32,
) -> bool {
    let parent = layer.links().parent(node);
    parent.is_some_and(|parent| rows.row(layer.row(parent)) == rows.row(layer.row(node)))
}
