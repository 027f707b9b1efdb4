//! Bodies of records that recalls ask for again and again, so that they are not read back each time.
//!
//! ```text
//!  read ─► newcomers ── asked for again ─► residents ─┐ asked for again: another round
//!              └ not ─► departed (place only)   └─────┘ not: out
//!                           └ read again ─► residents
//! ```
//! S3-FIFO ("FIFO queues are all you need for cache eviction", SOSP 2023): newcomers get a tenth of the room, so that the
//! many records that one recall reads and no other asks for pass through without pushing out those that are hot.
//!
//! **Invariant:** a record is known by its place, and what lies at a place never changes: a segment's number is given
//! once, and what is written there once. So nothing here is ever stale. A row whose record moves is asked for at
//! another place; what no row refers to is asked for no more, and passes out.

use std::collections::VecDeque;
use std::hash::BuildHasherDefault;
use std::rc::Rc;

use hashbrown::{HashMap, HashSet};
use siphasher::sip::SipHasher13;

use crate::ids::Location;
use crate::limits::{RECORD_CACHE_ENTRY_BYTES, RECORD_CACHE_USES_MAX};

/// Newcomers get one in so many bytes.
const NEWCOMERS_SHARE: u64 = 10;

type Hasher = BuildHasherDefault<SipHasher13>;

/// Records of one shard, by place.
#[derive(Debug)]
pub struct RecordCache {
    bytes_max: u64,
    /// Of all that is kept, with what it takes to keep it.
    bytes: u64,
    newcomers_bytes: u64,
    entries: HashMap<Location, Entry, Hasher>,
    newcomers: VecDeque<Location>,
    residents: VecDeque<Location>,
    /// Newcomers that went without being asked for again: as many as there are residents.
    departed: VecDeque<Location>,
    is_departed: HashSet<Location, Hasher>,
    hits: u64,
    misses: u64,
}

#[derive(Debug)]
struct Entry {
    body: Rc<[u8]>,
    /// How often it was asked for since its last round.
    uses: u8,
}

impl Entry {
    fn bytes(&self) -> u64 {
        self.body.len() as u64 + RECORD_CACHE_ENTRY_BYTES
    }
}

/// What a cache came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordCacheStatus {
    /// Records that were asked for and there.
    pub hits: u64,
    /// Records that were asked for and had to be read.
    pub misses: u64,
    /// Bytes that it takes.
    pub bytes: u64,
}

impl RecordCache {
    /// One that takes so many bytes at most; of 0 it keeps nothing.
    pub fn new(bytes_max: u64) -> RecordCache {
        RecordCache {
            bytes_max,
            bytes: 0,
            newcomers_bytes: 0,
            entries: HashMap::default(),
            newcomers: VecDeque::new(),
            residents: VecDeque::new(),
            departed: VecDeque::new(),
            is_departed: HashSet::default(),
            hits: 0,
            misses: 0,
        }
    }

    /// The body of the record that lies there, if it is kept.
    pub fn get(&mut self, place: Location) -> Option<Rc<[u8]>> {
        let place = known_by(place);
        let Some(entry) = self.entries.get_mut(&place) else {
            self.misses += 1;
            return None;
        };
        self.hits += 1;
        entry.uses = RECORD_CACHE_USES_MAX.min(entry.uses + 1);
        Some(entry.body.clone())
    }

    /// A record was read, and is sound.
    pub fn keep(&mut self, place: Location, body: &Rc<[u8]>) {
        let place = known_by(place);
        let entry = Entry { body: body.clone(), uses: 0 };
        let bytes = entry.bytes();
        if bytes > self.bytes_max / NEWCOMERS_SHARE || self.entries.contains_key(&place) {
            return;
        }
        match self.is_departed.remove(&place) {
            true => self.residents.push_back(place),
            false => {
                self.newcomers.push_back(place);
                self.newcomers_bytes += bytes;
            }
        }
        self.bytes += bytes;
        self.entries.insert(place, entry);
        while self.bytes > self.bytes_max {
            self.make_room();
        }
    }

    /// What it came to so far.
    pub fn status(&self) -> RecordCacheStatus {
        RecordCacheStatus { hits: self.hits, misses: self.misses, bytes: self.bytes }
    }

    /// Takes the next newcomer or resident from its place: it goes on to another, or out.
    fn make_room(&mut self) {
        let is_crowded = self.newcomers_bytes * NEWCOMERS_SHARE > self.bytes_max;
        if is_crowded || self.residents.is_empty() {
            let place = self.newcomers.pop_front().expect("something takes the bytes");
            let entry = &self.entries[&place];
            let (bytes, uses) = (entry.bytes(), entry.uses);
            self.newcomers_bytes -= bytes;
            if uses > 0 {
                return self.residents.push_back(place);
            }
            self.leave(place);
            self.note_departed(place);
        } else {
            let place = self.residents.pop_front().expect("there are some");
            let entry = self.entries.get_mut(&place).expect("what is in a queue is kept");
            if entry.uses > 0 {
                entry.uses -= 1;
                return self.residents.push_back(place);
            }
            self.leave(place);
        }
    }

