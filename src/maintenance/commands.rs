//! The commands of this folder as a person gives them.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::Args;
use engram_shards::ids::SegmentId;
use serde_json::json;

use super::backup::backup;
use super::check::{Finding, check};
use super::contents::Contents;
use super::inspect::{Inspected, inspect, segment_of};
use super::restore::restore;
use super::salvage::salvage;
use crate::config::DATA_DIR_DEFAULT;
use crate::folder::FolderError;

/// Records of a segment that are printed where no limit is given.
const RECORDS_PRINTED: u64 = 100;

/// `engram check`.
#[derive(Debug, Args)]
pub struct Check {
    /// The data folder, or a backup; a server may use it meanwhile
    dir: PathBuf,
    /// Save all that is sound into this new folder, which a server can open
    #[arg(long, value_name = "NEW_DIR")]
    salvage: Option<PathBuf>,
    /// Print one JSON object for each finding and one for the sum
    #[arg(long)]
    json: bool,
}

/// `engram inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    /// The data folder, or a backup; a server may use it meanwhile
    dir: PathBuf,
    /// One segment, with its batches and records
    #[arg(long, value_name = "LOG/NUMBER", value_parser = segment_of)]
    segment: Option<SegmentId>,
    /// The most records printed of each segment [default: 100 with --segment, else none]
    #[arg(long, value_name = "RECORDS")]
    limit: Option<u64>,
    /// Also read all records, and tell how much of each segment counts
    #[arg(long)]
    counted: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// `engram backup`.
#[derive(Debug, Args)]
pub struct Backup {
    /// The backup to be made; what it lies in should be another disk
    dest: PathBuf,
    /// The data folder; a server may use it meanwhile [default: ./engram-data]
    #[arg(long, value_name = "DIR", env = "ENGRAM_DATA_DIR", default_value = DATA_DIR_DEFAULT, hide_default_value = true)]
    data_dir: PathBuf,
    /// Print one JSON object for each finding and one for the sum
    #[arg(long)]
    json: bool,
}

/// `engram restore`.
#[derive(Debug, Args)]
pub struct Restore {
    /// The backup
    src: PathBuf,
    /// The data folder to be made; it must be empty, or not there
    dir: PathBuf,
    /// Print one JSON object for each finding and one for the sum
    #[arg(long)]
    json: bool,
}

/// Why a command did not end well.
#[derive(Debug)]
pub enum CommandFault {
    /// The folder is damaged; what is damaged was printed.
    Damaged(PathBuf),
    /// No backup was made, as the folder is damaged.
    NoBackup(PathBuf),
    /// The backup is damaged; what was made of it is left unfinished.
    NotRestored(PathBuf),
    /// It could not be done.
    Folder(FolderError),
    /// What was asked for is not there.
    NoSegment(SegmentId),
    /// Nothing can be printed.
    Output(io::Error),
}

impl fmt::Display for CommandFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandFault::Damaged(path) => write!(f, "{} is damaged", path.display()),
            CommandFault::NoBackup(path) => {
                let path = path.display();
                write!(
                    f,
                    "{path} is damaged, and no backup was made\n  mend: engram check {path} --salvage NEW_DIR"
                )
            }
            CommandFault::NotRestored(path) => {
                let path = path.display();
                write!(
                    f,
                    "the backup {path} is damaged; what was copied of it is no data folder\n  mend: engram check {path} --salvage NEW_DIR"
                )
            }
            CommandFault::Folder(error) => error.fmt(f),
            CommandFault::NoSegment(segment) => {
                write!(f, "there is no segment {}/{} that counts", segment.log.0, segment.number)
            }
            CommandFault::Output(error) => write!(f, "stdout cannot be written: {error}"),
        }
    }
}

impl std::error::Error for CommandFault {}

impl From<FolderError> for CommandFault {
    fn from(error: FolderError) -> CommandFault {
        CommandFault::Folder(error)
    }
}

