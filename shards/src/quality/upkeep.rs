//! What is done next, how much of it beside a full load, and when all is done.

use std::ops::Range;

use crate::graph::{Index, Scratch, Seeking};
use crate::ids::Row;
use crate::limits::{
    GRAPH_WIDTH_RECALL, GRAPH_WIDTH_RECALL_NARROW, QUALITY_ROWS_MIN, QUALITY_SAMPLES,
    QUALITY_SCAN_ROWS_MAX, RECALL_TARGET_DEFAULT, RECALL_TARGET_MAX, RECALL_TARGET_MIN,
    RECALL_WIDTHS,
};
use crate::quality::cues::Cues;
use crate::quality::estimate::{Estimate, Held};
use crate::quality::refining::Refining;
use crate::quality::sample::{Progress, Query, Sample};
use crate::vector::codes::Codes;

/// Of the distances that insertions take, one in so many is spent on samples beside them.
const BESIDE_INSERTIONS: i64 = 50;
/// Of the distances that refining takes, one in so many is spent on samples beside it.
const BESIDE_REFINING: i64 = 8;
/// A round of samples is due again once one row in so many has come or gone …
const ROUND_CHANGE: u32 = 8;
/// … and by so many at least: a round among few rows costs more than they do.
const ROUND_ROWS_MIN: u32 = 64;
/// And once so many times the cues were asked that had been by the last round.
const ROUND_CUES_GROWTH: u64 = 4;
/// Rows drawn for one sample, until one may stand for a query: fifteen of sixteen may, where few
/// were replaced.
const DRAWS_MAX: u64 = 16;

/// The recall that is to be held: the share of the true nearest ten that are among the ten found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecallTarget(f32);

impl RecallTarget {
    /// A target of this share; none if it is out of range.
    pub fn new(share: f32) -> Option<RecallTarget> {
        (RECALL_TARGET_MIN..=RECALL_TARGET_MAX).contains(&share).then_some(RecallTarget(share))
    }

    /// The share.
    pub fn share(self) -> f32 {
        self.0
    }
}

impl Default for RecallTarget {
    fn default() -> RecallTarget {
        RecallTarget(RECALL_TARGET_DEFAULT)
    }
}

/// What lists and metrics show.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UpkeepStatus {
    /// Search width of a recall that names none.
    pub width: u32,
    /// Recall at that width, as far as it was sampled.
    pub recall_estimate: Option<f32>,
    /// Rows of the graph that were linked anew.
    pub refined: u32,
    /// Distances spent on all this.
    pub distances: u64,
    /// Whether nothing is left to be done.
    pub settled: bool,
}

impl Default for UpkeepStatus {
    fn default() -> UpkeepStatus {
        let width = GRAPH_WIDTH_RECALL;
        UpkeepStatus { width, recall_estimate: None, refined: 0, distances: 0, settled: true }
    }
}

/// The upkeep of one stripe.
#[derive(Debug)]
pub struct Upkeep {
    target: Option<RecallTarget>,
    /// Place of the chosen width; none before there were samples.
    pub(super) place: Option<usize>,
    /// What the samples last said of it.
    pub(super) held: Option<Held>,
    estimate: Estimate,
    sample: Option<Sample>,
    /// The search of the sample; what it holds grows with the rows, so it goes when all is settled.
    seeking: Option<Box<Seeking>>,
    /// Samples begun.
    begun: u64,
    pub(super) round: Round,
    cues: Cues,
    pub(super) refining: Refining,
    /// Distances that samples may take before it is the others' turn again; negative where they
    /// have overdrawn it.
    share: i64,
    distances: u64,
}

/// A round of samples: as many as an estimate rests on, once all rows are refined.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Samples still to be taken.
    pub(super) left: usize,
    /// Rows in the graph when the last one began.
    pub(super) rows: u32,
    /// Rows that had come or gone by then.
    pub(super) changes: u64,
    /// Cues noted by then.
    cues: u64,
}

