//! Recall by width, from the last samples; the smallest width that holds the target.

use std::collections::VecDeque;

use crate::limits::{QUALITY_SAMPLES, QUALITY_SAMPLES_MIN, RECALL_WIDTHS};
use crate::quality::sample::Sampled;

/// A narrower width must hold this much more than the target, so that the width does not change
/// with every sample.
const NARROWING_MARGIN: f32 = 0.002;

/// The last samples.
#[derive(Debug, Default)]
pub(super) struct Estimate {
    samples: VecDeque<Sampled>,
}

/// What the samples say of one width.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Held {
    /// Recall.
    pub(super) recall: f32,
    /// Its standard error.
    pub(super) error: f32,
}

impl Estimate {
    /// Takes a sample in; the oldest goes where there are enough.
    pub(super) fn push(&mut self, sampled: Sampled) {
        if sampled.neighbours == 0 {
            return;
        }
        if self.samples.len() == QUALITY_SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sampled);
    }

    /// Forgets all: the graph is another now.
    pub(super) fn clear(&mut self) {
        self.samples.clear();
    }

    /// Recall over `rows` rows at the width of this place; none while there are few samples.
    ///
    /// A sample taken among fewer rows missed less than it would now: at a given width, misses grow
    /// about with the square root of the rows (docs/decisions has the measurement). So the width
    /// keeps up with a load that leaves room for few samples.
    pub(super) fn at(&self, place: usize, rows: u32) -> Option<Held> {
        if self.samples.len() < QUALITY_SAMPLES_MIN {
            return None;
        }
        let count = self.samples.len() as f32;
        let recalls = self.samples.iter().map(|sampled| {
            let neighbours = f32::from(sampled.neighbours);
            let missed = 1.0 - f32::from(sampled.hits[place]).min(neighbours) / neighbours;
            let growth = (rows as f32 / sampled.rows as f32).max(1.0).sqrt();
            1.0 - (missed * growth).min(1.0)
        });
        let (mut sum, mut squares) = (0.0, 0.0);
        for recall in recalls {
            sum += recall;
            squares += recall * recall;
        }
        let mean = sum / count;
        let variance = (squares / count - mean * mean).max(0.0);
        Some(Held { recall: mean, error: (variance / count).sqrt() })
    }

    /// The place of the smallest width whose recall is at least `target` by more than a standard
    /// error, the widest where none is; `now` is the place of the present one. None while there are
    /// few samples.
    pub(super) fn choose(&self, target: f32, now: usize, rows: u32) -> Option<usize> {
        let holds = |place: usize| {
            let held = self.at(place, rows)?;
            let wanted = if place < now { target + NARROWING_MARGIN } else { target };
            Some(held.recall - held.error >= wanted)
        };
        for place in 0..RECALL_WIDTHS.len() {
            if holds(place)? {
                return Some(place);
            }
        }
        Some(RECALL_WIDTHS.len() - 1)
    }
}
