//! Counts into the ledger, each second: what the statistics come from.
//!
//! A kill loses at most the last second's; the ledger shows that as a gap. A ledger that does
//! not answer loses none: counts wait here until it does.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ledger::{CampaignNo, Counts, LedgerError};
use rules::{Tally, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Redpacket, telling::Telling};
use crate::monitor::SaveCounts;

const SAVE_EVERY: Duration = Duration::from_secs(1);
/// How many may wait for a save; they share the next one.
const WAITING_MAX: usize = 256;

/// Asks for a save at once. Cheap to clone.
#[derive(Clone)]
pub struct CountsSaver(mpsc::Sender<oneshot::Sender<()>>);

#[async_trait::async_trait]
impl SaveCounts for CountsSaver {
    async fn save_counts(&self) {
        let (done, wait) = oneshot::channel();
        if self.0.send(done).await.is_ok() {
            // An error means that it could not be saved now; the log says why.
            let _not_now = wait.await.is_err();
        }
    }
}

/// Saves this node's counts, in one task: a caller that goes away interrupts no save.
pub struct Counting {
    redpacket: Arc<Redpacket>,
    asked: mpsc::Receiver<oneshot::Sender<()>>,
    /// What was counted and not offered to the ledger yet, by campaign and second.
    fresh: HashMap<(CampaignNo, i64), Tally>,
    /// What was offered and not taken, and up to when it counts. Offered again unchanged: if the
    /// ledger has taken it after all, it knows by the time.
    offered: Option<(Timestamp, Vec<Counts>)>,
    /// What this process's metrics say.
    telling: Telling,
}

impl Counting {
    /// Begins this node's epoch.
    ///
    /// # Errors
    /// When the ledger does not answer.
    pub async fn begin(redpacket: Arc<Redpacket>) -> Result<(CountsSaver, Self), LedgerError> {
        redpacket.ledger.begin_epoch(redpacket.node).await?;
        let (saver, asked) = mpsc::channel(WAITING_MAX);
        let (fresh, offered) = (HashMap::new(), None);
        Ok((
            CountsSaver(saver),
            Self {
                redpacket,
                asked,
                fresh,
                offered,
                telling: Telling::new(),
            },
        ))
    }

    /// Saves each second until `stopping` is done, then once more, and ends the epoch.
    pub async fn run(mut self, stopping: CancellationToken) {
        let mut each = tokio::time::interval(SAVE_EVERY);
        let mut waiting = Vec::new();
        loop {
            tokio::select! {
                () = stopping.cancelled() => break,
                // Saved even when nothing was counted: it is how the ledger knows, after a
                // kill, until when every count is there.
                _ = each.tick() => {}
                Some(done) = self.asked.recv() => waiting.push(done),
            }
            while let Ok(done) = self.asked.try_recv() {
                waiting.push(done);
            }
            match self.save().await {
                Ok(()) => waiting.drain(..).for_each(|done: oneshot::Sender<()>| {
                    let _gone = done.send(()).is_err();
                }),
                Err(error) => {
                    tracing::warn!(%error, "could not save the counts; they wait");
                    waiting.clear();
                }
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
        let upto = self.redpacket.ledger.now();
        self.collect(upto);
        if self.offered.is_some() {
            self.offer().await?;
        }
        let fresh = std::mem::take(&mut self.fresh).into_iter();
        let counts = fresh.map(|((campaign, second), tally)| Counts {
            campaign,
            second,
            tally,
        });
        self.offered = Some((upto, counts.collect()));
        self.offer().await
    }

    /// Takes what was counted since the last time.
    fn collect(&mut self, upto: Timestamp) {
        let second = upto.micros().div_euclid(1_000_000);
        let (mut packets, mut bundles) = (0, 0);
        for rain in self.redpacket.rains.load().values() {
            packets += rain.stock.free();
            bundles += rain.stock.bundles();
            let tally = rain.counters.take();
            if !tally.is_empty() {
                self.telling.grabs(&tally);
                let place = (rain.view().campaign.no, second);
                self.fresh.entry(place).or_default().add(&tally);
            }
        }
        self.telling.stock(packets, bundles);
    }

    async fn offer(&mut self) -> Result<(), LedgerError> {
        if let Some((upto, counts)) = &self.offered {
            let ledger = &self.redpacket.ledger;
            ledger
                .save_counts(self.redpacket.node, *upto, counts)
                .await?;
        }
        self.offered = None;
        Ok(())
    }
}
