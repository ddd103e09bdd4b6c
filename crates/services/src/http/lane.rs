//! The short lane: requests that are answered in front of hyper, on one connection.
//!
//! Nearly every request of a rain is a grab that cannot win, and its answer is known as soon as
//! its head is read. A [`Lane`] stands between a connection and hyper. While hyper has nothing
//! to do it reads requests itself and answers those that [`Answers`] knows; any other is
//! passed on, byte by byte as it came, and until hyper has answered it in full the lane answers
//! nothing. So answers leave in the order of their requests, and hyper sees a connection on
//! which the others were never sent. Until the first of hyper's requests there is no hyper at all.
//!
//! An answer that takes a wait, such as a win's, is a future that the lane holds and polls; until
//! it is done nothing behind its request is looked at, only read ahead as far as one head may be
//! long. A peer that goes away meanwhile takes the future with it, as it would with hyper; a
//! connection that is to end when the process stops does so behind that answer.
//!
//! A request whose end the lane cannot be sure of (a coded body, `Connection: close`, rubbish)
//! makes the rest of the connection hyper's, and its answer the last one.
//!
//! # Layout
//! - [`Lane`]: reads requests, answers them or lets them pass.
//! - `stream`: what hyper reads from the lane and writes to it. `turn`: which of the two answers.
//! - `quiet`: the end of a connection that asks nothing.
//!
//! Reading and writing go through buffers of the thread: they stay in the processor's cache
//! however many connections there are, and an idle connection keeps none.

mod quiet;
mod stream;
mod turn;

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use self::quiet::Quiet;
pub(crate) use self::turn::{Answer, Turn};
use super::head::{Found, Framing, Head, room};

/// The largest head (request line and headers) taken, in bytes.
pub(crate) const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How often a connection that always has more to ask is read from before others have their
/// turn. All of them together keep an honest one waiting, so it is little: some 0.1 ms each.
const PARTS_A_TURN: u32 = 2;

/// The answer to a request with two ends, as hyper answers what is no request; the connection
/// ends with it.
const REFUSED: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// The header of an answer that its connection ends with.
const CLOSE: &[u8] = b"connection: close\r\n";

/// What knows answers.
pub(crate) trait Answers {
    /// What is found out once for all requests that arrived together.
    type Arrival;
    /// A whole answer that takes a wait. It must end by itself: the lane sets it no time.
    type Wait: Future<Output = Vec<u8>> + Unpin;

    /// Some requests have arrived.
    fn arrival(&self) -> Self::Arrival;

    /// Writes the whole answer to the request, which has no body, behind what `answers` holds,
    /// or says how it will come. Writes nothing but in the first case. A request that is not to
    /// be answered here may be offered again.
    fn answer(
        &self,
        head: &Head<'_, '_>,
        arrival: &Self::Arrival,
        answers: &mut Vec<u8>,
    ) -> Answered<Self::Wait>;
}

/// What became of a request that was offered to the lane.
pub(crate) enum Answered<W> {
    /// Its answer is written.
    Now,
    /// Its answer will be what this comes to.
    Later(W),
    /// It is not to be answered here.
    NotHere,
}

/// A thread's buffers.
struct Buffers {
    received: Box<[u8]>,
    answers: Vec<u8>,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::new(Buffers {
        received: vec![0; HEAD_BYTES_MAX].into(),
        answers: Vec::with_capacity(HEAD_BYTES_MAX),
    });
}

/// A connection with the lane in front of hyper.
pub(crate) struct Lane<S, A: Answers> {
    stream: S,
    answers: A,
    turn: Arc<Turn>,
    /// The answer that is waited for. Hyper has nothing to do meanwhile.
    pending: Option<A::Wait>,
    /// Received, and neither answered nor given to hyper.
    waiting: Vec<u8>,
    /// Whether `waiting` is known to be the beginning of a head, and no more.
    incomplete: bool,
    /// How many bytes hyper has yet to get of the request that it works on.
    owed: u64,
    /// Whether the rest of the connection is hyper's.
    through: bool,
    /// Whether the peer has sent its last byte.
    ended: bool,
    /// Answers that the connection would not take yet.
    unsent: Vec<u8>,
    quiet: Quiet,
}

/// What the bytes at hand came to.
enum Next<W> {
    /// All are answered, but for the beginning of a head.
    More,
    /// The answer to the last request takes a wait.
    Wait(W),
    /// A request of so many bytes is hyper's.
    Hyper(u64),
    /// All that follows is hyper's.
    Through,
}

impl<S, A: Answers> Lane<S, A> {
    /// A new connection, and what its answers by hyper are to be wrapped with.
    pub(crate) fn new(stream: S, answers: A) -> (Self, Arc<Turn>) {
        let turn = Arc::<Turn>::default();
        let lane = Self {
            stream,
            answers,
            turn: turn.clone(),
            pending: None,
            waiting: Vec::new(),
            incomplete: false,
            owed: 0,
            through: false,
            ended: false,
            unsent: Vec::new(),
            quiet: Quiet::new(),
        };
        (lane, turn)
    }

