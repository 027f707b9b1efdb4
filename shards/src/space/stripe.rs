//! A stripe: the rows that a shard owns of a space, with the lanes they came by and what is counted about them.

use std::collections::VecDeque;

use crate::graph::Scratch;
use crate::histogram::Histogram;
use crate::ids::{Generation, Location, Row, SegmentId, StripeKey, Time};
use crate::log::log::Ordinal;
use crate::message::{Lane, Refusal, SpaceDescription, StripeStatus};
use crate::quality::{RecallTarget, Upkeep};
use crate::settings::SpaceSettings;
use crate::space::past::Past;
use crate::space::readers::Reading;
use crate::space::rows::{Arrival, Pair, Place, Rows};
use crate::space::tail::TailLimits;
use crate::space::withheld::Withheld;
use crate::vector::codes::Codes;

/// One stripe.
#[derive(Debug)]
pub struct Stripe {
    key: StripeKey,
    space: SpaceDescription,
    rows: Rows,
    tail: TailLimits,
    pub(super) upkeep: Upkeep,
    /// What is to be told of every row that waits.
    waiting: VecDeque<Placed>,
    recorded_in: Option<SegmentId>,
    gone_told: Told,
    generation: Generation,
    past: Past,
    durable_observations: [u64; 3],
    durable_micros: Histogram,
    recalls: u64,
}

/// A list of the generations that are gone, as the log has it.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// What [`Gone::changes`](crate::space::Gone::changes) was when it was begun.
    pub changes: u64,
    /// In which segments its records lie, and how long they are.
    pub places: Vec<(SegmentId, u64)>,
}

/// A row that waits no longer: it is in the graph, or in a tail that is short enough.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    /// The lane it came by; none if it was replayed.
    pub lane: Option<Lane>,
    /// When it was received.
    pub received_at: Time,
}

impl Stripe {
    /// A stripe with these `rows`, which were replayed, that holds `recall` where it is told to and has a tail of these
    /// bounds.
    pub fn new(
        key: StripeKey,
        settings: SpaceSettings,
        recall: Option<RecallTarget>,
        tail: TailLimits,
        mut rows: Rows,
    ) -> Stripe {
        rows.keep_recovered();
        Stripe {
            key,
            space: SpaceDescription { key: key.space, settings },
            waiting: (tail.placed(rows.inserted(), rows.durable())..rows.arrived())
                .map(|mark| Placed { lane: None, received_at: rows.received_at(rows.at(mark)) })
                .collect(),
            tail,
            recorded_in: None,
            gone_told: Told::default(),
            generation: rows.durable_generation(),
            past: Past::new(Time(0), rows.durable_generation()),
            rows,
            upkeep: Upkeep::new(recall),
            durable_observations: [0; 3],
            durable_micros: Histogram::default(),
            recalls: 0,
        }
    }

    /// The generation of the observation that arrives next: those of dropped rows are given out again, so that the
    /// durable generation counts the durable observations.
    pub fn next_generation(&self) -> Generation {
        Generation(self.generation.0 + u64::from(self.rows.len_pending()) + 1)
    }

    /// Takes an observation into the tail, where recalls see it.
    pub fn push(&mut self, arrival: &Arrival<'_>, lane: Lane, ordinal: Ordinal) -> Row {
        assert_eq!(arrival.generation, self.next_generation(), "generations have no gap");
        self.waiting.push_back(Placed { lane: Some(lane), received_at: arrival.received_at });
        self.rows.push(arrival, Place::Pending(ordinal))
    }

    /// Checks what must hold of its rows.
    pub fn check(&self) -> Result<(), String> {
        let Self { key, rows, .. } = self;
        rows.check().map_err(|what| format!("{key:?}: {what}"))
    }

