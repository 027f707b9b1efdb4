//! Memories that are forgotten: a record says so, and once it is durable the rows are looked for whose ids it names.
//!
//! ```text
//!  forget ─► log ─► durable ─► withheld from recalls ─► rows of the hash read, ids compared ─► removed or hidden ─► reply
//!                       replayed ─┘
//! ```
//! A record is about what the shard was given before it, durable or not: the log keeps the order, so that all of it is
//! durable when the record is, or is dropped with it. On a full disk it is dropped alone; the record is then about the rest.

use crate::ids::{Generation, Row, SegmentId, SessionId};
use crate::limits::FORGETS_WAITING_MAX;
use crate::log::record::{RecordHead, RecordKind, encode_forgotten};
use crate::message::{Forget, ForgetMode, Origin, Refusal, Reply};
use crate::shard::engine::Shard;
use crate::shard::forgotten::{Comparing, ForgetNumber, Forgotten, Replayed};
use crate::shard::io::Io;
use crate::shard::pending::Pending;
use crate::shard::wanted::Wanted;
use crate::space::Place;

impl Shard {
    pub(super) fn forget(&mut self, origin: Origin, forget: Forget) {
        if let Err(refusal) = self.begin_forget(origin, forget) {
            self.reply(origin, Reply::Forgotten(Err(refusal)));
        }
    }

    fn begin_forget(&mut self, origin: Origin, forget: Forget) -> Result<(), Refusal> {
        let Forget { stripe: key, memory_hash, id, mode } = forget;
        let under_way = self.forgetting.logged.len() + self.forgetting.comparing.len();
        let (_, stripe) = self.stripe(key).ok_or(Refusal::UnknownSpace)?;
        if !stripe.rows().has_hash(memory_hash) {
            self.reply(origin, Reply::Forgotten(Ok(0)));
            return Ok(());
        }
        let until = Generation(stripe.next_generation().0 - 1);
        if under_way >= FORGETS_WAITING_MAX {
            return Err(Refusal::TooManyForgets);
        }
        let head = RecordHead {
            stripe: key,
            generation: until,
            session: SessionId::NONE,
            sequence: 0,
            memory_hash,
            received_at: self.now,
            kind: match mode {
                ForgetMode::Suppress => RecordKind::Suppression,
                ForgetMode::Delete => RecordKind::Tombstone,
            },
        };
        let body = encode_forgotten(&id);
        let origin = Some(origin);
        let forgotten = Forgotten { stripe: key, memory_hash, id, mode, until, origin };
        self.log_append(head, body, Pending::Forget);
        self.forgetting.logged.push_back(forgotten);
        Ok(())
    }

    /// The record of the first one is durable, in this segment.
    pub(super) fn settle_forget_logged(&mut self, segment: SegmentId) {
        let forgotten = self.forgetting.logged.pop_front().expect("it waits for its record");
        self.withhold(&forgotten);
        self.compare_rows(forgotten, segment);
    }

    /// The record of the first one is dropped.
    pub(super) fn settle_forget_dropped(&mut self, refusal: &Refusal) {
        let forgotten = self.forgetting.logged.pop_front().expect("it waits for its record");
        let origin = forgotten.origin.expect("what is not replayed was asked for");
        self.reply(origin, Reply::Forgotten(Err(refusal.clone())));
    }

    /// A record in this segment was replayed; it may have to become durable once more.
    pub(super) fn restore_forgotten(
        &mut self,
        forgotten: Forgotten,
        segment: SegmentId,
        is_durable: bool,
    ) -> ForgetNumber {
        self.withhold(&forgotten);
        let number = self.forgetting.number();
        self.forgetting.replayed.push(Replayed { number, forgotten, segment, is_durable });
        number
    }

    /// The record of one that was replayed is durable again, in this segment.
    pub(super) fn settle_forget_again(&mut self, number: ForgetNumber, segment: SegmentId) {
        let mut replayed = self.forgetting.replayed.iter_mut();
        let replayed = replayed.find(|replayed| replayed.number == number);
        let replayed = replayed.expect("it waits until its record is durable");
        (replayed.segment, replayed.is_durable) = (segment, true);
        self.compacting.consider(self.now);
    }

