//! One tap: asked, asked again when its reply was lost or the server could not decide, until it
//! has an answer or its time is over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use rules::{Missed, PacketId};
use uuid::Uuid;

use super::{arrivals::Queue, login::User, tally::Tally};
use crate::{
    audit::Changed,
    http::{
        contract::{Answer, error_of, retry_after, worth_repeating},
        link::{Link, Reply, request},
        target::Target,
    },
    options::Options,
    random::Random,
};

const GRAB_ID: HeaderName = HeaderName::from_static("grab-id");
const GRAB_ATTEMPT: HeaderName = HeaderName::from_static("grab-attempt");
/// The pause before the second attempt; it doubles with each further one.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
/// The longest pause between two attempts, also when the server asks for more.
const BACKOFF_MAX: Duration = Duration::from_secs(3);
/// How long a reply that is to be dropped may be waited for before the connection is closed;
/// below it, the close meets the server in the midst of its work.
const DROP_EARLY_MICROS: u32 = 5_000;
/// How many replies of one tap may be dropped on purpose, so that it ends with an answer.
const DROPS_MAX: u32 = 4;
/// A tap that waited this long for a connection was sent late.
const LATE: Duration = Duration::from_millis(10);

/// What all parts of a run share.
pub(crate) struct Shared {
    pub(crate) options: Arc<Options>,
    pub(crate) target: Arc<Target>,
    pub(crate) users: Vec<User>,
    pub(crate) queue: Queue,
    pub(crate) in_flight: Arc<AtomicU64>,
    pub(crate) tally: Tally,
    grab_path: Uri,
    stop: AtomicU8,
}

/// Whether arrivals are to stop before their time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    No,
    SoldOut,
    Ended,
}

impl Shared {
    pub(crate) fn new(options: Arc<Options>, target: Arc<Target>, users: Vec<User>) -> Self {
        Self {
            grab_path: target.path(&format!("/redpacket/campaigns/{}/grab", options.campaign)),
            tally: Tally::new(users.len()),
            options,
            target,
            users,
            queue: Queue::new(),
            in_flight: Arc::default(),
            stop: AtomicU8::new(0),
        }
    }

    pub(crate) fn stop(&self) -> Stop {
        match self.stop.load(Ordering::Relaxed) {
            0 => Stop::No,
            1 => Stop::SoldOut,
            _ => Stop::Ended,
        }
    }

