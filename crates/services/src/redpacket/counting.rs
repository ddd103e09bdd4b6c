//! Counts into the ledger, each second: what the statistics come from.
//!
//! A kill loses at most the last second's; the ledger shows that as a gap. A ledger that does
//! not answer loses none: counts wait here until it does, in parts that it can take one by one.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use ledger::{CampaignNo, Counts, LedgerError};
use rules::{Tally, Timestamp};
use tokio::{
    sync::{mpsc, oneshot},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;

use super::{Redpacket, telling::Telling};
use crate::monitor::SaveCounts;

const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Rows of one part: the ledger takes as many in well under a second.
const PART_MAX: usize = 4_000;
/// Parts that wait with a row for each second; what comes behind them is counted by the minute.
const PARTS_IN_SECONDS: usize = 5;
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
    waiting: Waiting,
    /// What this process's metrics say.
    telling: Telling,
}

/// Counts on their way to the ledger, the oldest first.
#[derive(Default)]
struct Waiting(VecDeque<Part>);

/// What the ledger takes in one transaction.
struct Part {
    /// Up to when it counts, and every part before it.
    upto: Timestamp,
    /// By campaign and second.
    tallies: BTreeMap<(CampaignNo, i64), Tally>,
    /// It was offered, and whether it was taken is unknown: it is offered again unchanged, and the
    /// ledger knows by the time if it has it.
    offered: bool,
}

impl Waiting {
    /// Adds what was counted up to `upto`.
    fn add(&mut self, upto: Timestamp, counted: Vec<(CampaignNo, Tally)>) {
        let mut second = upto.micros().div_euclid(1_000_000);
        if self.0.len() >= PARTS_IN_SECONDS {
            // The ledger has been away for long: by the minute, so that memory lasts.
            second -= second.rem_euclid(60);
        }
        let fits = |part: &Part| !part.offered && part.tallies.len() + counted.len() <= PART_MAX;
        if !self.0.back().is_some_and(fits) {
            self.0.push_back(Part {
                upto,
                tallies: BTreeMap::new(),
                offered: false,
            });
        }
        let part = self.0.back_mut().expect("one was put there, or was");
        part.upto = upto;
        for (campaign, tally) in counted {
            let place = part.tallies.entry((campaign, second)).or_default();
            place.add(&tally);
        }
    }
}

impl Part {
    fn counts(&self) -> Vec<Counts> {
        let counts = self.tallies.iter();
        let counts = counts.map(|(&(campaign, second), tally)| Counts {
            campaign,
            second,
            tally: tally.clone(),
        });
        counts.collect()
    }
}

impl Counting {
    /// Begins this node's epoch.
    ///
    /// # Errors
    /// When the ledger does not answer.
    pub async fn begin(redpacket: Arc<Redpacket>) -> Result<(CountsSaver, Self), LedgerError> {
        redpacket.ledger.begin_epoch(redpacket.node).await?;
        let (saver, asked) = mpsc::channel(WAITING_MAX);
        Ok((
            CountsSaver(saver),
            Self {
                redpacket,
                asked,
                waiting: Waiting::default(),
                telling: Telling::new(),
            },
        ))
    }

    /// Saves each second until `stopping` is done, then once more, and ends the epoch.
    pub async fn run(mut self, stopping: CancellationToken) {
        let mut each = tokio::time::interval(SAVE_EVERY);
        // After a save that took long, one and not all that were missed.
        each.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
        let counted = self.collect();
        self.waiting.add(upto, counted);
        while let Some(part) = self.waiting.0.front_mut() {
            part.offered = true;
            let (upto, counts) = (part.upto, part.counts());
            let redpacket = &self.redpacket;
            redpacket
                .ledger
                .save_counts(redpacket.node, upto, &counts)
                .await?;
            self.waiting.0.pop_front();
        }
        Ok(())
    }

    /// Takes what was counted since the last time.
    fn collect(&mut self) -> Vec<(CampaignNo, Tally)> {
        let mut counted = Vec::new();
        let (mut packets, mut bundles) = (0, 0);
        for rain in self.redpacket.rains.load().values() {
            packets += rain.stock.free();
            bundles += rain.stock.bundles();
            let tally = rain.counters.take();
            if !tally.is_empty() {
                self.telling.grabs(&tally);
                counted.push((rain.view().campaign.no, tally));
            }
        }
        self.telling.stock(packets, bundles);
        counted
    }
}

#[cfg(test)]
mod tests {
    use rules::Outcome;

    use super::*;

    fn grabs(number: u64) -> Tally {
        let mut tally = Tally::default();
        tally.outcomes[Outcome::Won.slot()] = number;
        tally
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000 + 1)
    }

    #[test]
    fn what_was_offered_is_offered_again_unchanged() {
        let mut waiting = Waiting::default();
        waiting.add(at(7), vec![(CampaignNo(1), grabs(2))]);
        waiting.0[0].offered = true;
        waiting.add(at(8), vec![(CampaignNo(1), grabs(3))]);
        waiting.add(at(9), vec![(CampaignNo(1), grabs(4))]);
        assert_eq!(waiting.0.len(), 2, "what waits is one part");
        assert_eq!((waiting.0[0].upto, waiting.0[1].upto), (at(7), at(9)));
        let seconds = waiting.0[1].counts();
        let seconds: Vec<_> = seconds.iter().map(|counts| counts.second).collect();
        assert_eq!(seconds, [8, 9]);
    }

    #[test]
    fn a_long_wait_loses_no_count_and_keeps_few_rows() {
        let mut waiting = Waiting::default();
        let campaigns = 10;
        let seconds = 100_000;
        for second in 0..seconds {
            let counted = (0..campaigns).map(|no| (CampaignNo(no), grabs(1)));
            waiting.add(at(second), counted.collect());
        }
        let rows: usize = waiting.0.iter().map(|part| part.tallies.len()).sum();
        assert!(rows < 2 * PARTS_IN_SECONDS * PART_MAX, "{rows} rows");
        let parts = waiting.0.iter();
        let all = parts.flat_map(|part| part.tallies.values());
        let won: u64 = all.map(|tally| tally.outcomes[Outcome::Won.slot()]).sum();
        assert_eq!(won, (campaigns * seconds) as u64);
        for (one, next) in waiting.0.iter().zip(waiting.0.iter().skip(1)) {
            assert!(
                one.upto < next.upto,
                "the ledger tells them apart by the time"
            );
            assert!(one.tallies.len() <= PART_MAX);
        }
    }
}
