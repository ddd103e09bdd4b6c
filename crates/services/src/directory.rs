//! This process's snapshot of the campaigns: what grabs and verdicts are decided by, without a
//! call to the ledger.
//!
//! The ledger is asked for changes five times a second, so a change made by another process is in
//! force here within a second; a change made in this process is announced and in force at once.

use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use ledger::{Campaign, Ledger, LedgerError};
use rules::{CampaignId, Rules, admission::RuleSet};
use tokio::sync::{mpsc, oneshot};

/// How often the ledger is asked for changes.
const POLL_EVERY: Duration = Duration::from_millis(200);
/// How many announcements may wait for the next read; more wait their turn.
const ANNOUNCEMENTS_MAX: usize = 256;

/// Told of every campaign that changed, before an announcement of the change returns.
#[async_trait::async_trait]
pub trait Follower: Send + Sync + 'static {
    /// `current` is new, or differs from what was given before.
    async fn changed(&self, current: &Current);
}

/// A campaign as of the last read, and who may try. Cheap to clone.
#[derive(Clone)]
pub struct Current {
    /// As the ledger gave it.
    pub campaign: Arc<Campaign>,
    /// Its rules, ready to be asked; those of a closed campaign, to which nobody is admitted any
    /// more, are left out, because a process that has seen many would hold all their lists.
    pub rules: Arc<RuleSet>,
}

impl Current {
    /// `campaign`, which the ledger has just given, with its rules.
    ///
    /// # Errors
    /// When the ledger does not answer.
    pub async fn of(campaign: Campaign, ledger: &dyn Ledger) -> Result<Self, LedgerError> {
        let rules = if campaign.closed_at.is_some() {
            Rules::default()
        } else {
            ledger.rules(campaign.no).await?
        };
        Ok(Self {
            campaign: Arc::new(campaign),
            rules: Arc::new(RuleSet::new(&rules)),
        })
    }
}

/// The campaigns by id, as of the last read.
pub struct Directory {
    campaigns: ArcSwap<HashMap<CampaignId, Current>>,
}

/// Tells this process's [`Directory`] of a change at once. Cheap to clone.
#[derive(Clone)]
pub struct Announcer {
    to_reader: mpsc::Sender<oneshot::Sender<()>>,
}

impl Announcer {
    /// Returns when every change committed before this call is in force in this process, or at
    /// once when the directory has stopped; the poll is the fallback.
    pub async fn announce(&self) {
        let (done, wait) = oneshot::channel();
        if self.to_reader.send(done).await.is_ok() {
            // A read that fails is repeated until it succeeds; an error means that the reader
            // has stopped.
            let _stopped = wait.await.is_err();
        }
    }
}

/// Reads the ledger's changes into a [`Directory`] and tells the followers.
pub struct Reader {
    directory: Arc<Directory>,
    ledger: Arc<dyn Ledger>,
    followers: Vec<Arc<dyn Follower>>,
    announcements: mpsc::Receiver<oneshot::Sender<()>>,
    version: i64,
}

impl Directory {
    /// An empty directory, what announces changes to it, and what fills it.
    #[must_use]
    pub fn new(ledger: Arc<dyn Ledger>) -> (Arc<Self>, Announcer, Reader) {
        tell(&HashMap::new());
        let (to_reader, announcements) = mpsc::channel(ANNOUNCEMENTS_MAX);
        let directory = Arc::new(Self {
            campaigns: ArcSwap::default(),
        });
        let reader = Reader {
            directory: directory.clone(),
            ledger,
            followers: Vec::new(),
            announcements,
            version: 0,
        };
        (directory, Announcer { to_reader }, reader)
    }

    /// The campaign of this id, as of the last read.
    #[must_use]
    pub fn get(&self, id: CampaignId) -> Option<Current> {
        self.campaigns.load().get(&id).cloned()
    }

    /// All campaigns, as of the last read.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Campaign>> {
        let campaigns = self.campaigns.load();
        let all = campaigns.values().map(|current| current.campaign.clone());
        all.collect()
    }
}

/// Notes for the metrics how many campaigns are open, and how many of those an audit has halted.
fn tell(campaigns: &HashMap<CampaignId, Current>) {
    let all = || campaigns.values().map(|current| &current.campaign);
    let open = || all().filter(|campaign| campaign.closed_at.is_none());
    let halted = open().filter(|campaign| campaign.halted.is_some());
    metrics::gauge!("hongbao_open_campaigns").set(open().count() as f64);
    metrics::gauge!("hongbao_halted_campaigns").set(halted.count() as f64);
}

impl Reader {
    /// Adds one that is told of every change. Called before the first read.
    pub fn follow(&mut self, follower: Arc<dyn Follower>) {
        self.followers.push(follower);
    }

    /// Reads what changed since the last read. Called once before the process is ready.
    ///
    /// # Errors
    /// When the ledger does not answer.
    pub async fn read(&mut self) -> Result<(), LedgerError> {
        let changed = self.ledger.campaigns_since(self.version).await?;
        if changed.is_empty() {
            return Ok(());
        }
        let mut campaigns = HashMap::clone(&self.directory.campaigns.load());
        let mut version = self.version;
        for campaign in changed {
            version = version.max(campaign.version);
            let current = Current::of(campaign, &*self.ledger).await?;
            for follower in &self.followers {
                follower.changed(&current).await;
            }
            campaigns.insert(current.campaign.id, current);
        }
        self.version = version;
        tell(&campaigns);
        self.directory.campaigns.store(Arc::new(campaigns));
        Ok(())
    }

    /// Reads on until every [`Announcer`] is gone.
    pub async fn run(mut self) {
        let mut waiting = Vec::new();
        loop {
            tokio::select! {
                announcement = self.announcements.recv() => match announcement {
                    Some(done) => waiting.push(done),
                    None => return,
                },
                () = tokio::time::sleep(POLL_EVERY) => {}
            }
            while let Ok(done) = self.announcements.try_recv() {
                waiting.push(done);
            }
            match self.read().await {
                Ok(()) => waiting.drain(..).for_each(|done| {
                    // Who announced may have gone away; the change is in force all the same.
                    let _gone = done.send(()).is_err();
                }),
                Err(error) => tracing::warn!(%error, "could not read the campaigns' changes"),
            }
        }
    }
}
