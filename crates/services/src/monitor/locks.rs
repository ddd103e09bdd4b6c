//! One lock per campaign within this process: issuing, sending again and clearing away take
//! their turns. The ledger keeps the promises without it; it saves doing work twice.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, Weak},
};

use ledger::CampaignNo;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// The locks that somebody holds or waits for.
#[derive(Default)]
pub(crate) struct CampaignLocks(std::sync::Mutex<HashMap<CampaignNo, Weak<Mutex<()>>>>);

impl CampaignLocks {
    /// Waits for the turn on `campaign`.
    pub(crate) async fn lock(&self, campaign: CampaignNo) -> OwnedMutexGuard<()> {
        let lock = self.of(campaign);
        lock.lock_owned().await
    }

    fn of(&self, campaign: CampaignNo) -> Arc<Mutex<()>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = all.get(&campaign).and_then(Weak::upgrade) {
            return lock;
        }
        all.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::default();
        all.insert(campaign, Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_campaign_has_its_own_for_as_long_as_it_is_needed() {
        let locks = CampaignLocks::default();
        let one = locks.lock(CampaignNo(1)).await;
        let other = locks.lock(CampaignNo(65)).await;
        let mut again = std::pin::pin!(locks.lock(CampaignNo(1)));
        assert!(futures_util::poll!(again.as_mut()).is_pending());
        drop(one);
        drop(again.await);
        drop(other);
        drop(locks.lock(CampaignNo(7)).await);
        assert_eq!(
            locks.0.lock().unwrap().len(),
            1,
            "those let go are forgotten"
        );
    }
}
