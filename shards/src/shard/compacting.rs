//! Segments that are mostly dead: what counts is copied to the open end of the log, and then only the head is left.
//!
//! ```text
//!  Rows ⇄ Reading ─► copies ─► Sessions ─► marks ─► Stripes ─► spaces, what is gone ─► Readers ─► Emptying ─► the next
//! ```
//! A step waits until the pace asks for it, and what it writes goes with others' next commit. A copy has its observation's
//! generation, so a replay that finds both takes them for one. A row's place changes once the
//! copy is durable, and the segments go once nothing in them counts and nobody reads there.
//!
//! Tombstones are not carried: once their rows are gone, the list of all generations that are gone says so, and a list is
//! durable before any segment goes. So a record that lies in an older segment cannot come back, nor a row of an older
//! checkpoint: the list lies behind all that the checkpoint covers, or the rows were gone when it was begun.

use std::collections::BTreeSet;

use crate::ids::{Generation, Location, LogId, Row, SegmentId, SessionId, Slot, Time};
use crate::limits::{
    COMPACTION_LISTS_SHARE, COMPACTION_STEP_GENERATIONS, COMPACTION_STEP_ROWS,
    COMPACTION_STEP_SESSIONS, COMPACTION_STEP_STRIPES, LOG_SEGMENT_BYTES,
};
use crate::log::log::IoFault;
use crate::log::record::{
    self, Body, GONE_RUN_BYTES, RecordHead, RecordKind, decode_body, encode_copy, encode_forgotten,
    encode_gone_behind, encode_space, read_body,
};
use crate::log::segments::Segments;
use crate::session::SessionKey;
use crate::shard::compaction::{Job, Step, WORTH_BYTES};
use crate::shard::engine::Shard;
use crate::shard::io::{Io, IoOutput, IoTicket, Output};
use crate::shard::pace::latest_begin;
use crate::shard::pending::{Carried, Carrying, JobNumber, Pending};
use crate::shard::turns::RecallNumber;
use crate::shard::wanted::{Unverified, Wanted};
use crate::space::{Pair, Place, Reading, Stripe, Told};

impl Shard {
    /// When the next step is due; changes with any input.
    pub(super) fn compaction_at(&self) -> Option<Time> {
        let may_run = self.unproven.is_empty() && self.is_loaded();
        self.compacting.next_at(self.headroom()).filter(|_| may_run)
    }

    /// What may yet be written before the log's files are too long for what counts in them.
    fn headroom(&self) -> i64 {
        self.compacting.headroom(self.config.log, self.log.claimed_bytes())
    }

    /// Gives the log what was held: a commit begins that it can go with, or it was held long enough.
    pub(super) fn release_carried(&mut self) {
        let Some(number) = self.compacting.job.as_ref().map(Job::number) else { return };
        for (head, body, carried) in self.compacting.release(self.now) {
            self.log_append(head, body, Pending::Carried(number, carried));
        }
    }

    /// Does the next step, if it is time.
    pub(super) fn compact(&mut self) {
        if self.unproven.is_empty() && self.awaits_readers() {
            self.empty_if_unread();
        }
        if self.compaction_at().is_none_or(|at| at > self.now) {
            return;
        }
        if self.compacting.is_held_enough(self.now) {
            return self.release_carried();
        }
        match self.step() {
            None => {
                self.remove_segments();
                match self.compacting.shared.is_unknown() {
                    true => self.share(),
                    false => self.begin_compaction(),
                }
            }
            Some(&Step::Rows(slot, row)) => self.look_at_rows(slot, row),
            Some(&Step::Sessions(after)) => self.look_at_sessions(after),
            Some(&Step::Stripes(slot, after)) => self.look_at_stripes(slot, after),
            Some(Step::Reading(..) | Step::Readers(..) | Step::Emptying(..)) => {
                unreachable!("it waits for others")
            }
        }
    }

