//! Runs a client on an executor of its own.

use std::future::Future;

use glommio::{LocalExecutorBuilder, Placement};

use crate::knock;
use crate::limits::{EXECUTOR_IO_MEMORY_BYTES, EXECUTOR_TICK};

/// Runs `client` on this thread until it ends, pinned to `core` where one is named.
///
/// # Errors
/// When the executor cannot be made; [`crate::preflight`] tells the reasons apart.
pub fn run<F: Future>(core: Option<usize>, client: F) -> Result<F::Output, String> {
    let placement = core.map_or(Placement::Unbound, Placement::Fixed);
    let executor = LocalExecutorBuilder::new(placement)
        .name("client")
        .io_memory(EXECUTOR_IO_MEMORY_BYTES)
        .make()
        .map_err(|why| why.to_string())?;
    knock::run(&executor, EXECUTOR_TICK, client).map_err(|why| why.to_string())
}
