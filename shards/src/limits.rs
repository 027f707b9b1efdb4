//! Every bound of the engine, with its unit last in the name and the reason beside it.

/// A batch starts and ends on this boundary, so that no write touches a sector that holds an acked record.
pub const LOG_BLOCK_BYTES: u32 = 4096;
/// A segment's file: large enough that creating one is rare, small enough to be read whole at a restart.
pub const LOG_SEGMENT_BYTES: u32 = 64 << 20;
/// A commit starts once this many records wait …
pub const LOG_COMMIT_RECORDS_MIN: u32 = 32;
/// … or this many bytes …
pub const LOG_COMMIT_BYTES_MIN: u32 = 256 << 10;
/// … or once its first record has waited this long.
pub const LOG_COMMIT_WAIT_MICROS: u64 = 500;
/// Where acks do not wait for it, a sync follows this long after the first record that it covers was appended: until then
/// rows stay out of the graph, and every recall scans them.
pub const LOG_SYNC_LATE_MICROS: u64 = 100_000;
/// The longest interval of syncs: what comes in it stays in memory.
pub const LOG_SYNC_INTERVAL_MICROS_MAX: u64 = 1_000_000;
/// The most records one commit covers; bounds the time that an ack waits behind others.
pub const LOG_COMMIT_RECORDS_MAX: u32 = 500;
/// The most bytes one commit covers; more waits for the next.
pub const LOG_COMMIT_BYTES_MAX: u32 = 4 << 20;
/// Longest record body: the wire's 4 MiB message cannot make a longer one, and it fits one commit.
pub const RECORD_BODY_BYTES_MAX: u32 = 1 << 20;

/// A segment is compacted once less than one in so many of its bytes counts: so the disk holds at most so many times what
/// counts, and each byte that is freed costs less than one that is copied.
pub const COMPACTION_SHARE: u64 = 2;
/// What one compaction frees is so many times as long as the lists of what is gone that it writes: where these are long,
/// several segments are compacted together.
pub const COMPACTION_LISTS_SHARE: u64 = 8;
/// Bytes of records that one step of a compaction copies at least, or what is left: each reads and scans anew …
pub const COMPACTION_STEP_BYTES_MIN: u64 = 16 << 10;
/// … and at most, unless others commit more meanwhile: they make a commit longer by less than its sync takes …
pub const COMPACTION_STEP_BYTES_MAX: u64 = 128 << 10;
/// … and where nobody else writes.
pub const COMPACTION_QUIET_BYTES: u64 = 256 << 10;
/// Once nobody else has written for so long, a compaction commits by itself; until then its records go with theirs.
pub const COMPACTION_QUIET_MICROS: u64 = 100_000;
/// It uses one part of the time in so many then.
pub const COMPACTION_QUIET_SHARE: u64 = 8;
/// Rows that one step of a compaction looks at: some 50 µs.
pub const COMPACTION_STEP_ROWS: u32 = 8_192;
/// The same where the generations of rows are put in order: some 200 µs.
pub const COMPACTION_STEP_GENERATIONS: u32 = 2_048;
/// Sessions that one step of a compaction looks at.
pub const COMPACTION_STEP_SESSIONS: usize = 1_024;
/// Stripes that one step of a compaction looks at.
pub const COMPACTION_STEP_STRIPES: usize = 256;
/// Where no segment is worth it, the next look follows this late at the earliest: it takes in all of them.
pub const COMPACTION_REST_MICROS: u64 = 100_000;
/// A compaction that failed is tried again after this long.
pub const COMPACTION_RETRY_MICROS: u64 = 1_000_000;
/// Where segments hold what is several shards', each looks this often at what counts for the others.
pub const COMPACTION_LOOK_MICROS: u64 = 10_000_000;
/// Bytes of a checkpoint that are checked together, and written at once: about 100 µs of copying and summing.
pub const CHECKPOINT_BLOCK_BYTES: u32 = 256 << 10;
/// Bytes of a checkpoint that are read at once: several are asked for ahead.
pub const CHECKPOINT_PIECE_BYTES: u32 = 1 << 20;
/// Between two parts that are written while all else goes on: 256 KiB in about 800 µs are what a modest disk takes …
pub const CHECKPOINT_PAUSE_MICROS: u64 = 500;
/// … and so much is synced at once, so that a commit's sync that comes behind it waits for milliseconds.
pub const CHECKPOINT_SYNC_BYTES: u64 = 2 << 20;
/// How long after a checkpoint that failed the next one is begun.
pub const CHECKPOINT_RETRY_MICROS: u64 = 30 * 1_000_000;
/// Records of a stripe that a restart replays in some milliseconds: no checkpoint is worth its syncs for fewer bytes.
pub const CHECKPOINT_RECORDS_BYTES_MIN: u64 = 1 << 20;
/// Checkpoints from this length on are read back in a good part of a second: from there on less is to be replayed
/// beside them, and more is written for it. (190,000 rows of 768 numbers.)
pub const CHECKPOINT_LARGE_BYTES: u64 = 192 << 20;
/// Bytes of log that a restart may have to read for the sake of a few records in each segment, at least.
pub const CHECKPOINT_LOG_BYTES_MAX: u64 = 512 << 20;
/// Layers of a graph above the bottom, at most: a hash of 64 bits draws them, four for each.
pub const CHECKPOINT_LAYERS_MAX: usize = 16;
/// Logs of a folder of which a checkpoint tells what it covers: one for each core that it was ever served by. In a folder
/// with more, nothing is checkpointed.
pub const CHECKPOINT_LOGS_MAX: usize = 330;
/// Longest body of a list of generations that are gone; a longer list takes several records.
pub const LOG_GONE_BYTES_MAX: usize = 256 << 10;