    /// Whether somebody else may be what it waits for.
    pub(super) fn awaits_readers(&self) -> bool {
        matches!(self.step(), Some(Step::Readers(..)))
    }

    fn job(&mut self) -> &mut Job {
        self.compacting.job.as_mut().expect("one is under way")
    }

    fn step(&self) -> Option<&Step> {
        self.compacting.job.as_ref().map(|job| &job.step)
    }

    fn set_step(&mut self, step: Step) {
        self.job().step = step;
    }

    fn is_victim(&self, segment: SegmentId) -> bool {
        self.compacting.job.as_ref().is_some_and(|job| job.victims.contains(&segment))
    }

    /// The segments of a log.
    fn segments_of(&mut self, log: LogId) -> &mut Segments {
        match log == self.config.log {
            true => self.log.segments(),
            false => self.compacting.shared.log(log),
        }
    }

    /// Tells what counts here of segments that hold what is several shards', and asks what counts for all.
    fn share(&mut self) {
        let compacting = &self.compacting;
        let shares = compacting.shared.told(|segment| compacting.counted(segment));
        let segments = shares.iter().map(|(segment, _)| *segment).collect();
        let ticket = self.ticket();
        self.compacting.asked = Some((ticket, segments));
        self.outputs.push_back(Output::Io(ticket, Io::Share { shares }));
    }

    /// An I/O ended: whether it was that.
    pub(super) fn settle_shares(
        &mut self,
        ticket: IoTicket,
        result: &Result<IoOutput, IoFault>,
    ) -> bool {
        let asked = self.compacting.asked.take_if(|(asked, _)| *asked == ticket);
        let Some((_, segments)) = asked else { return false };
        match result {
            Ok(IoOutput::Shares(totals)) => {
                self.compacting.shared.learn(&segments, totals);
                self.compacting.consider(self.now);
            }
            _ => self.compacting.give_up(self.now),
        }
        true
    }

    /// Begins a compaction if there is one to do, unless it can wait: until then, more will be dead.
    fn begin_compaction(&mut self) {
        let headroom = self.headroom();
        if let Some(segment) = self.compacting.shared.emptiable() {
            self.compacting.begin(BTreeSet::from([segment]), 0, headroom);
            return self.empty_next();
        }
        let Some(victims) = self.pick_victims() else {
            return self.compacting.rest(self.now);
        };
        let (live, lists) = (self.compacting.live_in(&victims), self.lists_bytes());
        let is_others_too = victims.iter().any(|segment| self.compacting.shared.has(*segment));
        let is_quiet = self.compacting.is_quiet(self.now);
        let can_wait = headroom > latest_begin(live + lists) && live > 0;
        match can_wait && !is_others_too && !is_quiet {
            true => self.compacting.wait(live + lists, self.now),
            false => self.compacting.begin(victims, lists, headroom),
        }
    }

    /// Those of which least counts: as few as free enough for the lists that are to be written, and no more than there is
    /// room for, also where the disk is full.
    fn pick_victims(&self) -> Option<BTreeSet<SegmentId>> {
        let compacting = &self.compacting;
        let is_movable = |segment: &SegmentId| {
            !compacting.unreadable.contains(segment) && !self.forgetting.needs(*segment)
        };
        let own = self.log.own_sealed().map(|segment| (compacting.counted(segment), segment));
        let own =
            own.filter(|(counted, _)| *counted < WORTH_BYTES && !planted!(CompactionForgotten));
        let shared = compacting.shared.worth(WORTH_BYTES);
        let worth = own.chain(shared).filter(|(_, segment)| is_movable(segment));
        let mut worth: Vec<_> = worth.collect();
        worth.sort_unstable();
        let wanted = COMPACTION_LISTS_SHARE * self.lists_bytes();
        let room = self.log.room().saturating_sub(self.lists_bytes());
        let (mut victims, mut freed, mut copied) = (BTreeSet::new(), 0, 0);
        for (counted, segment) in &worth {
            copied += self.compacting.counted(*segment);
            if copied > room {
                break;
            }
            victims.insert(*segment);
            freed += u64::from(LOG_SEGMENT_BYTES) - counted;
            if freed >= wanted {
                return Some(victims);
            }
        }
        None
    }

