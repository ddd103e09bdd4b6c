//! The lane as hyper sees it: a stream on which the requests that were answered never came.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::{Answers, BUFFERS, Lane};

impl<S: AsyncRead + AsyncWrite + Unpin, A: Answers> Lane<S, A> {
    /// Gives hyper the next bytes of its request, or of all that follows.
    fn poll_pass_on(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = if self.through { u64::MAX } else { self.owed };
        let room = into
            .remaining()
            .min(usize::try_from(most).unwrap_or(usize::MAX));
        let given = if self.waiting.is_empty() {
            let mut part = ReadBuf::new(into.initialize_unfilled_to(room));
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
            let read = part.filled().len();
            into.advance(read);
            read
        } else {
            let given = room.min(self.waiting.len());
            into.put_slice(&self.waiting[..given]);
            self.waiting.drain(..given);
            if self.waiting.is_empty() {
                self.waiting = Vec::new();
            }
            given
        };
        if !self.through {
            self.owed -= given as u64;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S, A> AsyncRead for Lane<S, A>
where
    S: AsyncRead + AsyncWrite + Unpin,
    A: Answers + Unpin,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.through && self.owed == 0 {
            if !self.turn.is_the_lanes() {
                return BUFFERS.with_borrow_mut(|buffers| self.poll_end(cx, buffers));
            }
            if !ready!(BUFFERS.with_borrow_mut(|buffers| self.poll_requests(cx, buffers)))? {
                return Poll::Ready(Ok(()));
            }
        }
        self.poll_pass_on(cx, into)
    }
}

impl<S, A> AsyncWrite for Lane<S, A>
where
    S: AsyncRead + AsyncWrite + Unpin,
    A: Answers + Unpin,
{
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Hyper has written all that it had, so an answer that it had made is out.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        if self.turn.take_back() {
            self.quiet.since = Instant::now();
            // Hyper need not ask for more by itself, so nothing else may start the timer.
            let too_long = self.quiet.poll(cx).is_ready();
            if too_long || !self.waiting.is_empty() || self.ended {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The process stops, or hyper has seen the end: an answer that is under way comes first.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        ready!(self.poll_pending(cx, true))?;
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
