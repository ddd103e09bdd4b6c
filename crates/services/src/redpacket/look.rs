//! The look into the ledger that a repeated tap gets before any "no": coalesced, so that many
//! cost one transaction, and bounded, so that a flood of them cannot hurt the winners.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ledger::{CampaignNo, Ledger, Win};
use rules::UserId;
use tokio::{
    sync::{mpsc, oneshot},
    time::MissedTickBehavior,
};

/// The most looks that may wait; more are answered 503.
const WAITING_MAX: usize = 8_192;
/// The most users in one transaction.
const BATCH_MAX: usize = 1_024;
/// The least time between two transactions: what repeated taps may cost the ledger at most.
const LOOK_EVERY: Duration = Duration::from_millis(10);

struct Look {
    campaign: CampaignNo,
    user: UserId,
    reply: oneshot::Sender<Vec<Win>>,
}

/// The way to the looker. Cheap to clone; the looker ends when the last one is dropped.
#[derive(Clone)]
pub(crate) struct Looks(mpsc::Sender<Look>);

impl Looks {
    /// Every win of `user`, with no commit still under way; `None` when too many looks wait or
    /// the ledger does not answer.
    pub(crate) async fn wins(&self, campaign: CampaignNo, user: UserId) -> Option<Vec<Win>> {
        let (reply, wait) = oneshot::channel();
        self.0
            .try_send(Look {
                campaign,
                user,
                reply,
            })
            .ok()?;
        wait.await.ok()
    }
}

/// Answers looks in batches.
pub(crate) struct Looker {
    ledger: Arc<dyn Ledger>,
    waiting: mpsc::Receiver<Look>,
}

impl Looker {
    pub(crate) fn new(ledger: Arc<dyn Ledger>) -> (Looks, Self) {
        let (looks, waiting) = mpsc::channel(WAITING_MAX);
        (Looks(looks), Self { ledger, waiting })
    }

    /// Answers until every [`Looks`] is gone.
    pub(crate) async fn run(mut self) {
        let mut pace = tokio::time::interval(LOOK_EVERY);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        while self.waiting.recv_many(&mut batch, BATCH_MAX).await > 0 {
            let mut by_campaign: HashMap<CampaignNo, Vec<Look>> = HashMap::new();
            for look in batch.drain(..) {
                by_campaign.entry(look.campaign).or_default().push(look);
            }
            for (campaign, looks) in by_campaign {
                self.answer(campaign, looks).await;
                pace.tick().await;
            }
        }
    }

    async fn answer(&self, campaign: CampaignNo, looks: Vec<Look>) {
        let users: Vec<UserId> = looks.iter().map(|look| look.user.clone()).collect();
        match self.ledger.look(campaign, &users).await {
            Ok(wins) => {
                for (look, wins) in looks.into_iter().zip(wins) {
                    // Who asked may have gone away.
                    let _gone = look.reply.send(wins).is_err();
                }
            }
            // Dropping the replies answers 503.
            Err(error) => tracing::warn!(%error, looks = looks.len(), "could not look for wins"),
        }
    }
}
