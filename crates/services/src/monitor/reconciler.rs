//! The reconciler: sends again what the queue has lost.
//!
//! It never decides whether a packet is free: a bundle sent once too often costs work, and the
//! ledger's keys see to it that it costs nothing else.

use std::{sync::Arc, time::Duration};

use ledger::{BundleKey, Campaign, Lead, LedgerError, Seen, WaveState};
use queue::QueueName;
use rules::CampaignId;
use tokio_util::sync::CancellationToken;

use super::{
    Monitor,
    issuer::{IssueError, bounded},
};

/// How often the books are compared with what was sent.
const ROUND_EVERY: Duration = Duration::from_secs(1);
/// How long after its sending a bundle that nobody holds may be sent again; it doubles.
const FIRST_DELAY_MS: i64 = 5_000;
/// How many bundles one question to the ledger brings.
const BUNDLES_PER_ASK: u32 = 1_024;
/// The longest pause after rounds that failed: a queue that came back empty is to be filled soon.
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// Runs until `stop`.
pub(crate) async fn run(monitor: Arc<Monitor>, stop: CancellationToken) {
    let mut pause = ROUND_EVERY;
    let mut looked = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let failed = tokio::select! {
            () = stop.cancelled() => return,
            failed = round(&monitor) => failed,
        };
        looked = looked || look_at_queue(&monitor).await;
        monitor.issuer.tidy();
        pause = if failed {
            (pause * 2).min(PAUSE_MAX)
        } else {
            ROUND_EVERY
        };
    }
}

/// Warns of a queue that may lose messages; whether it has answered.
async fn look_at_queue(monitor: &Monitor) -> bool {
    match bounded(monitor.queue.weakness()).await {
        Ok(Some(weakness)) => tracing::warn!(weakness, "the queue may lose packets that wait"),
        Ok(None) => {}
        // What it is asked in each round says so, too.
        Err(error) => {
            tracing::debug!(%error, "the queue does not say how it is set up");
            return false;
        }
    }
    true
}

/// Compares books and queue once, when this monitor leads; says whether anything failed.
async fn round(monitor: &Monitor) -> bool {
    // Each monitor for itself: it may have sent some while it led, and does so no longer.
    clear_closed(monitor).await;
    let Some(lead) = monitor.leader.lead() else {
        return false;
    };
    let campaigns = monitor.open_campaigns.all();
    let issued = |campaign: &Arc<Campaign>| campaign.packets_issued() > 0;
    let issued: Vec<_> = campaigns
        .into_iter()
        .filter(|campaign| campaign.halted.is_none() && issued(campaign))
        .collect();
    if issued.is_empty() {
        return false;
    }
    let names: Vec<_> = issued.iter().map(|c| QueueName::of(c.id)).collect();
    let filled = match bounded(monitor.queue.filled(&names)).await {
        Ok(filled) => filled,
        Err(error) => {
            tracing::warn!(%error, "could not ask whether the queue came up empty; trying again");
            return true;
        }
    };
    let mut failed = false;
    for (campaign, filled) in issued.iter().zip(filled) {
        let done = if filled {
            reconcile(monitor, lead, campaign).await
        } else {
            fill_again(monitor, lead, campaign).await
        };
        match done {
            Ok(()) => {}
            Err(IssueError::Ledger(LedgerError::Deposed)) => {
                monitor.leader.deposed(lead);
                return false;
            }
            Err(error) => {
                tracing::warn!(campaign.id = %campaign.id, %error, "could not send bundles again; trying again");
                failed = true;
            }
        }
    }
    failed
}

/// Removes what is left in the queue of campaigns that closed. Whoever closed one has tried so,
/// too; but the queue may have been away, or bundles sent since.
async fn clear_closed(monitor: &Monitor) {
    for (id, no) in monitor.open_campaigns.just_closed(monitor.ledger.now()) {
        let _turn = monitor.locks.lock(no).await;
        match bounded(monitor.queue.drop_queue(&QueueName::of(id))).await {
            Ok(()) => monitor.open_campaigns.cleared(id),
            Err(error) => {
                tracing::warn!(campaign.id = %id, %error, "a closed campaign's bundles stay in the queue; trying again");
                // It would fail for the others, too, and keep the open campaigns waiting.
                return;
            }
        }
    }
}

/// Fills the queue of a campaign that came up empty.
async fn fill_again(monitor: &Monitor, lead: Lead, campaign: &Campaign) -> Result<(), IssueError> {
    let id = campaign.id;
    let turn = monitor.locks.lock(campaign.no).await;
    let Some(campaign) = monitor.ledger.campaign(id).await? else {
        return Ok(());
    };
    if campaign.closed_at.is_some() || campaign.halted.is_some() {
        return Ok(());
    }
    let sent = refill_campaign(monitor, lead, &campaign).await?;
    drop(turn);
    tracing::warn!(campaign.id = %id, bundles = sent, "the queue came up empty; it holds every unclaimed packet again");
    metrics::counter!("hongbao_queue_refills_total").increment(1);
    Ok(())
}

