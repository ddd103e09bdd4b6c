//! Who may try: the campaign's rules, asked with what is remembered of each user's last attempt.
//!
//! The rules themselves are in [`rules::admission`], the memory in [`super::attempts`].

use std::{sync::Arc, time::Duration};

use rules::{
    CampaignId, GrabId, Timestamp, UserId,
    admission::{Attempt, RuleSet, Verdict},
};

use super::{
    attempts::{Attempts, AttemptsError, Change, MemoryAttempts, Swap, Swapped},
    registered::Registered,
};

/// How often an attempt is decided anew because another process changed what it was decided
/// from. Each time that user's window has just begun, ended or been given back.
const DECISIONS_MAX: usize = 4;

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

/// Decides who may try, from attempts that all replicas of the account service share.
pub struct SharedGate {
    judge: Judge,
    attempts: Arc<dyn Attempts>,
}

impl SharedGate {
    /// A gate whose random discards follow from `coin_key`, the same on every replica.
    #[must_use]
    pub fn new(
        coin_key: [u8; 32],
        registered: Arc<Registered>,
        attempts: Arc<dyn Attempts>,
    ) -> Self {
        Self {
            judge: Judge {
                coin_key,
                registered,
            },
            attempts,
        }
    }

    /// Whether the shared attempts answer, for readiness.
    ///
    /// # Errors
    /// Why they do not.
    pub async fn ping(&self) -> Result<(), AttemptsError> {
        self.attempts.ping().await
    }

    /// As [`Gate::admit`], for many attempts on one campaign in one round trip, decided in this
    /// order; the verdicts are in it, too. A user's earlier attempt among them counts for the
    /// later ones.
    ///
    /// An attempt whose outcome is an error may have begun the user's window all the same. The
    /// same tap asked again gets its verdict; one without a Grab-Id may find itself too frequent
    /// until the window ends.
    pub async fn admit_all(
        &self,
        campaign: CampaignId,
        rules: &RuleSet,
        asks: &[Ask],
        now: Timestamp,
    ) -> Vec<Result<Verdict, AttemptsError>> {
        metrics::counter!("hongbao_account_calls_total").increment(asks.len() as u64);
        let decide = |ask: &Ask, last| {
            let coin_key = &self.judge.coin_key;
            rules.attempt(coin_key, campaign, &ask.user, ask.grab_id, now, last)
        };
        let mut verdicts: Vec<Option<Result<Verdict, AttemptsError>>> = asks
            .iter()
            .map(|ask| self.judge.listed(rules, &ask.user).map(Ok))
            .collect();
        let Some(keep_for) = window(rules) else {
            let decided = verdicts.into_iter().zip(asks);
            return decided
                .map(|(listed, ask)| listed.unwrap_or_else(|| Ok(decide(ask, None).0)))
                .collect();
        };
        // Most users have no attempt yet, so that is what is decided from first: the reply says
        // whether it was so, and if not, what there is.
        let mut open: Vec<(usize, Option<Attempt>)> = (0..asks.len())
            .filter(|&at| verdicts[at].is_none())
            .map(|at| (at, None))
            .collect();
        for _ in 0..DECISIONS_MAX {
            let mut swaps = Vec::with_capacity(open.len());
            let mut waiting = Vec::with_capacity(open.len());
            for (at, last) in open.drain(..) {
                match decide(&asks[at], last) {
                    (verdict, None) => verdicts[at] = Some(Ok(verdict)),
                    (verdict, to @ Some(_)) => {
                        waiting.push((at, verdict));
                        let user = asks[at].user.clone();
                        swaps.push(swap(campaign, user, last, to, keep_for));
                    }
                }
            }
            if swaps.is_empty() {
                break;
            }
            let swapped = self.attempts.swap(&swaps).await;
            assert_eq!(swapped.len(), swaps.len(), "one result for each swap");
            for ((at, verdict), swapped) in waiting.into_iter().zip(swapped) {
                match swapped {
                    Ok(Swapped::Done) => verdicts[at] = Some(Ok(verdict)),
                    Ok(Swapped::Found(last)) => open.push((at, last)),
                    Err(error) => verdicts[at] = Some(Err(error)),
                }
            }
        }
        let busy = || AttemptsError("others keep changing this user's attempts".into());
        let decided = verdicts.into_iter();
        decided.map(|v| v.unwrap_or_else(|| Err(busy()))).collect()
    }

    /// As [`Gate::withdraw`], for many attempts on one campaign.
    ///
    /// # Errors
    /// The first of those that could not be reached; the others are given back.
    pub async fn withdraw_all(
        &self,
        campaign: CampaignId,
        asks: &[Ask],
    ) -> Result<(), AttemptsError> {
        let mut open: Vec<(&Ask, Option<Attempt>)> = asks.iter().map(|ask| (ask, None)).collect();
        let mut failed = None;
        for _ in 0..DECISIONS_MAX {
            if open.is_empty() {
                break;
            }
            // To put nothing in the place of nothing only tells what there is.
            let forget = |(ask, last): &(&Ask, Option<Attempt>)| {
                swap(campaign, ask.user.clone(), *last, None, Duration::ZERO)
            };
            let swapped = self
                .attempts
                .swap(&open.iter().map(forget).collect::<Vec<_>>())
                .await;
            let asked = std::mem::take(&mut open);
            for ((ask, _), swapped) in asked.into_iter().zip(swapped) {
                match swapped {
                    Ok(Swapped::Found(Some(last))) if last.is_given_back_by(ask.grab_id) => {
                        open.push((ask, Some(last)));
                    }
                    Ok(_) => {}
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

/// How long an attempt under `rules` is remembered; `None`: it need not be.
fn window(rules: &RuleSet) -> Option<Duration> {
    let seconds = rules.attempt_window_seconds()?;
    Some(Duration::from_secs(seconds.into()))
}

fn swap(
    campaign: CampaignId,
    user: UserId,
    from: Option<Attempt>,
    to: Option<Attempt>,
    keep_for: Duration,
) -> Swap {
    Swap {
        campaign,
        user,
        from,
        to,
        keep_for,
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
}