    /// About as long are the lists of what is gone that were not written yet.
    fn lists_bytes(&self) -> u64 {
        let untold = self.stripes.iter().filter(|stripe| !stripe.is_gone_told());
        let runs: u64 = untold.map(|stripe| stripe.rows().gone().runs_max()).sum();
        runs * GONE_RUN_BYTES as u64
    }

    /// Reads the next rows whose records lie there, or that are suppressed by one there.
    fn look_at_rows(&mut self, slot: Slot, from: Row) {
        let Some(stripe) = self.stripes.get(slot.0) else {
            return self.set_step(Step::Sessions(None));
        };
        let bytes_max = self.compacting.step_bytes(self.headroom(), self.now);
        let rows = stripe.rows();
        let end = rows.slots().min(from.0.saturating_add(COMPACTION_STEP_ROWS));
        let (mut found, mut places) = (Vec::new(), Vec::new());
        let (mut bytes, mut next) = (0, end);
        for row in (from.0..end).map(Row) {
            if !rows.is_durable(row) || !rows.is_kept(row) {
                continue;
            }
            let location = rows.stored(row);
            let is_hidden_there = || rows.hidden_by(row).is_some_and(|by| self.is_victim(by));
            if !self.is_victim(location.segment) && !is_hidden_there() {
                continue;
            }
            found.push(Carrying { slot, row, generation: rows.generation(row) });
            places.push(location);
            bytes += u64::from(location.bytes);
            if bytes >= bytes_max {
                next = row.0 + 1;
                break;
            }
        }
        let (slot, row) = match next < rows.slots() {
            true => (slot, Row(next)),
            false => (Slot(slot.0 + 1), Row(0)),
        };
        if found.is_empty() {
            return self.set_step(Step::Rows(slot, row));
        }
        self.set_step(Step::Reading(slot, row));
        self.compacting.others_followed();
        let number = self.job().number();
        let reading = self.stripes[found[0].slot.0].begin_reading();
        self.read(Io::Read { places }, Wanted::Carried(number, found, reading));
    }

    /// The records of these rows were read, or could not be.
    pub(super) fn carry_rows(
        &mut self,
        number: JobNumber,
        rows: &[Carrying],
        reading: Reading,
        records: Result<Vec<Vec<u8>>, IoFault>,
    ) {
        self.stripes[rows[0].slot.0].end_reading(reading);
        let Some(&mut Job { step: Step::Reading(slot, row), .. }) = self.compacting.job_of(number)
        else {
            return;
        };
        let carried = records.map_err(|_| ()).and_then(|records| {
            rows.iter().zip(&records).try_for_each(|(one, record)| self.carry_row(*one, record))
        });
        match carried {
            Ok(()) => self.set_step(Step::Rows(slot, row)),
            Err(()) => self.leave_alone(rows),
        }
    }

    /// Records of these rows cannot be read: what holds them stays.
    fn leave_alone(&mut self, rows: &[Carrying]) {
        for Carrying { slot, row, .. } in rows {
            let rows = self.stripes[slot.0].rows();
            let segments = [Some(rows.stored(*row).segment), rows.hidden_by(*row)];
            self.compacting.unreadable.extend(segments.into_iter().flatten());
        }
        self.tally.unreadable += 1;
        self.compacting.give_up(self.now);
    }

