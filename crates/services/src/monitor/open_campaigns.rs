//! The campaigns that are not closed: what the scheduler, the reconciler and the auditor go
//! round. Kept apart from the directory so that their rounds do not grow with history.
//! Besides, those that have just closed, whose bundles are to be cleared away.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ledger::{Campaign, CampaignNo};
use rules::CampaignId;
use tokio::sync::Notify;

use crate::directory::Follower;

/// How long a closed campaign is remembered, should nobody clear it away.
const CLOSED_KEPT_FOR: Duration = Duration::from_secs(120);

/// The unclosed campaigns, as of the directory's last read.
#[derive(Default)]
pub struct OpenCampaigns {
    campaigns: Mutex<HashMap<CampaignId, Arc<Campaign>>>,
    just_closed: Mutex<HashMap<CampaignId, (CampaignNo, Instant)>>,
    changed: Notify,
}

impl OpenCampaigns {
    /// All of them.
    pub fn all(&self) -> Vec<Arc<Campaign>> {
        self.lock().values().cloned().collect()
    }

    /// Returns when any campaign has changed since the last call returned.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Those that this process saw open and that closed lately.
    pub fn just_closed(&self) -> Vec<(CampaignId, CampaignNo)> {
        let mut closed = self.lock_closed();
        closed.retain(|_, (_, since)| since.elapsed() < CLOSED_KEPT_FOR);
        closed.iter().map(|(id, (no, _))| (*id, *no)).collect()
    }

    /// Nothing is left to do about a closed campaign.
    pub fn cleared(&self, id: CampaignId) {
        self.lock_closed().remove(&id);
    }

    fn lock_closed(&self) -> std::sync::MutexGuard<'_, HashMap<CampaignId, (CampaignNo, Instant)>> {
        self.just_closed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<CampaignId, Arc<Campaign>>> {
        // Each change is one insert or remove, so a panic cannot leave the map half changed.
        self.campaigns
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl Follower for OpenCampaigns {
    async fn changed(&self, campaign: Arc<Campaign>) {
        if campaign.closed_at.is_some() {
            let was_open = self.lock().remove(&campaign.id).is_some();
            if was_open {
                let closed = (campaign.no, Instant::now());
                self.lock_closed().insert(campaign.id, closed);
            }
        } else {
            self.lock().insert(campaign.id, campaign);
        }
        self.changed.notify_one();
    }
}
