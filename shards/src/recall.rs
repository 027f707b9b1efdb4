//! One recall, resumable between slices: scan the tail, search the graph, read the candidates' records, rank them
//! exactly, keep the newest of each id.
//!
//! ```text
//!  Tail ──► Search ──► Gather ──► Reading ──► Ranking ──► Recalled
//!   ▲         └► Slots ──┤                       │
//!   │       Newest ──────┘ without a vector      │
//!   └────────────────────────────────────────────┘ too few pass the filter: more candidates
//! ```
//! Rows go from the tail's begin into the graph meanwhile, so the tail is scanned from its end: what has left it before
//! its turn came is in the graph when that is searched.
//!
//! **Invariant:** a recall sees the rows up to its limit as they were when it began: what arrives, is replaced or is
//! dropped meanwhile changes nothing but that dropped rows vanish.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;

use crate::attributes::{Filter, Moment, when_of};
use crate::graph::{Aim, Scored, Scratch, Seeking};
use crate::ids::{Generation, Location, Row, Time};
use crate::limits::{
    RECALL_BYTES_MAX, RECALL_CANDIDATES_MAX, RECALL_RESULTS_MAX, RECALL_SCAN_ROWS_MAX,
    RECALL_WIDTH_MAX, RECALLS_BYTES_MAX,
};
use crate::log::log::Ordinal;
use crate::log::record::{BodyFault, Observation, decode_body, read_embedding};
use crate::message::{Cue, Durability, Hit, Isolation, Recall, Recalled, Refusal};
use crate::settings::Metric;
use crate::space::{Place, Reading, Rows, Stripe, View};
use crate::vector::codes::{Codes, normalise};
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
    /// Rows up to this generation are seen …
    limit: Generation,
    /// … of those that arrived below this mark.
    end: u64,
    /// How many times the usual number of candidates are looked at: more where most of them do not pass the filter.
    breadth: u32,
    /// Rows that had left the graph when the recall began.
    departed: u64,
    /// Keeps what is seen from being overwritten.
    reading: Reading,
    /// The generation that was durable when the recall began.
    snapshot: Generation,
    rows: u32,
    found: Vec<Scored>,
    /// The newest rows that a look at all of them has met.
    newest: Newest,
    candidates: Vec<Candidate>,
    distances: u32,
    unreadable: u32,
    /// Bytes of the candidates' records.
    bytes: u64,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The tail, below this mark.
    Tail(u64),
    Search,
    /// More of the search that has begun.
    Searching,
    /// All slots from this one on, for the graph leads past the rows that are visible.
    Slots(u32),
    /// From this slot, for the newest of the rows that are visible.
    Newest(u32),
    Gather,
    /// Waiting for so many records.
    Reading(usize),
    /// From this candidate.
    Ranking(usize),
}

/// A row that may be among the results.
#[derive(Debug)]
struct Candidate {
    memory_hash: u64,
    generation: Generation,
    durability: Durability,
    received_at: Time,
    committed_at: Time,
    /// Ids under which it is forgotten, if it is one of these memories.
    withheld: Vec<Box<str>>,
    /// Its record's body; none until it was read, and none again where it could not be.
    body: Option<Rc<[u8]>>,
    similarity: f32,
    /// When it happened.
    when: Moment,
    /// Whether it passes the filter.
    passes: bool,
}

/// What a step led to.
#[derive(Debug)]
pub enum Progress {
    /// There is more to do.
    More,
    /// Nothing to do until these records are at hand: candidates by number, and where their records lie.
    Read(Vec<(usize, Location)>),
    /// Nothing to do until there is room for so many bytes of records.
    Crowded(u64),
    /// It cannot be answered.
    Refused(Refusal),
    /// Done.
    Ranked(Recalled),
}

