//! Every bound of the runtime, with its unit last in the name and the reason beside it. The engine's own are in
//! `engram_shards::limits`.

use std::time::Duration;

use engram_shards::limits::RECORD_BODY_BYTES_MAX;

/// Longest message on either transport by default: a batch of a thousand half-precision vectors fits.
pub const MESSAGE_BYTES_MAX_DEFAULT: usize = 4 << 20;
/// How long a session keeps its memory while its client is silent, by default.
pub const SESSION_SILENCE_DEFAULT: Duration = Duration::from_secs(300);

/// Requests of one core's sessions that may be between socket and owner: two full commits on each of eight owners.
pub const BETWEEN_REQUESTS_MAX: u32 = 4_096;
/// Bytes of the same: what bounds a core's memory under overload.
pub const BETWEEN_BYTES_MAX: usize = 64 << 20;
/// Slots of one ring: all that the budget allows one core to have under way towards another, so that only control
/// frames (detach, credit, status) ever wait in the sender's backlog.
pub const RING_SLOTS: usize = 4_096;
/// Frames that are pushed before the receiver is told: wake-ups cost more than pushes.
pub const RING_KICK_FRAMES: u32 = 32;
/// Frames taken from one ring before its neighbours have their turn.
pub const RING_DRAIN_FRAMES: usize = 256;

/// Credits asked of an owner at once: as many as one commit takes.
pub const CREDIT_CHUNK_MAX: u32 = 512;
/// All pools of unused credits together hold at most this part of a shard's capacity: one in so many, for each lane.
pub const CREDIT_POOL_SHARE: u32 = 8;
/// A refusal of credit is repeated without asking again for at most this long, so that a flood costs no round trips.
pub const CREDIT_REFUSAL_MICROS_MAX: u64 = 2_000;
/// Credits that lay unused for this long go back to their owner, so that others may have them.
pub const CREDIT_IDLE_MICROS: u64 = 1_000_000;

/// An executor can park although a task is ready to run; this timer bounds how long such a task waits.
pub const EXECUTOR_TICK: Duration = Duration::from_millis(20);
/// How long an acceptor rests after an error that may pass (no file descriptors left).
pub const ACCEPT_REST: Duration = Duration::from_millis(50);
/// Connections that the kernel holds for one listener of one core until they are accepted.
pub const LISTEN_BACKLOG: i32 = 1_024;
/// How long connections may take to end once the server stops.
pub const DRAIN_MAX: Duration = Duration::from_secs(5);
/// Memory that each executor pins for its own rings' registered buffers.
pub const EXECUTOR_IO_MEMORY_BYTES: usize = 1 << 20;
/// Segment files that one core keeps open for reading.
pub const OPEN_SEGMENTS_MAX: usize = 256;

/// Ports of one core: connections' sessions and unary calls under way. Bounded by the bits of an origin.
pub const PORTS_MAX: usize = 1 << 24;

const _: () = assert!(RING_SLOTS.is_power_of_two());
const _: () = assert!(RING_SLOTS >= BETWEEN_REQUESTS_MAX as usize);
const _: () = assert!(BETWEEN_BYTES_MAX >= 2 * RECORD_BODY_BYTES_MAX as usize);