/// How far back a recall may look: a stripe notes its commits for so long, some megabytes where they never pause.
pub const PAST_MICROS: u64 = 60 * 1_000_000;

/// Subscribers of one stripe's events: each costs a message for each observation.
pub const STRIPE_SUBSCRIBERS_MAX: usize = 64;

/// Bytes of records that a shard keeps at hand for recalls, unless told otherwise: 10,000 of 768 numbers and a text, which
/// is what some hundred recalls read.
pub const RECORD_CACHE_BYTES_DEFAULT: u64 = 32 << 20;
/// The most that it may be told to keep.
pub const RECORD_CACHE_BYTES_MAX: u64 = 1 << 40;
/// What it takes to keep a record, beside its body.
pub const RECORD_CACHE_ENTRY_BYTES: u64 = 128;
/// Rounds that a record stays for, at most, after it was asked for as often.
pub const RECORD_CACHE_USES_MAX: u8 = 3;

/// Smallest and largest dimension of a space.
pub const DIMENSION_MIN: u16 = 8;
/// See [`DIMENSION_MIN`].
pub const DIMENSION_MAX: u16 = 4096;
/// Shortest and longest vector where its length counts (dot product, Euclidean distance): squares of lengths, and of what
/// an int8 code stands for, stay far from the ends of f32.
pub const LENGTH_MIN: f32 = 1e-12;
/// See [`LENGTH_MIN`].
pub const LENGTH_MAX: f32 = 1e12;
/// Shortest and longest name of a space, in bytes.
pub const SPACE_NAME_BYTES_MIN: usize = 3;
/// See [`SPACE_NAME_BYTES_MIN`].
pub const SPACE_NAME_BYTES_MAX: usize = 64;
/// Longest memory id, in bytes.
pub const ID_BYTES_MAX: usize = 256;
/// Longest `what`, in bytes.
pub const WHAT_BYTES_MAX: usize = 64 << 10;
/// Longest `where`, `why` and `how`, in bytes each.
pub const NOTE_BYTES_MAX: usize = 4 << 10;
/// Most entries of `who` (and of tags, and of metadata), …
pub const WHO_ENTRIES_MAX: usize = 64;
/// … and the longest of them, in bytes.
pub const WHO_BYTES_MAX: usize = 256;

