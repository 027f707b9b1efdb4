//! A row linked anew, with more effort than its insertion had.

use crate::ids::Row;
use crate::limits::{GRAPH_LINKS_BOTTOM, GRAPH_LINKS_REFINED, GRAPH_WIDTH_REFINE};
use crate::vector::rows::Rows;

use super::Index;
use super::index::{Neighbours, Scratch, rescore};
use super::link::link_back;
use super::links::Bottom;
use super::rank::Rank;
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
    /// A row whose parent is its twin is left as it is: the first of the twins stands for all.
    pub fn refine(&mut self, row: Row, scratch: &mut Scratch) -> u32 {
        assert!(row.0 < self.indexed(), "row {} is not in the graph", row.0);
        if has_twin_as_parent(&self.rows, &self.bottom, row.0) {
            return 1;
        }
        let traversal = &mut scratch.traversals[0];
        self.rows.sketch(self.rows.row(row.0), &mut traversal.sketch);
        let mut distances = 0;
        let start = self.enter(&traversal.sketch, 0, &mut distances).node();
        traversal.begin(&self.bottom, start, GRAPH_WIDTH_REFINE, self.rows.kernel());
        distances += traversal.run(&self.rows, &self.bottom, self.bottom.packing(), &Everything);
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
    let Neighbours { candidates, chosen } = neighbours;
    let query = rows.row(row);
    let own = rows.similarity(query, row);
    let mut old = Vec::with_capacity(GRAPH_LINKS_BOTTOM);
    rescore(rows, bottom, query, bottom.of(row).iter().copied(), &mut old);
    candidates.clear();
    let found = traversal.beam.finish(rows.kernel()).iter().copied().filter(|node| *node != row);
    rescore(rows, bottom, query, found, candidates);
    let mut distances = (old.len() + candidates.len()) as u32 + 1;
    candidates.sort_unstable_by(|a, b| b.cmp(a));
    candidates.truncate(CANDIDATES_MAX);
    candidates.extend(&old);
    candidates.sort_unstable_by(|a, b| b.cmp(a));
    candidates.dedup();
    // A twin is as near to every candidate as the row itself, so it would hide them all.
    candidates.retain(|rank| rank.similarity() != own || rows.row(rank.node()) != query);
    distances += select(rows, bottom, candidates, GRAPH_LINKS_REFINED, chosen);
    let kept = bottom.kept_of(row);
    let is_kept = |rank: &Rank| {
        let slot = old.iter().position(|other| other == rank);
        slot.is_some_and(|slot| kept >> slot & 1 != 0)
    };
    // The kept ones take their slots whether they were chosen or not.
    let room = GRAPH_LINKS_BOTTOM - kept.count_ones() as usize;
    chosen.retain(|rank| !is_kept(rank));
    chosen.truncate(room);
    let found = chosen.len();
    let mut stay: Vec<Rank> =
        old.iter().copied().filter(|rank| !is_kept(rank) && !chosen.contains(rank)).collect();
    stay.sort_unstable_by(|a, b| b.cmp(a));
    chosen.extend(stay.iter().take(room - found));
    bottom.relink(row, chosen);
    for rank in chosen[..found].iter().filter(|rank| !old.contains(rank)) {
        if !bottom.of(rank.node()).contains(&row) {
            let back = Rank::new(rank.similarity(), row);
            link_back(bottom, rank.node(), back, &traversal.visited);
        }
    }
    distances
}

/// Whether the row was linked as a twin: its parent, the earlier of those that it keeps, has the
/// same codes.
fn has_twin_as_parent(rows: &Rows, bottom: &Bottom, row: u32) -> bool {
    let kept = bottom.kept_of(row);
    let mut parents = bottom.of(row).iter().enumerate();
    let parent = parents.find(|(slot, target)| kept >> slot & 1 != 0 && **target < row);
    parent.is_some_and(|(_, parent)| rows.row(*parent) == rows.row(row))
}
