//! Every bound of the runtime, with its unit last in the name and the reason beside it. The
//! engine's own are in `engram_shards::limits`.

use std::num::NonZeroU64;
use std::time::Duration;

use engram_shards::limits::{RECALL_BYTES_MAX, RECORD_BODY_BYTES_MAX};

/// Longest message on either transport by default: a batch of a thousand half-precision vectors
/// fits.
pub const MESSAGE_BYTES_MAX_DEFAULT: usize = 4 << 20;
/// The least that it may be set to: one vector of the largest dimension with all its texts.
pub const MESSAGE_BYTES_MAX_FLOOR: usize = 128 << 10;
/// The most that it may be set to: a message is held in memory whole.
pub const MESSAGE_BYTES_MAX_CEILING: usize = 256 << 20;
/// How long a session keeps its memory while its client is silent, by default.
pub const SESSION_SILENCE_DEFAULT: Duration = Duration::from_secs(300);
/// The least that it may be set to; clients rely on it.
pub const SESSION_SILENCE_MIN: Duration = Duration::from_secs(60);

/// Between two looks at whether segments may be removed, or whether none is: both last milliseconds, and come up when a
/// shard is built.
pub const REMOVAL_WAIT: Duration = Duration::from_millis(1);
/// Dimension of a space that a first init or Remember makes.
pub const SPACE_DIMENSION_DEFAULT: u16 = 768;
/// Answers of one session that wait for acks before them and that no credit bounds (refusals,
/// repeats); with so many, it takes no further observation.
pub const SESSION_ANSWERS_MAX: usize = 256;
/// Accepted observations of one session whose second ack is still to come; with so many, it takes no further one.
pub const SESSION_UNINDEXED_MAX: usize = 16_384;
/// Recalls of one session under way at once; what they found waits for the client in memory.
pub const SESSION_RECALLS_MAX: usize = 8;
/// Events that wait for a subscriber which names no number …
pub const SUBSCRIPTION_ROOM_DEFAULT: u32 = 256;
/// … and the most that may: further ones are missed. Each takes some hundred bytes.
pub const SUBSCRIPTION_ROOM_MAX: u32 = 1_024;
/// Stores of one stream without a session that are not answered; with so many, nothing more is read.
pub const STREAM_STORES_MAX: usize = 256;
/// How long a connection may take to say what it speaks, to shake hands, and to make its first
/// request (each).
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long an HTTP/2 connection without open streams is kept.
pub const HTTP2_IDLE_MAX: Duration = Duration::from_secs(300);
/// How often an HTTP/2 connection looks at its time.
pub const HTTP2_TICK: Duration = Duration::from_secs(5);
/// Streams open at once on one connection.
pub const HTTP2_CONCURRENT_STREAMS_MAX: u32 = 128;
/// Headers of one request, unpacked.
pub const HTTP2_HEADER_BYTES_MAX: u32 = 16 << 10;
/// One frame: several whole observations in each.
pub const HTTP2_FRAME_BYTES_MAX: u32 = 64 << 10;
/// Streams that a client may open and reset before they are looked at (rapid reset).
pub const HTTP2_PENDING_RESETS_MAX: usize = 20;
/// Streams that a client may make us reset by its errors.
pub const HTTP2_LOCAL_RESETS_MAX: usize = 128;
/// Windows of a fresh connection and of each of its streams: the protocol's own default.
pub const HTTP2_WINDOW_BYTES_INITIAL: u32 = 65_535;
/// Once so much has come, a connection is given larger windows: …
pub const HTTP2_WINDOW_GROWTH_BYTES: u64 = 256 << 10;
/// … so large for each stream …
pub const HTTP2_STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// … and so large for the connection, …
pub const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// … as long as no more than one in so many bytes of what its core may lend is lent.
pub const HTTP2_WINDOW_SHARE: usize = 2;

