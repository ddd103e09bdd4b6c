//! Back-off of logins: who fails often waits ever longer, by address and by username.
//!
//! An attempt counts from its beginning and is forgiven when it succeeds, so that attempts made
//! side by side cannot slip through before the first of them has failed.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use moka::sync::Cache;
use rules::Timestamp;

/// How many failures cost nothing: people mistype.
const FREE_FAILURES: u32 = 5;
/// The longest wait, in seconds: an organiser whose name is under attack still gets in.
const WAIT_SECONDS_MAX: i64 = 60;
/// How many addresses and usernames are remembered; beyond, those unused longest are forgotten.
const REMEMBERED_MAX: u64 = 10_000;
/// How long after the last attempt one is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(15 * 60);

#[derive(Clone, Copy)]
struct Tries {
    failures: u32,
    wait_until: Timestamp,
}

/// Counts attempts by key.
pub(crate) struct LoginTries {
    tries: Cache<String, Tries>,
    /// Makes the check and the count one step.
    begin: Mutex<()>,
}

impl LoginTries {
    pub(crate) fn new() -> Self {
        let tries = Cache::builder()
            .max_capacity(REMEMBERED_MAX)
            .time_to_idle(FORGOTTEN_AFTER)
            .build();
        Self {
            tries,
            begin: Mutex::new(()),
        }
    }

    /// Begins an attempt under all of `keys`, counting it as failed for now.
    ///
    /// # Errors
    /// The seconds to wait, when any of the keys has to; then nothing is counted.
    pub(crate) fn begin(&self, keys: &[String], now: Timestamp) -> Result<(), u32> {
        let _one_at_a_time = self.begin.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = keys.iter().filter_map(|key| self.tries.get(key));
        let wait_micros = waits.map(|tries| tries.wait_until.since(now)).max();
        if let Some(micros) = wait_micros.filter(|&micros| micros > 0) {
            let seconds = u64::try_from(micros).unwrap_or(0).div_ceil(1_000_000);
            return Err(u32::try_from(seconds).unwrap_or(u32::MAX));
        }
        for key in keys {
            let failures = self.tries.get(key).map_or(0, |tries| tries.failures);
            let failures = failures.saturating_add(1);
            let wait_until = now.plus_seconds(wait_seconds(failures));
            self.tries.insert(
                key.clone(),
                Tries {
                    failures,
                    wait_until,
                },
            );
        }
        Ok(())
    }

    /// Forgives `keys` everything: an attempt succeeded.
    pub(crate) fn succeeded(&self, keys: &[String]) {
        for key in keys {
            self.tries.invalidate(key);
        }
    }
}

/// The wait after the n-th failure: none, then 1, 2, 4 … seconds.
fn wait_seconds(failures: u32) -> i64 {
    match failures.checked_sub(FREE_FAILURES) {
        None => 0,
        // Far beyond the longest wait, and never out of range.
        Some(over) => (1_i64 << over.min(31)).min(WAIT_SECONDS_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_are_bounded() {
        assert_eq!(
            [1, 4, 5, 6, 7, 11, 12, 40, 68, 69, u32::MAX].map(wait_seconds),
            [0, 0, 1, 2, 4, 60, 60, 60, 60, 60, 60]
        );
    }

    #[test]
    fn attempts_side_by_side_do_not_slip_through() {
        let tries = LoginTries::new();
        let now = Timestamp::from_micros(0);
        let keys = ["name:eve".to_owned(), "address:10.0.0.1".to_owned()];
        for _ in 0..FREE_FAILURES {
            assert_eq!(tries.begin(&keys, now), Ok(()));
        }
        assert_eq!(tries.begin(&keys, now), Err(1));
        assert_eq!(tries.begin(&keys[..1], now), Err(1));
        assert_eq!(tries.begin(&keys, now.plus_seconds(1)), Ok(()));
        assert_eq!(tries.begin(&keys, now.plus_seconds(1)), Err(2));
        tries.succeeded(&keys);
        assert_eq!(tries.begin(&keys, now.plus_seconds(1)), Ok(()));
    }
}
