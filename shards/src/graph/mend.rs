//! Removed rows leave the graph: others are linked around them, a few at a time.
//!
//! ```text
//!  remove ─► Removed ──orphan──► Leaving ──relink all that link to it──► Gone
//! ```
//! A round takes four passes. The first takes each removed row out of the tree of parents; the
//! second looks through the links of all nodes for some that lead to such rows; the third takes the
//! links of those rows themselves, which were ways for searches until then. They have links to each
//! other, so none is gone before the fourth.

use crate::ids::Row;
use crate::limits::{
    GRAPH_LINKS, GRAPH_LINKS_BOTTOM, GRAPH_LINKS_REFINED, GRAPH_WIDTH_REFINE, MEND_DISTANCES,
    MEND_ROWS_MIN, MEND_ROWS_SHARE, MEND_ROWS_SHARE_MAX,
};
use crate::vector::rows::Rows;

use super::Index;
use super::adopt::orphan;
use super::index::{Neighbours, Scratch};
use super::links::{Linked, level};
use super::rank::Rank;
use super::refine::{has_twin_as_parent, relink_among};
use super::rescore::rescore;
use super::states::{Mending, State, States};

/// Rows whose state is looked at in the time of one distance.
const STATES_PER_DISTANCE: u32 = 64;
/// A row left with fewer links than this is searched for new ones.
const LINKS_MIN: usize = GRAPH_LINKS / 2;

impl Index {
    /// The row is not to be found any more: from now on, rows link to it no longer. It stays where
    /// it is, and a search finds it as long as its `visible` says so, until the graph is mended.
    pub fn remove(&mut self, row: Row) {
        let state = match self.states.of(row.0) {
            State::Waiting => State::Dropped,
            State::Alive if self.is_root(row.0) => State::Ghost,
            State::Alive => State::Removed,
            state => panic!("row {} is removed, which is {state:?}", row.0),
        };
        self.states.set(row.0, state);
    }

    /// Removed rows that [`Index::mend`] would take out of the graph, and has not begun with.
    pub fn removed(&self) -> u32 {
        self.states.count(State::Removed)
    }

    /// Whether removed rows are more than a share of those in the graph, so many that they are not
    /// to wait for idle time.
    pub fn is_mend_overdue(&self) -> bool {
        let dead = self.removed() + self.states.count(State::Leaving);
        dead >= MEND_ROWS_MIN.max(self.indexed() / MEND_ROWS_SHARE_MAX)
    }

    /// Whether so many rows were removed that a look at all links is worth it, or that look has
    /// begun.
    pub fn is_mend_due(&self) -> bool {
        let due = MEND_ROWS_MIN.max(self.indexed() / MEND_ROWS_SHARE);
        self.mending != Mending::Idle || self.removed() >= due
    }

    /// Takes removed rows out of the graph, in small steps. Returns the distances that this one
    /// took; zero exactly if there is nothing to be done.
    pub fn mend(&mut self, scratch: &mut Scratch) -> u32 {
        if self.mending == Mending::Idle && self.removed() == 0 {
            return 0;
        }
        let (mut distances, mut looked) = (0, 0);
        while distances + looked / STATES_PER_DISTANCE < MEND_DISTANCES {
            self.mending = match self.mending {
                Mending::Idle => Mending::Orphan(0),
                Mending::Orphan(row) if row < self.nodes_of(0) => {
                    looked += 1;
                    distances += self.orphan_if_removed(row);
                    Mending::Orphan(row + 1)
                }
                Mending::Orphan(_) => Mending::Relink(0, 0),
                Mending::Relink(layer, _) if layer > self.upper.len() => Mending::Clear(0),
                Mending::Relink(layer, node) if node < self.nodes_of(layer) => {
                    distances += 1 + self.relink(layer, node, scratch);
                    Mending::Relink(layer, node + 1)
                }
                Mending::Relink(layer, _) => Mending::Relink(layer + 1, 0),
                Mending::Clear(row) if row < self.nodes_of(0) => {
                    looked += 1;
                    self.clear_if_leaving(row);
                    Mending::Clear(row + 1)
                }
                Mending::Clear(_) => Mending::Go(0),
                Mending::Go(row) if row < self.nodes_of(0) => {
                    looked += 1;
                    if self.states.of(row) == State::Leaving {
                        self.go(row);
                    }
                    Mending::Go(row + 1)
                }
                Mending::Go(_) => {
                    self.mending = Mending::Idle;
                    return distances.max(1);
                }
            };
        }
        distances.max(1)
    }

