//! What is remembered of each user's last attempt: in this process, or where all replicas of the
//! account service share it.
//!
//! Whoever remembers never decides: [`rules::admission`] does, from what is remembered, and
//! [`Attempts::swap`] puts the new in the place of exactly the old that was decided from.

mod encoded;
mod ledger;
mod redis;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use moka::{
    Expiry,
    notification::RemovalCause,
    ops::compute::{CompResult, Op},
    policy::EvictionPolicy,
    sync::Cache,
};
use rules::{CampaignId, UserId, admission::Attempt};

pub use self::{ledger::LedgerAttempts, redis::RedisAttempts};

/// The most attempts that are remembered in one process, over all campaigns; about 200 MB.
pub const ATTEMPTS_MAX: u64 = 1_000_000;

/// A wish to put one attempt in the place of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swap {
    /// The campaign.
    pub campaign: CampaignId,
    /// Whose attempt.
    pub user: UserId,
    /// What is to be there now; `None`: nothing.
    pub from: Option<Attempt>,
    /// What is to be there from then on; `None`: nothing.
    pub to: Option<Attempt>,
    /// How long that is remembered at least; for the window that it begins.
    pub keep_for: Duration,
}

/// What became of a [`Swap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swapped {
    /// It is done.
    Done,
    /// This was there instead, and still is.
    Found(Option<Attempt>),
}

/// The attempts could not be reached in time. The swap may or may not have happened.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the attempts of users cannot be looked up: {0}")]
pub struct AttemptsError(pub String);

/// What is remembered of users' last attempts.
#[async_trait]
pub trait Attempts: Send + Sync + 'static {
    /// Whether it answers, for readiness.
    ///
    /// # Errors
    /// Why it does not.
    async fn ping(&self) -> Result<(), AttemptsError>;

    /// Tries each of `swaps`; the results are in their order. Each is one atomic step, and
    /// those of the same campaign and user follow each other in order. All travel together,
    /// and the answer comes within a bounded time. One may fail and another not: a user's
    /// attempts are in one place, those of all users need not be.
    async fn swap(&self, swaps: &[Swap]) -> Vec<Result<Swapped, AttemptsError>>;
}

/// Attempts remembered as long as the process lasts, and bounded: when it is full those made
/// longest ago are forgotten, so that some may try again too early. No win limit depends on it.
pub struct MemoryAttempts {
    attempts: Cache<(CampaignId, UserId), Remembered>,
}

#[derive(Clone, Copy)]
struct Remembered {
    attempt: Attempt,
    keep_for: Duration,
}

/// What is to become of a remembered attempt.
pub(super) enum Change {
    /// It stays as it is.
    Nothing,
    /// This one takes its place, for so long.
    Remember(Attempt, Duration),
    /// It is forgotten.
    Forget,
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

impl Default for MemoryAttempts {
    fn default() -> Self {
        Self::with_room_for(ATTEMPTS_MAX)
    }
}

impl MemoryAttempts {
    pub(super) fn with_room_for(attempts_max: u64) -> Self {
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
        Self { attempts }
    }

    /// Changes what is remembered of `user` by what it is, in one step. `decide` is called
    /// exactly once.
    pub(super) fn change(
        &self,
        campaign: CampaignId,
        user: &UserId,
        decide: impl FnOnce(Option<Attempt>) -> Change,
    ) {
        let entry = self.attempts.entry((campaign, user.clone()));
        let _changed: CompResult<_, _> = entry.and_compute_with(|last| {
            match decide(last.map(|entry| entry.into_value().attempt)) {
                Change::Nothing => Op::Nop,
                Change::Remember(attempt, keep_for) => Op::Put(Remembered { attempt, keep_for }),
                Change::Forget => Op::Remove,
            }
        });
    }

    /// Whether anything is remembered of `user`.
    pub(super) fn remembers(&self, campaign: CampaignId, user: &UserId) -> bool {
        self.attempts.contains_key(&(campaign, user.clone()))
    }

    fn swap_one(&self, swap: &Swap) -> Swapped {
        let mut swapped = Swapped::Done;
        self.change(swap.campaign, &swap.user, |found| {
            if found != swap.from {
                swapped = Swapped::Found(found);
                return Change::Nothing;
            }
            match swap.to {
                Some(attempt) => Change::Remember(attempt, swap.keep_for),
                None => Change::Forget,
            }
        });
        swapped
    }
}

#[async_trait]
impl Attempts for MemoryAttempts {
    async fn ping(&self) -> Result<(), AttemptsError> {
        Ok(())
    }

    async fn swap(&self, swaps: &[Swap]) -> Vec<Result<Swapped, AttemptsError>> {
        swaps.iter().map(|swap| Ok(self.swap_one(swap))).collect()
    }
}

#[cfg(test)]
impl MemoryAttempts {
    /// How many attempts are remembered.
    pub(super) fn count(&self) -> u64 {
        self.attempts.run_pending_tasks();
        self.attempts.entry_count()
    }
}