impl Job {
    /// Begins `query`, with what the stripe holds now, or held at the time that it names. [`Job::into_reading`] ends with it.
    pub fn new(mut query: Recall, stripe: &mut Stripe) -> Result<Job, Refusal> {
        assert!(
            query.count <= RECALL_RESULTS_MAX,
            "the number of results is checked where a request is made"
        );
        let past = query.as_of.map(|at| stripe.durable_at(at)).transpose()?;
        if query.width == 0 {
            query.width = stripe.recall_width();
        }
        let reading = stripe.begin_reading();
        let rows = stripe.rows();
        let snapshot = past.unwrap_or(stripe.generation());
        let (limit, end, seen) = match query.isolation {
            _ if past.is_some() => (snapshot, rows.durable(), rows.living()),
            Isolation::Durable if !planted!(InFlightRecalled) => {
                (stripe.generation(), rows.durable(), rows.living())
            }
            Isolation::Durable | Isolation::InFlight => {
                (rows.newest(), rows.arrived(), rows.living() + rows.len_pending())
            }
        };
        let stage = Job::first_stage(&query, end, rows);
        Ok(Job {
            query,
            metric: stripe.space().settings.metric,
            stage,
            limit,
            end,
            breadth: 1,
            departed: rows.index().departed(),
            reading,
            snapshot,
            rows: seen,
            found: Vec::new(),
            newest: Newest::default(),
            candidates: Vec::new(),
            distances: 0,
            unreadable: 0,
            bytes: 0,
        })
    }