impl Upkeep {
    /// Upkeep for `target`; without one it does nothing at all.
    pub fn new(target: Option<RecallTarget>) -> Upkeep {
        Upkeep {
            target,
            place: None,
            held: None,
            estimate: Estimate::default(),
            sample: None,
            seeking: None,
            begun: 0,
            round: Round::default(),
            cues: Cues::default(),
            refining: Refining::default(),
            share: 0,
            distances: 0,
        }
    }

    /// Search width of a recall that names none. Changes with work.
    pub fn width(&self) -> u32 {
        self.place.map_or(GRAPH_WIDTH_RECALL, |place| RECALL_WIDTHS[place])
    }

    /// What lists and metrics show.
    pub fn status(&self, index: &Index) -> UpkeepStatus {
        UpkeepStatus {
            width: self.width(),
            recall_estimate: self.held.map(|held| held.recall),
            refined: self.refining.refined(),
            distances: self.distances,
            settled: self.is_settled(index),
        }
    }

    /// Someone asked for this.
    pub fn note_cue(&mut self, codes: &Codes, index: &Index) {
        if self.is_on(index) {
            self.cues.note(codes);
        }
    }

    /// Another row has come into this slot; it is not in the graph yet.
    pub fn overwritten(&mut self, row: Row) {
        self.sample.take_if(|sample| !sample.overwritten(row));
    }

    /// Now it is.
    pub fn linked_again(&mut self, row: Row) {
        self.refining.linked_again(row);
    }

    /// Whether [`Upkeep::step`] would find nothing to do. Changes with rows, cues and work.
    pub fn is_settled(&self, index: &Index) -> bool {
        let due = || {
            self.round.left > 0
                || self.refining.is_wanted(index.nodes())
                || self.is_round_due(index)
        };
        !(self.is_on(index) && due())
    }

    /// One step for a core that has nothing else to do: refines a row, or goes on with a sample.
    /// `is_alive` tells which rows a recall may find. Returns the distances that it took; zero
    /// exactly if all is settled.
    pub fn step(
        &mut self,
        index: &mut Index,
        is_alive: impl Fn(Row) -> bool,
        scratch: &mut Scratch,
    ) -> u32 {
        if self.is_settled(index) {
            return 0;
        }
        if self.refining.is_wanted(index.nodes()) {
            if self.share > 0 {
                let distances = self.step_sample(index, is_alive, scratch);
                self.share -= i64::from(distances);
                return distances;
            }
            return match self.refining.next(index.nodes()) {
                Some(row) => {
                    let distances = index.refine(row, self.refining.width, scratch).max(1);
                    self.share += i64::from(distances) / BESIDE_REFINING;
                    self.spent(distances)
                }
                None => self.spent(1),
            };
        }
        if self.round.left == 0 {
            self.begin_round(index);
        }
        self.step_sample(index, is_alive, scratch)
    }

    /// Insertions took so many distances: goes on with a sample, as far as its share allows.
    /// Returns the distances that it took.
    pub fn step_beside(
        &mut self,
        inserted: u32,
        index: &Index,
        is_alive: impl Fn(Row) -> bool,
        scratch: &mut Scratch,
    ) -> u32 {
        if !self.is_on(index) {
            return 0;
        }
        self.share += i64::from(inserted) / BESIDE_INSERTIONS;
        if self.share < i64::from(QUALITY_SCAN_ROWS_MAX) {
            return 0;
        }
        let distances = self.step_sample(index, is_alive, scratch);
        self.share -= i64::from(distances);
        distances
    }

    fn is_on(&self, index: &Index) -> bool {
        self.target.is_some() && index.indexed() >= QUALITY_ROWS_MIN
    }

    fn is_round_due(&self, index: &Index) -> bool {
        let Round { rows, changes, cues, .. } = self.round;
        let known = QUALITY_SAMPLES as u64;
        changes_of(index) >= changes + u64::from((rows / ROUND_CHANGE).max(ROUND_ROWS_MIN))
            || self.cues.noted() >= known.max(ROUND_CUES_GROWTH * cues)
    }

