//! A set of rows, a bit for each.

use crate::ids::Row;

const WORD_ROWS: u32 = u64::BITS;

/// Rows in no order but that of their numbers.
#[derive(Debug, Default)]
pub(super) struct RowSet {
    words: Vec<u64>,
    len: u32,
}

impl RowSet {
    /// Adds a row that may be in it.
    pub(super) fn insert(&mut self, row: Row) {
        let word = (row.0 / WORD_ROWS) as usize;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        let bit = 1 << (row.0 % WORD_ROWS);
        self.len += u32::from(self.words[word] & bit == 0);
        self.words[word] |= bit;
    }

    /// Takes a row out that is in it.
    pub(super) fn remove(&mut self, row: Row) {
        assert!(self.contains(row), "only what is in a set is taken out");
        self.words[(row.0 / WORD_ROWS) as usize] &= !(1 << (row.0 % WORD_ROWS));
        self.len -= 1;
    }

    /// Whether a row is in it.
    pub(super) fn contains(&self, row: Row) -> bool {
        let word = self.words.get((row.0 / WORD_ROWS) as usize);
        word.is_some_and(|word| word >> (row.0 % WORD_ROWS) & 1 != 0)
    }

    /// How many there are.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// The first row from `from` on; after the last it goes on with the first of all.
    pub(super) fn next_from(&self, from: Row) -> Option<Row> {
        let first = (from.0 / WORD_ROWS) as usize;
        let rest = self.words.get(first).map_or(0, |word| word >> (from.0 % WORD_ROWS));
        if rest != 0 {
            return Some(Row(from.0 + rest.trailing_zeros()));
        }
        let words = (first + 1..self.words.len()).chain(0..self.words.len());
        let word = words.into_iter().find(|word| self.words[*word] != 0)?;
        Some(Row(word as u32 * WORD_ROWS + self.words[word].trailing_zeros()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_is_a_set_and_goes_around(
            deeds in prop::collection::vec((any::<bool>(), 0..300u32), 0..100), from in 0..400u32
        ) {
            let (mut set, mut model) = (RowSet::default(), BTreeSet::new());
            for (is_added, row) in deeds {
                match is_added || !model.contains(&row) {
                    true => {
                        set.insert(Row(row));
                        model.insert(row);
                    }
                    false => {
                        set.remove(Row(row));
                        model.remove(&row);
                    }
                }
                prop_assert_eq!(set.len() as usize, model.len());
                prop_assert!((0..300).all(|row| set.contains(Row(row)) == model.contains(&row)));
                let next = model.range(from..).chain(&model).next();
                prop_assert_eq!(set.next_from(Row(from)), next.map(|row| Row(*row)));
            }
        }
    }
}