/// Neighbours a row chooses, and slots on the upper layers.
pub const GRAPH_LINKS: usize = 16;
/// Neighbours a row chooses on the bottom layer, at most: the rule of selection seldom takes more.
pub const GRAPH_CHOSEN_BOTTOM: usize = 24;
/// Slots on the bottom layer.
pub const GRAPH_LINKS_BOTTOM: usize = 2 * GRAPH_LINKS;
/// Durable rows of a stripe that are not in the graph and yet wait for nothing: every recall compares them one by one. At
/// 10 to 14 ns a row that takes 100 to 140 µs, in two steps of a recall, …
pub const TAIL_ROWS_MAX: u32 = 10_240;
/// … and this many durable rows give a stripe a graph where its core is idle: from about here on a search is quicker.
pub const GRAPH_ROWS_MIN: u32 = 4_096;
/// Search width while a row is inserted under pressure …
pub const GRAPH_WIDTH_INSERT: u32 = 50;
/// … and while hardly any row waits.
pub const GRAPH_WIDTH_INSERT_IDLE: u32 = 128;
/// The same on the layers above the bottom, where a search only has to find the way.
pub const GRAPH_WIDTH_INSERT_UPPER: u32 = 24;
/// Rows that wait for their place in the graph without any pressure: a burst of one connection …
pub const PRESSURE_ROWS_MIN: u32 = 256;
/// … and so many more from which the pressure is full (or half of the capacity). Every recall scans them: about 40 µs.
pub const PRESSURE_ROWS_MAX: u32 = 4_096;
/// Search width while a row is refined …
pub const GRAPH_WIDTH_REFINE: u32 = 128;
/// … and where recalls need more than [`GRAPH_WIDTH_RECALL_NARROW`] for the target after that: 300 µs among 1,000,000.
pub const GRAPH_WIDTH_REFINE_DEEP: u32 = 256;
/// See [`GRAPH_WIDTH_REFINE_DEEP`].
pub const GRAPH_WIDTH_RECALL_NARROW: u32 = 48;
/// Neighbours that a refined row chooses: more than at its insertion, for by then its slots are there to be used.
pub const GRAPH_LINKS_REFINED: usize = GRAPH_LINKS + GRAPH_LINKS / 2;
/// Distances of one step of linking rows around removed ones, about.
pub const MEND_DISTANCES: u32 = 1_000;
/// Removed rows are taken out of the graph once there are so many …
pub const MEND_ROWS_MIN: u32 = 64;
/// … and one in so many of all rows: that takes a look at every link.
pub const MEND_ROWS_SHARE: u32 = 64;
/// … and once they are one row in so many, beside a full load too: without it, memory would grow.
pub const MEND_ROWS_SHARE_MAX: u32 = 16;
/// Search width of a recall that names none, before a space has sampled its recall.
pub const GRAPH_WIDTH_RECALL: u32 = 128;
/// Widths that a space chooses among: each some 40 % more work than the one before it.
pub const RECALL_WIDTHS: [u32; 11] = [32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024];

/// The widest search of a recall, whatever it asks for: bounds its memory.
pub const RECALL_WIDTH_MAX: u32 = 4_096;
/// Steps of a search that a recall or a sample does in one go: each expands two nodes …
pub const SEARCH_STEPS_MAX: u32 = 128;
/// … and so compares so many rows at most, and a third of them mostly: 50 to 200 µs.
pub const SEARCH_DISTANCES_MAX: u32 = 8_192;

/// The recall that a space holds by default …
pub const RECALL_TARGET_DEFAULT: f32 = 0.95;
/// … and the range of what it can be told to hold: more than the last could not be told from a perfect one.
pub const RECALL_TARGET_MIN: f32 = 0.5;
/// See [`RECALL_TARGET_MIN`].
pub const RECALL_TARGET_MAX: f32 = 0.995;
/// Nearest neighbours of which recall is the share that is found: what users ask for most often.
pub const QUALITY_NEIGHBOURS: u32 = 10;
/// Fewest rows in the graph of a stripe that samples and refines: fewer are found at any width.
pub const QUALITY_ROWS_MIN: u32 = 64;
/// Samples that an estimate rests on: 2,560 neighbours, an error of about half a point at a recall of 0.95 …
pub const QUALITY_SAMPLES: usize = 256;
/// … and the fewest that say anything.
pub const QUALITY_SAMPLES_MIN: usize = 16;
/// Rows that one step of an exact scan compares: about 60 µs, so that the share of samples beside insertions comes in
/// small parts.
pub const QUALITY_SCAN_ROWS_MAX: u32 = 2_048;
/// Cues that a stripe remembers for its samples, at most: 200 KB at 768 dimensions.
pub const CUES_KEPT_MAX: usize = QUALITY_SAMPLES;
/// Missed rows that wait for being refined before others, at most.
pub const REFINE_URGENT_MAX: usize = 256;