    fn begin_round(&mut self, index: &Index) {
        self.round = Round {
            left: QUALITY_SAMPLES,
            rows: index.indexed(),
            changes: changes_of(index),
            cues: self.cues.noted(),
        };
        // What was sampled before tells of a graph that is no more, and so does what has begun.
        self.estimate.clear();
        self.sample = None;
    }

    fn step_sample(
        &mut self,
        index: &Index,
        is_alive: impl Fn(Row) -> bool,
        scratch: &mut Scratch,
    ) -> u32 {
        if self.sample.is_none() {
            let query = self.next_query(index, &is_alive);
            let (places, watched) = (self.places(), self.watched());
            self.sample = query.map(|query| Sample::new(query, index, places, watched));
        }
        let Some(sample) = &mut self.sample else {
            self.round.left = self.round.left.saturating_sub(1);
            return self.spent(1);
        };
        let seeking = self.seeking.get_or_insert_default();
        let (distances, progress) = sample.step(index, is_alive, (seeking, scratch));
        if let Progress::Done(sampled, missed) = progress {
            self.sample = None;
            let is_last = self.round.left == 1;
            self.round.left = self.round.left.saturating_sub(1);
            if self.refining.is_wanted(index.nodes()) {
                self.refining.missed(&missed);
            }
            self.estimate.push(sampled);
            self.choose(index.indexed());
            if is_last && self.width() > GRAPH_WIDTH_RECALL_NARROW && self.refining.deepen() {
                // Another round is due behind it.
                self.round = Round::default();
            }
            if self.is_settled(index) {
                self.seeking = None;
            }
        }
        self.spent(distances)
    }

    /// The cues that were asked of late, one after the other, and then rows, until an estimate has
    /// all its samples; then the cues again. None where hardly a row is alive.
    fn next_query(&mut self, index: &Index, is_alive: impl Fn(Row) -> bool) -> Option<Query> {
        let place = (self.begun % QUALITY_SAMPLES as u64) as usize;
        self.begun += 1;
        if place < self.cues.len() {
            return Some(Query::Cue(self.cues.get(place).clone()));
        }
        let draws = (0..DRAWS_MAX).map(|draw| self.begun * DRAWS_MAX + draw);
        let rows = draws.map(|draw| Row((mixed(draw) % u64::from(index.nodes())) as u32));
        rows.into_iter().find(|&row| index.is_on_bottom_only(row) && is_alive(row)).map(Query::Row)
    }

    /// The widths that the next sample searches at, by their places: in a round all from the smallest on, else those
    /// around the chosen one; far wider ones than that take too long for one step.
    fn places(&self) -> Range<usize> {
        let now = self.watched();
        let first = if self.round.left > 0 { 0 } else { now.saturating_sub(1) };
        first..RECALL_WIDTHS.len().min(now + 3)
    }

    /// The place of the width whose misses are told.
    fn watched(&self) -> usize {
        let default = || RECALL_WIDTHS.iter().position(|width| *width == GRAPH_WIDTH_RECALL);
        self.place.or_else(default).expect("the width of a new space is one of those chosen from")
    }

    fn choose(&mut self, indexed: u32) {
        let target = self.target.expect("only with a target is anything sampled").share();
        let now = self.watched();
        if let Some(place) = self.estimate.choose(target, now, indexed) {
            self.place = Some(place);
            // Of a width that is only now tried, what is known of the narrower one is the least.
            self.held = self.estimate.at(place, indexed).or(self.held);
        }
    }

    fn spent(&mut self, distances: u32) -> u32 {
        self.distances += u64::from(distances);
        distances
    }
}

/// Rows that ever came into the graph or went.
fn changes_of(index: &Index) -> u64 {
    index.inserted() + index.departed()
}

/// A number without any order (the finaliser of SplitMix64, Steele, Lea & Flood 2014).
fn mixed(number: u64) -> u64 {
    let mut hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}
