//! The engine as it is measured: every call of it, in one place.
//!
//! What is measured is all that a space keeps of a row, with the id's hash, the record's place and
//! whether another has replaced it; only the log is left out.

use engram::dataset::{DIMENSION, Vector};
use engram_shards::attributes::Attributes;
use engram_shards::graph::{Scored, Scratch};
use engram_shards::ids::{FolderSecret, Generation, Location, LogId, SegmentId, Time};
use engram_shards::limits::{
    GRAPH_LINKS, GRAPH_ROWS_MIN, GRAPH_WIDTH_INSERT, GRAPH_WIDTH_INSERT_IDLE, RECALL_SCAN_ROWS_MAX,
    TAIL_ROWS_MAX,
};
use engram_shards::log::log::Ordinal;
use engram_shards::quality::{RecallTarget, Upkeep};
use engram_shards::settings::Metric;
use engram_shards::space::{Arrival, Place, Rows};
use engram_shards::vector::codes::{Codes, encode, normalise};

/// Links of a row, of the upper layers; the bottom has twice as many.
pub(super) const LINKS: usize = GRAPH_LINKS;
/// Width of the search for the links of a new row.
pub(super) const WIDTH_INSERT: u32 = GRAPH_WIDTH_INSERT;

/// Keys the hashes of ids, as each folder does.
const SECRET: FolderSecret = FolderSecret(*b"engram-bench ids");
/// About what a record takes in the log, and how many there are in a segment.
const RECORD_BYTES: u32 = 4_096;
const SEGMENT_RECORDS: u32 = 4_096;

/// A space with what its calls need.
pub(super) struct Engine {
    rows: Rows,
    upkeep: Upkeep,
    scratch: Scratch,
    found: Vec<Scored>,
}

impl Engine {
    pub(super) fn new() -> Engine {
        let rows = Rows::new(DIMENSION as u16, Metric::Cosine, 1);
        let upkeep = Upkeep::new(Some(RecallTarget::default()));
        Engine { rows, upkeep, scratch: Scratch::default(), found: Vec::new() }
    }

    /// Takes rows as a client sends them, and makes them known as durable; they are not in the
    /// graph yet.
    pub(super) fn push(&mut self, vectors: &[Vector]) {
        for vector in vectors {
            let number = self.rows.arrived();
            let arrival = Arrival {
                codes: &encoded(vector),
                memory_hash: SECRET.memory_hash(&number.to_string()),
                generation: Generation(number + 1),
                received_at: Time(number),
                attributes: Attributes::default(),
            };
            let row = self.rows.push(&arrival, Place::Pending(Ordinal(number)));
            self.rows.commit(row, location(number), arrival.received_at);
            assert!(self.rows.enter(row).is_none(), "each row has an id of its own");
        }
    }

    /// Puts rows into the graph until none waits: the tail is as long as a shard lets it be under
    /// load. Samples recall beside. Tells the distances that the former took.
    pub(super) fn insert(&mut self) -> u64 {
        self.link_all_but(TAIL_ROWS_MAX, WIDTH_INSERT)
    }

    /// Puts `count` more rows of the tail into the graph, or all that are left.
    pub(super) fn drain(&mut self, count: u32) -> u64 {
        self.link_all_but(self.scanned().saturating_sub(count), WIDTH_INSERT)
    }

    fn link_all_but(&mut self, left: u32, width: u32) -> u64 {
        let Engine { rows, upkeep, scratch, .. } = self;
        let mut distances = 0;
        while rows.arrived() - rows.inserted() > u64::from(left) {
            let (_, inserted) = rows.insert_next(width, scratch);
            rows.keep_up_beside(inserted, upkeep, scratch);
            distances += u64::from(inserted);
        }
        distances
    }

    /// What idle time does, until nothing is left: the tail goes into the graph if the space is
    /// large enough for one, rows are refined, recall is sampled.
    pub(super) fn settle(&mut self) {
        if self.rows.len_durable() >= GRAPH_ROWS_MIN {
            self.link_all_but(0, GRAPH_WIDTH_INSERT_IDLE);
        }
        while self.rows.keep_up(&mut self.upkeep, &mut self.scratch) > 0 {}
    }

    /// Rows in the graph.
    pub(super) fn linked(&self) -> u32 {
        self.rows.indexed()
    }

    /// Rows in the tail, which each search compares one by one.
    pub(super) fn scanned(&self) -> u32 {
        self.rows.index().waiting().len() as u32
    }

    /// The width of a search that names none, and the recall that the space believes to have there.
    pub(super) fn chosen(&self) -> (u32, Option<f32>) {
        let status = self.upkeep.status(self.rows.index());
        (status.width, status.recall_estimate)
    }

    /// The nearest `count` rows, best first: of the graph by a search of `width`, of the tail by a
    /// scan, as a recall does it.
    pub(super) fn search(&mut self, cue: &Vector, width: u32, count: u32) -> &[Scored] {
        let codes = encoded(cue);
        let Engine { rows, scratch, found, .. } = self;
        found.clear();
        let now = rows.newest();
        if rows.indexed() > 0 {
            let visible = |row| rows.is_visible(row, now);
            rows.index().search(&codes, width, count, visible, scratch, found);
        }
        let visible = |row| rows.is_visible(row, now);
        let tail = rows.index().waiting().len() as u32;
        for from in (0..tail).step_by(RECALL_SCAN_ROWS_MAX as usize) {
            let places = from..tail.min(from + RECALL_SCAN_ROWS_MAX);
            rows.index().scan_waiting(&codes, places, count, visible, scratch, found);
        }
        found
    }

    /// The same among all rows, compared one by one.
    pub(super) fn scan(&mut self, cue: &Vector, count: u32) -> &[Scored] {
        let codes = encoded(cue);
        let Engine { rows, scratch, found, .. } = self;
        found.clear();
        let now = rows.newest();
        let visible = |row| rows.is_visible(row, now);
        for from in (0..rows.slots()).step_by(RECALL_SCAN_ROWS_MAX as usize) {
            let range = from..rows.slots().min(from + RECALL_SCAN_ROWS_MAX);
            rows.index().scan(&codes, range, count, visible, scratch, found);
        }
        found
    }

    /// Bytes of RAM that all of it takes, as it counts them itself.
    pub(super) fn bytes(&self) -> u64 {
        self.rows.bytes()
    }
}

fn encoded(vector: &Vector) -> Codes {
    let mut unit = *vector;
    normalise(&mut unit).expect("a row of the data has a direction");
    encode(&unit)
}

/// Where the log would hold the record of this number.
fn location(number: u64) -> Location {
    let number = number as u32;
    let segment = SegmentId { log: LogId(0), number: number / SEGMENT_RECORDS + 1 };
    Location { segment, offset: number % SEGMENT_RECORDS * RECORD_BYTES, bytes: RECORD_BYTES }
}