impl Check {
    /// Checks, and salvages where that was asked for.
    pub fn run(self) -> Result<(), CommandFault> {
        let contents = Contents::of(&self.dir)?;
        let mut printer = Printer::new(self.json);
        let tell = &mut |finding: &Finding| printer.finding(finding);
        let (checked, salvaged) = match &self.salvage {
            None => (check(&contents, tell)?, None),
            Some(path) => {
                let (checked, salvaged) = salvage(&contents, path, tell)?;
                (checked, Some(salvaged))
            }
        };
        let text = format!("{}: {checked}", contents.path().display());
        printer.line(text, || {
            json!({"kind": "sum", "sound": checked.damage == 0, "counted": checked, "salvaged": salvaged})
        });
        if let Some(salvaged) = &salvaged {
            let (folder, count) = (salvaged.folder.display(), salvaged.observations);
            printer.text(format!("salvaged: {count} observations into {folder}"));
            for name in &salvaged.renamed {
                printer.text(format!(
                    "salvaged: a space whose own record is lost, as {name}, compared by the cosine"
                ));
            }
        } else if checked.damage > checked.damaged_checkpoints {
            let dir = contents.path().display();
            printer.text(format!("mend: engram check {dir} --salvage NEW_DIR"));
        }
        if checked.damaged_checkpoints > 0 {
            printer.text(
                "mend: remove the damaged checkpoints, or start the server: it leaves them aside, and makes new ones"
                    .to_owned(),
            );
        }
        printer.end()?;
        match checked.damage {
            0 => Ok(()),
            _ => Err(CommandFault::Damaged(contents.path().to_owned())),
        }
    }
}

impl Inspect {
    /// Prints.
    pub fn run(self) -> Result<(), CommandFault> {
        let contents = Contents::of(&self.dir)?;
        let is_there = |segment| contents.chain().links.iter().any(|link| link.segment == segment);
        if let Some(segment) = self.segment.filter(|segment| !is_there(*segment)) {
            return Err(CommandFault::NoSegment(segment));
        }
        let records = if self.segment.is_some() { RECORDS_PRINTED } else { 0 };
        let limit = self.limit.unwrap_or(records);
        let Inspect { segment, counted, json, .. } = self;
        let asked = Inspected { segment, counted, limit, json };
        let mut out = BufWriter::new(io::stdout().lock());
        let done = inspect(&contents, asked, &mut out)?;
        ended(done.and_then(|()| out.flush()))
    }
}

impl Backup {
    /// Copies and checks.
    pub fn run(self) -> Result<(), CommandFault> {
        let contents = Contents::of(&self.data_dir)?;
        let mut printer = Printer::new(self.json);
        let (taken, checked) =
            backup(&contents, &self.dest, &mut |finding| printer.finding(finding))?;
        let text = format!(
            "{}: {checked}; {} segments linked, {} copied ({} bytes), {} checkpoints",
            self.dest.display(),
            taken.linked,
            taken.copied,
            taken.copied_bytes,
            taken.checkpoints
        );
        printer.line(text, || {
            json!({"kind": "sum", "sound": checked.damage == 0, "counted": checked, "taken": taken})
        });
        printer.end()?;
        match checked.damage {
            0 => Ok(()),
            _ => Err(CommandFault::NoBackup(contents.path().to_owned())),
        }
    }
}

impl Restore {
    /// Copies and checks.
    pub fn run(self) -> Result<(), CommandFault> {
        let contents = Contents::of(&self.src)?;
        let mut printer = Printer::new(self.json);
        let checked = restore(&contents, &self.dir, &mut |finding| printer.finding(finding))?;
        let text = format!("{}: {checked}", self.dir.display());
        printer.line(
            text,
            || json!({"kind": "sum", "sound": checked.damage == 0, "counted": checked}),
        );
        printer.end()?;
        match checked.damage {
            0 => Ok(()),
            _ => Err(CommandFault::NotRestored(self.src)),
        }
    }
}

/// Prints findings as they come.
struct Printer {
    json: bool,
    done: io::Result<()>,
}

impl Printer {
    fn new(json: bool) -> Printer {
        Printer { json, done: Ok(()) }
    }

    fn finding(&mut self, finding: &Finding) {
        self.line(finding.to_string(), || json!(finding));
    }

    fn line(&mut self, text: String, value: impl FnOnce() -> serde_json::Value) {
        if self.done.is_ok() {
            let text = if self.json { value().to_string() } else { text };
            self.done = writeln!(io::stdout(), "{text}");
        }
    }

    /// A line for people alone.
    fn text(&mut self, text: String) {
        if !self.json && self.done.is_ok() {
            self.done = writeln!(io::stdout(), "{text}");
        }
    }

    fn end(self) -> Result<(), CommandFault> {
        ended(self.done)
    }
}

/// Whoever reads may stop before the end.
fn ended(done: io::Result<()>) -> Result<(), CommandFault> {
    match done {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CommandFault::Output(error)),
        _ => Ok(()),
    }
}
