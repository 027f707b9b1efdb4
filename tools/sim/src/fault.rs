//! How bad a world a seed draws, and bugs that are planted to see that the checkers can fail.

use engram_shards::checkpoint::due::CheckpointLimits;
use engram_shards::quality::RecallTarget;
use engram_shards::settings::AckPolicy;
use engram_shards::space::TailLimits;

use crate::random::Random;

/// Chances and sizes of one run; chances in per mille.
#[derive(Clone, Debug)]
pub struct Weather {
    /// Shards of the first run.
    pub shards: u16,
    /// Spaces.
    pub spaces: usize,
    /// Clients with a session each.
    pub streams: usize,
    /// Clients that store single observations.
    pub singles: usize,
    /// Crashes before the end.
    pub crashes: u32,
    /// Microseconds between two crashes, at most.
    pub run_micros_max: u64,
    /// Observations sent in all, about.
    pub observations: usize,
    /// Of these, those of the runs so far: each run has its share, so that there is something to lose at every crash.
    pub observations_by_now: usize,
    /// That a run ends soon after its share was sent.
    pub crashes_busy: u64,
    /// Most observations that wait, of one shard.
    pub capacity: u32,
    /// The recall that stripes hold; none: no upkeep.
    pub recall_target: Option<RecallTarget>,
    /// What an ack means.
    pub acks: AckPolicy,
    /// How long the tail of a stripe may be: a few rows, so that stripes of both kinds come up.
    pub tail: TailLimits,
    /// That a crash takes the power and with it what was not synced; else only the process ends.
    pub power_cut: u64,
    /// That a commit fails.
    pub commit_fails: u64,
    /// That a segment cannot be made.
    pub create_fails: u64,
    /// That a read fails.
    pub read_fails: u64,
    /// That the disk becomes full when a segment is made, for a while.
    pub disk_fills: u64,
    /// That a restart has another number of shards.
    pub reshard: u64,
    /// That an observation replaces an earlier one.
    pub replaces: u64,
    /// That a memory is to be forgotten when a client has its turn.
    pub forgets: u64,
    /// Microseconds that an I/O takes, at most.
    pub io_micros_max: u64,
    /// Microseconds that a message takes, at most.
    pub message_micros_max: u64,
    /// Distances of one grant of work, at most.
    pub work_max: u64,
    /// That a read gives a record with a bit changed.
    pub read_flips: u64,
    /// That an I/O takes a hundred times as long.
    pub io_stalls: u64,
    /// That a restart finds what was synced long ago with a bit changed (a copy of it is tried).
    pub rots: u64,
    /// That the clock leaps ahead during a run; and that a restart finds it hours away from where it was.
    pub clock_leaps: u64,
    /// Cores that hold connections: what comes by one overtakes what comes by another.
    pub connection_cores: u64,
    /// Messages that a ring between two cores holds.
    pub ring_messages: usize,
    /// Values of a memory's hash.
    pub hashes: u64,
    /// When checkpoints are due: after a few records, so that most are overtaken by others, or never.
    pub checkpoints: CheckpointLimits,
    /// Bytes of records that a shard keeps for recalls.
    pub record_cache_bytes: u64,
    /// That a step of a checkpoint fails.
    pub checkpoint_fails: u64,
    /// That a piece of a checkpoint cannot be read, is cut short, or has a bit changed; and that its head is not there.
    pub checkpoint_read_fails: u64,
    /// That a restart finds a checkpoint with a bit changed.
    pub checkpoint_rots: u64,
    /// That a restart finds a log without an end that a checkpoint covers (a copy of it is tried).
    pub ends_lost: u64,
}

