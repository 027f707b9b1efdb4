//! What one core may have between its sockets and the owners: so many requests, so many bytes.

use std::collections::VecDeque;

use super::frame::Address;

/// Woken for each request that is given back, lest one that no longer wants it keep it from the
/// others.
const WAKE_EACH: usize = 2;

/// The budget of one core, and the ports that wait for some of it.
#[derive(Debug)]
pub(crate) struct BudgetPool {
    requests_max: u32,
    bytes_max: usize,
    requests: u32,
    bytes: usize,
    waiting: VecDeque<Address>,
}

impl BudgetPool {
    pub(crate) fn new(requests_max: u32, bytes_max: usize) -> BudgetPool {
        assert!(requests_max > 0 && bytes_max > 0, "nothing could ever be observed");
        BudgetPool { requests_max, bytes_max, requests: 0, bytes: 0, waiting: VecDeque::new() }
    }

    /// Takes one request of `bytes`, if there is room. The last one may be larger than the room:
    /// else one that is larger than the whole budget would wait for ever.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let room = self.has_room();
        if room {
            self.requests += 1;
            self.bytes += bytes;
        }
        room
    }

    pub(crate) fn resize(&mut self, from: usize, to: usize) {
        self.bytes = self.bytes - from + to;
    }

    /// Gives one request back.
    pub(crate) fn give(&mut self, bytes: usize) {
        assert!(self.requests > 0 && self.bytes >= bytes, "more was given back than was taken");
        self.requests -= 1;
        self.bytes -= bytes;
    }

    pub(crate) fn wait(&mut self, port: Address) {
        self.waiting.push_back(port);
    }

    /// The next ports to be woken after something was given back. While anything is out there will
    /// be a next time; the last one wakes all.
    pub(crate) fn woken(&mut self) -> impl Iterator<Item = Address> {
        let count = match (self.has_room(), self.requests) {
            (false, _) => 0,
            (true, 0) => self.waiting.len(),
            (true, _) => WAKE_EACH.min(self.waiting.len()),
        };
        self.waiting.drain(..count)
    }

    pub(crate) fn requests(&self) -> u32 {
        self.requests
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn has_room(&self) -> bool {
        self.requests < self.requests_max && self.bytes < self.bytes_max
    }
}
