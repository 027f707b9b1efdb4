//! Data folders as a person keeps them: checked, looked into, salvaged, copied and brought back.
//!
//! ```text
//!  files ─► SegmentFile ─► Contents ─┬─► check ─► findings
//!           (a window)     (a walk   ├─► inspect ─► lines
//!                           a segment)├─► salvage ─► a new folder
//!                                    └─► backup ─► restore
//! ```
//!
//! | file | responsibility |
//! |---|---|
//! | `segment_file` | a segment's bytes through a window |
//! | `backup_file` | what a backup says of itself |
//! | `checkpoint_file` | a checkpoint's file, read from front to back |
//! | `contents` | what a folder holds, segment by segment |
//! | `check` | everything that is wrong with it |
//! | `salvage` | what is sound of it, in a new folder |
//! | `backup` | a copy that is whole at some moment |
//! | `restore` | a data folder out of a backup |
//! | `inspect` | heads, batches and records for a person or a program to read |
//! | `commands` | what a person asks for, and what is printed |
//!
//! **Invariants:** nothing is loaded whole; a folder that is read is never written, and a server may use it meanwhile.

mod segment_file;
mod backup_file;
mod checkpoint_file;
mod contents;
mod check;
mod salvage;
mod backup;
mod restore;
mod inspect;
mod commands;

pub use backup::{BackedUp, backup};
pub use check::{Checked, Finding, check};
pub use commands::{Backup, Check, CommandFault, Inspect, Restore};
pub use contents::Contents;
pub use inspect::{Inspected, inspect, segment_of};
pub use restore::restore;
pub use salvage::{Salvaged, salvage};
