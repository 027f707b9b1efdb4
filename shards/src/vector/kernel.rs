//! Which hot loops this processor runs: a table of functions, chosen once and kept by whoever
//! compares.

use super::block::Block;
use super::lanes::{LANES, tree};
use super::set::Task;
pub use super::signs::{SignLayout, SignQuery};

type Dots = unsafe fn(&[Block], &[&[Block]], &mut [i32]);
type Estimates = unsafe fn(SignLayout, &SignQuery, &[&[Block]], &mut [f32]);
type WriteRow = unsafe fn(&[Block], f32, &[f32], &mut [Block]);
type WriteQuery = unsafe fn(&[Block], f32, &[f32], &mut SignQuery);

/// The hot loops of one instruction set. All sets give the same results, bit for bit.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// What the loops are written for.
    pub name: &'static str,
    family: Family,
    dots: Dots,
    estimates: Estimates,
    encode: unsafe fn(&[f32], &mut [i8]) -> f32,
    write_row: WriteRow,
    write_query: WriteQuery,
}

/// Which [`super::set::Set`] a kernel runs work with.
#[derive(Clone, Copy, Debug)]
enum Family {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

impl Kernel {
    /// The fastest of [`Kernel::all`].
    pub fn fastest() -> Kernel {
        #[cfg(target_arch = "x86_64")]
        {
            if has_avx512() {
                return AVX512;
            }
            if is_x86_feature_detected!("avx2") {
                return AVX2;
            }
        }
        #[cfg(target_arch = "aarch64")]
        return NEON;
        #[cfg(not(target_arch = "aarch64"))]
        PORTABLE
    }

