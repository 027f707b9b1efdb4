//! From an entry to the nearest.

use crate::vector::rows::{COMPARED_MAX, Query, Rows};

use super::beam::Beam;
use super::links::{Layer, Upper};
use super::rank::Rank;
use super::visited::Visited;

/// Nodes that one search expands, at most, per node of its width. Far beyond what a graph of
/// visible rows needs; it bounds a search where almost none are visible.
const EXPANSIONS_PER_WIDTH: usize = 64;

/// What a search writes to.
#[derive(Debug, Default)]
pub(super) struct Traversal {
    pub(super) visited: Visited,
    pub(super) beam: Beam,
    /// A node that the next search takes for absent.
    pub(super) absent: Option<u32>,
}

/// Best-first from `start` with a beam of `width`: what is found is in the traversal's beam. Nodes
/// for which `visible` does not hold are passed through. Returns the distances that it took.
pub(super) fn search<L: Layer>(
    rows: &Rows,
    layer: &L,
    query: Query<'_>,
    start: Rank,
    width: u32,
    visible: impl Fn(u32) -> bool,
    Traversal { visited, beam, absent }: &mut Traversal,
) -> u32 {
    let kernel = rows.kernel();
    let width = width as usize;
    visited.reset(layer.len());
    beam.reset(width);
    let mut fresh = [0u32; COMPARED_MAX];
    let mut compared = [0u32; COMPARED_MAX];
    let mut similarities = [0.0f32; COMPARED_MAX];
    if let Some(node) = absent.take() {
        assert_ne!(node, start.node(), "a search starts at a node that is there");
        visited.mark(&[node], &mut fresh);
    }
    visited.mark(&[start.node()], &mut fresh);
    visited.note(start.node(), start.similarity());
    if visible(start.node()) {
        beam.push(start, kernel)
    } else {
        beam.pass(start, kernel)
    }
    let mut distances = 0;
    for _ in 0..EXPANSIONS_PER_WIDTH * width {
        let Some(next) = beam.pop(kernel) else { break };
        let count = visited.mark(layer.neighbours(next.node()), &mut fresh);
        for (row, node) in compared.iter_mut().zip(&fresh[..count]) {
            *row = layer.row(*node);
        }
        rows.similarities(query, &compared[..count], &mut similarities);
        distances += count as u32;
        for (node, similarity) in fresh[..count].iter().zip(similarities) {
            visited.note(*node, similarity);
            let rank = Rank::new(similarity, *node);
            if beam.admits(rank) {
                if visible(*node) { beam.push(rank, kernel) } else { beam.pass(rank, kernel) }
            }
        }
    }
    distances
}

/// From `start` to whatever neighbour is nearer, until none is. Adds the distances that it took to
/// `distances`.
pub(super) fn descend(
    rows: &Rows,
    layer: &Upper,
    query: Query<'_>,
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
        }
        rows.similarities(query, &compared[..count], &mut similarities);
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
