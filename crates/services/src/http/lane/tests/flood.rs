//! One connection that never pauses.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::*;

/// A peer that always has more to ask, and reads whatever it is sent.
struct Flood {
    parts: Arc<AtomicU32>,
}

impl AsyncRead for Flood {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let parts = self.parts.fetch_add(1, Relaxed);
        assert!(parts < 1_000, "other connections wait for this one");
        let request = b"POST /fast/1 HTTP/1.1\r\n\r\n";
        into.put_slice(&request.repeat(into.remaining() / request.len()));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Flood {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_flood_lets_others_have_their_turn() {
    let parts = Arc::<AtomicU32>::default();
    let (mut lane, _turn) = Lane::new(
        Flood {
            parts: parts.clone(),
        },
        Fast::new(),
    );
    let flood = tokio::spawn(async move { lane.read_u8().await });
    for _ in 0..3 {
        let before = parts.load(Relaxed);
        tokio::task::yield_now().await;
        assert!(!flood.is_finished(), "it never came to our turn");
        assert!(parts.load(Relaxed) > before, "it goes on by itself");
    }
}