    /// One step. Returns the distances that it took, and where it led to. `seeking` is the same in each step until the first
    /// that leads to more than [`Progress::More`], and no one else's meanwhile. `pending` has the bodies of records that
    /// are not yet on the disk; `room` is how many bytes of records it may hold.
    pub fn step<'a>(
        &mut self,
        rows: &Rows,
        (seeking, scratch): (&mut Seeking, &mut Scratch),
        pending: impl Fn(Ordinal) -> &'a [u8],
        room: u64,
    ) -> (u32, Progress) {
        let (distances, progress) = match self.stage {
            Stage::Tail(end) => (self.scan_tail(rows, end, scratch), Progress::More),
            Stage::Search => {
                let begun = self.begin_search(rows, seeking);
                let searched = match self.stage {
                    Stage::Searching => self.search(rows, seeking, scratch),
                    _ => 0,
                };
                (begun + searched, Progress::More)
            }
            Stage::Searching => (self.search(rows, seeking, scratch), Progress::More),
            Stage::Slots(from) => (self.scan_slots(rows, from, scratch), Progress::More),
            Stage::Newest(from) => (self.look_for_newest(rows, from), Progress::More),
            Stage::Gather => (1, self.gather(rows, pending, room)),
            Stage::Ranking(from) => self.rank(from, rows),
            Stage::Reading(_) => unreachable!("a recall that waits for records is not stepped"),
        };
        self.distances = self.distances.saturating_add(distances);
        (distances, progress)
    }

    /// Bytes of records that it holds, or waits for.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is to be ended with the recall.
    pub fn into_reading(self) -> Reading {
        self.reading
    }

    /// The body of a record that was asked for, or none if it could not be read. Returns whether it was the last.
    pub fn handle_body(&mut self, candidate: usize, body: Option<Rc<[u8]>>) -> bool {
        let Stage::Reading(left) = self.stage else {
            panic!("a record came that was not waited for")
        };
        self.unreadable += u32::from(body.is_none());
        self.candidates[candidate].body = body;
        self.stage = match left {
            1 => Stage::Ranking(0),
            _ => Stage::Reading(left - 1),
        };
        left == 1
    }

    /// The stripe's rows of higher generations than `kept` are about to be dropped; others may get their generations and
    /// their slots.
    pub fn truncate(&mut self, kept: Generation, rows: &Rows) {
        self.limit = self.limit.min(kept);
        self.found.retain(|scored| rows.generation(scored.row) <= kept);
        for candidate in self.candidates.iter_mut().filter(|one| one.generation > kept) {
            candidate.body = None;
        }
    }

    /// How many candidates are ranked exactly.
    fn candidates_wanted(&self) -> u32 {
        ((self.query.count + self.spare_candidates()) * self.breadth).min(RECALL_CANDIDATES_MAX)
    }

    /// How many candidates beyond the results are usual.
    fn spare_candidates(&self) -> u32 {
        (self.query.count / 4).max(SPARE_CANDIDATES_MIN)
    }

    fn view(&self) -> View<'_> {
        View { snapshot: self.limit, filter: self.query.filter.as_deref() }
    }

    /// Whether there may be more that passes the filter and is near enough: too few candidates did, and there were others.
    fn lacks_some(&self) -> bool {
        let wanted = self.candidates_wanted();
        let passed = self.candidates.iter().filter(|candidate| candidate.passes).count();
        let farthest = self.candidates.iter().map(|one| one.similarity).fold(f32::MAX, f32::min);
        // Half of the usual spare ones, for those are what makes up for codes that are not exact.
        self.query.filter.is_some()
            && (passed as u32) < self.query.count + self.spare_candidates() / 2
            && self.found.len() as u32 >= wanted
            && wanted < RECALL_CANDIDATES_MAX
            && farthest >= self.query.similarity_min
    }

    /// Begins anew, with more candidates.
    fn broaden(&mut self, rows: &Rows) {
        self.breadth = self.breadth.saturating_mul(4);
        self.found.clear();
        self.candidates.clear();
        self.bytes = 0;
        self.unreadable = 0;
        self.stage = Job::first_stage(&self.query, self.end, rows);
    }

    fn first_stage(query: &Recall, end: u64, rows: &Rows) -> Stage {
        match query.cue {
            Cue::Like { .. } => Job::tail_below(end, rows),
            Cue::Newest => Stage::Newest(0),
        }
    }

    /// The tail below this mark is next, or what follows it.
    fn tail_below(end: u64, rows: &Rows) -> Stage {
        match (end > rows.inserted(), rows.indexed()) {
            (true, 1..) if planted!(TailForgotten) => Stage::Search,
            (true, _) => Stage::Tail(end),
            (false, 0) => Stage::Gather,
            (false, _) => Stage::Search,
        }
    }

    fn scan_tail(&mut self, rows: &Rows, end: u64, scratch: &mut Scratch) -> u32 {
        let end = end.min(rows.arrived());
        let from = end.saturating_sub(u64::from(RECALL_SCAN_ROWS_MAX)).max(rows.inserted());
        self.stage = Job::tail_below(from, rows);
        if from >= end {
            return 1;
        }
        let (limit, wanted) = (self.limit, self.candidates_wanted());
        let Recall { cue, filter, .. } = &self.query;
        let view = View { snapshot: limit, filter: filter.as_deref() };
        let codes = codes_of(cue);
        let visible = |row| rows.sees(row, view);
        let places = rows.place_of(from)..rows.place_of(end);
        let found = &mut self.found;
        rows.index().scan_waiting(codes, places, wanted, visible, scratch, found).max(1)
    }

    fn begin_search(&mut self, rows: &Rows, seeking: &mut Seeking) -> u32 {
        let wanted = self.candidates_wanted();
        let width = self.query.width.max(self.query.count * 3 / 2).max(wanted);
        let size = (width.min(RECALL_WIDTH_MAX), wanted);
        let begun =
            rows.begin_search(Aim::Cue(codes_of(&self.query.cue)), size, self.view(), seeking);
        match begun {
            Some(_) => self.stage = Stage::Searching,
            None => self.scan_instead(),
        }
        begun.unwrap_or(1)
    }

    /// What comes into the graph while the search goes on may be missed by it, but was in the tail when that was scanned.
    fn search(&mut self, rows: &Rows, seeking: &mut Seeking, scratch: &mut Scratch) -> u32 {
        let mut linked = Vec::new();
        let aim = Aim::Cue(codes_of(&self.query.cue));
        let (distances, ended) =
            rows.go_on_searching(aim, self.view(), seeking, scratch, &mut linked);
        match ended {
            None => {}
            // What has left the graph meanwhile may be what this recall is to see.
            Some(complete) if complete && rows.index().departed() == self.departed => {
                self.merge(linked);
                self.stage = Stage::Gather;
            }
            Some(_) => self.scan_instead(),
        }
        distances
    }

    fn scan_instead(&mut self) {
        self.found.clear();
        self.stage = Stage::Slots(0);
    }

    /// Takes in what the graph led to. What was scanned in the tail may have come into the graph since.
    fn merge(&mut self, linked: Vec<Scored>) {
        if self.found.is_empty() {
            self.found = linked;
            return;
        }
        self.found.extend(linked);
        self.found.sort_unstable_by_key(|scored| scored.row);
        self.found.dedup_by_key(|scored| scored.row);
        self.found.sort_by(|one, other| other.similarity.total_cmp(&one.similarity));
        self.found.truncate(self.candidates_wanted() as usize);
    }

    fn scan_slots(&mut self, rows: &Rows, from: u32, scratch: &mut Scratch) -> u32 {
        let end = rows.slots().min(from + RECALL_SCAN_ROWS_MAX);
        self.stage = if end < rows.slots() { Stage::Slots(end) } else { Stage::Gather };
        let (limit, wanted) = (self.limit, self.candidates_wanted());
        let Recall { cue, filter, .. } = &self.query;
        let view = View { snapshot: limit, filter: filter.as_deref() };
        let codes = codes_of(cue);
        let visible = |row| rows.sees(row, view);
        let found = &mut self.found;
        rows.index().scan(codes, from.min(end)..end, wanted, visible, scratch, found).max(1)
    }

    /// Looks at some of all rows; in the end, the newest of them are what was found.
    fn look_for_newest(&mut self, rows: &Rows, from: u32) -> u32 {
        let end = rows.slots().min(from + RECALL_SCAN_ROWS_MAX);
        let wanted = self.candidates_wanted() as usize;
        let Recall { filter, .. } = &self.query;
        let view = View { snapshot: self.limit, filter: filter.as_deref() };
        for row in (from..end).map(Row).filter(|&row| rows.sees(row, view)) {
            self.newest.offer((rows.happened_at(row), rows.generation(row), row), wanted);
        }
        self.stage = if end < rows.slots() { Stage::Newest(end) } else { Stage::Gather };
        if self.stage == Stage::Gather {
            let newest = std::mem::take(&mut self.newest).into_rows();
            self.found = newest.map(|row| Scored { row, similarity: 1.0 }).collect();
        }
        // A row costs a look at what stands side by side: a tenth of a distance.
        (end - from) / 10 + 1
    }

    /// Turns what was found into candidates, with the bodies that are at hand, if there is room for all.
    fn gather<'a>(
        &mut self,
        rows: &Rows,
        pending: impl Fn(Ordinal) -> &'a [u8],
        room: u64,
    ) -> Progress {
        // What was found may have been replaced since, and its replacement too, which the ids then lead to no more.
        let is_visible = |row: &Row| rows.is_visible(*row, self.limit);
        let found = self.found.iter().map(|scored| scored.row).filter(is_visible);
        let found: Vec<Row> = found.collect();
        let mut distinct = found.clone();
        distinct.sort_unstable();
        assert!(distinct.is_sorted_by(|one, next| one < next), "a row is found once");
        // A replacement that is not verified yet may be too far from the cue to be found itself: it comes along, so that
        // whatever it replaces cannot stand for the memory.
        let twins = found.iter().flat_map(|&row| rows.newer_twins(row, self.limit));
        let mut twins: Vec<Row> = twins.filter(|twin| !found.contains(twin)).collect();
        twins.sort_unstable();
        twins.dedup();
        let chosen: Vec<Row> = found.into_iter().chain(twins).collect();
        let bytes_of = |row: &Row| {
            let record = match rows.place(*row) {
                Place::Pending(ordinal) => pending(ordinal).len() as u64,
                Place::Stored(location) => u64::from(location.bytes),
            };
            record + size_of::<Candidate>() as u64
        };
        let bytes = chosen.iter().map(bytes_of).sum();
        if bytes > RECALLS_BYTES_MAX {
            return Progress::Refused(Refusal::RecallTooLarge);
        }
        if bytes > room {
            return Progress::Crowded(bytes);
        }
        self.bytes = bytes;
        let mut reads = Vec::new();
        for row in chosen {
            let body = match rows.place(row) {
                Place::Pending(ordinal) => Some(pending(ordinal).into()),
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

    fn candidate(&self, rows: &Rows, row: Row, body: Option<Rc<[u8]>>) -> Candidate {
        let received_at = rows.received_at(row);
        let (durability, committed_at) = match rows.generation(row) <= self.snapshot {
            true => (Durability::Durable, rows.committed_at(row)),
            false => (Durability::InFlight, received_at),
        };
        Candidate {
            memory_hash: rows.memory_hash(row),
            generation: rows.generation(row),
            durability,
            received_at,
            committed_at,
            withheld: rows.withheld_ids(row),
            body,
            similarity: 0.0,
            when: Moment::default(),
            passes: false,
        }
    }

    fn rank(&mut self, from: usize, rows: &Rows) -> (u32, Progress) {
        let end = self.candidates.len().min(from + RANK_ROWS_MAX);
        let mut vector = Vec::new();
        for candidate in &mut self.candidates[from..end] {
            let Some(body) = &candidate.body else {
                continue;
            };
            let ranked = decode_body(body).and_then(|observation| {
                if let Cue::Like { vector: cue, .. } = &self.query.cue {
                    let like = exact_similarity(self.metric, &observation, cue, &mut vector)?;
                    candidate.similarity = like;
                } else {
                    candidate.similarity = 1.0;
                }
                candidate.when = when_of(&observation, candidate.received_at);
                let filter = self.query.filter.as_deref();
                let passes = |filter: &Filter| filter.passes(&observation, candidate.received_at);
                Ok(filter.is_none_or(passes))
            });
            match ranked {
                Ok(passes) => candidate.passes = passes,
                Err(BodyFault) => {
                    candidate.body = None;
                    self.unreadable += 1;
                }
            }
        }
        self.stage = Stage::Ranking(end);
        let distances = (end - from) as u32 * RANK_DISTANCES + 1;
        let progress = match end == self.candidates.len() {
            true if self.lacks_some() => {
                self.broaden(rows);
                Progress::More
            }
            true => self.results(),
            false => Progress::More,
        };
        (distances, progress)
    }

    fn results(&mut self) -> Progress {
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.retain(|candidate| candidate.body.is_some() && !candidate.is_withheld());
        if !planted!(ReplacedRecalled) {
            keep_newest_of_each_id(&mut candidates);
        }
        let similarity_min = self.query.similarity_min;
        // Only now, so that what does not pass takes the older ones of its id along.
        candidates.retain(|candidate| candidate.passes && candidate.similarity >= similarity_min);
        candidates.sort_unstable_by(|one, other| match self.query.cue {
            Cue::Like { .. } => {
                let nearer = other.similarity.total_cmp(&one.similarity);
                nearer.then(one.generation.cmp(&other.generation))
            }
            Cue::Newest => {
                let newer = other.when.cmp(&one.when);
                newer.then(other.generation.cmp(&one.generation))
            }
        });
        candidates.truncate(self.query.count as usize);
        let bytes: usize =
            candidates.iter().map(|one| one.body.as_ref().map_or(0, |body| body.len())).sum();
        if bytes > RECALL_BYTES_MAX as usize {
            return Progress::Refused(Refusal::RecallTooLarge);
        }
        Progress::Ranked(Recalled {
            hits: candidates.into_iter().map(Candidate::into_hit).collect(),
            snapshot: self.snapshot,
            distances: self.distances,
            rows: self.rows,
            unreadable: self.unreadable,
        })
    }
}

impl Candidate {
    fn id(&self) -> &str {
        let body = self.body.as_ref().expect("only candidates with a body are compared");
        decode_body(body).expect("it was decoded when it was ranked").id
    }

    fn is_withheld(&self) -> bool {
        !self.withheld.is_empty() && self.withheld.iter().any(|id| **id == *self.id())
    }

    fn into_hit(self) -> Hit {
        Hit {
            similarity: self.similarity,
            durability: self.durability,
            received_at: self.received_at,
            committed_at: self.committed_at,
            generation: self.generation,
            body: self.body.expect("only candidates with a body become results").to_vec(),
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

/// The similarity of the vector that was observed to `cue`, which has unit length for cosine. `vector` is scratch.
fn exact_similarity(
    metric: Metric,
    observation: &Observation<'_>,
    cue: &[f32],
    vector: &mut Vec<f32>,
) -> Result<f32, BodyFault> {
    vector.resize(cue.len(), 0.0);
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

/// The codes of a cue that rows are compared with.
fn codes_of(cue: &Cue) -> &Codes {
    match cue {
        Cue::Like { codes, .. } => codes,
        Cue::Newest => unreachable!("no vectors are compared where the newest are looked for"),
    }
}

/// The newest rows of those that were offered: when they happened, and of equals the later one.
#[derive(Debug, Default)]
struct Newest {
    rows: BinaryHeap<Reverse<(i64, Generation, Row)>>,
}

impl Newest {
    /// Takes a row in, if it is one of the `wanted` newest so far.
    fn offer(&mut self, row: (i64, Generation, Row), wanted: usize) {
        if self.rows.len() == wanted {
            match self.rows.peek() {
                Some(Reverse(oldest)) if row > *oldest => drop(self.rows.pop()),
                _ => return,
            }
        }
        self.rows.push(Reverse(row));
    }

    /// All of them, in any order.
    fn into_rows(self) -> impl Iterator<Item = Row> {
        self.rows.into_iter().map(|Reverse((_, _, row))| row)
    }
}
