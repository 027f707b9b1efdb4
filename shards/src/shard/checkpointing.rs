//! Checkpoints of a shard's stripes: begun, written part by part, kept.
//!
//! ```text
//!  records ─► uncovered bytes ─► due ─► create ─► parts, paced ─► sync ─► keep (rename) ─► covered
//!                                                  │ the graph stands still until its nodes are written
//! ```
//! One is written at a time. Its graph stands still for the first fifth of it: rows that come meanwhile wait in the tail,
//! where recalls find them. While the rest is written, slots of rows that leave the graph are not used again.

use crate::checkpoint::due::{Extent, Records};
use crate::checkpoint::head::LogPosition;
use crate::checkpoint::writing::{Part, Writing};
use crate::ids::{Slot, StripeKey};
use crate::limits::{
    CHECKPOINT_LAYERS_MAX, CHECKPOINT_LOGS_MAX, CHECKPOINT_PAUSE_MICROS, CHECKPOINT_RETRY_MICROS,
    CHECKPOINT_SYNC_BYTES,
};
use crate::log::log::IoFault;
use crate::log::replay::ReplayEnd;
use crate::log::summary::Summary;
use crate::shard::checkpoints::{Running, Step, Uncovered};
use crate::shard::engine::Shard;
use crate::shard::io::{Io, IoTicket, Output};

/// Where a server stops, a stripe gets a checkpoint if one in so many of its rows was linked, or linked anew, since the
/// last one: that took seconds for each hundred thousand.
const LINKED_SHARE: u64 = 16;

impl Shard {
    /// Up to where the logs were synced that were replayed, and what those segments hold that were read and are written no
    /// more.
    pub(super) fn note_logs(&mut self, end: &mut ReplayEnd) {
        let (own, shards) = (self.config.log, self.config.shards);
        let others = end.synced().filter(|(segment, _)| segment.log != own);
        let position = |(segment, offset)| LogPosition { segment, offset };
        self.checkpoints.others = others.map(position).collect();
        let lasts: Vec<_> = end.synced().map(|(segment, _)| segment).collect();
        // One shard writes those of each log: its own, and of logs that no shard has any more, some.
        let summaries = end.take_summaries(|log| log.0 % shards == own.0);
        let is_last = |summary: &Summary| lasts.contains(&summary.segment);
        self.checkpoints.summaries.extend(summaries.into_iter().filter(|one| !is_last(one)));
    }

    /// A record of a stripe goes to the log, or was replayed and is not covered.
    pub(super) fn note_uncovered(&mut self, stripe: StripeKey, bytes: u64) {
        if let Some(&slot) = self.slots.get(&stripe) {
            self.checkpoints.note(slot, Records { count: 1, bytes });
        }
    }

    /// A stripe was loaded from a checkpoint of this length, and these records were replayed on top of it.
    pub(super) fn note_loaded(&mut self, slot: Slot, checkpoint_bytes: u64, replayed: Records) {
        let linked = self.stripes[slot.0].ever_linked();
        let uncovered = self.checkpoints.of(slot);
        (uncovered.kept_bytes, uncovered.linked) = (checkpoint_bytes, linked);
        self.checkpoints.kept_bytes += checkpoint_bytes;
        if replayed.count > 0 {
            self.checkpoints.note(slot, replayed);
            self.consider_checkpoint(slot);
        }
    }

    /// Rows of a stripe became durable: its checkpoint may be due now, or that of the stripe with the oldest records.
    pub(super) fn consider_checkpoint(&mut self, slot: Slot) {
        let limits = self.config.checkpoints;
        let uncovered = *self.checkpoints.of(slot);
        let (rows, bytes) = self.stripes[slot.0].checkpoint_size();
        let extent = Extent { rows, bytes };
        if !uncovered.is_due && limits.is_due(uncovered.records, extent) {
            self.checkpoints.make_due(slot);
        }
        let kept_bytes = self.checkpoints.kept_bytes;
        if let Some((slot, behind)) = self.checkpoints.oldest()
            && limits.is_old(behind, kept_bytes)
        {
            self.checkpoints.make_due(slot);
        }
    }

