//! ```text
//! test ──► Server (a process of the real binary, its folder, its port)
//!   └────► Client ──► Observing (one ObserveStream, driven message by message)
//! ```
//! | file | responsibility |
//! |---|---|
//! | `http` | the few requests of plain HTTP/1.1 that tests need |
//! | `faulty_disk` | a file system that fails when the test wants it to |
//! | `image` | a file system in a file, to be filled or cut off |
//! | `server` | start, ready, kill, stop; fails the test where the server panicked |
//! | `memories` | episodes made of the bundled real data |
//! | `observing` | a session's stream, and what is expected of its answers |
//! | `socket` | a WebSocket, by tungstenite |
//! | `pair` | two sessions that stream through crashes, and what must be there after each |
//! | `client` | tonic calls with ProstCodec, written out since no generator runs here |
//!
//! A wait ends with what was waited for or fails after [`PATIENCE`], which is no part of any promise.

mod faulty_disk;
mod http;
mod image;
mod server;
mod memories;
mod observing;
mod client;
mod socket;
mod pair;

use std::time::Duration;

pub(crate) use client::{Client, Recalled, first_of};
pub(crate) use faulty_disk::{Fault, FaultyDisk};
pub(crate) use http::{Visitor, get, post, raw, space};
pub(crate) use image::{Image, Kind, data_of};
pub(crate) use memories::Memories;
pub(crate) use observing::Observing;
pub(crate) use pair::{Pair, random, setting};
pub(crate) use server::{Server, run, stripe_of};
pub(crate) use socket::{Heard, Socket};

/// How long anything may take before the test gives up on it: far beyond what a busy test machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for what the server owes; fails the test, naming it, where it does not come.
pub(crate) async fn owed<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("no {what} within {PATIENCE:?}"),
    }
}
