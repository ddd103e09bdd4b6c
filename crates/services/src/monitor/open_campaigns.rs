//! The campaigns that are not closed: what the scheduler, the reconciler and the auditor go
//! round. Kept apart from the directory so that their rounds do not grow with history.
//! Besides, those that have just closed, whose bundles are to be cleared away.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use ledger::{Campaign, CampaignNo};
use rules::{CampaignId, Timestamp};
use tokio::sync::Notify;

use crate::directory::{Current, Follower};

/// How long after its end a campaign is remembered, should nobody have cleared it away: the queue
/// may be away for long, and who has closed it may have died before.
const CLOSED_KEPT_SECONDS: i64 = 86_400;

/// The unclosed campaigns, as of the directory's last read.
#[derive(Default)]
pub struct OpenCampaigns {
    campaigns: Mutex<HashMap<CampaignId, Arc<Campaign>>>,
    just_closed: Mutex<HashMap<CampaignId, (CampaignNo, Timestamp)>>,
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

    /// Those that closed lately, as of ledger time `now`, and were not cleared away by this process.
    pub fn just_closed(&self, now: Timestamp) -> Vec<(CampaignId, CampaignNo)> {
        let mut closed = self.lock_closed();
        closed.retain(|_, (_, at)| at.plus_seconds(CLOSED_KEPT_SECONDS) > now);
        closed.iter().map(|(id, (no, _))| (*id, *no)).collect()
    }

    /// Nothing is left to do about a closed campaign.
    pub fn cleared(&self, id: CampaignId) {
        self.lock_closed().remove(&id);
    }

    fn lock_closed(
        &self,
    ) -> std::sync::MutexGuard<'_, HashMap<CampaignId, (CampaignNo, Timestamp)>> {
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
    async fn changed(&self, Current { campaign, .. }: &Current) {
        if let Some(closed_at) = campaign.closed_at {
            self.lock().remove(&campaign.id);
            let closed = (campaign.no, closed_at);
            self.lock_closed().insert(campaign.id, closed);
        } else {
            self.lock().insert(campaign.id, campaign.clone());
        }
        self.changed.notify_one();
    }
}
