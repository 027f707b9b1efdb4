//! Checkpoints, heads, batches and records, for a person or a program to read.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

use engram_shards::checkpoint::head::{Head, LogPosition};
use engram_shards::checkpoint::layout::file_bytes;
use engram_shards::checkpoint::reading::CheckedHead;
use engram_shards::ids::{LogId, SegmentId, SessionId, Time};
use engram_shards::log::chain::Link;
use engram_shards::log::counting::Counting;
use engram_shards::log::ranges::Ranges;
use engram_shards::log::record::{
    RecordKind, decode_body, decode_cancelled, decode_forgotten, decode_gone, decode_space,
};
use engram_shards::log::walk::{Found, Replayed, WholeBatch};
use serde_json::{Value, json};
use uuid::Uuid;

use super::checkpoint_file::Fault;
use super::contents::{Checkpoint, Contents};
use crate::folder::FolderError;

/// What is to be printed.
#[derive(Clone, Copy, Debug)]
pub struct Inspected {
    /// One segment with its batches and records; none: all heads.
    pub segment: Option<SegmentId>,
    /// How much of each segment counts: all of them are read for it.
    pub counted: bool,
    /// The most records printed of a segment.
    pub limit: u64,
    /// One JSON object a line, in place of text.
    pub json: bool,
}

/// Characters of a text that are printed for a person.
const TEXT_CHARS: usize = 60;

/// Prints what a folder holds. The inner result is that of writing.
pub fn inspect(
    contents: &Contents,
    asked: Inspected,
    out: &mut dyn Write,
) -> Result<io::Result<()>, FolderError> {
    let counted = if asked.counted { Some(count(contents)?) } else { None };
    let mut lines = Lines { out, json: asked.json, counted, done: Ok(()) };
    if asked.segment.is_none() {
        lines.folder(contents);
        contents.checkpoints().iter().for_each(|checkpoint| lines.checkpoint(contents, checkpoint));
    }
    for link in &contents.chain().links {
        if asked.segment.is_some_and(|segment| segment != link.segment) {
            continue;
        }
        lines.segment(contents, link)?;
        lines.records(contents, link, asked.limit)?;
        if lines.done.is_err() {
            break;
        }
    }
    if asked.segment.is_none() {
        for head in &contents.chain().emptied {
            let (file, earlier) = (contents.file(head.segment), head.earlier.number);
            let text =
                format!("segment {} was emptied; segment {earlier} comes before", file.display());
            lines.line(
                text,
                || json!({"kind": "emptied_segment", "file": file, "earlier_number": earlier}),
            );
        }
        for segment in &contents.chain().dead {
            let file = contents.file(*segment);
            let text = format!("segment {} counts for nothing", file.display());
            lines.line(text, || json!({"kind": "dead_segment", "file": file}));
        }
    }
    Ok(lines.done)
}

/// Bytes that count, by segment, as far as the records tell that can be read.
fn count(contents: &Contents) -> Result<BTreeMap<SegmentId, u64>, FolderError> {
    let mut counting = Counting::default();
    for link in &contents.chain().links {
        contents.walk(link, &mut |found| {
            if let Found::Record(record) = found {
                counting.take(&record);
            }
            ControlFlow::Continue(())
        })?;
    }
    Ok(counting.bytes())
}

/// Reads `LOG/NUMBER`, as the files are named or without the zeros.
pub fn segment_of(text: &str) -> Result<SegmentId, String> {
    let parsed = text.split_once('/').and_then(|(log, number)| {
        let number = number.strip_suffix(".seg").unwrap_or(number);
        Some(SegmentId { log: LogId(log.parse().ok()?), number: number.parse().ok()? })
    });
    parsed.ok_or_else(|| "is not LOG/NUMBER, such as 0/1".to_owned())
}

struct Lines<'a> {
    out: &'a mut dyn Write,
    json: bool,
    counted: Option<BTreeMap<SegmentId, u64>>,
    done: io::Result<()>,
}

