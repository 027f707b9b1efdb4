//! When a client's flow lets a result be told: with the timer that its pace needs.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use glommio::timer::Timer;

use super::flow::{Flow, Leave};
use crate::core::Core;

/// Ready once one may be told. `timer` runs while it has to wait for its pace; a change of the flow ends it.
pub(crate) fn poll_leave(
    core: &Core,
    flow: &mut Flow,
    timer: &mut Option<Timer>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    loop {
        match flow.leave(core.now()) {
            Leave::Now(_) => return Poll::Ready(()),
            Leave::Withheld => return Poll::Pending,
            Leave::After(micros) => {
                let pace = || Timer::new(Duration::from_micros(micros));
                ready!(Pin::new(timer.get_or_insert_with(pace)).poll(cx));
                *timer = None;
            }
        }
    }
}
