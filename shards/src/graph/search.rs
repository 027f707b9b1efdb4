//! From an entry to the nearest, by 1-bit codes.

use crate::limits::GRAPH_LINKS;
use crate::vector::block::Block;
use crate::vector::lanes::{LANES, Lanes, each, first_lanes};
use crate::vector::prefetch::prefetch;
use crate::vector::rows::{COMPARED_MAX, Rows, Sketch};
use crate::vector::set::{Set, Task};

use super::beam::{Beam, POPPED_MAX};
use super::links::{Layer, Upper};
use super::rank::Rank;
use super::visited::Visited;

/// Nodes that one search expands, at most, beyond its width. A search expands about as many as it
/// is wide where all are visible; this bounds one that passes through many that are not.
pub(super) const EXPANSIONS_SPARE: u32 = 1_024;

/// Nodes expanded at once: what one step costs beside its distances is shared by them, and more is
/// on its way from memory at a time; the second best is expanded a little early.
const EXPANDED_AT_ONCE: usize = POPPED_MAX;
/// Nodes met in one step, at most.
pub(super) const FRESH_MAX: usize = EXPANDED_AT_ONCE * COMPARED_MAX;

/// Which nodes may be found. Others are passed through.
pub(super) trait Visibility {
    /// Whether all may.
    const ALL: bool;
    /// See [`Visibility::ALL`].
    #[inline(always)]
    fn all(&self) -> bool {
        Self::ALL
    }
    /// Whether this one may.
    fn sees(&self, node: u32) -> bool;
}

/// All nodes may be found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Everything;

impl Visibility for Everything {
    const ALL: bool = true;

    #[inline(always)]
    fn sees(&self, _: u32) -> bool {
        true
    }
}

impl<F: Fn(u32) -> bool> Visibility for F {
    const ALL: bool = false;

    #[inline(always)]
    fn sees(&self, node: u32) -> bool {
        self(node)
    }
}

/// A search and what it writes to.
#[derive(Debug, Default)]
pub(super) struct Traversal {
    /// The query.
    pub(super) sketch: Sketch,
    pub(super) visited: Visited,
    pub(super) beam: Beam,
    /// Of the nodes met, the first so many were compared; the others were asked for.
    compared: usize,
    expansions_left: u32,
    has_ended: bool,
}

/// What a search sees of a graph.
#[derive(Debug)]
pub(super) struct View<'a, L, V> {
    pub(super) rows: &'a Rows,
    pub(super) layer: &'a L,
    /// Nodes for which it does not hold are passed through.
    pub(super) visible: &'a V,
}

impl<L, V> Clone for View<'_, L, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<L, V> Copy for View<'_, L, V> {}

impl Traversal {
    /// Begins a search of `width` for what is in the sketch, from `start`.
    pub(super) fn begin<L: Layer>(&mut self, layer: &L, start: u32, width: u32) {
        self.visited.reset(layer.len());
        self.beam.reset(width as usize);
        self.visited.reserve(1);
        self.visited.meet(&[start]);
        self.compared = 0;
        self.expansions_left = width.saturating_add(EXPANSIONS_SPARE);
        self.has_ended = false;
    }

    /// Whether the search found what there is to be found at its width, rather than giving up
    /// between nodes that are not visible.
    pub(super) fn is_complete(&self) -> bool {
        self.has_ended
    }

    /// Takes a node for absent: it is neither found nor are its links followed. Called right after
    /// [`Traversal::begin`].
    pub(super) fn leave_out(&mut self, node: u32) {
        self.visited.leave_out(node);
    }

    /// Goes on with a search by `most` steps. Returns the distances that they took, and whether there are more to do;
    /// if not, the beam holds what was found. Nodes may have come since the last one.
    pub(super) fn run_on<L: Layer, V: Visibility>(
        &mut self,
        view: View<'_, L, V>,
        most: u32,
    ) -> (u32, bool) {
        self.visited.grow(view.layer.len());
        view.rows.kernel().run(Steps { search: self, view, most })
    }

    /// Searches to the end. Returns the distances that it took.
    pub(super) fn run<L: Layer, V: Visibility>(&mut self, view: View<'_, L, V>) -> u32 {
        view.rows.kernel().run(Steps { search: self, view, most: u32::MAX }).0
    }
}

/// Some steps of a search.
struct Steps<'a, L, V> {
    search: &'a mut Traversal,
    view: View<'a, L, V>,
    most: u32,
}

impl<L: Layer, V: Visibility> Task for Steps<'_, L, V> {
    /// The distances that they took, and whether there are more to do.
    type Output = (u32, bool);

    #[inline(always)]
    fn run<S: Set>(self, set: S) -> (u32, bool) {
        let Steps { search, view, most } = self;
        // The 1-bit codes of those that were met and not compared, and some to fill a group with.
        let mut codes: [&[Block]; FRESH_MAX + LANES] = [&[]; FRESH_MAX + LANES];
        search.ask(view, &mut codes);
        let mut distances = 0;
        for _ in 0..most {
            distances += search.compare(view, &codes, set);
            if !search.expand(view.layer, set) {
                search.beam.finish(set);
                return (distances, false);
            }
            search.ask(view, &mut codes);
        }
        (distances, true)
    }
}

