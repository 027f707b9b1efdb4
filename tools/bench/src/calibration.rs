//! What runs of different days are told apart by: the machine, how fast it is just now, and the commit.

use std::hint::black_box;
use std::process::Command;
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

/// The processor, as it names itself.
pub(crate) fn machine() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or("unknown".to_owned(), |(_, name)| name.to_owned())
}

/// The commit that lies in the source folder, with `-dirty` where it has been changed.
pub(crate) fn commit() -> String {
    let output = Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"])
        .output();
    match output {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => "unknown".to_owned(),
    }
}