    /// Every kernel that this processor can run, the fastest first.
    pub fn all() -> Vec<Kernel> {
        let mut kernels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if has_avx512() {
                kernels.push(AVX512);
            }
            if is_x86_feature_detected!("avx2") {
                kernels.push(AVX2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        kernels.push(NEON);
        kernels.push(PORTABLE);
        kernels
    }

    /// The dot product of `query` with each of `rows`, into the first places of `out`. All are of
    /// the same length.
    #[inline]
    pub fn dots(&self, query: &[Block], rows: &[&[Block]], out: &mut [i32]) {
        debug_assert!(rows.iter().all(|row| row.len() == query.len()) && out.len() >= rows.len());
        // SAFETY: see `table`.
        unsafe { (self.dots)(query, rows, out) };
    }

    /// About the dot product of `query` with each of `rows` of 1-bit codes, into the first places
    /// of `out`.
    #[inline]
    pub fn estimates(
        &self,
        layout: SignLayout,
        query: &SignQuery,
        rows: &[&[Block]],
        out: &mut [f32],
    ) {
        debug_assert!(rows.iter().all(|row| row.len() == layout.row_blocks()));
        debug_assert!(query.planes.len() == layout.query_blocks() && out.len() >= rows.len());
        // SAFETY: see `table`.
        unsafe { (self.estimates)(layout, query, rows, out) };
    }

    /// Does work that was compiled for the processor as a whole.
    #[inline]
    pub(crate) fn run<T: Task>(&self, task: T) -> T::Output {
        match self.family {
            // SAFETY: see `table`.
            #[cfg(target_arch = "x86_64")]
            Family::Avx512 => unsafe { super::avx512::run(task) },
            // SAFETY: see `table`.
            #[cfg(target_arch = "x86_64")]
            Family::Avx2 => unsafe { super::avx2::run(task) },
            #[cfg(target_arch = "aarch64")]
            Family::Neon => task.run(super::neon::Neon),
            Family::Portable => task.run(super::portable::Portable),
        }
    }

    /// Rotates and quantises `vector` into `codes8`, which is as long as the vector, rounded up to
    /// whole blocks. Returns what a code of 1 stands for.
    pub fn encode(&self, vector: &[f32], codes8: &mut [i8]) -> f32 {
        // SAFETY: see `table`.
        unsafe { (self.encode)(vector, codes8) }
    }

    /// Writes the 1-bit codes of a row from its int8 codes, their scale and the mean of its space.
    pub fn write_row(&self, codes8: &[Block], scale: f32, mean: &[f32], row: &mut [Block]) {
        // SAFETY: see `table`.
        unsafe { (self.write_row)(codes8, scale, mean, row) };
    }

    /// Prepares a query from its int8 codes, their scale and the mean of the space.
    pub fn write_query(&self, codes8: &[Block], scale: f32, mean: &[f32], query: &mut SignQuery) {
        // SAFETY: see `table`.
        unsafe { (self.write_query)(codes8, scale, mean, query) };
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
        && is_x86_feature_detected!("avx512bitalg")
}

/// A table of the functions of one module, which are unsafe to call where the processor lacks their
/// features: such a table is handed out only if they were detected.
macro_rules! table {
    ($name:literal, $family:ident, $module:ident) => {
        Kernel {
            name: $name,
            family: Family::$family,
            dots: super::$module::dots,
            estimates: super::$module::estimates,
            encode: super::$module::encode,
            write_row: super::$module::write_row,
            write_query: super::$module::write_query,
        }
    };
}

#[cfg(target_arch = "x86_64")]
const AVX512: Kernel = table!("avx512", Avx512, avx512);
#[cfg(target_arch = "x86_64")]
const AVX2: Kernel = table!("avx2", Avx2, avx2);

const PORTABLE: Kernel = table!("portable", Portable, portable);

#[cfg(target_arch = "aarch64")]
const NEON: Kernel = Kernel {
    name: "neon",
    family: Family::Neon,
    dots: super::neon::dots,
    estimates: super::neon::estimates,
    ..PORTABLE
};

/// The exact dot product of two vectors of one length. Item i goes to partial sum i mod 16 and the
/// sums are added as one fixed tree, never fused: every processor gives the same bits.
pub fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "vectors of one space have one dimension");
    let mut sums = [0.0; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    for (sum, (a, b)) in sums.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *sum += a * b;
    }
    tree(sums, |a, b| a + b)
}

/// The square of the distance between two vectors of one length, summed as [`dot_f32`] does.
pub fn square_distance_f32(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "vectors of one space have one dimension");
    let mut sums = [0.0; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            let difference = a[lane] - b[lane];
            sums[lane] += difference * difference;
        }
    }
    for (sum, (a, b)) in sums.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *sum += (a - b) * (a - b);
    }
    tree(sums, |a, b| a + b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::block::BLOCK_CODES;
    use crate::vector::quantise::normalise;
    use crate::vector::set::Set;
    use proptest::prelude::*;

    fn blocks(codes: &[i8]) -> Vec<Block> {
        codes.chunks_exact(BLOCK_CODES).map(|part| Block(part.try_into().expect("64"))).collect()
    }

    /// A query and some rows of one length, of whole blocks, with extremes more often than chance
    /// has them.
    fn compared() -> impl Strategy<Value = Vec<Vec<Block>>> {
        let code = prop_oneof![4 => -127i8..=127, 1 => Just(127), 1 => Just(-127)];
        (1usize..=64, 1usize..=10).prop_flat_map(move |(length, count)| {
            let row = prop::collection::vec(code.clone(), length * BLOCK_CODES);
            prop::collection::vec(row.prop_map(|codes| blocks(&codes)), count)
        })
    }

    fn obvious_dot(a: &[Block], b: &[Block]) -> i32 {
        let codes = |blocks: &[Block]| blocks.iter().flat_map(|block| block.0).collect::<Vec<i8>>();
        codes(a).into_iter().zip(codes(b)).map(|(a, b)| i32::from(a) * i32::from(b)).sum()
    }

    /// What a set does with groups of numbers.
    #[derive(Debug, PartialEq)]
    struct Compared {
        /// Places of those that are larger than minus infinity.
        largest_two: Vec<usize>,
        above: u16,
        count_above: usize,
        compressed: [f32; LANES],
        nodes: Vec<u32>,
    }

    struct Compare<'a> {
        values: &'a [[f32; LANES]],
        bound: f32,
        chosen: u16,
    }

    const NODES: [u32; LANES] = [9, 8, 7, 6, 5, 4, 3, 2, 1, 10, 11, 12, 13, 14, 15, 16];

    impl Task for Compare<'_> {
        type Output = Compared;

        #[inline(always)]
        fn run<S: Set>(self, set: S) -> Compared {
            let Compare { values, bound, chosen } = self;
            let first = set.group(values[0]);
            Compared {
                largest_two: set
                    .largest_two(values)
                    .into_iter()
                    .filter(|place| values.as_flattened()[*place] > f32::NEG_INFINITY)
                    .collect(),
                above: set.above(first, bound),
                count_above: set.count_above(values, bound),
                compressed: set.array(set.compress(first, chosen)),
                nodes: set.compress_nodes(&NODES, chosen)[..chosen.count_ones() as usize].to_vec(),
            }
        }
    }

    fn obvious(values: &[[f32; LANES]], bound: f32, chosen: u16) -> Compared {
        let numbers = values.as_flattened();
        let mut order: Vec<usize> =
            (0..numbers.len()).filter(|at| numbers[*at] > f32::NEG_INFINITY).collect();
        order.sort_by(|a, b| numbers[*b].total_cmp(&numbers[*a]).then(a.cmp(b)));
        order.truncate(2);
        let lanes: Vec<usize> = (0..LANES).filter(|lane| chosen >> lane & 1 != 0).collect();
        let mut compressed = [f32::NEG_INFINITY; LANES];
        for (place, lane) in compressed.iter_mut().zip(&lanes) {
            *place = values[0][*lane];
        }
        Compared {
            largest_two: order,
            above: (0..LANES).filter(|lane| values[0][*lane] > bound).map(|lane| 1 << lane).sum(),
            count_above: numbers.iter().filter(|number| **number > bound).count(),
            compressed,
            nodes: lanes.iter().map(|lane| NODES[*lane]).collect(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn dots_are_those_of_the_obvious_loop(rows in compared()) {
            let borrowed: Vec<&[Block]> = rows[1..].iter().map(Vec::as_slice).collect();
            let wanted: Vec<i32> = borrowed.iter().map(|row| obvious_dot(&rows[0], row)).collect();
            for kernel in Kernel::all() {
                let mut out = vec![0; borrowed.len()];
                kernel.dots(&rows[0], &borrowed, &mut out);
                prop_assert_eq!(&out, &wanted, "{}", kernel.name);
            }
        }

        #[test]
        fn groups_are_compared_and_compressed_alike(
            values in prop::collection::vec(
                prop::array::uniform16(prop_oneof![-1f32..1.0, Just(0.5), Just(f32::NEG_INFINITY)]),
                1..8,
            ),
            bound in prop_oneof![-1f32..1.0, Just(0.5)],
            chosen in any::<u16>(),
        ) {
            let wanted = obvious(&values, bound, chosen);
            for kernel in Kernel::all() {
                let found = kernel.run(Compare { values: &values, bound, chosen });
                prop_assert_eq!(&found, &wanted, "{}", kernel.name);
            }
        }

        #[test]
        fn all_kernels_encode_and_estimate_alike(
            dimension in 8usize..=1_100, seed in any::<u32>(), count in 1usize..12
        ) {
            let number = |at: usize| ((at as f32 + 1.0) * (seed as f32 * 1e-9 + 0.7)).sin();
            let vectors: Vec<Vec<f32>> = (0..count)
                .map(|row| (0..dimension).map(|at| number(row * 7_919 + at) + 0.3).collect())
                .collect();
            let length = dimension.next_multiple_of(BLOCK_CODES);
            let layout = SignLayout::new(length / BLOCK_CODES);
            let mean: Vec<f32> = (0..length).map(|at| 0.1 * number(at * 31)).collect();
            let mut stories = Vec::new();
            for kernel in Kernel::all() {
                let (mut rows, mut scales, mut signs) = (Vec::new(), Vec::new(), Vec::new());
                for vector in &vectors {
                    let mut codes8 = vec![0; length];
                    let scale = kernel.encode(vector, &mut codes8);
                    let codes8 = blocks(&codes8);
                    let mut row = vec![Block::default(); layout.row_blocks()];
                    kernel.write_row(&codes8, scale, &mean, &mut row);
                    rows.push(codes8);
                    scales.push(scale);
                    signs.push(row);
                }
                let mut query = SignQuery::default();
                kernel.write_query(&rows[0], scales[0], &mean, &mut query);
                let borrowed: Vec<&[Block]> = signs.iter().map(Vec::as_slice).collect();
                let mut out = vec![0.0; count];
                kernel.estimates(layout, &query, &borrowed, &mut out);
                let out: Vec<u32> = out.into_iter().map(f32::to_bits).collect();
                stories.push((rows, scales, signs, query.planes, out));
            }
            for story in &stories[1..] {
                prop_assert_eq!(story, &stories[0]);
            }
        }

        #[test]
        fn estimates_are_near_the_dot_product(
            dimension in prop_oneof![Just(8usize), Just(100), Just(384), Just(768), Just(1_024), Just(4_096)],
            seed in any::<u32>()
        ) {
            let kernel = Kernel::fastest();
            let number = |at: usize| {
                let hash = (at as u64 + u64::from(seed)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                ((hash ^ hash >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f32 / (1 << 23) as f32 - 1.0
            };
            let length = dimension.next_multiple_of(BLOCK_CODES);
            let layout = SignLayout::new(length / BLOCK_CODES);
            let encoded = |shift: usize| {
                let mut vector: Vec<f32> = (0..dimension).map(|at| number(at + shift) + 0.5).collect();
                normalise(&mut vector).expect("not zero");
                let mut codes8 = vec![0; length];
                let scale = kernel.encode(&vector, &mut codes8);
                (vector, blocks(&codes8), scale)
            };
            let (one, one_codes, one_scale) = encoded(0);
            let (other, other_codes, other_scale) = encoded(3);
            let mean = vec![0.01; length];
            let mut row = vec![Block::default(); layout.row_blocks()];
            kernel.write_row(&one_codes, one_scale, &mean, &mut row);
            let mut query = SignQuery::default();
            kernel.write_query(&other_codes, other_scale, &mean, &mut query);
            let mut out = [0.0];
            kernel.estimates(layout, &query, &[&row], &mut out);
            let exact = dot_f32(&one, &other);
            let mut dots = [0];
            kernel.dots(&other_codes, &[&one_codes], &mut dots);
            prop_assert!((dots[0] as f32 * one_scale * other_scale - exact).abs() < 0.02);
            // An error of about one in the square root of the numbers; five of them are rare.
            let tolerance = 5.0 / (length as f32).sqrt();
            prop_assert!((out[0] - exact).abs() < tolerance, "{} for {exact}", out[0]);
        }

        #[test]
        fn float_dots_and_distances_are_near_those_in_double_precision(
            pairs in prop::collection::vec((-1f32..1.0, -1f32..1.0), 1..2_000)
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
            let exact: f64 = pairs.iter().map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            prop_assert!((f64::from(dot_f32(&a, &b)) - exact).abs() < 1e-3);
            prop_assert_eq!(dot_f32(&a, &b).to_bits(), dot_f32(&b, &a).to_bits());
            let squares = pairs.iter().map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
            let exact: f64 = squares.sum();
            prop_assert!((f64::from(square_distance_f32(&a, &b)) - exact).abs() < 1e-3);
        }
    }

    #[test]
    fn float_dots_add_in_the_order_that_is_promised() {
        // 2^24 + 1 is lost in f32, so the order shows: item 16 joins item 0's sum, and that joins
        // item 8's last.
        let mut a = [0.0f32; 20];
        (a[0], a[16], a[8], a[1]) = (16_777_216.0, 1.0, -16_777_216.0, 3.0);
        assert_eq!(dot_f32(&a, &[1.0; 20]), 3.0);
        (a[0], a[16], a[8], a[1]) = (1.0, 16_777_216.0, -16_777_216.0, 3.0);
        assert_eq!(dot_f32(&a, &[1.0; 20]), 3.0);
        (a[0], a[16], a[8], a[1]) = (16_777_216.0, -16_777_216.0, 1.0, 3.0);
        assert_eq!(dot_f32(&a, &[1.0; 20]), 4.0);
    }
}