    /// Notes what an answer says about the campaign's end.
    fn heed(&self, reason: Missed, more_to_come: bool) {
        if !self.options.stop_early {
            return;
        }
        match reason {
            Missed::SoldOut if !more_to_come => {
                self.stop.fetch_max(1, Ordering::Relaxed);
            }
            Missed::Ended => {
                self.stop.fetch_max(2, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

/// Counts a tap as in flight until it is dropped.
pub(crate) struct InFlight(pub(crate) Arc<AtomicU64>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One tap of one user.
pub(crate) struct Tap {
    number: u64,
    user: u32,
    grab: Uuid,
    attempt: u32,
    intended: Instant,
    /// What a reply that was dropped on purpose had said was won, and whether as a new win.
    dropped_win: Option<(PacketId, bool)>,
    _in_flight: InFlight,
}

impl Tap {
    pub(crate) fn new(
        number: u64,
        user: u32,
        grab: Uuid,
        intended: Instant,
        guard: InFlight,
    ) -> Self {
        Self {
            number,
            user,
            grab,
            attempt: 1,
            intended,
            dropped_win: None,
            _in_flight: guard,
        }
    }
}

/// Serves taps over one connection until the queue is closed.
pub(crate) async fn work(shared: Arc<Shared>, mut link: Link) {
    while let Some(tap) = shared.queue.pop().await {
        step(&shared, &mut link, tap).await;
    }
}

/// One attempt of `tap`.
async fn step(shared: &Arc<Shared>, link: &mut Link, mut tap: Tap) {
    if tap.attempt == 1 && tap.intended.elapsed() > LATE {
        shared.tally.late();
    }
    shared.tally.attempt(tap.user);
    let ask = grab_request(shared, &tap);
    let mut random = Random::of(&[shared.options.seed, 3, tap.number, u64::from(tap.attempt)]);
    if tap.attempt <= DROPS_MAX && random.fraction() < shared.options.drop_replies {
        drop_reply(shared, link, ask, &mut tap, &mut random).await;
        return again(shared, tap, None, &mut random);
    }
    match link.call(ask, shared.options.attempt_timeout).await {
        Err(_) => {
            shared.tally.lost();
            again(shared, tap, None, &mut random);
        }
        Ok(reply) if reply.status == StatusCode::OK => answered(shared, &tap, &reply),
        Ok(reply) if worth_repeating(reply.status) => {
            shared.tally.unavailable();
            again(shared, tap, retry_after(&reply.headers), &mut random);
        }
        Ok(reply) => {
            let code = error_of(&reply.body).code;
            shared
                .tally
                .refused(tap.user, format!("{} {code}", reply.status.as_u16()));
        }
    }
}

fn grab_request(shared: &Shared, tap: &Tap) -> Request<Full<Bytes>> {
    let bearer = &shared.users[tap.user as usize].bearer;
    let path = shared.grab_path.clone();
    let mut ask = request(&shared.target, Method::POST, path, Some(bearer), None);
    let mut id = [0; uuid::fmt::Hyphenated::LENGTH];
    let id = tap.grab.hyphenated().encode_lower(&mut id);
    let id = HeaderValue::from_str(id).expect("a UUID is made of digits, letters and hyphens");
    ask.headers_mut().insert(GRAB_ID, id);
    if tap.attempt > 1 {
        let attempt = HeaderValue::from(tap.attempt);
        ask.headers_mut().insert(GRAB_ATTEMPT, attempt);
    }
    ask
}

/// Sends `ask` and throws its reply away with the connection: half of the time while the server
/// may still be at work, half when the reply has come. What it said is kept for the audit.
async fn drop_reply(
    shared: &Shared,
    link: &mut Link,
    ask: Request<Full<Bytes>>,
    tap: &mut Tap,
    random: &mut Random,
) {
    let patience = if random.below(2) == 0 {
        Duration::from_micros(u64::from(random.below(DROP_EARLY_MICROS)))
    } else {
        shared.options.attempt_timeout
    };
    let reply = link.call(ask, patience).await;
    link.close();
    shared.tally.dropped();
    let Ok(reply) = reply else { return };
    if let Ok(Answer::Won { packet, repeated }) = Answer::parse(&reply.body) {
        shared.tally.told(tap.user, &packet, repeated);
        // A new win is this tap's own, and says more than a repeated one that follows it.
        tap.dropped_win = match tap.dropped_win {
            Some((own, true)) => Some((own, true)),
            _ => Some((packet.id, !repeated)),
        };
    }
}

/// The tap has its answer.
fn answered(shared: &Shared, tap: &Tap, reply: &Reply) {
    let Ok(answer) = Answer::parse(&reply.body) else {
        return shared.tally.refused(tap.user, "200 unreadable".to_owned());
    };
    shared.tally.answered(&answer, tap.intended.elapsed());
    let now = match answer {
        Answer::Won { packet, repeated } => {
            shared.tally.told(tap.user, &packet, repeated);
            Some(packet.id)
        }
        Answer::Missed {
            reason,
            more_to_come,
        } => {
            shared.heed(reason, more_to_come);
            None
        }
        Answer::Rejected(_) => None,
    };
    if let Some((first, fresh)) = tap.dropped_win
        && now != Some(first)
    {
        shared.tally.changed(Changed {
            user: tap.user,
            first,
            fresh,
            then: now,
        });
    }
}

/// Puts `tap` back into the queue after a pause, or gives it up when its time is over.
fn again(shared: &Arc<Shared>, mut tap: Tap, asked: Option<Duration>, random: &mut Random) {
    if tap.intended.elapsed() >= shared.options.answer_within {
        return shared.tally.unanswered(tap.user);
    }
    let backoff = BACKOFF_FIRST * 2_u32.saturating_pow((tap.attempt - 1).min(10));
    // Between half and all of it, so that those who failed together do not come back together.
    let backoff = backoff.mul_f64(0.5 + random.fraction() / 2.0);
    let pause = backoff.max(asked.unwrap_or_default()).min(BACKOFF_MAX);
    tap.attempt += 1;
    let shared = shared.clone();
    tokio::spawn(async move {
        tokio::time::sleep(pause).await;
        shared.queue.push([tap]);
    });
}