    /// Copies a row's record, unless it has gone meanwhile.
    fn carry_row(&mut self, carrying: Carrying, record: &[u8]) -> Result<(), ()> {
        let Carrying { slot, row, generation } = carrying;
        let stripe = &self.stripes[slot.0];
        let rows = stripe.rows();
        if !rows.is_kept(row) || rows.generation(row) != generation {
            return Ok(());
        }
        let (location, hidden_by) = (rows.stored(row), rows.hidden_by(row));
        let (memory_hash, committed_at) = (rows.memory_hash(row), rows.committed_at(row));
        let (key, own_head) = (stripe.key(), stripe_head(stripe));
        if self.is_victim(location.segment) {
            // The head goes on as it is, so it must be as it was written.
            let incarnation = self.segments_of(location.segment.log).incarnation(location.segment);
            let (copied, _, _) = record::read_first(record, incarnation).map_err(|_| ())?;
            if (copied.head.stripe, copied.head.generation) != (key, generation) {
                return Err(());
            }
            let body = encode_copy(copied.body, committed_at).map_err(|_| ())?;
            self.carry(copied.head, body, Carried::Copy(carrying, location));
        }
        if hidden_by.is_some_and(|by| self.is_victim(by)) && !planted!(SuppressionNotCarried) {
            let body = read_body(record).map_err(|_| ())?;
            let id = decode_body(body).map_err(|_| ())?.id;
            let head = RecordHead {
                generation,
                memory_hash,
                received_at: self.now,
                kind: RecordKind::Suppression,
                ..own_head
            };
            self.carry(head, encode_forgotten(id), Carried::Suppression(carrying));
        }
        Ok(())
    }

    /// Carries the marks of sessions that a record there tells.
    fn look_at_sessions(&mut self, after: Option<SessionKey>) {
        let mut marks = Vec::new();
        let sessions = self.sessions.some_after(after, COMPACTION_STEP_SESSIONS);
        let last = sessions.last().map(|(key, _)| *key);
        for (key, session) in sessions {
            let is_told_there = session.told_by().is_none_or(|segment| self.is_victim(segment));
            if is_told_there && session.is_recorded() && !session.is_expired(self.now) {
                marks.push((key, session.durable_sequence(), session.last_record_at()));
            }
        }
        self.set_step(last.map_or(Step::Stripes(Slot(0), 0), |last| Step::Sessions(Some(last))));
        if planted!(MarkNotCarried) {
            return;
        }
        for (key, sequence, received_at) in marks {
            let generation = self.stripes[self.slots[&key.stripe].0].generation();
            let head = RecordHead {
                stripe: key.stripe,
                generation,
                session: key.session,
                sequence,
                memory_hash: 0,
                received_at,
                kind: RecordKind::Mark,
            };
            self.carry(head, Body::empty(), Carried::Mark(key, sequence));
        }
    }

    /// Carries what stripes are, and tells what of them is gone; of the first one what lies behind a generation.
    fn look_at_stripes(&mut self, from: Slot, after: u64) {
        let mut after = after;
        let end = self.stripes.len().min(from.0 + COMPACTION_STEP_STRIPES);
        for slot in (from.0..end).map(Slot) {
            if !self.stripes[slot.0].find_gone(COMPACTION_STEP_GENERATIONS) {
                return self.set_step(Step::Stripes(slot, 0));
            }
            if after == 0 {
                self.carry_space(slot);
                self.begin_list(slot);
            }
            if let Some(end) = self.carry_list(slot, after) {
                return self.set_step(Step::Stripes(slot, end));
            }
            after = 0;
        }
        if end < self.stripes.len() {
            return self.set_step(Step::Stripes(Slot(end), 0));
        }
        self.set_step(Step::Readers(IoTicket(self.next_ticket), self.recalls.next_number()));
        self.empty_if_unread();
    }

    fn carry_space(&mut self, slot: Slot) {
        let stripe = &self.stripes[slot.0];
        if stripe.recorded_in().is_none_or(|segment| self.is_victim(segment)) {
            let head = RecordHead { received_at: self.now, ..stripe_head(stripe) };
            let body = encode_space(&stripe.space().settings);
            self.carry(head, body, Carried::Space(slot));
        }
    }

