//! Records read back: a recall's candidates, and pairs of rows that may be one memory.

use std::rc::Rc;

use crate::ids::{Location, Slot};
use crate::log::log::IoFault;
use crate::log::record::{decode_body, read_body};
use crate::shard::engine::Shard;
use crate::shard::io::Io;
use crate::shard::turns::RecallNumber;
use crate::shard::wanted::{Unverified, Wanted};
use crate::space::{Pair, Place};

/// Pairs that are read at once: bounds the memory for their records.
const PAIRS_MAX: usize = 64;

impl Shard {
    pub(super) fn read_for_recall(
        &mut self,
        number: RecallNumber,
        records: Vec<(usize, Location)>,
    ) {
        let places = records.iter().map(|&(_, location)| location).collect();
        self.read(Io::Read { places }, Wanted::Recall(number, records));
    }

    /// Reads the next pairs that wait, unless some are being read.
    pub(super) fn read_pairs(&mut self) {
        if self.replacing.reading == 0 && !self.replacing.backlog.is_empty() {
            let count = self.replacing.backlog.len().min(PAIRS_MAX);
            let pairs = self.replacing.backlog.drain(..count).collect();
            self.read_these_pairs(pairs);
        }
    }

    /// The ids of this pair are to be compared.
    pub(super) fn verify_pair(&mut self, slot: Slot, pair: Pair) {
        let reading = self.stripes[slot.0].begin_reading();
        self.replacing.backlog.push_back(Unverified { slot, pair, reading });
    }

    fn read_these_pairs(&mut self, pairs: Vec<Unverified>) {
        let mut places = Vec::with_capacity(2 * pairs.len());
        for Unverified { slot, pair, .. } in &pairs {
            for row in [pair.older, pair.newer] {
                let Place::Stored(location) = self.stripes[slot.0].rows().place(row) else {
                    panic!("only durable rows are verified")
                };
                places.push(location);
            }
        }
        self.replacing.reading += 1;
        self.read(Io::Read { places }, Wanted::Pairs(pairs));
    }

    /// A read ended. One that failed is tried again record by record, so that one bad record costs no other.
    pub(super) fn settle_read(&mut self, wanted: Wanted, records: Result<Vec<Vec<u8>>, IoFault>) {
        match wanted {
            Wanted::Recall(number, _) if self.recalls.waiting(number).is_none() => {}
            Wanted::Recall(number, candidates) => match records {
                Ok(records) => {
                    assert_eq!(records.len(), candidates.len(), "one record a place");
                    for (candidate, record) in candidates.into_iter().zip(&records) {
                        self.give_record(number, candidate, Some(record));
                    }
                }
                Err(_) if candidates.len() > 1 => {
                    candidates.into_iter().for_each(|one| self.read_for_recall(number, vec![one]))
                }
                Err(_) => self.give_record(number, candidates[0], None),
            },
            Wanted::Pairs(pairs) => {
                self.replacing.reading -= 1;
                self.settle_pairs(pairs, records);
                self.read_pairs();
            }
            Wanted::Carried(number, rows, reading) => {
                self.carry_rows(number, &rows, reading, records)
            }
            Wanted::Forget(number, rows) => match records {
                Ok(records) => {
                    assert_eq!(records.len(), rows.len(), "one record a place");
                    for (row, record) in rows.into_iter().zip(&records) {
                        self.compare_forgotten(number, row, memory_id(record));
                    }
                }
                Err(_) if rows.len() > 1 => {
                    rows.into_iter().for_each(|row| self.read_for_forget(number, vec![row]))
                }
                Err(_) => self.compare_forgotten(number, rows[0], None),
            },
        }
    }

    /// A candidate's record was read, or could not be. One that is sound is kept: other recalls may want it.
    fn give_record(
        &mut self,
        number: RecallNumber,
        (candidate, place): (usize, Location),
        record: Option<&Vec<u8>>,
    ) {
        let body = record.and_then(|record| read_body(record).ok()).map(Rc::from);
        if let Some(body) = &body {
            self.record_cache.keep(place, body);
        }
        let asked = self.recalls.waiting(number).expect("it was just seen to wait");
        if asked.job.handle_body(candidate, body) {
            self.recalls.wake(number);
        }
    }

    fn settle_pairs(&mut self, pairs: Vec<Unverified>, records: Result<Vec<Vec<u8>>, IoFault>) {
        match records {
            Ok(records) => {
                assert_eq!(records.len(), 2 * pairs.len(), "two records a pair");
                for (one, records) in pairs.into_iter().zip(records.chunks_exact(2)) {
                    let Unverified { slot, pair, reading } = one;
                    match self.verify(slot, pair, &records[0], &records[1]) {
                        // The newer row may have left the graph by now: it is kept as long as one looks for older ones.
                        Some(pair) => {
                            self.replacing.backlog.push_back(Unverified { slot, pair, reading });
                        }
                        None => self.stripes[slot.0].end_reading(reading),
                    }
                }
            }
            Err(_) if pairs.len() > 1 => {
                pairs.into_iter().for_each(|one| self.read_these_pairs(vec![one]))
            }
            Err(_) => {
                self.tally.unreadable += 1;
                let ended = pairs.into_iter();
                ended.for_each(|one| self.stripes[one.slot.0].end_reading(one.reading));
            }
        }
    }

    /// Replaces the older row if both are the same memory. If not, gives back the pair with the one before it, which may
    /// be.
    fn verify(&mut self, slot: Slot, pair: Pair, older: &[u8], newer: &[u8]) -> Option<Pair> {
        let stripe = &mut self.stripes[slot.0];
        let mut next = None;
        match memory_id(older).zip(memory_id(newer)) {
            Some((older, newer)) if older == newer || planted!(HashTrusted) => {
                if stripe.rows().is_kept(pair.older) {
                    let location = stripe.rows().stored(pair.older);
                    stripe.replace(pair);
                    self.compacting.free(location);
                }
            }
            Some(_) => next = stripe.rows().older_twin(pair.newer, pair.older),
            None => self.tally.unreadable += 1,
        }
        self.keep_up_with(slot);
        next
    }
}

/// The id of the memory in a whole record; none if it is damaged.
fn memory_id(record: &[u8]) -> Option<&str> {
    Some(decode_body(read_body(record).ok()?).ok()?.id)
}