impl Lines<'_> {
    fn line(&mut self, text: String, value: impl FnOnce() -> Value) {
        if self.done.is_ok() {
            self.done = match self.json {
                true => writeln!(self.out, "{}", value()),
                false => writeln!(self.out, "{text}"),
            };
        }
    }

    fn folder(&mut self, contents: &Contents) {
        let path = contents.path();
        let (id, taken_at) = match (contents.identity(), contents.backup()) {
            (Ok(identity), backup) => (identity.id.to_string(), backup.map(|b| b.taken_at)),
            (Err(error), _) => (format!("unknown: {error}"), None),
        };
        let what = match taken_at {
            Some(taken_at) => format!("backup of {}", time(taken_at)),
            None => "data folder".to_owned(),
        };
        let text = format!("{what} {} (folder {id})", path.display());
        let taken_at = taken_at.map(time);
        self.line(
            text,
            || json!({"kind": "folder", "path": path, "id": id, "backup_taken_at": taken_at}),
        );
    }

    fn checkpoint(&mut self, contents: &Contents, checkpoint: &Checkpoint) {
        let Checkpoint { stripe, head } = checkpoint;
        let file = contents.checkpoint_file(*stripe);
        let (space, number) = (format!("{:016x}", stripe.space.0), stripe.stripe);
        let head = match head.as_ref().map(CheckedHead::head) {
            Ok(head) => head,
            Err(Fault { what, .. }) => {
                let text = format!("checkpoint {} cannot be used: {what}", file.display());
                self.line(text, || json!({"kind": "checkpoint", "file": file, "damaged": what}));
                return;
            }
        };
        let Head { generation, taken_at, sessions, waiting, shape, .. } = head;
        let bytes = file_bytes(head);
        let text = format!(
            "checkpoint {} space {space}/{number}: {} rows in the graph and {waiting} outside, {sessions} sessions, up to \
             generation {}; {bytes} bytes, of {}",
            file.display(),
            shape.nodes,
            generation.0,
            time(*taken_at)
        );
        let covered = || {
            let position = |position: &LogPosition| {
                let LogPosition { segment, offset } = *position;
                json!({"log": segment.log.0, "number": segment.number, "offset": offset})
            };
            head.covered.iter().map(position).collect::<Vec<_>>()
        };
        self.line(text, || {
            json!({
                "kind": "checkpoint", "file": file, "space": space, "stripe": number, "bytes": bytes,
                "taken_at": time(*taken_at), "generation": generation.0, "dimension": head.dimension,
                "nodes": shape.nodes, "upper_nodes": shape.upper, "waiting": waiting, "sessions": sessions,
                "covered": covered(), "read_at_start": true,
            })
        });
    }

    fn segment(&mut self, contents: &Contents, link: &Link) -> Result<(), FolderError> {
        let file = contents.file(link.segment);
        let Some(head) = link.head else {
            let text = format!("segment {} has no sound head", file.display());
            self.line(text, || json!({"kind": "segment", "file": file, "head": null}));
            return Ok(());
        };
        let synced = contents.end_of(link)?.map_or(0, |end| end.synced);
        let earlier = head.earlier;
        let (log, number) = (link.segment.log.0, link.segment.number);
        let incarnation = format!("{:016x}", head.incarnation);
        let is_last = link.end.is_none();
        let read_at_start = contents.is_read_at_start(link);
        let counted = self.counted.as_ref();
        let counted = counted.map(|all| all.get(&link.segment).copied().unwrap_or(0));
        let share = |counted| 100.0 * counted as f64 / f64::from(head.bytes_total);
        let counts = |counted| format!(", {counted} bytes count ({:.1} %)", share(counted));
        let text = format!(
            "segment {} log {log} number {number}: synced to offset {synced}{}{}{}; incarnation {incarnation}; made with {} \
             shards behind segment {} (synced {}, live {})",
            file.display(),
            if is_last { ", the last of its log" } else { "" },
            if read_at_start { "" } else { ", all of it in checkpoints" },
            counted.map(counts).unwrap_or_default(),
            head.shards,
            earlier.number,
            earlier.synced,
            earlier.live
        );
        self.line(text, || {
            json!({
                "kind": "segment", "file": file, "log": log, "number": number, "last": is_last, "synced": synced,
                "read_at_start": read_at_start, "bytes_counted": counted,
                "head": {
                    "shards": head.shards, "bytes_total": head.bytes_total, "incarnation": incarnation,
                    "earlier_number": earlier.number, "earlier_synced": earlier.synced,
                    "earlier_live": earlier.live,
                },
            })
        });
        Ok(())
    }

    /// Batches and records until `limit` of these were printed.
    fn records(&mut self, contents: &Contents, link: &Link, limit: u64) -> Result<(), FolderError> {
        let mut left = limit;
        if left == 0 {
            return Ok(());
        }
        contents.walk(link, &mut |found| {
            match found {
                Found::Batch(_) if left == 0 => return ControlFlow::Break(()),
                Found::Record(_) if left == 0 => {}
                Found::Batch(batch) => self.batch(&batch),
                Found::Record(record) => {
                    left -= 1;
                    self.record(&record);
                }
                Found::Damage { offset, what } => {
                    let text = format!("  damaged at offset {offset}: {what}");
                    self.line(text, || json!({"kind": "damaged", "offset": offset, "what": what}));
                }
            }
            if self.done.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(())
    }

    fn batch(&mut self, batch: &WholeBatch) {
        let WholeBatch { offset, bytes, record_count, committed_at, synced, proven } = *batch;
        let text = format!(
            "  batch at offset {offset}: {record_count} records, {bytes} bytes, committed {}{}",
            time(committed_at),
            if proven { "" } else { ", unproven" }
        );
        self.line(text, || {
            json!({
                "kind": "batch", "offset": offset, "bytes": bytes, "records": record_count,
                "committed_at": time(committed_at), "synced": synced, "proven": proven,
            })
        });
    }

    fn record(&mut self, record: &Replayed<'_>) {
        let (head, location) = (&record.head, record.location);
        let (body_text, body) = body_of(record);
        let space = format!("{:016x}", head.stripe.space.0);
        let session = (head.session != SessionId::NONE).then(|| Uuid::from_u128(head.session.0));
        let kind = match head.kind {
            RecordKind::Observation => "observation",
            RecordKind::Space => "space",
            RecordKind::Session => "session",
            RecordKind::Tombstone => "tombstone",
            RecordKind::Suppression => "suppression",
            RecordKind::Cancellation => "cancellation",
            RecordKind::Mark => "mark",
            RecordKind::Gone => "gone",
        };
        let of_session = session.map(|id| format!(" session {id} #{}", head.sequence));
        let text = format!(
            "    {kind} at offset {}: space {space}/{} generation {}{}{body_text}",
            location.offset,
            head.stripe.stripe,
            head.generation.0,
            of_session.unwrap_or_default(),
        );
        self.line(text, || {
            json!({
                "kind": kind, "offset": location.offset, "bytes": location.bytes, "space": space,
                "stripe": head.stripe.stripe, "generation": head.generation.0,
                "session": session.map(|id| id.to_string()), "sequence": head.sequence,
                "memory_hash": format!("{:016x}", head.memory_hash),
                "received_at": time(head.received_at), "committed_at": time(record.committed_at),
                "proven": record.proven, "body": body,
            })
        });
    }
}

/// What a record says: for a person, and for a program.
fn body_of(record: &Replayed<'_>) -> (String, Value) {
    let bad = || (" (its body cannot be read)".to_owned(), Value::Null);
    match record.head.kind {
        RecordKind::Session | RecordKind::Mark => (String::new(), Value::Null),
        RecordKind::Tombstone | RecordKind::Suppression => decode_forgotten(record.body)
            .map_or_else(|_| bad(), |id| (format!(" {id}"), json!({"id": id}))),
        RecordKind::Cancellation => decode_cancelled(record.body).map_or_else(
            |_| bad(),
            |cancelled| {
                let generations: Vec<u64> = cancelled.iter().map(|one| one.0).collect();
                let text = format!(" generations {generations:?}");
                (text, json!({"generations": generations}))
            },
        ),
        RecordKind::Gone => {
            let mut gone = Ranges::default();
            match decode_gone(record.body, &mut gone) {
                Ok(()) => {
                    let text = format!(" {} generations in {} runs", gone.len(), gone.len_runs());
                    (text, json!({"runs": gone.runs().collect::<Vec<_>>()}))
                }
                Err(_) => bad(),
            }
        }
        RecordKind::Space => decode_space(record.body).map_or_else(
            |_| bad(),
            |space| {
                let metric = format!("{:?}", space.metric).to_lowercase();
                let text = format!(" {} dimension {} {metric}", space.name, space.dimension);
                let value = json!({
                    "name": space.name, "dimension": space.dimension, "metric": metric, "stripes": space.stripes,
                });
                (text, value)
            },
        ),
        RecordKind::Observation => decode_body(record.body).map_or_else(
            |_| bad(),
            |observation| {
                let dimension = observation.embedding.dimension();
                let short: String = observation.what.chars().take(TEXT_CHARS).collect();
                let text = format!(" {} dimension {dimension} {short:?}", observation.id);
                let value = json!({
                    "id": observation.id, "what": observation.what, "dimension": dimension,
                    "where": observation.place, "who": observation.who, "tags": observation.tags,
                });
                (text, value)
            },
        ),
    }
}

fn time(time: Time) -> String {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(time.0));
    time.map_or_else(String::new, |time| humantime::format_rfc3339_micros(time).to_string())
}
