//! The gate of an account replica: decides from attempts that all replicas share.

use std::{sync::Arc, time::Duration};

use rules::{
    CampaignId, Timestamp,
    admission::{Attempt, RuleSet, Verdict},
};
use tokio::sync::Semaphore;

use super::{Ask, Judge, window};
use crate::account::{
    attempts::{Attempts, AttemptsError, Swap, Swapped},
    registered::Registered,
};

/// How often an attempt is decided anew because another process changed what it was decided
/// from. Each time that user's window has just begun, ended or been given back.
const DECISIONS_MAX: usize = 4;
/// How often attempts are taken back that may or may not have been remembered.
const TAKEN_BACK_TRIES: usize = 5;
/// The pause before each of these.
const TAKE_BACK_AFTER: Duration = Duration::from_secs(1);
/// How many calls' attempts are taken back at the same time; those of more stay until their
/// windows end.
const TAKING_BACK_MAX: usize = 64;

/// Decides who may try, from attempts that all replicas of the account service share.
pub struct SharedGate {
    judge: Judge,
    attempts: Arc<dyn Attempts>,
    taking_back: Arc<Semaphore>,
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
            taking_back: Arc::new(Semaphore::new(TAKING_BACK_MAX)),
        }
    }

    /// Whether the shared attempts answer, for readiness.
    ///
    /// # Errors
    /// Why they do not.
    pub async fn ping(&self) -> Result<(), AttemptsError> {
        self.attempts.ping().await
    }

    /// As [`super::Gate::admit`], for many attempts on one campaign in one round trip, decided in this
    /// order; the verdicts are in it, too. A user's earlier attempt among them counts for the
    /// later ones.
    ///
    /// An attempt whose outcome is an error may have begun the user's window all the same. The
    /// same tap asked again gets its verdict. One without a Grab-Id cannot be told from another
    /// tap: its attempt is taken back as soon as the attempts can be reached again.
    pub async fn admit_all(
        &self,
        campaign: CampaignId,
        rules: &RuleSet,
        asks: &[Ask],
        now: Timestamp,
    ) -> Vec<Result<Verdict, AttemptsError>> {
        metrics::counter!("hongbao_account_calls_total").increment(asks.len() as u64);
        let listed = |ask: &Ask| self.judge.listed(rules, &ask.user).map(Ok);
        let mut verdicts: Vec<Option<Result<Verdict, AttemptsError>>> =
            asks.iter().map(listed).collect();
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
                let Ask { user, grab_id } = &asks[at];
                let coin_key = &self.judge.coin_key;
                match rules.attempt(coin_key, campaign, user, *grab_id, now, last) {
                    (verdict, None) => verdicts[at] = Some(Ok(verdict)),
                    (verdict, to) => {
                        waiting.push((at, verdict));
                        swaps.push(Swap {
                            campaign,
                            user: user.clone(),
                            from: last,
                            to,
                            keep_for: window(rules).unwrap_or_default(),
                        });
                    }
                }
            }
            if swaps.is_empty() {
                break;
            }
            let swapped = self.swap(&swaps).await;
            let mut uncertain = Vec::new();
            for (((at, verdict), swapped), swap) in waiting.into_iter().zip(swapped).zip(swaps) {
                match swapped {
                    Ok(Swapped::Done) => verdicts[at] = Some(Ok(verdict)),
                    Ok(Swapped::Found(last)) => open.push((at, last)),
                    Err(error) => {
                        verdicts[at] = Some(Err(error));
                        uncertain.push(swap);
                    }
                }
            }
            self.take_back(uncertain);
        }
        let busy = || AttemptsError("others keep changing this user's attempts".into());
        let decided = verdicts.into_iter();
        decided.map(|v| v.unwrap_or_else(|| Err(busy()))).collect()
    }

    async fn swap(&self, swaps: &[Swap]) -> Vec<Result<Swapped, AttemptsError>> {
        let swapped = self.attempts.swap(swaps).await;
        assert_eq!(swapped.len(), swaps.len(), "one result for each swap");
        swapped
    }

    /// Takes back, in the background, what these swaps may have remembered although they failed;
    /// only attempts that a repetition of their tap would not find to be its own.
    fn take_back(&self, uncertain: Vec<Swap>) {
        let nameless = |swap: Swap| {
            let attempt = swap.to.filter(|attempt| attempt.is_given_back_by(None))?;
            Some(Swap {
                from: Some(attempt),
                to: None,
                ..swap
            })
        };
        let mut left: Vec<Swap> = uncertain.into_iter().filter_map(nameless).collect();
        if left.is_empty() {
            return;
        }
        let Ok(turn) = self.taking_back.clone().try_acquire_owned() else {
            let many = left.len() as u64;
            metrics::counter!("hongbao_attempts_not_taken_back_total").increment(many);
            return;
        };
        let attempts = self.attempts.clone();
        tokio::spawn(async move {
            for _ in 0..TAKEN_BACK_TRIES {
                tokio::time::sleep(TAKE_BACK_AFTER).await;
                let swapped = attempts.swap(&left).await;
                let failed = left.into_iter().zip(swapped).filter(|(_, s)| s.is_err());
                left = failed.map(|(swap, _)| swap).collect();
                if left.is_empty() {
                    break;
                }
            }
            let many = left.len() as u64;
            metrics::counter!("hongbao_attempts_not_taken_back_total").increment(many);
            drop(turn);
        });
    }

    /// As [`super::Gate::withdraw`], for many attempts on one campaign.
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
            let forget = |(ask, last): &(&Ask, Option<Attempt>)| Swap {
                campaign,
                user: ask.user.clone(),
                from: *last,
                to: None,
                keep_for: Duration::ZERO,
            };
            let forget: Vec<Swap> = open.iter().map(forget).collect();
            let swapped = self.swap(&forget).await;
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

#[cfg(test)]
mod tests;