    /// The first row above the durable mark is durable. Gives back the pair to be verified, if it may replace another.
    pub fn commit(&mut self, row: Row, location: Location, committed_at: Time) -> Option<Pair> {
        self.rows.commit(row, location, committed_at);
        let generation = self.rows.generation(row);
        assert_eq!(generation.0, self.generation.0 + 1, "generations become durable without a gap");
        self.generation = generation;
        self.past.commit(committed_at, generation);
        self.rows.enter(row)
    }

    /// It is served from `now` on: of the time before, it knows nothing.
    pub fn begin(&mut self, now: Time) {
        self.past = Past::new(now, self.generation);
    }

    /// The generation that was durable at a time, if the rows that could be seen then still can be: none was replaced since.
    pub fn durable_at(&self, at: Time) -> Result<Generation, Refusal> {
        let replaced = self.past.since(self.rows.replaced);
        match self.past.durable_at(at) {
            Some(durable) if durable >= self.rows.replaced => Ok(durable),
            Some(_) => Err(Refusal::TooLongAgo { oldest: replaced }),
            None => {
                Err(Refusal::TooLongAgo { oldest: replaced.max(self.past.since(Generation(0))) })
            }
        }
    }

    /// Counts a commit that took until `now`.
    pub fn count_commit(&mut self, lane: Lane, received_at: Time, now: Time) {
        self.durable_observations[lane.index()] += 1;
        self.durable_micros.record(now.micros_since(received_at));
    }