/// Rows that one step of a recall compares one by one: 50 to 70 µs, so that the longest tail takes two.
pub const RECALL_SCAN_ROWS_MAX: u32 = TAIL_ROWS_MAX / 2;
/// Most results of one recall.
pub const RECALL_RESULTS_MAX: u32 = 1_000;
/// Recalls that may wait on one shard; a further one is refused, so that their memory is bounded.
pub const RECALLS_WAITING_MAX: usize = 1_024;
/// Candidates of one recall whose records are read: where fewer than are wanted pass a filter, more are looked at, up to so many.
pub const RECALL_CANDIDATES_MAX: u32 = 4_096;
const _: () = assert!(RECALL_CANDIDATES_MAX <= RECALL_WIDTH_MAX, "a search keeps as many");
const _: () =
    assert!(RECALL_CANDIDATES_MAX >= 2 * RECALL_RESULTS_MAX, "more than without a filter");
/// Bytes of records that recalls under way on one shard hold, all together; who needs more waits until others have ended.
pub const RECALLS_BYTES_MAX: u64 = 64 << 20;
/// Bytes of results of one recall: 1,000 of 768 numbers take a fourth of it. One that found more is refused.
pub const RECALL_BYTES_MAX: u32 = 16 << 20;
const _: () =
    assert!(RECALLS_BYTES_MAX >= 2 * RECALL_BYTES_MAX as u64, "a wide recall holds up no other");
/// Memories that may be on their way to be forgotten on one shard; a further one is refused.
pub const FORGETS_WAITING_MAX: usize = 4_096;

/// Observations that wait, by default, of one shard: admitted, and neither in the graph nor in a tail within its bounds.
pub const CAPACITY_DEFAULT: u32 = 100_000;
/// Distances that one grant of background work covers, at most: about 500 µs of one core.
pub const WORK_DISTANCES_MAX: u32 = 8_000;
/// The same where no one waits for what is done: one row refined, or a part of a sample.
pub const UPKEEP_DISTANCES_MAX: u32 = 2_000;

/// Sessions that one shard keeps; bounds their memory to some 200 MB.
pub const SESSIONS_MAX: usize = 1 << 20;
/// A session can be resumed until this long after its last record.
pub const SESSION_RESUME_MICROS: u64 = 24 * 3_600 * 1_000_000;

const _: () = assert!(LOG_SEGMENT_BYTES.is_multiple_of(LOG_BLOCK_BYTES));
const _: () = assert!(LOG_COMMIT_BYTES_MAX + LOG_BLOCK_BYTES < LOG_SEGMENT_BYTES);
const _: () = assert!(RECORD_BODY_BYTES_MAX < LOG_COMMIT_BYTES_MAX);
const _: () = assert!(LOG_COMMIT_BYTES_MIN <= LOG_COMMIT_BYTES_MAX);
const _: () = assert!(LOG_COMMIT_RECORDS_MIN <= LOG_COMMIT_RECORDS_MAX);
const _: () = assert!(QUALITY_ROWS_MIN <= GRAPH_ROWS_MIN && GRAPH_ROWS_MIN <= TAIL_ROWS_MAX);
const _: () = assert!(RECALL_SCAN_ROWS_MAX <= WORK_DISTANCES_MAX);
const _: () = assert!(RECALL_WIDTHS[RECALL_WIDTHS.len() - 1] <= RECALL_WIDTH_MAX);
const _: () = assert!(RECALL_WIDTH_MAX < SEARCH_DISTANCES_MAX);
