//! The rows of a stripe: the index and, beside it, one entry a row in each array.

use std::collections::{BTreeMap, VecDeque};

use crate::attributes::{Attributes, Filter};
use crate::graph::{Aim, Index, Scored, Scratch, Seeking};
use crate::ids::{Generation, Location, Row, SegmentId, Time};
use crate::log::log::Ordinal;
use crate::log::ranges::Ranges;
use crate::quality::Upkeep;
use crate::settings::Metric;
use crate::space::gone::Gone;
use crate::space::ids::Ids;
use crate::space::readers::{Readers, Reading};
use crate::space::record::Records;
use crate::space::spans::Spans;
use crate::space::withheld::Withheld;
use crate::vector::arena::Arena;
use crate::vector::codes::Codes;

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
    /// What recalls can filter it by.
    pub attributes: Attributes,
}

/// Which rows a recall sees.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Those up to this generation, as they were then …
    pub snapshot: Generation,
    /// … which may pass this.
    pub filter: Option<&'a Filter>,
}

/// The rows of a stripe.
///
/// A row is a slot in every array; it has it from its arrival until it has left the graph and nobody refers to it any
/// more. Then another row takes it, so a row's number says nothing of its age: its generation does, and rows outside the
/// graph stand in the order of their arrival.
///
/// How far the stripe is with the rows that arrived is told by *marks*, which count them: those below the mark
/// `inserted` had their turn to go into the graph, those below `durable` are on the disk, and `arrived` is the end of
/// all. Only durable rows are in the graph, have an entry in `ids`, are replaced or replace. The others have no more than
/// an entry in `pending`.
#[derive(Debug)]
pub struct Rows {
    pub(super) dimension: u16,
    pub(super) index: Index,
    pub(super) records: Records,
    /// From its own generation until that of the row which replaces it, a row is seen; one that is forgotten, never.
    pub(super) spans: Spans,
    /// What recalls can filter by.
    pub(super) attributes: Arena<Attributes>,
    pub(super) ids: Ids,
    /// The generation of the newest durable row.
    pub(super) durable: Generation,
    /// Rows up to this generation are never dropped: they were replayed.
    recovered: Generation,
    /// Of the rows that are not durable, the last of those that arrived. Their generations have no gap.
    pending: VecDeque<Place>,
    /// The generation of the newest row in the graph.
    pub(super) inserted: Generation,
    /// The newest generation at which a row was replaced.
    pub(super) replaced: Generation,
    /// Durable rows that no other has replaced and that are not forgotten.
    pub(super) living: u32,
    /// Durable rows that are suppressed, by their generations, and the segments whose records say so.
    pub(super) hidden: BTreeMap<Generation, SegmentId>,
    /// Generations of rows that are no more.
    gone: Gone,
    /// What is forgotten, where it is not known yet which rows that are.
    pub(super) withheld: Withheld,
    readers: Readers,
    /// Rows that took the slots of others since upkeep was last told …
    overwritten: Vec<Row>,
    /// … and those of them that went into the graph.
    linked_again: Vec<Row>,
    /// The mark `inserted` when insertions were last followed by mending.
    pub(super) mended_beside: u64,
}

impl Rows {
    /// No rows, of vectors of `dimension`; `seed` draws the graph's layers.
    pub fn new(dimension: u16, metric: Metric, seed: u64) -> Rows {
        Rows {
            dimension,
            index: Index::new(dimension, metric, seed),
            records: Records::new(),
            spans: Spans::new(),
            attributes: Arena::new(1),
            ids: Ids::new(),
            durable: Generation(0),
            recovered: Generation(0),
            pending: VecDeque::new(),
            inserted: Generation(0),
            replaced: Generation(0),
            living: 0,
            hidden: BTreeMap::new(),
            gone: Gone::default(),
            withheld: Withheld::default(),
            readers: Readers::default(),
            overwritten: Vec::new(),
            linked_again: Vec::new(),
            mended_beside: 0,
        }
    }

    /// The slot that the next row gets: that of the row which left longest ago, if nobody refers to it.
    pub fn next_row(&self) -> Row {
        self.vacant().unwrap_or(Row(self.slots()))
    }

    fn vacant(&self) -> Option<Row> {
        let (row, departure) = self.index.first_gone()?;
        (!self.readers.may_refer_to(departure)).then_some(row)
    }

