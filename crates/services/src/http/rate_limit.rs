//! A limit on requests per client address, with bounded memory.
//!
//! Nobody's requests are ever counted against somebody else, except where more addresses are
//! active than there is room for: until some of them rest, all then share one limit.

use std::{
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use governor::{
    DefaultKeyedRateLimiter, Quota,
    clock::{Clock as _, DefaultClock},
};
use http::StatusCode;

use super::{ApiError, client_ip::ClientIp};

/// The most addresses one limiter remembers.
pub const ADDRESSES_MAX: usize = 100_000;
/// Whose place those share that found no room for one of their own.
const SHARED: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// How many requests an address may send.
#[derive(Clone, Copy, Debug)]
pub struct RateLimit {
    /// Requests per minute that are let through for ever.
    pub per_minute: NonZeroU32,
    /// Requests that are let through at once after a rest.
    pub burst: NonZeroU32,
    /// Whether clients on this machine are limited too; by default they are not.
    pub limit_loopback: bool,
}

/// Counts requests per client address.
pub struct RateLimiter {
    limiter: DefaultKeyedRateLimiter<IpAddr>,
    clock: DefaultClock,
    limit_loopback: bool,
    addresses_max: usize,
    started: Instant,
    /// Whole seconds after `started`, plus one, of the latest sweep.
    swept: AtomicU64,
}

impl RateLimiter {
    /// A limiter that has seen nobody yet.
    #[must_use]
    pub fn new(limit: RateLimit) -> Arc<Self> {
        Arc::new(Self::with_room_for(limit, ADDRESSES_MAX))
    }

    fn with_room_for(limit: RateLimit, addresses_max: usize) -> Self {
        let quota = Quota::per_minute(limit.per_minute).allow_burst(limit.burst);
        Self {
            limiter: DefaultKeyedRateLimiter::dashmap(quota),
            clock: DefaultClock::default(),
            limit_loopback: limit.limit_loopback,
            addresses_max,
            started: Instant::now(),
            swept: AtomicU64::new(0),
        }
    }

    /// Counts one request of `client`.
    ///
    /// # Errors
    /// 429 `too_many_requests` with the seconds to wait.
    pub fn check(&self, client: ClientIp) -> Result<(), ApiError> {
        if client.is_loopback() && !self.limit_loopback {
            return Ok(());
        }
        let key = if self.has_room() {
            client.key()
        } else {
            metrics::counter!("hongbao_rate_limit_full_total").increment(1);
            SHARED
        };
        self.limiter.check_key(&key).map_err(|not_until| {
            metrics::counter!("hongbao_rate_limited_total").increment(1);
            too_many_requests(not_until.wait_time_from(self.clock.now()))
        })
    }

    /// Whether there is room for one more address. Addresses at rest are forgotten when there is
    /// none, at most once a second, because that walks over all of them.
    fn has_room(&self) -> bool {
        if self.limiter.len() < self.addresses_max {
            return true;
        }
        let second = self.started.elapsed().as_secs() + 1;
        if self.swept.swap(second, Ordering::Relaxed) != second {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        self.limiter.len() < self.addresses_max
    }
}

/// 429 `too_many_requests`: to be asked again after `wait`, told in whole seconds.
#[must_use]
pub fn too_many_requests(wait: Duration) -> ApiError {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let seconds = u32::try_from(seconds).unwrap_or(u32::MAX).max(1);
    ApiError {
        retry_after_seconds: Some(seconds),
        ..ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_requests",
            format!("too many requests from this address; try again in {seconds} s"),
        )
    }
}

/// Middleware: lets a request through that its address may send. Stands inside
/// [`super::client_ip::with_client_ip`].
pub async fn with_rate_limit(
    State(limiter): State<Arc<RateLimiter>>,
    client: ClientIp,
    request: Request,
    next: Next,
) -> Response {
    match limiter.check(client) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(limit_loopback: bool, room: usize) -> RateLimiter {
        let limit = RateLimit {
            per_minute: NonZeroU32::new(60).expect("not zero"),
            burst: NonZeroU32::new(2).unwrap(),
            limit_loopback,
        };
        RateLimiter::with_room_for(limit, room)
    }

    fn client(text: &str) -> ClientIp {
        ClientIp(text.parse().unwrap())
    }

    #[test]
    fn each_address_has_its_own_burst() {
        let limiter = limiter(false, 100);
        for address in ["192.0.2.1", "192.0.2.2", "2001:db8::1"] {
            assert!(limiter.check(client(address)).is_ok());
            assert!(limiter.check(client(address)).is_ok());
            let refusal = limiter.check(client(address)).unwrap_err();
            assert_eq!(refusal.status, StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(refusal.retry_after_seconds, Some(1));
        }
        // A neighbour in the same /64 is the same subscriber.
        assert!(limiter.check(client("2001:db8::ffff")).is_err());
    }

    #[test]
    fn loopback_is_limited_only_when_asked_for() {
        let off = limiter(false, 100);
        let on = limiter(true, 100);
        let refused = |limiter: &RateLimiter| {
            (0..3)
                .filter(|_| limiter.check(client("127.0.0.1")).is_err())
                .count()
        };
        assert_eq!(refused(&off), 0);
        assert_eq!(refused(&on), 1);
    }

    #[test]
    fn memory_is_bounded_and_the_rest_share_a_place() {
        let limiter = limiter(false, 3);
        let refused = (0..100)
            .filter(|n| limiter.check(client(&format!("192.0.2.{n}"))).is_err())
            .count();
        // Three have places of their own; the shared one lets its burst through and little more.
        assert!(limiter.limiter.len() <= 4, "{}", limiter.limiter.len());
        assert!(refused > 50, "{refused}");
    }
}
