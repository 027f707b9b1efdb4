//! Finds the living, durable rows of a memory's hash.

use hashbrown::HashTable;

/// Row numbers by memory hash. Several rows may share one: a replacement that is not verified yet, or, one day, two
/// ids with one hash. The hashes themselves lie in the rows' array; they are keyed already, so they are used as they are.
#[derive(Debug, Default)]
pub(super) struct Ids {
    rows: HashTable<u32>,
}

impl Ids {
    /// Enters `row`.
    pub(super) fn insert(&mut self, row: u32, hashes: &[u64]) {
        self.rows.insert_unique(hashes[row as usize], row, |&other| hashes[other as usize]);
    }

    /// Takes `row` out.
    pub(super) fn remove(&mut self, row: u32, hashes: &[u64]) {
        let entry = self.rows.find_entry(hashes[row as usize], |&other| other == row);
        entry.expect("a living durable row is in the table").remove();
    }

    /// All rows of `hash`, in no order that anything may depend on.
    pub(super) fn of<'a>(&'a self, hash: u64, hashes: &'a [u64]) -> impl Iterator<Item = u32> + 'a {
        self.rows.iter_hash(hash).copied().filter(move |&row| hashes[row as usize] == hash)
    }
}
