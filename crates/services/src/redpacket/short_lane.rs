//! Grabs that are answered at once, from the bytes of the request to the bytes of the answer.
//!
//! The same steps and the same functions as in [`super::grab`], without a future, a header map or
//! a reference count between them. What is not answered here, every refusal included, goes
//! through [`super::grab::grab`].

use std::{cell::RefCell, net::IpAddr};

use rules::Timestamp;
use tokio::time::Instant;

use super::{
    Redpacket, answer,
    grab::{self, ANSWER_WITHIN, Ask},
};
use crate::{
    account::identity,
    http::{
        Head,
        client_ip::{FORWARDED_FOR, TrustedProxies, client_ip_by},
    },
};

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

/// Answers a grab of campaign `id` (as it stands in the path) behind what `answers` holds.
/// `None`, and nothing written, when that takes a wait or the request is to be refused.
pub(crate) fn answer(
    node: &Redpacket,
    id: &str,
    head: &Head<'_, '_>,
    (peer, trusted): (IpAddr, &TrustedProxies),
    arrival: &Arrival,
    answers: &mut Vec<u8>,
) -> Option<()> {
    let token = identity::bearer_of(head.all("authorization"))?;
    let user = node.tokens.verify_cached(token, arrival.now).ok()?;
    let rains = node.rains.load();
    let rain = rains.get(&id.parse().ok()?)?;
    let ask = Ask {
        user: &user,
        tap: grab::read_tap(|name| head.all(name).next()).ok()?,
        ip: client_ip_by(head.all(FORWARDED_FOR), peer, trusted).0,
        now: arrival.now,
        deadline: arrival.started + ANSWER_WITHIN,
    };
    let view = rain.view();
    let known = grab::at_once(rain, &view, &ask)?;
    let body = grab::body(&view, &known)?;
    grab::note(node, rain, &ask, &known, arrival.started);
    with_date(arrival.now, |date| answer::write_ok(&body, date, answers));
    Some(())
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