/// What one core lends to its connections by default: a thousand streams, and some hundred recalls.
pub const LOANS_BYTES_DEFAULT: usize = 768 << 20;
/// The least that it may be set to for one core: the longest message, and a recall of as much as may be.
pub const LOANS_BYTES_FLOOR: usize = 64 << 20;
/// The most that it may be set to for one core.
pub const LOANS_BYTES_CEILING: usize = 1 << 40;
/// What a row takes that waits, beside what it takes as a row: its place in its session and the queues, and its id until
/// its second ack is told.
pub const QUEUED_BYTES: u64 = 512;
/// What a recall takes beside records: its cue, and which rows it found.
pub const RECALL_WAITING_BYTES: usize = 64 << 10;
/// What checkpoints, compactions and a scrape of the metrics take on one core.
pub const UPKEEP_BYTES: u64 = 32 << 20;
/// What the process takes that does nothing: its program, its stacks, tables that never shrink.
pub const PROCESS_BYTES: u64 = 64 << 20;
/// The allocator holds so much that nobody uses: one byte for each so many.
pub const ALLOCATOR_SHARE: u64 = 8;
/// After how long to come back to a core that has lent all it has: what is lent comes back with the next answers.
pub const LOANS_RETRY: Duration = Duration::from_millis(100);
/// What a connection holds without a loan: bytes read and not yet understood, the head of a request, a short answer.
pub const CONNECTION_BYTES: usize = 256 << 10;
/// A message so long needs no loan of its own: connections and streams have room for it.
pub const MESSAGE_BYTES_UNLENT: usize = 64 << 10;
/// What a message takes for each of its bytes: as it came, and as it is understood.
pub const MESSAGE_COPIES: usize = 2;
/// What an HTTP/2 stream holds at most beside what has loans of its own: what waits for the client's windows, here and in
/// the framing, and a message.
pub const STREAM_BYTES: usize =
    2 * RESPONSE_BYTES_WAITING_MAX + MESSAGE_COPIES * MESSAGE_BYTES_UNLENT;
/// The same of a WebSocket: what its client has not read, with the last message that was added, and what it says.
pub const WEBSOCKET_BYTES: usize =
    WEBSOCKET_UNSENT_BYTES_MAX + MESSAGE_COPIES * MESSAGE_BYTES_UNLENT;
/// The same of a session: answers that wait for acks, each with an id and a reason.
pub const SESSION_BYTES: usize = SESSION_ANSWERS_MAX * 512;
/// What an event takes that waits for its subscriber.
pub const EVENT_BYTES: usize = 512;
/// What a result takes at most, of the longest texts and the largest dimension.
pub const RESULT_BYTES_MAX: usize = 160 << 10;
/// What is told of a result for each of its bytes: numbers as decimals.
pub const RESULT_TOLD_COPIES: usize = 4;

/// Responses of one stream that wait for its client's windows; with so many bytes, nothing is
/// added.
pub const RESPONSE_BYTES_WAITING_MAX: usize = 64 << 10;
/// How long a client may let nothing of what it is told through: it holds memory that others could
/// use.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(30);
/// How long a core's streams take in what they are sent before its shard has its turn …
pub const STREAMS_ROUND: Duration = Duration::from_micros(300);
/// … and how many of those who stand in line are woken at its begin; one more for each that is done before its end.
pub const STREAMS_ROUND_WOKEN: usize = 8;
/// Bytes of results in one page, unless a single one has more.
pub const RECALL_PAGE_BYTES_MAX: usize = 512 << 10;
/// Results in one page of a recall that names no size.
pub const RECALL_PAGE_RESULTS_DEFAULT: usize = 100;
/// Results of a recall that names no count.
pub const RECALL_RESULTS_DEFAULT: u32 = 10;

/// Requests of one core's sessions that may be between socket and owner: two full commits on each
/// of eight owners.
pub const BETWEEN_REQUESTS_MAX: u32 = 4_096;
/// Bytes of the same: what bounds a core's memory under overload.
pub const BETWEEN_BYTES_MAX: usize = 64 << 20;
/// Slots of all rings that end at one core, together; what does not fit waits in its sender's
/// backlog, which the budget bounds. So the rings of many cores do not take memory by the square of
/// their number.
pub const RING_SLOTS_TOTAL: usize = 4_096;
/// Fewest and most slots of one ring: a batch of acks, and what two full commits bring.
pub const RING_SLOTS_MIN: usize = 64;
/// See [`RING_SLOTS_MIN`].
pub const RING_SLOTS_MAX: usize = 1_024;
/// Frames that are pushed before the receiver is told: wake-ups cost more than pushes.
pub const RING_KICK_FRAMES: usize = 32;
/// Frames taken from one ring before its neighbours have their turn.
pub const RING_DRAIN_FRAMES: usize = 256;

