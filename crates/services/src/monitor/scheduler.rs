//! The scheduler: opens waves when they are due and closes campaigns when they end.
//!
//! It decides by the ledger's time and what the ledger holds, so that it can be killed at any
//! instant. It must never open a wave of a paused campaign, nor close one that is halted: its
//! books are wrong, and a refund by wrong books is for a person to decide.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use ledger::{Campaign, Lead, WaveState};
use rules::{CampaignId, Timestamp};
use tokio::task::{self, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    Monitor,
    issuer::{IssueError, Issued},
};

/// How long it sleeps at most: the fallback for a change that was not announced.
const SLEEP_MAX: Duration = Duration::from_millis(250);
/// How many campaigns' waves are opened at the same time.
const OPENING_MAX: usize = 4;
/// How many campaigns are closed at the same time. Apart from the others: closing needs no queue,
/// and must not wait for jobs that wait for one.
const CLOSING_MAX: usize = 4;
/// The wait after a first failure, and after work that turned out to be done; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest wait between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What a campaign needs now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// It has ended.
    Close,
    /// This wave is to be opened.
    Open(u32),
}

/// What `campaign` needs at ledger time `now`.
fn due(campaign: &Campaign, now: Timestamp) -> Option<Due> {
    if campaign.closed_at.is_some() || campaign.halted.is_some() {
        return None;
    }
    if campaign.ends_at <= now {
        return Some(Due::Close);
    }
    let (at, wave) = next_wave(campaign)?;
    (at <= now).then_some(Due::Open(wave))
}

/// When `campaign` will need something, if nothing changes before.
fn next_due_at(campaign: &Campaign) -> Timestamp {
    let wave_at = next_wave(campaign).map_or(campaign.ends_at, |(at, _)| at);
    wave_at.min(campaign.ends_at)
}

/// The wave to open next, and when. A top-up before the start waits for the start.
fn next_wave(campaign: &Campaign) -> Option<(Timestamp, u32)> {
    let waiting = campaign.waves.iter().filter(|w| w.state != WaveState::Open);
    let waiting = waiting.filter(|_| campaign.paused_at.is_none());
    waiting
        .map(|w| (w.due_at.max(campaign.starts_at), w.number))
        .min()
}

/// Why a campaign has to wait before the next try.
struct Pause {
    until: Instant,
    length: Duration,
}

struct Scheduler {
    monitor: Arc<Monitor>,
    /// The campaigns that jobs are under way for: one each.
    jobs: JoinSet<(CampaignId, bool)>,
    busy: HashMap<CampaignId, (task::Id, Due)>,
    pauses: HashMap<CampaignId, Pause>,
}

/// Runs until `stop`. A job that is cut short then is taken up at the next start.
pub(crate) async fn run(monitor: Arc<Monitor>, stop: CancellationToken) {
    let mut scheduler = Scheduler {
        monitor,
        jobs: JoinSet::new(),
        busy: HashMap::new(),
        pauses: HashMap::new(),
    };
    loop {
        let sleep = scheduler.start_what_is_due();
        let monitor = scheduler.monitor.clone();
        tokio::select! {
            () = stop.cancelled() => return,
            () = monitor.open_campaigns.changed() => {}
            () = tokio::time::sleep(sleep) => {}
            Some(done) = scheduler.jobs.join_next() => match done {
                Ok((campaign, moved_on)) => scheduler.finished(campaign, moved_on),
                Err(error) => {
                    tracing::error!(%error, "a scheduled job panicked");
                    let of = |(_, (id, _)): &(&CampaignId, &(task::Id, Due))| *id == error.id();
                    if let Some((&campaign, _)) = scheduler.busy.iter().find(of) {
                        scheduler.finished(campaign, false);
                    }
                }
            }
        }
    }
}

impl Scheduler {
    /// Starts a job for each campaign that needs one; how long until the next may.
    fn start_what_is_due(&mut self) -> Duration {
        let Some(lead) = self.monitor.leader.lead() else {
            return SLEEP_MAX;
        };
        let now = self.monitor.ledger.now();
        let campaigns = self.monitor.open_campaigns.all();
        self.pauses
            .retain(|id, _| campaigns.iter().any(|campaign| campaign.id == *id));
        let mut sleep = SLEEP_MAX;
        let mut ready = Vec::new();
        for campaign in campaigns {
            if self.busy.contains_key(&campaign.id) {
                continue;
            }
            let pause = self.pauses.get(&campaign.id);
            let tried_for = pause.map_or(Duration::ZERO, |pause| pause.length);
            let pause = pause.map_or(Duration::ZERO, |pause| {
                pause.until.saturating_duration_since(Instant::now())
            });
            let Some(due) = due(&campaign, now) else {
                let micros = next_due_at(&campaign).since(now);
                let micros = u64::try_from(micros).unwrap_or(0);
                sleep = sleep.min(Duration::from_micros(micros.max(1_000)));
                continue;
            };
            if pause.is_zero() {
                ready.push((tried_for, next_due_at(&campaign), campaign.id, due));
            } else {
                sleep = sleep.min(pause);
            }
        }
        // What has not failed before goes first, and of that what was due first: campaigns whose
        // queue does not answer must not take every place again and again.
        ready.sort_unstable_by_key(|&(tried_for, due_at, id, _)| (tried_for, due_at, id));
        for (_, _, id, due) in ready {
            if self.has_place_for(due) {
                let job = work(self.monitor.clone(), lead, id, due);
                self.busy.insert(id, (self.jobs.spawn(job).id(), due));
            }
        }
        sleep
    }

    fn has_place_for(&self, due: Due) -> bool {
        let is_close = |due| due == Due::Close;
        let alike = self.busy.values();
        let alike = alike.filter(|(_, other)| is_close(*other) == is_close(due));
        let max = if is_close(due) {
            CLOSING_MAX
        } else {
            OPENING_MAX
        };
        alike.count() < max
    }

    fn finished(&mut self, campaign: CampaignId, moved_on: bool) {
        self.busy.remove(&campaign);
        if moved_on {
            self.pauses.remove(&campaign);
            return;
        }
        let before = self.pauses.get(&campaign).map(|pause| pause.length * 2);
        let length = before.unwrap_or(PAUSE_MIN).min(PAUSE_MAX);
        let until = Instant::now() + length;
        self.pauses.insert(campaign, Pause { until, length });
    }
}

/// Does what is due, and says whether the campaign has moved on.
async fn work(monitor: Arc<Monitor>, lead: Lead, id: CampaignId, due: Due) -> (CampaignId, bool) {
    let moved_on = match due {
        Due::Close => match monitor.close_ended(id).await {
            Ok(Some(refund)) => {
                tracing::info!(campaign.id = %id, ?refund, "closed a campaign that has ended");
                true
            }
            // Its end was put off, or it was halted, and this process has not read so yet.
            Ok(None) => false,
            Err(error) => {
                tracing::warn!(campaign.id = %id, %error, "could not close a campaign that has ended; trying again");
                false
            }
        },
        Due::Open(wave) => match monitor.open_wave(lead, id, wave).await {
            Ok(issued) => issued == Issued::Opened,
            Err(error @ IssueError::Halted(_)) => {
                tracing::error!(campaign.id = %id, wave, %error, "a wave was not opened");
                false
            }
            Err(error) => {
                tracing::warn!(campaign.id = %id, wave, %error, "could not open a wave; trying again");
                false
            }
        },
    };
    (id, moved_on)
}
