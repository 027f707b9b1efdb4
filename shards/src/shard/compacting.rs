//! Segments that are mostly dead: what counts is copied to the open end of the log, and then only the head is left.
//!
//! ```text
//!  Rows ⇄ Reading ─► copies ─► Sessions ─► marks ─► Stripes ─► spaces, what is gone ─► Readers ─► Emptying ─► the next
//! ```
//! A copy has its observation's generation, so a replay that finds both takes them for one. A row's place changes once the
//! copy is durable, and the segment goes once nothing in it counts and nobody reads there.
//!
//! Tombstones are not carried: once their rows are gone, the list of all generations that are gone says so, and a list is
//! written before any segment goes. So a record that lies in an older segment cannot come back.

use crate::ids::{Generation, Location, Row, SegmentId, SessionId, Time};
use crate::limits::{
    COMPACTION_SHARE, COMPACTION_STEP_BYTES, COMPACTION_STEP_RECORDS, COMPACTION_STEP_ROWS,
    COMPACTION_STEP_SESSIONS, LOG_SEGMENT_BYTES,
};
use crate::log::log::IoFault;
use crate::log::record::{
    self, Body, RecordHead, RecordKind, decode_body, encode_copy, encode_forgotten, encode_gone,
    encode_space, read_body,
};
use crate::session::SessionKey;
use crate::shard::compaction::{Job, Step};
use crate::shard::engine::Shard;
use crate::shard::io::{Io, IoOutput, IoTicket, Output};
use crate::shard::pending::{Carried, Carrying, Pending};
use crate::shard::turns::Slot;
use crate::shard::wanted::{Unverified, Wanted};
use crate::space::{Pair, Place, Reading, Stripe, Told};

impl Shard {
    /// When the next step is due; changes with any input.
    pub(super) fn compaction_at(&self) -> Option<Time> {
        let may_run = self.compacting.is_runnable() && self.unproven.is_empty() && self.is_loaded();
        may_run.then_some(self.compacting.next_at)
    }

    /// Does the next step, if it is time.
    pub(super) fn compact(&mut self) {
        if self.unproven.is_empty() && matches!(self.step(), Some(Step::Readers(_))) {
            self.empty_if_unread();
        }
        if self.compaction_at().is_none_or(|at| at > self.now) {
            return;
        }
        match self.step() {
            None => self.begin_compaction(),
            Some(&Step::Rows(slot, row)) => self.look_at_rows(slot, row),
            Some(&Step::Sessions(after)) => self.look_at_sessions(after),
            Some(Step::Stripes) => self.carry_stripes(),
            Some(Step::Reading(..) | Step::Readers(_) | Step::Emptying(..)) => {
                unreachable!("it waits for others")
            }
        }
    }

    fn step(&self) -> Option<&Step> {
        self.compacting.job.as_ref().map(|job| &job.step)
    }

    fn set_step(&mut self, step: Step) {
        self.compacting.job.as_mut().expect("one is under way").step = step;
    }

    fn victim(&self) -> SegmentId {
        self.compacting.job.as_ref().expect("one is under way").victim
    }

    fn begin_compaction(&mut self) {
        let share = u64::from(LOG_SEGMENT_BYTES) / COMPACTION_SHARE;
        let compacting = &self.compacting;
        let is_worth_it = |segment: &SegmentId| {
            compacting.live(*segment) < share
                && !planted!(CompactionForgotten)
                && !compacting.unreadable.contains(segment)
                && !self.forgetting.needs(*segment)
        };
        let victims = self.log.own_sealed().filter(is_worth_it);
        match victims.min_by_key(|segment| (compacting.live(*segment), *segment)) {
            Some(victim) => {
                let step = Step::Rows(Slot(0), Row(0));
                self.compacting.job = Some(Job { victim, step, under_way: 0 });
            }
            None => self.compacting.is_due = false,
        }
    }

