//! Who may try: the campaign's rules, and what is remembered of each user's last attempt.
//!
//! The rules themselves are in [`rules::admission`]; here is their memory. It lasts as long as
//! the process and is bounded: when it is full the attempts made longest ago are forgotten, so
//! that some may try again too early. No win limit depends on it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use moka::{
    Expiry, notification::RemovalCause, ops::compute::Op, policy::EvictionPolicy, sync::Cache,
};
use rules::{
    CampaignId, GrabId, Timestamp, UserId,
    admission::{Attempt, RuleSet, Verdict},
};

use super::registered::Registered;

/// The most attempts that are remembered, over all campaigns; about 200 MB.
pub const ATTEMPTS_MAX: u64 = 1_000_000;

/// Decides who may try.
pub struct Gate {
    coin_key: [u8; 32],
    registered: Arc<Registered>,
    attempts: Cache<(CampaignId, UserId), Remembered>,
}

#[derive(Clone, Copy)]
struct Remembered {
    attempt: Attempt,
    keep_for: Duration,
}

/// Forgets an attempt when the window that it began is over.
struct WhenWindowEnds;

impl Expiry<(CampaignId, UserId), Remembered> for WhenWindowEnds {
    fn expire_after_create(
        &self,
        _key: &(CampaignId, UserId),
        value: &Remembered,
        _created_at: Instant,
    ) -> Option<Duration> {
        Some(value.keep_for)
    }

    fn expire_after_update(
        &self,
        _key: &(CampaignId, UserId),
        value: &Remembered,
        _updated_at: Instant,
        _before: Option<Duration>,
    ) -> Option<Duration> {
        Some(value.keep_for)
    }
}

impl Gate {
    /// A gate whose random discards follow from `coin_key` (the same on every replica) and that
    /// remembers no attempt yet.
    #[must_use]
    pub fn new(coin_key: [u8; 32], registered: Arc<Registered>) -> Self {
        Self::with_room_for(coin_key, registered, ATTEMPTS_MAX)
    }

    fn with_room_for(coin_key: [u8; 32], registered: Arc<Registered>, attempts_max: u64) -> Self {
        let attempts = Cache::builder()
            .max_capacity(attempts_max)
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(WhenWindowEnds)
            .eviction_listener(|_key, _remembered, cause| {
                if cause == RemovalCause::Size {
                    metrics::counter!("hongbao_attempts_forgotten_total").increment(1);
                }
            })
            .build();
        Self {
            coin_key,
            registered,
            attempts,
        }
    }

    /// Whether `user` may take a packet of `campaign` now, under its `rules`. Uses up the user's
    /// attempt window unless a list forbids the attempt or it falls into an open window.
    pub fn admit(
        &self,
        campaign: CampaignId,
        rules: &RuleSet,
        user: &UserId,
        grab_id: Option<GrabId>,
        now: Timestamp,
    ) -> Verdict {
        metrics::counter!("hongbao_account_calls_total").increment(1);
        if let Some(reason) = rules.listed(user, || self.registered.contains(user)) {
            return Verdict::Rejected(reason);
        }
        let decide = |last| rules.attempt(&self.coin_key, campaign, user, grab_id, now, last);
        let Some(window_seconds) = rules.attempt_window_seconds() else {
            return decide(None).0;
        };
        let keep_for = Duration::from_secs(window_seconds.into());
        let mut verdict = None;
        // Reading the last attempt and remembering this one is one step for each user.
        self.attempts
            .entry((campaign, user.clone()))
            .and_compute_with(|last| {
                let (decided, attempt) = decide(last.map(|entry| entry.into_value().attempt));
                verdict = Some(decided);
                match attempt {
                    Some(attempt) => Op::Put(Remembered { attempt, keep_for }),
                    None => Op::Nop,
                }
            });
        verdict.expect("the closure is called exactly once")
    }