    /// Answers what of `received` is to be answered here: how many bytes that was, and what
    /// comes behind them. Nothing is read behind a request that is refused.
    fn answer(&mut self, received: &[u8], answers: &mut Vec<u8>) -> (usize, Next<A::Wait>) {
        let arrival = self.answers.arrival();
        let mut done = 0;
        loop {
            let rest = &received[done..];
            if rest.is_empty() {
                return (done, Next::More);
            }
            let mut room = room();
            let head = match Head::find(rest, &mut room) {
                Found::Head(head) => head,
                Found::Incomplete if rest.len() < HEAD_BYTES_MAX => return (done, Next::More),
                Found::Incomplete | Found::Rubbish => return (done, Next::Through),
            };
            match head.framing() {
                Framing::Length(0) => match self.answers.answer(&head, &arrival, answers) {
                    Answered::Now => done += head.bytes,
                    Answered::Later(wait) => return (done + head.bytes, Next::Wait(wait)),
                    Answered::NotHere => return (done, Next::Hyper(head.bytes as u64)),
                },
                Framing::Length(body) => return (done, Next::Hyper(head.bytes as u64 + body)),
                Framing::TwoEnds => {
                    answers.extend_from_slice(REFUSED);
                    self.ended = true;
                    return (received.len(), Next::More);
                }
                Framing::Unusual => return (done, Next::Through),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, A: Answers> Lane<S, A> {
    /// Answers requests until one is hyper's (true) or the peer has ended (false). For a
    /// connection that has no hyper yet: the first that there is reads that request.
    pub(crate) async fn until_hyper(&mut self) -> io::Result<bool> {
        poll_fn(|cx| BUFFERS.with_borrow_mut(|buffers| self.poll_requests(cx, buffers))).await
    }

    /// Reads requests and answers them until one is hyper's (true) or the peer has ended (false).
    fn poll_requests(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &mut Buffers,
    ) -> Poll<io::Result<bool>> {
        let mut answered = false;
        for _ in 0..PARTS_A_TURN {
            ready!(self.poll_send(cx))?;
            if self.poll_pending(cx, false)?.is_pending() {
                ready!(self.poll_end(cx, buffers))?;
                // Nobody is left to take the answer.
                self.pending = None;
                return Poll::Ready(Ok(false));
            }
            let Buffers { received, answers } = &mut *buffers;
            let mut filled = self.waiting.len();
            received[..filled].copy_from_slice(&self.waiting);
            if filled == 0 || self.incomplete {
                if self.ended {
                    return Poll::Ready(Ok(false));
                }
                let mut into = ReadBuf::new(&mut received[filled..]);
                if Pin::new(&mut self.stream)
                    .poll_read(cx, &mut into)?
                    .is_pending()
                {
                    if answered && self.quiet.will_ring() {
                        return Poll::Pending;
                    }
                    return self.quiet.poll(cx).map(Err);
                }
                let read = into.filled().len();
                self.ended = read == 0;
                filled += read;
            }
            answers.clear();
            let (done, next) = self.answer(&received[..filled], answers);
            self.waiting = received[done..filled].to_vec();
            self.incomplete = matches!(next, Next::More);
            if done > 0 {
                self.quiet.since = Instant::now();
                self.send(cx, answers)?;
                answered = true;
            }
            match next {
                Next::More => continue,
                Next::Wait(wait) => {
                    self.pending = Some(wait);
                    continue;
                }
                Next::Hyper(bytes) => self.owed = bytes,
                Next::Through => {
                    self.through = true;
                    self.turn.set_last();
                }
            }
            self.turn.pass_on();
            return self.poll_send(cx).map_ok(|()| true);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Waits for the answer under way, if any, and writes it; as the connection's `last` one it
    /// says so.
    fn poll_pending(&mut self, cx: &mut Context<'_>, last: bool) -> Poll<io::Result<()>> {
        if let Some(wait) = &mut self.pending {
            let mut answer = ready!(Pin::new(wait).poll(cx));
            self.pending = None;
            self.quiet.since = Instant::now();
            if last {
                let line = answer.iter().position(|&byte| byte == b'\n');
                let at = line.map_or(0, |end| end + 1);
                answer.splice(at..at, CLOSE.iter().copied());
            }
            self.send(cx, &answer)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes `answers`, and keeps what the connection would not take.
    fn send(&mut self, cx: &mut Context<'_>, answers: &[u8]) -> io::Result<()> {
        let mut sent = 0;
        while sent < answers.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &answers[sent..])? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(bytes) => sent += bytes,
                Poll::Pending => break,
            }
        }
        self.unsent.extend_from_slice(&answers[sent..]);
        Ok(())
    }

    /// Writes what the connection would not take before.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unsent))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.drain(..sent);
            if self.unsent.is_empty() {
                self.unsent = Vec::new();
                // Only now can the peer have its answers and think of the next request.
                self.quiet.since = Instant::now();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// While an answer is under way, reads ahead, so that it is known when the peer goes away.
    fn poll_end(&mut self, cx: &mut Context<'_>, buffers: &mut Buffers) -> Poll<io::Result<()>> {
        while !self.ended && self.waiting.len() < HEAD_BYTES_MAX {
            let room = HEAD_BYTES_MAX - self.waiting.len();
            let mut into = ReadBuf::new(&mut buffers.received[..room]);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut into))?;
            self.ended = into.filled().is_empty();
            self.waiting.extend_from_slice(into.filled());
        }
        if self.ended && self.waiting.is_empty() {
            return Poll::Ready(Ok(()));
        }
        // What waits is looked at when the answer is out; behind one of hyper's, `poll_flush`
        // sees to that.
        Poll::Pending
    }
}

#[cfg(test)]
mod tests;
