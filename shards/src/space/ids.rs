//! Finds the living, durable rows of a memory's hash.
//!
//! A hash table of chains through the rows, which grows by a bucket at a time (linear hashing,
//! Litwin, VLDB 1980): a bucket that is added takes its share of one other's rows, so no insertion
//! moves more than one chain, however many rows there are. Buckets are as many as rows were ever in
//! the table at once, or were expected; they stay when rows leave.

use crate::vector::arena::Arena;
use crate::vector::prefetch::prefetch;

/// Ends a chain: no row has this number.
const END: u32 = u32::MAX;

/// Hashes by row, and rows by hash.
///
/// Several rows may share a hash: a replacement that is not verified yet, or, one day, two ids with one hash. Hashes
/// are keyed already, so they are used as they are.
#[derive(Debug)]
pub(super) struct Ids {
    links: Arena<Link>,
    /// The first row of each bucket's chain.
    buckets: Arena<u32>,
    /// Rows in the table.
    entered: u32,
}

/// A row's hash, and what follows it in its chain. Twelve bytes: the two are read together.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, packed(4))]
struct Link {
    hash: u64,
    next: u32,
}

impl Ids {
    /// No rows.
    pub(super) fn new() -> Ids {
        Ids { links: Arena::new(1), buckets: Arena::new(1), entered: 0 }
    }

    /// Notes the hash of the row in this slot, the next one or one that is used again. It is not in
    /// the table yet.
    pub(super) fn put(&mut self, row: u32, hash: u64) {
        if row == self.links.len() {
            self.links.push();
        }
        self.links[row] = Link { hash, next: END };
    }

    /// Slots from `slots` on are no more; no row in them may be in the table.
    pub(super) fn truncate(&mut self, slots: u32) {
        assert!(slots >= self.entered, "{} rows are in the table", self.entered);
        self.links.truncate(slots);
    }

    /// The hash of `row`.
    pub(super) fn hash(&self, row: u32) -> u64 {
        self.links[row].hash
    }

    /// Puts `row` into the table.
    pub(super) fn enter(&mut self, row: u32) {
        self.entered += 1;
        if self.entered > self.buckets.len() {
            self.add_bucket();
        }
        let bucket = self.bucket(self.hash(row));
        self.put_first(bucket, row);
    }

    /// So many rows will be put into the table, in which there is none yet: none of them will have to move.
    pub(super) fn expect(&mut self, count: u32) {
        assert!(self.entered == 0, "a table that rows are in grows as they come");
        while self.buckets.len() < count {
            self.buckets.push()[0] = END;
        }
    }

    /// Asks for the bucket that `row` will enter.
    pub(super) fn prefetch_bucket(&self, row: u32) {
        if self.buckets.len() > 0 {
            prefetch(self.buckets.row(self.bucket(self.hash(row))));
        }
    }

    /// Asks for the first row of that bucket, which is at hand by now.
    pub(super) fn prefetch_first(&self, row: u32) {
        if self.buckets.len() > 0 {
            let first = self.buckets[self.bucket(self.hash(row))];
            if first != END {
                prefetch(self.links.row(first));
            }
        }
    }

    /// Takes `row` out.
    pub(super) fn remove(&mut self, row: u32) {
        let bucket = self.bucket(self.hash(row));
        let next = self.links[row].next;
        if self.buckets[bucket] == row {
            self.buckets[bucket] = next;
        } else {
            let before = self.chain(bucket).find(|&other| self.links[other].next == row);
            self.links[before.expect("a living durable row is in the table")].next = next;
        }
        self.entered -= 1;
    }

