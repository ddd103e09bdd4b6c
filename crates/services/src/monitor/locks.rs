//! One lock per campaign within this process: issuing, sending again and clearing away take
//! their turns. The ledger keeps the promises without it; it saves doing work twice.

use ledger::CampaignNo;
use tokio::sync::{Mutex, MutexGuard};

/// How many locks there are; campaigns share them by number.
const LOCKS: usize = 64;

/// The locks.
pub(crate) struct CampaignLocks([Mutex<()>; LOCKS]);

impl CampaignLocks {
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| Mutex::new(())))
    }

    /// Waits for the turn on `campaign`.
    pub(crate) async fn lock(&self, campaign: CampaignNo) -> MutexGuard<'_, ()> {
        let place = campaign.0.rem_euclid(LOCKS as i64);
        self.0[usize::try_from(place).unwrap_or(0)].lock().await
    }
}
