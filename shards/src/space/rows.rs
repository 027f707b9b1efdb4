//! The rows of a stripe: the index and, beside it, one entry a row in each array.

use std::collections::VecDeque;

use crate::graph::{Index, Scratch};
use crate::ids::{Generation, Location, Row, Time};
use crate::log::log::Ordinal;
use crate::quality::Upkeep;
use crate::settings::Metric;
use crate::space::ids::Ids;
use crate::space::record::Records;
use crate::vector::arena::Arena;
use crate::vector::codes::Codes;

/// What stands for "replaced by none": no row has this number.
const ALIVE: u32 = u32::MAX;

/// Where a row's record is to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On its way to the disk; the log still has it.
    Pending(Ordinal),
    /// On the disk.
    Stored(Location),
}

/// Two rows of one memory hash. If their ids are equal, the newer one replaces the older.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The one of the lower generation.
    pub older: Row,
    /// The other.
    pub newer: Row,
}

/// What arrives with a row.
#[derive(Debug)]
pub struct Arrival<'a> {
    /// Its quantised vector.
    pub codes: &'a Codes,
    /// Hash of its memory's id.
    pub memory_hash: u64,
    /// Its generation.
    pub generation: Generation,
    /// When it was received.
    pub received_at: Time,
}

/// The rows of a stripe.
///
/// Rows are numbered as they arrive. Those below the durable mark are on the disk; only they may be in the graph, have
/// an entry in `ids`, be replaced or replace. Those above it have no more than an entry in `waiting`.
#[derive(Debug)]
pub struct Rows {
    dimension: u16,
    index: Index,
    /// With the durable mark.
    records: Records,
    /// By which row each is replaced. Apart from the records: a search asks it of each row it meets.
    replaced_by: Arena<u32>,
    replaced: u32,
    /// Of the rows above the durable mark.
    waiting: VecDeque<Place>,
    /// Rows below this number are never truncated: they were replayed.
    recovered: u32,
    ids: Ids,
}

impl Rows {
    /// No rows, of vectors of `dimension`; `seed` draws the graph's layers.
    pub fn new(dimension: u16, metric: Metric, seed: u64) -> Rows {
        Rows {
            dimension,
            index: Index::new(dimension, metric, seed),
            records: Records::new(),
            replaced_by: Arena::new(1),
            replaced: 0,
            waiting: VecDeque::new(),
            recovered: 0,
            ids: Ids::new(),
        }
    }

    /// Adds a row above the durable mark.
    pub fn push(&mut self, arrival: &Arrival<'_>, place: Place) -> Row {
        assert!(self.index.len() < ALIVE - 1, "a stripe is full");
        let row = self.index.push(arrival.codes);
        self.ids.push(arrival.memory_hash);
        self.records.push(arrival.generation, arrival.received_at);
        self.replaced_by.push()[0] = ALIVE;
        self.waiting.push_back(place);
        assert_eq!(self.durable() as usize + self.waiting.len(), self.index.len() as usize);
        row
    }

    /// The first row above the durable mark, which must be `row`, is durable.
    pub fn commit(&mut self, row: Row, location: Location, committed_at: Time) {
        assert_eq!(row.0, self.durable(), "rows become durable in their order");
        self.waiting.pop_front().expect("a row above the mark");
        self.records.commit(location, committed_at);
    }

    /// Keeps all rows there are from ever being truncated.
    pub fn keep_recovered(&mut self) {
        self.recovered = self.len();
    }

    /// Drops the rows above the durable mark that were not replayed. Returns how many are left.
    pub fn truncate(&mut self) -> u32 {
        let len = self.durable().max(self.recovered);
        self.index.truncate(len);
        self.ids.truncate(len);
        self.records.truncate(len);
        self.replaced_by.truncate(len);
        self.waiting.truncate((len - self.durable()) as usize);
        len
    }

    /// Puts the next row into the graph, with a search of this width. Returns it, and the distances that it took.
    pub fn insert_next(&mut self, width: u32, scratch: &mut Scratch) -> (Row, u32) {
        let row = Row(self.index.indexed());
        assert!(self.is_insertable(), "only durable rows go into the graph");
        let distances = self.index.insert_next(width, scratch);
        (row, distances)
    }

    /// Puts the next `count` rows into the graph in turns, with searches of this width. Returns the distances that it
    /// took.
    pub fn insert_batch(&mut self, count: u32, width: u32, scratch: &mut Scratch) -> u32 {
        assert!(self.indexed() + count <= self.durable(), "only durable rows go into the graph");
        self.index.insert_batch(count, width, scratch)
    }

    /// One step of the stripe's upkeep; rows are linked around replaced ones first. Returns the distances that it took;
    /// zero exactly if all is settled.
    pub fn keep_up(&mut self, upkeep: &mut Upkeep, scratch: &mut Scratch) -> u32 {
        let Rows { index, replaced_by, .. } = self;
        if index.is_mend_due() {
            return index.mend(scratch);
        }
        upkeep.step(index, |row| replaced_by[row.0] == ALIVE, scratch)
    }

