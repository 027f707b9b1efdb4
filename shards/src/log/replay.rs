//! Reads logs back, and tells a torn tail from corruption.
//!
//! A segment's head, synced before anything is written behind it, states where its log ended before. So the heads alone
//! link the segments that count; those in between are dead. In each of them:
//! - below the position that is known to have been synced (the next segment states it, and each batch does for what lies
//!   before it) everything must be as it was written, else the log is *corrupt*;
//! - a whole batch above it is *unproven*: it may have been acked, or never have reached the disk but for its cache;
//! - anything else is a *torn* tail, the rest of a write that no one was told of, and is cut.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

pub use crate::log::chain::LogFault;
pub use crate::log::walk::Replayed;

use crate::ids::{Location, LogId, SegmentId, Time};
use crate::limits::LOG_BLOCK_BYTES;
use crate::log::chain::{Chain, HEAD_FAULT, LastSegment, Link};
use crate::log::log::LogStart;
use crate::log::segment::{LogEnd, SegmentHead};
use crate::log::summary::Summary;
use crate::log::walk::{Found, Walk, end_of, highest_synced};

/// What a whole replay found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayEnd {
    /// Where each log goes on.
    logs: BTreeMap<LogId, LogStart>,
    /// The latest commit time seen.
    pub committed_at: Time,
    /// Segments that count for nothing and may be removed.
    pub empty: Vec<SegmentId>,
    /// The heads of all segments that count.
    heads: Vec<SegmentHead>,
    /// What those hold that were read.
    summaries: BTreeMap<SegmentId, Summary>,
}

impl ReplayEnd {
    /// The heads of the segments of `log` that count.
    pub fn heads_of(&self, log: LogId) -> impl Iterator<Item = SegmentHead> + '_ {
        self.heads.iter().copied().filter(move |head| head.segment.log == log)
    }

    /// The segments that count and were not emptied.
    pub fn whole(&self) -> impl Iterator<Item = SegmentId> + '_ {
        let whole = self.heads.iter().filter(|head| !head.is_emptied());
        whole.map(|head| head.segment)
    }

    /// What a segment holds, if it was read.
    pub fn take_summary(&mut self, segment: SegmentId) -> Option<Summary> {
        self.summaries.remove(&segment)
    }

    /// The same of all segments of `log` that are left.
    pub fn take_summaries(&mut self, log: impl Fn(LogId) -> bool) -> Vec<Summary> {
        let of_logs = self.summaries.extract_if(.., |segment, _| log(segment.log));
        of_logs.map(|(_, summary)| summary).collect()
    }

    /// Up to where each log is known to be synced, if it has a segment that counts.
    pub fn synced(&self) -> impl Iterator<Item = (SegmentId, u32)> {
        let ends = self.logs.iter().filter(|(_, start)| start.end.number > 0);
        ends.map(|(log, LogStart { end, .. })| {
            (SegmentId { log: *log, number: end.number }, end.synced)
        })
    }

    /// Whether a log goes as far as this offset in a segment, or did before it was emptied. One that has the segment goes to
    /// the end of its head, whether or not anything behind it counts.
    pub fn reaches(&self, segment: SegmentId, offset: u32) -> bool {
        let is_emptied = |head: &SegmentHead| {
            let other = head.segment;
            head.is_emptied() && other.log == segment.log && other.number >= segment.number
        };
        self.logs.get(&segment.log).is_some_and(|LogStart { end, next_segment, .. }| {
            let has_it = segment.number < *next_segment;
            (end.number, end.live) >= (segment.number, offset)
                || has_it && offset <= LOG_BLOCK_BYTES
                || self.heads.iter().any(is_emptied)
        })
    }

    /// Where a log ends; in the segment of number 0 where none of it counts.
    pub fn end_of(&self, log: LogId) -> (SegmentId, u32) {
        let end = self.logs.get(&log).map_or(LogEnd::NONE, |start| start.end);
        (SegmentId { log, number: end.number }, end.live)
    }

    /// Where `log` goes on. Commit times go on after the latest of all logs, as stripes may have changed their owner.
    pub fn start_of(&self, log: LogId) -> LogStart {
        let start = self.logs.get(&log).copied().unwrap_or(LogStart::NEW);
        if planted!(CommitTimesRestart) {
            return start;
        }
        LogStart { committed_at: self.committed_at, ..start }
    }
}

/// How much of each segment's file [`Replay::new`] wants.
pub const HEAD_BYTES: usize = LOG_BLOCK_BYTES as usize;

