//! `GET /monitor/api/campaigns/{id}/audit`: the proof that the books balance, made now.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::extract::State;
use ledger::{AuditReport, LedgerError};
use rules::CampaignId;
use tokio::{task::JoinHandle, time::Instant};

use super::Monitor;
use crate::http::{ApiError, CampaignPath, openapi::ErrorBody};

/// How long an answer may take; the audit goes on all the same.
const ANSWER_WITHIN: Duration = Duration::from_secs(25);
/// How long the next ask may take to come that wants what the last one began.
const ASKED_AGAIN_WITHIN: Duration = Duration::from_secs(60);

/// An audit under way.
type Audit = JoinHandle<Result<Option<AuditReport>, LedgerError>>;

/// Audits that took longer than their askers could be kept waiting: for these to ask again.
#[derive(Default)]
pub(crate) struct LateAudits(Mutex<HashMap<CampaignId, (Audit, Instant)>>);

impl LateAudits {
    /// What was begun for an ask of a moment ago; older ones are forgotten.
    fn take(&self, id: CampaignId) -> Option<Audit> {
        let mut late = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        late.retain(|_, (_, asked)| asked.elapsed() < ASKED_AGAIN_WITHIN);
        late.remove(&id).map(|(audit, _)| audit)
    }

    fn keep(&self, id: CampaignId, audit: Audit) {
        let mut late = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        late.insert(id, (audit, Instant::now()));
    }
}

/// Audits the campaign now. A difference stops its claims.
#[utoipa::path(get, path = "/monitor/api/campaigns/{id}/audit", tag = "monitor",
    params(("id" = String, Path, format = "uuid")),
    responses(
        (status = 200, body = Object),
        (status = 401, body = ErrorBody, description = "`unauthenticated`"),
        (status = 404, body = ErrorBody, description = "`no_such_campaign`"),
        (status = 503, body = ErrorBody,
            description = "`unavailable`: the ledger is away, or the audit takes long and goes on")),
    security(("organiser_key" = []), ("organiser_cookie" = [])))]
pub(crate) async fn audit(
    State(monitor): State<Arc<Monitor>>,
    CampaignPath(id): CampaignPath,
) -> Result<axum::Json<AuditReport>, ApiError> {
    let mut audit = monitor.late_audits.take(id).unwrap_or_else(|| {
        let monitor = monitor.clone();
        tokio::spawn(async move { monitor.auditor.audit(id).await })
    });
    let Ok(report) = tokio::time::timeout(ANSWER_WITHIN, &mut audit).await else {
        monitor.late_audits.keep(id, audit);
        let message = "the audit takes long and goes on; ask again for its result";
        return Err(ApiError::unavailable(message));
    };
    let report = report.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()))?;
    let report = report.ok_or_else(ApiError::no_such_campaign)?;
    if !report.balanced {
        monitor.announce().await;
    }
    Ok(axum::Json(report))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_asks_again_gets_what_was_begun() {
        let late = LateAudits::default();
        let id = CampaignId(uuid::Uuid::from_u128(1));
        assert!(late.take(id).is_none());
        late.keep(id, tokio::spawn(async { Ok(None) }));
        tokio::time::advance(ASKED_AGAIN_WITHIN / 2).await;
        let begun = late.take(id).expect("it was asked for a moment ago");
        assert!(late.take(id).is_none(), "one asker has it");
        late.keep(id, begun);
        tokio::time::advance(ASKED_AGAIN_WITHIN).await;
        assert!(late.take(id).is_none(), "the books are others by now");
    }
}