/// Credits of one stripe that are asked of its owner at once: as many as one commit takes, …
pub const CREDIT_CHUNK_MAX: u32 = 512;
/// … one in so many of a shard's capacity at most, from all cores together …
pub const CREDIT_POOL_SHARE: u32 = 8;
/// … for whoever uses so many within this time; for others fewer, so that many spaces with little to say each do not hold
/// what one with much could use, …
pub const CREDIT_CHUNK_MICROS: u64 = 50_000;
/// … and so many at least.
pub const CREDIT_CHUNK_MIN: u32 = 8;
/// A refusal of credit is repeated without asking again for at most this long, so that a flood
/// costs no round trips.
pub const CREDIT_REFUSAL_MICROS_MAX: u64 = 2_000;
/// Credits that lay unused for this long go back to their owner, so that others may have them.
pub const CREDIT_IDLE_MICROS: u64 = 1_000_000;

/// An executor can park although a task is ready to run; it is woken from outside this often.
pub const EXECUTOR_TICK: Duration = Duration::from_millis(20);
/// How long a shard goes on with recalls before its core's other tasks have their turn.
pub const RECALLS_TURN: Duration = Duration::from_millis(1);
/// While a core has work, it looks at its sockets and disks this often: as long as one slice of
/// work.
pub const EXECUTOR_PREEMPT: Duration = Duration::from_micros(500);
/// Connections open at once by default, of all cores together: a fleet of agents with one each.
pub const CONNECTIONS_MAX_DEFAULT: u32 = 2_048;
/// The most that it may be set to: a process has so many descriptors at most where nobody has raised that.
pub const CONNECTIONS_MAX_CEILING: u32 = 1 << 20;
/// Connections of one core beyond that which are told so at once; further ones are closed without a word.
pub const REFUSALS_MAX: usize = 64;
/// After how long a client may try again for whom there was no connection: by then others have ended.
pub const CONNECTIONS_RETRY: Duration = Duration::from_secs(1);
/// How long an acceptor rests after an error that may pass (no file descriptors left).
pub const ACCEPT_REST: Duration = Duration::from_millis(50);
/// Connections that the kernel holds for one listener of one core until they are accepted.
pub const LISTEN_BACKLOG: i32 = 1_024;
/// How long connections may take to end once the server stops.
pub const DRAIN_MAX: Duration = Duration::from_secs(5);
/// A shard that fails so often …
pub const SHARD_FAILURES_MAX: u32 = 3;
/// … within this time stays down: what it fails at comes back with its log, and each attempt costs a
/// reading of that.
pub const SHARD_FAILURES_WINDOW: Duration = Duration::from_secs(60);
/// How long a shard rests whose log could not be read, so that what passes has passed.
pub const SHARD_REBUILD_REST: Duration = Duration::from_secs(1);
/// After how long to come back to a shard that does not serve: one of some ten thousand rows is
/// built anew by then.
pub const UNAVAILABLE_RETRY: Duration = Duration::from_millis(250);
/// Memory that each executor pins for its own rings' registered buffers.
pub const EXECUTOR_IO_MEMORY_BYTES: usize = 1 << 20;
/// Segment files that one core keeps open for reading.
pub const OPEN_SEGMENTS_MAX: usize = 256;

