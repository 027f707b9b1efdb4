//! Starts the server: folder, sockets, executors, recovery; and ends it in order.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::core::ServeSettings;

/// What to serve, where.
#[derive(Clone, Debug, PartialEq)]
pub struct ServeConfig {
    /// The data folder; made where it is not there.
    pub data_dir: PathBuf,
    /// Where to listen; port 0 picks a free one.
    pub listeners: Vec<SocketAddr>,
    /// The CPUs to run on, one executor each, as [`crate::cores`] gives them.
    pub cores: Vec<usize>,
    /// What connections need to know.
    pub settings: ServeSettings,
}

/// Why the server did not start, or did not stop in order.
#[derive(Debug)]
pub enum BootError {}

/// Serves until SIGTERM or SIGINT.
pub fn serve(config: ServeConfig) -> Result<(), BootError> {
    let _ = config;
    todo!()
}

impl std::fmt::Display for BootError {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {}
    }
}
