//! Whose turn it is on a connection: the lane's, or hyper's.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};

/// What hyper and the lane tell each other.
#[derive(Default)]
pub(crate) struct Turn {
    state: AtomicU8,
    last: AtomicBool,
}

/// The lane may answer.
const LANE: u8 = 0;
/// Hyper works on a request.
const HYPER: u8 = 1;
/// Hyper has made its answer, and has yet to write it out.
const ANSWERED: u8 = 2;

impl Turn {
    /// Whether the answer that hyper works on must be the connection's last.
    pub(crate) fn is_last(&self) -> bool {
        self.last.load(Relaxed)
    }

    /// The answer that hyper is to make will be the connection's last.
    pub(super) fn set_last(&self) {
        self.last.store(true, Relaxed);
    }

    /// The next request is hyper's.
    pub(super) fn pass_on(&self) {
        self.state.store(HYPER, Relaxed);
    }

    /// Whether the lane may answer.
    pub(super) fn is_the_lanes(&self) -> bool {
        self.state.load(Relaxed) == LANE
    }

    /// Hyper has written all that it had: whether the turn is the lane's by that.
    pub(super) fn take_back(&self) -> bool {
        let answered = self.state.load(Relaxed) == ANSWERED;
        if answered {
            self.state.store(LANE, Relaxed);
        }
        answered
    }
}

/// The body of an answer of hyper's, whose end gives the turn back.
pub(crate) struct Answer<B> {
    body: B,
    turn: Arc<Turn>,
}

impl<B> Answer<B> {
    /// `body`, on the connection of `turn`.
    pub(crate) fn new(body: B, turn: Arc<Turn>) -> Self {
        Self { body, turn }
    }
}

impl<B> Drop for Answer<B> {
    fn drop(&mut self) {
        self.turn.state.store(ANSWERED, Relaxed);
    }
}

impl<B: Body + Unpin> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
