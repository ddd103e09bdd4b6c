//! Opening waves: by the monitor that leads; the others wait for it.
//!
//! A call that starts a wave is answered only when its packets can be won, whichever replica it
//! came to. Nothing here may open a wave without the lead.

use std::{sync::Arc, time::Duration};

use ledger::{Campaign, Lead, LedgerError, Wave, WaveState};
use rules::{CampaignId, Timestamp};
use tokio::time::Instant;

use super::{
    Monitor,
    issuer::{IssueError, Issued},
};
use crate::{http::ApiError, task};

/// How long a call waits for another monitor to open its wave.
const LEADER_OPENS_WITHIN: Duration = Duration::from_secs(4);
/// How often it looks whether that has happened.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl Monitor {
    /// Issues a wave and makes it known. Whoever comes second finds it done.
    pub(super) async fn open_wave(
        &self,
        lead: Lead,
        id: CampaignId,
        wave: u32,
    ) -> Result<Issued, IssueError> {
        let Some(campaign) = self.ledger.campaign(id).await? else {
            return Ok(Issued::NotNow);
        };
        let turn = self.locks.lock(campaign.no).await;
        let issued = self.issuer.issue(lead, id, wave).await;
        drop(turn);
        match &issued {
            Ok(Issued::Opened) => {
                tracing::info!(campaign.id = %id, wave, "opened a wave");
                metrics::counter!("hongbao_waves_opened_total").increment(1);
                self.announce().await;
            }
            Err(IssueError::Halted(_)) => self.announce().await,
            Err(IssueError::Ledger(LedgerError::Deposed)) => self.leader.deposed(lead),
            Ok(Issued::NotNow) | Err(_) => {}
        }
        issued
    }

    /// Opens the first wave that is due and not open, or waits until the monitor that leads has
    /// opened it, so that a call that started it is answered only then. A caller that goes away
    /// interrupts nothing: a large wave would be sent from its beginning again.
    pub(super) async fn open_first_due_wave(
        self: &Arc<Self>,
        id: CampaignId,
    ) -> Result<(), ApiError> {
        let monitor = self.clone();
        task::to_the_end(async move { monitor.open_first(id).await }).await
    }

    async fn open_first(&self, id: CampaignId) -> Result<(), ApiError> {
        let campaign = self.campaign(id).await?;
        let Some(wave) = first_due(&campaign, self.ledger.now()) else {
            return Ok(());
        };
        let opened = match self.leader.lead() {
            Some(lead) => self.open_wave(lead, id, wave).await.map(|_| true),
            None => Err(LedgerError::Deposed.into()),
        };
        let opened = match opened {
            Err(IssueError::Ledger(LedgerError::Deposed)) => self.opened_by_another(id, wave).await,
            opened => opened,
        };
        match opened {
            Ok(true) => Ok(()),
            Err(IssueError::Ledger(error)) => Err(error.into()),
            Ok(false) => Err(not_yet(
                id,
                wave,
                "no monitor that leads has opened it in time",
            )),
            Err(error) => Err(not_yet(id, wave, &error.to_string())),
        }
    }

    /// Waits a while for another monitor to open the wave; says whether nothing is left to wait
    /// for.
    async fn opened_by_another(&self, id: CampaignId, wave: u32) -> Result<bool, IssueError> {
        let deadline = Instant::now() + LEADER_OPENS_WITHIN;
        loop {
            let campaign = self.ledger.campaign(id).await?;
            if campaign.is_none_or(|campaign| !waits(&campaign, wave)) {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// The wave to open first of those that are due at ledger time `now`.
fn first_due(campaign: &Campaign, now: Timestamp) -> Option<u32> {
    let due = campaign.starts_at <= now && campaign.paused_at.is_none();
    let waiting = campaign.waves.iter().filter(|w| w.state != WaveState::Open);
    let wave = waiting
        .filter(|w| due && w.due_at <= now)
        .min_by_key(|w| w.due_at);
    wave.map(|wave| wave.number)
}

/// Whether wave `number` is still to be opened, and nothing keeps it from that.
fn waits(campaign: &Campaign, number: u32) -> bool {
    let stands =
        campaign.closed_at.is_some() || campaign.paused_at.is_some() || campaign.halted.is_some();
    let is_it = |wave: &Wave| wave.number == number && wave.state != WaveState::Open;
    !stands && campaign.waves.iter().any(is_it)
}

fn not_yet(id: CampaignId, wave: u32, error: &str) -> ApiError {
    tracing::warn!(campaign.id = %id, wave, error, "a wave could not be opened at once");
    ApiError::unavailable(format!(
        "the campaign {id} is kept, but its packets could not be sent yet; the wave opens as soon as they can"
    ))
}
