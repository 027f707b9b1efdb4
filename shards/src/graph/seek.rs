//! A search in steps, so that a wide one holds nobody up: between two steps rows may come, and
//! others be linked anew.

use crate::ids::Row;
use crate::limits::{SEARCH_DISTANCES_MAX, SEARCH_STEPS_MAX};
use crate::vector::codes::Codes;
use crate::vector::rows::QueryBlocks;

use super::Index;
use super::index::Scratch;
use super::rank::Scored;
use super::search::{FRESH_MAX, Traversal};

const _: () = assert!(SEARCH_STEPS_MAX as usize * FRESH_MAX <= SEARCH_DISTANCES_MAX as usize);

/// What is sought.
#[derive(Clone, Copy, Debug)]
pub enum Aim<'a> {
    /// The nearest to what these codes stand for.
    Cue(&'a Codes),
    /// The nearest to a row of the bottom layer alone, which the search takes for absent: neither is
    /// it found nor are its links followed. So a row stands for a query that the graph has never
    /// seen.
    Row(Row),
}

/// A search that stops between its steps. One serves any number of searches, of any index, one after
/// the other.
#[derive(Debug, Default)]
pub struct Seeking {
    traversal: Traversal,
    count: u32,
    stage: Stage,
}

/// How far a search has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// It has ended, or none has begun.
    #[default]
    Over,
    /// On its way through the graph.
    Searching,
    /// What is left of it is to be compared by int8 codes.
    Gathering,
}

impl Index {
    /// Begins a search of `width` for the nearest `count` rows of the graph for which `visible`
    /// holds. Returns the distances that it took; none where it ended at once because the rows are
    /// to be scanned instead.
    pub fn begin_search(
        &self,
        aim: Aim<'_>,
        (width, count): (u32, u32),
        visible: impl Fn(Row) -> bool,
        seeking: &mut Seeking,
    ) -> Option<u32> {
        assert!(self.indexed() > 0 && count > 0, "there is something to be found");
        let traversal = &mut seeking.traversal;
        let size = (width, count);
        let begun = match aim {
            Aim::Cue(codes) => {
                let blocks = QueryBlocks::new(codes);
                self.start(self.rows.query(codes, &blocks), None, size, visible, traversal)
            }
            Aim::Row(row) => {
                assert!(self.starts_no_search(row), "a search might start at row {}", row.0);
                self.start(self.rows.row(row.0), Some(row.0), size, visible, traversal)
            }
        };
        seeking.count = count;
        seeking.stage = if begun.is_some() { Stage::Searching } else { Stage::Over };
        begun
    }

    /// Goes on with the search that was begun, which has the same aim and sees the same rows.
    /// Returns the distances that it took and, once it has ended, whether it found what a search of
    /// its width finds: that is in `found` then. If not, the rows are to be scanned.
    pub fn go_on_searching(
        &self,
        aim: Aim<'_>,
        visible: impl Fn(Row) -> bool,
        seeking: &mut Seeking,
        scratch: &mut Scratch,
        found: &mut Vec<Scored>,
    ) -> (u32, Option<bool>) {
        let Seeking { traversal, count, stage } = seeking;
        let mut distances = 0;
        if *stage == Stage::Searching {
            // A mean that was learned since the last step makes other codes of the same vectors.
            if !self.rows.holds(&traversal.sketch) {
                match aim {
                    Aim::Cue(codes) => {
                        let blocks = QueryBlocks::new(codes);
                        let query = self.rows.query(codes, &blocks);
                        self.rows.sketch(query, &mut traversal.sketch);
                    }
                    Aim::Row(row) => {
                        self.rows.sketch(self.rows.row(row.0), &mut traversal.sketch);
                    }
                }
            }
            let visible = |row| visible(Row(row));
            let (searched, more) = traversal.run_on(self.view(&visible), SEARCH_STEPS_MAX);
            if more {
                return (searched.max(1), None);
            }
            *stage = Stage::Gathering;
            distances = searched;
        }
        assert_eq!(*stage, Stage::Gathering, "a search goes on that was begun");
        // What is left of a wide search is another step's.
        if distances + traversal.beam.nodes().len() as u32 > SEARCH_DISTANCES_MAX {
            return (distances, None);
        }
        let candidates = &mut scratch.neighbours.candidates;
        found.clear();
        distances += match aim {
            Aim::Cue(codes) => {
                let blocks = QueryBlocks::new(codes);
                let query = self.rows.query(codes, &blocks);
                self.gather(query, traversal, *count, candidates, found)
            }
            Aim::Row(row) => {
                self.gather(self.rows.row(row.0), traversal, *count, candidates, found)
            }
        };
        *stage = Stage::Over;
        (distances.max(1), Some(traversal.is_complete()))
    }
}
