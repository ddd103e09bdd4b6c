//! Grabs that are answered in front of hyper, from the bytes of the request to the bytes of the
//! answer.
//!
//! The same steps and the same functions as in [`super::grab`], without a header map between
//! them, and without a future where no wait is needed. What is not answered here, every refusal
//! included, goes through [`super::grab::grab`].

use std::{cell::RefCell, net::IpAddr, pin::Pin, sync::Arc};

use rules::{Timestamp, UserId};
use tokio::time::Instant;

use super::{
    Redpacket, answer,
    grab::{self, ANSWER_WITHIN, Ask},
    outcome::{self, Unanswered},
    rain::Rain,
    tap::Tap,
};
use crate::http::{
    Answered, Head,
    client_ip::{FORWARDED_FOR, TrustedProxies, client_ip_by},
    credentials,
    request_id::RequestIds,
};

/// Room for a whole answer, in bytes; it grows for a long label.
const ANSWER_BYTES: usize = 512;

/// What the grabs that arrived together have in common.
pub(crate) struct Arrival {
    started: Instant,
    /// Ledger time.
    now: Timestamp,
}

/// Now, for the grabs that have just arrived.
pub(crate) fn arrival(node: &Redpacket) -> Arrival {
    Arrival {
        started: Instant::now(),
        now: node.ledger.now(),
    }
}

/// What answers the grabs of a connection.
pub(crate) struct By<'a> {
    pub(crate) node: &'a Redpacket,
    /// The connection's other end.
    pub(crate) peer: IpAddr,
    pub(crate) trusted_proxies: &'a TrustedProxies,
    pub(crate) request_ids: &'a RequestIds,
}

/// An answer that takes a wait; it comes within [`ANSWER_WITHIN`], and what a packet on its way
/// may take beyond that.
pub(crate) type Wait<'a> = Pin<Box<dyn Future<Output = Vec<u8>> + Send + 'a>>;

/// Answers a grab of campaign `id` (as it stands in the path), behind what `answers` holds when
/// that takes no wait. `None`, and nothing written, when the request is to be refused.
pub(crate) fn answer<'a>(
    by: &By<'a>,
    id: &str,
    head: &Head<'_, '_>,
    arrival: &Arrival,
    answers: &mut Vec<u8>,
) -> Option<Answered<Wait<'a>>> {
    let node = by.node;
    let token = credentials::bearer_of(head.all("authorization"))?;
    let user = node.tokens.verify_cached(token, arrival.now).ok()?;
    let rains = node.rains.load();
    let rain = rains.get(&id.parse().ok()?)?;
    let ask = Ask {
        user: &user,
        tap: Tap::read(|name| head.all(name)).ok()?,
        ip: client_ip_by(head.all(FORWARDED_FOR), by.peer, by.trusted_proxies).0,
        now: arrival.now,
        deadline: arrival.started + ANSWER_WITHIN,
    };
    let view = rain.view();
    let Some(known) = grab::at_once(rain, &view, &ask) else {
        let (tap, ip) = (ask.tap, ask.ip);
        let (now, started) = (arrival.now, arrival.started);
        let waiting = Waiting {
            user,
            tap,
            ip,
            now,
            started,
        };
        return Some(Answered::Later(waiting.begin(by, rain)));
    };
    let body = outcome::body(&view, &known)?;
    outcome::note(node, rain, &ask, &known, arrival.started);
    with_date(arrival.now, |date| answer::write_ok(&body, date, answers));
    Some(Answered::Now)
}

/// A grab that takes a wait, apart from the bytes it came in.
struct Waiting {
    user: UserId,
    tap: Tap,
    ip: IpAddr,
    now: Timestamp,
    started: Instant,
}

impl Waiting {
    /// Apart, because room for so large a future on the stack would cost each grab that takes
    /// none.
    #[inline(never)]
    fn begin<'a>(self, by: &By<'a>, rain: &Arc<Rain>) -> Wait<'a> {
        Box::pin(self.answer(by.node, rain.clone(), by.request_ids))
    }

    async fn answer(self, node: &Redpacket, rain: Arc<Rain>, request_ids: &RequestIds) -> Vec<u8> {
        let ask = Ask {
            user: &self.user,
            tap: self.tap,
            ip: self.ip,
            now: self.now,
            deadline: self.started + ANSWER_WITHIN,
        };
        let unanswered = Unanswered::begin(node, &rain, &ask, self.started);
        let known = grab::decide_waiting(node, &rain, &ask).await;
        unanswered.answered(&known);
        let mut answer = Vec::with_capacity(ANSWER_BYTES);
        let view = rain.view();
        with_date(node.ledger.now(), |date| {
            match outcome::body(&view, &known) {
                Some(body) => answer::write_ok(&body, date, &mut answer),
                None => {
                    let error = outcome::undecided();
                    answer::write_error(&error, &request_ids.next(), date, &mut answer);
                }
            }
        });
        answer
    }
}

/// Calls `write` with the date of an answer, as text; it is made once a second and thread.
fn with_date(now: Timestamp, write: impl FnOnce(&[u8])) {
    thread_local! {
        static DATE: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
    }
    let second = now.micros().div_euclid(1_000_000);
    DATE.with_borrow_mut(|(made_for, text)| {
        if *made_for != second {
            let since_epoch = std::time::Duration::from_secs(u64::try_from(second).unwrap_or(0));
            *text = httpdate::fmt_http_date(std::time::UNIX_EPOCH + since_epoch);
            *made_for = second;
        }
        write(text.as_bytes());
    });
}
