//! From which generation on each row is seen, and from which on no more.

use crate::ids::{Generation, Row};
use crate::vector::arena::Arena;

/// Bits of a generation here: a stripe that takes a million rows a second has them for nine years.
const BITS: u32 = 48;
/// The end of what is seen for good, and the begin of what is not seen at all.
const NEVER: u64 = (1 << BITS) - 1;

/// The span of each row. A search asks it of each row that it meets, so it stands apart from all
/// else.
#[derive(Debug)]
pub(super) struct Spans {
    spans: Arena<Span>,
}

/// Two generations in twelve bytes: the low halves, then the rest of both.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    low: [u32; 2],
    high: [u16; 2],
}

const _: () = assert!(size_of::<Span>() == 12);

impl Span {
    fn new(from: u64, until: u64) -> Span {
        assert!(from <= NEVER && until <= NEVER, "a stripe is full");
        let high = [from, until].map(|generation| (generation >> 32) as u16);
        Span { low: [from as u32, until as u32], high }
    }

    fn from(self) -> u64 {
        u64::from(self.high[0]) << 32 | u64::from(self.low[0])
    }

    fn until(self) -> u64 {
        u64::from(self.high[1]) << 32 | u64::from(self.low[1])
    }
}

impl Spans {
    /// No rows.
    pub(super) fn new() -> Spans {
        Spans { spans: Arena::new(1) }
    }

    /// The row in this slot, the next one or one that is used again, is of `generation`.
    pub(super) fn put(&mut self, row: Row, generation: Generation) {
        if row.0 == self.spans.len() {
            self.spans.push();
        }
        assert!(generation.0 < NEVER, "a stripe is full");
        self.spans[row.0] = Span::new(generation.0, NEVER);
    }

    /// There is no row in this slot any more. Slots from `slots` on are no more.
    pub(super) fn drop(&mut self, row: Row, slots: u32) {
        self.spans[row.0] = Span::new(NEVER, NEVER);
        self.spans.truncate(slots);
    }

    /// The row is not seen from `generation` on.
    pub(super) fn end(&mut self, row: Row, generation: Generation) {
        self.spans[row.0] = Span::new(self.spans[row.0].from(), generation.0);
    }

    /// The row's generation.
    pub(super) fn generation(&self, row: Row) -> Generation {
        Generation(self.spans[row.0].from())
    }

    /// From which generation on the row is seen, and from which on no more: as numbers, which may stand for never.
    pub(super) fn of(&self, row: Row) -> (u64, u64) {
        let span = self.spans[row.0];
        (span.from(), span.until())
    }

    /// Whether the row is seen, and to no end.
    pub(super) fn is_endless(&self, row: Row) -> bool {
        let span = self.spans[row.0];
        span.from() != NEVER && span.until() == NEVER
    }

    /// Whether the row is seen as of `generation`.
    #[inline]
    pub(super) fn sees(&self, row: Row, generation: Generation) -> bool {
        let span = self.spans[row.0];
        span.from() <= generation.0 && generation.0 < span.until()
    }

    /// Bytes of RAM that they take.
    pub(super) fn bytes(&self) -> u64 {
        self.spans.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_row_is_seen_from_its_generation_to_its_end(
            first in prop_oneof![1..10u64, (1u64 << 32) - 2..(1 << 32) + 2, 1..NEVER],
            lasts in prop::option::of(prop_oneof![1..10u64, 1..NEVER]),
            after in prop_oneof![0..20u64, 0..NEVER]
        ) {
            let mut spans = Spans::new();
            spans.put(Row(0), Generation(7));
            spans.put(Row(1), Generation(first));
            let end = lasts.map(|lasts| (first + lasts).min(NEVER - 1));
            if let Some(end) = end {
                spans.end(Row(1), Generation(end));
            }
            prop_assert_eq!(spans.generation(Row(1)), Generation(first));
            prop_assert_eq!(spans.is_endless(Row(1)), end.is_none());
            for at in [first - 1, first, (first + after).min(NEVER - 1)] {
                let seen = at >= first && end.is_none_or(|end| at < end);
                prop_assert_eq!(spans.sees(Row(1), Generation(at)), seen);
            }
            spans.drop(Row(1), 2);
            prop_assert!(!spans.sees(Row(1), Generation(first)) && !spans.is_endless(Row(1)));
            spans.put(Row(1), Generation(first));
            prop_assert!(spans.sees(Row(1), Generation(first)) && spans.is_endless(Row(0)));
        }
    }
}