    /// The server stops: stripes that a restart would replay much of are due.
    pub(super) fn drain_checkpoints(&mut self) {
        if std::mem::replace(&mut self.checkpoints.draining, true) {
            return;
        }
        self.checkpoints.retry_at = None;
        if let Some(running) = &mut self.checkpoints.running {
            running.next_at = self.now;
        }
        for slot in (0..self.stripes.len()).map(Slot) {
            let least = self.config.checkpoints.records_bytes_min;
            let Uncovered { records, linked, .. } = *self.checkpoints.of(slot);
            let stripe = &self.stripes[slot.0];
            let linked = stripe.ever_linked().saturating_sub(linked);
            let nodes = u64::from(stripe.rows().index().nodes());
            let is_linked_anew = linked > 0 && linked >= nodes / LINKED_SHARE;
            if records.bytes >= least || is_linked_anew && least < u64::MAX {
                self.checkpoints.make_due(slot);
            }
        }
    }

    /// What is next to be written of checkpoints and summaries.
    pub(super) fn poll_checkpoint(&mut self) -> Option<Output> {
        self.checkpoints.summaries.extend(std::iter::from_fn(|| self.log.take_sealed()));
        if let Some(summary) = self.checkpoints.summaries.pop_front() {
            let (segment, bytes) = (summary.segment, summary.encode());
            let ticket = self.ticket();
            self.checkpoints.summary_tickets.insert(ticket);
            return Some(Output::Io(ticket, Io::WriteSummary { segment, bytes }));
        }
        if self.checkpoints.running.is_none() {
            self.begin_checkpoint();
        }
        let running = self.checkpoints.running.as_mut()?;
        if running.ticket.is_some() || running.next_at > self.now {
            return None;
        }
        let stripe = running.stripe;
        let io = match running.step {
            Step::Create => {
                Io::CreateCheckpoint { stripe, bytes_total: running.writing.file_bytes() }
            }
            Step::Write => {
                let Part { offset, bytes } = running
                    .writing
                    .next(&self.stripes[running.slot.0])
                    .expect("the last part was not written yet");
                running.unsynced_bytes += bytes.len() as u64;
                let sync = running.unsynced_bytes >= CHECKPOINT_SYNC_BYTES;
                if sync {
                    running.unsynced_bytes = 0;
                }
                Io::WriteCheckpoint { stripe, offset, bytes, sync }
            }
            Step::Sync => Io::SyncCheckpoint { stripe },
            Step::Keep => Io::KeepCheckpoint { stripe },
        };
        if running.is_still && !running.writing.stands_still() {
            running.is_still = false;
            let slot = running.slot;
            self.go_on(slot);
        }
        let ticket = self.ticket();
        self.checkpoints.running.as_mut().expect("it runs").ticket = Some(ticket);
        Some(Output::Io(ticket, io))
    }

    /// Whether this I/O was one of a checkpoint or summary; then it is settled.
    pub(super) fn settle_checkpoint_io(
        &mut self,
        ticket: IoTicket,
        result: Result<(), IoFault>,
    ) -> bool {
        if self.checkpoints.summary_tickets.remove(&ticket) {
            return true;
        }
        let now = self.now;
        let draining = self.checkpoints.draining;
        let Some(running) =
            self.checkpoints.running.as_mut().filter(|running| running.ticket == Some(ticket))
        else {
            return false;
        };
        running.ticket = None;
        if result.is_err() && !planted!(CheckpointFailureIgnored) {
            self.give_checkpoint_up();
            return true;
        }
        let pauses = running.step == Step::Write && !running.is_still && !draining;
        running.next_at = now.after_micros(if pauses { CHECKPOINT_PAUSE_MICROS } else { 0 });
        running.step = match running.step {
            Step::Create | Step::Write if running.writing.is_left() => Step::Write,
            Step::Create | Step::Write if planted!(CheckpointUnsynced) => Step::Keep,
            Step::Create | Step::Write => Step::Sync,
            Step::Sync => Step::Keep,
            Step::Keep => {
                self.keep_checkpoint();
                return true;
            }
        };
        true
    }

