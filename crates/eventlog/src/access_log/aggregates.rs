//! Grabs that get no line of their own, counted exactly by campaign and outcome.
//!
//! Counting must cost next to nothing: it happens when grabs come faster than lines can be
//! written. Each thread therefore remembers the counters of the campaign it counted last.

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use rules::{CampaignId, Outcome, Tally};

use crate::Counters;

/// Above so many campaigns, those without news are forgotten.
const CAMPAIGNS_KEPT: usize = 64;

/// Tells the aggregates of several logs in one process apart.
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static LAST_USED: RefCell<Option<LastUsed>> = const { RefCell::new(None) };
}

/// The counters that this thread used last.
struct LastUsed {
    aggregates: u64,
    campaign: CampaignId,
    counters: Arc<Counters>,
}

/// The counters of all campaigns.
#[derive(Debug)]
pub(super) struct Aggregates {
    id: u64,
    campaigns: RwLock<HashMap<CampaignId, Arc<Counters>>>,
}

impl Aggregates {
    pub(super) fn new() -> Self {
        Self {
            id: NEXT_ID.fetch_add(1, Relaxed),
            campaigns: RwLock::default(),
        }
    }

    /// Counts one grab.
    pub(super) fn count(&self, campaign: CampaignId, outcome: Outcome, latency_micros: u64) {
        let counted = LAST_USED.try_with(|last| {
            let mut last = last.borrow_mut();
            match &*last {
                Some(used) if used.campaign == campaign && used.aggregates == self.id => {
                    used.counters.count(outcome, latency_micros);
                }
                _ => {
                    let counters = self.counters(campaign);
                    counters.count(outcome, latency_micros);
                    *last = Some(LastUsed {
                        aggregates: self.id,
                        campaign,
                        counters,
                    });
                }
            }
        });
        if counted.is_err() {
            // The thread is ending and remembers nothing any more.
            self.counters(campaign).count(outcome, latency_micros);
        }
    }

    fn counters(&self, campaign: CampaignId) -> Arc<Counters> {
        {
            let campaigns = self
                .campaigns
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(counters) = campaigns.get(&campaign) {
                return counters.clone();
            }
        }
        let mut campaigns = self
            .campaigns
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        campaigns.entry(campaign).or_default().clone()
    }

    /// What was counted since the last take, for each campaign with news.
    pub(super) fn take(&self) -> Vec<(CampaignId, Tally)> {
        let (mut news, many) = {
            let campaigns = self
                .campaigns
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            let news: Vec<_> = campaigns
                .iter()
                .map(|(campaign, counters)| (*campaign, counters.take()))
                .filter(|(_, tally)| !tally.is_empty())
                .collect();
            (news, campaigns.len())
        };
        if many > CAMPAIGNS_KEPT {
            self.forget_idle(&mut news);
        }
        news
    }

    /// Forgets campaigns without news that no thread remembers, so that nothing can be counted
    /// into what was forgotten.
    fn forget_idle(&self, news: &mut Vec<(CampaignId, Tally)>) {
        let mut campaigns = self
            .campaigns
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        campaigns.retain(|campaign, counters| {
            // Unlike reading the count, this also sees all that former holders have counted.
            if Arc::get_mut(counters).is_none() {
                return true;
            }
            let tally = counters.take();
            let keep = !tally.is_empty() || news.iter().any(|(busy, _)| busy == campaign);
            if !tally.is_empty() {
                news.push((*campaign, tally));
            }
            keep
        });
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use rules::Missed;

    use super::*;

    const MISSED: Outcome = Outcome::Missed(Missed::Ended);

    fn campaign(number: u128) -> CampaignId {
        CampaignId(uuid::Uuid::from_u128(number))
    }

    #[test]
    fn campaigns_and_logs_are_kept_apart() {
        let (one, other) = (Aggregates::new(), Aggregates::new());
        one.count(campaign(1), MISSED, 5);
        other.count(campaign(1), Outcome::Won, 5);
        one.count(campaign(2), MISSED, 5);
        one.count(campaign(1), MISSED, 5);
        let counted = |aggregates: &Aggregates| -> HashMap<_, _> {
            let sum = |t: Tally| t.outcomes.iter().sum::<u64>();
            let taken = aggregates.take().into_iter();
            taken.map(|(campaign, t)| (campaign, sum(t))).collect()
        };
        assert_eq!(
            counted(&one),
            HashMap::from([(campaign(1), 2), (campaign(2), 1)])
        );
        assert_eq!(counted(&other), HashMap::from([(campaign(1), 1)]));
        assert!(one.take().is_empty());
    }

    #[test]
    fn nothing_is_lost_while_idle_campaigns_are_forgotten() {
        const CAMPAIGNS: u128 = 500;
        const ROUNDS: u128 = 40;
        let aggregates = Aggregates::new();
        let (sum, kept) = thread::scope(|scope| {
            let count = |from: u128| {
                for round in 0..ROUNDS {
                    // A window of campaigns that moves on, so that most fall idle.
                    for n in 0..CAMPAIGNS {
                        aggregates.count(campaign((n / 5 + round * 20 + from) % 800), MISSED, 1);
                    }
                }
            };
            let threads = [scope.spawn(move || count(0)), scope.spawn(move || count(3))];
            let mut sum = Tally::default();
            while !threads.iter().all(thread::ScopedJoinHandle::is_finished) {
                for (_, tally) in aggregates.take() {
                    sum.add(&tally);
                }
            }
            for thread in threads {
                thread.join().expect("counting does not panic");
            }
            for _ in 0..2 {
                for (_, tally) in aggregates.take() {
                    sum.add(&tally);
                }
            }
            let kept = aggregates.campaigns.read().expect("no panic").len();
            (sum.outcomes[MISSED.slot()], kept)
        });
        assert_eq!(u128::from(sum), 2 * CAMPAIGNS * ROUNDS);
        assert!(kept <= CAMPAIGNS_KEPT, "{kept} campaigns are kept");
    }
}
