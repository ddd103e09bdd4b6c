//! Who may try: the campaign's rules, asked with what is remembered of each user's last attempt.
//!
//! The rules themselves are in [`rules::admission`], the memory in [`super::attempts`].

mod shared;

use std::{sync::Arc, time::Duration};

use rules::{
    CampaignId, GrabId, Timestamp, UserId,
    admission::{RuleSet, Verdict},
};

pub use self::shared::SharedGate;
use super::{
    attempts::{Change, MemoryAttempts},
    registered::Registered,
};

/// One attempt that is to be decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Who tries.
    pub user: UserId,
    /// The tap, where the client named it.
    pub grab_id: Option<GrabId>,
}

/// What all replicas have in common.
struct Judge {
    coin_key: [u8; 32],
    registered: Arc<Registered>,
}

impl Judge {
    fn listed(&self, rules: &RuleSet, user: &UserId) -> Option<Verdict> {
        let reason = rules.listed(user, || self.registered.contains(user));
        reason.map(Verdict::Rejected)
    }
}

/// Decides who may try, from attempts remembered in this process.
pub struct Gate {
    judge: Judge,
    attempts: MemoryAttempts,
}

impl Gate {
    /// A gate whose random discards follow from `coin_key` (the same on every replica) and that
    /// remembers no attempt yet.
    #[must_use]
    pub fn new(coin_key: [u8; 32], registered: Arc<Registered>) -> Self {
        Self {
            judge: Judge {
                coin_key,
                registered,
            },
            attempts: MemoryAttempts::default(),
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
        if let Some(verdict) = self.judge.listed(rules, user) {
            return verdict;
        }
        let coin_key = &self.judge.coin_key;
        let decide = |last| rules.attempt(coin_key, campaign, user, grab_id, now, last);
        let Some(keep_for) = window(rules) else {
            return decide(None).0;
        };
        let mut verdict = None;
        // Reading the last attempt and remembering this one is one step for each user.
        self.attempts.change(campaign, user, |last| {
            let (decided, attempt) = decide(last);
            verdict = Some(decided);
            match attempt {
                Some(attempt) => Change::Remember(attempt, keep_for),
                None => Change::Nothing,
            }
        });
        verdict.expect("the closure is called exactly once")
    }

    /// Gives the attempt back that the tap `grab_id` used up: it was admitted, and then could
    /// not be decided (503). Another tap's attempt stays.
    pub fn withdraw(&self, campaign: CampaignId, user: &UserId, grab_id: Option<GrabId>) {
        if !self.attempts.remembers(campaign, user) {
            return;
        }
        self.attempts.change(campaign, user, |last| {
            match last.is_some_and(|last| last.is_given_back_by(grab_id)) {
                true => Change::Forget,
                false => Change::Nothing,
            }
        });
    }
}

/// How long an attempt under `rules` is remembered; `None`: it need not be.
fn window(rules: &RuleSet) -> Option<Duration> {
    let seconds = rules.attempt_window_seconds()?;
    Some(Duration::from_secs(seconds.into()))
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
        let gate = Gate {
            attempts: MemoryAttempts::with_room_for(100),
            ..gate()
        };
        let rules = window(3600);
        let ask = |n: u32| gate.admit(CAMPAIGN, &rules, &user(&n.to_string()), None, NOW);
        for n in 0..1000 {
            assert_eq!(ask(n), Verdict::Admitted);
        }
        assert!(gate.attempts.count() <= 100);
        assert_eq!(ask(999), TOO_FREQUENT);
    }

    /// Users who ask once a window beside bots that ask a hundred times: the window decides, and
    /// chance within it is no better for who asks more.
    #[test]
    fn a_hundred_times_the_asks_win_no_more() {
        const WINDOW_MICROS: i64 = 10_000_000;
        const WINDOWS: i64 = 50;
        const USERS: u64 = 600;
        const BOTS: u64 = 60;
        const ASKS_OF_BOTS: i64 = 100;
        let gate = gate();
        let rules = RuleSet::new(&Rules {
            attempt_window_seconds: Some(10),
            discard_probability: 0.5,
            ..Rules::default()
        });
        // Marsaglia's xorshift, always from the same seed.
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut below = |end: i64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            i64::try_from(seed >> 1).unwrap() % end
        };
        let mut admitted_each = |kind: &str, number: u64, asks: i64| {
            let pause = WINDOW_MICROS / asks;
            let mut admitted = 0_u32;
            for one in 0..number {
                let (user, phase) = (user(&format!("{kind}-{one}")), below(pause));
                for n in 0..WINDOWS * asks {
                    let grab_id = tap(u128::from(one) << 64 | u128::from(n.unsigned_abs()));
                    let now = NOW.plus_micros(phase + n * pause);
                    let verdict = gate.admit(CAMPAIGN, &rules, &user, grab_id, now);
                    admitted += u32::from(verdict == Verdict::Admitted);
                }
            }
            f64::from(admitted) / number as f64
        };
        let user = admitted_each("user", USERS - BOTS, 1);
        let bot = admitted_each("bot", BOTS, ASKS_OF_BOTS);
        println!("admitted of {WINDOWS} windows: a user {user:.1}, a bot {bot:.1} times");
        assert!(user > 20.0, "that is no chance of one half: {user:.1}");
        assert!(bot <= user * 1.1, "a user {user:.1}, a bot {bot:.1} times");
    }
}
