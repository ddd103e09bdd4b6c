//! How a grab asks who may try: by a function call where the gate is in this process, else
//! together with all others that ask at the same time.
//!
//! An ask always ends within [`ANSWER_WITHIN`], whatever has become of the account service, and
//! nothing waits here without a bound. What an unreached account service means is configured.

use std::{net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use rules::{
    CampaignId, GrabId, Timestamp, UserId,
    admission::{RuleSet, Verdict},
};
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::Instant,
};

use super::{
    admission::{Ask, Gate},
    verify::ATTEMPTS_PER_CALL_MAX,
};

/// How long an ask waits for its verdict: long enough for a second try where the first had no
/// answer, and well below what a grab may take.
pub const ANSWER_WITHIN: Duration = Duration::from_millis(1_200);
/// How many calls to the account service are under way at the same time.
const CALLS_MAX: usize = 4;
/// How many attempts may wait for a call; more are undecided at once.
const WAITING_MAX: usize = 16_384;

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Who tries.
    pub user: UserId,
    /// The tap, where the client named it.
    pub grab_id: Option<GrabId>,
    /// The address they try from.
    pub ip: IpAddr,
}

impl Attempt {
    pub(super) fn ask(&self) -> Ask {
        Ask {
            user: self.user.clone(),
            grab_id: self.grab_id,
        }
    }
}

/// The account service was not reached in time. It may have decided all the same.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the account service was not reached: {0}")]
pub struct Unreached(pub String);

/// An account service that decides about many attempts in one call.
#[async_trait]
pub trait Verifier: Send + Sync + 'static {
    /// The verdicts on attempts on one campaign, in order; `None` for one that it could not
    /// decide.
    ///
    /// # Errors
    /// When none could be decided.
    async fn admit(
        &self,
        campaign: CampaignId,
        attempts: &[Attempt],
    ) -> Result<Vec<Option<Verdict>>, Unreached>;

    /// Gives attempts back that were admitted and then could not be decided.
    ///
    /// # Errors
    /// When it is unknown whether that was done.
    async fn withdraw(&self, campaign: CampaignId, attempts: &[Attempt]) -> Result<(), Unreached>;

    /// Whether it answers, for readiness.
    ///
    /// # Errors
    /// Why it does not.
    async fn ping(&self) -> Result<(), Unreached>;
}

/// What an attempt that the account service did not decide is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenDown {
    /// Undecided too: the user is to ask again.
    Refuse,
    /// Admitted, as if there were no rules.
    Admit,
}

/// Who may try, as the grab asks. Cheap to clone.
#[derive(Clone)]
pub enum Admission {
    /// The gate of this process.
    Here(Arc<Gate>),
    /// An account service that many ask together.
    Asked(Asked),
}

impl Admission {
    /// Whether `user` may take a packet of `campaign` now. `rules` and `now` are this process's
    /// and count where the gate is here. `None`: undecided by `deadline`, and the attempt is not
    /// used up.
    pub async fn admit(
        &self,
        campaign: CampaignId,
        rules: &RuleSet,
        attempt: Attempt,
        now: Timestamp,
        deadline: Instant,
    ) -> Option<Verdict> {
        match self {
            Self::Here(gate) => {
                Some(gate.admit(campaign, rules, &attempt.user, attempt.grab_id, now))
            }
            Self::Asked(asked) => asked.admit(campaign, attempt, deadline).await,
        }
    }

    /// Gives the attempt back that the tap used up: it was admitted, and then could not be
    /// decided (503). Returns at once.
    pub fn withdraw(&self, campaign: CampaignId, attempt: Attempt) {
        match self {
            Self::Here(gate) => gate.withdraw(campaign, &attempt.user, attempt.grab_id),
            Self::Asked(asked) => asked.withdraw(campaign, attempt),
        }
    }
}

/// What waits to be asked.
enum Wish {
    Admit(oneshot::Sender<Option<Verdict>>),
    Withdraw,
}

/// A wish and what it is about.
struct Waiting {
    campaign: CampaignId,
    attempt: Attempt,
    wish: Wish,
}

/// The way to an account service that many ask together. Cheap to clone; the calls end when the
/// last one is dropped.
#[derive(Clone)]
pub struct Asked {
    waiting: mpsc::Sender<Waiting>,
    when_down: WhenDown,
}

impl Asked {
    /// Asks `verifier` from now on. To be called within a tokio runtime that outlives every
    /// grab.
    #[must_use]
    pub fn start(verifier: Arc<dyn Verifier>, when_down: WhenDown) -> Self {
        let (waiting, asked) = mpsc::channel(WAITING_MAX);
        let asked = Arc::new(Mutex::new(asked));
        for _ in 0..CALLS_MAX {
            let calls = calls(verifier.clone(), asked.clone());
            crate::task::critical("account calls", calls);
        }
        Self { waiting, when_down }
    }