/// Threads that read how segments begin, when the server starts …
pub const START_READERS: usize = 8;
/// … of which each has so many to read, if there are: fewer would take less time than a thread.
pub const START_READS_MIN: usize = 8;
/// What a start reads is asked of the kernel ahead of its use, so much of it at most: what is read much earlier than it is
/// used may be out of memory again by then.
pub const READ_AHEAD_BYTES_MAX: u64 = 4 << 30;
/// … in pieces of this size: of more, kernels of small windows read a part alone.
pub const READ_AHEAD_PIECE_BYTES: NonZeroU64 = NonZeroU64::new(512 << 10).expect("more than none");
/// Slabs of memory that are found for a core and that it has not taken yet.
pub const RESERVES_AHEAD_MAX: usize = 4;
/// The priority of who finds them, as `nice` has it.
pub const LOWEST_PRIORITY: i32 = 19;
/// Pieces of a checkpoint that are asked for ahead while it is read, so that the disk never waits for the core.
pub const CHECKPOINT_READS_AHEAD: usize = 8;
/// Bytes of a checkpoint's start that the page cache is asked for at a start of the server: about what a disk reads while the
/// logs are replayed.
pub const CHECKPOINT_START_BYTES: u64 = 128 << 20;
/// Places of a file that are looked for in the page cache, to tell whether it is there.
pub const CACHE_PROBES: u64 = 16;
/// What reads past the page cache begin and end with: no file system asks for more.
pub const DIRECT_READ_ALIGNMENT: u64 = 4 << 10;
/// How long checkpoints may take that are written when the server stops: those of some million rows. What is not done
/// by then, a restart replays.
pub const CHECKPOINT_DRAIN_MAX: Duration = Duration::from_secs(15);

/// Longest request line of HTTP/1.1: a vector in a query fits.
pub const HTTP_REQUEST_LINE_BYTES_MAX: usize = 128 << 10;
/// All headers of a request together, and all trailers.
pub const HTTP_HEADERS_BYTES_MAX: usize = 16 << 10;
/// Headers of a request.
pub const HTTP_HEADERS_MAX: usize = 100;
/// How long a request's head may take from its first byte on; what is slower is an attack or a
/// fault.
pub const HTTP_HEAD_WAIT: Duration = Duration::from_secs(10);
/// How long a request's body may take: the longest one over a slow line.
pub const HTTP_BODY_WAIT: Duration = Duration::from_secs(60);
/// How long a client may take to read an answer.
pub const HTTP_WRITE_WAIT: Duration = Duration::from_secs(30);
/// How long a connection may lie idle between requests.
pub const HTTP_IDLE_WAIT: Duration = Duration::from_secs(300);
/// How long, and for how many bytes, a closing connection still reads, so that the last answer
/// arrives.
pub const HTTP_LINGER_WAIT: Duration = Duration::from_secs(2);
/// See [`HTTP_LINGER_WAIT`].
pub const HTTP_LINGER_BYTES_MAX: usize = 256 << 10;

/// How often a WebSocket's client hears that the server lives.
pub const WEBSOCKET_HEARTBEAT: Duration = Duration::from_secs(30);
/// Heartbeats after which a client that gave no sign of life is dropped.
pub const WEBSOCKET_SILENT_HEARTBEATS_MAX: u32 = 3;
/// Bytes waiting for a slow reader above which nothing more is read from it or told to it.
pub const WEBSOCKET_UNSENT_BYTES_MAX: usize = 256 << 10;
/// How long the closing handshake may take.
pub const WEBSOCKET_CLOSE_WAIT: Duration = Duration::from_secs(5);

/// Spaces that metrics name; the rest, the less busy ones, are counted together.
pub const METRICS_SPACES_MAX: usize = 200;

/// Ports of one core: connections' sessions and unary calls under way. Bounded by the bits of an
/// origin.
pub const PORTS_MAX: usize = 1 << 24;

const _: () = assert!(RING_SLOTS_MIN.is_power_of_two() && RING_SLOTS_MAX.is_power_of_two());
const _: () = assert!(RING_KICK_FRAMES <= RING_SLOTS_MIN);
const _: () = assert!(LOANS_BYTES_FLOOR >= 2 * RECALL_BYTES_MAX as usize);
const _: () = assert!(BETWEEN_BYTES_MAX >= 2 * RECORD_BODY_BYTES_MAX as usize);
