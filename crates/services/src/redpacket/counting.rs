//! Counts into the ledger, each second: what the statistics come from.
//!
//! A kill loses at most the last second's; the ledger shows that as a gap. A ledger that does
//! not answer loses none: counts wait here until it does.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ledger::{CampaignNo, Counts, LedgerError};
use rules::Tally;
use tokio_util::sync::CancellationToken;

use super::Redpacket;

const SAVE_EVERY: Duration = Duration::from_secs(1);

/// Saves counts until `stopping` is done, and then once more.
pub struct Counting {
    redpacket: Arc<Redpacket>,
    /// What the ledger has not taken yet.
    unsaved: HashMap<(CampaignNo, i64), Tally>,
}

impl Counting {
    /// Begins this node's epoch.
    ///
    /// # Errors
    /// When the ledger does not answer.
    pub async fn begin(redpacket: Arc<Redpacket>) -> Result<Self, LedgerError> {
        redpacket.ledger.begin_epoch(redpacket.node).await?;
        Ok(Self {
            redpacket,
            unsaved: HashMap::new(),
        })
    }

    /// Saves each second until `stopping` is done, then ends the epoch.
    pub async fn run(mut self, stopping: CancellationToken) {
        let mut each = tokio::time::interval(SAVE_EVERY);
        while stopping.run_until_cancelled(each.tick()).await.is_some() {
            if let Err(error) = self.save().await {
                tracing::warn!(%error, waiting = self.unsaved.len(), "could not save the counts");
            }
        }
        if let Err(error) = self.end().await {
            tracing::warn!(%error, "could not save the last counts; the statistics show a gap");
        }
    }

    async fn end(&mut self) -> Result<(), LedgerError> {
        self.save().await?;
        self.redpacket.ledger.end_epoch(self.redpacket.node).await
    }

    async fn save(&mut self) -> Result<(), LedgerError> {
        let now = self.redpacket.ledger.now();
        let second = now.micros().div_euclid(1_000_000);
        for rain in self.redpacket.rains.load().values() {
            let tally = rain.counters.take();
            if !tally.is_empty() {
                let place = (rain.view().campaign.no, second);
                self.unsaved.entry(place).or_default().add(&tally);
            }
        }
        let counts: Vec<Counts> = self
            .unsaved
            .iter()
            .map(|(&(campaign, second), tally)| Counts {
                campaign,
                second,
                tally: tally.clone(),
            })
            .collect();
        self.redpacket
            .ledger
            .save_counts(self.redpacket.node, now, &counts)
            .await?;
        self.unsaved.clear();
        Ok(())
    }
}
