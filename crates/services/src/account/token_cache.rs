//! Tokens that a thread has verified lately, because verification is on the hot path.
//!
//! Keyed by the whole token, so that no other text can pass for it. Each thread has its own, so
//! there is no lock and no shared counter. Two generations bound its memory: what is used moves
//! to the young one; when that is full, the old one is forgotten.

use std::{cell::RefCell, collections::HashMap};

use super::token::Verified;

/// The size of one generation, in bytes, about 14,000 tokens. A thread keeps two.
const GENERATION_BYTES_MAX: usize = 4 << 20;
/// What an entry takes besides its token, in bytes, roughly.
const ENTRY_BYTES: usize = 96;

/// A fast hash will do: only texts that were signed with a key that we take ever get in.
type Tokens = HashMap<Box<str>, Verified, foldhash::fast::RandomState>;

#[derive(Default)]
struct Generations {
    /// The [`super::token::Tokens`] that verified them; another's are not to be believed.
    owner: Option<u64>,
    young: Tokens,
    old: Tokens,
    young_bytes: usize,
}

thread_local! {
    static VERIFIED: RefCell<Generations> = RefCell::default();
}

/// What `owner` found out about `token` on this thread.
pub(super) fn find(owner: u64, token: &str) -> Option<Verified> {
    VERIFIED.with_borrow_mut(|generations| generations.find(owner, token))
}

/// Keeps what `owner` found out about `token` for this thread.
pub(super) fn keep(owner: u64, token: &str, verified: Verified) {
    VERIFIED.with_borrow_mut(|generations| generations.keep(owner, token, verified));
}

impl Generations {
    fn find(&mut self, owner: u64, token: &str) -> Option<Verified> {
        if self.owner != Some(owner) {
            return None;
        }
        if let Some(verified) = self.young.get(token) {
            return Some(verified.clone());
        }
        let (token, verified) = self.old.remove_entry(token)?;
        self.put(token, verified.clone());
        Some(verified)
    }

    fn keep(&mut self, owner: u64, token: &str, verified: Verified) {
        if self.owner != Some(owner) {
            *self = Self {
                owner: Some(owner),
                ..Self::default()
            };
        }
        self.put(token.into(), verified);
    }

    fn put(&mut self, token: Box<str>, verified: Verified) {
        let bytes = token.len() + ENTRY_BYTES;
        if self.young_bytes + bytes > GENERATION_BYTES_MAX {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += bytes;
        self.young.insert(token, verified);
    }
}

#[cfg(test)]
mod tests {
    use rules::{Timestamp, UserId};

    use super::*;

    fn verified(name: &str) -> Verified {
        Verified {
            user: UserId::trusted(name),
            expires_at: Timestamp::from_micros(1),
        }
    }

    #[test]
    fn only_the_same_token_of_the_same_owner_is_found() {
        let mut cache = Generations::default();
        cache.keep(1, "token", verified("ann"));
        assert_eq!(cache.find(1, "token"), Some(verified("ann")));
        assert_eq!(cache.find(1, "Token"), None);
        assert_eq!(cache.find(2, "token"), None);
        cache.keep(2, "other", verified("bob"));
        assert_eq!(cache.find(2, "token"), None);
        assert_eq!(cache.find(1, "token"), None);
    }

    #[test]
    fn memory_is_bounded_and_what_is_used_stays() {
        let mut cache = Generations::default();
        cache.keep(1, "used", verified("ann"));
        let long = "x".repeat(4000);
        for n in 0..10_000 {
            cache.keep(1, &format!("{n}{long}"), verified("bob"));
            assert!(cache.find(1, "used").is_some(), "after {n}");
            assert!(cache.young_bytes <= GENERATION_BYTES_MAX);
            assert!(cache.young.len() + cache.old.len() < 2_100);
        }
        assert_eq!(cache.find(1, &format!("0{long}")), None);
    }
}
