//! One recall, resumable between slices: search the graph, scan the tail, read the candidates' records, rank them
//! exactly, keep the newest of each id.
//!
//! ```text
//!  Search ──► Scan ──► (gather) ──► Reading ──► Ranking ──► Recalled
//! ```
//! **Invariant:** a recall sees the rows below its limit as they were when it began: what arrives, is replaced or is
//! dropped meanwhile changes nothing but that dropped rows vanish.

use crate::graph::{Aim, Scored, Scratch, Seeking};
use crate::ids::{Generation, Location, Row, Time};
use crate::limits::{RECALL_RESULTS_MAX, RECALL_SCAN_ROWS_MAX, RECALL_WIDTH_MAX};
use crate::log::log::Ordinal;
use crate::log::record::{BodyFault, decode_body, read_body, read_embedding};
use crate::message::{Durability, Hit, Isolation, Recall, Recalled};
use crate::settings::Metric;
use crate::space::{Place, Rows, Stripe};
use crate::vector::codes::normalise;
use crate::vector::kernel::{dot_f32, square_distance_f32};

/// Candidates that one step ranks at most.
const RANK_ROWS_MAX: usize = 64;
/// What ranking a candidate costs, in distances: its vector is decoded, scaled and compared in full.
const RANK_DISTANCES: u32 = 16;
/// Fewest candidates beyond the results asked for: exact ranking and replaced rows may push some out.
const SPARE_CANDIDATES_MIN: u32 = 8;

/// A recall that has begun.
#[derive(Debug)]
pub struct Job {
    query: Recall,
    metric: Metric,
    stage: Stage,
    /// Rows below it are seen.
    limit: u32,
    /// Rows that had left the graph when the recall began.
    gone: u32,
    /// Rows that were in the graph when the search began.
    linked: u32,
    /// Rows below it were durable when the recall began.
    durable: u32,
    snapshot: Generation,
    rows: u32,
    found: Vec<Scored>,
    candidates: Vec<Candidate>,
    distances: u32,
    unreadable: u32,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Search,
    /// More of the search that has begun.
    Searching,
    /// The tail, or all rows where the graph leads past those that are visible, from this row.
    Scan(u32),
    /// Waiting for so many records.
    Reading(usize),
    /// From this candidate.
    Ranking(usize),
}

/// A row that may be among the results.
#[derive(Debug)]
struct Candidate {
    row: Row,
    memory_hash: u64,
    generation: Generation,
    durability: Durability,
    received_at: Time,
    committed_at: Time,
    /// Its record's body; none until it was read, and none again where it could not be.
    body: Option<Vec<u8>>,
    similarity: f32,
}

/// What a step led to.
#[derive(Debug)]
pub enum Progress {
    /// There is more to do.
    More,
    /// Nothing to do until these records are read: candidates by number, and where their records lie.
    Read(Vec<(usize, Location)>),
    /// Done.
    Ranked(Recalled),
}

impl Job {
    /// Begins `query`, with what the stripe holds now.
    pub fn new(mut query: Recall, stripe: &Stripe) -> Job {
        assert!(
            query.count <= RECALL_RESULTS_MAX,
            "the number of results is checked where a request is made"
        );
        if query.width == 0 {
            query.width = stripe.recall_width();
        }
        let rows = stripe.rows();
        let durable = rows.durable();
        let limit = match query.isolation {
            Isolation::Durable if !planted!(InFlightRecalled) => durable,
            Isolation::Durable => rows.len(),
            Isolation::InFlight => rows.len(),
        };
        Job {
            query,
            metric: stripe.space().settings.metric,
            stage: match rows.indexed() {
                0 => Stage::Scan(0),
                _ => Stage::Search,
            },
            limit,
            gone: rows.index().gone(),
            linked: 0,
            durable,
            snapshot: stripe.generation(),
            rows: limit - rows.replaced(),
            found: Vec::new(),
            candidates: Vec::new(),
            distances: 0,
            unreadable: 0,
        }
    }