    async fn admit(
        &self,
        campaign: CampaignId,
        attempt: Attempt,
        deadline: Instant,
    ) -> Option<Verdict> {
        let deadline = deadline.min(Instant::now() + ANSWER_WITHIN);
        let (reply, mut verdict) = oneshot::channel();
        let waiting = Waiting {
            campaign,
            attempt: attempt.clone(),
            wish: Wish::Admit(reply),
        };
        let handed_over = self.waiting.try_send(waiting).is_ok();
        let answer = if handed_over {
            tokio::time::timeout_at(deadline, &mut verdict).await.ok()
        } else {
            None
        };
        if let Some(Ok(Some(verdict))) = answer {
            return Some(verdict);
        }
        metrics::counter!("hongbao_account_undecided_total").increment(1);
        if self.when_down == WhenDown::Admit {
            return Some(Verdict::Admitted);
        }
        if answer.is_some() {
            // It may have been admitted, and only the answer is missing.
            self.withdraw(campaign, attempt);
        } else if handed_over {
            tokio::spawn(
                self.clone()
                    .withdraw_if_admitted(campaign, attempt, verdict),
            );
        }
        None
    }

    /// Waits for a verdict that comes too late. A rejected attempt is not given back: in its
    /// place an earlier one would be, of a user whose taps have no Grab-Id.
    async fn withdraw_if_admitted(
        self,
        campaign: CampaignId,
        attempt: Attempt,
        verdict: oneshot::Receiver<Option<Verdict>>,
    ) {
        if !matches!(verdict.await, Ok(Some(Verdict::Rejected(_)))) {
            self.withdraw(campaign, attempt);
        }
    }

    fn withdraw(&self, campaign: CampaignId, attempt: Attempt) {
        let waiting = Waiting {
            campaign,
            attempt,
            wish: Wish::Withdraw,
        };
        if self.waiting.try_send(waiting).is_err() {
            metrics::counter!("hongbao_account_withdrawals_lost_total").increment(1);
        }
    }
}

/// Makes one call after another out of what waits, until every [`Asked`] is gone.
async fn calls(verifier: Arc<dyn Verifier>, asked: Arc<Mutex<mpsc::Receiver<Waiting>>>) {
    let mut batch = Vec::with_capacity(ATTEMPTS_PER_CALL_MAX);
    loop {
        let taken = asked
            .lock()
            .await
            .recv_many(&mut batch, ATTEMPTS_PER_CALL_MAX)
            .await;
        if taken == 0 {
            return;
        }
        call(&*verifier, std::mem::take(&mut batch)).await;
    }
}

/// Attempts on one campaign that travel together.
struct Together {
    campaign: CampaignId,
    admit: Vec<(Attempt, oneshot::Sender<Option<Verdict>>)>,
    withdraw: Vec<Attempt>,
}

/// One call for the admissions of each campaign in `batch`, then one for what is given back.
async fn call(verifier: &dyn Verifier, batch: Vec<Waiting>) {
    let mut all: Vec<Together> = Vec::new();
    for waiting in batch {
        let place = all.iter().position(|t| t.campaign == waiting.campaign);
        let place = place.unwrap_or_else(|| {
            all.push(Together {
                campaign: waiting.campaign,
                admit: Vec::new(),
                withdraw: Vec::new(),
            });
            all.len() - 1
        });
        match waiting.wish {
            // The user has hung up.
            Wish::Admit(reply) if reply.is_closed() => {}
            Wish::Admit(reply) => all[place].admit.push((waiting.attempt, reply)),
            Wish::Withdraw => all[place].withdraw.push(waiting.attempt),
        }
    }
    stream::iter(all)
        .for_each_concurrent(CALLS_MAX, |together| ask(verifier, together))
        .await;
}

async fn ask(verifier: &dyn Verifier, together: Together) {
    let (attempts, replies): (Vec<_>, Vec<_>) = together.admit.into_iter().unzip();
    if !attempts.is_empty() {
        metrics::histogram!("hongbao_account_call_attempts").record(attempts.len() as f64);
        let verdicts = bounded(verifier.admit(together.campaign, &attempts)).await;
        let verdicts = verdicts.unwrap_or_else(|unreached| {
            tracing::warn!(attempts = attempts.len(), %unreached, "attempts are undecided");
            vec![None; attempts.len()]
        });
        assert_eq!(
            verdicts.len(),
            replies.len(),
            "one verdict for each attempt"
        );
        for (reply, verdict) in replies.into_iter().zip(verdicts) {
            // Who hangs up has tried all the same: else whoever hangs up in time could try as
            // often as they like.
            let _hung_up = reply.send(verdict).is_err();
        }
    }
    if !together.withdraw.is_empty() {
        let withdrawn = bounded(verifier.withdraw(together.campaign, &together.withdraw)).await;
        if let Err(unreached) = withdrawn {
            let lost = together.withdraw.len();
            tracing::warn!(attempts = lost, %unreached, "attempts may not have been given back");
            metrics::counter!("hongbao_account_withdrawals_lost_total").increment(lost as u64);
        }
    }
}

/// A call that ends in time.
async fn bounded<T>(call: impl Future<Output = Result<T, Unreached>>) -> Result<T, Unreached> {
    let late = || Unreached(format!("no answer within {ANSWER_WITHIN:?}"));
    let answered = tokio::time::timeout(ANSWER_WITHIN, call).await;
    answered.unwrap_or_else(|_| Err(late()))
}

#[cfg(test)]
mod tests;