    /// Decides whether what is gone is to be told anew: where there is more than was told, or where that was told in a
    /// segment that goes.
    fn begin_list(&mut self, slot: Slot) {
        let stripe = &self.stripes[slot.0];
        let goes = stripe.gone_told().places.iter().any(|(segment, _)| self.is_victim(*segment));
        let is_told = stripe.is_gone_told() && !goes;
        if !is_told && !planted!(GoneForgotten) {
            let changes = stripe.rows().gone().changes();
            self.job().lists.insert(slot, Told { changes, places: Vec::new() });
        }
    }

    /// Tells the next of what is gone behind a generation. Gives back the last that was told, if that was enough for one
    /// step; none once all is told.
    fn carry_list(&mut self, slot: Slot, mut after: u64) -> Option<u64> {
        if !self.job().lists.contains_key(&slot) {
            return None;
        }
        let bytes_max = self.compacting.step_bytes(self.headroom(), self.now);
        self.compacting.others_followed();
        let mut bytes = 0;
        while bytes < bytes_max {
            let stripe = &self.stripes[slot.0];
            let (body, end) = encode_gone_behind(stripe.rows().gone().ranges(), after)?;
            let head =
                RecordHead { kind: RecordKind::Gone, received_at: self.now, ..stripe_head(stripe) };
            (after, bytes) = (end, bytes + body.bytes.len() as u64);
            self.carry(head, body, Carried::Gone(slot));
        }
        Some(after)
    }

    fn carry(&mut self, head: RecordHead, body: Body, carried: Carried) {
        self.compacting.hold(head, body, carried, self.now);
    }

    /// A carried record is durable.
    pub(super) fn settle_carried(
        &mut self,
        number: JobNumber,
        carried: Carried,
        location: Location,
    ) {
        self.tally.compaction_bytes += u64::from(location.bytes);
        match carried {
            Carried::Copy(carrying, from) => self.settle_copy(carrying, from, location),
            Carried::Suppression(Carrying { slot, row, generation }) => {
                let stripe = &mut self.stripes[slot.0];
                let is_hidden = stripe.rows().generation(row) == generation
                    && stripe.rows().hidden_by(row).is_some();
                if is_hidden {
                    stripe.hide_again(row, location.segment);
                }
            }
            Carried::Mark(key, sequence) => {
                if let Some(session) = self.sessions.get(key, self.now) {
                    session.tell(sequence, location.segment);
                }
            }
            Carried::Space(slot) => self.stripes[slot.0].record_in(location.segment),
            Carried::Gone(slot) => {
                let list = self.compacting.job_of(number).and_then(|job| job.lists.get_mut(&slot));
                if let Some(list) = list {
                    list.places.push((location.segment, u64::from(location.bytes)));
                }
            }
        }
        if !matches!(carried, Carried::Copy(..)) {
            self.compacting.carry(location);
        }
        let now = self.now;
        if let Some(job) = self.compacting.job_of(number) {
            job.written(carried, now);
        }
    }

    /// The copy of a row's record is durable: it lies there now, unless the row has gone.
    pub(super) fn settle_copy(&mut self, carrying: Carrying, from: Location, location: Location) {
        let Carrying { slot, row, generation } = carrying;
        let stripe = &mut self.stripes[slot.0];
        let rows = stripe.rows();
        let is_there = rows.is_kept(row)
            && rows.generation(row) == generation
            && rows.place(row) == Place::Stored(from);
        if is_there {
            stripe.relocate(row, location);
            self.compacting.free(from);
            self.compacting.keep(location);
        }
    }

    /// What was carried is dropped: the disk takes nothing just now.
    pub(super) fn settle_carried_dropped(&mut self, number: JobNumber) {
        if self.compacting.job_of(number).is_some() {
            self.compacting.give_up(self.now);
        }
    }

