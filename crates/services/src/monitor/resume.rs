//! `POST /monitor/api/campaigns/{id}/resume`: goes on after a pause; the waves to come, and the
//! end with them, move on by its length. Repeated, it changes nothing.

use std::sync::Arc;

use axum::extract::State;
use ledger::Change;

use super::{Monitor, campaign_ended, view::OrganiserCampaign};
use crate::http::{ApiError, CampaignPath, openapi::ErrorBody};

/// Resumes a paused campaign.
#[utoipa::path(post, path = "/monitor/api/campaigns/{id}/resume", tag = "monitor",
    params(("id" = String, Path, format = "uuid")),
    responses(
        (status = 200, body = OrganiserCampaign),
        (status = 401, body = ErrorBody, description = "`unauthenticated`"),
        (status = 404, body = ErrorBody, description = "`no_such_campaign`"),
        (status = 409, body = ErrorBody, description = "`campaign_ended`"),
        (status = 503, body = ErrorBody, description = "`unavailable`")),
    security(("organiser_key" = []), ("organiser_cookie" = [])))]
pub(crate) async fn resume(
    State(monitor): State<Arc<Monitor>>,
    CampaignPath(id): CampaignPath,
) -> Result<axum::Json<OrganiserCampaign>, ApiError> {
    match monitor.ledger.resume_campaign(id).await? {
        Change::Done => {
            tracing::info!(campaign.id = %id, "resumed a campaign");
        }
        // Neither depends on a version.
        Change::Unchanged | Change::Overtaken => {}
        Change::Ended => return Err(campaign_ended()),
        Change::NotFound => return Err(ApiError::no_such_campaign()),
    }
    monitor.open_first_due_wave(id).await?;
    monitor.announce().await;
    monitor.view(id, None).await.map(axum::Json)
}
