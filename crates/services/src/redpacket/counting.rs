//! Counts into the ledger, each second: what the statistics come from.
//!
//! A kill loses at most the last second's; the ledger shows that as a gap. A ledger that does
//! not answer loses none: counts wait here until it does.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ledger::{CampaignNo, Counts, LedgerError};
use rules::{Tally, Timestamp};
use tokio::sync::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

use super::Redpacket;
use crate::monitor::SaveCounts;

const SAVE_EVERY: Duration = Duration::from_secs(1);

/// What the ledger has not taken yet, by campaign and second.
type Unsaved = HashMap<(CampaignNo, i64), Tally>;

/// Saves this node's counts.
pub struct Counting {
    redpacket: Arc<Redpacket>,
    /// Held while saving, so that those who wait for a save share the next one.
    unsaved: Mutex<Unsaved>,
}

impl Counting {
    /// Begins this node's epoch.
    ///
    /// # Errors
    /// When the ledger does not answer.
    pub async fn begin(redpacket: Arc<Redpacket>) -> Result<Arc<Self>, LedgerError> {
        redpacket.ledger.begin_epoch(redpacket.node).await?;
        Ok(Arc::new(Self {
            redpacket,
            unsaved: Mutex::default(),
        }))
    }

    /// Saves each second until `stopping` is done, then once more, and ends the epoch.
    pub async fn run(self: Arc<Self>, stopping: CancellationToken) {
        let mut each = tokio::time::interval(SAVE_EVERY);
        while stopping.run_until_cancelled(each.tick()).await.is_some() {
            // Saved even when nothing was counted: it is how the ledger knows, after a kill,
            // until when every count is there.
            if let Err(error) = self.save(self.collect().await).await {
                tracing::warn!(%error, "could not save the counts; they wait");
            }
        }
        if let Err(error) = self.end().await {
            tracing::warn!(%error, "could not save the last counts; the statistics show a gap");
        }
    }

    async fn end(&self) -> Result<(), LedgerError> {
        self.save(self.collect().await).await?;
        self.redpacket.ledger.end_epoch(self.redpacket.node).await
    }

    /// Takes what was counted since the last time, and says up to when that was.
    async fn collect(&self) -> (MutexGuard<'_, Unsaved>, Timestamp) {
        let mut unsaved = self.unsaved.lock().await;
        let upto = self.redpacket.ledger.now();
        let second = upto.micros().div_euclid(1_000_000);
        for rain in self.redpacket.rains.load().values() {
            let tally = rain.counters.take();
            if !tally.is_empty() {
                let place = (rain.view().campaign.no, second);
                unsaved.entry(place).or_default().add(&tally);
            }
        }
        (unsaved, upto)
    }

    async fn save(
        &self,
        (mut unsaved, upto): (MutexGuard<'_, Unsaved>, Timestamp),
    ) -> Result<(), LedgerError> {
        let (ledger, node) = (&self.redpacket.ledger, self.redpacket.node);
        let counts: Vec<Counts> = unsaved
            .iter()
            .map(|(&(campaign, second), tally)| Counts {
                campaign,
                second,
                tally: tally.clone(),
            })
            .collect();
        ledger.save_counts(node, upto, &counts).await?;
        unsaved.clear();
        Ok(())
    }
}

#[async_trait::async_trait]
impl SaveCounts for Counting {
    async fn save_counts(&self) {
        let collected = self.collect().await;
        if !collected.0.is_empty()
            && let Err(error) = self.save(collected).await
        {
            tracing::warn!(%error, "could not save the counts; they wait");
        }
    }
}
