//! From an entry to the nearest, by 1-bit codes.

use crate::vector::kernel::Kernel;
use crate::vector::rows::{COMPARED_MAX, Rows, Sketch};

use super::beam::Beam;
use super::links::{Layer, Upper};
use super::rank::{Packing, Rank};
use super::visited::Visited;

/// Nodes that one search expands, at most, beyond its width. A search expands about as many as it
/// is wide where all are visible; this bounds one that passes through many that are not.
pub(super) const EXPANSIONS_SPARE: u32 = 1_024;

/// A search and what it writes to.
#[derive(Debug, Default)]
pub(super) struct Traversal {
    /// The query.
    pub(super) sketch: Sketch,
    pub(super) visited: Visited,
    pub(super) beam: Beam,
    /// Nodes met and asked for, to be compared in the next step.
    fresh: [u32; COMPARED_MAX],
    fresh_count: usize,
    expansions_left: u32,
    has_ended: bool,
}

impl Traversal {
    /// Begins a search of `width` for what is in the sketch, from `start`.
    pub(super) fn begin<L: Layer>(&mut self, layer: &L, start: u32, width: u32, kernel: Kernel) {
        self.visited.reset(layer.len());
        self.beam.reset(width as usize);
        self.fresh_count = self.visited.mark(&[start], &mut self.fresh, kernel);
        self.expansions_left = width.saturating_add(EXPANSIONS_SPARE);
        self.has_ended = false;
    }

    /// Whether the search found what there is to be found at its width, rather than giving up
    /// between nodes that are not visible.
    pub(super) fn is_complete(&self) -> bool {
        self.has_ended
    }

    /// Takes a node for absent: it is neither found nor are its links followed.
    pub(super) fn leave_out(&mut self, node: u32, kernel: Kernel) {
        self.visited.mark(&[node], &mut [0], kernel);
    }

    /// Compares what the last step met, and meets the neighbours of the best node. Nodes for which
    /// `visible` does not hold are passed through. Returns the distances that it took; none once
    /// the search has ended.
    #[inline]
    pub(super) fn step<L: Layer>(
        &mut self,
        rows: &Rows,
        layer: &L,
        packing: Packing,
        visible: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let kernel = rows.kernel();
        let mut compared = [0u32; COMPARED_MAX];
        let mut similarities = [0.0f32; COMPARED_MAX];
        let fresh = &mut self.fresh[..self.fresh_count];
        for (row, node) in compared.iter_mut().zip(&*fresh) {
            *row = layer.row(*node);
        }
        rows.estimates(&self.sketch, &compared[..fresh.len()], &mut similarities[..fresh.len()]);
        for (node, similarity) in fresh.iter().zip(similarities) {
            self.visited.note(*node, packing.pack(similarity));
        }
        let mut seen = 0;
        for at in 0..fresh.len() {
            if visible(fresh[at]) {
                (fresh[seen], similarities[seen]) = (fresh[at], similarities[at]);
                seen += 1;
            } else if self.beam.admits(similarities[at]) {
                self.beam.pass(fresh[at], similarities[at]);
            }
        }
        let distances = fresh.len() as u32;
        let pushed = self.beam.push(&fresh[..seen], &similarities[..seen], kernel);
        for node in pushed {
            layer.prefetch(*node);
        }
        self.fresh_count = 0;
        if self.expansions_left == 0 {
            return (distances > 0).then_some(distances);
        }
        self.expansions_left -= 1;
        let Some(next) = self.beam.pop(kernel) else {
            self.expansions_left = 0;
            self.has_ended = true;
            return (distances > 0).then_some(distances);
        };
        self.fresh_count = self.visited.mark(layer.slots(next), &mut self.fresh, kernel);
        for node in &self.fresh[..self.fresh_count] {
            rows.prefetch_sketch(layer.row(*node));
        }
        // Most of what is expanded stays among the best, whose int8 codes are compared at the end.
        rows.prefetch(layer.row(next));
        Some(distances)
    }

    /// Searches to the end.
    pub(super) fn run<L: Layer>(
        &mut self,
        rows: &Rows,
        layer: &L,
        packing: Packing,
        visible: impl Fn(u32) -> bool,
    ) -> u32 {
        let mut distances = 0;
        while let Some(more) = self.step(rows, layer, packing, &visible) {
            distances += more;
        }
        distances
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
    let mut best = start;
    loop {
        let neighbours = layer.neighbours(best.node());
        let mut compared = [0u32; COMPARED_MAX];
        let mut similarities = [0.0f32; COMPARED_MAX];
        let count = neighbours.len();
        for (row, node) in compared.iter_mut().zip(neighbours) {
            *row = layer.row(*node);
            rows.prefetch_sketch(*row);
        }
        rows.estimates(sketch, &compared[..count], &mut similarities[..count]);
        *distances += count as u32;
        let ranks = neighbours
            .iter()
            .zip(similarities)
            .map(|(node, similarity)| Rank::new(similarity, *node));
        match ranks.max() {
            Some(rank) if rank > best => best = rank,
            _ => return best,
        }
    }
}
