//! Back-off of logins: who fails often waits ever longer.
//!
//! Failures count by address; by address and username together, on this machine too; and by
//! username alone, against guesses from many addresses. The last has more patience and does not
//! keep out an address from which this process has seen that username log in: there a stranger who
//! knows the username cannot lock the organiser out.
//!
//! An attempt counts from its beginning and is forgiven when it succeeds, so that attempts made
//! side by side cannot slip through before the first of them has failed.

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use moka::sync::Cache;
use rules::Timestamp;

use crate::http::ClientIp;

/// How many failures of an address cost nothing: people mistype.
const FREE_FAILURES: u32 = 5;
/// How many failures of a username cost nothing, from whatever addresses.
const FREE_FAILURES_OF_A_USERNAME: u32 = 50;
/// The longest wait, in seconds.
const WAIT_SECONDS_MAX: i64 = 60;
/// How many addresses and usernames are remembered; beyond, those unused longest are forgotten.
const REMEMBERED_MAX: u64 = 10_000;
/// How long after the last attempt one is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(15 * 60);
/// How long after a login its address is known as one of that username's.
const KNOWN_FOR: Duration = Duration::from_secs(30 * 24 * 3_600);

/// What attempts are counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Address(IpAddr),
    Pair(IpAddr, String),
    Username(String),
}

impl Key {
    const fn free_failures(&self) -> u32 {
        match self {
            Self::Address(_) | Self::Pair(..) => FREE_FAILURES,
            Self::Username(_) => FREE_FAILURES_OF_A_USERNAME,
        }
    }
}

#[derive(Clone, Copy)]
struct Tries {
    failures: u32,
    wait_until: Timestamp,
}

/// Counts attempts.
pub(crate) struct LoginTries {
    tries: Cache<Key, Tries>,
    /// Addresses that have logged in, with the username.
    known: Cache<(IpAddr, String), ()>,
    /// Makes the check and the count one step.
    begin: Mutex<()>,
    limit_loopback: bool,
}

/// An attempt that has begun, and counts as failed for now.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Try {
    address: IpAddr,
    username: String,
    keys: Vec<Key>,
}

impl LoginTries {
    /// Nobody has tried yet; addresses on this machine are kept out with `limit_loopback` only.
    pub(crate) fn new(limit_loopback: bool) -> Self {
        let remembered = || Cache::builder().max_capacity(REMEMBERED_MAX);
        Self {
            tries: remembered().time_to_idle(FORGOTTEN_AFTER).build(),
            known: Cache::builder()
                .max_capacity(REMEMBERED_MAX)
                .time_to_live(KNOWN_FOR)
                .build(),
            begin: Mutex::new(()),
            limit_loopback,
        }
    }

    /// Begins an attempt of `client` to log in as `username`, counting it as failed for now.
    ///
    /// # Errors
    /// The seconds to wait; then nothing is counted.
    pub(crate) fn begin(
        &self,
        client: ClientIp,
        username: &str,
        now: Timestamp,
    ) -> Result<Try, u32> {
        let _one_at_a_time = self.begin.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = self.keys(client, username);
        let waits = keys.iter().filter_map(|key| self.tries.get(key));
        let wait_micros = waits.map(|tries| tries.wait_until.since(now)).max();
        if let Some(micros) = wait_micros.filter(|&micros| micros > 0) {
            let seconds = u64::try_from(micros).unwrap_or(0).div_ceil(1_000_000);
            return Err(u32::try_from(seconds).unwrap_or(u32::MAX));
        }
        for key in &keys {
            let failures = self.tries.get(key).map_or(0, |tries| tries.failures);
            let failures = failures.saturating_add(1);
            let wait_until = now.plus_seconds(wait_seconds(failures, key.free_failures()));
            let tries = Tries {
                failures,
                wait_until,
            };
            self.tries.insert(key.clone(), tries);
        }
        Ok(Try {
            address: client.key(),
            username: username.to_owned(),
            keys,
        })
    }

