//! A set of numbers that mostly follow each other: which generations of a stripe there are, or are no more.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeInclusive};

/// A set of numbers that mostly follow each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    /// First and last of each run.
    runs: BTreeMap<u64, u64>,
}

impl Ranges {
    /// Adds a number; whether it was not there.
    pub fn insert(&mut self, number: u64) -> bool {
        let before = self.runs.range(..=number).next_back().map(|(&first, &last)| (first, last));
        if before.is_some_and(|(_, last)| number <= last) {
            return false;
        }
        let first = match before {
            Some((first, last)) if last + 1 == number => first,
            _ => number,
        };
        let last = number.checked_add(1).and_then(|next| self.runs.remove(&next)).unwrap_or(number);
        self.runs.insert(first, last);
        true
    }

    /// Whether it is there.
    pub fn contains(&self, number: u64) -> bool {
        self.runs.range(..=number).next_back().is_some_and(|(_, last)| number <= *last)
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.runs.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The largest one.
    pub fn last(&self) -> Option<u64> {
        self.runs.last_key_value().map(|(_, last)| *last)
    }

    /// How many runs they make.
    pub fn len_runs(&self) -> usize {
        self.runs.len()
    }

    /// First and last of each run, in order.
    pub fn runs(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.runs.iter().map(|(&first, &last)| (first, last))
    }

    /// The same of all that reach beyond a number.
    pub fn runs_behind(&self, number: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let across = self.runs.range(..=number).next_back().filter(|(_, last)| **last > number);
        let behind = self.runs.range((Bound::Excluded(number), Bound::Unbounded));
        across.into_iter().chain(behind).map(|(&first, &last)| (first, last))
    }

    /// Adds all numbers of a run.
    pub fn insert_run(&mut self, mut first: u64, mut last: u64) {
        assert!(first <= last, "a run has a number");
        loop {
            let before = self.runs.range(..=last.saturating_add(1)).next_back();
            let Some((&from, &to)) = before.filter(|(_, to)| to.saturating_add(1) >= first) else {
                break;
            };
            self.runs.remove(&from);
            (first, last) = (first.min(from), last.max(to));
        }
        self.runs.insert(first, last);
    }

    /// Those that are not in `other`.
    pub fn without(&self, other: &Ranges) -> Ranges {
        let mut left = Ranges::default();
        for (mut first, last) in self.runs() {
            let before = other.runs.range(..first).next_back().map(|(_, &to)| to);
            first = before.map_or(first, |to| first.max(to.saturating_add(1)));
            for (&from, &to) in other.runs.range(first..=last.max(first)) {
                if first < from {
                    left.runs.insert(first, from - 1);
                }
                first = to.saturating_add(1);
            }
            if first <= last {
                left.runs.insert(first, last);
            }
        }
        left
    }

    /// The runs that are missing between 1 and the largest number.
    pub fn gaps(&self) -> impl Iterator<Item = RangeInclusive<u64>> {
        let mut next = 1;
        self.runs.iter().filter_map(move |(&first, &last)| {
            let gap = next..=first - 1;
            next = last.saturating_add(1);
            (!gap.is_empty()).then_some(gap)
        })
    }

    /// First and last of each run, and how many numbers come before it.
    pub fn ranks(&self) -> Vec<(u64, u64, u64)> {
        let mut before = 0;
        let rank = |(&first, &last): (&u64, &u64)| {
            let run = (first, last, before);
            before += last - first + 1;
            run
        };
        self.runs.iter().map(rank).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranges_are_a_set(numbers in prop::collection::vec(1u64..60, 0..80)) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for number in numbers {
                prop_assert_eq!(ranges.insert(number), set.insert(number));
            }
            prop_assert_eq!(ranges.len(), set.len() as u64);
            prop_assert_eq!((ranges.is_empty(), ranges.last()), (set.is_empty(), set.last().copied()));
            let last = set.last().copied().unwrap_or(0);
            let missing: Vec<u64> = (1..last).filter(|number| !set.contains(number)).collect();
            prop_assert_eq!(ranges.gaps().flatten().collect::<Vec<_>>(), missing);
            for number in 0..62 {
                prop_assert_eq!(ranges.contains(number), set.contains(&number));
            }
            for number in 0..62 {
                let behind = ranges.runs().filter(|(_, last)| *last > number);
                prop_assert!(ranges.runs_behind(number).eq(behind));
            }
            for (first, last, before) in ranges.ranks() {
                prop_assert_eq!(before, set.range(..first).count() as u64);
                prop_assert!((first..=last).all(|number| set.contains(&number)));
            }
        }

        #[test]
        fn what_is_left_is_a_difference(
            numbers in prop::collection::vec(1u64..60, 0..60),
            others in prop::collection::vec(1u64..60, 0..60),
        ) {
            let of = |numbers: &[u64]| {
                let mut ranges = Ranges::default();
                numbers.iter().for_each(|number| {
                    ranges.insert(*number);
                });
                ranges
            };
            let left: Vec<u64> =
                numbers.iter().copied().filter(|number| !others.contains(number)).collect();
            prop_assert_eq!(of(&numbers).without(&of(&others)), of(&left));
        }

        #[test]
        fn a_run_is_all_of_its_numbers(runs in prop::collection::vec((1u64..60, 0..9u64), 0..30)) {
            let (mut whole, mut single) = (Ranges::default(), Ranges::default());
            for (first, more) in runs {
                whole.insert_run(first, first + more);
                (first..=first + more).for_each(|number| {
                    single.insert(number);
                });
                prop_assert_eq!(&whole, &single);
            }
        }
    }
}
