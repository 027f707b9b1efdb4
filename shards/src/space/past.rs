//! Which generation was durable when, for a while back.

use std::collections::VecDeque;

use crate::ids::{Generation, Time};
use crate::limits::PAST_MICROS;

/// The commits of a stripe since it was made or restored, the last minute's at most.
#[derive(Debug)]
pub(super) struct Past {
    /// When each ended, and what was durable then; the first is the oldest time that is known. Neither falls.
    commits: VecDeque<(Time, Generation)>,
}

impl Past {
    /// Nothing is known before `now`, when all up to `durable` is.
    pub(super) fn new(now: Time, durable: Generation) -> Past {
        Past { commits: [(now, durable)].into() }
    }

    /// All up to `durable` is so from `at` on.
    pub(super) fn commit(&mut self, at: Time, durable: Generation) {
        let last = self.commits.back_mut().expect("one is always known");
        match last.0 >= at {
            true => last.1 = durable,
            false => self.commits.push_back((at, durable)),
        }
        // The first that is kept holds for the time before the second.
        while self.commits.get(1).is_some_and(|(second, _)| at.micros_since(*second) > PAST_MICROS)
        {
            self.commits.pop_front();
        }
    }

    /// What was durable at a time; none where that is not known any more.
    pub(super) fn durable_at(&self, at: Time) -> Option<Generation> {
        let later = self.commits.partition_point(|(commit, _)| *commit <= at);
        later.checked_sub(1).map(|last| self.commits[last].1)
    }

    /// From when on all up to a generation was durable, as far as is known.
    pub(super) fn since(&self, generation: Generation) -> Time {
        let before = self.commits.partition_point(|(_, durable)| *durable < generation);
        self.commits[before.min(self.commits.len() - 1)].0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_knows_what_all_commits_together_tell(
            commits in prop::collection::vec((0..20_000_000u64, 1..5u64), 0..60),
            asked in prop::collection::vec(0..1_000_000_000u64, 20),
        ) {
            let (mut now, mut durable) = (1_000, 7);
            let mut past = Past::new(Time(now), Generation(durable));
            let mut all = vec![(now, durable)];
            for (after, count) in commits {
                (now, durable) = (now + after, durable + count);
                past.commit(Time(now), Generation(durable));
                all.push((now, durable));
            }
            let times = all.iter().flat_map(|(at, _)| [at.saturating_sub(1), *at, at + 1]);
            for at in times.chain(asked.into_iter().map(|at| at % (now + 10))) {
                let expected = all.iter().rev().find(|(commit, _)| *commit <= at);
                let expected = expected.map(|(_, durable)| Generation(*durable));
                match past.durable_at(Time(at)) {
                    None => prop_assert!(expected.is_none() || now - at >= PAST_MICROS),
                    known => prop_assert_eq!(known, expected),
                }
            }
            for (_, durable) in &all {
                let since = past.since(Generation(*durable));
                let first = all.iter().find(|(_, known)| known >= durable).expect("itself").0;
                prop_assert!(since.0 == first || now - first >= PAST_MICROS);
            }
        }
    }
}
