//! `POST /monitor/api/campaigns/{id}/pause`: no packet can be won and no wave opens until the
//! campaign is resumed. Repeated, it changes nothing.

use std::sync::Arc;

use axum::extract::State;
use ledger::Change;

use super::{Monitor, campaign_ended, view::OrganiserCampaign};
use crate::http::{ApiError, CampaignPath, openapi::ErrorBody};

/// Pauses a campaign.
#[utoipa::path(post, path = "/monitor/api/campaigns/{id}/pause", tag = "monitor",
    params(("id" = String, Path, format = "uuid")),
    responses(
        (status = 200, body = OrganiserCampaign),
        (status = 401, body = ErrorBody, description = "`unauthenticated`"),
        (status = 404, body = ErrorBody, description = "`no_such_campaign`"),
        (status = 409, body = ErrorBody, description = "`campaign_ended`")),
    security(("organiser_key" = []), ("organiser_cookie" = [])))]
pub(crate) async fn pause(
    State(monitor): State<Arc<Monitor>>,
    CampaignPath(id): CampaignPath,
) -> Result<axum::Json<OrganiserCampaign>, ApiError> {
    match monitor.ledger.pause_campaign(id).await? {
        Change::Done => {
            tracing::info!(campaign.id = %id, "paused a campaign");
            monitor.announce().await;
        }
        // Neither depends on a version.
        Change::Unchanged | Change::Overtaken => {}
        Change::Ended => return Err(campaign_ended()),
        Change::NotFound => return Err(ApiError::no_such_campaign()),
    }
    monitor.view(id, None).await.map(axum::Json)
}
