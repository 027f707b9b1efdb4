//! Rows, layers and the ways through them, put together.

use std::cmp::Reverse;
use std::ops::Range;

use crate::ids::Row;
use crate::limits::{
    DIMENSION_MAX, DIMENSION_MIN, GRAPH_CHOSEN_BOTTOM, GRAPH_LINKS, GRAPH_WIDTH_INSERT_UPPER,
};
use crate::settings::Metric;
use crate::vector::codes::Codes;
use crate::vector::kernel::Kernel;
use crate::vector::rows::{Query, QueryBlocks, Rows, Sketch};

use super::adopt::settle;
use super::check;
use super::filter::{self, Way};
use super::link::{link, link_both_ways};
use super::links::{Bottom, Kin, Layer, Linked, Upper, level};
use super::notes::Notes;
use super::rank::{Packing, Rank, Scored};
use super::rescore::rescore;
use super::scan;
use super::search::{Everything, Traversal, View, descend};
use super::select::select;
use super::slots::Slots;
use super::states::{Mending, State, States};

/// The least width of a search, for each row that is wanted: by 1-bit codes the best are known only
/// roughly.
const WIDTH_PER_WANTED: u32 = 2;

/// Reusable memory of searches and insertions. One serves any number of indices; it carries nothing
/// from call to call.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(super) traversal: Traversal,
    pub(super) neighbours: Neighbours,
    pub(super) sketch: Sketch,
}

/// What a search of the graph came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sought {
    /// The distances that it took.
    pub distances: u32,
    /// Whether it found what a search of its width finds. It did not where too few of the rows that
    /// it met were visible: those are to be scanned.
    pub complete: bool,
}

/// Who may become a neighbour of a new row, and who does.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    pub(super) candidates: Vec<Rank>,
    pub(super) chosen: Vec<Rank>,
    /// How similar the candidates are.
    pub(super) notes: Notes,
}

/// The rows of one stripe: the codes of all by slot, and the graph over those that do not wait.
#[derive(Clone, Debug)]
pub struct Index {
    pub(super) seed: u64,
    pub(super) rows: Rows,
    pub(super) bottom: Bottom,
    /// From the layer above the bottom to the topmost, whose node 0 is the entry.
    pub(super) upper: Vec<Upper>,
    pub(super) states: States,
    pub(super) slots: Slots,
    pub(super) mending: Mending,
}

impl Index {
    /// An empty index for vectors of `dimension`, compared by `metric`; `seed` draws the layers, so
    /// equal inputs build equal graphs.
    pub fn new(dimension: u16, metric: Metric, seed: u64) -> Index {
        Index::with_kernel(dimension, metric, seed, Kernel::fastest())
    }

    /// The same with another kernel than the fastest; results do not depend on it.
    pub fn with_kernel(dimension: u16, metric: Metric, seed: u64, kernel: Kernel) -> Index {
        assert!((DIMENSION_MIN..=DIMENSION_MAX).contains(&dimension), "dimension {dimension}");
        Index {
            seed,
            rows: Rows::new(dimension, metric, kernel),
            bottom: Bottom::new(Packing::new(1.0)),
            upper: Vec::new(),
            states: States::new(),
            slots: Slots::default(),
            mending: Mending::Idle,
        }
    }

