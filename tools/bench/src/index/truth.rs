//! Queries with their exact answers.

use std::io::Result;
use std::path::Path;

use engram::dataset::{DIMENSION, Dataset, Neighbour, Vector};
use engram_shards::graph::Scored;
use serde::Serialize;

/// Exact answers known of each query.
pub(super) const ANSWERS: usize = 100;

/// Some queries and the base rows nearest to each.
#[derive(Serialize)]
pub(super) struct Queries {
    #[serde(skip)]
    pub(super) cues: Vec<Vector>,
    /// By query, best first, [`ANSWERS`] of them.
    answers: Vec<Vec<usize>>,
}

impl Queries {
    fn new(data: &Dataset, rows: usize, cues: Vec<Vector>) -> Queries {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let nearest = data.nearest(rows, &cues, ANSWERS, threads);
        let rows_of = |found: &Vec<Neighbour>| found.iter().map(|nearest| nearest.row).collect();
        let answers = nearest.iter().map(rows_of).collect();
        Queries { cues, answers }
    }

    /// How many of the true first `count` of query `number` are found.
    pub(super) fn hits(&self, number: usize, count: usize, found: &[Scored]) -> usize {
        let is_found = |row: &&usize| found.iter().any(|scored| scored.row.0 as usize == **row);
        self.answers[number][..count].iter().filter(is_found).count()
    }
}

/// The two sets of queries for the first rows of the base.
#[derive(Serialize)]
pub(super) struct Truth {
    pub(super) rows: usize,
    /// Texts that the base has never seen.
    pub(super) plain: Queries,
    /// Base texts in a context that the base lacks.
    pub(super) harder: Queries,
}

impl Truth {
    /// Finds the exact answers of `count` queries of each set among the first `rows` base rows.
    pub(super) fn find(data: &Dataset, rows: usize, count: usize) -> Truth {
        let cues = |fill: &dyn Fn(usize, &mut Vector)| {
            let mut cues = vec![[0.0; DIMENSION]; count];
            cues.iter_mut().enumerate().for_each(|(number, cue)| fill(number, cue));
            cues
        };
        let texts = rows.min(data.base_rows());
        let context = rows.div_ceil(data.base_rows());
        let harder = |number: usize, cue: &mut Vector| {
            data.base(context * data.base_rows() + number * texts / count, cue)
        };
        Truth {
            rows,
            plain: Queries::new(data, rows, cues(&|number, cue| data.query(number, cue))),
            harder: Queries::new(data, rows, cues(&harder)),
        }
    }

    /// Writes the answers as JSON.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, serde_json::to_vec(self)?)
    }
}
