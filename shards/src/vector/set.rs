//! The instructions of one kind of processor as a type: what is written over it once is compiled
//! for each as a whole, with nothing called through a pointer.

use super::block::Block;
use super::lanes::{LANES, Lanes};
use super::signs::{SignLayout, SignQuery};

/// Rows whose int8 codes are compared at once.
pub(crate) const FOUR: usize = 4;

/// Instructions on sixteen numbers at a time. Whoever holds one has found that the processor has
/// them. All sets give the same results, bit for bit.
pub(crate) trait Set: Copy {
    /// Sixteen numbers.
    type Group: Copy;

    /// About the dot product of `query` with each of the first `count` of `rows`, which are 1-bit
    /// codes; the other lanes are undefined. At least one is compared.
    fn estimates(
        self,
        layout: SignLayout,
        query: &SignQuery,
        rows: &[&[Block]; LANES],
        count: usize,
    ) -> Self::Group;

    /// The dot product of `query` with each of `rows`, which are int8 codes of the same length.
    fn dots(self, query: &[Block], rows: &[&[Block]; FOUR]) -> [i32; FOUR];

    /// The numbers, as they lie in memory.
    fn array(self, group: Self::Group) -> [f32; LANES];

    /// Numbers from memory.
    fn group(self, array: [f32; LANES]) -> Self::Group;

    /// The lanes that are larger than `bound`.
    fn above(self, group: Self::Group, bound: f32) -> Lanes;

    /// How many of the numbers are larger than `bound`.
    fn count_above(self, numbers: &[[f32; LANES]], bound: f32) -> usize;

    /// The chosen lanes, in their order, and minus infinity behind them.
    fn compress(self, group: Self::Group, chosen: Lanes) -> Self::Group;

    /// The chosen of `nodes`, in their order; what lies behind them is undefined.
    fn compress_nodes(self, nodes: &[u32; LANES], chosen: Lanes) -> [u32; LANES];

    /// The first places of the largest number and of the next; of two that are equal, the first
    /// comes first. Where all are minus infinity, any places.
    fn largest_two(self, numbers: &[[f32; LANES]]) -> [usize; 2];
}

/// Work that is compiled for each set. Its functions are to be inlined into [`Task::run`].
pub(crate) trait Task {
    /// What comes of it.
    type Output;

    /// Does it.
    fn run<S: Set>(self, set: S) -> Self::Output;
}

/// [`Set`] in plain Rust, but for the functions that compare codes: the compiler makes of it what
/// the processor has.
macro_rules! plain_set {
    ($name:ident, $estimates:path, $dots:path) => {
        impl $crate::vector::set::Set for $name {
            type Group = [f32; LANES];

            #[inline(always)]
            fn estimates(
                self,
                layout: SignLayout,
                query: &SignQuery,
                rows: &[&[Block]; LANES],
                count: usize,
            ) -> [f32; LANES] {
                let mut out = [0.0; LANES];
                // SAFETY: whoever holds a set has found that the processor has its instructions.
                #[allow(unused_unsafe)]
                unsafe {
                    $estimates(layout, query, &rows[..count], &mut out)
                };
                out
            }

            #[inline(always)]
            fn dots(
                self,
                query: &[Block],
                rows: &[&[Block]; $crate::vector::set::FOUR],
            ) -> [i32; $crate::vector::set::FOUR] {
                let mut out = [0; $crate::vector::set::FOUR];
                // SAFETY: whoever holds a set has found that the processor has its instructions.
                #[allow(unused_unsafe)]
                unsafe {
                    $dots(query, rows, &mut out)
                };
                out
            }

            #[inline(always)]
            fn array(self, group: [f32; LANES]) -> [f32; LANES] {
                group
            }

            #[inline(always)]
            fn group(self, array: [f32; LANES]) -> [f32; LANES] {
                array
            }

            #[inline(always)]
            fn above(self, group: [f32; LANES], bound: f32) -> $crate::vector::lanes::Lanes {
                let mut lanes = 0;
                for (lane, number) in group.iter().enumerate() {
                    lanes |= u16::from(*number > bound) << lane;
                }
                lanes
            }

            #[inline(always)]
            fn count_above(self, numbers: &[[f32; LANES]], bound: f32) -> usize {
                numbers.as_flattened().iter().map(|number| usize::from(*number > bound)).sum()
            }

            #[inline(always)]
            fn compress(
                self,
                group: [f32; LANES],
                chosen: $crate::vector::lanes::Lanes,
            ) -> [f32; LANES] {
                let mut out = [f32::NEG_INFINITY; LANES];
                $crate::vector::lanes::each(chosen, |at, lane| out[at] = group[lane]);
                out
            }

            #[inline(always)]
            fn compress_nodes(
                self,
                nodes: &[u32; LANES],
                chosen: $crate::vector::lanes::Lanes,
            ) -> [u32; LANES] {
                let mut out = [0; LANES];
                $crate::vector::lanes::each(chosen, |at, lane| out[at] = nodes[lane]);
                out
            }

            #[inline(always)]
            fn largest_two(self, numbers: &[[f32; LANES]]) -> [usize; 2] {
                $crate::vector::lanes::largest_two(numbers.as_flattened())
            }
        }
    };
}
pub(super) use plain_set;
