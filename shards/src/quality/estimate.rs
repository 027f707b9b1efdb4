//! Recall by width, from the last samples; the smallest width that holds the target.

use std::collections::VecDeque;

use crate::limits::{QUALITY_SAMPLES, QUALITY_SAMPLES_MIN, RECALL_WIDTHS};
use crate::quality::sample::Sampled;

/// A narrower width must hold this much more than the target, so that the width does not change
/// with every sample.
const NARROWING_MARGIN: f32 = 0.002;
/// By so many standard errors the estimate must exceed the target: one space in fifteen is then a
/// little below it, the more so as the smallest of several widths is taken.
const ERRORS_MARGIN: f32 = 1.5;

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

    /// Recall over `rows` rows at the width of this place; none while few samples tell of it.
    ///
    /// It rests on the newest samples: those taken since the graph had half of its rows, for what
    /// is stored changes with time. One taken among fewer rows missed less than it would now: at a
    /// given width, misses grow about with the square root of the rows (docs/decisions has the
    /// measurement). So the width keeps up with a load that leaves room for few samples.
    pub(super) fn at(&self, place: usize, rows: u32) -> Option<Held> {
        let newest = self.samples.iter().rev().enumerate();
        let telling = newest.take_while(|(age, sampled)| {
            let is_young = *age < QUALITY_SAMPLES_MIN || sampled.rows >= rows / 2;
            is_young && sampled.places.contains(&place)
        });
        let (mut count, mut sum, mut squares) = (0, 0.0f64, 0.0f64);
        for (_, sampled) in telling {
            let neighbours = f32::from(sampled.neighbours);
            let missed = 1.0 - f32::from(sampled.hits[place]).min(neighbours) / neighbours;
            let growth = (rows as f32 / sampled.rows as f32).max(1.0).sqrt();
            let recall = f64::from(1.0 - (missed * growth).min(1.0));
            count += 1;
            sum += recall;
            squares += recall * recall;
        }
        if count < QUALITY_SAMPLES_MIN {
            return None;
        }
        let count = count as f64;
        let mean = sum / count;
        let variance = (squares / count - mean * mean).max(0.0);
        Some(Held { recall: mean as f32, error: (variance / count).sqrt() as f32 })
    }

    /// The place of the smallest width whose recall is at least `target` by more than
    /// [`ERRORS_MARGIN`]; `now` is the place of the present one. Where none is known to hold, it is the next
    /// wider one that is not known, or the widest. None while nothing is known of the present one.
    pub(super) fn choose(&self, target: f32, now: usize, rows: u32) -> Option<usize> {
        self.at(now, rows)?;
        let may_do = |place: &usize| match self.at(*place, rows) {
            None => *place > now,
            Some(held) => {
                let wanted = if *place < now { target + NARROWING_MARGIN } else { target };
                held.recall - ERRORS_MARGIN * held.error >= wanted
            }
        };
        Some((0..RECALL_WIDTHS.len()).find(may_do).unwrap_or(RECALL_WIDTHS.len() - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::Range;

    const ALL: Range<usize> = 0..RECALL_WIDTHS.len();

    fn sampled(rows: u32, places: Range<usize>, hits: [u8; RECALL_WIDTHS.len()]) -> Sampled {
        Sampled { rows, neighbours: 10, places, hits }
    }

    /// As many samples as are kept, over so many rows, that found `hits` of ten at each width.
    fn estimate(rows: u32, hits: [u8; RECALL_WIDTHS.len()]) -> Estimate {
        let mut estimate = Estimate::default();
        (0..QUALITY_SAMPLES + 5).for_each(|_| estimate.push(sampled(rows, ALL, hits)));
        estimate
    }

    const RISING: [u8; RECALL_WIDTHS.len()] = [5, 6, 7, 8, 9, 9, 10, 10, 10, 10, 10];

    #[test]
    fn the_smallest_width_that_holds_is_chosen_and_the_widest_where_none_does() {
        assert_eq!(estimate(100, RISING).choose(0.89, 0, 100), Some(4));
        assert_eq!(estimate(100, RISING).choose(0.95, 0, 100), Some(6));
        assert_eq!(estimate(100, [3; RECALL_WIDTHS.len()]).choose(0.5, 2, 100), Some(10));
    }

    #[test]
    fn few_samples_choose_nothing_and_uneven_ones_cautiously() {
        let mut few = Estimate::default();
        for sample in 0..QUALITY_SAMPLES_MIN {
            assert_eq!(few.choose(0.9, 0, 100), None, "{sample} samples");
            // 0.95 on average, but by halves, at all but the widest.
            let mut hits = [if sample % 2 == 0 { 10 } else { 9 }; RECALL_WIDTHS.len()];
            hits[10] = 10;
            few.push(sampled(100, ALL, hits));
        }
        assert_eq!(few.choose(0.93, 0, 100), Some(0));
        assert_eq!(few.choose(0.95, 0, 100), Some(10));
    }

    #[test]
    fn a_narrower_width_must_hold_a_little_more() {
        let mut hits = [10; RECALL_WIDTHS.len()];
        hits[0] = 9;
        let even = estimate(100, hits);
        let just = even.at(0, 100).expect("enough samples").recall - 1e-4;
        assert_eq!((even.choose(just, 0, 100), even.choose(just, 1, 100)), (Some(0), Some(1)));
        assert_eq!(even.choose(just - NARROWING_MARGIN, 1, 100), Some(0));
    }

    #[test]
    fn samples_of_a_smaller_graph_are_taken_to_have_missed_more() {
        let grown = estimate(100, RISING);
        let recall = |rows| grown.at(4, rows).expect("enough samples").recall;
        assert!((recall(100) - 0.9).abs() < 1e-4 && (recall(400) - 0.8).abs() < 1e-4);
        assert_eq!(recall(50), recall(100), "a smaller one is not known to be better");
        assert_eq!(grown.choose(0.89, 0, 400), Some(6));
        assert!(recall(1_000_000) == 0.0, "no worse than nothing");
    }

    #[test]
    fn a_wider_one_that_is_not_known_is_tried_and_a_narrower_one_is_not() {
        let mut around = Estimate::default();
        (0..QUALITY_SAMPLES).for_each(|_| around.push(sampled(100, 3..6, RISING)));
        assert_eq!(around.choose(0.85, 4, 100), Some(4));
        assert_eq!(around.choose(0.6, 4, 100), Some(3), "what is below 3 is not known");
        assert_eq!(around.choose(0.95, 4, 100), Some(6));
        assert_eq!(around.choose(0.95, 6, 100), None);
    }

    #[test]
    fn what_was_sampled_among_half_the_rows_counts_only_where_there_is_little_else() {
        let mut changing = Estimate::default();
        (0..100).for_each(|_| changing.push(sampled(100, ALL, [10; RECALL_WIDTHS.len()])));
        (0..QUALITY_SAMPLES_MIN).for_each(|_| changing.push(sampled(201, ALL, RISING)));
        let recall = |rows| changing.at(4, rows).expect("enough samples").recall;
        assert!((recall(202) - 0.9).abs() < 1e-2 && recall(200) > 0.98, "{}", recall(200));
    }
}
