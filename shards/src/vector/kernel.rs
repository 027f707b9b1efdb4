//! Which hot loops this processor runs: a table of functions, chosen once and kept by whoever
//! compares.

use super::portable;

/// Codes in one block.
pub const BLOCK_CODES: usize = 64;

/// The unit of stored codes: a cache line and a register of AVX-512.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Block(pub [i8; BLOCK_CODES]);

impl Default for Block {
    fn default() -> Block {
        Block([0; BLOCK_CODES])
    }
}

/// The hot loops of one instruction set. All sets give the same results, bit for bit.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// What the loops are written for.
    pub name: &'static str,
    dots: fn(&[Block], &[&[Block]], &mut [i32]),
    largest: fn(&[i64]) -> usize,
    smallest: fn(&[i64]) -> usize,
}

impl Kernel {
    /// The fastest of [`Kernel::all`].
    pub fn fastest() -> Kernel {
        Kernel::all()[0]
    }

    /// Every kernel that this processor can run, the fastest first.
    pub fn all() -> Vec<Kernel> {
        let mut kernels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni")
            {
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
        (self.dots)(query, rows, out);
    }

    /// The first place of the largest value; there must be a value.
    #[inline]
    pub fn largest(&self, values: &[i64]) -> usize {
        (self.largest)(values)
    }

    /// The first place of the smallest value; there must be a value.
    #[inline]
    pub fn smallest(&self, values: &[i64]) -> usize {
        (self.smallest)(values)
    }
}

const PORTABLE: Kernel = Kernel {
    name: "portable",
    dots: portable::dots,
    largest: portable::largest,
    smallest: portable::smallest,
};

// SAFETY of the calls below: a table is handed out only by `Kernel::all`, and only where the
// features were detected.

#[cfg(target_arch = "x86_64")]
const AVX2: Kernel = {
    use super::avx2;
    Kernel {
        name: "avx2",
        // SAFETY: see above.
        dots: |query, rows, out| unsafe { avx2::dots(query, rows, out) },
        // SAFETY: see above.
        largest: |values| unsafe { avx2::largest(values) },
        // SAFETY: see above.
        smallest: |values| unsafe { avx2::smallest(values) },
    }
};

#[cfg(target_arch = "x86_64")]
const AVX512: Kernel = {
    use super::avx512;
    Kernel {
        name: "avx512",
        // SAFETY: see above.
        dots: |query, rows, out| unsafe { avx512::dots(query, rows, out) },
        // SAFETY: see above.
        largest: |values| unsafe { avx512::largest(values) },
        // SAFETY: see above.
        smallest: |values| unsafe { avx512::smallest(values) },
    }
};

#[cfg(target_arch = "aarch64")]
const NEON: Kernel = Kernel {
    name: "neon",
    dots: super::neon::dots,
    largest: portable::largest,
    smallest: portable::smallest,
};

/// Partial sums of a float reduction.
pub(super) const LANES: usize = 16;

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

/// Folds 16 lanes as halves onto halves: the order that a register of 16, 8 or 4 lanes can follow.
pub(super) fn tree<T: Copy>(mut lanes: [T; LANES], join: impl Fn(T, T) -> T) -> T {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = join(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;
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
        fn extremes_are_found_at_their_first_place(
            values in prop::collection::vec(prop_oneof![any::<i64>(), -2i64..2], 1..100)
        ) {
            let first = |wanted: &i64| values.iter().position(|value| value == wanted);
            for kernel in Kernel::all() {
                prop_assert_eq!(Some(kernel.largest(&values)), first(values.iter().max().expect("some")));
                prop_assert_eq!(Some(kernel.smallest(&values)), first(values.iter().min().expect("some")));
            }
        }

        #[test]
        fn float_dots_are_near_those_in_double_precision(
            pairs in prop::collection::vec((-1f32..1.0, -1f32..1.0), 1..2_000)
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
            let exact: f64 = pairs.iter().map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            prop_assert!((f64::from(dot_f32(&a, &b)) - exact).abs() < 1e-3);
            prop_assert_eq!(dot_f32(&a, &b).to_bits(), dot_f32(&b, &a).to_bits());
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
