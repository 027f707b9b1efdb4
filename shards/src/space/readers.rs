//! Who may still refer to rows that have left the graph.

use std::collections::VecDeque;

/// One who may refer to rows by number between two steps. It is handed back when that is over.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Reading(u64);

/// All who read, by how many rows had left when they began.
#[derive(Debug, Default)]
pub(super) struct Readers {
    /// In the order in which they began; the first has one reader at least.
    open: VecDeque<Since>,
}

#[derive(Debug)]
struct Since {
    departed: u64,
    readers: u32,
}

impl Readers {
    /// One begins, now that so many rows have left.
    pub(super) fn begin(&mut self, departed: u64) -> Reading {
        match self.open.back_mut() {
            Some(since) if since.departed == departed => since.readers += 1,
            last => {
                assert!(last.is_none_or(|since| since.departed < departed), "rows leave once");
                self.open.push_back(Since { departed, readers: 1 });
            }
        }
        Reading(departed)
    }

    /// One ends.
    pub(super) fn end(&mut self, reading: Reading) {
        let place = self.open.binary_search_by_key(&reading.0, |since| since.departed);
        let since = &mut self.open[place.expect("one who reads has begun")];
        since.readers -= 1;
        while self.open.front().is_some_and(|since| since.readers == 0) {
            self.open.pop_front();
        }
    }

    /// Whether someone may refer to the row that left as number `departure`, counted from 1.
    pub(super) fn may_refer_to(&self, departure: u64) -> bool {
        self.open.front().is_some_and(|since| since.departed < departure)
    }

    /// Bytes of RAM that they take.
    pub(super) fn bytes(&self) -> u64 {
        (self.open.capacity() * size_of::<Since>()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_row_is_referred_to_by_those_who_began_before_it_left(
            deeds in prop::collection::vec((0..3u8, any::<prop::sample::Index>()), 0..200)
        ) {
            let (mut readers, mut open) = (Readers::default(), Vec::new());
            let mut departed = 0;
            for (deed, which) in deeds {
                match deed {
                    0 => departed += 1,
                    1 => open.push((departed, readers.begin(departed))),
                    _ if open.is_empty() => {}
                    _ => readers.end(open.swap_remove(which.index(open.len())).1),
                }
                for departure in 1..=departed {
                    let refers = open.iter().any(|(since, _)| *since < departure);
                    prop_assert_eq!(readers.may_refer_to(departure), refers);
                }
            }
        }
    }
}
