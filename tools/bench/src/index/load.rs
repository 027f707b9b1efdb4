//! Rows into an engine, timed.

use std::time::{Duration, Instant};

use engram::dataset::{DIMENSION, Dataset, Vector};
use rustix::time::{ClockId, clock_gettime};

use super::engine::Engine;
use super::report::Stretch;

/// Rows made at a time, outside of what is timed; every batch divides it.
pub(super) const BLOCK_ROWS: usize = 1_000;
/// Rows of one stretch of the course.
const STRETCH_ROWS: usize = 100_000;

/// How a load went.
pub(super) struct Load {
    pub(super) rows: usize,
    encode: Duration,
    insert: Duration,
    on_cpu: Duration,
    distances: u64,
    /// Seconds until so many blocks were in the graph.
    seconds_by_block: Vec<f64>,
    /// What the engine says that it takes, and by how much the process grew.
    pub(super) bytes: u64,
    pub(super) resident_bytes: u64,
}

impl Load {
    /// Puts the first `rows` base rows into an engine, `batch` at a time.
    pub(super) fn run(data: &Dataset, rows: usize, batch: usize) -> (Engine, Load) {
        let mut engine = Engine::new();
        let mut block: Vec<Vector> = vec![[0.0; DIMENSION]; BLOCK_ROWS];
        // Touched before memory is measured, so that it does not count.
        fill(data, 0, &mut block);
        let mut load = Load {
            rows,
            encode: Duration::ZERO,
            insert: Duration::ZERO,
            on_cpu: Duration::ZERO,
            distances: 0,
            seconds_by_block: vec![0.0],
            bytes: 0,
            resident_bytes: 0,
        };
        let resident_before = resident_bytes();
        for first in (0..rows).step_by(BLOCK_ROWS) {
            let count = BLOCK_ROWS.min(rows - first);
            fill(data, first, &mut block[..count]);
            load.take(&mut engine, &block[..count], batch);
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
        self.seconds_by_block.push(self.seconds());
    }

    fn seconds(&self) -> f64 {
        (self.encode + self.insert).as_secs_f64()
    }

    pub(super) fn inserts_per_s(&self) -> f64 {
        self.rows as f64 / self.seconds()
    }

    /// Over the first `rows`, or all if there are fewer.
    pub(super) fn inserts_per_s_first(&self, rows: usize) -> f64 {
        self.stretch(0, rows.min(self.rows)).inserts_per_s
    }

    /// The course of the load, each 100,000 rows.
    pub(super) fn stretches(&self) -> Vec<Stretch> {
        let firsts = (0..self.rows).step_by(STRETCH_ROWS);
        firsts.map(|from| self.stretch(from, (from + STRETCH_ROWS).min(self.rows))).collect()
    }

    /// From row `from`, which a block begins with, to row `to`, which a block ends with.
    fn stretch(&self, from: usize, to: usize) -> Stretch {
        let at = |rows: usize| self.seconds_by_block[rows.div_ceil(BLOCK_ROWS)];
        Stretch { from, to, inserts_per_s: (to - from) as f64 / (at(to) - at(from)) }
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
