//! The way from this core to another: a ring, and what waits for room in it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::frame::Frame;
use super::ring::{Bell, Sender};
use crate::limits::RING_KICK_FRAMES;

/// Frames to one other core, in order.
#[derive(Debug)]
pub(crate) struct Outgoing {
    sender: Sender<Frame>,
    /// The receiver's bell.
    bell: Arc<Bell>,
    /// Bounded by the budget for observations, and by the number of ports for the rest. A ring
    /// alone would either fail (ten thousand sessions that detach at once) or block, and rings that
    /// block each other are a deadlock.
    backlog: VecDeque<Frame>,
}

impl Outgoing {
    pub(crate) fn new(sender: Sender<Frame>, bell: Arc<Bell>) -> Outgoing {
        Outgoing { sender, bell, backlog: VecDeque::new() }
    }

    /// Sends a frame with the next batch.
    pub(crate) fn push(&mut self, frame: Frame) {
        if !self.backlog.is_empty() {
            return self.backlog.push_back(frame);
        }
        if let Err(frame) = self.sender.push(frame) {
            self.backlog.push_back(frame);
        }
        if self.sender.unpublished() >= RING_KICK_FRAMES {
            self.publish();
        }
    }

    /// Shows the receiver all that fits the ring. Returns whether that is everything.
    pub(crate) fn flush(&mut self) -> bool {
        while let Some(frame) = self.backlog.pop_front() {
            if let Err(frame) = self.sender.push(frame) {
                self.backlog.push_front(frame);
                break;
            }
        }
        if self.sender.unpublished() > 0 {
            self.publish();
        }
        self.backlog.is_empty()
    }

    fn publish(&mut self) {
        self.sender.publish();
        self.bell.ring();
    }
}