    /// Whether searches of some layer start at `row`, or the tree of parents does.
    pub(super) fn is_root(&self, row: u32) -> bool {
        row == 0 || self.upper.iter().any(|layer| layer.rows[0] == row)
    }

    fn nodes_of(&self, layer: usize) -> u32 {
        match layer.checked_sub(1) {
            None => self.bottom.len(),
            Some(above) => self.upper[above].links.len(),
        }
    }

    fn orphan_if_removed(&mut self, row: u32) -> u32 {
        if self.states.of(row) != State::Removed {
            return 0;
        }
        self.states.set(row, State::Leaving);
        let Index { rows, bottom, upper, states, .. } = self;
        let mut distances = 1 + orphan(rows, bottom, row, |other| states.is_alive(other));
        for layer in &mut upper[..level(self.seed, row)] {
            let node = layer.node_of(row);
            distances += orphan(rows, layer, node, |other| states.is_alive(other));
        }
        distances
    }

    /// Links a node of a layer around rows that leave. Returns the distances that it took.
    fn relink(&mut self, layer: usize, node: u32, scratch: &mut Scratch) -> u32 {
        let Index { rows, bottom, upper, states, .. } = self;
        let neighbours = &mut scratch.neighbours;
        let Some(above) = layer.checked_sub(1) else {
            let state = states.of(node);
            if !stays(state) {
                return 0;
            }
            let distances =
                link_around(rows, states, bottom, node, GRAPH_LINKS_REFINED, neighbours);
            if distances > 0 && state == State::Alive && bottom.of(node).len() < LINKS_MIN {
                return distances + self.refine(Row(node), GRAPH_WIDTH_REFINE, scratch);
            }
            return distances;
        };
        let layer = &mut upper[above];
        if !stays(states.of(layer.rows[node])) {
            return 0;
        }
        link_around(rows, states, layer, node, GRAPH_LINKS, neighbours)
    }

    fn clear_if_leaving(&mut self, row: u32) {
        if self.states.of(row) == State::Leaving {
            self.bottom.clear(row);
            for layer in &mut self.upper[..level(self.seed, row)] {
                let node = layer.node_of(row);
                layer.links.clear(node);
            }
        }
    }
}

/// Whether a row of this state has links, and keeps them in the running round.
fn stays(state: State) -> bool {
    state.is_linked() && state != State::Leaving
}

/// Takes the links of `node` to rows that leave out and chooses among those that it has and those
/// that the leaving ones have, by the rule of insertion. Returns the distances that it took; zero
/// exactly if none of them leaves.
fn link_around<const SLOTS: usize, L: Linked<SLOTS>>(
    rows: &Rows,
    states: &States,
    layer: &mut L,
    node: u32,
    most: usize,
    neighbours: &mut Neighbours,
) -> u32 {
    let leaves = |other: &u32| states.of(layer.row(*other)) == State::Leaving;
    let mut lost = [0u32; GRAPH_LINKS_BOTTOM];
    let mut count = 0;
    for other in layer.neighbours(node).iter().copied().filter(leaves) {
        lost[count] = other;
        count += 1;
    }
    if count == 0 || planted!(GoneRowLinked) {
        return 0;
    }
    let lost = &lost[..count];
    let links = layer.links();
    let mut near: Vec<u32> = lost.iter().flat_map(|other| links.of(*other)).copied().collect();
    near.sort_unstable();
    near.dedup();
    let is_new = |other: &u32| *other != node && !links.of(node).contains(other);
    near.retain(|other| is_new(other) && states.is_alive(layer.row(*other)));
    lost.iter().for_each(|other| layer.links_mut().unlink(node, *other));
    if has_twin_as_parent(rows, layer, node) {
        return 1;
    }
    let query = rows.row(layer.row(node));
    neighbours.candidates.clear();
    rescore(rows, layer, query, near.into_iter(), &mut neighbours.candidates);
    let mut old = Vec::with_capacity(SLOTS);
    rescore(rows, layer, query, layer.neighbours(node).iter().copied(), &mut old);
    let distances = (neighbours.candidates.len() + old.len()) as u32;
    let (more, found) = relink_among(rows, layer, node, &old, most, neighbours);
    for rank in neighbours.chosen[..found].iter().filter(|rank| !old.contains(rank)) {
        let links = layer.links_mut();
        if !links.is_full(rank.node()) && !links.of(rank.node()).contains(&node) {
            links.append(rank.node(), Rank::new(rank.similarity(), node));
        }
    }
    distances + more + 1
}