    fn begin_checkpoint(&mut self) {
        let checkpoints = &mut self.checkpoints;
        if checkpoints.due.is_empty() || checkpoints.retry_at.is_some_and(|at| at > self.now) {
            return;
        }
        checkpoints.retry_at = None;
        // What nobody vouches for lies before positions that a checkpoint would cover, and would not be in it.
        if !self.unproven.is_empty() || !self.loading.is_empty() {
            return;
        }
        let Some(slot) = checkpoints.due.pop_front() else { return };
        checkpoints.of(slot).is_due = false;
        let covered = self.covered();
        let stripe = &mut self.stripes[slot.0];
        let layers = stripe.rows().index().shape().upper.len();
        if covered.len() > CHECKPOINT_LOGS_MAX || layers > CHECKPOINT_LAYERS_MAX {
            return;
        }
        if !stripe.withheld().is_empty() {
            // A record that lies before the end of the log says that rows are forgotten which are still there.
            return self.checkpoints.make_due(slot);
        }
        let reading = stripe.begin_reading();
        let key = stripe.key();
        let sessions = self.sessions.of_stripe(key);
        let writing = Writing::new(stripe, sessions, covered, self.now);
        let uncovered = self.checkpoints.of(slot);
        let before = std::mem::take(&mut uncovered.records);
        uncovered.linked = stripe.ever_linked();
        // Of those that came, the last are not durable, and not in it.
        let pending = u64::from(stripe.rows().len_pending()).min(before.count);
        if pending > 0 {
            let bytes = before.bytes / before.count * pending;
            self.checkpoints.logged_bytes -= bytes;
            self.checkpoints.note(slot, Records { count: pending, bytes });
        }
        self.rotation.remove(slot);
        self.restless.remove(slot);
        self.checkpoints.running = Some(Running {
            slot,
            stripe: key,
            writing,
            reading,
            step: Step::Create,
            ticket: None,
            next_at: self.now,
            unsynced_bytes: 0,
            is_still: true,
            before,
        });
    }

    /// The positions before which all records of this shard's stripes are durable, and nothing else is.
    fn covered(&self) -> Vec<LogPosition> {
        let mut covered = self.checkpoints.others.clone();
        let (segment, offset) = self.log.durable_end();
        if segment.number > 0 {
            let offset = if planted!(CoveredTooFar) { u32::MAX } else { offset };
            covered.push(LogPosition { segment, offset });
        }
        covered.sort_unstable();
        covered
    }

    /// The graph of a stripe may change again.
    fn go_on(&mut self, slot: Slot) {
        if self.stripes[slot.0].is_overlong() {
            self.rotation.enter(slot);
        }
        self.keep_up_with(slot);
    }

    /// The checkpoint that was being written is on the disk.
    fn keep_checkpoint(&mut self) {
        let Some(running) = self.checkpoints.running.take() else { return };
        let Running { slot, reading, writing, .. } = running;
        self.stripes[slot.0].end_reading(reading);
        let bytes = writing.file_bytes();
        let uncovered = self.checkpoints.of(slot);
        let before = std::mem::replace(&mut uncovered.kept_bytes, bytes);
        self.checkpoints.kept_bytes = self.checkpoints.kept_bytes - before + bytes;
        self.tally.checkpoints += 1;
        self.tally.checkpoint_bytes += bytes;
        // As much may have come meanwhile that the next one is due.
        self.consider_checkpoint(slot);
    }

    /// The checkpoint that was being written failed; the one before stays. It is tried again some time later.
    fn give_checkpoint_up(&mut self) {
        let Some(running) = self.checkpoints.running.take() else { return };
        let Running { slot, reading, before, is_still, .. } = running;
        self.stripes[slot.0].end_reading(reading);
        self.tally.checkpoint_failures += 1;
        self.checkpoints.retry_at = Some(self.now.after_micros(CHECKPOINT_RETRY_MICROS));
        self.checkpoints.note(slot, before);
        self.checkpoints.make_due(slot);
        if is_still {
            self.go_on(slot);
        }
    }
}
