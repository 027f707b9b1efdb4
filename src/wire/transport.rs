//! What protocol code asks of a connection and of the executor, so that neither is named there: bytes in, bytes out,
//! and a while to wait.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes read at once, at most: a few vectors' worth, so that one read serves several messages.
const READ_BYTES: usize = 32 << 10;

/// A connection's bytes.
pub trait Transport: AsyncRead + AsyncWrite + Unpin {
    /// Appends what has come to `buffer`; 0 at the end.
    fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let filled = buffer.len();
        buffer.resize(filled + READ_BYTES, 0);
        let mut unfilled = ReadBuf::new(&mut buffer[filled..]);
        let outcome = Pin::new(self).poll_read(cx, &mut unfilled);
        let count = unfilled.filled().len();
        buffer.truncate(filled + count);
        outcome.map_ok(|()| count)
    }

    /// Sends from the front of `buffer`; ready once it is empty.
    fn poll_write_from(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<()>> {
        while !buffer.is_empty() {
            let count = ready!(Pin::new(&mut *self).poll_write(cx, buffer))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            buffer.advance(count);
        }
        Pin::new(self).poll_flush(cx)
    }

    /// Tells the peer that nothing more will be sent.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self).poll_shutdown(cx)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Transport for T {}

/// Waits for more bytes; 0 at the end.
pub(crate) async fn read_into<T: Transport>(
    transport: &mut T,
    buffer: &mut BytesMut,
) -> io::Result<usize> {
    poll_fn(|cx| transport.poll_read_into(cx, buffer)).await
}

/// Sends all of `buffer`.
pub(crate) async fn write_from<T: Transport>(
    transport: &mut T,
    buffer: &mut BytesMut,
) -> io::Result<()> {
    poll_fn(|cx| transport.poll_write_from(cx, buffer)).await
}

/// Tells the peer that nothing more will be sent.
pub(crate) async fn shutdown<T: Transport>(transport: &mut T) -> io::Result<()> {
    poll_fn(|cx| transport.poll_end(cx)).await
}

/// A connection that has switched to another protocol, with what was read of it already.
#[derive(Debug)]
pub(crate) struct Switched<S> {
    pub(crate) transport: S,
    pub(crate) read: BytesMut,
}

/// Where waiting comes from.
pub trait Timers: Clone {
    /// Ends after `duration`.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + 'static;

    /// What `work` gives, or `None` where it took longer than `duration`.
    fn within<T>(
        &self,
        duration: Duration,
        work: impl Future<Output = T>,
    ) -> impl Future<Output = Option<T>> {
        let late = self.sleep(duration);
        futures_lite::future::or(async { Some(work.await) }, async {
            late.await;
            None
        })
    }
}

/// The timers of the executor that the caller runs on.
#[derive(Clone, Copy, Debug)]
pub struct ExecutorTimers;

impl Timers for ExecutorTimers {
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + 'static {
        glommio::timer::sleep(duration)
    }
}

/// A connection and timers of tests' own.
#[cfg(test)]
pub(crate) mod fake {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::task::Waker;

    use super::*;

    /// Timers that never go off.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Never;

    impl Timers for Never {
        fn sleep(&self, _: Duration) -> impl Future<Output = ()> + 'static {
            std::future::pending()
        }
    }

    /// Timers that go off at once for waits up to some length, and never for longer ones.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct AtOnceUpTo(pub(crate) Duration);

    impl Timers for AtOnceUpTo {
        fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + 'static {
            let goes_off = duration <= self.0;
            async move {
                if !goes_off {
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    #[derive(Debug, Default)]
    struct Pipe {
        bytes: BytesMut,
        ended: bool,
        reader: Option<Waker>,
    }

    impl Pipe {
        fn wake(&mut self) {
            if let Some(waker) = self.reader.take() {
                waker.wake();
            }
        }
    }

    /// One end of an in-memory connection.
    #[derive(Debug)]
    pub(crate) struct End {
        incoming: Rc<RefCell<Pipe>>,
        outgoing: Rc<RefCell<Pipe>>,
    }

    /// A connection in memory: two ends.
    pub(crate) fn duplex() -> (End, End) {
        let (one, other) = (Rc::default(), Rc::default());
        let here = End { incoming: Rc::clone(&one), outgoing: Rc::clone(&other) };
        (here, End { incoming: other, outgoing: one })
    }

    impl AsyncRead for End {
        fn poll_read(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let mut pipe = self.incoming.borrow_mut();
            if pipe.bytes.is_empty() && !pipe.ended {
                pipe.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let count = pipe.bytes.len().min(buf.remaining());
            buf.put_slice(&pipe.bytes.split_to(count));
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for End {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let mut pipe = self.outgoing.borrow_mut();
            pipe.bytes.extend_from_slice(bytes);
            pipe.wake();
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            let mut pipe = self.outgoing.borrow_mut();
            pipe.ended = true;
            pipe.wake();
            Poll::Ready(Ok(()))
        }
    }

    impl Drop for End {
        fn drop(&mut self) {
            let mut pipe = self.outgoing.borrow_mut();
            pipe.ended = true;
            pipe.wake();
        }
    }
}