    /// Gives the attempt back that the tap `grab_id` used up: it was admitted, and then could
    /// not be decided (503). Another tap's attempt stays.
    pub fn withdraw(&self, campaign: CampaignId, user: &UserId, grab_id: Option<GrabId>) {
        let key = (campaign, user.clone());
        if !self.attempts.contains_key(&key) {
            return;
        }
        self.attempts.entry(key).and_compute_with(|last| {
            let attempt = last.map(|entry| entry.into_value().attempt);
            match attempt {
                Some(attempt) if attempt.grab_id == grab_id && !attempt.discarded => Op::Remove,
                _ => Op::Nop,
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use rules::{Eligible, Rejected, Rules};
    use uuid::Uuid;

    use super::*;

    const CAMPAIGN: CampaignId = CampaignId(Uuid::from_u128(1));
    const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
    const TOO_FREQUENT: Verdict = Verdict::Rejected(Rejected::TooFrequent);

    fn gate() -> Gate {
        Gate::new([1; 32], Registered::of(&["ann"]))
    }

    fn window(seconds: u32) -> RuleSet {
        RuleSet::new(&Rules {
            attempt_window_seconds: Some(seconds),
            ..Rules::default()
        })
    }

    fn user(name: &str) -> UserId {
        UserId::trusted(name)
    }

    fn tap(number: u128) -> Option<GrabId> {
        Some(GrabId(Uuid::from_u128(number)))
    }

    #[test]
    fn one_attempt_per_user_campaign_and_window() {
        let (gate, rules) = (gate(), window(10));
        let ask = |campaign, name, seconds| {
            let now = NOW.plus_seconds(seconds);
            gate.admit(campaign, &rules, &user(name), None, now)
        };
        assert_eq!(ask(CAMPAIGN, "ann", 0), Verdict::Admitted);
        assert_eq!(ask(CAMPAIGN, "ann", 9), TOO_FREQUENT);
        assert_eq!(ask(CAMPAIGN, "bob", 9), Verdict::Admitted);
        let other = CampaignId(Uuid::from_u128(2));
        assert_eq!(ask(other, "ann", 9), Verdict::Admitted);
        assert_eq!(ask(CAMPAIGN, "ann", 10), Verdict::Admitted);
        assert_eq!(ask(CAMPAIGN, "ann", 19), TOO_FREQUENT);
    }

    #[test]
    fn a_repeated_tap_keeps_its_verdict() {
        let (gate, rules) = (gate(), window(10));
        let ask = |grab_id| gate.admit(CAMPAIGN, &rules, &user("ann"), grab_id, NOW);
        assert_eq!(ask(tap(1)), Verdict::Admitted);
        assert_eq!(ask(tap(2)), TOO_FREQUENT);
        assert_eq!(ask(tap(1)), Verdict::Admitted);
        assert_eq!(ask(None), TOO_FREQUENT);
    }

    #[test]
    fn an_undecided_attempt_is_given_back_but_no_other() {
        let (gate, rules) = (gate(), window(10));
        let ask = |grab_id| gate.admit(CAMPAIGN, &rules, &user("ann"), grab_id, NOW);
        for grab_id in [tap(1), None] {
            assert_eq!(ask(grab_id), Verdict::Admitted);
            gate.withdraw(CAMPAIGN, &user("ann"), tap(2));
            assert_eq!(ask(tap(3)), TOO_FREQUENT);
            gate.withdraw(CAMPAIGN, &user("ann"), grab_id);
        }
        assert_eq!(ask(tap(3)), Verdict::Admitted);
        gate.withdraw(CAMPAIGN, &user("nobody"), None);
    }

    #[test]
    fn a_discarded_attempt_is_not_given_back() {
        let gate = gate();
        let rules = RuleSet::new(&Rules {
            attempt_window_seconds: Some(10),
            discard_probability: 1.0,
            ..Rules::default()
        });
        let ask = |grab_id| gate.admit(CAMPAIGN, &rules, &user("ann"), grab_id, NOW);
        assert_eq!(ask(tap(1)), Verdict::Rejected(Rejected::Discarded));
        gate.withdraw(CAMPAIGN, &user("ann"), tap(1));
        assert_eq!(ask(tap(2)), TOO_FREQUENT);
    }

    #[test]
    fn lists_come_first_and_use_up_nothing() {
        let gate = gate();
        let strict = RuleSet::new(&Rules {
            attempt_window_seconds: Some(10),
            eligible: Eligible::Registered,
            blocked: vec![user("mal")],
            ..Rules::default()
        });
        let ask = |name| gate.admit(CAMPAIGN, &strict, &user(name), None, NOW);
        assert_eq!(ask("bob"), Verdict::Rejected(Rejected::NotEligible));
        assert_eq!(ask("mal"), Verdict::Rejected(Rejected::Blocked));
        assert_eq!(ask("ann"), Verdict::Admitted);
        for name in ["bob", "mal"] {
            let verdict = gate.admit(CAMPAIGN, &window(10), &user(name), None, NOW);
            assert_eq!(
                verdict,
                Verdict::Admitted,
                "{name}'s window was still unused"
            );
        }
    }

    #[test]
    fn of_attempts_made_side_by_side_one_is_admitted() {
        let (gate, rules) = (gate(), window(10));
        let admitted: usize = std::thread::scope(|scope| {
            let ask = || {
                let verdicts =
                    (0..200).map(|_| gate.admit(CAMPAIGN, &rules, &user("ann"), None, NOW));
                verdicts.filter(|v| *v == Verdict::Admitted).count()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(admitted, 1);
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_are_forgotten() {
        let gate = Gate::with_room_for([1; 32], Registered::of(&[]), 100);
        let rules = window(3600);
        let ask = |n: u32| gate.admit(CAMPAIGN, &rules, &user(&n.to_string()), None, NOW);
        for n in 0..1000 {
            assert_eq!(ask(n), Verdict::Admitted);
        }
        gate.attempts.run_pending_tasks();
        assert!(gate.attempts.entry_count() <= 100);
        assert_eq!(ask(999), TOO_FREQUENT);
    }
}
