//! A yardstick: how fast this machine is just now, so that runs of different days can be told apart.

use std::hint::black_box;
use std::time::Instant;

/// Steps of the yardstick: about a fifth of a second.
const STEPS: u64 = 100_000_000;

/// Nanoseconds for one step of a chain of multiplications that nothing can run in parallel or leave out.
pub(crate) fn nanos_per_step() -> f64 {
    let start = Instant::now();
    let mut state = black_box(0x9E37_79B9_7F4A_7C15_u64);
    for step in 0..STEPS {
        state = (state ^ step).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    }
    black_box(state);
    start.elapsed().as_nanos() as f64 / STEPS as f64
}
