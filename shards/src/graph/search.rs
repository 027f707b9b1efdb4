//! From an entry to the nearest, by 1-bit codes.

use crate::vector::kernel::Kernel;
use crate::vector::rows::{COMPARED_MAX, Rows, Sketch};

use super::beam::Beam;
use super::links::{Layer, Upper};
use super::rank::{Packed, Packing, Rank};
use super::visited::Visited;

/// Nodes that one search expands, at most, beyond its width. A search expands about as many as it
/// is wide where all are visible; this bounds one that passes through many that are not.
pub(super) const EXPANSIONS_SPARE: u32 = 1_024;

/// Nodes expanded at once: what one step costs beside its distances is shared by them, and more is
/// on its way from memory at a time; the second best is expanded a little early.
const EXPANDED_AT_ONCE: usize = 2;
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
#[derive(Debug)]
pub(super) struct Traversal {
    /// The query.
    pub(super) sketch: Sketch,
    pub(super) visited: Visited,
    pub(super) beam: Beam,
    /// Nodes met and asked for, to be compared in the next step.
    fresh: [u32; FRESH_MAX],
    fresh_count: usize,
    expansions_left: u32,
    has_ended: bool,
}

impl Default for Traversal {
    fn default() -> Traversal {
        Traversal {
            sketch: Sketch::default(),
            visited: Visited::default(),
            beam: Beam::default(),
            fresh: [0; FRESH_MAX],
            fresh_count: 0,
            expansions_left: 0,
            has_ended: false,
        }
    }
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
        visible: &impl Visibility,
    ) -> Option<u32> {
        let kernel = rows.kernel();
        let mut buffer = [0u32; FRESH_MAX];
        let mut similarities = [0.0f32; FRESH_MAX];
        let fresh = &mut self.fresh[..self.fresh_count];
        let compared = layer.rows(fresh, &mut buffer);
        rows.estimates(&self.sketch, compared, &mut similarities[..fresh.len()]);
        let mut packed = [Packed::default(); FRESH_MAX];
        for (packed, similarity) in packed.iter_mut().zip(&similarities) {
            *packed = packing.pack(*similarity);
        }
        for (node, packed) in fresh.iter().zip(packed) {
            self.visited.note(*node, packed);
        }
        let distances = fresh.len() as u32;
        let mut seen = fresh.len();
        if !visible.all() {
            seen = 0;
            for at in 0..fresh.len() {
                if visible.sees(fresh[at]) {
                    (fresh[seen], similarities[seen]) = (fresh[at], similarities[at]);
                    seen += 1;
                } else if self.beam.admits(similarities[at]) {
                    self.beam.pass(fresh[at], similarities[at]);
                }
            }
        }
        let pushed = self.beam.push(&fresh[..seen], &similarities[..seen], kernel);
        for node in pushed {
            layer.prefetch(*node);
        }
        self.fresh_count = 0;
        let mut expanded = 0;
        while expanded < EXPANDED_AT_ONCE && self.expansions_left > 0 {
            let Some(next) = self.beam.pop(kernel) else {
                // Those just expanded may lead further.
                if expanded == 0 {
                    self.expansions_left = 0;
                    self.has_ended = true;
                }
                break;
            };
            expanded += 1;
            self.expansions_left -= 1;
            let fresh = &mut self.fresh[self.fresh_count..];
            self.fresh_count += self.visited.mark(layer.slots(next), fresh, kernel);
            // Most of what is expanded stays among the best, whose int8 codes are compared at the
            // end.
            rows.prefetch(layer.row(next));
        }
        for node in &self.fresh[..self.fresh_count] {
            rows.prefetch_sketch(layer.row(*node));
        }
        (distances > 0 || expanded > 0).then_some(distances)
    }

    /// Searches to the end.
    pub(super) fn run<L: Layer>(
        &mut self,
        rows: &Rows,
        layer: &L,
        packing: Packing,
        visible: &impl Visibility,
    ) -> u32 {
        let mut distances = 0;
        while let Some(more) = self.step(rows, layer, packing, visible) {
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