    /// Looks for the rows of those that were replayed, once they and all that they are about are durable.
    pub(super) fn verify_forgets(&mut self) {
        if self.forgetting.replayed.is_empty() {
            return;
        }
        let (slots, stripes) = (&self.slots, &self.stripes);
        let is_due = |Replayed { forgotten, is_durable, .. }: &mut Replayed| {
            let rows = stripes[slots[&forgotten.stripe].0].rows();
            *is_durable && rows.durable_generation() >= forgotten.until.min(rows.newest())
        };
        let due: Vec<_> = self.forgetting.replayed.extract_if(.., is_due).collect();
        for Replayed { forgotten, segment, .. } in due {
            self.compare_rows(forgotten, segment);
        }
    }

    fn withhold(&mut self, forgotten: &Forgotten) {
        let Forgotten { memory_hash, id, until, .. } = forgotten;
        let slot = self.slots[&forgotten.stripe];
        self.stripes[slot.0].withheld().add(*memory_hash, id, *until);
    }

    fn compare_rows(&mut self, forgotten: Forgotten, segment: SegmentId) {
        let slot = self.slots[&forgotten.stripe];
        let stripe = &mut self.stripes[slot.0];
        let rows = stripe.rows().of_hash(forgotten.memory_hash, forgotten.until);
        let mut rows: Vec<Row> = rows.collect();
        rows.sort_unstable();
        let reading = stripe.begin_reading();
        let (left, is_found, is_unreadable) = (rows.len(), false, false);
        let comparing =
            Comparing { forgotten, slot, segment, reading, left, is_found, is_unreadable };
        let number = self.forgetting.compare(comparing);
        match rows.is_empty() {
            true => self.settle_forget(number),
            false => self.read_for_forget(number, rows),
        }
    }

    pub(super) fn read_for_forget(&mut self, number: ForgetNumber, rows: Vec<Row>) {
        let slot = self.forgetting.comparing[&number].slot;
        let place = |row: &Row| match self.stripes[slot.0].rows().place(*row) {
            Place::Stored(location) => location,
            Place::Pending(_) => panic!("only durable rows are looked for"),
        };
        let places = rows.iter().map(place).collect();
        self.read(Io::Read { places }, Wanted::Forget(number, rows));
    }

    /// The id of a row is this, or none where its record could not be read.
    pub(super) fn compare_forgotten(&mut self, number: ForgetNumber, row: Row, id: Option<&str>) {
        let comparing = self.forgetting.comparing.get_mut(&number).expect("it waits for records");
        let Forgotten { mode, id: forgotten, .. } = &comparing.forgotten;
        let stripe = &mut self.stripes[comparing.slot.0];
        match id {
            None => comparing.is_unreadable = true,
            Some(id) if *id != **forgotten && !planted!(ForgottenByHash) => {}
            Some(_) => {
                // What was replaced since was there when this began.
                let is_kept = stripe.rows().is_kept(row);
                let is_alive = stripe.rows().is_alive(row);
                comparing.is_found |= is_alive || !is_kept || *mode == ForgetMode::Delete;
                match mode {
                    ForgetMode::Delete if is_kept => {
                        let location = stripe.rows().stored(row);
                        stripe.forget(row);
                        self.compacting.free(location);
                    }
                    ForgetMode::Suppress if is_alive => stripe.hide(row, comparing.segment),
                    // A checkpoint may name a segment that was emptied since.
                    ForgetMode::Suppress if is_kept => stripe.hide_again(row, comparing.segment),
                    ForgetMode::Delete | ForgetMode::Suppress => {}
                }
            }
        }
        comparing.left -= 1;
        if comparing.left == 0 {
            self.settle_forget(number);
        }
    }

    /// All rows were compared. What cannot be read is withheld until it can be, after a restart.
    fn settle_forget(&mut self, number: ForgetNumber) {
        let comparing = self.forgetting.comparing.remove(&number).expect("it was being compared");
        let Comparing { forgotten, slot, segment, reading, is_found, is_unreadable, .. } =
            comparing;
        let Forgotten { memory_hash, id, until, origin, .. } = forgotten;
        let stripe = &mut self.stripes[slot.0];
        stripe.end_reading(reading);
        match is_unreadable {
            true => {
                self.tally.unreadable += 1;
                self.forgetting.unresolved.push(segment);
            }
            false => {
                stripe.withheld().remove(memory_hash, &id, until);
                // Nothing needs its segment any more.
                self.compacting.consider(self.now);
            }
        }
        self.keep_up_with(slot);
        if let Some(origin) = origin {
            let count = u32::from(is_found || is_unreadable);
            self.reply(origin, Reply::Forgotten(Ok(count)));
        }
    }
}
