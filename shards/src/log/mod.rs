//! The log is the store: it is written once, acked from, recalled from and replayed from.
//!
//! ```text
//!  connection's core          owner's core                                  disk
//!  encode_body ─► Body ─► Log::append ─► pending ─► batch ─► LogIo::Commit ─► segment
//!                               handle_done ─► Outcome::Durable                  │
//!  decode_body ◄─ record::read ◄──────────────── a recall's read ◄───────────────┤
//!                     recovery ◄─ Replay::handle_segment ◄───────────────────────┘
//! ```
//!
//! | file | what it has |
//! |---|---|
//! | `field` | numbers at fixed offsets, tagged fields, the checksum |
//! | `ranges` | sets of generations |
//! | `body` | what a record says: an observation, a space |
//! | `gone` | what records say of what is no more |
//! | `record` | one entry: a fixed head before a body |
//! | `segment` | a file's first block; positions in a log |
//! | `summary` | which stripes have records in a segment that is written no more |
//! | `batch` | what one commit writes |
//! | `chain` | which segments count, by their heads |
//! | `segments` | which of them are written no more, and how one is emptied |
//! | `walk` | one segment, piece by piece: whole, damaged, cut |
//! | `audit` | whether the records of all logs make whole stripes |
//! | `counting` | how much of each segment counts |
//! | `log` | the open end: group commit, sealing after a failure |
//! | `replay` | reading back; torn, unproven and corrupt |
//! | `salvage` | what a new folder takes over of a damaged one |
//!
//! The bytes are told in `docs/FORMATS.md`. What always holds:
//! - No position of a segment is written twice, and no write shares a block with another.
//! - A batch that is whole says up to where its segment was synced before it was written.
//! - A failed write or sync ends its segment for ever at the position that was synced before.

pub mod field;
pub mod ranges;
pub mod body;
pub mod gone;
pub mod record;
pub mod segment;
pub mod summary;
pub mod batch;
pub mod chain;
pub mod segments;
pub mod walk;
pub mod audit;
pub mod counting;
#[allow(clippy::module_inception)] // the log itself, among what it is made of
pub mod log;
pub mod replay;
pub mod salvage;
