//! Waiting after failed logins, per client address.
//!
//! Many people may share an address, such as all guests of a hall. Whoever of them logs in well
//! pays for the mistakes of others, up to a bound: guesses do not become cheap by it.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use moka::{ops::compute::Op, sync::Cache};

use super::{ApiError, client_ip::ClientIp, rate_limit::too_many_requests};

/// Failures that cost nothing, for who mistypes.
const FREE_FAILURES: u32 = 5;
/// So many good logins from an address make one more failure cost nothing.
const SUCCESSES_FOR_A_FAILURE: u32 = 10;
/// The most failures that good logins pay for.
const PAID_FAILURES_MAX: u32 = 95;
/// The longest wait, in seconds. It is reached after about 14 failures.
const WAIT_SECONDS_MAX: u64 = 300;
/// What an address has done is forgotten when no try from it has failed for so long.
const FORGET_AFTER: Duration = Duration::from_secs(900);
/// The most addresses that are remembered; beyond it the ones that tried least recently and
/// least often are forgotten.
const ADDRESSES_MAX: u64 = 100_000;

/// Counts failures per address: the first few are free, then each doubles the wait.
pub struct Backoff {
    tries: Cache<IpAddr, Tries>,
    limit_loopback: bool,
}

#[derive(Clone, Copy)]
struct Tries {
    failures: u32,
    successes: u32,
    /// When the last failed, or the first was.
    since: Instant,
    wait_until: Instant,
}

impl Tries {
    fn none(now: Instant) -> Self {
        Self {
            failures: 0,
            successes: 0,
            since: now,
            wait_until: now,
        }
    }

    /// The same, or none when the last failure was long ago.
    fn as_of(self, now: Instant) -> Self {
        if now.saturating_duration_since(self.since) < FORGET_AFTER {
            self
        } else {
            Self::none(now)
        }
    }

    fn failed(self, now: Instant) -> Self {
        let failures = self.failures.saturating_add(1);
        let paid = (self.successes / SUCCESSES_FOR_A_FAILURE).min(PAID_FAILURES_MAX);
        Self {
            failures,
            since: now,
            wait_until: now + wait_after(failures.saturating_sub(paid)),
            ..self
        }
    }

    fn succeeded(self) -> Self {
        Self {
            successes: self.successes.saturating_add(1),
            ..self
        }
    }
}

impl Backoff {
    /// A back-off that has seen nobody yet; clients on this machine are subject to it only with
    /// `limit_loopback`.
    #[must_use]
    pub fn new(limit_loopback: bool) -> Self {
        Self {
            tries: Cache::builder()
                .max_capacity(ADDRESSES_MAX)
                .time_to_live(FORGET_AFTER)
                .build(),
            limit_loopback,
        }
    }

    /// Whether `client` may try now.
    ///
    /// # Errors
    /// 429 `too_many_requests` with the seconds to wait.
    pub fn check(&self, client: ClientIp, now: Instant) -> Result<(), ApiError> {
        if self.exempts(client) {
            return Ok(());
        }
        let tries = self.tries.get(&client.key());
        let wait = tries.map(|tries| tries.wait_until.saturating_duration_since(now));
        match wait {
            Some(wait) if !wait.is_zero() => {
                metrics::counter!("hongbao_backoff_refused_total").increment(1);
                Err(too_many_requests(wait))
            }
            _ => Ok(()),
        }
    }

    /// Counts a failure of `client`.
    pub fn failed(&self, client: ClientIp, now: Instant) {
        self.count(client, now, |tries| tries.failed(now));
    }

    /// Counts a login of `client` that went well.
    pub fn succeeded(&self, client: ClientIp, now: Instant) {
        self.count(client, now, Tries::succeeded);
    }

    fn count(&self, client: ClientIp, now: Instant, count: impl FnOnce(Tries) -> Tries) {
        if self.exempts(client) {
            return;
        }
        self.tries.entry(client.key()).and_compute_with(|before| {
            let before = before.map_or_else(|| Tries::none(now), moka::Entry::into_value);
            Op::Put(count(before.as_of(now)))
        });
    }

    fn exempts(&self, client: ClientIp) -> bool {
        client.is_loopback() && !self.limit_loopback
    }
}

fn wait_after(failures: u32) -> Duration {
    let Some(doublings) = failures.checked_sub(FREE_FAILURES + 1) else {
        return Duration::ZERO;
    };
    let seconds = 1_u64.checked_shl(doublings).unwrap_or(WAIT_SECONDS_MAX);
    Duration::from_secs(seconds.clamp(1, WAIT_SECONDS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: ClientIp = ClientIp(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    fn client(text: &str) -> ClientIp {
        ClientIp(text.parse().unwrap())
    }

    #[test]
    fn the_wait_doubles_after_the_free_failures() {
        let backoff = Backoff::new(false);
        let now = Instant::now();
        let someone = client("192.0.2.1");
        for _ in 0..FREE_FAILURES {
            backoff.failed(someone, now);
            assert!(backoff.check(someone, now).is_ok());
        }
        for seconds in [1, 2, 4, 8] {
            backoff.failed(someone, now);
            let refusal = backoff.check(someone, now).unwrap_err();
            assert_eq!(refusal.retry_after_seconds, Some(seconds));
            let later = now + Duration::from_secs(seconds.into());
            assert!(backoff.check(someone, later).is_ok());
        }
        assert!(backoff.check(client("192.0.2.2"), now).is_ok());
    }

    #[test]
    fn good_logins_pay_for_the_mistakes_of_others() {
        let backoff = Backoff::new(false);
        let now = Instant::now();
        let hall = client("192.0.2.1");
        for _ in 0..100 {
            backoff.succeeded(hall, now);
        }
        for _ in 0..FREE_FAILURES + 10 {
            backoff.failed(hall, now);
            assert!(backoff.check(hall, now).is_ok());
        }
        backoff.failed(hall, now);
        assert!(backoff.check(hall, now).is_err());
        // Not without a bound.
        for _ in 0..100_000 {
            backoff.succeeded(hall, now);
        }
        for _ in 0..FREE_FAILURES + PAID_FAILURES_MAX {
            backoff.failed(hall, now);
        }
        assert!(backoff.check(hall, now).is_err());
    }

    #[test]
    fn mistakes_of_long_ago_are_forgotten_however_many_log_in_meanwhile() {
        let backoff = Backoff::new(false);
        let (mut now, office) = (Instant::now(), client("192.0.2.1"));
        for _ in 0..FREE_FAILURES * 3 {
            backoff.failed(office, now);
            assert!(backoff.check(office, now).is_ok());
            for _ in 0..4 {
                now += FORGET_AFTER / 4;
                backoff.succeeded(office, now);
            }
        }
    }

    #[test]
    fn the_wait_has_a_bound() {
        assert_eq!(wait_after(40), Duration::from_secs(WAIT_SECONDS_MAX));
        assert_eq!(wait_after(u32::MAX), Duration::from_secs(WAIT_SECONDS_MAX));
    }

    #[test]
    fn loopback_waits_only_when_asked_for() {
        let now = Instant::now();
        for limit_loopback in [false, true] {
            let backoff = Backoff::new(limit_loopback);
            for _ in 0..10 {
                backoff.failed(HOME, now);
            }
            assert_eq!(backoff.check(HOME, now).is_err(), limit_loopback);
        }
    }
}