    /// Empties the segments, once all that counts is elsewhere and nobody reads there.
    fn empty_if_unread(&mut self) {
        let Some(job) = &self.compacting.job else { return };
        let &Step::Readers(ticket, recall) = &job.step else { return };
        if !job.is_written() && !planted!(EmptiedBeforeCopied) || self.is_read(ticket, recall) {
            return;
        }
        let job = self.job();
        for (slot, list) in std::mem::take(&mut job.lists) {
            let before = std::mem::replace(self.stripes[slot.0].gone_told_mut(), list);
            for (segment, bytes) in before.places {
                self.compacting.uncarry(segment, bytes);
            }
        }
        match self.compacting.leave_shared() {
            true => self.empty_next(),
            false => self.end_job(),
        }
    }

    fn end_job(&mut self) {
        self.compacting.job = None;
        self.compacting.consider(self.now);
    }

    /// Whether somebody reads in the segments that are to go, or will, of those who asked up to this ticket, and before this
    /// recall: an earlier one may yet come upon rows that were replaced while it went on.
    fn is_read(&self, last_ticket: IoTicket, next_recall: RecallNumber) -> bool {
        // A row of a pair may be replaced already, and is still compared with older ones.
        let lies_there = |one: &Unverified| {
            let rows = self.stripes[one.slot.0].rows();
            let Pair { older, newer } = one.pair;
            [older, newer].iter().any(|&row| self.is_victim(rows.stored(row).segment))
        };
        let reads_there = |(ticket, wanted): (&IoTicket, &Wanted)| match wanted {
            Wanted::Recall(number, _) => *number < next_recall,
            Wanted::Pairs(pairs) => *ticket <= last_ticket || pairs.iter().any(lies_there),
            Wanted::Forget(..) | Wanted::Carried(..) => *ticket <= last_ticket,
        };
        self.recalls.first().is_some_and(|first| first < next_recall)
            || self.replacing.backlog.iter().any(lies_there)
            || self.reads.iter().any(reads_there)
    }

    fn empty_next(&mut self) {
        let victim = *self.job().victims.first().expect("some are left to be emptied");
        let emptying = self.segments_of(victim.log).emptying(victim);
        let (segment, bytes) = (emptying.head.segment, emptying.bytes());
        let ticket = self.ticket();
        self.set_step(Step::Emptying(ticket, victim, emptying));
        self.outputs.push_back(Output::Io(ticket, Io::EmptySegment { segment, bytes }));
    }

    fn remove_segments(&mut self) {
        for segment in std::mem::take(&mut self.compacting.to_remove) {
            let ticket = self.ticket();
            self.compacting.removing.insert(ticket, segment);
            self.outputs.push_back(Output::Io(ticket, Io::RemoveSegment { segment }));
        }
    }

    /// An I/O ended: whether it was one of a compaction.
    pub(super) fn settle_emptying(
        &mut self,
        ticket: IoTicket,
        result: &Result<IoOutput, IoFault>,
    ) -> bool {
        if let Some(segment) = self.compacting.removing.remove(&ticket) {
            if result.is_err() {
                self.compacting.to_remove.insert(segment);
                self.compacting.retry(self.now);
            }
            return true;
        }
        let (victim, emptying) = match self.step() {
            Some(Step::Emptying(own, victim, emptying)) if *own == ticket => {
                (*victim, emptying.clone())
            }
            _ => return false,
        };
        if result.is_err() {
            self.compacting.give_up(self.now);
            return true;
        }
        self.segments_of(victim.log).emptied(&emptying);
        self.compacting.emptied(victim);
        self.tally.compacted_segments += 1;
        self.compacting.to_remove.extend(emptying.remove);
        self.remove_segments();
        let job = self.job();
        job.victims.remove(&victim);
        match job.victims.is_empty() {
            false => self.empty_next(),
            true => self.end_job(),
        }
        true
    }
}

/// What a record of the stripe itself begins with.
fn stripe_head(stripe: &Stripe) -> RecordHead {
    RecordHead {
        stripe: stripe.key(),
        generation: Generation(stripe.next_generation().0 - 1),
        session: SessionId::NONE,
        sequence: 0,
        memory_hash: 0,
        received_at: Time(0),
        kind: RecordKind::Space,
    }
}
