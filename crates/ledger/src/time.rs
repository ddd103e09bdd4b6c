//! Ledger time: the one clock by which claims, periods and leases are judged.
//!
//! It must never go back, whatever the machine's clock does, and never stand still while it
//! waits for the machine's clock to catch up.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use rules::{Clock, Timestamp};

/// The machine's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place where the wall clock is read; all others take a rules::Clock"
        )]
        let now = std::time::SystemTime::now();
        // A machine that believes it is before 1970 is at 0; the ledger's floor does the rest.
        let since_epoch = now
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Timestamp::from_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }
}

/// The time of a clock when this began, and the time that has gone by since: whatever becomes of
/// that clock, this one goes on evenly.
pub(crate) struct EvenClock {
    began_at: Timestamp,
    began: Instant,
}

impl EvenClock {
    /// Begins at `clock`'s time.
    pub(crate) fn from(clock: &dyn Clock) -> Self {
        Self {
            began_at: clock.now(),
            began: Instant::now(),
        }
    }
}

impl Clock for EvenClock {
    fn now(&self) -> Timestamp {
        self.began_at.plus_micros(micros(self.began.elapsed()))
    }
}

/// Time since some fixed moment; never goes back.
type Monotonic = Arc<dyn Fn() -> Duration + Send + Sync>;

/// A clock that follows `wall` forward and a monotonic clock when `wall` goes back.
///
/// It is the monotonic clock plus the largest distance to the wall clock ever seen: a wall
/// clock set forward is followed at once, one set back is ignored until it has caught up.
#[derive(Clone)]
pub struct LedgerClock {
    wall: Arc<dyn Clock>,
    monotonic: Monotonic,
    /// Microseconds that ledger time is ahead of the monotonic clock; only ever grows.
    ahead: Arc<AtomicI64>,
}

impl LedgerClock {
    /// A clock that starts no earlier than `floor`, the last time known to have been given out.
    #[must_use]
    pub fn new(wall: Arc<dyn Clock>, floor: Timestamp) -> Self {
        let start = Instant::now();
        Self::with_monotonic(wall, floor, Arc::new(move || start.elapsed()))
    }

    /// As [`Self::new`], with the monotonic clock as a parameter.
    #[must_use]
    pub fn with_monotonic(wall: Arc<dyn Clock>, floor: Timestamp, monotonic: Monotonic) -> Self {
        let ahead = floor.micros().saturating_sub(micros(monotonic()));
        Self {
            wall,
            monotonic,
            ahead: Arc::new(AtomicI64::new(ahead)),
        }
    }
}

impl Clock for LedgerClock {
    fn now(&self) -> Timestamp {
        let elapsed = micros((self.monotonic)());
        let ahead_now = self.wall.now().micros().saturating_sub(elapsed);
        let mut ahead = self.ahead.load(Ordering::Relaxed);
        // Nearly every call only reads: a write would take the cache line from other threads.
        if ahead_now > ahead {
            ahead = self
                .ahead
                .fetch_max(ahead_now, Ordering::Relaxed)
                .max(ahead_now);
        }
        Timestamp::from_micros(elapsed).plus_micros(ahead)
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(self.0.load(Ordering::Relaxed))
        }
    }

    struct Bench {
        wall: Arc<Hand>,
        elapsed: Arc<AtomicI64>,
        clock: LedgerClock,
    }

    fn bench(wall_micros: i64, floor: i64) -> Bench {
        let wall = Arc::new(Hand::default());
        wall.0.store(wall_micros, Ordering::Relaxed);
        let elapsed = Arc::new(AtomicI64::new(0));
        let hand = elapsed.clone();
        let clock = LedgerClock::with_monotonic(
            wall.clone(),
            Timestamp::from_micros(floor),
            Arc::new(move || {
                Duration::from_micros(hand.load(Ordering::Relaxed).try_into().unwrap())
            }),
        );
        Bench {
            wall,
            elapsed,
            clock,
        }
    }

    #[test]
    fn follows_the_wall_clock_forward() {
        let b = bench(1_000, 0);
        assert_eq!(b.clock.now().micros(), 1_000);
        b.wall.0.store(9_000, Ordering::Relaxed);
        assert_eq!(b.clock.now().micros(), 9_000);
    }

    #[test]
    fn goes_on_by_elapsed_time_when_the_wall_clock_goes_back() {
        let b = bench(1_000_000, 0);
        assert_eq!(b.clock.now().micros(), 1_000_000);
        b.wall.0.store(10, Ordering::Relaxed);
        assert_eq!(b.clock.now().micros(), 1_000_000);
        b.elapsed.store(250, Ordering::Relaxed);
        assert_eq!(b.clock.now().micros(), 1_000_250);
        b.wall.0.store(1_000_100, Ordering::Relaxed);
        assert_eq!(b.clock.now().micros(), 1_000_250);
        b.wall.0.store(2_000_000, Ordering::Relaxed);
        assert_eq!(b.clock.now().micros(), 2_000_000);
    }

    #[test]
    fn starts_no_earlier_than_its_floor() {
        let b = bench(5, 7_000);
        assert_eq!(b.clock.now().micros(), 7_000);
        b.elapsed.store(3, Ordering::Relaxed);
        assert_eq!(b.clock.now().micros(), 7_003);
    }
}