/// Reads logs back: first the heads of all their segments, then each segment whole, in the order it asks for.
#[derive(Debug)]
pub struct Replay {
    logs: BTreeMap<LogId, LogStart>,
    committed_at: Time,
    empty: Vec<SegmentId>,
    /// Segments yet to be read, the next one last.
    waiting: Vec<Link>,
    heads: Vec<SegmentHead>,
    /// What those hold that were read.
    summaries: BTreeMap<SegmentId, Summary>,
}

impl Replay {
    /// `heads` holds for every segment file its first [`HEAD_BYTES`] (fewer where the file is shorter).
    pub fn new(heads: &[(SegmentId, Vec<u8>)]) -> Result<Replay, LogFault> {
        let Chain { links, emptied, dead, faults, logs } = Chain::new(heads);
        if let Some(fault) = faults.into_iter().next() {
            return Err(fault);
        }
        let start = |last: LastSegment| LogStart {
            next_segment: last.number.saturating_add(1),
            // Until its last segment has given a batch, the log ends where that segment says.
            end: last.earlier,
            committed_at: Time(0),
        };
        let logs = logs.into_iter().map(|(log, last)| (log, start(last))).collect();
        let heads = links.iter().filter_map(|link| link.head).chain(emptied).collect();
        let (committed_at, summaries) = (Time(0), BTreeMap::new());
        Ok(Replay { logs, committed_at, empty: dead, waiting: links, heads, summaries })
    }

    /// Leaves out segments of which a summary is at hand, if `is_covered` says so: the last one of a log is always read.
    pub fn leave_out(
        &mut self,
        summaries: &[(SegmentId, Vec<u8>)],
        is_covered: impl Fn(&Summary) -> bool,
    ) {
        let Replay { waiting, committed_at, .. } = self;
        waiting.retain(|link| {
            let summary = || {
                let head = link.head.as_ref().filter(|_| link.end.is_some())?;
                let place = summaries.binary_search_by_key(&link.segment, |(segment, _)| *segment);
                Summary::decode(&summaries[place.ok()?].1, head)
            };
            let Some(summary) = summary() else { return true };
            let is_left_out = is_covered(&summary);
            if is_left_out {
                *committed_at = summary.committed_at.max(*committed_at);
            }
            !is_left_out
        });
    }

    /// The segment to be given next; changes with `handle_segment`.
    pub fn next(&self) -> Option<SegmentId> {
        self.waiting.last().map(|waiting| waiting.segment)
    }

    /// Takes the whole segment `next()` and visits its records in order. After a fault the replay is over.
    pub fn handle_segment(
        &mut self,
        bytes: &[u8],
        visit: &mut dyn FnMut(Replayed<'_>),
    ) -> Result<(), LogFault> {
        let Link { segment, head, end } = self.waiting.pop().expect("a segment was asked for");
        let mut source = bytes;
        let Some(head) = head else {
            // A batch behind a damaged head: the head was whole when it was written.
            if highest_synced(&mut source, segment, None).is_some() {
                return Err(LogFault::Corrupt { segment, offset: 0, what: HEAD_FAULT });
            }
            self.empty.push(segment);
            return Ok(());
        };
        let known = end_of(&mut source, &head, end);
        let mut summary = Summary::new(segment, head.incarnation);
        let mut fault = None;
        let found = Walk::new(&mut source, &head, known).run(&mut |found| match found {
            Found::Batch(_) => ControlFlow::Continue(()),
            Found::Record(record) => {
                let Location { offset, bytes, .. } = record.location;
                summary.note(record.head.stripe, offset + bytes, record.committed_at);
                visit(record);
                ControlFlow::Continue(())
            }
            Found::Damage { offset, what } => {
                fault = Some(LogFault::Corrupt { segment, offset, what });
                ControlFlow::Break(())
            }
        });
        if let Some(fault) = fault {
            return Err(fault);
        }
        self.committed_at = self.committed_at.max(found.committed_at);
        self.summaries.insert(segment, summary);
        if end.is_none() && found.end.live > LOG_BLOCK_BYTES {
            let log = self.logs.get_mut(&segment.log).expect("the log of a segment asked for");
            log.end = found.end;
        }
        Ok(())
    }

    /// Ends the replay, once `next()` is `None`.
    pub fn finish(self) -> ReplayEnd {
        assert!(self.waiting.is_empty(), "all segments were given");
        let Replay { logs, committed_at, empty, heads, summaries, .. } = self;
        ReplayEnd { logs, committed_at, empty, heads, summaries }
    }
}