    /// Reads the next rows whose records lie there, or that are suppressed by one there.
    fn look_at_rows(&mut self, slot: Slot, from: Row) {
        let victim = self.victim();
        let Some(stripe) = self.stripes.get(slot.0) else {
            return self.set_step(Step::Sessions(None));
        };
        let rows = stripe.rows();
        let end = rows.slots().min(from.0.saturating_add(COMPACTION_STEP_ROWS));
        let (mut found, mut places) = (Vec::new(), Vec::new());
        let (mut bytes, mut next) = (0, end);
        for row in (from.0..end).map(Row) {
            if !rows.is_durable(row) || !rows.is_kept(row) {
                continue;
            }
            let location = rows.stored(row);
            if location.segment != victim && rows.hidden_by(row) != Some(victim) {
                continue;
            }
            found.push(Carrying { slot, row, generation: rows.generation(row) });
            places.push(location);
            bytes += location.bytes;
            if found.len() >= COMPACTION_STEP_RECORDS || bytes >= COMPACTION_STEP_BYTES {
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
        let reading = self.stripes[found[0].slot.0].begin_reading();
        self.read(Io::Read { places }, Wanted::Carried(found, reading));
    }

    /// The records of these rows were read, or could not be.
    pub(super) fn carry_rows(
        &mut self,
        rows: &[Carrying],
        reading: Reading,
        records: Result<Vec<Vec<u8>>, IoFault>,
    ) {
        let bytes = records.as_ref().map_or(0, |records| records.iter().map(Vec::len).sum());
        let carried = records.map_err(|_| ()).and_then(|records| {
            rows.iter().zip(&records).try_for_each(|(one, record)| self.carry_row(*one, record))
        });
        self.stripes[rows[0].slot.0].end_reading(reading);
        let Some(job) = &mut self.compacting.job else { return };
        let Step::Reading(slot, row) = job.step else { return };
        match carried {
            Ok(()) => {
                job.step = Step::Rows(slot, row);
                self.compacting.pace(bytes as u64, self.now);
            }
            Err(()) => {
                self.compacting.unreadable.insert(job.victim);
                self.tally.unreadable += 1;
                self.compacting.give_up(self.now);
            }
        }
    }

    /// Copies a row's record, unless it has gone meanwhile.
    fn carry_row(&mut self, carrying: Carrying, record: &[u8]) -> Result<(), ()> {
        let Some(victim) = self.compacting.job.as_ref().map(|job| job.victim) else {
            return Ok(());
        };
        let Carrying { slot, row, generation } = carrying;
        let rows = self.stripes[slot.0].rows();
        if !rows.is_kept(row) || rows.generation(row) != generation {
            return Ok(());
        }
        let (location, hidden_by) = (rows.stored(row), rows.hidden_by(row));
        let key = self.stripes[slot.0].key();
        if location.segment == victim {
            // The head goes on as it is, so it must be as it was written.
            let incarnation = self.log.segments().incarnation(victim);
            let (copied, _, _) = record::read_first(record, incarnation).map_err(|_| ())?;
            if (copied.head.stripe, copied.head.generation) != (key, generation) {
                return Err(());
            }
            let committed_at = self.stripes[slot.0].rows().committed_at(row);
            let body = encode_copy(copied.body, committed_at).map_err(|_| ())?;
            self.carry(copied.head, body, Carried::Copy(carrying, location));
        }
        if hidden_by == Some(victim) && !planted!(SuppressionNotCarried) {
            let body = read_body(record).map_err(|_| ())?;
            let id = decode_body(body).map_err(|_| ())?.id;
            let head = RecordHead {
                generation,
                memory_hash: self.stripes[slot.0].rows().memory_hash(row),
                received_at: self.now,
                kind: RecordKind::Suppression,
                ..stripe_head(&self.stripes[slot.0])
            };
            self.carry(head, encode_forgotten(id), Carried::Suppression(carrying));
        }
        Ok(())
    }

    /// Carries the marks of sessions that a record there tells.
    fn look_at_sessions(&mut self, after: Option<SessionKey>) {
        let victim = self.victim();
        let mut marks = Vec::new();
        let sessions = self.sessions.some_after(after, COMPACTION_STEP_SESSIONS);
        let last = sessions.last().map(|(key, _)| *key);
        for (key, session) in sessions {
            let is_told_there = session.told_by().is_none_or(|segment| segment == victim);
            if is_told_there && session.is_recorded() && !session.is_expired(self.now) {
                marks.push((key, session.durable_sequence(), session.last_record_at()));
            }
        }
        self.set_step(last.map_or(Step::Stripes, |last| Step::Sessions(Some(last))));
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

    /// Carries what stripes are, and tells what of them is gone.
    fn carry_stripes(&mut self) {
        let victim = self.victim();
        for slot in (0..self.stripes.len()).map(Slot) {
            let stripe = &mut self.stripes[slot.0];
            let head = stripe_head(stripe);
            let settings = stripe.space().settings.clone();
            if stripe.recorded_in().is_none_or(|segment| segment == victim) {
                let head = RecordHead { received_at: self.now, ..head };
                self.carry(head, encode_space(&settings), Carried::Space(slot));
            }
            let stripe = &mut self.stripes[slot.0];
            let count = stripe.rows().gone().1;
            let told = stripe.gone_told();
            if count == 0 || (told.count == count && !told.segments.contains(&victim)) {
                continue;
            }
            // Until that is durable, nothing is known to be told.
            *told = Told::default();
            if planted!(GoneForgotten) {
                continue;
            }
            let head = RecordHead { kind: RecordKind::Gone, received_at: self.now, ..head };
            for body in encode_gone(self.stripes[slot.0].rows().gone().0) {
                self.carry(head, body, Carried::Gone(slot, count));
            }
        }
        self.set_step(Step::Readers(IoTicket(self.next_ticket)));
        self.empty_if_unread();
    }

    fn carry(&mut self, head: RecordHead, body: Body, carried: Carried) {
        self.compacting.job.as_mut().expect("one is under way").under_way += 1;
        self.log_append(head, body, Pending::Carried(carried));
    }

    /// A carried record is durable.
    pub(super) fn settle_carried(&mut self, carried: Carried, location: Location) {
        match carried {
            Carried::Copy(Carrying { slot, row, generation }, from) => {
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
            Carried::Gone(slot, count) => {
                let told = self.stripes[slot.0].gone_told();
                told.count = count;
                told.segments.push(location.segment);
            }
        }
        if let Some(job) = &mut self.compacting.job {
            job.under_way = job.under_way.saturating_sub(1);
        }
    }

    /// What was carried is dropped: the disk takes nothing just now.
    pub(super) fn give_up_compacting(&mut self) {
        self.compacting.give_up(self.now);
    }

    /// Empties the segment, once all that counts is elsewhere and nobody reads there.
    fn empty_if_unread(&mut self) {
        let Some(job) = &self.compacting.job else { return };
        let &Step::Readers(last) = &job.step else { return };
        if job.under_way > 0 && !planted!(EmptiedBeforeCopied) {
            return;
        }
        let victim = job.victim;
        // A row of a pair may be replaced already, and is still compared with older ones.
        let lies_there = |one: &Unverified| {
            let rows = self.stripes[one.slot.0].rows();
            let Pair { older, newer } = one.pair;
            [older, newer].iter().any(|&row| rows.stored(row).segment == victim)
        };
        let reads_there = |(ticket, wanted): (&IoTicket, &Wanted)| match wanted {
            Wanted::Recall(_, places) => {
                places.iter().any(|(_, location)| location.segment == victim)
            }
            Wanted::Pairs(pairs) => *ticket <= last || pairs.iter().any(lies_there),
            Wanted::Forget(..) | Wanted::Carried(..) => *ticket <= last,
        };
        let waits_there = self.replacing.backlog.iter().any(lies_there);
        if waits_there || self.reads.iter().any(reads_there) {
            return;
        }
        let emptying = self.log.segments().emptying(victim);
        let (segment, bytes) = (emptying.head.segment, emptying.bytes());
        let ticket = self.ticket();
        self.set_step(Step::Emptying(ticket, emptying));
        self.outputs.push_back(Output::Io(ticket, Io::EmptySegment { segment, bytes }));
    }

    /// An I/O ended: whether it was one of a compaction.
    pub(super) fn settle_emptying(
        &mut self,
        ticket: IoTicket,
        result: &Result<IoOutput, IoFault>,
    ) -> bool {
        if self.compacting.removing.remove(&ticket) {
            return true;
        }
        let job = self
            .compacting
            .job
            .take_if(|job| matches!(&job.step, Step::Emptying(expected, _) if *expected == ticket));
        let Some(Job { victim, step: Step::Emptying(_, emptying), .. }) = job else {
            return false;
        };
        if result.is_err() {
            self.compacting.give_up(self.now);
            return true;
        }
        self.log.segments().emptied(&emptying);
        self.compacting.emptied(victim);
        for segment in emptying.remove {
            let ticket = self.ticket();
            self.compacting.removing.insert(ticket);
            self.outputs.push_back(Output::Io(ticket, Io::RemoveSegment { segment }));
        }
        self.compacting.consider(self.now);
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