    /// All rows of `hash`, in no order that anything may depend on.
    pub(super) fn of(&self, hash: u64) -> impl Iterator<Item = u32> + '_ {
        let bucket = (self.buckets.len() > 0).then(|| self.bucket(hash));
        let rows = bucket.into_iter().flat_map(|bucket| self.chain(bucket));
        rows.filter(move |&row| self.hash(row) == hash)
    }

    /// Bytes of RAM that it takes.
    pub(super) fn bytes(&self) -> u64 {
        self.links.bytes() + self.buckets.bytes()
    }

    /// Adds a bucket, and moves those rows to it whose hash has the bit that tells it from another.
    fn add_bucket(&mut self) {
        let added = self.buckets.len();
        self.buckets.push()[0] = END;
        if added == 0 {
            return;
        }
        let split = added - (1 << added.ilog2());
        let mut row = std::mem::replace(&mut self.buckets[split], END);
        while row != END {
            let next = self.links[row].next;
            self.put_first(self.bucket(self.hash(row)), row);
            row = next;
        }
    }

    fn put_first(&mut self, bucket: u32, row: u32) {
        self.links[row].next = std::mem::replace(&mut self.buckets[bucket], row);
    }

    fn chain(&self, bucket: u32) -> impl Iterator<Item = u32> + '_ {
        let row = |row| (row != END).then_some(row);
        std::iter::successors(row(self.buckets[bucket]), move |&at| row(self.links[at].next))
    }

    /// As many low bits of the hash as number all buckets; one fewer where that bucket is not there
    /// yet, for its rows are in the one that it will be split from.
    fn bucket(&self, hash: u64) -> u32 {
        let last = self.buckets.len() - 1;
        let top = last.checked_ilog2().map_or(0, |bit| 1u32 << bit);
        let all = hash as u32 & (top | top.saturating_sub(1));
        if all <= last { all } else { all - top }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet, VecDeque};

    /// What is done to a table.
    #[derive(Clone, Copy, Debug)]
    enum Deed {
        /// A row with this hash arrives, in a slot of its own.
        Push(u64),
        /// A row with this hash arrives in the slot of one that has left the table.
        Again(u64),
        /// The next row that is not in the table enters it.
        Enter,
        /// One of the rows of this hash leaves it.
        Remove(u64),
        /// All rows that never entered are dropped.
        Truncate,
    }

    fn deed() -> impl Strategy<Value = Deed> {
        // Few hashes, so that many share one, and some whose low bits are equal.
        let hash = prop_oneof![0u64..20, (0u64..20).prop_map(|high| high << 32 | 3), any::<u64>()];
        prop_oneof![
            6 => hash.clone().prop_map(Deed::Push),
            2 => hash.clone().prop_map(Deed::Again),
            5 => Just(Deed::Enter),
            2 => hash.prop_map(Deed::Remove),
            1 => Just(Deed::Truncate),
        ]
    }

    proptest! {
        #[test]
        fn a_table_is_a_map_of_sets(deeds in prop::collection::vec(deed(), 0..500)) {
            let mut ids = Ids::new();
            let mut model = BTreeMap::<u64, BTreeSet<u32>>::new();
            let mut hashes = Vec::new();
            let (mut waiting, mut left) = (VecDeque::new(), Vec::new());
            for deed in deeds {
                match deed {
                    Deed::Again(hash) if !left.is_empty() => {
                        let row: u32 = left.remove(0);
                        ids.put(row, hash);
                        hashes[row as usize] = hash;
                        waiting.push_back(row);
                    }
                    Deed::Push(hash) | Deed::Again(hash) => {
                        let row = hashes.len() as u32;
                        ids.put(row, hash);
                        hashes.push(hash);
                        waiting.push_back(row);
                    }
                    Deed::Enter => {
                        if let Some(row) = waiting.pop_front() {
                            ids.enter(row);
                            model.entry(hashes[row as usize]).or_default().insert(row);
                        }
                    }
                    Deed::Remove(hash) => {
                        if let Some(row) = model.entry(hash).or_default().pop_first() {
                            ids.remove(row);
                            left.push(row);
                        }
                    }
                    Deed::Truncate => {
                        while waiting.back().is_some_and(|row| *row as usize + 1 == hashes.len()) {
                            waiting.pop_back();
                            hashes.pop();
                        }
                        ids.truncate(hashes.len() as u32);
                    }
                }
                for (row, hash) in hashes.iter().enumerate() {
                    prop_assert_eq!(ids.hash(row as u32), *hash);
                    let found: Vec<u32> = ids.of(*hash).collect();
                    let set: BTreeSet<u32> = found.iter().copied().collect();
                    prop_assert_eq!(found.len(), set.len(), "a row is there once");
                    prop_assert_eq!(Some(set), model.get(hash).cloned().or(Some(BTreeSet::new())));
                }
            }
        }
    }

    /// Distinct hashes as good as drawn.
    fn mixed(number: u32) -> u64 {
        let hash = (u64::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^ hash >> 31
    }

    #[test]
    fn growing_moves_a_few_rows_at_a_time() {
        let mut ids = Ids::new();
        let mut longest = 0;
        for row in 0..300_000u32 {
            ids.put(row, mixed(row));
            // The bucket that is split, if one is: no other row is looked at.
            let buckets = ids.buckets.len();
            let split = buckets.checked_ilog2().map(|bit| buckets - (1 << bit));
            longest = longest.max(split.map_or(0, |bucket| ids.chain(bucket).count()));
            ids.enter(row);
            assert!(ids.buckets.len() - buckets <= 1);
        }
        assert!((4..=16).contains(&longest), "{longest}");
        assert!((0..300_000).all(|row| ids.of(mixed(row)).eq([row])));
    }

    #[test]
    fn rows_that_were_expected_are_found_as_if_they_were_not() {
        let hash = |row: u32| if row.is_multiple_of(100) { mixed(row % 300) } else { mixed(row) };
        let mut ids = Ids::new();
        // Fewer than come.
        ids.expect(2_000);
        let entered = || (0..3_000u32).filter(|row| row % 7 > 0);
        for row in 0..3_000 {
            ids.put(row, hash(row));
            if row % 7 > 0 {
                ids.prefetch_bucket(row);
                ids.prefetch_first(row);
                ids.enter(row);
            }
        }
        for row in 0..3_000 {
            let mut found: Vec<u32> = ids.of(hash(row)).collect();
            found.sort_unstable();
            let of_hash = entered().filter(|other| hash(*other) == hash(row));
            assert!(found.into_iter().eq(of_hash), "row {row}");
        }
        ids.enter(0);
        entered().for_each(|row| ids.remove(row));
        assert!(ids.of(mixed(0)).eq([0]));
    }

    #[test]
    fn rows_that_come_and_go_take_no_memory() {
        let mut ids = Ids::new();
        for row in 0..20_000 {
            ids.put(row, mixed(row));
            ids.enter(row);
            if row >= 1_000 {
                ids.remove(row - 1_000);
            }
        }
        assert_eq!(ids.buckets.len(), 1_001);
    }
}
