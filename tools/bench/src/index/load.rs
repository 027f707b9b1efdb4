//! Rows into an engine, timed.

use std::time::{Duration, Instant};

use engram::dataset::{DIMENSION, Dataset, Vector};
use engram_shards::limits::TAIL_ROWS_MAX;
use engram_shards::vector::slab::Reserve;
use rustix::time::{ClockId, clock_gettime};

use super::engine::Engine;
use super::report::Stretch;

/// Rows made at a time, outside of what is timed; every batch divides it.
pub(super) const BLOCK_ROWS: usize = 1_000;
/// Rows of one stretch of the course.
const STRETCH_ROWS: usize = 100_000;

/// Memory that is taken from the kernel before what is timed, for each row: almost what it needs.
/// Where the machine is a virtual one, memory of its host's takes a time that has nothing to do with
/// who uses it.
const ROW_BYTES_RESERVED: usize = 1_150;

/// How far a load had come at some time.
#[derive(Clone, Copy, Default)]
struct Reached {
    seconds: f64,
    /// Rows that a search finds.
    found: usize,
    /// Those of them in the graph.
    linked: usize,
}

/// How a load went.
pub(super) struct Load {
    pub(super) rows: usize,
    encode: Duration,
    insert: Duration,
    on_cpu: Duration,
    distances: u64,
    /// Where the load stood after each block, from none on, and as the tail was drained.
    course: Vec<Reached>,
    /// What the engine says that it takes, and by how much the process grew.
    pub(super) bytes: u64,
    pub(super) resident_bytes: u64,
}

impl Load {
    /// Puts the first `rows` base rows into an engine, `batch` at a time.
    pub(super) fn run(data: &Dataset, rows: usize, batch: usize) -> (Engine, Load) {
        let mut engine = Engine::new();
        let resident_before = resident_bytes();
        // Less than what the rows will take, so that they begin in memory that is there.
        let reserve = Reserve::new(rows * ROW_BYTES_RESERVED);
        reserve.unwrap_or_else(|| panic!("no memory for {rows} rows")).adopt();
        let reserved = resident_bytes() - resident_before;
        let mut block: Vec<Vector> = vec![[0.0; DIMENSION]; BLOCK_ROWS];
        // Touched before memory is measured, so that it does not count.
        fill(data, 0, &mut block);
        let mut load = Load {
            rows,
            encode: Duration::ZERO,
            insert: Duration::ZERO,
            on_cpu: Duration::ZERO,
            distances: 0,
            course: vec![Reached::default()],
            bytes: 0,
            resident_bytes: 0,
        };
        let resident_before = resident_bytes() - reserved;
        for first in (0..rows).step_by(BLOCK_ROWS) {
            let count = BLOCK_ROWS.min(rows - first);
            fill(data, first, &mut block[..count]);
            load.take(&mut engine, &block[..count], batch);
        }
        // A space that is small enough has no graph; the load of another ends when all of it is there.
        while rows > TAIL_ROWS_MAX as usize && engine.scanned() > 0 {
            load.drain(&mut engine);
        }
        load.bytes = engine.bytes();
        load.resident_bytes = resident_bytes().saturating_sub(resident_before);
        (engine, load)
    }

    fn take(&mut self, engine: &mut Engine, block: &[Vector], batch: usize) {
        let on_cpu_before = on_cpu();
        for rows in block.chunks(batch) {
            let start = Instant::now();
            engine.push(rows);
            let encoded = Instant::now();
            self.distances += engine.insert();
            self.insert += encoded.elapsed();
            self.encode += encoded - start;
        }
        self.on_cpu += on_cpu() - on_cpu_before;
        self.reach(engine);
    }

    fn drain(&mut self, engine: &mut Engine) {
        let on_cpu_before = on_cpu();
        let start = Instant::now();
        self.distances += engine.drain(BLOCK_ROWS as u32);
        self.insert += start.elapsed();
        self.on_cpu += on_cpu() - on_cpu_before;
        self.reach(engine);
    }

    fn reach(&mut self, engine: &Engine) {
        let (linked, scanned) = (engine.linked() as usize, engine.scanned() as usize);
        let found = linked + scanned;
        self.course.push(Reached { seconds: self.seconds(), found, linked });
    }

    fn seconds(&self) -> f64 {
        (self.encode + self.insert).as_secs_f64()
    }

    pub(super) fn inserts_per_s(&self) -> f64 {
        self.rows as f64 / self.seconds()
    }

    /// Over the first `rows`, or all if there are fewer, until a search found them.
    pub(super) fn inserts_per_s_first(&self, rows: usize) -> f64 {
        let rows = rows.min(self.rows);
        rows as f64 / self.seconds_until(rows, |reached| reached.found)
    }

    /// The course of the load: the time of each 100,000 rows in the graph, or of all where there is
    /// none.
    pub(super) fn stretches(&self) -> Vec<Stretch> {
        let has_graph = self.course.last().is_some_and(|reached| reached.linked > 0);
        let at = |rows: usize| match has_graph {
            true => self.seconds_until(rows, |reached| reached.linked),
            false => self.seconds_until(rows, |reached| reached.found),
        };
        let firsts = (0..self.rows).step_by(STRETCH_ROWS);
        let stretch = |from: usize| {
            let to = (from + STRETCH_ROWS).min(self.rows);
            Stretch { from, to, inserts_per_s: (to - from) as f64 / (at(to) - at(from)) }
        };
        firsts.map(stretch).collect()
    }

    /// Seconds until `rows` rows had come that far, evenly between two looks.
    fn seconds_until(&self, rows: usize, how_far: impl Fn(&Reached) -> usize) -> f64 {
        let after = self.course.partition_point(|reached| how_far(reached) < rows);
        let Some(before) = after.checked_sub(1) else {
            return 0.0;
        };
        let [before, after] = [before, after].map(|at| &self.course[at]);
        let share = (rows - how_far(before)) as f64 / (how_far(after) - how_far(before)) as f64;
        before.seconds + share * (after.seconds - before.seconds)
    }

    pub(super) fn encode_us(&self) -> f64 {
        self.encode.as_secs_f64() * 1e6 / self.rows as f64
    }

    pub(super) fn insert_us(&self) -> f64 {
        self.insert.as_secs_f64() * 1e6 / self.rows as f64
    }

    pub(super) fn cpu_share(&self) -> f64 {
        self.on_cpu.as_secs_f64() / self.seconds()
    }

    pub(super) fn distances_per_insert(&self) -> f64 {
        self.distances as f64 / self.rows as f64
    }
}

/// Makes base rows from `first` on.
fn fill(data: &Dataset, first: usize, block: &mut [Vector]) {
    block.iter_mut().zip(first..).for_each(|(vector, row)| data.base(row, vector));
}

/// How long this thread has run on a CPU.
fn on_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Memory of this process that is in RAM, without what files back.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux tells");
    let mut pages = text.split(' ').skip(1).map(|pages| pages.parse::<u64>().expect("a number"));
    let (resident, shared) = (pages.next().expect("the second"), pages.next().expect("the third"));
    (resident - shared) * rustix::param::page_size() as u64
}
