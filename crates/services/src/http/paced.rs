//! A request body that must come at a pace, so that a trickle cannot hold a connection.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

/// How long a body may take, whatever its size.
const WITHIN: Duration = Duration::from_secs(10);
/// For so many bytes received it may take a second longer: a slow phone's pace.
pub(crate) const BYTES_A_SECOND: u64 = 16 * 1024;

/// `B`, failed once it has fallen behind the pace.
pub(crate) struct Paced<B> {
    body: B,
    began: Instant,
    received: u64,
    /// Rings when the body is late. Made at the first wait: most bodies come with their head.
    late: Option<Pin<Box<Sleep>>>,
}

impl<B> Paced<B> {
    pub(crate) fn new(body: B) -> Self {
        Self {
            body,
            began: Instant::now(),
            received: 0,
            late: None,
        }
    }

    fn deadline(&self) -> Instant {
        self.began + WITHIN + Duration::from_secs(self.received / BYTES_A_SECOND)
    }
}

impl<B> Body for Paced<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            let data = frame
                .as_ref()
                .and_then(|frame| frame.as_ref().ok()?.data_ref());
            self.received += data.map_or(0, |data| data.remaining() as u64);
            return Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)));
        }
        let deadline = self.deadline();
        let late = self
            .late
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        loop {
            ready!(late.as_mut().poll(cx));
            if Instant::now() >= deadline {
                let reason = "the body comes too slowly";
                return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, reason))));
            }
            late.as_mut().reset(deadline);
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    /// How much came of a body that sends `bytes` every `every`, and whether it came to its end.
    async fn received(parts: usize, bytes: usize, every: Duration) -> (usize, bool) {
        let part = move |_| async move {
            tokio::time::sleep(every).await;
            Ok::<_, io::Error>(Frame::data(Bytes::from(vec![0; bytes])))
        };
        let parts = futures_util::stream::iter(0..parts).then(part);
        let mut body = Paced::new(StreamBody::new(Box::pin(parts)));
        let mut received = 0;
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => received += frame.into_data().expect("only data").len(),
                Err(_late) => return (received, false),
            }
        }
        (received, true)
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_is_cut_and_a_slow_upload_is_not() {
        let second = Duration::from_secs(1);
        assert_eq!(received(60, 1, second).await, (10, false));
        assert_eq!(received(1, 1, second * 60).await, (0, false));
        assert_eq!(
            received(60, 32 * 1024, second).await,
            (60 * 32 * 1024, true)
        );
        assert_eq!(received(5, 1, second).await, (5, true));
    }
}
