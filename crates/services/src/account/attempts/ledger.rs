//! Attempts in the ledger's database, for replicas of the account service that share nothing else.
//!
//! Those of one call are one short transaction. It is a commit for each round of checks where
//! Redis would have none, so Redis is the better place for a rain whose rules have a window; it
//! is right all the same, and needs no further service.

use std::{
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use ::ledger::{Ledger as _, LedgerError, ServerLedger, server::AttemptSwap};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use super::{
    Attempts, AttemptsError, Swap, Swapped,
    encoded::{decode, encode},
};

/// How long a call may take: shorter than those wait who ask the account service.
const CALL_TIMEOUT: Duration = Duration::from_millis(450);
/// The most attempts in one transaction.
const SWAPS_PER_TRANSACTION: usize = 512;
/// How much longer than its window an attempt is kept. The rules know when it ends.
const KEPT_LONGER: Duration = Duration::from_secs(1);
/// How often what is over is removed, while there is anything to swap.
const FORGET_EVERY: Duration = Duration::from_secs(30);

/// Users' last attempts in the database of the ledger.
pub struct LedgerAttempts {
    ledger: ServerLedger,
    call_timeout: Duration,
    /// What is over is being removed, or was a short while ago.
    forgetting: Arc<AtomicBool>,
}

impl From<LedgerError> for AttemptsError {
    fn from(error: LedgerError) -> Self {
        Self(error.to_string())
    }
}

impl LedgerAttempts {
    /// The attempts in the database of `ledger`.
    #[must_use]
    pub fn new(ledger: ServerLedger) -> Self {
        Self {
            ledger,
            call_timeout: CALL_TIMEOUT,
            forgetting: Arc::default(),
        }
    }

    /// As [`Self::new`], for tests on machines that are busy with others.
    #[cfg(test)]
    pub(super) fn patient(ledger: ServerLedger) -> Self {
        Self {
            call_timeout: Duration::from_secs(60),
            ..Self::new(ledger)
        }
    }

    async fn swap_some(&self, swaps: &[Swap]) -> Result<Vec<Swapped>, AttemptsError> {
        let now = self.ledger.now();
        let bytes: Vec<(Bytes, Bytes)> = swaps
            .iter()
            .map(|swap| (encode(swap.from), encode(swap.to)))
            .collect();
        let swaps = swaps.iter().zip(&bytes).map(|(swap, (from, to))| {
            let keep_for = (swap.keep_for + KEPT_LONGER).as_micros();
            AttemptSwap {
                campaign: swap.campaign,
                user: &swap.user,
                from,
                to,
                until: now.plus_micros(i64::try_from(keep_for).unwrap_or(i64::MAX / 2)),
            }
        });
        let swaps: Vec<_> = swaps.collect();
        let swapped = self.ledger.swap_attempts(&swaps).await?.into_iter();
        let swapped = swapped.map(|found| match found {
            None => Ok(Swapped::Done),
            Some(found) => Ok(Swapped::Found(decode(&found)?)),
        });
        swapped.collect()
    }

    /// Removes what is over, in the background, if that was not done lately.
    fn forget_by_the_way(&self) {
        if self.forgetting.swap(true, Relaxed) {
            return;
        }
        let (ledger, forgetting) = (self.ledger.clone(), self.forgetting.clone());
        tokio::spawn(async move {
            tokio::time::sleep(FORGET_EVERY).await;
            if let Err(error) = ledger.forget_attempts().await {
                tracing::debug!(%error, "attempts that are over were not removed");
            }
            forgetting.store(false, Relaxed);
        });
    }
}

#[async_trait]
impl Attempts for LedgerAttempts {
    async fn ping(&self) -> Result<(), AttemptsError> {
        Ok(self.ledger.ping().await?)
    }

    async fn swap(&self, swaps: &[Swap]) -> Vec<Result<Swapped, AttemptsError>> {
        if !swaps.is_empty() {
            self.forget_by_the_way();
        }
        let mut swapped = Vec::with_capacity(swaps.len());
        let deadline = Instant::now() + self.call_timeout;
        for swaps in swaps.chunks(SWAPS_PER_TRANSACTION) {
            let some = tokio::time::timeout_at(deadline, self.swap_some(swaps)).await;
            let late = || AttemptsError("the ledger did not answer in time".into());
            match some.unwrap_or_else(|_| Err(late())) {
                Ok(some) => swapped.extend(some.into_iter().map(Ok)),
                Err(error) => swapped.extend(swaps.iter().map(|_| Err(error.clone()))),
            }
        }
        swapped
    }
}
