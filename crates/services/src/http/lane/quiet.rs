//! How long a connection may stay quiet.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    task::unconstrained,
    time::{Instant, Sleep},
};

/// How long a client may take to send a head, and may stay idle between two.
pub(super) const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// Ends a connection that sends no head for [`HEAD_WITHIN`]. The timer is set again when it
/// rings and not with every request, because setting it costs more than a request.
pub(super) struct Quiet {
    /// Since when it has been quiet.
    pub(super) since: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Quiet {
    pub(super) fn new() -> Self {
        Self {
            since: Instant::now(),
            timer: None,
        }
    }

    /// Whether the timer runs and had not rung by `since`: then it need not be looked at.
    pub(super) fn will_ring(&self) -> bool {
        let timer = self.timer.as_ref();
        timer.is_some_and(|timer| timer.deadline() > self.since)
    }

    /// Why the connection ends, once it has been quiet for too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let since = self.since;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(since + HEAD_WITHIN)));
        loop {
            // Whatever else this turn has done: a timer that is not looked at never rings.
            ready!(Pin::new(&mut unconstrained(timer.as_mut())).poll(cx));
            let until = since + HEAD_WITHIN;
            if Instant::now() >= until {
                let reason = "the peer has sent no request for too long";
                return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, reason));
            }
            timer.as_mut().reset(until);
        }
    }
}
