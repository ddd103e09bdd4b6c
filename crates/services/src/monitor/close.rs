//! `POST /monitor/api/campaigns/{id}/close`: ends a campaign for good and refunds what is left,
//! once. A repeat gets the same answer.

use std::sync::Arc;

use axum::extract::State;

use super::{Monitor, view::OrganiserCampaign};
use crate::http::{ApiError, CampaignPath, openapi::ErrorBody};

/// Closes a campaign.
#[utoipa::path(post, path = "/monitor/api/campaigns/{id}/close", tag = "monitor",
    params(("id" = String, Path, format = "uuid")),
    responses(
        (status = 200, body = OrganiserCampaign),
        (status = 401, body = ErrorBody, description = "`unauthenticated`"),
        (status = 404, body = ErrorBody, description = "`no_such_campaign`")),
    security(("organiser_key" = []), ("organiser_cookie" = [])))]
pub(crate) async fn close(
    State(monitor): State<Arc<Monitor>>,
    CampaignPath(id): CampaignPath,
) -> Result<axum::Json<OrganiserCampaign>, ApiError> {
    let refund = monitor.close(id).await?;
    let refund = refund.ok_or_else(ApiError::no_such_campaign)?;
    tracing::info!(campaign.id = %id, ?refund, "closed a campaign");
    // As of the close, so that a repeat says the same to the letter.
    let campaign = monitor.view(id, Some(refund.refunded_at)).await?;
    Ok(axum::Json(campaign))
}
