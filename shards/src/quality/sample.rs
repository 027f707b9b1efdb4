//! One query, answered exactly and by the graph.

use std::ops::Range;

use crate::graph::{Aim, Index, Scored, Scratch, Seeking};
use crate::ids::Row;
use crate::limits::{QUALITY_NEIGHBOURS, QUALITY_SCAN_ROWS_MAX, RECALL_WIDTHS};
use crate::vector::codes::Codes;

/// What is asked.
#[derive(Clone, Debug)]
pub(super) enum Query {
    /// What a user asked.
    Cue(Codes),
    /// A row of the graph, taken for absent.
    Row(Row),
}

/// How many of the true neighbours the graph finds, by place in [`RECALL_WIDTHS`].
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sampled {
    /// Rows in the graph when it was sampled.
    pub(super) rows: u32,
    /// True neighbours: [`QUALITY_NEIGHBOURS`], or fewer where there are no more visible rows.
    pub(super) neighbours: u8,
    /// The widths that it tells of, by their places.
    pub(super) places: Range<usize>,
    /// Those found at each of them.
    pub(super) hits: [u8; RECALL_WIDTHS.len()],
}

/// What a step led to.
#[derive(Debug)]
pub(super) enum Progress {
    /// There is more to do.
    More,
    /// Done: what was sampled, and the neighbours that the watched width missed.
    Done(Sampled, Vec<Row>),
}

/// A sample that has begun: the exact scan of the rows that were in the graph then, some at a time,
/// and after that searches of rising width until one finds them all.
///
/// Rows that come meanwhile are left out of either answer. They only lie in the way of the search,
/// as they would for a later query.
#[derive(Debug)]
pub(super) struct Sample {
    query: Query,
    rows: u32,
    /// The scan goes on from here.
    from: u32,
    best: Vec<Scored>,
    found: Vec<Scored>,
    /// The widths to search at, by their places.
    places: Range<usize>,
    /// The next of them.
    place: usize,
    /// Whether the search at it has begun.
    is_searching: bool,
    hits: [u8; RECALL_WIDTHS.len()],
    watched: usize,
    missed: Vec<Row>,
}

impl Sample {
    /// Begins one over the `rows` that are in the graph now, to be searched at the widths of these `places`. Misses of the
    /// one at `watched` are told.
    pub(super) fn new(query: Query, rows: u32, places: Range<usize>, watched: usize) -> Sample {
        Sample {
            query,
            rows,
            from: 0,
            best: Vec::new(),
            found: Vec::new(),
            place: places.start,
            is_searching: false,
            places,
            hits: [0; RECALL_WIDTHS.len()],
            watched,
            missed: Vec::new(),
        }
    }

    /// One step. Returns the distances that it took, and where it led to. `is_alive` tells which
    /// rows a recall may find. `seeking` is the same in all steps, and no one else's meanwhile.
    pub(super) fn step(
        &mut self,
        index: &Index,
        is_alive: impl Fn(Row) -> bool,
        (seeking, scratch): (&mut Seeking, &mut Scratch),
    ) -> (u32, Progress) {
        let itself = match self.query {
            Query::Row(row) => Some(row),
            Query::Cue(_) => None,
        };
        let rows = self.rows;
        let visible = |row: Row| row.0 < rows && Some(row) != itself && is_alive(row);
        if self.from < rows {
            let range = self.from..rows.min(self.from + QUALITY_SCAN_ROWS_MAX);
            self.from = range.end;
            let (best, count) = (&mut self.best, QUALITY_NEIGHBOURS);
            let distances = match &self.query {
                Query::Cue(codes) => index.scan(codes, range, count, visible, scratch, best),
                Query::Row(row) => index.scan_for(*row, range, count, visible, scratch, best),
            };
            return (distances, Progress::More);
        }
        let aim = match &self.query {
            Query::Cue(codes) => Aim::Cue(codes),
            Query::Row(row) => Aim::Row(*row),
        };
        let mut begun = 0;
        if !self.is_searching {
            let size = (RECALL_WIDTHS[self.place], QUALITY_NEIGHBOURS);
            let Some(distances) = index.begin_search(aim, size, visible, seeking) else {
                return (1, self.compare_as_scanned());
            };
            begun = distances;
            self.is_searching = true;
        }
        let found = &mut self.found;
        let (distances, ended) = index.go_on_searching(aim, visible, seeking, scratch, found);
        self.is_searching = ended.is_none();
        let progress = match ended {
            None => Progress::More,
            Some(true) => self.compare(),
            Some(false) => self.compare_as_scanned(),
        };
        (begun + distances, progress)
    }

    /// A recall would scan, as this sample has done.
    fn compare_as_scanned(&mut self) -> Progress {
        self.found.clone_from(&self.best);
        self.compare()
    }

    /// Compares what was found with what there is.
    fn compare(&mut self) -> Progress {
        // Rows as near as the last of the best are as good, whichever of them was found.
        let bound = self.best.last().map_or(f32::INFINITY, |worst| worst.similarity);
        let hits = self.found.iter().filter(|scored| scored.similarity >= bound).count();
        if self.place == self.watched {
            let best = self.best.iter().map(|scored| scored.row);
            self.missed =
                best.filter(|row| self.found.iter().all(|found| found.row != *row)).collect();
        }
        // A wider search finds what a narrower one found, in all but rare cases.
        self.hits[self.place..].fill(hits as u8);
        self.place += 1;
        if hits < self.best.len() && self.place < self.places.end {
            return Progress::More;
        }
        let sampled = Sampled {
            rows: self.rows,
            neighbours: self.best.len() as u8,
            places: self.places.clone(),
            hits: self.hits,
        };
        Progress::Done(sampled, std::mem::take(&mut self.missed))
    }
}