    /// What of it goes on beside insertions that took so many distances. Returns the distances that it took.
    pub fn keep_up_beside(&self, inserted: u32, upkeep: &mut Upkeep, scratch: &mut Scratch) -> u32 {
        upkeep.step_beside(inserted, &self.index, |row| self.is_alive(row), scratch)
    }

    /// Makes a durable row known by its hash. Gives back the pair to be verified, if it may replace another.
    pub fn enter(&mut self, row: Row) -> Option<Pair> {
        assert!(row.0 < self.durable(), "only durable rows are known by their id");
        let pair = self.older_twin(row, row);
        self.ids.enter(row.0);
        pair
    }

    /// The pair of `newer` and the newest living row of its hash that is older than `than`.
    pub fn older_twin(&self, newer: Row, than: Row) -> Option<Pair> {
        let bound = self.generation(than);
        let twins = self.ids.of(self.memory_hash(newer)).map(Row);
        let older = twins.filter(|&twin| self.generation(twin) < bound);
        older.max_by_key(|&twin| self.generation(twin)).map(|older| Pair { older, newer })
    }

    /// Living durable rows of the same hash as `row` and a higher generation that a recall up to `limit` may see.
    pub fn newer_twins(&self, row: Row, limit: u32) -> impl Iterator<Item = Row> + '_ {
        let bound = self.generation(row);
        let twins = self.ids.of(self.memory_hash(row)).map(Row);
        twins.filter(move |&twin| self.generation(twin) > bound && self.is_visible(twin, limit))
    }

    /// The newest row that has replaced `row`, of those that a recall up to `limit` may see.
    pub fn replacement(&self, row: Row, limit: u32) -> Option<Row> {
        let next = |row: &Row| Some(Row(self.replaced_by[row.0])).filter(|next| next.0 < limit);
        std::iter::successors(next(&row), next).last()
    }

    /// The older of the pair is replaced.
    pub fn replace(&mut self, pair: Pair) {
        assert!(self.generation(pair.older) < self.generation(pair.newer), "the newer one wins");
        assert!(self.is_alive(pair.older), "a row is replaced once");
        self.ids.remove(pair.older.0);
        self.index.remove(pair.older);
        self.replaced_by[pair.older.0] = pair.newer.0;
        self.replaced += 1;
    }

    /// Whether no other has replaced the row.
    pub fn is_alive(&self, row: Row) -> bool {
        self.replaced_by[row.0] == ALIVE
    }

    /// Whether a recall sees `row` that sees rows below `limit`: it does unless one that it sees too has replaced it.
    pub fn is_visible(&self, row: Row, limit: u32) -> bool {
        row.0 < limit && self.replaced_by[row.0] >= limit
    }

    /// Where the row's record is to be had.
    pub fn place(&self, row: Row) -> Place {
        match self.records.commit_of(row) {
            Some((location, _)) => Place::Stored(location),
            None => self.waiting[(row.0 - self.durable()) as usize],
        }
    }

    /// When the row was committed, or received where it is not durable.
    pub fn committed_at(&self, row: Row) -> Time {
        let commit = self.records.commit_of(row);
        commit.map_or_else(|| self.received_at(row), |(_, committed_at)| committed_at)
    }

    /// When the row was received.
    pub fn received_at(&self, row: Row) -> Time {
        self.records.received_at(row)
    }

    /// The row's generation.
    pub fn generation(&self, row: Row) -> Generation {
        self.records.generation(row)
    }

    /// The hash of its memory's id.
    pub fn memory_hash(&self, row: Row) -> u64 {
        self.ids.hash(row.0)
    }

    /// The vectors and the graph over them.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Numbers a vector.
    pub fn dimension(&self) -> u16 {
        self.dimension
    }

    /// All rows, durable or not, replaced or not.
    pub fn len(&self) -> u32 {
        self.index.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The durable mark: all rows below it are on the disk.
    pub fn durable(&self) -> u32 {
        self.records.durable()
    }

    /// Bytes of RAM that all of this takes.
    pub fn bytes(&self) -> u64 {
        let waiting = self.waiting.capacity() * size_of::<Place>();
        let Rows { index, ids, records, replaced_by, .. } = self;
        index.bytes() + ids.bytes() + records.bytes() + replaced_by.bytes() + waiting as u64
    }

    /// Rows in the graph.
    pub fn indexed(&self) -> u32 {
        self.index.indexed()
    }

    /// Rows that were replaced.
    pub fn replaced(&self) -> u32 {
        self.replaced
    }

    /// Whether a row may go into the graph.
    pub fn is_insertable(&self) -> bool {
        assert!(self.indexed() <= self.durable() && self.durable() <= self.len());
        self.indexed() < self.durable()
    }
}