    /// Adds a row that is not durable; behind others that are not, it is of the next generation.
    pub fn push(&mut self, arrival: &Arrival<'_>, place: Place) -> Row {
        assert!(self.slots() < u32::MAX - 1, "a stripe is full");
        let is_next = arrival.generation.0 == self.newest().0 + 1;
        assert!(is_next || self.pending.is_empty(), "generations of pending rows have no gap");
        let row = match self.vacant() {
            Some(row) => {
                assert_eq!(self.index.push_again(arrival.codes), row);
                self.overwritten.push(row);
                row
            }
            None => self.index.push(arrival.codes),
        };
        self.ids.put(row.0, arrival.memory_hash);
        self.records.put(row, arrival.received_at);
        self.spans.put(row, arrival.generation);
        put(&mut self.attributes, row, arrival.attributes);
        self.pending.push_back(place);
        row
    }

    /// The first row that is not durable, which must be `row`, becomes so.
    pub fn commit(&mut self, row: Row, location: Location, committed_at: Time) {
        assert!(!self.pending.is_empty(), "only what is pending becomes durable");
        assert_eq!(row, self.at(self.durable()), "rows become durable in their order");
        self.pending.pop_front();
        self.records.commit(row, location, committed_at);
        // Replayed rows come in any order.
        self.durable = self.durable.max(self.generation(row));
        self.living += 1;
    }

    /// Keeps all rows there are from ever being dropped.
    pub fn keep_recovered(&mut self) {
        self.recovered = self.newest();
    }

    /// The newest generation that [`Rows::truncate`] leaves.
    pub fn kept(&self) -> Generation {
        self.durable.max(self.recovered)
    }

    /// Drops the rows that are not durable and were not replayed. Nobody may refer to them.
    pub fn truncate(&mut self) {
        let kept = (self.kept().0 - self.durable.0) as usize;
        while self.pending.len() > kept {
            self.pending.pop_back();
            let row = self.index.drop_last();
            let slots = self.slots();
            self.spans.drop(row, slots);
            self.records.truncate(slots);
            self.attributes.truncate(slots);
            self.ids.truncate(slots);
        }
    }

    /// Puts the next row into the graph, with a search of this width. Returns it, and the distances that it took.
    pub fn insert_next(&mut self, width: u32, scratch: &mut Scratch) -> (Row, u32) {
        assert!(self.inserted() < self.durable(), "only durable rows go into the graph");
        let row = self.at(self.inserted());
        self.inserted = self.inserted.max(self.spans.generation(row));
        if row.0 < self.index.nodes() {
            self.linked_again.push(row);
        }
        (row, self.index.insert_next(width, scratch))
    }

    /// One step of the stripe's upkeep; rows are linked around replaced ones first. Returns the distances that it took;
    /// zero exactly if all is settled.
    pub fn keep_up(&mut self, upkeep: &mut Upkeep, scratch: &mut Scratch) -> u32 {
        self.tell(upkeep);
        let Rows { index, spans, .. } = self;
        if index.is_mend_due() {
            return index.mend(scratch);
        }
        upkeep.step(index, |row| spans.is_endless(row), scratch)
    }

    /// What of it goes on beside insertions that took so many distances. Returns the distances that it took.
    pub fn keep_up_beside(
        &mut self,
        inserted: u32,
        upkeep: &mut Upkeep,
        scratch: &mut Scratch,
    ) -> u32 {
        self.tell(upkeep);
        let mended = self.mend_beside(scratch);
        let Rows { index, spans, .. } = self;
        mended + upkeep.step_beside(inserted, index, |row| spans.is_endless(row), scratch)
    }

    /// Where removed rows do not wait for idle time any longer, a step of linking others around them follows each
    /// insertion. One insertion brings one removed row at most, which takes less than a step: so they never are more than
    /// twice as many as do not wait.
    fn mend_beside(&mut self, scratch: &mut Scratch) -> u32 {
        let inserted = self.inserted();
        let before = std::mem::replace(&mut self.mended_beside, inserted);
        match inserted > before && self.index.is_mend_overdue() {
            true => self.index.mend(scratch),
            false => 0,
        }
    }

    /// Tells upkeep which slots hold other rows than they did.
    fn tell(&mut self, upkeep: &mut Upkeep) {
        self.overwritten.drain(..).for_each(|row| upkeep.overwritten(row));
        self.linked_again.drain(..).for_each(|row| upkeep.linked_again(row));
    }

