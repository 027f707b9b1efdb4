//! One query, answered exactly and by the graph.

use std::ops::Range;

use crate::graph::{Aim, Index, Scored, Scratch, Seeking};
use crate::ids::Row;
use crate::limits::{QUALITY_NEIGHBOURS, QUALITY_SCAN_ROWS_MAX, RECALL_WIDTHS};
use crate::quality::row_set::RowSet;
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
    /// Rows in the graph when it began …
    rows: u32,
    /// … in slots below this …
    slots: u32,
    /// … but for these, which other rows have taken since.
    came: RowSet,
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
    /// Begins one over the rows that are in the graph now, to be searched at the widths of these `places`. Misses of the
    /// one at `watched` are told.
    pub(super) fn new(query: Query, index: &Index, places: Range<usize>, watched: usize) -> Sample {
        Sample {
            query,
            rows: index.indexed(),
            slots: index.nodes(),
            came: RowSet::default(),
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

    /// Another row is in this slot than when it began. Whether the sample is still of use.
    pub(super) fn overwritten(&mut self, row: Row) -> bool {
        self.came.insert(row);
        !matches!(self.query, Query::Row(query) if query == row)
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
        let (slots, came) = (self.slots, &self.came);
        let visible =
            |row: Row| row.0 < slots && Some(row) != itself && is_alive(row) && !came.contains(row);
        if self.from < slots {
            let range = self.from..slots.min(self.from + QUALITY_SCAN_ROWS_MAX);
            self.from = range.end;
            let (best, count) = (&mut self.best, QUALITY_NEIGHBOURS);
            let distances = match &self.query {
                Query::Cue(codes) => index.scan(codes, range, count, visible, scratch, best),
                Query::Row(row) => index.scan_for(*row, range, count, visible, scratch, best),
            };
            return (distances, Progress::More);
        }
        // What was removed since it was scanned, a search need not find.
        self.best.retain(|scored| visible(scored.row));
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
            Some(true) => {
                // A slot that was found may hold another row by now.
                self.found.retain(|scored| visible(scored.row));
                self.compare()
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Metric;
    use crate::vector::codes::{encode, normalise};

    fn codes(angle: f32) -> Codes {
        let mut vector = [0.0; 16];
        (vector[0], vector[1], vector[2]) = (angle.cos(), angle.sin(), 0.1);
        normalise(&mut vector).expect("not zero");
        encode(&vector)
    }

    /// Rows of some hundred angles, and a sample of the first one's neighbours that has scanned.
    fn scanned(query: Query) -> (Index, Sample) {
        let (mut index, mut scratch) = (Index::new(16, Metric::Cosine, 1), Scratch::default());
        for row in 0..300u16 {
            index.push(&codes(f32::from(row) / 100.0));
            index.insert_next(64, &mut scratch);
        }
        let mut sample = Sample::new(query, &index, 4..RECALL_WIDTHS.len(), 4);
        let (_, progress) = sample.step(&index, |_| true, (&mut Seeking::default(), &mut scratch));
        assert!(matches!(progress, Progress::More) && sample.best.len() == 10);
        (index, sample)
    }

    #[test]
    fn rows_that_came_and_went_since_the_scan_are_neither_sought_nor_missed() {
        let (mut index, mut sample) = scanned(Query::Cue(codes(1.5)));
        let mut scratch = Scratch::default();
        // One of the nearest, and as many as make it worth a round.
        let gone = sample.best[3].row;
        (200..280).map(Row).chain([gone]).for_each(|row| index.remove(row));
        while index.mend(&mut scratch) > 0 {}
        while index.first_gone().is_some() {
            let row = index.push_again(&codes(1.5));
            assert!(sample.overwritten(row));
            index.insert_next(64, &mut scratch);
        }
        let mut seeking = Seeking::default();
        let sampled = loop {
            if let (_, Progress::Done(sampled, missed)) =
                sample.step(&index, |_| true, (&mut seeking, &mut scratch))
            {
                assert_eq!(missed, []);
                break sampled;
            }
        };
        assert_eq!((sampled.neighbours, sampled.hits[RECALL_WIDTHS.len() - 1]), (9, 9));
    }

    #[test]
    fn a_sample_is_of_no_use_once_another_row_has_the_slot_of_its_query() {
        let (_, mut sample) = scanned(Query::Row(Row(150)));
        assert!(sample.overwritten(Row(149)) && !sample.overwritten(Row(150)));
    }
}
