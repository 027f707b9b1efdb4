//! Drives a window over a transport until all is acked.

use std::future::Future;
use std::time::{Duration, Instant};
use std::{error, fmt};

use engram_proto::engram::v1::Episode;
use futures_lite::future;

use super::window::{Answer, Next, Violation, Window};

/// Bytes that are encoded before the transport gets them: several messages share a frame and a wake-up.
const FLUSH_BYTES: usize = 64 << 10;

/// A session's stream on some protocol.
pub trait Transport {
    /// Why it broke.
    type Error: error::Error;

    /// Puts an observation behind those that wait for [`Transport::flush`].
    fn push(&mut self, sequence: u64, episode: Episode);

    /// Bytes that wait for [`Transport::flush`].
    fn waiting_bytes(&self) -> usize;

    /// Sends what waits. Ends early with an answer where one comes before all is sent, so that neither side can wait for
    /// the other. May be dropped and called again.
    fn flush(&mut self) -> impl Future<Output = Result<Option<Answer>, Self::Error>>;

    /// The next answer. May be dropped and called again.
    fn answer(&mut self) -> impl Future<Output = Result<Answer, Self::Error>>;
}

/// Why a stream ended before all was acked.
#[derive(Debug)]
pub enum StreamError<E> {
    /// The transport broke.
    Transport(E),
    /// The server answered out of turn, or refused for good.
    Violation(Violation),
}

impl<E: fmt::Display> fmt::Display for StreamError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamError::Transport(why) => why.fmt(f),
            StreamError::Violation(why) => why.fmt(f),
        }
    }
}

impl<E: error::Error> error::Error for StreamError<E> {}

/// Sends what `episode_of` gives for each sequence until all is acked; `acked` gets the latency of each ack. Times count
/// from `start`. After an error the window tells what is acked.
pub async fn run<T: Transport>(
    transport: &mut T,
    window: &mut Window,
    start: Instant,
    mut episode_of: impl FnMut(u64) -> Episode,
    mut acked: impl FnMut(Duration),
) -> Result<(), StreamError<T::Error>> {
    loop {
        let next = push_what_may_go(transport, window, start, &mut episode_of);
        if next == Next::Done {
            return Ok(());
        }
        let mut answer = transport.flush().await.map_err(StreamError::Transport)?;
        if answer.is_none() {
            answer = match next {
                // The buffer was full; there is more to send.
                Next::Send(_) => None,
                Next::Until(due) => answer_until(transport, start + due).await?,
                Next::Answer => Some(transport.answer().await.map_err(StreamError::Transport)?),
                Next::Done => unreachable!("returned above"),
            };
        }
        // Answers come in bursts: all that are here make room before more is sent.
        while let Some(taken) = answer.take() {
            let handled = window.handle_answer(taken, start.elapsed(), &mut acked);
            handled.map_err(StreamError::Violation)?;
            let ready = future::poll_once(transport.answer()).await;
            answer = ready.transpose().map_err(StreamError::Transport)?;
        }
    }
}

/// Waits until all that is under way is answered, and sends nothing more.
pub async fn settle<T: Transport>(
    transport: &mut T,
    window: &mut Window,
    start: Instant,
    mut acked: impl FnMut(Duration),
) -> Result<(), StreamError<T::Error>> {
    while window.under_way() > 0 {
        let answer = match transport.flush().await.map_err(StreamError::Transport)? {
            Some(answer) => answer,
            None => transport.answer().await.map_err(StreamError::Transport)?,
        };
        let handled = window.handle_answer(answer, start.elapsed(), &mut acked);
        handled.map_err(StreamError::Violation)?;
    }
    Ok(())
}

/// Returns what [`Window::next`] says after it.
fn push_what_may_go<T: Transport>(
    transport: &mut T,
    window: &mut Window,
    start: Instant,
    episode_of: &mut impl FnMut(u64) -> Episode,
) -> Next {
    loop {
        let now = start.elapsed();
        let next = window.next(now);
        match next {
            Next::Send(sequence) if transport.waiting_bytes() < FLUSH_BYTES => {
                transport.push(sequence, episode_of(sequence));
                window.handle_sent(sequence, now);
            }
            _ => return next,
        }
    }
}

async fn answer_until<T: Transport>(
    transport: &mut T,
    due: Instant,
) -> Result<Option<Answer>, StreamError<T::Error>> {
    let answered = async { transport.answer().await.map(Some) };
    let elapsed = async {
        glommio::timer::sleep(due.saturating_duration_since(Instant::now())).await;
        Ok(None)
    };
    future::or(answered, elapsed).await.map_err(StreamError::Transport)
}