    fn leave(&mut self, place: Location) {
        let entry = self.entries.remove(&place).expect("what is in a queue is kept");
        self.bytes -= entry.bytes();
    }

    fn note_departed(&mut self, place: Location) {
        self.departed.push_back(place);
        self.is_departed.insert(place);
        while self.departed.len() > self.residents.len().max(self.newcomers.len()) {
            let oldest = self.departed.pop_front().expect("there are some");
            self.is_departed.remove(&oldest);
        }
    }
}

fn known_by(place: Location) -> Location {
    if planted!(RecordMistaken) { Location { offset: 0, bytes: 0, ..place } } else { place }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{LogId, SegmentId};
    use proptest::prelude::*;

    const BODY_BYTES: usize = 1_000;
    const COUNT: u64 = 100;
    const BYTES_MAX: u64 = COUNT * (BODY_BYTES as u64 + RECORD_CACHE_ENTRY_BYTES);

    fn place(number: u32) -> Location {
        let segment = SegmentId { log: LogId(number as u16 % 3), number: number / 50 };
        Location { segment, offset: number % 50 * 8, bytes: BODY_BYTES as u32 }
    }

    /// The body of this record, which no other has.
    fn body(number: u32, bytes: usize) -> Rc<[u8]> {
        number.to_le_bytes().into_iter().cycle().take(bytes).collect()
    }

    /// A recall wants this record: gives whether it was there.
    fn want(cache: &mut RecordCache, number: u32) -> bool {
        match cache.get(place(number)) {
            Some(found) => {
                assert_eq!(found, body(number, found.len()), "another's body");
                true
            }
            None => {
                cache.keep(place(number), &body(number, BODY_BYTES));
                false
            }
        }
    }

    #[test]
    fn what_is_asked_for_again_is_there() {
        let mut cache = RecordCache::new(BYTES_MAX);
        let hits = (0..3).map(|_| (0..COUNT as u32).filter(|one| want(&mut cache, *one)).count());
        assert_eq!(hits.collect::<Vec<_>>(), [0, COUNT as usize, COUNT as usize]);
        let (hits, misses) = (2 * COUNT, COUNT);
        assert_eq!(cache.status(), RecordCacheStatus { hits, misses, bytes: BYTES_MAX });
    }

    #[test]
    fn records_that_are_wanted_once_do_not_push_out_those_that_are_hot() {
        let mut cache = RecordCache::new(BYTES_MAX);
        let hot = COUNT as u32 / 2;
        let mut hits = 0;
        for round in 0..40 {
            hits = (0..hot).filter(|number| want(&mut cache, *number)).count();
            // More than there is room for beside those: who kept what came last would never have one of them.
            let once = 1_000 + round * 60;
            assert!((once..once + 60).all(|number| !want(&mut cache, number)));
        }
        assert_eq!(hits, hot as usize);
    }

    #[test]
    fn what_departed_unused_and_comes_back_stays() {
        let mut cache = RecordCache::new(BYTES_MAX);
        (0..COUNT as u32).for_each(|number| assert!(!want(&mut cache, number)));
        // These go, and those that come first are gone first.
        (COUNT as u32..COUNT as u32 + 20).for_each(|number| assert!(!want(&mut cache, number)));
        assert!(!want(&mut cache, 3), "it has departed, and comes back");
        (1_000..1_400).for_each(|number| assert!(!want(&mut cache, number)));
        assert!(want(&mut cache, 3), "as one that stays");
    }

    #[test]
    fn nothing_is_kept_where_there_is_no_room() {
        for bytes_max in [0, BODY_BYTES as u64] {
            let mut cache = RecordCache::new(bytes_max);
            assert!((0..2).all(|_| !want(&mut cache, 1)));
            assert_eq!(cache.status().bytes, 0);
        }
    }

    proptest! {
        #[test]
        fn it_keeps_within_its_bytes_and_gives_what_was_kept(
            bytes_max in 0..20_000u64,
            wanted in prop::collection::vec((0..60u32, 0..900usize), 0..400),
        ) {
            let mut cache = RecordCache::new(bytes_max);
            for (number, bytes) in wanted {
                match cache.get(place(number)) {
                    Some(found) => prop_assert_eq!(&found, &body(number, found.len())),
                    None => cache.keep(place(number), &body(number, bytes)),
                }
                let kept: u64 = cache.entries.values().map(Entry::bytes).sum();
                prop_assert_eq!(kept, cache.status().bytes);
                prop_assert!(kept <= bytes_max);
                let queued = cache.newcomers.len() + cache.residents.len();
                prop_assert_eq!(queued, cache.entries.len());
                prop_assert!(cache.is_departed.len() <= cache.departed.len());
                let most = bytes_max / RECORD_CACHE_ENTRY_BYTES + 1;
                prop_assert!(cache.departed.len() as u64 <= most);
            }
        }
    }
}