    /// Someone begins to refer to rows between steps. None of those that can be found now gets another row's content
    /// before that is over.
    pub fn begin_reading(&mut self) -> Reading {
        self.readers.begin(self.index.departed())
    }

    /// That is over.
    pub fn end_reading(&mut self, reading: Reading) {
        self.readers.end(reading);
    }

    /// Makes a durable row known by its hash. Gives back the pair to be verified, if it may replace another.
    pub fn enter(&mut self, row: Row) -> Option<Pair> {
        assert!(self.is_durable(row), "only durable rows are known by their id");
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

    /// Living durable rows of the same hash as `row` and a higher generation that a recall as of `snapshot` may see.
    pub fn newer_twins(&self, row: Row, snapshot: Generation) -> impl Iterator<Item = Row> + '_ {
        let bound = self.generation(row);
        let twins = self.ids.of(self.memory_hash(row)).map(Row);
        twins.filter(move |&twin| self.generation(twin) > bound && self.is_visible(twin, snapshot))
    }

    /// The older of the pair is replaced.
    pub fn replace(&mut self, pair: Pair) {
        let newer = self.generation(pair.newer);
        assert!(self.generation(pair.older) < newer, "the newer one wins");
        if self.hidden.contains_key(&self.generation(pair.older)) {
            return self.forget(pair.older);
        }
        self.take_out(pair.older);
        self.spans.end(pair.older, newer);
        self.replaced = self.replaced.max(newer);
        self.living -= 1;
    }

    /// A durable row is kept, and no recall sees it from now on; a record in this segment says so.
    pub fn hide(&mut self, row: Row, segment: SegmentId) {
        assert!(self.is_durable(row) && self.is_alive(row), "what is seen is hidden");
        self.living -= 1;
        self.hidden.insert(self.generation(row), segment);
        self.spans.end(row, self.generation(row));
    }

    /// A durable row, hidden or not, is no more: also recalls that have begun lose it.
    pub fn forget(&mut self, row: Row) {
        self.take_out(row);
        if self.hidden.remove(&self.generation(row)).is_none() {
            self.living -= 1;
        }
        self.spans.end(row, self.generation(row));
    }

    fn take_out(&mut self, row: Row) {
        assert!(self.is_kept(row), "a row goes once");
        self.ids.remove(row.0);
        self.index.remove(row);
        self.gone.insert(self.generation(row));
    }

    /// Records list these generations as gone: rows of them that `arrived` by a replay, and are not known by their ids yet,
    /// are no more. Of a checkpoint, none of them was [loaded](crate::space::Loading).
    pub fn restore_gone(&mut self, listed: &Ranges, arrived: &[Row]) {
        self.durable = self.durable.max(Generation(listed.last().unwrap_or(0)));
        for &row in arrived {
            let generation = self.generation(row);
            if listed.contains(generation.0) {
                self.index.remove(row);
                self.spans.end(row, generation);
                self.living -= 1;
            }
        }
        self.gone = Gone::restored(self.durable, self.slots());
    }

    /// Goes on to find out what of the generations before a restart is gone, by a look at so many rows. Whether all is found.
    pub fn find_gone(&mut self, count: u32) -> bool {
        let slots = self.slots();
        let Rows { gone, index, spans, .. } = self;
        gone.find(slots, count, |row| index.is_held(row).then(|| spans.generation(row)))
    }

    /// Generations of rows that are no more.
    pub fn gone(&self) -> &Gone {
        &self.gone
    }

    /// The record of a durable row was copied: it lies here now.
    pub fn relocate(&mut self, row: Row, location: Location) {
        assert!(self.is_durable(row), "only what is durable is copied");
        self.records.relocate(row, location);
    }

    /// The segment whose record hides a row, if it is hidden.
    pub fn hidden_by(&self, row: Row) -> Option<SegmentId> {
        self.hidden.get(&self.generation(row)).copied()
    }

    /// A record in another segment says so now.
    pub fn hide_again(&mut self, row: Row, segment: SegmentId) {
        let by = self.hidden.get_mut(&self.generation(row));
        *by.expect("a hidden row") = segment;
    }

    /// Whether the row is neither replaced nor deleted; it may be hidden.
    pub fn is_kept(&self, row: Row) -> bool {
        self.index.is_held(row)
    }