    /// One step. Returns the distances that it took, and where it led to. `seeking` is the same in each step until the first
    /// that leads to more than [`Progress::More`], and no one else's meanwhile. `pending` has the bodies of records that
    /// are not yet on the disk.
    pub fn step<'a>(
        &mut self,
        rows: &Rows,
        (seeking, scratch): (&mut Seeking, &mut Scratch),
        pending: impl Fn(Ordinal) -> &'a [u8],
    ) -> (u32, Progress) {
        let (distances, progress) = match self.stage {
            Stage::Search => {
                let begun = self.begin_search(rows, seeking);
                let searched = match self.stage {
                    Stage::Searching => self.search(rows, seeking, scratch),
                    _ => 0,
                };
                (begun + searched, Progress::More)
            }
            Stage::Searching => (self.search(rows, seeking, scratch), Progress::More),
            Stage::Scan(from) if from < self.limit => {
                (self.scan(rows, from, scratch), Progress::More)
            }
            Stage::Scan(_) => (1, self.gather(rows, pending)),
            Stage::Ranking(from) => self.rank(from),
            Stage::Reading(_) => unreachable!("a recall that waits for records is not stepped"),
        };
        self.distances = self.distances.saturating_add(distances);
        (distances, progress)
    }

    /// A record that was asked for: as it was read, or none if it could not be. Returns whether it was the last.
    pub fn handle_record(&mut self, candidate: usize, record: Option<&[u8]>) -> bool {
        let Stage::Reading(left) = self.stage else {
            panic!("a record came that was not waited for")
        };
        match record.map(read_body) {
            Some(Ok(body)) => self.candidates[candidate].body = Some(body.to_vec()),
            Some(Err(BodyFault)) | None => self.unreadable += 1,
        }
        self.stage = match left {
            1 => Stage::Ranking(0),
            _ => Stage::Reading(left - 1),
        };
        left == 1
    }

    /// The stripe's rows from `len` on were dropped; others may take their numbers.
    pub fn truncate(&mut self, len: u32) {
        self.limit = self.limit.min(len);
        self.found.retain(|scored| scored.row.0 < len);
        for candidate in self.candidates.iter_mut().filter(|candidate| candidate.row.0 >= len) {
            candidate.body = None;
        }
    }

    /// How many candidates are ranked exactly.
    fn candidates_wanted(&self) -> u32 {
        self.query.count + (self.query.count / 4).max(SPARE_CANDIDATES_MIN)
    }

    fn begin_search(&mut self, rows: &Rows, seeking: &mut Seeking) -> u32 {
        let wanted = self.candidates_wanted();
        let width = self.query.width.max(self.query.count * 3 / 2).max(wanted);
        self.linked = rows.indexed();
        let limit = self.limit;
        let visible = |row| rows.is_visible(row, limit);
        let size = (width.min(RECALL_WIDTH_MAX), wanted);
        let begun = rows.index().begin_search(Aim::Cue(&self.query.codes), size, visible, seeking);
        self.stage = match begun {
            Some(_) => Stage::Searching,
            None => Stage::Scan(0),
        };
        begun.unwrap_or(1)
    }

    fn search(&mut self, rows: &Rows, seeking: &mut Seeking, scratch: &mut Scratch) -> u32 {
        // Rows that come into the graph while the search goes on may be missed by it: they are left to the scan.
        let (limit, linked) = (self.limit, self.linked);
        let visible = |row: Row| row.0 < linked && rows.is_visible(row, limit);
        let aim = Aim::Cue(&self.query.codes);
        let (index, found) = (rows.index(), &mut self.found);
        let (distances, ended) = index.go_on_searching(aim, visible, seeking, scratch, found);
        match ended {
            None => {}
            // What has left the graph meanwhile may be what this recall is to see.
            Some(complete) if complete && index.gone() == self.gone => {
                let tail = if planted!(TailForgotten) { limit } else { linked };
                self.stage = Stage::Scan(tail.min(limit));
            }
            Some(_) => {
                self.found.clear();
                self.stage = Stage::Scan(0);
            }
        }
        distances
    }

    fn scan(&mut self, rows: &Rows, from: u32, scratch: &mut Scratch) -> u32 {
        let end = self.limit.min(from + RECALL_SCAN_ROWS_MAX);
        let limit = self.limit;
        let visible = |row| rows.is_visible(row, limit);
        let wanted = self.candidates_wanted();
        self.stage = Stage::Scan(end);
        let (codes, found) = (&self.query.codes, &mut self.found);
        rows.index().scan(codes, from..end, wanted, visible, scratch, found).max(1)
    }

    /// Turns what was found into candidates, with the bodies that are at hand.
    fn gather<'a>(&mut self, rows: &Rows, pending: impl Fn(Ordinal) -> &'a [u8]) -> Progress {
        let found: Vec<Row> = self.found.iter().map(|scored| scored.row).collect();
        let mut distinct = found.clone();
        distinct.sort_unstable();
        assert!(distinct.is_sorted_by(|one, next| one < next), "a row is found once");
        // A replacement that is not verified yet may be too far from the cue to be found itself: it comes along, so that
        // whatever it replaces cannot stand for the memory. So does one that was verified since the row was found, and
        // may itself be replaced by now, by a row that this recall does not see.
        let twins = found.iter().flat_map(|&row| {
            rows.newer_twins(row, self.limit).chain(rows.replacement(row, self.limit))
        });
        let mut twins: Vec<Row> = twins.filter(|twin| !found.contains(twin)).collect();
        twins.sort_unstable();
        twins.dedup();
        let mut reads = Vec::new();
        for row in found.into_iter().chain(twins) {
            let body = match rows.place(row) {
                Place::Pending(ordinal) => Some(pending(ordinal).to_vec()),
                Place::Stored(location) => {
                    reads.push((self.candidates.len(), location));
                    None
                }
            };
            self.candidates.push(self.candidate(rows, row, body));
        }
        if reads.is_empty() {
            self.stage = Stage::Ranking(0);
            return Progress::More;
        }
        self.stage = Stage::Reading(reads.len());
        Progress::Read(reads)
    }

    fn candidate(&self, rows: &Rows, row: Row, body: Option<Vec<u8>>) -> Candidate {
        let received_at = rows.received_at(row);
        let (durability, committed_at) = match row.0 < self.durable {
            true => (Durability::Durable, rows.committed_at(row)),
            false => (Durability::InFlight, received_at),
        };
        Candidate {
            row,
            memory_hash: rows.memory_hash(row),
            generation: rows.generation(row),
            durability,
            received_at,
            committed_at,
            body,
            similarity: 0.0,
        }
    }

    fn rank(&mut self, from: usize) -> (u32, Progress) {
        let end = self.candidates.len().min(from + RANK_ROWS_MAX);
        let mut vector = vec![0.0; self.query.vector.len()];
        for candidate in &mut self.candidates[from..end] {
            let Some(body) = &candidate.body else {
                continue;
            };
            match exact_similarity(self.metric, body, &self.query.vector, &mut vector) {
                Ok(similarity) => candidate.similarity = similarity,
                Err(BodyFault) => {
                    candidate.body = None;
                    self.unreadable += 1;
                }
            }
        }
        self.stage = Stage::Ranking(end);
        let distances = (end - from) as u32 * RANK_DISTANCES + 1;
        let progress = match end == self.candidates.len() {
            true => Progress::Ranked(self.results()),
            false => Progress::More,
        };
        (distances, progress)
    }

    fn results(&mut self) -> Recalled {
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.retain(|candidate| candidate.body.is_some());
        if !planted!(ReplacedRecalled) {
            keep_newest_of_each_id(&mut candidates);
        }
        candidates.retain(|candidate| candidate.similarity >= self.query.similarity_min);
        candidates.sort_unstable_by(|one, other| {
            other.similarity.total_cmp(&one.similarity).then(one.row.cmp(&other.row))
        });
        candidates.truncate(self.query.count as usize);
        Recalled {
            hits: candidates.into_iter().map(Candidate::into_hit).collect(),
            snapshot: self.snapshot,
            distances: self.distances,
            rows: self.rows,
            unreadable: self.unreadable,
        }
    }
}