/// Sends again what is stranded of one campaign.
async fn reconcile(monitor: &Monitor, lead: Lead, campaign: &Campaign) -> Result<(), IssueError> {
    let seen = monitor.ledger.seen(&[campaign.no]).await?;
    if seen.iter().map(Seen::claims).sum::<u64>() >= campaign.packets_issued() {
        return Ok(());
    }
    // While bundles wait in the queue, those that nobody holds are most likely among them: to
    // send them again would only fill the queue. Whoever wants packets will empty it first.
    let name = QueueName::of(campaign.id);
    if bounded(monitor.queue.counts(&name)).await?.visible > 0 {
        return Ok(());
    }
    let turn = monitor.locks.lock(campaign.no).await;
    let sent = send_stranded(monitor, lead, campaign).await?;
    drop(turn);
    if sent > 0 {
        tracing::info!(campaign.id = %campaign.id, bundles = sent, "sent bundles again that nobody held");
        metrics::counter!("hongbao_bundles_resent_total").increment(sent);
    }
    Ok(())
}

/// Page by page: what was sent again is stranded no longer, so the next question brings others.
async fn send_stranded(
    monitor: &Monitor,
    lead: Lead,
    campaign: &Campaign,
) -> Result<u64, IssueError> {
    let mut sent = 0;
    loop {
        let ledger = &monitor.ledger;
        let stranded = ledger.stranded(campaign.no, FIRST_DELAY_MS, false, BUNDLES_PER_ASK);
        let stranded = stranded.await?;
        if !send(monitor, lead, campaign.id, &stranded, false).await? {
            return Ok(sent);
        }
        sent += stranded.len() as u64;
        if stranded.len() < BUNDLES_PER_ASK as usize {
            return Ok(sent);
        }
    }
}

/// Sends `bundles` of campaign `id` again, which are all there are where that `refills` its queue;
/// false when the campaign has ended.
async fn send(
    monitor: &Monitor,
    lead: Lead,
    id: CampaignId,
    bundles: &[BundleKey],
    refills: bool,
) -> Result<bool, IssueError> {
    if bundles.is_empty() && !refills {
        return Ok(true);
    }
    // Read after the bundles were found: a copy from before may not know their waves yet, and
    // what a wave's packets are is judged by it.
    let campaign = monitor.ledger.campaign(id).await?;
    let Some(campaign) = campaign.filter(|campaign| campaign.closed_at.is_none()) else {
        return Ok(false);
    };
    monitor.issuer.send_again(&campaign, bundles).await?;
    if refills {
        // First, so that a database that fails now does not have all sent again.
        bounded(monitor.queue.set_filled(&QueueName::of(id))).await?;
    }
    // When it is noted that they were sent is only a hint.
    for bundles in bundles.chunks(BUNDLES_PER_ASK as usize) {
        monitor.ledger.mark_sent(lead, bundles).await?;
    }
    Ok(true)
}

/// Fills the queues that came up empty: of waves that are open every bundle with unclaimed
/// packets is sent. Waves that a crash cut short are completed.
pub(crate) async fn refill(monitor: &Monitor, lead: Lead) -> Result<(), IssueError> {
    let campaigns = monitor.ledger.campaigns_since(0).await?;
    let begun = |c: &Campaign| c.waves.iter().any(|w| w.state != WaveState::Planned);
    let open: Vec<_> = campaigns
        .into_iter()
        .filter(|c| c.closed_at.is_none() && c.halted.is_none() && begun(c))
        .collect();
    if open.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = open.iter().map(|c| QueueName::of(c.id)).collect();
    let filled = bounded(monitor.queue.filled(&names)).await?;
    let mut bundles = 0;
    for (campaign, filled) in open.iter().zip(filled) {
        let done = if filled {
            complete_waves(monitor, lead, campaign).await.map(|()| 0)
        } else {
            refill_campaign(monitor, lead, campaign).await
        };
        bundles += match done {
            // The others are not to suffer for it; it is halted, and the log says so.
            Err(IssueError::Halted(_)) => 0,
            sent => sent?,
        };
    }
    tracing::info!(bundles, "the queue holds every unclaimed packet");
    Ok(())
}

/// Sends every bundle of `campaign` that has unclaimed packets; how many.
pub(crate) async fn refill_campaign(
    monitor: &Monitor,
    lead: Lead,
    campaign: &Campaign,
) -> Result<u64, IssueError> {
    // All at once: without regard to when a bundle was sent, a second question would bring the
    // same again. A campaign has at most as many bundles as packets, and their keys are small.
    let all = rules::limits::PACKETS_MAX;
    let stranded = monitor
        .ledger
        .stranded(campaign.no, FIRST_DELAY_MS, true, all);
    let stranded = stranded.await?;
    if !send(monitor, lead, campaign.id, &stranded, true).await? {
        return Ok(0);
    }
    complete_waves(monitor, lead, campaign).await?;
    Ok(stranded.len() as u64)
}

/// Completes waves whose issuing was cut short.
async fn complete_waves(
    monitor: &Monitor,
    lead: Lead,
    campaign: &Campaign,
) -> Result<(), IssueError> {
    let issuing = campaign.waves.iter();
    for wave in issuing.filter(|wave| wave.state == WaveState::Issuing) {
        monitor.issuer.issue(lead, campaign.id, wave.number).await?;
    }
    Ok(())
}
