//! The campaigns that are not closed: what the scheduler, the reconciler and the auditor go
//! round. Kept apart from the directory so that their rounds do not grow with history.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use ledger::Campaign;
use rules::CampaignId;
use tokio::sync::Notify;

use crate::directory::Follower;

/// The unclosed campaigns, as of the directory's last read.
#[derive(Default)]
pub struct OpenCampaigns {
    campaigns: Mutex<HashMap<CampaignId, Arc<Campaign>>>,
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
            self.lock().remove(&campaign.id);
        } else {
            self.lock().insert(campaign.id, campaign);
        }
        self.changed.notify_one();
    }
}
