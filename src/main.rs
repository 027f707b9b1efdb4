//! The one binary: `engram serve`, `engram demo`, `engram completions`.

use std::process::ExitCode;

/// Each thread has its own heap, which fits one executor a core.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    engram::cli::run()
}
