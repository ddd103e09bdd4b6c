//! `GET /monitor/api/campaigns/{id}/audit`: the proof that the books balance, made now.

use std::{sync::Arc, time::Duration};

use axum::extract::State;
use ledger::AuditReport;

use super::Monitor;
use crate::http::{ApiError, CampaignPath, openapi::ErrorBody};

/// How long the answer may wait for audits asked for before; the audit goes on all the same.
const ANSWER_WITHIN: Duration = Duration::from_secs(25);

/// Audits the campaign now. A difference stops its claims.
#[utoipa::path(get, path = "/monitor/api/campaigns/{id}/audit", tag = "monitor",
    params(("id" = String, Path, format = "uuid")),
    responses(
        (status = 200, body = Object),
        (status = 401, body = ErrorBody, description = "`unauthenticated`"),
        (status = 404, body = ErrorBody, description = "`no_such_campaign`"),
        (status = 503, body = ErrorBody, description = "`unavailable`")),
    security(("organiser_key" = []), ("organiser_cookie" = [])))]
pub(crate) async fn audit(
    State(monitor): State<Arc<Monitor>>,
    CampaignPath(id): CampaignPath,
) -> Result<axum::Json<AuditReport>, ApiError> {
    let report = tokio::time::timeout(ANSWER_WITHIN, monitor.auditor.audit(id)).await;
    let report =
        report.map_err(|_late| ApiError::unavailable("the audit takes long; ask again"))?;
    let report = report?.ok_or_else(ApiError::no_such_campaign)?;
    if !report.balanced {
        monitor.announce().await;
    }
    Ok(axum::Json(report))
}