    /// The durable rows of this hash up to a generation, hidden ones included.
    pub fn of_hash(&self, hash: u64, until: Generation) -> impl Iterator<Item = Row> + '_ {
        self.ids.of(hash).map(Row).filter(move |&row| self.generation(row) <= until)
    }

    /// Whether there is a row of this hash, durable or not.
    pub fn has_hash(&self, hash: u64) -> bool {
        let pending = self.index.waiting().rev().take(self.pending.len());
        self.ids.of(hash).next().is_some()
            || pending.into_iter().any(|row| self.memory_hash(row) == hash)
    }

    /// What of the memories that are forgotten is not applied to rows yet.
    pub fn withheld(&mut self) -> &mut Withheld {
        &mut self.withheld
    }

    /// Ids under which a row of this hash and generation is withheld from recalls.
    pub fn withheld_ids(&self, row: Row) -> Vec<Box<str>> {
        self.withheld.ids(self.memory_hash(row), self.generation(row))
    }

    /// Whether there is such a row, and it is neither replaced nor forgotten.
    pub fn is_alive(&self, row: Row) -> bool {
        self.spans.is_endless(row)
    }

    /// Whether a recall that sees the rows up to the generation `snapshot` sees `row`: it does unless one that it sees too
    /// has replaced it.
    #[inline]
    pub fn is_visible(&self, row: Row, snapshot: Generation) -> bool {
        self.spans.sees(row, snapshot)
    }

    /// Whether a recall of this view sees `row`.
    #[inline]
    pub fn sees(&self, row: Row, view: View<'_>) -> bool {
        let passes = |filter: &Filter| filter.may_pass(self.attributes[row.0]);
        self.is_visible(row, view.snapshot) && view.filter.is_none_or(passes)
    }

    /// [`Index::begin_search`] among the rows that this view sees.
    pub fn begin_search(
        &self,
        aim: Aim<'_>,
        size: (u32, u32),
        view: View<'_>,
        seeking: &mut Seeking,
    ) -> Option<u32> {
        self.index.begin_search(aim, size, |row| self.sees(row, view), seeking)
    }

    /// [`Index::go_on_searching`] among the same rows. Where that is the present state and nothing is hidden or filtered, it
    /// asks no more than the graph knows itself.
    pub fn go_on_searching(
        &self,
        aim: Aim<'_>,
        view: View<'_>,
        seeking: &mut Seeking,
        scratch: &mut Scratch,
        found: &mut Vec<Scored>,
    ) -> (u32, Option<bool>) {
        let (index, snapshot) = (&self.index, view.snapshot);
        let is_present = self.inserted <= snapshot && self.replaced <= snapshot;
        if !is_present || !self.hidden.is_empty() || view.filter.is_some() {
            let visible = |row| self.sees(row, view);
            return index.go_on_searching(aim, visible, seeking, scratch, found);
        }
        match index.are_all_alive() {
            true => index.go_on_searching(aim, |_| true, seeking, scratch, found),
            false => index.go_on_searching(aim, |row| index.is_alive(row), seeking, scratch, found),
        }
    }

    /// Where the row's record is to be had.
    pub fn place(&self, row: Row) -> Place {
        match self.is_durable(row) {
            true => Place::Stored(self.records.commit_of(row).0),
            false => self.pending[self.pending_place(row) as usize],
        }
    }

    /// Where the record of a durable row lies.
    pub fn stored(&self, row: Row) -> Location {
        assert!(self.is_durable(row), "only what is durable has a place");
        self.records.commit_of(row).0
    }

    /// Where the records of all rows lie that are durable and kept.
    pub fn all_stored(&self) -> impl Iterator<Item = Location> + '_ {
        let kept = |&row: &Row| self.is_durable(row) && self.is_kept(row);
        (0..self.slots()).map(Row).filter(kept).map(|row| self.stored(row))
    }

    /// The mark behind a row that is not durable.
    pub fn mark_behind(&self, row: Row) -> u64 {
        self.durable() + self.pending_place(row) + 1
    }

    fn pending_place(&self, row: Row) -> u64 {
        assert!(!self.is_durable(row), "a durable row is not pending");
        self.generation(row).0 - self.generation(self.at(self.durable())).0
    }

    /// When the row was committed, or received where it is not durable.
    pub fn committed_at(&self, row: Row) -> Time {
        match self.is_durable(row) {
            true => self.records.commit_of(row).1,
            false => self.received_at(row),
        }
    }

    /// When the row was received.
    pub fn received_at(&self, row: Row) -> Time {
        self.records.received_at(row)
    }

    /// What recalls can filter it by.
    pub fn attributes(&self, row: Row) -> Attributes {
        self.attributes[row.0]
    }

    /// When it happened, in milliseconds since 1970, as far as is known: else when it was received.
    pub fn happened_at(&self, row: Row) -> i64 {
        let known = self.attributes[row.0].happened_at();
        known.unwrap_or((self.received_at(row).0 / 1_000) as i64)
    }

    /// The row's generation.
    pub fn generation(&self, row: Row) -> Generation {
        self.spans.generation(row)
    }

    /// Whether the row is on the disk.
    pub fn is_durable(&self, row: Row) -> bool {
        self.generation(row) <= self.durable
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

    /// Slots: all rows have numbers below it.
    pub fn slots(&self) -> u32 {
        self.index.len_slots()
    }

    /// Rows that are durable, replaced ones included until they have left the graph.
    pub fn len_durable(&self) -> u32 {
        self.index.len() - self.len_pending()
    }

    /// Rows that are not durable.
    pub fn len_pending(&self) -> u32 {
        self.pending.len() as u32
    }

    /// Durable rows that no other has replaced and that are not forgotten.
    pub fn living(&self) -> u32 {
        self.living
    }

    /// Rows in the graph.
    pub fn indexed(&self) -> u32 {
        self.index.indexed()
    }

    /// The mark below which rows had their turn to go into the graph.
    pub fn inserted(&self) -> u64 {
        self.index.inserted()
    }

    /// The durable mark: all rows below it are on the disk.
    pub fn durable(&self) -> u64 {
        self.arrived() - self.pending.len() as u64
    }

    /// The mark below which all rows are.
    pub fn arrived(&self) -> u64 {
        self.inserted() + self.index.waiting().len() as u64
    }

    /// The row outside the graph at this mark.
    pub fn at(&self, mark: u64) -> Row {
        self.index.waiting_at(self.place_of(mark))
    }

    /// Where those at this mark stand among the rows outside the graph.
    pub fn place_of(&self, mark: u64) -> u32 {
        u32::try_from(mark - self.inserted()).expect("a mark behind what was inserted")
    }

    /// The generation of the newest durable row.
    pub fn durable_generation(&self) -> Generation {
        self.durable
    }

    /// The generation of the newest row.
    pub fn newest(&self) -> Generation {
        match self.index.waiting().next_back().filter(|_| !self.pending.is_empty()) {
            Some(row) => self.generation(row),
            None => self.durable,
        }
    }

    /// Bytes of RAM that all of this takes.
    pub fn bytes(&self) -> u64 {
        let Rows { index, ids, records, spans, attributes, gone, readers, .. } = self;
        let pending = self.pending.capacity() * size_of::<Place>();
        let told = (self.overwritten.capacity() + self.linked_again.capacity()) * size_of::<Row>();
        let arrays = index.bytes() + ids.bytes() + records.bytes() + spans.bytes();
        arrays + attributes.bytes() + gone.bytes() + readers.bytes() + (pending + told) as u64
    }

    /// Checks what must hold beside the invariants of the graph; the text says what does not.
    pub fn check(&self) -> Result<(), String> {
        self.index.check()?;
        let slots = (0..self.slots()).map(Row);
        let living =
            slots.clone().filter(|&row| self.is_alive(row) && self.is_durable(row)).count();
        if living != self.living as usize {
            return Err(format!("{living} rows are alive, and {} are counted", self.living));
        }
        let is_hidden = |row| self.hidden.contains_key(&self.generation(row));
        let differs =
            |&row: &Row| (self.is_alive(row) || is_hidden(row)) != self.index.is_held(row);
        if let Some(row) = slots.clone().find(differs) {
            return Err(format!("{row:?} is removed either here or in the index"));
        }
        let hidden = slots.clone().filter(|&row| is_hidden(row)).count();
        if hidden != self.hidden.len() {
            return Err(format!("{hidden} rows are hidden, and {} are counted", self.hidden.len()));
        }
        let mut generations: Vec<_> =
            slots.filter(|&row| self.is_alive(row)).map(|row| self.generation(row)).collect();
        generations.sort_unstable();
        match generations.is_sorted_by(|one, other| one < other) {
            true => Ok(()),
            false => Err("two rows of one generation".into()),
        }
    }
}

/// Notes the attributes of the row in this slot, the next one or one that is used again.
pub(super) fn put(all: &mut Arena<Attributes>, row: Row, attributes: Attributes) {
    if row.0 == all.len() {
        all.push();
    }
    all[row.0] = attributes;
}