    /// Forgives everything that counted against an attempt: it has succeeded.
    pub(crate) fn succeeded(&self, attempt: Try) {
        for key in &attempt.keys {
            self.tries.invalidate(key);
        }
        let known = (attempt.address, attempt.username);
        self.known.insert(known, ());
    }

    /// Takes an attempt back that could not be decided: nobody has failed.
    pub(crate) fn undecided(&self, attempt: &Try, now: Timestamp) {
        let _one_at_a_time = self.begin.lock().unwrap_or_else(PoisonError::into_inner);
        for key in &attempt.keys {
            let Some(tries) = self.tries.get(key) else {
                continue;
            };
            let failures = tries.failures.saturating_sub(1);
            let wait_until = now.plus_seconds(wait_seconds(failures, key.free_failures()));
            let wait_until = wait_until.min(tries.wait_until);
            let tries = Tries {
                failures,
                wait_until,
            };
            self.tries.insert(key.clone(), tries);
        }
    }

    fn keys(&self, client: ClientIp, username: &str) -> Vec<Key> {
        let address = client.key();
        let mut keys = vec![Key::Pair(address, username.to_owned())];
        let known = (address, username.to_owned());
        if !self.known.contains_key(&known) {
            keys.push(Key::Username(known.1));
        }
        if self.limit_loopback || !client.is_loopback() {
            keys.push(Key::Address(address));
        }
        keys
    }
}

/// The wait after the n-th failure: none while they are free, then 1, 2, 4 … seconds.
fn wait_seconds(failures: u32, free: u32) -> i64 {
    match failures.checked_sub(free) {
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
            [1, 4, 5, 6, 7, 11, 12, 40, 68, 69, u32::MAX].map(|n| wait_seconds(n, 5)),
            [0, 0, 1, 2, 4, 60, 60, 60, 60, 60, 60]
        );
    }

    const NOW: Timestamp = Timestamp::from_micros(0);

    fn client(address: &str) -> ClientIp {
        ClientIp(address.parse().unwrap())
    }

    #[test]
    fn attempts_side_by_side_do_not_slip_through() {
        let tries = LoginTries::new(false);
        let here = client("10.0.0.1");
        for _ in 0..FREE_FAILURES {
            let _failed = tries.begin(here, "eve", NOW).unwrap();
        }
        assert_eq!(tries.begin(here, "eve", NOW), Err(1));
        assert_eq!(tries.begin(here, "ann", NOW), Err(1), "the address waits");
        let later = NOW.plus_seconds(1);
        let attempt = tries.begin(here, "eve", later).unwrap();
        assert_eq!(tries.begin(here, "eve", later), Err(2));
        tries.succeeded(attempt);
        let _forgiven = tries.begin(here, "eve", later).unwrap();
    }

    #[test]
    fn on_this_machine_usernames_wait_and_addresses_do_not() {
        let tries = LoginTries::new(false);
        let here = client("127.0.0.1");
        for _ in 0..FREE_FAILURES {
            let _failed = tries.begin(here, "eve", NOW).unwrap();
        }
        assert_eq!(tries.begin(here, "eve", NOW), Err(1));
        let _other = tries.begin(here, "ann", NOW).unwrap();
    }

    #[test]
    fn strangers_do_not_lock_out_where_the_organiser_has_logged_in_before() {
        let tries = LoginTries::new(false);
        let (office, home) = (client("10.0.0.1"), client("10.0.0.2"));
        tries.succeeded(tries.begin(office, "ann", NOW).unwrap());
        for n in 0..FREE_FAILURES_OF_A_USERNAME {
            let stranger = client(&format!("192.0.2.{n}"));
            let _failed = tries.begin(stranger, "ann", NOW).unwrap();
        }
        assert_eq!(tries.begin(home, "ann", NOW), Err(1));
        let _in_time = tries.begin(office, "ann", NOW).unwrap();
    }

    #[test]
    fn what_could_not_be_decided_is_no_failure() {
        let tries = LoginTries::new(false);
        let here = client("10.0.0.1");
        for _ in 0..100 {
            let attempt = tries.begin(here, "ann", NOW).unwrap();
            tries.undecided(&attempt, NOW);
        }
    }
}