    /// Rows held: those in the graph and those that wait.
    pub fn len(&self) -> u32 {
        self.indexed() + self.slots.waiting.len() as u32
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows in the graph, with removed ones that have not left it.
    pub fn indexed(&self) -> u32 {
        let linked = [State::Alive, State::Ghost, State::Removed, State::Leaving];
        linked.iter().map(|state| self.states.count(*state)).sum()
    }

    /// Bytes of RAM that rows and graph take.
    pub fn bytes(&self) -> u64 {
        self.rows.bytes()
            + self.states.bytes()
            + self.slots.bytes()
            + self.bottom.bytes()
            + self.upper.iter().map(Upper::bytes).sum::<u64>()
    }

    /// Puts the row that has waited longest into the graph, with a search of this width on the
    /// bottom layer; there must be one. Returns the distances that it took.
    pub fn insert_next(&mut self, width: u32, scratch: &mut Scratch) -> u32 {
        let row = self.slots.waiting.pop_front().expect("a row waits");
        self.slots.inserted += 1;
        if self.bottom.len() == 0 {
            self.insert_first(row);
            return 0;
        }
        if self.pass_over(row) {
            return 1;
        }
        let Scratch { traversal, neighbours, .. } = scratch;
        let mut distances = 0;
        self.rows.sketch(self.rows.row(row), &mut traversal.sketch);
        let start = self.enter(&traversal.sketch, 0, &mut distances);
        traversal.begin(&self.bottom, start.node(), width);
        distances += self.search_alive(traversal);
        let found = traversal.beam.nodes().iter().copied();
        rank(&self.rows, &self.bottom, row, or_root(found), neighbours);
        distances += neighbours.candidates.len() as u32;
        let (kin, more) = choose(&self.rows, &self.bottom, row, GRAPH_CHOSEN_BOTTOM, neighbours);
        distances += more;
        distances += match row < self.bottom.len() {
            true => link_again(&self.rows, &mut self.bottom, row, kin, neighbours),
            false => {
                let node = self.bottom.push();
                let query = self.rows.row(row);
                let similarity = |other| self.rows.similarity(query, other);
                let Neighbours { chosen, notes, .. } = &*neighbours;
                link(&mut self.bottom, node, kin, chosen, notes, similarity)
            }
        };
        distances += self.insert_upper(row, traversal, neighbours);
        self.take_in(row);
        distances
    }

    /// Puts row 0 into the empty graph.
    fn insert_first(&mut self, row: u32) {
        assert_eq!(row, 0, "the first slot is the first to be taken");
        self.bottom = Bottom::new(Packing::new(self.rows.unit(0)));
        self.bottom.push();
        self.raise(0);
        self.take_in(0);
    }

    /// The row has its links now. If it was removed before, searches start at it.
    fn take_in(&mut self, row: u32) {
        let state = match self.states.of(row) {
            State::Dropped => State::Ghost,
            _ => State::Alive,
        };
        self.states.set(row, state);
    }

    /// A traversal of the bottom layer to its end, for rows that are alive. Returns the distances
    /// that it took.
    fn search_alive(&self, traversal: &mut Traversal) -> u32 {
        match self.states.are_all_alive() {
            true => traversal.run(self.view(&Everything)),
            false => traversal.run(self.view(&|row| self.states.is_alive(row))),
        }
    }

    /// The bottom layer, for a search.
    pub(super) fn view<'a, V>(&'a self, visible: &'a V) -> View<'a, Bottom, V> {
        View { rows: &self.rows, layer: &self.bottom, visible }
    }

    /// Puts a row of the bottom layer into the layers above that were drawn for its slot. Returns
    /// the distances that it took.
    fn insert_upper(
        &mut self,
        row: u32,
        traversal: &mut Traversal,
        neighbours: &mut Neighbours,
    ) -> u32 {
        let height = level(self.seed, row);
        let reached = height.min(self.upper.len());
        let mut distances = 0;
        if reached > 0 {
            let mut at = self.enter(&traversal.sketch, reached, &mut distances).node();
            for layer in (1..=reached).rev() {
                // The row is pushed to the layer below right after.
                let below = if layer > 1 { self.upper[layer - 2].links.len() } else { row };
                let upper = &mut self.upper[layer - 1];
                traversal.begin(upper, at, GRAPH_WIDTH_INSERT_UPPER);
                let is_alive = |node| self.states.is_alive(upper.rows[node]);
                let view = View { rows: &self.rows, layer: &*upper, visible: &is_alive };
                distances += traversal.run(view);
                let beam = traversal.beam.nodes().iter().copied();
                rank(&self.rows, upper, row, or_root(beam), neighbours);
                distances += neighbours.candidates.len() as u32;
                at = upper.below[neighbours.candidates[0].node()];
                let (kin, more) = choose(&self.rows, upper, row, GRAPH_LINKS, neighbours);
                distances += more;
                distances += match upper.find(row) {
                    Some(node) => link_again(&self.rows, upper, node, kin, neighbours),
                    None => {
                        let node = upper.push(row, below);
                        let query = self.rows.row(row);
                        let Upper { links, rows: row_of, .. } = upper;
                        let similarity = |other| self.rows.similarity(query, row_of[other]);
                        let Neighbours { chosen, notes, .. } = &*neighbours;
                        link(links, node, kin, chosen, notes, similarity)
                    }
                };
            }
        }
        self.raise(row);
        distances
    }

    /// A row that was removed before its turn is gone without having had a link, and true is
    /// returned, unless a layer begins with it.
    fn pass_over(&mut self, row: u32) -> bool {
        let height = level(self.seed, row);
        if self.states.of(row) != State::Dropped || height > self.upper.len() {
            return false;
        }
        if row == self.bottom.len() {
            let mut below = self.bottom.push();
            for layer in &mut self.upper[..height] {
                below = layer.push(row, below);
            }
        }
        self.go(row);
        true
    }

    /// The row, to and from which no link leads, is gone.
    pub(super) fn go(&mut self, row: u32) {
        self.states.set(row, State::Gone);
        self.slots.gone.push_back(row);
        self.slots.departed += 1;
    }

    /// Adds the layers that were drawn for `row` and are not there yet, with it alone.
    fn raise(&mut self, row: u32) {
        while self.upper.len() < level(self.seed, row) {
            let below = self.upper.last().map_or(row, |layer| layer.links.len() - 1);
            let mut layer = Upper::new(self.bottom.packing());
            layer.push(row, below);
            self.upper.push(layer);
        }
    }

    /// The nearest `count` rows of the graph for which `visible` holds, best first, ties by row
    /// number. Where so few are visible that the graph leads past them, they are scanned, in this
    /// one call. Returns the distances that it took.
    pub fn search(
        &self,
        query: &Codes,
        width: u32,
        count: u32,
        visible: impl Fn(Row) -> bool,
        scratch: &mut Scratch,
        found: &mut Vec<Scored>,
    ) -> u32 {
        let Sought { distances, complete } =
            self.search_graph(query, width, count, &visible, scratch, found);
        if complete {
            return distances;
        }
        found.clear();
        let visible = |row: Row| self.states.is_linked(row.0) && visible(row);
        distances + self.scan(query, 0..self.nodes(), count, visible, scratch, found)
    }

    /// [`Index::search`] without the scan, which is left to the caller where the answer is not
    /// complete: what was found is of no use then.
    pub fn search_graph(
        &self,
        query: &Codes,
        width: u32,
        count: u32,
        visible: impl Fn(Row) -> bool,
        scratch: &mut Scratch,
        found: &mut Vec<Scored>,
    ) -> Sought {
        found.clear();
        if self.nodes() == 0 || count == 0 {
            return Sought { distances: 0, complete: true };
        }
        let blocks = QueryBlocks::new(query);
        let query = self.rows.query(query, &blocks);
        self.find(query, None, (width, count), visible, scratch, found)
    }

    /// The nearest `count` visible rows to `query` by a search of `width` that takes the row
    /// `absent` for absent.
    pub(super) fn find(
        &self,
        query: Query<'_>,
        absent: Option<u32>,
        (width, count): (u32, u32),
        visible: impl Fn(Row) -> bool,
        scratch: &mut Scratch,
        found: &mut Vec<Scored>,
    ) -> Sought {
        let traversal = &mut scratch.traversal;
        let Some(mut distances) = self.start(query, absent, (width, count), &visible, traversal)
        else {
            return Sought { distances: 1, complete: false };
        };
        let visible = |row| visible(Row(row));
        distances += traversal.run(self.view(&visible));
        let candidates = &mut scratch.neighbours.candidates;
        distances += self.gather(query, traversal, count, candidates, found);
        Sought { distances, complete: traversal.is_complete() }
    }

    /// Begins a search, and returns the distances that it took; none where the rows are to be
    /// scanned instead, because too few are visible.
    pub(super) fn start(
        &self,
        query: Query<'_>,
        absent: Option<u32>,
        (width, count): (u32, u32),
        visible: impl Fn(Row) -> bool,
        traversal: &mut Traversal,
    ) -> Option<u32> {
        let width = width.max(WIDTH_PER_WANTED * count);
        let is_there = |row| self.states.is_linked(row);
        let is_visible = |row| visible(Row(row));
        if filter::way(self.nodes(), width, is_there, is_visible) == Way::Scan {
            return None;
        }
        self.rows.sketch(query, &mut traversal.sketch);
        let mut distances = 0;
        let start = self.enter(&traversal.sketch, 0, &mut distances).node();
        traversal.begin(&self.bottom, start, width);
        if let Some(absent) = absent {
            assert_ne!(absent, start, "a search starts at a row that is there");
            traversal.leave_out(absent);
        }
        Some(distances)
    }

    /// Puts the best `count` that the traversal came to into `found`, best first, by their int8
    /// codes. Returns the distances that it took.
    pub(super) fn gather(
        &self,
        query: Query<'_>,
        traversal: &Traversal,
        count: u32,
        candidates: &mut Vec<Rank>,
        found: &mut Vec<Scored>,
    ) -> u32 {
        candidates.clear();
        let beam = traversal.beam.nodes();
        rescore(&self.rows, &self.bottom, query, beam.iter().copied(), candidates);
        found.extend(candidates.iter().map(|rank| Scored::from(*rank)));
        found.sort_unstable_by_key(|scored| Reverse(Rank::from(*scored)));
        found.truncate(count as usize);
        candidates.len() as u32
    }

    /// Compares the rows in the slots `range` one by one, by 1-bit codes and the best of them by
    /// int8 codes, and merges those that are `visible` into `found`, which keeps the best `count`,
    /// best first. Returns the distances that it took.
    pub fn scan(
        &self,
        query: &Codes,
        range: Range<u32>,
        count: u32,
        visible: impl Fn(Row) -> bool,
        scratch: &mut Scratch,
        found: &mut Vec<Scored>,
    ) -> u32 {
        let slots = self.len_slots();
        assert!(range.end <= slots, "rows to {} are scanned, of {slots}", range.end);
        let blocks = QueryBlocks::new(query);
        self.scan_with(self.rows.query(query, &blocks), range, count, visible, scratch, found)
    }

    /// The same with the rows at these places among those that wait.
    pub fn scan_waiting(
        &self,
        query: &Codes,
        places: Range<u32>,
        count: u32,
        visible: impl Fn(Row) -> bool,
        scratch: &mut Scratch,
        found: &mut Vec<Scored>,
    ) -> u32 {
        let blocks = QueryBlocks::new(query);
        let rows = self.slots.waiting.range(places.start as usize..places.end as usize).copied();
        self.scan_with(self.rows.query(query, &blocks), rows, count, visible, scratch, found)
    }

    /// [`Index::scan`] with a query at hand.
    pub(super) fn scan_with(
        &self,
        query: Query<'_>,
        scanned: impl ExactSizeIterator<Item = u32>,
        count: u32,
        visible: impl Fn(Row) -> bool,
        scratch: &mut Scratch,
        found: &mut Vec<Scored>,
    ) -> u32 {
        self.rows.sketch(query, &mut scratch.sketch);
        let candidates = &mut scratch.neighbours.candidates;
        let compared = (&scratch.sketch, query);
        let count = count as usize;
        scan::scan(&self.rows, compared, scanned, count, visible, candidates, found)
    }

    /// Checks every invariant of the graph; the text says what is wrong and where.
    pub fn check(&self) -> Result<(), String> {
        check::check(&self.rows, &self.bottom, &self.upper, &self.states, &self.slots, self.seed)
    }

    /// From the entry down to the layer `height`, or to the topmost if it is lower: the node there
    /// to start from.
    pub(super) fn enter(&self, sketch: &Sketch, height: usize, distances: &mut u32) -> Rank {
        let row = self.upper.last().map_or(0, |layer| layer.rows[0]);
        let mut similarity = [0.0];
        self.rows.estimates(sketch, &[row], &mut similarity);
        let mut at = Rank::new(similarity[0], 0);
        *distances += 1;
        for layer in self.upper[height.min(self.upper.len())..].iter().rev() {
            at = descend(&self.rows, layer, sketch, at, distances);
            at = Rank::new(at.similarity(), layer.below[at.node()]);
        }
        at
    }
}

/// Links a node whose slot is used again, and which has no links, with those chosen. Returns the
/// distances that it took.
fn link_again<const SLOTS: usize, L: Linked<SLOTS>>(
    rows: &Rows,
    layer: &mut L,
    node: u32,
    kin: Kin,
    neighbours: &Neighbours,
) -> u32 {
    let Neighbours { chosen, notes, .. } = neighbours;
    link_both_ways(layer.links_mut(), node, kin, chosen, notes);
    settle(rows, layer, node, chosen)
}

/// Compares `row` with `nodes` of a layer by int8 codes; the candidates are best first.
fn rank<const SLOTS: usize, L: Linked<SLOTS>>(
    rows: &Rows,
    layer: &L,
    row: u32,
    nodes: impl Iterator<Item = u32>,
    neighbours: &mut Neighbours,
) {
    let Neighbours { candidates, notes, .. } = neighbours;
    candidates.clear();
    rescore(rows, layer, rows.row(row), nodes, candidates);
    candidates.sort_unstable_by(|a, b| b.cmp(a));
    notes.take(candidates, layer.len(), layer.links().packing());
}

/// `nodes`, or node 0 where there is none: it is the parent of all that have no other.
fn or_root(nodes: impl Iterator<Item = u32>) -> impl Iterator<Item = u32> {
    let mut nodes = nodes.peekable();
    let root = nodes.peek().is_none().then_some(0);
    nodes.chain(root)
}

/// Chooses among the candidates for `row`: a twin alone, if there is one, else at most `most`.
/// Returns which, and the distances that it took.
fn choose<L: Layer>(
    rows: &Rows,
    layer: &L,
    row: u32,
    most: usize,
    neighbours: &mut Neighbours,
) -> (Kin, u32) {
    let Neighbours { candidates, chosen, .. } = neighbours;
    let query = rows.row(row);
    // Twins are as similar as a row is to itself; comparing that first spares comparing codes.
    let own = rows.similarity(query, row);
    let equal =
        |rank: &&Rank| rank.similarity() == own && rows.row(layer.row(rank.node())) == query;
    if let Some(twin) = candidates.iter().find(equal) {
        chosen.clear();
        chosen.push(*twin);
        return (Kin::Twin, 1);
    }
    (Kin::Other, 1 + select(rows, layer, candidates, most, chosen))
}