impl Candidate {
    fn id(&self) -> &str {
        let body = self.body.as_ref().expect("only candidates with a body are compared");
        decode_body(body).expect("it was decoded when it was ranked").id
    }

    fn into_hit(self) -> Hit {
        Hit {
            similarity: self.similarity,
            durability: self.durability,
            received_at: self.received_at,
            committed_at: self.committed_at,
            generation: self.generation,
            body: self.body.expect("only candidates with a body become results"),
        }
    }
}

/// Leaves one candidate of each id: that of the highest generation. Equal ids have equal hashes, so only those that
/// share one need be compared.
fn keep_newest_of_each_id(candidates: &mut Vec<Candidate>) {
    candidates.sort_unstable_by(|one, other| {
        let hashes = one.memory_hash.cmp(&other.memory_hash);
        hashes.then(other.generation.cmp(&one.generation))
    });
    let mut kept: Vec<Candidate> = Vec::with_capacity(candidates.len());
    for candidate in candidates.drain(..) {
        let same_hash =
            kept.iter().rev().take_while(|other| other.memory_hash == candidate.memory_hash);
        if !same_hash.into_iter().any(|other| other.id() == candidate.id()) {
            kept.push(candidate);
        }
    }
    *candidates = kept;
}

/// The similarity of the vector stored in `body` to `cue`, which has unit length for cosine. `vector` is scratch.
fn exact_similarity(
    metric: Metric,
    body: &[u8],
    cue: &[f32],
    vector: &mut [f32],
) -> Result<f32, BodyFault> {
    let observation = decode_body(body)?;
    read_embedding(observation.embedding, vector)?;
    match metric {
        Metric::Cosine => {
            normalise(vector).map_err(|_| BodyFault)?;
            Ok(dot_f32(cue, vector).clamp(-1.0, 1.0))
        }
        Metric::Dot => Ok(dot_f32(cue, vector)),
        Metric::Euclidean => Ok(-square_distance_f32(cue, vector)),
    }
}