    /// Drops what is not durable, to which no recall may refer any more. Gives back the lanes of those that went.
    pub fn truncate(&mut self) -> impl Iterator<Item = Option<Lane>> + '_ {
        self.rows.truncate();
        let waiting = self.waiting() as usize;
        self.waiting.drain(waiting..).map(|placed| placed.lane)
    }

    /// See [`Rows::begin_reading`].
    pub fn begin_reading(&mut self) -> Reading {
        self.rows.begin_reading()
    }

    /// See [`Rows::end_reading`].
    pub fn end_reading(&mut self, reading: Reading) {
        self.rows.end_reading(reading);
    }

    /// Puts the next durable row into the graph, with a search of this width, and samples recall as far as its share
    /// beside insertions goes. Returns the distances that it took.
    pub fn insert_next(&mut self, width: u32, scratch: &mut Scratch) -> u32 {
        let (_, inserted) = self.rows.insert_next(width, scratch);
        let sampled = self.rows.keep_up_beside(inserted, &mut self.upkeep, scratch);
        (inserted + sampled).max(1)
    }

    /// The next row that has stopped waiting since it was last asked for one.
    pub fn next_placed(&mut self) -> Option<Placed> {
        let has_more = self.waiting.len() > self.waiting() as usize;
        has_more.then(|| self.waiting.pop_front().expect("one more than none"))
    }

    /// The older of the pair is replaced.
    pub fn replace(&mut self, pair: Pair) {
        self.rows.replace(pair);
    }

    /// See [`Rows::forget`].
    pub fn forget(&mut self, row: Row) {
        self.rows.forget(row);
    }

    /// See [`Rows::hide`].
    pub fn hide(&mut self, row: Row, segment: SegmentId) {
        self.rows.hide(row, segment);
    }

    /// See [`Rows::relocate`].
    pub fn relocate(&mut self, row: Row, location: Location) {
        self.rows.relocate(row, location);
    }

    /// See [`Rows::hide_again`].
    pub fn hide_again(&mut self, row: Row, segment: SegmentId) {
        self.rows.hide_again(row, segment);
    }

    /// Where its own record lies; none where that is not known.
    pub fn recorded_in(&self) -> Option<SegmentId> {
        self.recorded_in
    }

    /// Its own record lies there.
    pub fn record_in(&mut self, segment: SegmentId) {
        self.recorded_in = Some(segment);
    }

    /// The list of what is gone that the log was given last in this run.
    pub fn gone_told(&self) -> &Told {
        &self.gone_told
    }

    /// There is a newer one.
    pub fn gone_told_mut(&mut self) -> &mut Told {
        &mut self.gone_told
    }

    /// Whether that list has all that is gone, or nothing is.
    pub fn is_gone_told(&self) -> bool {
        let gone = self.rows.gone();
        gone.is_none() || self.gone_told.changes == gone.changes()
    }

    /// See [`Rows::find_gone`].
    pub fn find_gone(&mut self, count: u32) -> bool {
        self.rows.find_gone(count)
    }

    /// See [`Rows::withheld`].
    pub fn withheld(&mut self) -> &mut Withheld {
        self.rows.withheld()
    }

    /// Makes a replayed row known by its hash, behind those of lower generations. Gives back the pair to be verified, if
    /// it may replace another.
    pub fn enter(&mut self, row: Row) -> Option<Pair> {
        self.rows.enter(row)
    }

    /// One step of upkeep: the tail goes into the graph first, by searches of this width. Returns the distances that it
    /// took; zero exactly if all is settled.
    pub fn keep_up(&mut self, width: u32, scratch: &mut Scratch) -> u32 {
        match self.is_linked_in_idle_time() {
            true => self.insert_next(width, scratch),
            false => self.rows.keep_up(&mut self.upkeep, scratch),
        }
    }

    /// Whether [`Stripe::keep_up`] would find nothing to do. Changes with durable rows, replaced ones, cues and work.
    pub fn is_settled(&self) -> bool {
        !self.is_linked_in_idle_time()
            && self.upkeep.is_settled(self.rows.index())
            && !self.rows.index().is_mend_due()
    }

    fn is_linked_in_idle_time(&self) -> bool {
        let rows = &self.rows;
        rows.inserted() < rows.durable() && self.tail.has_graph(rows.len_durable())
    }

    /// The mark below which rows wait for nothing: they are durable, and in the graph or in the tail that recalls scan anyway.
    pub fn placed(&self) -> u64 {
        self.tail.placed(self.rows.inserted(), self.rows.durable())
    }

    /// Rows that wait.
    pub fn waiting(&self) -> u32 {
        (self.rows.arrived() - self.placed()) as u32
    }

    /// Whether the tail has more durable rows than may be there: the oldest is to go into the graph.
    pub fn is_overlong(&self) -> bool {
        self.placed() < self.rows.durable()
    }

    /// Someone recalls by this cue.
    pub fn note_cue(&mut self, codes: &Codes) {
        self.upkeep.note_cue(codes, self.rows.index());
    }

    /// Search width of a recall that names none.
    pub fn recall_width(&self) -> u32 {
        self.upkeep.width()
    }

    /// Counts a recall.
    pub fn count_recall(&mut self) {
        self.recalls += 1;
    }

    /// Rows that ever were linked, and those that ever were linked anew.
    pub fn ever_linked(&self) -> u64 {
        self.rows.inserted() + u64::from(self.upkeep.status(self.rows.index()).refined)
    }

    /// Its key.
    pub fn key(&self) -> StripeKey {
        self.key
    }

    /// The space it belongs to.
    pub fn space(&self) -> &SpaceDescription {
        &self.space
    }

    /// Its rows.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// The generation of its newest durable observation.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// What lists and metrics show; it holds so much of its shard's capacity.
    pub fn status(&self, held: u32) -> StripeStatus {
        StripeStatus {
            space: self.space.clone(),
            stripe: self.key.stripe,
            generation: self.generation,
            rows: u64::from(self.rows.living()) + u64::from(self.rows.len_pending()),
            indexed: u64::from(self.rows.len_durable() + self.rows.len_pending() - self.waiting()),
            linked: u64::from(self.rows.indexed()),
            durable_observations: self.durable_observations,
            durable_micros: self.durable_micros.clone(),
            recalls: self.recalls,
            upkeep: self.upkeep.status(self.rows.index()),
            held,
        }
    }
}
