//! The auditor: proves again and again that the books balance.
//!
//! A difference is never logged and passed over: the campaign's claims stop, and the log and a
//! metric say so. It must never mend anything.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use ledger::{AuditReport, Ledger, LedgerError, Seen, audit};
use rules::CampaignId;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::{Monitor, issuer::halt};

/// How often campaigns whose claims have changed are audited.
const AUDIT_EVERY: Duration = Duration::from_secs(60);
/// How often the auditor looks whether it is time.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Audits, one campaign at a time: each takes memory for every claim, and a core.
pub(crate) struct Auditor {
    ledger: Arc<dyn Ledger>,
    turn: Arc<Mutex<()>>,
}

impl Auditor {
    pub(crate) fn new(ledger: Arc<dyn Ledger>) -> Self {
        Self {
            ledger,
            turn: Arc::default(),
        }
    }

    /// Audits campaign `id`, and halts it when its books do not balance. `None`: there is none.
    ///
    /// # Errors
    /// When the ledger does not answer; then nothing is known.
    pub(crate) async fn audit(&self, id: CampaignId) -> Result<Option<AuditReport>, LedgerError> {
        let turn = self.turn.clone().lock_owned().await;
        let Some(snapshot) = self.ledger.audit_snapshot(id).await? else {
            return Ok(None);
        };
        let campaign = snapshot.campaign.clone();
        // The turn goes with the work: should the caller go away, the work still goes on.
        let work = move || {
            let report = audit(&snapshot);
            drop(turn);
            report
        };
        let report = match tokio::task::spawn_blocking(work).await {
            Ok(report) => report,
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        };
        metrics::counter!("hongbao_audits_total").increment(1);
        if !report.balanced {
            metrics::counter!("hongbao_audit_differences_total").increment(1);
            let reason = format!("an audit found: {}", report.differences.join("; "));
            if campaign.halted.is_none() {
                halt(self.ledger.as_ref(), &campaign, &reason).await?;
            }
        }
        Ok(Some(report))
    }
}

/// Audits campaign `id` unasked, and logs what was found. False when nothing could be found out, or
/// when a difference could not be acted upon: it is to be tried again.
pub(crate) async fn audit_and_judge(monitor: &Monitor, id: CampaignId) -> bool {
    match monitor.auditor.audit(id).await {
        Ok(Some(report)) if report.balanced => {
            tracing::debug!(campaign.id = %id, "the books balance");
        }
        // The auditor has halted the campaign and said why.
        Ok(Some(_)) => monitor.announce().await,
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(campaign.id = %id, %error, "an audit could not be made");
            return false;
        }
    }
    true
}

/// What was audited last: when, and how many claims there were.
struct Audited {
    at: Instant,
    claims: u64,
}

/// Audits running campaigns whose claims have changed, until `stop`.
pub(crate) async fn run(monitor: Arc<Monitor>, stop: CancellationToken) {
    let mut audited = HashMap::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = round(&monitor, &mut audited) => {}
        }
    }
}

async fn round(monitor: &Monitor, audited: &mut HashMap<CampaignId, Audited>) {
    if monitor.leader.lead().is_none() {
        return;
    }
    let campaigns = monitor.open_campaigns.all();
    audited.retain(|id, _| campaigns.iter().any(|campaign| campaign.id == *id));
    for campaign in campaigns {
        let last = audited.get(&campaign.id);
        if last.is_some_and(|last| last.at.elapsed() < AUDIT_EVERY) {
            continue;
        }
        let claims = match monitor.ledger.seen(&[campaign.no]).await {
            Ok(seen) => seen.iter().map(Seen::claims).sum(),
            Err(error) => {
                tracing::warn!(campaign.id = %campaign.id, %error, "an audit could not be made");
                continue;
            }
        };
        let before = last.map_or(0, |last| last.claims);
        if claims != before && !audit_and_judge(monitor, campaign.id).await {
            continue;
        }
        let at = Instant::now();
        audited.insert(campaign.id, Audited { at, claims });
    }
}