impl Traversal {
    /// Asks for the codes of what was met and not compared.
    #[inline(always)]
    fn ask<'a, L: Layer, V>(&self, view: View<'a, L, V>, codes: &mut [&'a [Block]]) {
        let met = &self.visited.met()[self.compared..];
        for (codes, node) in codes.iter_mut().zip(met) {
            *codes = view.rows.signs(view.layer.row(*node));
            prefetch(codes);
        }
        if let Some(last) = met.len().checked_sub(1) {
            // A group of four is compared as a whole.
            let last_codes = codes[last];
            codes[last + 1..last + 4].fill(last_codes);
        }
    }

    /// Compares what was met and not compared. Returns the distances that it took.
    #[inline(always)]
    fn compare<L: Layer, V: Visibility, S: Set>(
        &mut self,
        view: View<'_, L, V>,
        codes: &[&[Block]; FRESH_MAX + LANES],
        set: S,
    ) -> u32 {
        let end = self.visited.count();
        let count = end - self.compared;
        self.beam.make_room(set);
        let first = self.beam.nodes().len();
        for codes in codes[..FRESH_MAX].as_chunks::<LANES>().0 {
            if self.compared == end {
                break;
            }
            let nodes = *self.visited.sixteen(self.compared);
            let some = (end - self.compared).min(LANES);
            self.compared += some;
            let row_of = |lane: usize| view.layer.row(nodes[lane]);
            let group = view.rows.estimates_of(&self.sketch, (codes, some), row_of, set);
            let similarities = set.array(group);
            let mut admitted = set.above(group, self.beam.bound()) & first_lanes(some);
            if !view.visible.all() {
                let passed = self.pass(view.visible, &nodes, &similarities, admitted);
                admitted &= !passed;
            }
            self.beam.push(group, &nodes, admitted, set);
        }
        self.beam.close();
        for node in &self.beam.nodes()[first..] {
            view.layer.prefetch(*node);
        }
        count as u32
    }

    /// Passes through those of the `admitted` that are not visible; returns them.
    #[inline(always)]
    fn pass(
        &mut self,
        visible: &impl Visibility,
        nodes: &[u32; LANES],
        similarities: &[f32; LANES],
        admitted: Lanes,
    ) -> Lanes {
        let mut passed = 0;
        each(admitted, |_, lane| {
            if !visible.sees(nodes[lane]) {
                self.beam.pass(nodes[lane], similarities[lane]);
                passed |= 1 << lane;
            }
        });
        passed
    }

    /// Meets the neighbours of the best nodes that are not expanded. Returns whether there are
    /// such nodes.
    #[inline(always)]
    fn expand<L: Layer, S: Set>(&mut self, layer: &L, set: S) -> bool {
        let most = EXPANDED_AT_ONCE.min(self.expansions_left as usize);
        if most == 0 {
            return false;
        }
        let (popped, count) = self.beam.pop(most, set);
        if count == 0 {
            self.has_ended = true;
            return false;
        }
        self.expansions_left -= count as u32;
        self.visited.reserve(FRESH_MAX);
        for node in &popped[..count] {
            self.visited.meet(layer.slots(*node));
        }
        true
    }
}

/// From `start` to whatever neighbour is nearer, until none is. Adds the distances that it took to
/// `distances`.
pub(super) fn descend(
    rows: &Rows,
    layer: &Upper,
    sketch: &Sketch,
    start: Rank,
    distances: &mut u32,
) -> Rank {
    rows.kernel().run(Descent { rows, layer, sketch, start, distances })
}

struct Descent<'a> {
    rows: &'a Rows,
    layer: &'a Upper,
    sketch: &'a Sketch,
    start: Rank,
    distances: &'a mut u32,
}

impl Task for Descent<'_> {
    /// The nearest.
    type Output = Rank;

    #[inline(always)]
    fn run<S: Set>(self, set: S) -> Rank {
        let Descent { rows, layer, sketch, start, distances } = self;
        let mut best = start;
        loop {
            let neighbours = layer.neighbours(best.node());
            *distances += neighbours.len() as u32;
            let mut compared = [0; UPPER_SLOTS];
            let mut codes: [&[Block]; UPPER_SLOTS] = [&[]; UPPER_SLOTS];
            for ((row, codes), node) in compared.iter_mut().zip(&mut codes).zip(neighbours) {
                *row = layer.row(*node);
                *codes = rows.signs(*row);
                prefetch(codes);
            }
            let before = best;
            if let Some(last) = neighbours.len().checked_sub(1) {
                let last_codes = codes[last];
                codes[last + 1..].fill(last_codes);
                let some = (&codes, neighbours.len());
                let group = rows.estimates_of(sketch, some, |lane| compared[lane], set);
                for (node, similarity) in neighbours.iter().zip(set.array(group)) {
                    best = best.max(Rank::new(similarity, *node));
                }
            }
            if best == before {
                return best;
            }
        }
    }
}

/// Neighbours of a node of an upper layer, at most.
const UPPER_SLOTS: usize = LANES;
const _: () = assert!(GRAPH_LINKS <= UPPER_SLOTS);