impl Weather {
    /// Draws one. Many seeds are calm in one way or the other, so that faults also come alone.
    pub fn draw(random: &mut Random) -> Weather {
        let mut rare = |per_mille: u64| {
            if random.chance(500) { random.within(0..per_mille) } else { 0 }
        };
        let (commit_fails, create_fails, read_fails) = (rare(120), rare(200), rare(60));
        let (disk_fills, replaces) = (rare(300), rare(200));
        // It takes several of these in a row for rows to move between logs while some live in a cache alone: so they are
        // frequent where they come up at all.
        let reshard = if random.chance(600) { random.within(600..1_001) } else { 0 };
        let power_cut = match random.chance(500) {
            true => random.within(300..700),
            false => random.within(0..1_001),
        };
        let mut rare = |per_mille: u64| {
            if random.chance(500) { random.within(0..per_mille) } else { 0 }
        };
        let (read_flips, io_stalls, rots, clock_leaps) =
            (rare(60), rare(30), rare(1_000), rare(1_000));
        // In some worlds hardly anything is new, so that graphs lose rows as fast as they get them.
        let replaces = if random.chance(150) { random.within(700..1_000) } else { replaces };
        let streams = random.within(1..5) as usize;
        let mut weather = Weather {
            shards: random.within(1..4) as u16,
            spaces: random.within(1..4) as usize,
            streams,
            singles: random.within(0..3) as usize,
            crashes: random.within(1..7) as u32,
            run_micros_max: random.within(3_000..60_000),
            observations: random.within(40..260) as usize,
            observations_by_now: 0,
            crashes_busy: random.within(0..1_001),
            capacity: if random.chance(300) { random.within(8..40) as u32 } else { 1_000 },
            acks: match random.within(0..6) {
                0 => AckPolicy::Write,
                1 => AckPolicy::Interval { micros: random.within(1..20_000) },
                _ => AckPolicy::Sync,
            },
            recall_target: random.chance(600).then(RecallTarget::default),
            tail: draw_tail(random),
            power_cut,
            commit_fails,
            create_fails,
            read_fails,
            disk_fills,
            reshard,
            replaces,
            forgets: 0,
            io_micros_max: random.within(20..2_000),
            message_micros_max: random.within(2..200),
            work_max: random.within(100..8_000),
            read_flips,
            io_stalls,
            rots,
            clock_leaps,
            connection_cores: random.within(1..4),
            ring_messages: if random.chance(300) { random.within(1..20) as usize } else { 1_000 },
            hashes: if random.chance(200) { random.within(1..9) } else { u64::MAX },
            checkpoints: draw_checkpoints(random),
            checkpoint_fails: if random.chance(300) { random.within(0..200) } else { 0 },
            checkpoint_rots: if random.chance(200) { random.within(0..700) } else { 0 },
            checkpoint_read_fails: if random.chance(300) { random.within(0..500) } else { 0 },
            record_cache_bytes: [0, 20_000, 1 << 20][random.index(3)],
            ends_lost: if random.chance(300) { random.within(0..1_001) } else { 0 },
        };
        // Some store the same few memories over and over, so that rows leave the graph and others take their slots.
        if replaces % 8 == 5 {
            (weather.replaces, weather.observations) = (900, 3 * weather.observations);
        }
        if random.chance(600) {
            weather.forgets = random.within(0..300);
        }
        weather
    }
}

/// Bounds between no tail at all and one that holds all that a space of this world ever gets.
fn draw_tail(random: &mut Random) -> TailLimits {
    if random.chance(300) {
        return TailLimits::NONE;
    }
    let rows_max = random.within(1..64) as u32;
    TailLimits { rows_max, graph_rows_min: random.within(0..u64::from(rows_max) + 1) as u32 }
}

/// Bounds of some records to some hundred.
fn draw_checkpoints(random: &mut Random) -> CheckpointLimits {
    if random.chance(250) {
        return CheckpointLimits::NONE;
    }
    CheckpointLimits {
        records_bytes_min: random.within(1..8_000),
        large_bytes: random.within(0..100_000),
        log_bytes_max: random.within(1_000..100_000),
    }
}

/// A bug in the layers around the engine. Each must be found by some check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The disk says that it synced, and has not.
    SyncLies,
    /// A power cut damages blocks that were synced.
    SyncedBlocksTear,
    /// A bit changes in what was synced long ago.
    BitRots,
    /// The disk gives other bytes than were asked for.
    ReadsElsewhere,
    /// An observation is acked and never handed over.
    AckInVain,
    /// An observation is handed over again under the next sequence.
    HandedOverTwice,
    /// Sequences of a session are acked before those that precede them.
    AcksOvertake,
    /// A commit time falls.
    CommitTimesFall,
    /// A resumed session is told less than it was acked.
    MarkFallsBack,
    /// A restart forgets the last segment of a log.
    SegmentForgotten,
}

impl Bug {
    /// All of them.
    pub const ALL: [Bug; 10] = [
        Bug::SyncLies,
        Bug::SyncedBlocksTear,
        Bug::BitRots,
        Bug::ReadsElsewhere,
        Bug::AckInVain,
        Bug::HandedOverTwice,
        Bug::AcksOvertake,
        Bug::CommitTimesFall,
        Bug::MarkFallsBack,
        Bug::SegmentForgotten,
    ];
}
