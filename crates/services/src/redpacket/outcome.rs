//! What a grab ends in: told to the user, to the counters and to the log.

use std::borrow::Cow;

use bytes::Bytes;
use http::Response;
use ledger::Win;
use rules::{Missed, Outcome, Rejected};
use tokio::time::Instant;

use super::{
    Redpacket,
    answer::{self, won_body},
    grab::Ask,
    rain::{Rain, View},
};
use crate::http::ApiError;

/// What a grab ends in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Won(Win),
    Repeated(Win),
    Missed(Missed),
    Rejected(Rejected),
    /// Undecided: 503, and asking again gives the one true answer.
    Unavailable,
}

/// A grab whose answer takes a wait. Dropped before that is there, because its user has gone away,
/// it is counted as undecided: that is all that anybody was told.
pub(super) struct Unanswered<'a> {
    node: &'a Redpacket,
    rain: &'a Rain,
    ask: &'a Ask<'a>,
    from: Instant,
    answered: bool,
}

impl<'a> Unanswered<'a> {
    pub(super) fn begin(
        node: &'a Redpacket,
        rain: &'a Rain,
        ask: &'a Ask<'a>,
        from: Instant,
    ) -> Self {
        Self {
            node,
            rain,
            ask,
            from,
            answered: false,
        }
    }

    /// Notes what it was answered.
    pub(super) fn answered(mut self, answer: &Answer) {
        self.answered = true;
        note(self.node, self.rain, self.ask, answer, self.from);
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if !self.answered {
            note(
                self.node,
                self.rain,
                self.ask,
                &Answer::Unavailable,
                self.from,
            );
        }
    }
}

/// Counts and logs the outcome, without blocking.
pub(super) fn note(node: &Redpacket, rain: &Rain, ask: &Ask<'_>, answer: &Answer, from: Instant) {
    let latency_micros = u64::try_from(from.elapsed().as_micros()).unwrap_or(u64::MAX);
    let (outcome, win) = match answer {
        Answer::Won(win) => (Outcome::Won, Some(win)),
        Answer::Repeated(win) => (Outcome::Repeated, Some(win)),
        Answer::Missed(reason) => (Outcome::Missed(*reason), None),
        Answer::Rejected(reason) => (Outcome::Rejected(*reason), None),
        Answer::Unavailable => (Outcome::Unavailable, None),
    };
    rain.counters.count(outcome, latency_micros);
    node.access_log.record(&eventlog::Grab {
        at: ask.now,
        campaign: rain.id,
        user: ask.user,
        outcome,
        packet: win.map(|win| win.packet),
        amount: win.map(|win| win.amount),
        grab_id: ask.tap.id,
        ip: Some(ask.ip),
        latency_micros,
    });
}

pub(super) fn respond(rain: &Rain, answer: &Answer) -> Result<Response<Bytes>, ApiError> {
    let body = body(&rain.view(), answer).map(|body| Bytes::from(body.into_owned()));
    body.map(answer::ok).ok_or_else(undecided)
}

/// The error that tells [`Answer::Unavailable`].
pub(super) fn undecided() -> ApiError {
    ApiError::unavailable("the claim could not be decided; ask again with the same Grab-Id")
}

/// The body that tells `answer`; `None` for a 503.
pub(super) fn body<'v>(view: &'v View, answer: &Answer) -> Option<Cow<'v, [u8]>> {
    Some(match answer {
        Answer::Won(win) => won_body(&view.campaign, win, false).into(),
        Answer::Repeated(win) => won_body(&view.campaign, win, true).into(),
        Answer::Missed(reason) => view.missed_body(*reason).into(),
        Answer::Rejected(reason) => answer::rejected_body(*reason).into(),
        Answer::Unavailable => return None,
    })
}
